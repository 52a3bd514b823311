"""Whether one function loads a database or several do, and how many at once."""

import os
from typing import Final

from lcp_backup.catalog.work import RunWork
from lcp_backup.model import Manifest
from lcp_backup.settings import Settings

ROWS_ITEMS: Final = "items-rows"
INDEXES_ITEMS: Final = "items-indexes"
"""What the state machines' Maps read."""
CONNECTIONS: Final = (os.process_cpu_count() or 1) + 1
"""Over how many connections rows are loaded unless a setting says (measured: docs/decisions.md)."""
_SQL_A_SECOND: Final = 20 << 20
"""Bytes of SQL that one invocation loads at least: half of what was measured (docs/limits.md)."""
_LEAST_SQL: Final = 1 << 30
"""Bytes of SQL below which workers would take longer to begin than one function to load it."""


def seconds_to_load(manifest: Manifest) -> float:
    """What one invocation takes at most."""
    return manifest.database.raw_size / _SQL_A_SECOND


def is_large(manifest: Manifest) -> bool:
    """Whether workers, where there are any, load it sooner than one function."""
    return manifest.database.raw_size >= _LEAST_SQL


def connections_of_one(settings: Settings) -> int:
    """Over how many connections a function loads rows that does so alone."""
    return settings.backup_restore_connections or CONNECTIONS


def connections_of_worker(settings: Settings) -> int:
    """Over how many connections a worker loads rows."""
    return min(connections_of_one(settings), CONNECTIONS)


def told_to_machine(work: RunWork, workers: int, settings: Settings) -> dict[str, object]:
    """What the Maps over rows and indexes need to know.

    No more workers load at once than have the connections that a setting allows. Without one, all:
    where a server has no connection left, a worker goes on with fewer.
    """
    allowed = settings.backup_restore_connections
    at_once = workers if allowed is None else max(1, min(workers, allowed // CONNECTIONS))
    return {
        "rows_workers": at_once,
        "rows_key": work.place(ROWS_ITEMS)["key"],
        "indexes_key": work.place(INDEXES_ITEMS)["key"],
    }
