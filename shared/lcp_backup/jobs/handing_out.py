"""How a run is handed out to workers: what all plans do, whatever the workers are for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import RunWork
from lcp_backup.errors import InvalidRequest, StorageError

ALONE: Final = 1
"""Workers of a run that one invocation does."""
type StartWorkers = Callable[[str, dict[str, Any]], None]
"""Starts the execution of a state machine, by its name, with its input."""
_CLAIM: Final = "claim"
"""Is there once a delivery of the run's event has begun to plan."""


def claim(catalog: Catalog, run_id: str | None) -> bool:
    """Whether this delivery of a run's event is the one that plans, and not an earlier one.

    For runs without a lease, by which a second one would be told. Raises StorageError.
    """
    return run_id is None or catalog.work.of(run_id).claim(_CLAIM)


@contextmanager
def taken_back_on_failure(work: RunWork) -> Iterator[None]:
    """Around a plan: what it has left goes when it fails."""
    try:
        yield
    except BaseException:
        forget(work)
        raise


def forget(work: RunWork) -> None:
    """Deletes what the processes of a run have left; what cannot be deleted now, cleanup finds."""
    with suppress(StorageError):
        work.delete()


def leave_portions(work: RunWork, name: str, count: int) -> None:
    """Leaves a Map its items, the numbers of so many portions; of none, one that has nothing."""
    # (What AWS makes of a Map without items is nowhere told.)
    items = ",".join(f'{{"portion":{number}}}' for number in range(max(count, 1)))
    work.put(name, f"[{items}]".encode())


def check_portion(number: int, count: int) -> None:
    """Raises InvalidRequest for a portion that there is not."""
    if number >= count:
        raise InvalidRequest(f"portion: {number} is asked for, and there are {count}")
