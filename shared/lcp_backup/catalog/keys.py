"""What lies in the bucket; no other module knows a key.

<prefix>/backups/<id>/database.tgz  volume.tgz  database.index  volume.index  manifest.json
<prefix>/backups/<id>/verification.json  report.jsonl
<prefix>/retired/<id>.json
<prefix>/unfinished/<id>.json
<prefix>/pins/<id>.json
<prefix>/uploads/<upload id>/upload.json  database  volume
<prefix>/downloads/<name>
<prefix>/runs/<run id>.json
<prefix>/lease.json
<prefix>/restore-paused.json
"""

from lcp_backup.model import ArchiveKind

MANIFEST = "manifest.json"
VERIFICATION = "verification.json"
REPORT = "report.jsonl"


def archive_name(kind: ArchiveKind) -> str:
    """The name of an archive's object below its backup."""
    return f"{kind}.tgz"


def index_name(kind: ArchiveKind) -> str:
    """The name of an index's object below its backup."""
    return f"{kind}.index"


class Keys:
    """The keys of one environment.

    Arguments: `prefix` without a slash at either end, may be empty.
    """

    def __init__(self, prefix: str) -> None:
        self.root = f"{prefix}/" if prefix else ""
        self.backups = f"{self.root}backups/"
        self.retired = f"{self.root}retired/"
        self.unfinished = f"{self.root}unfinished/"
        self.pins = f"{self.root}pins/"
        self.uploads = f"{self.root}uploads/"
        self.downloads = f"{self.root}downloads/"
        self.runs = f"{self.root}runs/"
        self.lease = f"{self.root}lease.json"
        self.pause = f"{self.root}restore-paused.json"

    def of_backup(self, backup_id: str, name: str) -> str:
        """An object of a backup; with an empty name, how the keys of all of them begin."""
        return f"{self.backups}{backup_id}/{name}"

    def of_retired(self, backup_id: str) -> str:
        """The mark of a backup that was retired."""
        return f"{self.retired}{backup_id}.json"

    def of_unfinished(self, backup_id: str) -> str:
        """The mark of a volume that a run could not finish."""
        return f"{self.unfinished}{backup_id}.json"

    def of_pin(self, backup_id: str) -> str:
        """What was decided of a backup by who pinned, unpinned or deleted it."""
        return f"{self.pins}{backup_id}.json"

    def of_upload(self, upload_id: str, name: str) -> str:
        """An object of an upload; with an empty name, how the keys of all of them begin."""
        return f"{self.uploads}{upload_id}/{name}"

    def of_download(self, name: str) -> str:
        """An archive that was assembled for a download."""
        return f"{self.downloads}{name}"

    def of_work(self, run_id: str, name: str) -> str:
        """What the processes of a run leave to each other; with an empty name, how all begin."""
        return f"{self.runs}{run_id}/{name}"

    def of_run(self, run_id: str) -> str:
        """A run's record."""
        return f"{self.runs}{run_id}.json"
