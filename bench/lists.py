"""A page of backups and of runs, where there are many and S3 takes its time."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from bench.lines import Line, Measured
from bench.manifests import a_manifest
from bench.rounds import in_turns
from lcp_backup.aws import clients
from lcp_backup.aws.s3 import LISTED_AT_ONCE, ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.model import Run, RunKind, RunState

_MAKERS: Final = (RunKind.CREATE, RunKind.UPLOAD)
_ANY: Final = tuple(RunState)
_PAGES: Final[Mapping[Line, tuple[bool, Collection[RunKind], Collection[RunState]]]] = {
    Line(f"a page of 100, seconds: {name}", at_most=1): asked
    for name, asked in {
        "backups": (True, (), _ANY),
        "runs": (False, tuple(RunKind), _ANY),
        "runs of a kind that is rare": (False, (RunKind.RESTORE,), _ANY),
        "runs that failed": (False, tuple(RunKind), (RunState.FAILED,)),
        "runs that are queued: none": (False, tuple(RunKind), (RunState.QUEUED,)),
        "backups that failed": (False, _MAKERS, (RunState.FAILED,)),
        "backups, made or failed": (True, _MAKERS, (RunState.FAILED,)),
    }.items()
}
"""Whether backups are wanted, of which kinds runs are, and in which states."""
LINES: Final = tuple(_PAGES)

_BACKUPS: Final = 720
_RUNS: Final = 20_000
_DELAY: Final = 0.02
"""Seconds that every answer of S3 takes."""
_NEWEST: Final = datetime(2026, 11, 23, 23, 55, tzinfo=UTC)


def pages(_work: Path, rounds: int) -> list[Measured]:
    """Seconds for a page of 100 over the real client, whose requests are answered in this process.

    Runs began every six minutes; one in twenty failed.
    """
    catalog = Catalog(_slow_store(dict(_objects())), "acme/prd")
    found = []
    for line, (backups, kinds, states) in _PAGES.items():
        page = partial(catalog.page, 100, backups=backups, kinds=kinds, states=states)
        (taken,) = in_turns(rounds, page)
        found.append(Measured(line, taken, f"{len(page().records)} found"))
    return found


def _objects() -> Iterator[tuple[str, bytes]]:
    for number in range(_BACKUPS):
        manifest = a_manifest(_NEWEST - timedelta(hours=number))
        key = f"acme/prd/backups/{manifest.id}/manifest.json"
        yield key, manifest.model_dump_json(indent=1).encode()
    for number in range(_RUNS):
        began = _NEWEST - timedelta(minutes=6 * number)
        kind = RunKind.RESTORE if number % 100 == 0 else RunKind.CREATE
        run = Run(
            id=f"{began:%Y%m%dT%H%M%S}-{kind}-{number:08x}",
            kind=kind,
            state=RunState.FAILED if number % 20 == 1 else RunState.SUCCEEDED,
            started_at=began,
            updated_at=began,
            finished_at=began,
        )
        yield f"acme/prd/runs/{run.id}.json", run.model_dump_json(indent=1).encode()


def _slow_store(objects: dict[str, bytes]) -> ObjectStore:
    # Of nobody: no request leaves this process.
    of_nobody = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    os.environ.update(of_nobody, AWS_DEFAULT_REGION="eu-central-1")
    client = clients.s3()
    # (The types know of no handler that answers; this one event takes the answer for S3's.)
    answers: Callable[..., Any] = _SlowS3(objects)
    client.meta.events.register("before-send.s3", answers)
    return ObjectStore(client, "backups")


class _Body(BytesIO):
    """As the client expects one of urllib3's."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.getvalue()


@dataclass
class _SlowS3:
    """Answers reads and listings from memory, each after a while."""

    objects: dict[str, bytes]

    def __post_init__(self) -> None:
        self._keys = sorted(self.objects)

    def __call__(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        url = urlsplit(str(request.url))
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        key = unquote(url.path.removeprefix("/"))
        body = self._listing(query) if "list-type" in query else self.objects[key]
        time.sleep(_DELAY)
        headers: Any = {"ETag": '"tag"', "Content-Length": str(len(body))}
        return AWSResponse(str(request.url), 200, headers, _Body(body))

    def _listing(self, query: dict[str, str]) -> bytes:
        prefix, until = query["prefix"], query["delimiter"]
        after = query.get("continuation-token", "")
        tails = (key.removeprefix(prefix) for key in self._keys if key.startswith(prefix))
        names = dict.fromkeys(f"{prefix}{tail.partition(until)[0]}{until}" for tail in tails)
        some = list(islice((name for name in names if name > after), LISTED_AT_ONCE + 1))
        shown = some[:LISTED_AT_ONCE]
        more = len(some) > len(shown)
        token = f"<NextContinuationToken>{shown[-1]}</NextContinuationToken>" if more else ""
        listed = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in shown
        )
        return (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token}{listed}</ListBucketResult>"
        ).encode()
