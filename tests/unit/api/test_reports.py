"""Reports over HTTP."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from lcp_backup.catalog import Catalog
from lcp_backup.model import RunKind
from lcp_backup.verification import Difference, DifferenceKind, Documents, Report
from tests.support.api_client import Client, Lines
from tests.support.backups import publish
from tests.support.clock import SettableClock

ID = "acme-prd-202611230015"
PATH = f"/backup/{ID}/report"


def a_report(catalog: Catalog, run_id: str = "r", **figures: int) -> Report:
    return Report.model_validate(
        {
            "backup_id": ID,
            "backup_run_id": run_id,
            "run_id": "20261123T021500-report-0a1b2c3d",
            "made_at": catalog.now(),
            "documents": Documents.VOLUME,
            "store": "FileSystemStore",
            **figures,
        }
    )


def test_a_report_is_queued_for_the_very_backup_and_started(
    call: Client,
    catalog: Catalog,
    clock: SettableClock,
    started: list[tuple[str, dict[str, object]]],
    lines: Lines,
) -> None:
    publish(catalog, clock())
    assert call("POST", PATH, by="bob").status == 403
    answer = call("POST", "/backup/latest/report")
    assert answer.status == 202
    run = catalog.runs.get(answer.json()["run_id"])
    assert answer.headers["location"] == f"/backup/runs/{run.id}"
    assert (run.kind, run.backup_id, run.backup_run_id) == (RunKind.REPORT, ID, "r")
    event = {"backup_id": ID, "run_id": run.id, "report": True}
    assert started == [("verify-function", event)]
    assert call("POST", f"/backup/{ID[:-1]}9/report").status == 404
    assert call("POST", "/backup/newest/report").status == 400
    assert {line["action"] for line in lines.audits} == {"report"}


def test_the_last_report_is_shown_with_a_url_for_its_list(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    publish(catalog, clock())
    assert call("GET", PATH, by="bob").status == 404
    assert call("GET", f"/backup/{ID}").json()["report"] is None
    catalog.reports.keep(a_report(catalog), [])
    path = "document_library/1/2/3/1.0"
    missing = Difference(kind=DifferenceKind.MISSING, path=path, table="DLFileVersion", id=3)
    catalog.reports.keep(a_report(catalog, rows=2, files=1, missing=1, listed=1), [missing])
    shown = call("GET", f"{PATH}?expires=60", by="bob").json()
    assert (shown["documents"], shown["missing"], shown["differences"]) == ("volume", 1, 1)
    assert shown["text"].startswith("2 rows name files and 1 files are there: 1 are missing")
    download = shown.pop("download")
    assert urlsplit(download["url"]).path.endswith(f"/backups/{ID}/report.jsonl")
    assert download["file_name"] == f"{ID}-report.jsonl"
    assert download["size"] > 300
    assert shown.pop("listed") == 1
    assert call("GET", f"/backup/{ID}", by="bob").json()["report"] == shown


def test_a_report_on_another_backup_of_this_id_is_none(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    publish(catalog, clock())
    catalog.reports.keep(a_report(catalog, run_id="another"), [])
    assert call("GET", PATH).status == 404


def test_a_report_of_a_later_version_hides_no_backup(
    call: Client, catalog: Catalog, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(catalog, clock())
    later: Callable[..., str] = lambda *_, **__: '{"format": 2}'  # noqa: E731 -- a method's place
    monkeypatch.setattr(Report, "model_dump_json", later)
    catalog.reports.keep(a_report(catalog), [])
    monkeypatch.undo()
    clock.pass_by(timedelta(minutes=1))
    assert call("GET", f"/backup/{ID}").json()["report"] is None
