"""The records of runs: written under an id that sorts by time, and kept when the run failed."""

import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from itertools import islice

from lcp_backup.aws.s3 import LISTED_AT_ONCE, ObjectStore
from lcp_backup.catalog.keys import Keys
from lcp_backup.errors import (
    Conflict,
    NotFound,
    ObjectNotFound,
    PreconditionFailed,
    RestoredInPart,
)
from lcp_backup.model import Run, RunId, RunKind, RunState

_DAY = re.compile(r"[0-9]{8}")
_DAYS_AT_ONCE = 16
TIME_DIGITS = len("YYYYMMDDTHHMMSS")


class Runs:
    """The runs of one environment; `now` answers aware UTC."""

    def __init__(self, store: ObjectStore, keys: Keys, now: Callable[[], datetime]) -> None:
        self._store = store
        self._keys = keys
        self._now = now

    def new_id(self, kind: RunKind) -> str:
        """An id that sorts by time and is not met twice."""
        return str(RunId(started_at=self._now(), kind=kind, token=secrets.token_hex(4)))

    def queue(
        self,
        run_id: str,
        kind: RunKind,
        backup_id: str | None,
        *,
        backup_run_id: str | None = None,
        waits_for: str = "its function to start",
    ) -> Run:
        """Stores the record of a run whose function was asked to start and has not yet.

        For a restore, `backup_run_id` says which backup of that id is meant; `waits_for` is told
        meanwhile.
        """
        run = self._queued(run_id, kind, backup_id, backup_run_id, waits_for)
        self.write(run)
        return run

    def queue_after(self, before: Run | None, run_id: str, kind: RunKind) -> Run:
        """As `queue`, where the record still is the one that was read `before`, or there is none.

        Raises Conflict where somebody else was faster.
        """
        run = self._queued(run_id, kind, None, None, "its function to start")
        if before is None:
            body = run.model_dump_json(indent=1).encode()
            try:
                self._store.put_new(self._keys.of_run(run_id), body)
            except PreconditionFailed as error:
                raise _asked_for_twice(run_id) from error
            return run

        def instead(there: Run) -> Run:
            if there != before:
                raise _asked_for_twice(run_id)
            return run

        return self.change(run_id, instead)

    def _queued(
        self,
        run_id: str,
        kind: RunKind,
        backup_id: str | None,
        backup_run_id: str | None,
        waits_for: str,
    ) -> Run:
        now = self._now()
        return Run(
            id=run_id,
            kind=kind,
            state=RunState.QUEUED,
            backup_id=backup_id,
            backup_run_id=backup_run_id,
            started_at=now,
            updated_at=now,
            step=f"waiting for {waits_for}",
        )

    def write(self, run: Run) -> None:
        """Stores a run's record, over the one it had."""
        self._store.put(self._keys.of_run(run.id), run.model_dump_json(indent=1).encode())

    def change(self, run_id: str, change: Callable[[Run], Run]) -> Run:
        """Changes the record that is there now, whoever else does so at the same time.

        Raises NotFound, UnknownFormat.
        """
        key = self._keys.of_run(run_id)
        while True:
            try:
                stored = self._store.get(key)
                changed = change(Run.read(stored.body))
                body = changed.model_dump_json(indent=1).encode()
                self._store.put_over(key, body, stored.etag)
            except ObjectNotFound as error:
                raise _no_run(run_id) from error
            except PreconditionFailed:
                continue
            return changed

    def get(self, run_id: str) -> Run:
        """A run's record; raises NotFound, UnknownFormat."""
        try:
            return Run.read(self._store.get(self._keys.of_run(run_id)).body)
        except ObjectNotFound as error:
            raise _no_run(run_id) from error

    def ids(self, *, before: str | None = None) -> Iterator[str]:
        """The ids of all runs, newest first; with `before` (an id, or how one begins) older ones.

        What is no run was put there by somebody else: its name is left out.

        Taken only as they are needed: a listing of all records would be most of a page's time.
        """
        days = [day for day in self._store.names(self._keys.runs, "T") if _DAY.fullmatch(day)]
        older = iter(sorted((day for day in days if before is None or day < before), reverse=True))
        at_once = 1
        # Most often the newest day is the answer. Where it is not, more and more days are listed.
        while some := list(islice(older, at_once)):
            with ThreadPoolExecutor(len(some), thread_name_prefix="day") as pool:
                listed = list(pool.map(lambda day: self._some(f"{day}T"), some))
            for day, found in zip(some, listed, strict=True):
                for run_id in self._below(f"{day}T", found, before):
                    if (before is None or run_id < before) and RunId.find(run_id):
                        yield run_id
            at_once = min(2 * at_once, _DAYS_AT_ONCE)

    def _some(self, start: str) -> list[str]:
        """The ids that begin so, oldest first; only the first of them where there are many."""
        names = self._store.names(f"{self._keys.runs}{start}", ".json")
        return [f"{start}{name}" for name in islice(names, LISTED_AT_ONCE)]

    def _below(self, start: str, some: list[str], before: str | None) -> Iterator[str]:
        """The ids that begin so, newest first; `some` is what `_some` found of them."""
        if len(some) < LISTED_AT_ONCE:
            yield from reversed(some)
        elif len(start) == TIME_DIGITS:  # more in one second than one answer holds
            names = self._store.names(f"{self._keys.runs}{start}", ".json")
            yield from sorted((f"{start}{name}" for name in names), reverse=True)
        else:
            # S3 lists in one direction only, and the newest are last: by hours, then minutes.
            for digit in "9876543210":
                narrower = f"{start}{digit}"
                if before is None or narrower <= before:
                    yield from self._below(narrower, self._some(narrower), before)

    def all(self) -> Iterator[Run]:
        """Every run, newest first."""
        for run_id in self.ids():
            with suppress(NotFound):  # cleanup may delete one while they are read
                yield self.get(run_id)

    def restores(
        self, since: datetime | None = None, *, also_incomplete: bool = False
    ) -> Iterator[Run]:
        """The successful restores of a whole site, newest first; of those asked for since then.

        `also_incomplete`: also those of a selection, and those that ended half-way.
        """
        for run_id in self.ids():
            named = RunId.parse(run_id)
            if named.kind is not RunKind.RESTORE:
                continue
            # The id tells the time, so that no older record is opened.
            if since is not None and named.started_at < since:
                return
            run = self.get(run_id)
            if run.state is RunState.SUCCEEDED:
                wanted = also_incomplete or run.result.get("whole", True)
            else:
                half_way = run.error is not None and run.error.code == RestoredInPart.code
                wanted = also_incomplete and half_way
            if wanted:
                yield run

    def delete(self, run_ids: list[str]) -> None:
        """Deletes runs' records."""
        self._store.delete([self._keys.of_run(run_id) for run_id in run_ids])


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"there is no run {run_id[:100]!r}")


def _asked_for_twice(run_id: str) -> Conflict:
    return Conflict(
        f"{run_id} was asked for by another call at this moment: its run tells what comes of it"
    )
