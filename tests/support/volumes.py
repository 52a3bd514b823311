"""A folder that is backed up time and again, as the jobs do it with the volume alone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lcp_backup import history
from lcp_backup.catalog import Catalog
from lcp_backup.errors import OutOfTime
from lcp_backup.exclusion import LeftOut, PathPatterns
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.new_volume import NewVolume, secure_sources, store_volume
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.jobs.unfinished import keep_unfinished
from lcp_backup.model import BackupId, BackupType, Manifest
from lcp_backup.volume.measure import measure
from lcp_backup.volume.selection import selected, unpack_wanted
from lcp_backup.volume.staging import stage
from lcp_backup.volume.wanted import WantedMembers
from tests.support.backups import a_manifest
from tests.support.clock import SettableClock

LATER = timedelta(hours=1)
"""What passes between two backups: files that were there before are then settled."""


class Volumes:
    """Backups of one folder; `refer_to_every_size` lets small ones be referred to, too."""

    def __init__(self, catalog: Catalog, clock: SettableClock, folder: Path, out: Path) -> None:
        self.catalog = catalog
        self._clock = clock
        self.folder = folder
        self._out = out
        self._restores = 0
        self.settled = LATER
        """How long before a backup what lies there was changed, as far as that knows."""
        self.leave_out = PathPatterns(())
        folder.mkdir(exist_ok=True)

    def back_up(self, kind_of: BackupType = BackupType.AUTO, *, whole: bool = False) -> Manifest:
        """One backup, an hour after the last."""
        self._clock.pass_by(LATER)
        backup_id = str(self.catalog.backups.id_for(BackupId.of("acme", "prd", self._clock())))
        volume = self.store(backup_id, whole=whole)
        manifest = a_manifest(self._clock()).model_copy(
            update={
                "id": backup_id,
                "type": kind_of,
                "volume": volume.archive,
                "sources": volume.sources,
                "volume_facts": volume.packed.facts,
                "left_out": LeftOut(
                    path_patterns=self.leave_out.patterns, paths=volume.packed.left_out
                ),
                "warnings": (*volume.notices, *volume.packed.notices),
            }
        )
        manifest = secure_sources(self.catalog, manifest)
        self.catalog.backups.publish(manifest)
        return manifest

    def begin(
        self, is_over: Callable[[int], bool], run: ActiveRun, *, whole: bool = False
    ) -> OutOfTime:
        """A backup an hour after the last whose time ends; what it is told to end with."""
        self._clock.pass_by(LATER)
        backup_id = str(self.catalog.backups.id_for(BackupId.of("acme", "prd", self._clock())))
        volume = self.store(backup_id, whole=whole, is_over=is_over)
        return keep_unfinished(
            self.catalog,
            run,
            backup_id,
            volume,
            lambda is_over: measure(
                self.folder, leave_out=self.leave_out, threads=2, is_over=is_over
            ),
        )

    def store(
        self,
        backup_id: str,
        *,
        whole: bool = False,
        progress: Callable[[int], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
        is_over: Callable[[int], bool] = lambda _: False,
    ) -> NewVolume:
        """Everything up to its publication."""
        return store_volume(
            self.catalog,
            backup_id,
            self.folder,
            whole=whole,
            leave_out=self.leave_out,
            began=datetime.now(UTC) + self.settled,
            shrink_limit=100,
            threads=2,
            progress=progress,
            check=check,
            is_over=is_over,
        )

    def restore(self, backup_id: str, *paths: str) -> Path:
        """What a restore of a backup, or of some paths of it, makes of nothing."""
        self._restores += 1
        folder = self._out / f"restored-{self._restores}"
        stored = StoredBackup(self.catalog, self.catalog.backups.get(backup_id))
        with stored.volume() as volume:
            members = volume.members()
            wanted = WantedMembers(selected(members, paths) if paths else members)
            with stage(folder) as staged:
                unpack_wanted(
                    wanted,
                    volume.read(wanted),
                    staged,
                    paths=paths,
                    owner=None,
                    threads=2,
                    progress=lambda _: None,
                    check=lambda: None,
                )
                staged.swap()
        self.read_bytes = stored.read_bytes
        return folder


def refer_to_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has backups of any size be referred to."""
    monkeypatch.setattr(history, "WHOLE_BELOW", 0)
