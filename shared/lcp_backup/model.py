"""The nouns of the service, as they lie in the bucket: times are UTC and aware, sizes bytes."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from lcp_backup.document import Document, read_document
from lcp_backup.errors import InvalidRequest
from lcp_backup.exclusion import LeftOut

_NAME = r"[A-Za-z0-9_]+"
_BACKUP_ID = re.compile(rf"(?P<project>{_NAME})-(?P<environment>{_NAME})-(?P<slot>\d{{12}})")
_SLOT = "%Y%m%d%H%M"
_RUN_ID = re.compile(r"(?P<time>\d{8}T\d{6})-(?P<kind>[a-z]+)-(?P<token>[0-9a-f]{8})", re.ASCII)
_RUN_TIME = "%Y%m%dT%H%M%S"


class BackupId(Document):
    """Three strings and two dashes: project, environment and slot (`YYYYMMDDHHMM`, UTC).

    Source of the form: the original service, e.g. `dxpcloud-lqgqnewltbexuewymq-201910031723`.
    """

    project: str = Field(pattern=f"^{_NAME}$")
    environment: str = Field(pattern=f"^{_NAME}$")
    slot: AwareDatetime

    @classmethod
    def of(cls, project: str, environment: str, moment: datetime) -> Self:
        """The id of the backup whose schedule fired in the minute that holds `moment` (aware)."""
        slot = moment.astimezone(UTC).replace(second=0, microsecond=0)
        return cls(project=project, environment=environment, slot=slot)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads an id; raises InvalidRequest when it is none, so a path never passes for one."""
        match = _BACKUP_ID.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            slot = datetime.strptime(match["slot"], _SLOT).replace(tzinfo=UTC)
        except ValueError:
            # Somebody who restored `latest` expects that everything takes it.
            where = "; give the id itself: 'latest' is not understood here" * (text == "latest")
            raise InvalidRequest(
                f"{text[:100]!r} is not a backup id: <project>-<environment>-<YYYYMMDDHHMM>{where}"
            ) from None
        return cls(project=match["project"], environment=match["environment"], slot=slot)

    def __str__(self) -> str:
        return f"{self.project}-{self.environment}-{self.slot.strftime(_SLOT)}"

    def before(self) -> Self:
        """The id of the minute before."""
        return self.model_copy(update={"slot": self.slot - timedelta(minutes=1)})


class ArchiveKind(StrEnum):
    """What of a backup an archive holds; also the stem of its object's name."""

    DATABASE = "database"
    VOLUME = "volume"


class BackupType(StrEnum):
    """Who asked for a backup; spelled as the original service's console does."""

    AUTO = "Auto"
    MANUAL = "Manual"
    UPLOADED = "Uploaded"


class Archive(Document):
    """One published `.tgz` object and its index, as the manifest lists them."""

    name: str
    """The object's name below the backup's folder, such as `database.tgz`."""
    size: int
    raw_size: int
    sha256: str | None
    """Of the whole object, as `sha256sum` prints it; None where nobody has read the whole."""
    segments_sha256: str | None = None
    """Where `sha256` is None: of the SHA-256s of its segments, one after the other as 32 bytes."""
    segments: int
    index_name: str
    index_size: int
    index_sha256: str
    exact: bool = True
    """False: it holds files that were carried over and turned out to be deleted (see its index)."""
    etag: str | None = None
    """S3's tag of a volume's archive when it was published: by this it is known again."""
    writers: int = 1
    """How many functions wrote it side by side."""


class DatabaseFacts(Document):
    """What the manifest says of the database that was dumped."""

    name: str
    flavour: str
    """`mysql` or `mariadb`."""
    server_version: str
    client_version: str
    tables: int


class VolumeFacts(Document):
    """What the manifest says of the folder that was packed."""

    files: int
    folders: int
    links: int
    bytes: int
    """Sum of the file sizes."""
    own_size: int = 0
    """Bytes of those files that lie in the backup's own archive, as `VolumeSource.file_size`."""
    in_any_order: bool = False
    """Of an upload: whether its members may be unpacked in any order, as all others may."""


NOTICES: Final[Mapping[str, bool]] = {
    "client-mismatch": False,
    "documents-differ": False,
    "documents-elsewhere": True,
    "file-changed": False,
    "file-left-in-place": False,
    "file-unreadable": True,
    "file-vanished": False,
    "float-rounded": True,
    "foreign-key-from-elsewhere": False,
    "histograms-left-out": False,
    "history-left-out": True,
    "left-behind": False,
    "leftover-kept": False,
    "link-not-kept": False,
    "link-outside": True,
    "macos-files-left-out": False,
    "name-too-long": True,
    "primary-key-required": False,
    "report-left-out": False,
    "reserved-name": True,
    "retention-cut": False,
    "row-larger-than-packet": True,
    "rows-as-statements": False,
    "schema-comment": False,
    "schema-encryption": False,
    "source-missing": False,
    "special-file": False,
    "view-of-another-schema": False,
    "volume-empty": True,
    "volume-not-compared": False,
    "volume-stored-whole": False,
    "volume-not-whole": False,
}
"""Every code of a notice, and whether it means loss: something of the site is not in the backup,
nor will it be in the next one unless somebody does something. docs/operations.md says why."""


class Notice(Document):
    """Something that a reader of the backup should know, and that did not stop it."""

    code: str
    """Stable; one of NOTICES."""
    subject: str
    """The file, table or variable it is about."""
    detail: str = ""

    @property
    def means_loss(self) -> bool:
        """Whether something of the site is lost if nobody acts; a later version's codes do not."""
        return NOTICES.get(self.code, False)


class VolumeSource(Document):
    """A backup in whose archive files of another backup's volume lie."""

    backup_id: str
    size: int
    """Bytes of its archive."""
    etag: str
    """S3's tag of its archive: by this it is known again."""
    file_size: int
    """Bytes of the files in its archive, each in whole blocks and with one for its header."""
    live_size: int
    """How many of these bytes are the other backup's files."""


class Manifest(Document):
    """What a backup is. Written last, and only once: a backup exists if its manifest does."""

    format: Literal[1] = 1
    id: str
    type: BackupType
    project: str
    environment: str
    slot: AwareDatetime
    """The minute it is the backup of. Its id names an earlier one when that minute's was taken."""
    run_id: str
    started_at: AwareDatetime
    published_at: AwareDatetime
    service_version: str
    database: Archive
    volume: Archive
    sources: tuple[VolumeSource, ...] = ()
    """In which other backups' archives files of the volume lie; `volume` is only what changed."""
    database_facts: DatabaseFacts
    volume_facts: VolumeFacts
    warnings: tuple[Notice, ...] = ()
    warnings_left_out: int = 0
    """How many more warnings there were; the list is cut so that a manifest stays small."""
    losses: int = 0
    """How many of all warnings mean loss, listed or not."""
    left_out: LeftOut = LeftOut()

    @property
    def warning_count(self) -> int:
        """How many warnings there were, listed or not."""
        return len(self.warnings) + self.warnings_left_out

    @property
    def size(self) -> int:
        """Stored bytes of both archives, without those of sources."""
        return self.database.size + self.volume.size

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Reads a stored manifest; raises UnknownFormat when this version cannot."""
        return read_document(cls, body, "manifest")


class RunKind(StrEnum):
    CREATE = "create"
    RESTORE = "restore"
    CLEANUP = "cleanup"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    VERIFY = "verify"
    REPORT = "report"

    @property
    def takes_lease(self) -> bool:
        """Whether such a run needs the right to write.

        Cleanup touches only what nobody writes, a download writes what only it can make, and what a
        verification or a report loads is its own.
        """
        return self in {RunKind.CREATE, RunKind.RESTORE, RunKind.UPLOAD}


class RunId(Document):
    """When a run began (UTC), of which kind it is, and what tells it from others of that second.

    As text `20261123T001500-create-0a1b2c3d`: ids sort by time, and none is met twice.
    """

    started_at: AwareDatetime
    kind: RunKind
    token: str = Field(pattern="^[0-9a-f]{8}$")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads an id; raises InvalidRequest when it is none, so a path never passes for one."""
        match = _RUN_ID.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            started_at = datetime.strptime(match["time"], _RUN_TIME).replace(tzinfo=UTC)
            kind = RunKind(match["kind"])
        except ValueError:
            raise InvalidRequest(
                f"{text[:100]!r} is not a run id: <YYYYMMDDTHHMMSS>-<kind>-<8 hexadecimal digits>"
            ) from None
        return cls(started_at=started_at, kind=kind, token=match["token"])

    @classmethod
    def find(cls, text: str) -> Self | None:
        """Reads a name that may be somebody else's object's; None when it is no id."""
        try:
            return cls.parse(text)
        except InvalidRequest:
            return None

    def __str__(self) -> str:
        return f"{self.started_at.strftime(_RUN_TIME)}-{self.kind}-{self.token}"


class RunState(StrEnum):
    QUEUED = "queued"
    """Asked for over HTTP; its function has not begun."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens in the run."""
        return self in {RunState.SUCCEEDED, RunState.FAILED}


class RunError(Document):
    """Why a run failed: the code of the error (docs/errors.md) and its sentence, never a secret."""

    code: str
    message: str


class Run(Document):
    """One execution of a job, kept also when it failed."""

    format: Literal[1] = 1
    id: str
    kind: RunKind
    state: RunState
    backup_id: str | None = None
    backup_run_id: str | None = None
    """The run that made the backup which this one reads. Once a backup is deleted, another may get
    its id, and this tells the two apart. None in early records, and while it is not known."""
    started_at: AwareDatetime
    updated_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    step: str = ""
    """What the run is doing now, in words."""
    progress: dict[str, int] = Field(default_factory=dict)
    """Bytes so far, by archive: `database`, `volume`."""
    result: dict[str, str | int | bool | list[str] | None] = Field(default_factory=dict)
    warnings: tuple[Notice, ...] = ()
    error: RunError | None = None

    @model_validator(mode="after")
    def _finished_runs_have_an_end(self) -> Self:
        if self.state.ended != (self.finished_at is not None):
            raise ValueError("a run has finished_at if and only if it has ended")
        return self

    def is_about(self, manifest: Manifest) -> bool:
        """Whether the backup is the one of this restore, and not another that got its id since."""
        return self.backup_id == manifest.id and self.backup_run_id in {None, manifest.run_id}

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Reads a stored run record; raises UnknownFormat when this version cannot."""
        return read_document(cls, body, "run record")


class Lease(Document):
    """The right to write, as it lies in the bucket."""

    format: Literal[1] = 1
    run_id: str
    kind: RunKind
    backup_id: str | None
    acquired_at: AwareDatetime
    expires_at: AwareDatetime


class Pause(Document):
    """Scheduled restores do not start while this lies in the bucket, where every function sees it.

    In an incident the DR site is the live one, and the next scheduled restore would overwrite it.
    """

    format: Literal[1] = 1
    by: str
    reason: str
    since: AwareDatetime


class UploadedFile(Document):
    """One of the two files of an upload, as its sender announced it."""

    size: int = Field(gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Hexadecimal; None when the sender did not say."""
    part_size: int
    """Bytes of every part but the last; at least `size` when it travels in one piece."""
    multipart_id: str
    """S3's id of the multipart upload by which it travels, also in one piece."""
    etag: str | None = None
    """S3's tag of the whole file; known from the moment the upload is sealed."""


class Upload(Document):
    """Two files on their way in, by whom. Its id is also that of the run that takes them in."""

    format: Literal[1] = 1
    id: str
    by: str
    opened_at: AwareDatetime
    files: dict[ArchiveKind, UploadedFile]
    was_out_of_time: bool = False
    """Whether a run that took them in did not come to an end in its time."""

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Reads a stored upload; raises UnknownFormat when this version cannot."""
        return read_document(cls, body, "upload")
