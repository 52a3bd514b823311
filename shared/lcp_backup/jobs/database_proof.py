"""The database's half of a verification: loaded for real, looked at, and dropped again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Flavour, Server
from lcp_backup.database.pieces import IndexedDump
from lcp_backup.database.scratch import Proved, ScratchLoad, check_is_there, loader_of
from lcp_backup.database.scratch_schemas import UnderWay
from lcp_backup.database.shared_load import SharedLoad, SharedLoader
from lcp_backup.errors import VolumeError
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.consistency import ConsistencyReport
from lcp_backup.jobs.left_work import is_under_way
from lcp_backup.jobs.load_fan_out import connections_of_one
from lcp_backup.jobs.side_by_side import Check
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.jobs.timed import Timed
from lcp_backup.model import BackupType, Notice
from lcp_backup.settings import Settings


@dataclass
class DatabaseProof:
    """The proof of one backup's database, by one function or (`Loading`) several.

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
    began_at: datetime | None = None
    """When the load began, if another function did that."""
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

    def prove(self, volume: StoredVolume, check: Check, *, as_written: bool = False) -> Proved:
        """Loads it, has the report made while it is there, and drops it; as of `ScratchLoad`."""
        self.backup.check_database_gaps(check)
        return self._scratch(check, volume).prove(as_written=as_written)

    # --- by several functions -----------------------------------------------------

    def share_out(self, check: Check) -> SharedLoad:
        """Begins to load it, for several functions of the run to go on with."""
        return self._scratch(check).share_out(self.run.id)

    def shared_loader(self, load: SharedLoad, connections: int, check: Check) -> SharedLoader:
        """One of these functions."""
        return SharedLoader(
            endpoint=loader_of(self.locate(), load, self.run.id),
            load=load,
            dump=self.dump(),
            dumped_name=self.backup.manifest.database_facts.name,
            connections=connections,
            progress=self.run.progress_of("database"),
            check=check,
        )

    def check_is_there(self, load: SharedLoad) -> None:
        """Raises Conflict where what they load is on the server no more."""
        check_is_there(self.locate(), load, self.run.id)

    def complete(self, load: SharedLoad, volume: StoredVolume, check: Check) -> Proved:
        """As `prove`, of what these functions have loaded."""
        self.backup.check_database_gaps(check)
        return self._scratch(check, volume).complete(load, self.run.id)

    def dump(self) -> IndexedDump:
        """What is loaded."""
        return IndexedDump(
            self.backup.database_segments(),
            self.backup.read_database,
            by_dump_program=self.backup.manifest.type is not BackupType.UPLOADED,
        )

    def _scratch(
        self, check: Check, volume: StoredVolume | None = None
    ) -> ScratchLoad[IndexedDump]:
        manifest = self.backup.manifest

        def begins(server: Server) -> None:
            self.server = server
            self.begins()
            self.load.begin(self.began_at)

        def look(connection: Connection, schema: str) -> None:
            self.load.end()
            if volume is None:
                return
            try:
                self.consistency.look(check, volume, connection, schema)
            except VolumeError as error:
                # Without room to sort there is no report. It is no reason not to prove the rest.
                notice = Notice(code="report-left-out", subject=manifest.id, detail=error.public)
                self.run.add_notices((notice,))

        return ScratchLoad(
            server=self.locate(),
            dump=self.dump(),
            whose=self.catalog.location,
            dumped_name=manifest.database_facts.name,
            connections=connections_of_one(self.settings),
            under_way=other_under_way(self.run.id, self.catalog),
            statements=self.settings.backup_verify_sql,
            look=look,
            begins=begins,
            progress=self.run.progress_of("database"),
            check=check,
        )


def other_under_way(run_id: str, catalog: Catalog) -> UnderWay:
    """Whether a run may still be at work on its scratch schema, where that is not this one.

    What an earlier step of this run has left there it does not need where it asks.
    """
    return lambda other: other != run_id and is_under_way(catalog, other)
