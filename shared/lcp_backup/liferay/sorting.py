"""More than fits into memory, in order: sorted in runs that lie on the disk, compressed."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from heapq import merge
from itertools import batched
from operator import itemgetter
from tempfile import TemporaryFile, gettempdir
from typing import Any, Final

from lcp_backup.errors import VolumeError

type Record = list[Any]
"""Something as JSON has it; its first value is what it is sorted by."""

_IN_RUN: Final = 50_000
"""Records that are held at once: about 40 MB."""
_BY_FIRST: Final = itemgetter(0)


@contextmanager
def in_order(
    records: Iterable[Record], check: Callable[[], None], *, in_run: int = _IN_RUN
) -> Iterator[Iterator[Record]]:
    """The records sorted by their first value, for as long as the block lasts.

    Memory: `in_run` records, and about 50 kB for as many of the others. Raises VolumeError when
    the temporary folder has no room for them; what `check` raises.
    """
    with ExitStack() as files:
        runs: list[Iterator[Record]] = []
        last: list[Record] = []
        for run in batched(records, in_run, strict=False):
            check()
            if last:
                runs.append(_put_down(last, files))
            last = sorted(run, key=_BY_FIRST)
        runs.append(iter(last))
        yield merge(*runs, key=_BY_FIRST)


def _put_down(run: list[Record], files: ExitStack) -> Iterator[Record]:
    try:
        file = files.enter_context(TemporaryFile(prefix="lcp-backup-"))  # noqa: SIM115 -- `files` closes it
        with gzip.open(file, "wt", compresslevel=1, encoding="ascii") as text:
            text.writelines(f"{json.dumps(record)}\n" for record in run)
        file.seek(0)
        return map(json.loads, files.enter_context(gzip.open(file, "rt", encoding="ascii")))
    except OSError as error:
        raise VolumeError(
            f"rows and files cannot be sorted in the temporary folder {gettempdir()!r}"
            f" ({error.strerror}): free some room there, or give the function more of it (Lambda's"
            " ephemeral storage)"
        ) from error
