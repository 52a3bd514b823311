"""Our side of what is measured of increments: the volume's share of creates and restores.

Archives, indexes and manifests lie in files on the disk, as restic's repository does, and reach it
before a create ends, as restic's do. All that is asked of the service is in this file.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bench.file_store import FileStore
from bench.manifests import a_manifest
from lcp_backup import history
from lcp_backup.catalog import Catalog
from lcp_backup.exclusion import PathPatterns
from lcp_backup.jobs.new_volume import secure_sources, store_volume
from lcp_backup.jobs.stored_backup import THREADS, StoredBackup, StoredVolume
from lcp_backup.model import Manifest
from lcp_backup.settings import Settings
from lcp_backup.volume.selection import selected, unpack_wanted
from lcp_backup.volume.staging import stage
from lcp_backup.volume.wanted import WantedMembers

_SETTLED: Final = timedelta(minutes=1)
"""How long nobody has changed the folder when a create begins. (What changed a moment before is
read once more by the next create; and benches, unlike sites, are always backed up right then.)"""
_THREADS: Final = Settings.model_fields["backup_volume_threads"].default
"""As a stack has it where nobody says otherwise."""
_NOTHING: Final[Callable[..., None]] = lambda *_: None  # noqa: E731 -- a default that has a type


@dataclass
class StoredVolumes:
    """The backups of one folder, each of which refers to the ones before."""

    folder: Path
    root: Path
    """Where they are stored."""
    _slot: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    newest: Manifest = field(init=False)
    """The last that was created."""
    _store: FileStore = field(init=False)

    def __post_init__(self) -> None:
        self._store = FileStore(self.root)
        self._catalog = Catalog(self._store, "bench")

    def create(self, *, whole: bool = False) -> Manifest:
        """Stores what changed since the last, or everything; a minute later than the last one."""
        self._slot += timedelta(minutes=1)
        manifest = a_manifest(self._slot)
        # (As a backup whose base is too small to be referred to.)
        history.WHOLE_BELOW = sys.maxsize if whole else 0  # type: ignore[misc]
        volume = store_volume(
            self._catalog,
            manifest.id,
            self.folder,
            whole=False,
            leave_out=PathPatterns(()),
            began=datetime.now(UTC) + _SETTLED,
            shrink_limit=50,
            threads=_THREADS,
            progress=_NOTHING,
            check=_NOTHING,
        )
        manifest = manifest.model_copy(
            update={
                "volume": volume.archive,
                "sources": volume.sources,
                "volume_facts": volume.packed.facts,
                "warnings": (*volume.notices, *volume.packed.notices),
            }
        )
        assert not manifest.warnings, manifest.warnings
        manifest = secure_sources(self._catalog, manifest)
        self._catalog.backups.publish(manifest)
        self.newest = manifest
        return manifest

    def restore(self, backup: Manifest, target: Path, *paths: str) -> int:
        """Restores a backup, or some paths of it; answers the bytes of all objects that it read.

        They are staged beside the target, an empty folder, checked, and swapped in.
        """
        before = self._store.bytes_read
        with StoredBackup(self._catalog, backup).volume() as volume:
            members = volume.members()
            wanted = WantedMembers(selected(members, paths) if paths else members)
            with stage(target) as staged:
                unpack_wanted(
                    wanted,
                    volume.read(wanted),
                    staged,
                    paths=paths,
                    owner=None,
                    threads=_THREADS,
                    progress=_NOTHING,
                    check=_NOTHING,
                )
                if paths:
                    staged.swap_selection(paths)
                else:
                    staged.swap()
        return self._store.bytes_read - before


def stored_backup(root: Path, backup: Manifest, *, threads: int = THREADS) -> StoredBackup:
    """A backup that is stored there, in whatever process."""
    return StoredBackup(Catalog(FileStore(root), "bench"), backup, threads=threads)


@contextmanager
def opened(root: Path, backup: Manifest) -> Iterator[StoredVolume]:
    """Its volume."""
    with stored_backup(root, backup).volume() as volume:
        yield volume


def size_of(backup: Manifest) -> int:
    """Bytes that a backup added to what is stored of the volume."""
    return backup.volume.size + backup.volume.index_size
