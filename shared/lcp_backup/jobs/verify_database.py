"""The database's half of a verification by several functions, step by step.

    tables --> rows (by many) --> indexes (by many) --> database

The first three are a restore's (jobs/load_by_workers.py), in a scratch schema; the last one checks
what was loaded, and drops it. Where one function has to load all of it, the last one does. Between
two steps nobody is connected: until the run is over its id, beside the schema, keeps that.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from lcp_backup.catalog import Catalog
from lcp_backup.database import scratch_schemas
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.shared_load import SharedLoad
from lcp_backup.errors import BackupError
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.at_work import AtWork
from lcp_backup.jobs.consistency import ConsistencyReport
from lcp_backup.jobs.database_proof import DatabaseProof, other_under_way
from lcp_backup.jobs.failure import describe
from lcp_backup.jobs.giving_way import GivesWay
from lcp_backup.jobs.load_by_workers import INDEXES, ROWS, TABLES, DatabaseSteps
from lcp_backup.jobs.load_fan_out import connections_of_worker
from lcp_backup.jobs.load_task import needs_task
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.jobs.verified import left_behind
from lcp_backup.jobs.verify_work import ProvedDatabase, VerifyWork
from lcp_backup.settings import Settings

_DATABASE: Final = "database"
"""The stage of who checks the database, or loads it alone."""
STAGES: Final = (TABLES, ROWS, INDEXES, _DATABASE)
"""All of this half (as of `AtWork`)."""


@dataclass
class DatabaseHalf:
    """What a step of it works with."""

    run: ActiveRun
    work: VerifyWork
    settings: Settings
    catalog: Catalog
    backup: StoredBackup
    locate: Callable[[], DatabaseEndpoint]
    pause: Callable[[float], None]
    is_task: bool = False
    """As of `DatabaseSteps`."""
    _consistency: ConsistencyReport = field(init=False)
    _proof: DatabaseProof = field(init=False)
    _steps: DatabaseSteps = field(init=False)

    def __post_init__(self) -> None:
        run, work, shared = self.run, self.work, self.work.shared
        self._gives_way = GivesWay(run, self.catalog)
        self._consistency = ConsistencyReport(self.backup, self.catalog, run.id)
        self._proof = DatabaseProof(
            run, self.backup, self._consistency, self.settings, self.catalog, self.locate
        )
        self._proof.begins = lambda: work.put_server(self._proof.server_text)
        self._steps = DatabaseSteps(
            run,
            work.run_work,
            self.catalog.now,
            self.pause,
            self._gives_way,
            workers=shared.workers,
            least=shared.least_rows,
            judged=self._judged,
            is_task=self.is_task,
            needs_task=not self.is_task
            and needs_task(self.backup.manifest, self.settings, run.seconds_left()),
        )

    def define(self) -> None:
        """Creates the tables, and shares the rows out."""
        told = self._proof.begins

        def begins() -> None:
            told()
            self.work.put_load_began(self.catalog.now())

        self._proof.begins = begins
        self._steps.define(self._proof)

    def load_rows(self, number: int) -> bool:
        """Goes on with a portion of the rows; whether all of them are loaded."""
        return self._steps.load_rows(self._proof, number, connections_of_worker(self.settings))

    def build_indexes(self, number: int) -> None:
        """Builds the indexes of a group of tables, and counts their rows."""
        self._steps.build_indexes(self._proof, number)

    def prove(self) -> bool:
        """Looks at what was loaded, or loads it first, and drops it; nothing where that is done.

        Answers whether that is done: it may have to be left to a task.
        """
        work, run, proof = self.work, self.run, self._proof
        if work.proved() is not None:
            return True
        load = None
        shares = work.shared.loads == "by-workers"
        if shares:
            load = self._steps.take_over(shares=True)
            proof.began_at = work.load_began_at
        with AtWork(work.run_work, self.catalog.now, self._gives_way, stage=_DATABASE) as at_work:
            with self._judged(None), self.backup.volume() as volume:
                finished = self._steps.finish(
                    proof,
                    load,
                    complete=lambda it: proof.complete(it, volume, at_work.check),
                    load_alone=lambda as_written: proof.prove(
                        volume, at_work.check, as_written=as_written
                    ),
                )
            if finished is None:
                return False
            proved = finished.what
            run.add_notices(left_behind(proved))
            if self._consistency.report is not None:
                work.put_reported(self._consistency.report, self._consistency.listed)
            found = ProvedDatabase(
                tables=proved.tables,
                rows=proved.rows,
                tables_counted=proved.tables_counted,
                statements=proved.statements,
                read_bytes=self.backup.read_bytes + finished.bytes_by_others,
                load_seconds=proof.load.seconds,
            )
            at_work.check()
            work.put_proved(found)
        return True

    def _judged(self, load: SharedLoad | None) -> AbstractContextManager[None]:
        def still_there() -> None:
            if load is not None:
                self._proof.check_is_there(load)

        return self.work.judged(
            _DATABASE,
            self.backup.manifest,
            lambda: self._proof.flavour or self.work.flavour,
            still_there,
        )


def drop_what_is_left(
    run: ActiveRun, catalog: Catalog, locate: Callable[[], DatabaseEndpoint]
) -> None:
    """Of this run, and of all that are over; the next verification does what cannot be done now."""
    try:
        scratch_schemas.drop_abandoned(
            locate(), whose=catalog.location, under_way=other_under_way(run.id, catalog)
        )
    except BackupError as error:
        left = "what is left of the database is left to the next verification"
        run.detail(left, reason=describe(error, run.id).message)
