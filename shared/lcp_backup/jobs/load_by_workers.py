"""A database as steps that several functions do: loaded beside the live one, or for a proof.

    tables --> rows (by many) --> indexes (by many) --> load

A database that is small is loaded by the last of them alone; and so is one of which only that turns
out to be possible, by a task where that would take a function too long (jobs/load_task.py). What
one step leaves to another lies below the run's id, and in the staging schema, where the server
keeps which rows are loaded. (A verification has a last step of its own.)
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import KW_ONLY, dataclass
from itertools import accumulate, pairwise
from typing import Final, Literal, NamedTuple, Protocol

from lcp_backup.catalog import Clock
from lcp_backup.catalog.work import RunWork
from lcp_backup.database.dump_order import OrderMattersError
from lcp_backup.database.loaded import Loaded
from lcp_backup.database.pieces import IndexedDump, Numbered
from lcp_backup.database.shared_load import SharedLoad, SharedLoader
from lcp_backup.document import Document, read_document
from lcp_backup.errors import Conflict, LoadFailed
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.at_work import AtWork, close_to_workers
from lcp_backup.jobs.handing_out import check_portion, leave_portions
from lcp_backup.jobs.load_fan_out import INDEXES_ITEMS, ROWS_ITEMS
from lcp_backup.jobs.shared_run import end_of_stretch
from lcp_backup.jobs.side_by_side import Check
from lcp_backup.jobs.staged_site import SiteStaging

TABLES: Final = "tables"
ROWS: Final = "rows"
INDEXES: Final = "indexes"
LOAD: Final = "load"
_LOAD_BY_TASK: Final = "load-by-task"
STAGES: Final = (TABLES, ROWS, INDEXES, LOAD)
"""Who loads the database, step by step (as of `AtWork`)."""
LEAST: Final = 64 << 20
"""Bytes of the smallest portions of rows, about: an invocation takes some time to begin."""
_MOST: Final = 2 << 30
PORTIONS_OF_WORKER: Final = 2
"""Few: at the end of each, connections wait for the last of its pieces. (What a worker leaves of
one, another goes on with by the piece.)"""
_SHARED: Final = "shared-load"
_IN_ORDER: Final = "in-order"
"""Is there once it turned out that the dump has to be loaded by one function, as it was written."""
_LOADED: Final = "loaded"


class _SharedRows(Document):
    """How a database is shared out."""

    format: Literal[1] = 1
    load: SharedLoad | None
    """None: one function has to load it."""
    portions: tuple[int, ...]
    """Where each portion of the pieces of rows ends, counted in their order."""
    groups: tuple[tuple[str, ...], ...]
    """Tables whose indexes are built together."""


class LoadedBeside(Document):
    """A database that is loaded beside the live one."""

    format: Literal[1] = 1
    loaded: Loaded
    read_bytes: int


class Finished[T](NamedTuple):
    """What the last step has made of a database."""

    what: T
    bytes_by_others: int
    """Of the archive, that the others have read."""


class Loading(Protocol):
    """A database on its way into a schema that several processes fill."""

    def dump(self) -> IndexedDump:
        """What is loaded."""
        ...

    def share_out(self, check: Check) -> SharedLoad:
        """Creates its tables; raises OrderMattersError where one process has to load all of it."""
        ...

    def shared_loader(self, load: SharedLoad, connections: int, check: Check) -> SharedLoader:
        """One of these processes."""
        ...


@dataclass(frozen=True)
class DatabaseSteps:
    """The steps of one run.

    Each may be asked for again: once `define` or `load` has come to its end, and the others at any
    time.
    """

    run: ActiveRun
    work: RunWork
    now: Clock
    pause: Callable[[float], None]
    check: Check
    """Called again and again; raises what ends the run."""
    _: KW_ONLY
    workers: int
    least: int
    """As LEAST."""
    judged: Callable[[SharedLoad | None], AbstractContextManager[None]] = lambda _: nullcontext()
    """Around all that reads the dump or sends it, into this load where there is one."""
    is_task: bool
    """Whether this is the task to which the last step was left."""
    needs_task: bool
    """Whether a database that one process has to load is left to a task."""

    def define(self, site: Loading) -> None:
        """Creates the tables, and shares the rows out."""
        if self.work.find(_SHARED) is not None:
            return
        self._begin(TABLES)
        with AtWork(self.work, self.now, self.check, stage=TABLES) as at_work:
            load = None
            with self.judged(None):
                with suppress(OrderMattersError):
                    load = site.share_out(at_work.check)
                dump = site.dump()
            rows = [] if load is None else load.rows(dump)
            tables = () if load is None else load.tables
            portions = self.workers * PORTIONS_OF_WORKER
            shared = _SharedRows(
                load=load,
                portions=cut_evenly([it.raw_size for _, it in rows], self._most(rows, portions)),
                # (Most are built when their turn comes, by whoever loaded a table's last rows.)
                groups=grouped(tables, dump, self._most(dump.rows(), self.workers)),
            )
            at_work.check()
            leave_portions(self.work, ROWS_ITEMS, len(shared.portions))
            leave_portions(self.work, INDEXES_ITEMS, len(shared.groups))
            self.work.put(_SHARED, shared.model_dump_json().encode())

    def load_rows(self, site: Loading, number: int, connections: int) -> bool:
        """Goes on with a portion of the rows; whether all of them are loaded."""
        shared = self._shared()
        portions = shared.portions
        check_portion(number, max(len(portions), 1))
        if shared.load is None or not portions or self._is_in_order():
            return True
        with AtWork(self.work, self.now, self.check, stage=ROWS) as at_work:
            try:
                with self.judged(shared.load):
                    loader = site.shared_loader(shared.load, connections, at_work.check)
                    first = portions[number - 1] if number else 0
                    wanted = shared.load.rows(loader.dump)[first : portions[number]]
                    return loader.load_rows(wanted, end_of_stretch(self.run))
            except OrderMattersError:
                self._say_in_order()
                return True

    def build_indexes(self, site: Loading, number: int) -> None:
        """Builds the indexes of a group of tables, once all rows are there."""
        shared = self._shared()
        check_portion(number, max(len(shared.groups), 1))
        if shared.load is None or not shared.groups or self._is_in_order():
            return
        if self._is_indexed(number):
            return
        close_to_workers(self.work, self.now, self.check, self.pause, stage=ROWS)
        with AtWork(self.work, self.now, self.check, stage=INDEXES) as at_work:
            try:
                with self.judged(shared.load):
                    loader = site.shared_loader(shared.load, 1, at_work.check)
                    loader.build_indexes(shared.groups[number])
            except OrderMattersError:
                self._say_in_order()
                return
            self.work.put(_indexed(number), b"")

    def take_over(self, *, shares: bool) -> SharedLoad | None:
        """What the others have filled, none of whom goes on; None where one has to load all of it.

        For the last step, which this invocation alone does. Raises Conflict for another one.
        """
        self._begin(_LOAD_BY_TASK if self.is_task else LOAD)
        for stage in (TABLES, ROWS, INDEXES) if shares else ():
            close_to_workers(self.work, self.now, self.check, self.pause, stage=stage)
        return self._filled() if shares else None

    def load(self, site: SiteStaging, *, shares: bool) -> bool:
        """Loads all that is not loaded yet; a failure leaves nothing of the database.

        Answers whether that is done: it may have to be left to a task.
        """
        if self.work.find(_LOADED) is not None:
            return True
        load = self.take_over(shares=shares)
        with (
            AtWork(self.work, self.now, self.check, stage=LOAD) as at_work,
            ExitStack() as undo,
        ):
            finished = self.finish(
                site,
                load,
                complete=lambda it: site.complete(it, at_work.check),
                load_alone=lambda as_written: site.load(at_work.check, as_written=as_written),
            )
            if finished is None:
                return False
            undo.callback(self._take_back, finished.what.discard)
            read_bytes = site.backup.read_bytes + finished.bytes_by_others
            told = LoadedBeside(loaded=finished.what.loaded, read_bytes=read_bytes)
            at_work.check()
            self.work.put(_LOADED, told.model_dump_json().encode())
            undo.pop_all()
        return True

    def finish[T](
        self,
        site: Loading,
        load: SharedLoad | None,
        *,
        complete: Callable[[SharedLoad], T],
        load_alone: Callable[[bool], T],
    ) -> Finished[T] | None:
        """Does what is left: completes what the others have loaded, or loads all of it.

        None, with nothing done, where that is left to a task.

        Arguments: `load` as `take_over` answers it; `load_alone` is told whether it is known that
        the dump has to be loaded as it was written. Raises what these raise.
        """
        if load is not None:
            try:
                return Finished(complete(load), _bytes_by_others(load, site.dump()))
            except OrderMattersError:  # of what is left of the dump
                self._say_in_order()
        return None if self.needs_task else Finished(load_alone(self._is_in_order()), 0)

    def _take_back(self, discard: Callable[[], None]) -> None:
        """Discards what was loaded, once nothing says any more that it is there.

        (S3 may have kept what it did not answer. Where it cannot be asked, all of it is left to the
        end of the run.)
        """
        self.work.remove(_LOADED)
        discard()

    def _filled(self) -> SharedLoad | None:
        """What the others have filled; None where one function has to load all of it."""
        shared = self._shared()
        if shared.load is None or self._is_in_order():
            return None
        if not all(map(self._is_indexed, range(len(shared.groups)))):
            raise LoadFailed("the indexes of some tables were not built")
        return shared.load

    def _shared(self) -> _SharedRows:
        return read_document(_SharedRows, self.work.get(_SHARED), "a database that is shared out")

    def _is_in_order(self) -> bool:
        """Whether it has turned out that one function has to load the dump as it was written."""
        return self.work.find(_IN_ORDER) is not None

    def _say_in_order(self) -> None:
        """From now on it is one process's to load the dump as it was written."""
        self.work.put(_IN_ORDER, b"")

    def _is_indexed(self, number: int) -> bool:
        return self.work.find(_indexed(number)) is not None

    def _most(self, rows: Sequence[Numbered], portions: int) -> int:
        """Bytes of each of about so many portions, in which one worker has enough to do."""
        total = sum(segment.raw_size for _, segment in rows)
        return min(max(total // portions, self.least), _MOST)

    def _begin(self, stage: str) -> None:
        """Raises Conflict for who would do away with what another invocation is at work on."""
        if not self.work.claim(f"begun-{stage}"):
            raise Conflict(f"another invocation does the step {stage} of run {self.run.id} already")


def _bytes_by_others(load: SharedLoad, dump: IndexedDump) -> int:
    """What of the archive the others have read."""
    return sum(segment.size for _, segment in load.rows(dump))


def find_loaded(work: RunWork) -> LoadedBeside | None:
    """What was loaded beside the live database; None when nothing was."""
    found = work.find(_LOADED)
    return None if found is None else read_document(LoadedBeside, found, "a loaded database")


def cut_evenly(sizes: Sequence[int], most: int) -> tuple[int, ...]:
    """Where runs of these end, each of about `most` in all, or of one that is larger."""
    ends: list[int] = []
    begun_at = 0
    for number, reached in enumerate(accumulate(sizes), 1):
        if reached - begun_at >= most or number == len(sizes):
            ends.append(number)
            begun_at = reached
    return tuple(ends)


def grouped(tables: Sequence[str], dump: IndexedDump, most: int) -> tuple[tuple[str, ...], ...]:
    """Tables in groups of about `most` bytes of rows, the largest first."""
    ordered = sorted(tables, key=lambda it: -(dump.row_bytes(it) or 0))
    ends = cut_evenly([dump.row_bytes(it) or 0 for it in ordered], most)
    return tuple(tuple(ordered[first:last]) for first, last in pairwise((0, *ends)))


def _indexed(number: int) -> str:
    return f"indexed-{number}"
