"""Many small records read at once, and handed out a page at a time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

READ_AT_ONCE: Final = 32
"""Reads under way at one time: as many as the S3 client has connections (`aws.py`)."""
MOST_READ: Final = 200
"""Records that are read for one page of few. With 20 ms for each they are 0.14 s of waiting, and
0.4 s of a processor for the client's own work (`python -m bench lists`)."""
MOST_PASSED: Final = 4000
"""Ids that are looked at for one page. They come from listings, 15 to a millisecond."""


@dataclass(frozen=True)
class Page[T]:
    """Some records, in the order of their ids."""

    records: list[T]
    last: str | None
    """The id after which the next page begins; None when there is no next page."""


def read_page[T](
    ids: Iterable[str],
    read: Callable[[str], T | None],
    *,
    limit: int,
    worth_reading: Callable[[str], bool] = lambda _: True,
) -> Page[T]:
    """Reads records side by side until `limit` of them (at least 1) are found.

    The work is bounded, so that a page of what is rare does not read all there is: one for which
    MOST_READ records were read (or `limit`, if that is more), or MOST_PASSED ids looked at, ends
    there. It may have fewer than `limit` records, even none, and still a next page.

    Args:
        ids: in the order of the pages; no more of them are taken than are needed.
        read: called from several threads; None for a record that is not wanted.
        limit: of records.
        worth_reading: by an id alone, whether its record may be wanted.

    Raises what `read` and `ids` raise.
    """
    remaining = iter(ids)
    found: list[T] = []
    may_read, may_pass = max(limit, MOST_READ), MOST_PASSED
    last: str | None = None
    at_once = limit
    with ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="record") as pool:
        while len(found) < limit and may_read and may_pass:
            some: list[str] = []
            for record_id in islice(remaining, may_pass):
                last = record_id
                may_pass -= 1
                if worth_reading(record_id):
                    some.append(record_id)
                if len(some) == min(at_once, may_read):
                    break
            else:
                if may_pass:
                    may_read = len(some)  # these are the last
            may_read -= len(some)
            for record_id, record in zip(some, pool.map(read, some), strict=True):
                if record is None:
                    continue
                found.append(record)
                if len(found) == limit and record_id != last:
                    # Of the others, read beside it, some may belong to the next page.
                    return Page(found, record_id)
            # Fewer than can be read at once would take as long.
            at_once = max(limit - len(found), READ_AT_ONCE)
    more = next(remaining, None) is not None
    return Page(found, last if more else None)
