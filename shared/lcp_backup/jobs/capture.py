"""Capture: the database and the volume of a site as they are together, stored but not published."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.errors import Conflict, LeaseLost, OutOfTime, StorageError, TableChangedDuringDump
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.new_backup import new_manifest
from lcp_backup.jobs.new_database import DumpedDatabase, store_database
from lcp_backup.jobs.new_volume import NewVolume, store_volume
from lcp_backup.jobs.side_by_side import Check, side_by_side
from lcp_backup.jobs.unfinished import LEAST_READ, keep_unfinished, packing_is_over
from lcp_backup.model import BackupId, BackupType, Manifest
from lcp_backup.setting_values import VolumeMode
from lcp_backup.settings import Settings
from lcp_backup.volume.measure import Measured, measure


@dataclass(frozen=True, kw_only=True)
class Capture:
    """Both archives of one backup, written below its id; nothing is published."""

    run: ActiveRun
    settings: Settings
    catalog: Catalog
    backup_id: BackupId
    slot: datetime
    backup_type: BackupType
    locate: Callable[[], DatabaseEndpoint]
    programs: Sequence[Path]
    stored: list[NewVolume] = field(default_factory=list[NewVolume])
    """The volume, once all of it is stored."""

    def capture(self) -> Manifest:
        """Captures; when a table was altered meanwhile, captures once more from the start.

        The volume is captured again too: its files must not be older than the rows that name them.
        """
        try:
            try:
                database, volume = self._capture_both()
            except TableChangedDuringDump as error:
                self.run.step(f"capturing once more: {error.public}", reason=str(error))
                database, volume = self._capture_both()
            self.run.check()
        except LeaseLost:
            # What lies below the id may by now be another run's.
            raise
        except OutOfTime as error:
            # Of a volume that is whole: it was the database that took too long.
            if self.stored and self.stored[0].packed.read_size >= LEAST_READ:
                raise self._kept(self.stored[0]) from error
            self._clear()
            raise
        except BaseException:
            # An archive that was whole is of no use alone; cleanup would take it away tomorrow.
            self._clear()
            raise
        return new_manifest(
            self.run,
            self.catalog,
            self.backup_id,
            slot=self.slot,
            backup_type=self.backup_type,
            database=database,
            volume=volume,
            table_patterns=self.settings.backup_exclude_tables,
        )

    def _clear(self) -> None:
        # (Conflict: what is there is kept for the next run.)
        with suppress(StorageError, Conflict):
            self.catalog.backups.clear_unpublished(str(self.backup_id))

    def _kept(self, volume: NewVolume) -> OutOfTime:
        def measured(is_over: Callable[[], bool]) -> Measured:
            return measure(
                Path(self.settings.backup_folder),
                leave_out=self.settings.left_out_paths,
                threads=self.settings.backup_volume_threads,
                is_over=is_over,
            )

        return keep_unfinished(self.catalog, self.run, str(self.backup_id), volume, measured)

    def _capture_both(self) -> tuple[DumpedDatabase, NewVolume]:
        self.run.confirm()
        self.catalog.backups.clear_unpublished(str(self.backup_id))
        self.stored.clear()
        snapshot = threading.Event()
        self.run.step("dumping the database, and packing the volume once its snapshot stands")
        return side_by_side(
            lambda check: self._dump(snapshot, check),
            lambda check: self._pack(snapshot, check),
            self.run.check,
        )

    def _dump(self, snapshot: threading.Event, check: Check) -> DumpedDatabase:
        return store_database(
            self.run,
            str(self.backup_id),
            catalog=self.catalog,
            locate=self.locate,
            programs=self.programs,
            table_patterns=self.settings.backup_exclude_tables,
            on_snapshot=snapshot.set,
            check=check,
        )

    def _pack(self, snapshot: threading.Event, check: Check) -> NewVolume:
        settings = self.settings
        while not snapshot.wait(0.05):
            check()
        volume = store_volume(
            self.catalog,
            str(self.backup_id),
            Path(settings.backup_folder),
            whole=settings.backup_volume_mode is VolumeMode.FULL,
            leave_out=settings.left_out_paths,
            began=self.run.started_at,
            shrink_limit=settings.backup_volume_shrink_limit,
            threads=settings.backup_volume_threads,
            progress=self.run.progress_of("volume"),
            check=check,
            is_over=packing_is_over(self.run),
        )
        if volume.packed.ended_early:
            raise self._kept(volume)
        self.stored.append(volume)
        return volume
