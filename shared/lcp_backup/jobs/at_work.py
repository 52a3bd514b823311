"""Who of a run's workers may still be at work, so that the next step waits until nobody is.

A state machine may call a worker again while the first invocation still runs, of which it lost the
answer. Such a *zombie* does no harm while others do the same; it must have ended before what they
made together is used. So each says for how long it will be at work, and says so again while it is;
once the run has been closed to workers, it does not get to say so any more.

Those of one *stage* may be at work at once; the next one begins when the one before is closed.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Self

from lcp_backup.catalog import Clock
from lcp_backup.catalog.work import RunWork
from lcp_backup.errors import LeaseLost

TERM: Final = timedelta(seconds=60)
"""How long a worker may go on without saying so."""
_RENEWED: Final = timedelta(seconds=15)
WORKERS: Final = "workers"
"""The stage of those that do a share each."""
_AT_WORK: Final = "at-work-"
_CLOSED: Final = "closed-"


class AtWork:
    """One invocation at work, for as long as the block lasts.

    Entering, and `check`, raise LeaseLost once the run was closed to workers, or when this one
    could not say in time that it goes on; and StorageError.

    Arguments: `now` answers aware UTC; `check` is called by each check; `stage` names the stage,
    in small letters.
    """

    def __init__(
        self, work: RunWork, now: Clock, check: Callable[[], None], *, stage: str = WORKERS
    ) -> None:
        self._work = work
        self._closed = f"{_CLOSED}{stage}"
        self._now = now
        self._check = check
        self._name = f"{_AT_WORK}{stage}-{secrets.token_hex(8)}"
        self._until = now() + TERM

    def __enter__(self) -> Self:
        self._renew()
        return self

    def __exit__(self, *_: object) -> None:
        self._say(self._now())

    def check(self) -> None:
        """Call it often; raises also what the given `check` raises."""
        self._check()
        now = self._now()
        if now >= self._until:
            raise LeaseLost(
                f"a worker of run {self._work.run_id} could not say in time that it is at work;"
                " it changed nothing more"
            )
        if now >= self._until - TERM + _RENEWED:
            self._renew()

    def _renew(self) -> None:
        until = self._now() + TERM
        self._say(until)
        # In this order: who closes the run first says so, and then looks who is at work.
        if self._work.find(self._closed) is not None:
            self._say(self._now())
            raise LeaseLost(f"run {self._work.run_id} is closed to workers: this one came late")
        self._until = until

    def _say(self, until: datetime) -> None:
        self._work.put(self._name, until.isoformat().encode())


def close_to_workers(
    work: RunWork,
    now: Clock,
    check: Callable[[], None],
    pause: Callable[[float], None],
    *,
    stage: str = WORKERS,
) -> None:
    """Lets no worker of a run's stage go on, and waits until none does: for a minute at most.

    Arguments: `check` is called meanwhile, and what it raises ends the wait; `pause` takes seconds.
    Raises StorageError.
    """
    work.put(f"{_CLOSED}{stage}", b"")
    own = f"{_AT_WORK}{stage}-"
    said = [work.find(name) for name in work.names() if name.startswith(own)]
    last = max((datetime.fromisoformat(it.decode()) for it in said if it), default=now())
    while now() < last:
        check()
        pause(1.0)
