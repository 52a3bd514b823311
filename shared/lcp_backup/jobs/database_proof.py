"""The database's half of a verification: loaded for real, looked at, and dropped again."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.database import scratch
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Flavour, Server
from lcp_backup.database.pieces import IndexedDump
from lcp_backup.errors import VolumeError
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.consistency import ConsistencyReport
from lcp_backup.jobs.side_by_side import Check
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.model import BackupType, Notice
from lcp_backup.settings import Settings

CONNECTIONS: Final = (os.process_cpu_count() or 1) + 1
"""As of a restore."""


class Timed:
    """How long a part of a run takes, by its clock; of one that did not end nothing is known."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._began = now()
        self.seconds = 0.0

    def begin(self) -> None:
        """Begins, or begins anew."""
        self._began = self._now()

    def end(self) -> None:
        """Keeps how long it was."""
        self.seconds = (self._now() - self._began).total_seconds()


@dataclass
class DatabaseProof:
    """The proof of one backup's database, by one function.

    Arguments: `locate` finds the server to load into, and the account that makes schemas there.
    """

    run: ActiveRun
    backup: StoredBackup
    consistency: ConsistencyReport
    settings: Settings
    catalog: Catalog
    locate: Callable[[], DatabaseEndpoint]
    begins: Callable[[], None] = lambda: None
    """Called when the server is known, right before the load begins."""
    server: Server | None = None

    def __post_init__(self) -> None:
        self.load = Timed(self.catalog.now)

    @property
    def server_text(self) -> str | None:
        """What the database is loaded into, such as `mariadb 10.11.19`."""
        return None if self.server is None else f"{self.server.flavour} {self.server.version}"

    @property
    def flavour(self) -> Flavour | None:
        """The server's, once that is known."""
        return None if self.server is None else self.server.flavour

    def prove(self, volume: StoredVolume, check: Check) -> scratch.Proved:
        """Loads it, has the report made while it is there, and drops it; raises as `prove`."""
        manifest = self.backup.manifest
        dump = IndexedDump(
            self.backup.database_segments(),
            self.backup.read_database,
            by_dump_program=manifest.type is not BackupType.UPLOADED,
        )

        def begins(server: Server) -> None:
            self.server = server
            self.begins()
            self.load.begin()

        def look(connection: Connection, schema: str) -> None:
            self.load.end()
            try:
                self.consistency.look(check, volume, connection, schema)
            except VolumeError as error:
                # Without room to sort there is no report. It is no reason not to prove the rest.
                notice = Notice(code="report-left-out", subject=manifest.id, detail=error.public)
                self.run.add_notices((notice,))

        return scratch.prove(
            self.locate(),
            dump,
            whose=self.catalog.location,
            dumped_name=manifest.database_facts.name,
            connections=self.settings.backup_restore_connections or CONNECTIONS,
            statements=self.settings.backup_verify_sql,
            look=look,
            begins=begins,
            progress=self.run.progress_of("database"),
            check=check,
        )
