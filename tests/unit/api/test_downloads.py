"""Downloads of what lies in no object yet: waited for, made once, and told of when it fails."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.downloads import download_name
from lcp_backup.model import (
    ArchiveKind,
    Manifest,
    Run,
    RunError,
    RunKind,
    RunState,
    VolumeSource,
)
from lcp_backup_api import downloads
from lcp_backup_api.backend import Backend
from tests.support.api_client import Client
from tests.support.backups import a_manifest
from tests.support.clock import SettableClock

type Started = list[tuple[str, dict[str, object]]]

VOLUME, DATABASE = ArchiveKind.VOLUME, ArchiveKind.DATABASE
ID = "acme-prd-202611230015"
PATH = f"/backup/download/volume/{ID}"
DATABASE_PATH = f"/backup/download/database/{ID}"


@pytest.fixture
def manifest(catalog: Catalog, clock: SettableClock) -> Manifest:
    """A backup whose volume lies in two archives."""
    source = VolumeSource(
        backup_id="acme-prd-202611220015", size=1, etag='"e"', file_size=1, live_size=1
    )
    manifest = a_manifest(clock()).model_copy(update={"sources": (source,)})
    catalog.backups.publish(manifest)
    return manifest


def assembled(catalog: Catalog, name: str, body: bytes = b"assembled") -> None:
    writer = catalog.downloads.writer(name)
    writer.write(body)
    writer.complete()


def ended(catalog: Catalog, run_id: str, code: str, message: str) -> None:
    """As the run's function leaves it when it fails."""
    now = catalog.now()
    error = RunError(code=code, message=message)
    run = catalog.runs.get(run_id)
    end = {"state": RunState.FAILED, "finished_at": now, "updated_at": now, "error": error}
    catalog.runs.write(run.model_copy(update=end))


def runs(catalog: Catalog) -> list[Run]:
    return list(catalog.runs.all())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_not_there_is_asked_for_and_the_caller_told_to_come_again(
    call: Client, catalog: Catalog, manifest: Manifest, started: Started, method: str
) -> None:
    answer = call(method, PATH, by="bob")
    assert answer.status == 503
    (run,) = runs(catalog)
    assert answer.headers["retry-after"] == "10"
    problem = answer.json()
    assert problem["type"].endswith(":download-not-ready")
    assert problem["run_id"] == run.id
    assert f"/backup/runs/{run.id}" in problem["detail"]
    assert (run.kind, run.state, run.backup_id) == (RunKind.DOWNLOAD, RunState.QUEUED, ID)
    assert run.backup_run_id == manifest.run_id
    ((function, event),) = started
    assert function == "assemble-function"
    assert (event["backup_id"], event["kind"], event["run_id"]) == (ID, "volume", run.id)


def test_the_call_waits_and_then_answers_the_archive(
    backend: Backend, catalog: Catalog, manifest: Manifest
) -> None:
    def start(_function: str, _event: dict[str, object]) -> None:
        assembled(catalog, download_name(manifest, VOLUME))

    answer = Client(replace(backend, start=start, longest_wait=timedelta(seconds=5)))("GET", PATH)
    assert (answer.status, answer.body) == (200, b"assembled")
    assert f"{ID}-volume.tgz" in answer.headers["content-disposition"]


def test_a_large_one_is_had_by_a_url_with_the_same_file_name(
    call: Client, catalog: Catalog, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = download_name(manifest, VOLUME)
    assembled(catalog, name)
    monkeypatch.setattr(downloads, "LARGEST_ANSWER", 5)
    answer = call("GET", PATH)
    assert answer.status == 303
    url = urlsplit(answer.headers["location"])
    assert url.path.endswith(f"downloads/{name}")
    (disposition,) = parse_qs(url.query)["response-content-disposition"]
    assert f"{ID}-volume.tgz" in disposition
    told = call("GET", PATH, headers={"accept": "application/json"}).json()
    assert (told["size"], told["sha256"]) == (9, None)


def test_a_second_call_waits_for_the_first_ones_run(
    call: Client, catalog: Catalog, manifest: Manifest, clock: SettableClock, started: Started
) -> None:
    first = call("GET", PATH).json()["run_id"]
    clock.pass_by(timedelta(seconds=20))
    assert call("POST", PATH).json()["run_id"] == first
    assert len(started) == len(runs(catalog)) == 1
    # Another selection is another archive.
    assert call("GET", f"{PATH}?path=a").json()["run_id"] != first
    assert len(started) == 2
    assert manifest.id == ID


@pytest.mark.parametrize("query", ["path=a/", "path=./a", "path=a&path=a/b", "path=a&path=a"])
def test_a_selection_is_assembled_once_however_it_is_spelled(
    call: Client, manifest: Manifest, started: Started, query: str
) -> None:
    first = call("GET", f"{PATH}?path=a").json()["run_id"]
    assert call("GET", f"{PATH}?{query}").json()["run_id"] == first
    assert [event["paths"] for _, event in started] == [["a"]]
    assert manifest.id == ID


def test_a_run_that_gave_no_sign_of_life_is_not_waited_for(
    call: Client, manifest: Manifest, clock: SettableClock, started: Started
) -> None:
    first = call("GET", PATH).json()["run_id"]
    clock.pass_by(timedelta(minutes=3))
    assert call("GET", PATH).json()["run_id"] != first
    assert len(started) == 2
    assert manifest.id == ID


@pytest.mark.parametrize(
    ("code", "message", "status", "problem"),
    [
        ("not-found", "the backup's volume holds no 'a'", 404, "not-found"),
        ("invalid-request", "'../a' is no path", 400, "invalid-request"),
        ("archive-damaged", "volume.tgz of backup b is missing", 500, "download-failed"),
    ],
)
def test_the_failure_of_the_run_is_the_answer_until_it_is_tried_anew(
    call: Client,
    catalog: Catalog,
    manifest: Manifest,
    clock: SettableClock,
    code: str,
    message: str,
    status: int,
    problem: str,
) -> None:
    run_id = call("GET", f"{PATH}?path=a").json()["run_id"]
    ended(catalog, run_id, code, message)
    clock.pass_by(timedelta(seconds=10))
    answer = call("GET", f"{PATH}?path=a")
    assert answer.status == status
    assert answer.json()["type"].endswith(f":{problem}")
    assert message in answer.json()["detail"]
    clock.pass_by(timedelta(minutes=3))
    again = call("GET", f"{PATH}?path=a")
    assert again.status == 503
    assert again.json()["run_id"] != run_id
    assert manifest.id == ID


@pytest.mark.parametrize(
    ("path", "kind", "selection", "event"),
    [
        (f"{PATH}?path=a&path=b/c", VOLUME, ("a", "b/c"), {"paths": ["a", "b/c"]}),
        (
            f"{DATABASE_PATH}?table=User_&table=Group_",
            DATABASE,
            ("User_", "Group_"),
            {"tables": ["User_", "Group_"]},
        ),
    ],
)
def test_a_selection_is_assembled_whatever_the_whole_lies_in(
    call: Client,
    catalog: Catalog,
    clock: SettableClock,
    started: Started,
    path: str,
    kind: ArchiveKind,
    selection: tuple[str, ...],
    event: dict[str, Any],
) -> None:
    manifest = a_manifest(clock())
    catalog.backups.publish(manifest)
    assert call("GET", path).status == 503
    assert event.items() <= started[0][1].items()
    assembled(catalog, download_name(manifest, kind, selection))
    answer = call("GET", path)
    assert (answer.status, answer.body) == (200, b"assembled")
    assert f"{ID}-{kind}-selection.tgz" in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        (f"{PATH}?table=User_", 400, "table: a volume has no tables: leave it out"),
        (f"{DATABASE_PATH}?path=a", 400, "path: a database has no files: leave it out"),
        (f"{DATABASE_PATH}?workers=2", 400, "workers: only a volume is assembled by several"),
        (f"{PATH}?path=", 400, "path.0: it must not be empty"),
        (f"{DATABASE_PATH}?table=", 400, "table.0: it must not be empty"),
        (f"{PATH}?workers=0", 400, "workers: it has to be at least 1"),
        (f"{PATH}?workers=x", 400, "workers: it has to be a whole number"),
        # As a restore has them: it would be answered with the whole archive.
        (f"{PATH}?paths=a", 400, "paths: this call has no such parameter; did you mean ?path=...?"),
        (
            f"{DATABASE_PATH}?tables=User_",
            400,
            "did you mean ?table=",
        ),
        (f"{PATH}?path=../etc", 400, "'../etc' is no path"),
        (f"/backup/download/x/{ID}", 400, "kind: it has to be 'database' or 'volume'"),
        ("/backup/download/volume/acme-prd-202001010000?path=a", 404, "there is no backup"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    call: Client, manifest: Manifest, started: Started, path: str, status: int, told: str
) -> None:
    answer = call("GET", path)
    assert (answer.status, told in answer.json()["detail"]) == (status, True), answer
    assert started == []
    assert manifest.id == ID


def test_a_function_that_cannot_be_started_fails_the_run(
    with_settings: Callable[..., Client], catalog: Catalog, manifest: Manifest
) -> None:
    answer = with_settings(LCP_ASSEMBLE_FUNCTION="")("GET", PATH)
    assert answer.status == 500
    (run,) = runs(catalog)
    assert run.state is RunState.FAILED
    assert manifest.id == ID
