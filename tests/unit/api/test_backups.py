"""Backups over HTTP: what scripts expect to get, and how everything else is refused."""

from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.errors import AwsError
from lcp_backup.model import ArchiveKind, BackupType, Manifest, Run, RunError, RunKind, RunState
from lcp_backup.verification import Verdict, Verification
from lcp_backup_api import downloads
from lcp_backup_api.application import create_app
from lcp_backup_api.backend import Backend
from tests.support.api_client import Client, Lines
from tests.support.backups import a_manifest, publish
from tests.support.clock import SettableClock

ID = "acme-prd-202611230015"


def test_health_needs_no_identity(call: Client) -> None:
    answer = call("GET", "/backup/health", by=None)
    assert (answer.status, answer.json()["status"]) == (200, "ok")


def test_backups_are_listed_newest_first_in_the_shape_scripts_expect(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    old = publish(catalog, clock())
    clock.pass_by(timedelta(days=1))
    new = publish(catalog, clock())
    listed = call("GET", "/backup/list", by="bob").json()["backups"]
    assert [it["backupId"] for it in listed] == [new, old]
    assert listed[0]["type"] == "Auto"
    assert listed[0]["status"] == "succeeded"
    assert listed[0]["size"] == 200
    assert listed[0]["database"]["size"] == 100
    assert [it["backupId"] for it in call("GET", "/backup/list?limit=1").json()["backups"]] == [new]


def test_a_backup_that_cannot_be_read_is_listed_as_such_and_hides_no_other(
    call: Client, catalog: Catalog, clock: SettableClock, store: ObjectStore
) -> None:
    made = []
    for _ in range(4):
        made.append(publish(catalog, clock()))
        clock.pass_by(timedelta(days=1))
    oldest, damaged, newest_readable, newest = made
    for backup_id in (damaged, newest):
        store.put(f"acme/prd/backups/{backup_id}/manifest.json", b"{}")
    for status in ("succeeded", "all"):
        listed = call("GET", f"/backup/list?status={status}", by="bob").json()["backups"]
        assert [it["backupId"] for it in listed] == made[::-1]
        told = [it["status"] for it in listed]
        assert told == ["unreadable", "succeeded", "unreadable", "succeeded"]
        assert f"backup {newest}: " in listed[0]["error"]
        assert listed[0]["startedAt"] == "2026-11-26T00:15:00Z"
        unknown = ("createdAt", "size", "database", "volume", "keptUntil", "verification", "runId")
        assert {listed[0][name] for name in unknown} == {None}
        # As cleanup has it: one of which nothing is known is not the newest.
        assert listed[1]["keptUntil"] is None
        assert listed[3]["keptUntil"] is not None
    first = call("GET", "/backup/list?limit=1").json()
    assert [it["backupId"] for it in first["backups"]] == [newest]
    second = call("GET", f"/backup/list?limit=1&next={first['next']}").json()
    assert [it["backupId"] for it in second["backups"]] == [newest_readable]
    assert call("GET", "/backup/list?status=failed").json()["backups"] == []
    # What means the newest does not pass one over that may be it.
    answer = call("POST", "/backup/restore/latest")
    assert (answer.status, answer.json()["type"].split(":")[-1]) == (500, "unknown-format")
    assert call("GET", f"/backup/{oldest}").status == 200


def test_what_failed_is_listed_only_when_asked_for(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    made = publish(catalog, clock())
    clock.pass_by(timedelta(hours=1))
    now = clock()
    failed = Run(
        id=catalog.runs.new_id(RunKind.CREATE),
        kind=RunKind.CREATE,
        state=RunState.FAILED,
        backup_id="acme-prd-202611230115",
        started_at=now,
        updated_at=now,
        finished_at=now,
        error=RunError(code="dump-failed", message="it was killed"),
    )
    catalog.runs.write(failed)

    def listed(status: str) -> list[tuple[str, str]]:
        answer = call("GET", f"/backup/list?status={status}").json()["backups"]
        return [(it["backupId"], it["status"]) for it in answer]

    assert listed("succeeded") == [(made, "succeeded")]
    assert listed("failed") == [("acme-prd-202611230115", "failed")]
    assert listed("all") == [("acme-prd-202611230115", "failed"), (made, "succeeded")]
    assert (
        call("GET", "/backup/list?status=failed").json()["backups"][0]["error"] == "it was killed"
    )


def test_one_backup_tells_what_its_manifest_says(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    publish(catalog, clock())
    answer = call("GET", f"/backup/{ID}")
    assert answer.status == 200
    assert answer.json()["databaseName"] == "lportal"
    assert answer.json()["backupId"] == ID


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", ["database", "volume"])
def test_a_small_archive_comes_as_bytes_with_a_file_name(
    call: Client, catalog: Catalog, clock: SettableClock, method: str, kind: str
) -> None:
    publish(catalog, clock())
    answer = call(
        method,
        f"/backup/download/{kind}/{ID}",
        by="bob",
        headers={"content-type": "application/json"},
    )
    assert answer.status == 200
    assert answer.body == b"x" * 100
    assert answer.headers["content-type"] == "application/gzip"
    assert f"{ID}-{kind}.tgz" in answer.headers["content-disposition"]


def test_a_large_archive_is_had_by_following_the_redirect(
    call: Client, catalog: Catalog, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(catalog, clock())
    monkeypatch.setattr(downloads, "LARGEST_ANSWER", 99)
    answer = call("GET", f"/backup/download/volume/{ID}")
    assert answer.status == 303
    assert b"curl -L" in answer.body
    url = urlsplit(answer.headers["location"])
    assert url.path.endswith(f"{ID}/volume.tgz")
    assert parse_qs(url.query)["X-Amz-Expires"] == ["900"]


def test_who_asks_for_json_always_gets_the_url(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    publish(catalog, clock())
    path = f"/backup/download/database/{ID}?expires=60"
    answer = call("POST", path, headers={"accept": "application/json"}).json()
    assert answer["size"] == 100
    assert answer["sha256"] == "0" * 64
    assert answer["file_name"] == f"{ID}-database.tgz"
    assert parse_qs(urlsplit(answer["url"]).query)["X-Amz-Expires"] == ["60"]
    assert answer["expires_at"] == (clock() + timedelta(seconds=60)).isoformat().replace(
        "+00:00", "Z"
    )


def test_no_url_lives_longer_than_an_hour(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    publish(catalog, clock())
    answer = call("GET", f"/backup/download/database/{ID}?expires=3601")
    assert answer.status == 400
    assert "expires" in answer.json()["detail"]


def test_a_backup_is_deleted_but_not_while_a_run_is_at_work_on_it(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    publish(catalog, clock())
    lease = catalog.lease.acquire("r", RunKind.RESTORE, ID, timedelta(minutes=2))
    refused = call("DELETE", f"/backup/{ID}")
    assert refused.status == 409
    assert catalog.backups.find(ID) is not None
    lease.release()
    assert call("DELETE", f"/backup/{ID}").status == 204
    assert catalog.backups.find(ID) is None
    assert call("DELETE", f"/backup/{ID}").status == 404


def test_a_create_is_queued_and_started(
    call: Client, started: list[tuple[str, dict[str, object]]]
) -> None:
    answer = call("POST", "/backup/create")
    assert answer.status == 202
    run_id = answer.json()["run_id"]
    assert answer.headers["location"] == f"/backup/runs/{run_id}"
    assert answer.json()["backup_id"] == ID
    assert started == [("create-function", {"time": "2026-11-23T00:15:30+00:00", "run_id": run_id})]
    assert call("GET", f"/backup/runs/{run_id}").json()["state"] == "queued"


def test_a_minute_that_has_its_backup_is_no_reason_to_answer_what_was_made_before(
    call: Client,
    catalog: Catalog,
    clock: SettableClock,
    started: list[tuple[str, dict[str, object]]],
) -> None:
    publish(catalog, clock())
    asked = call("POST", "/backup/create").json()
    assert asked["backup_id"] == "acme-prd-202611230016"
    [(_, event)] = started
    assert event["time"] == "2026-11-23T00:16:00+00:00"
    said = call("GET", f"/backup/runs/{asked['run_id']}").json()["step"]
    assert said == "waiting for 00:16 UTC: this minute has its backup already"


def test_a_create_in_the_minute_of_an_upload_names_the_backup_that_it_will_make(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    uploaded = a_manifest(clock()).model_copy(update={"type": BackupType.UPLOADED})
    catalog.backups.publish(uploaded)
    assert uploaded.id == ID
    assert call("POST", "/backup/create").json()["backup_id"] == "acme-prd-202611230014"


def test_a_create_whose_function_cannot_be_started_is_a_failed_run(
    backend: Backend, catalog: Catalog
) -> None:
    def broken(_name: str, _event: dict[str, object]) -> None:
        raise AwsError("Lambda refused")

    object.__setattr__(backend, "start", broken)
    answer = Client(backend)("POST", "/backup/create")
    assert answer.status == 503
    [run] = catalog.runs.all()
    assert run.state is RunState.FAILED


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/backup/create"), ("POST", f"/backup/restore/{ID}")]
)
def test_nothing_is_started_while_another_run_writes(
    call: Client,
    catalog: Catalog,
    clock: SettableClock,
    started: list[tuple[str, dict[str, object]]],
    method: str,
    path: str,
) -> None:
    publish(catalog, clock())
    catalog.lease.acquire(
        "20261123T000000-create-00000000", RunKind.CREATE, None, timedelta(minutes=2)
    )
    answer = call(method, path)
    assert answer.status == 409
    assert answer.json()["type"] == "urn:lcp-backup:problem:lease-held"
    assert "20261123T000000-create-00000000" in answer.json()["detail"]
    assert started == []
    assert list(catalog.runs.all()) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/backup/create"),
        ("POST", f"/backup/restore/{ID}"),
        ("DELETE", f"/backup/{ID}"),
        ("POST", "/backup/upload"),
        ("PUT", "/backup/restore/pause"),
        ("DELETE", "/backup/restore/pause"),
        ("DELETE", "/backup/upload/20261123T001500-upload-0a1b2c3d"),
        ("GET", "/backup/upload/20261123T001500-upload-0a1b2c3d"),
        ("POST", "/backup/upload/20261123T001500-upload-0a1b2c3d/complete"),
    ],
)
def test_a_viewer_changes_nothing(
    call: Client, started: list[tuple[str, dict[str, object]]], method: str, path: str
) -> None:
    answer = call(method, path, by="bob")
    assert answer.status == 403
    assert answer.json()["type"] == "urn:lcp-backup:problem:forbidden"
    assert started == []


def test_every_call_but_health_and_those_that_sign_in_asks_who_calls(
    call: Client, backend: Backend
) -> None:
    paths = create_app(backend).openapi()["paths"]
    open_to_all = {
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if call(method.upper(), path.replace("{kind}", "volume"), by=None).status != 401
    }
    assert open_to_all == {
        ("get", "/backup/health"),
        ("get", "/backup/login"),
        ("post", "/backup/login"),
        ("post", "/backup/login/challenge"),
    }


def test_a_refused_caller_is_challenged(call: Client) -> None:
    answer = call("GET", "/backup/list", by="mallory")
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "trap",
    ["..", "..%2f..%2flease.json", "%00", "acme-prd-202613450015", "x" * 5000, "{{7*7}}", "a-b"],
)
def test_what_is_no_id_never_becomes_a_key(call: Client, trap: str) -> None:
    for method, path in (
        ("GET", f"/backup/{trap}"),
        ("DELETE", f"/backup/{trap}"),
        ("GET", f"/backup/runs/{trap}"),
        ("GET", f"/backup/download/volume/{trap}"),
        ("POST", f"/backup/restore/{trap}"),
        ("POST", f"/backup/upload/{trap}/complete"),
    ):
        answer = call(method, path)
        assert answer.status in {400, 404, 405}, (method, path, answer)
        assert answer.headers["content-type"] == "application/problem+json"


def test_an_error_nobody_foresaw_tells_nothing_and_is_logged(
    call: Client, catalog: Catalog, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("mysql://root:hunter2@host")

    monkeypatch.setattr(catalog, "page", broken)
    answer = call("GET", "/backup/list")
    assert answer.status == 500
    assert b"hunter2" not in answer.body
    assert any("nobody foresaw" in line["message"] for line in lines.written)


def test_what_changes_or_hands_out_leaves_one_line_of_who_and_what_and_no_secret(
    call: Client, catalog: Catalog, clock: SettableClock, lines: Lines
) -> None:
    publish(catalog, clock())
    call("GET", "/backup/list")
    call("GET", f"/backup/download/database/{ID}", by="bob")
    call("POST", "/backup/create", headers={"x-secret": "hunter2"})
    call("DELETE", "/backup/acme-prd-200001010000")
    told = [(it["action"], it["caller"], it["outcome"]) for it in lines.audits]
    assert told == [
        ("download database", "bob", "done"),
        ("create", "ann", "done"),
        ("delete", "ann", "not-found"),
    ]
    assert lines.audits[0]["backup_id"] == ID
    assert lines.audits[0]["source_ip"] == "192.0.2.7"
    assert "hunter2" not in str(lines.written)


def test_no_answer_may_be_kept_by_a_cache(call: Client) -> None:
    assert call("GET", "/backup/health", by=None).headers["cache-control"] == "no-store"
    assert call("GET", "/backup/nothing-here").headers["cache-control"] == "no-store"


def test_schedules_tell_the_next_ten_times_their_words_and_whether_restores_are_paused(
    call: Client, with_settings: Callable[..., Client]
) -> None:
    told = call("GET", "/backup/schedules", by="bob").json()
    assert told["create"]["cron"] == "15 0 * * *"
    assert told["create"]["next"][0] == "2026-11-24T00:15:00Z"
    assert len(told["create"]["next"]) == 10
    assert (told["create"]["words"], told["create"]["rules"]) == ("At 00:15", [])
    assert told["restore"] is None
    assert told["verify"] is None
    weekly = with_settings(LCP_BACKUP_VERIFY_SCHEDULE="0 4 * * SUN")
    verify = weekly("GET", "/backup/schedules").json()["verify"]
    assert (verify["cron"], verify["words"]) == ("0 4 * * SUN", "At 04:00, only on Sunday")
    assert told["restores_paused"] is None
    paused = call("PUT", "/backup/restore/pause", body={"reason": "DR is live"})
    assert paused.status == 200
    assert call("GET", "/backup/schedules").json()["restores_paused"]["reason"] == "DR is live"
    assert call("DELETE", "/backup/restore/pause").status == 204
    assert call("GET", "/backup/schedules").json()["restores_paused"] is None
    dr = with_settings(
        LCP_BACKUP_RESTORE_SCHEDULE="@hourly",
        LCP_ENVIRONMENT_TYPE="production",
        LCP_BACKUP_RESTORE_SOURCE_BUCKET="other",
    )
    told = dr("GET", "/backup/schedules").json()
    assert (told["create"], told["restore"]["words"]) == (None, "Every hour")


def test_schedules_name_the_rules_that_the_stack_made_of_them(
    with_settings: Callable[..., Client],
) -> None:
    call = with_settings(LCP_STACK_NAME="backups", LCP_BACKUP_CREATE_SCHEDULE="0 2 1 * MON")
    told = call("GET", "/backup/schedules").json()
    assert told["create"]["rules"] == ["backups-create-1", "backups-create-2"]
    assert told["cleanup"]["rules"] == ["backups-cleanup-1"]


def a_verification(manifest: Manifest, verdict: Verdict, now: datetime) -> Verification:
    return Verification(
        backup_id=manifest.id,
        backup_run_id=manifest.run_id,
        run_id="20261123T041500-verify-0a1b2c3d",
        verdict=verdict,
        started_at=now - timedelta(seconds=9),
        finished_at=now,
        rows=7,
        error=None
        if verdict is Verdict.VERIFIED
        else RunError(code="archive-damaged", message="segment 3 is not what was written"),
    )


def test_what_a_verification_found_out_is_shown_with_its_backup_and_with_no_other(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    backup_id = publish(catalog, clock())
    assert call("GET", f"/backup/{backup_id}").json()["verification"] is None
    manifest = catalog.backups.get(backup_id)
    for verdict in (Verdict.VERIFIED, Verdict.BAD):
        catalog.verifications.keep(a_verification(manifest, verdict, clock()))
        (listed,) = call("GET", "/backup/list", by="bob").json()["backups"]
        shown = call("GET", f"/backup/{backup_id}", by="bob").json()["verification"]
        assert listed["verification"] == shown
        assert (shown["verdict"], shown["rows"], shown["seconds"]) == (verdict, 7, 9.0)
    assert shown["error"] == "segment 3 is not what was written"
    another = manifest.model_copy(update={"run_id": "another"})
    catalog.verifications.keep(a_verification(another, Verdict.VERIFIED, clock()))
    assert call("GET", f"/backup/{backup_id}").json()["verification"] is None


def test_a_verification_is_queued_for_the_very_backup_and_started(
    call: Client,
    catalog: Catalog,
    clock: SettableClock,
    started: list[tuple[str, dict[str, object]]],
) -> None:
    backup_id = publish(catalog, clock())
    publish(catalog, clock() + timedelta(minutes=5), BackupType.UPLOADED)
    assert call("POST", "/backup/verify/latest", by="bob").status == 403
    answer = call("POST", "/backup/verify/latest")
    assert answer.status == 202
    run = catalog.runs.get(answer.json()["run_id"])
    assert answer.headers["location"] == f"/backup/runs/{run.id}"
    assert (run.kind, run.backup_id, run.backup_run_id) == (RunKind.VERIFY, backup_id, "r")
    assert started == [("verify-function", {"backup_id": backup_id, "run_id": run.id})]
    assert call("POST", f"/backup/verify/{ID[:-1]}9").status == 404
    assert call("POST", "/backup/verify/newest").status == 400


def test_a_verification_waits_for_no_other_run(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    publish(catalog, clock())
    run_id = "20261123T001500-create-0a1b2c3d"
    catalog.lease.acquire(run_id, RunKind.CREATE, ID, timedelta(minutes=2))
    assert call("POST", "/backup/verify/latest").status == 202


def test_a_restore_of_a_selection_is_handed_on_as_it_was_asked_for(
    call: Client,
    catalog: Catalog,
    clock: SettableClock,
    started: list[tuple[str, dict[str, object]]],
) -> None:
    publish(catalog, clock())
    answer = call("POST", "/backup/restore/latest", body={"paths": ["exports"]})
    assert answer.status == 202
    event = {"backup_id": ID, "paths": ["exports"], "run_id": answer.json()["run_id"]}
    assert started == [("restore-function", event)]


def test_several_workers_may_be_asked_for_where_there_are_any(
    with_settings: Callable[..., Client],
    catalog: Catalog,
    clock: SettableClock,
    started: list[tuple[str, dict[str, object]]],
) -> None:
    call = with_settings(LCP_BACKUP_WORKERS="4")
    assert call("POST", "/backup/create", body={"workers": 3}).status == 202
    publish(catalog, clock())
    assert call("POST", f"/backup/restore/{ID}", body={"workers": 3}).status == 202
    assert call("POST", f"/backup/verify/{ID}", body={"workers": 3}).status == 202
    assert [event["workers"] for _, event in started] == [3, 3, 3]
    alone = with_settings(LCP_BACKUP_WORKERS="1")
    for path in ("create", f"restore/{ID}", f"verify/{ID}"):
        answer = alone("POST", f"/backup/{path}", body={"workers": 2})
        assert (answer.status, "Workers=1" in answer.json()["detail"]) == (400, True)
        assert alone("POST", f"/backup/{path}", body={"workers": 1}).status == 202
    assert call("POST", "/backup/create", body={"workers": 0}).status == 400


def test_workers_are_not_promised_for_a_volume_that_one_function_has_to_unpack(
    with_settings: Callable[..., Client], catalog: Catalog, clock: SettableClock
) -> None:
    """The run would end with that a moment later."""
    call = with_settings(LCP_BACKUP_WORKERS="4")
    manifest = a_manifest(clock())
    facts = manifest.volume_facts.model_copy(update={"in_any_order": False})
    uploaded = {"type": BackupType.UPLOADED, "volume_facts": facts}
    catalog.backups.publish(manifest.model_copy(update=uploaded))
    place = f"/backup/restore/{ID}"
    answer = call("POST", place, body={"workers": 3})
    assert (answer.status, "hard links" in answer.json()["detail"]) == (400, True)
    assert call("POST", place, body={"workers": 3, "only": "database"}).status == 202


@pytest.mark.parametrize("named", ["latest", ID])
def test_a_queued_restore_knows_which_backup_of_that_id_is_meant(
    call: Client, catalog: Catalog, clock: SettableClock, named: str
) -> None:
    publish(catalog, clock())
    run_id = call("POST", f"/backup/restore/{named}").json()["run_id"]
    run = call("GET", f"/backup/runs/{run_id}").json()
    assert (run["backup_id"], run["backup_run_id"]) == (ID, catalog.backups.get(ID).run_id)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"only": "nothing"}, "only"),
        ({"only": "volume", "tables": ["a"]}, "only the volume"),
        ({"into_folder": "../x"}, "into_folder"),
        ({"into_database": "a`b"}, "into_database"),
        ({"unknown": 1}, "unknown"),
        ({"paths": ["document_library", "../x"]}, "'../x' is no path"),
    ],
)
def test_a_restore_that_makes_no_sense_is_refused_before_anything_starts(
    call: Client,
    catalog: Catalog,
    clock: SettableClock,
    started: list[tuple[str, dict[str, object]]],
    body: dict[str, object],
    names: str,
) -> None:
    publish(catalog, clock())
    answer = call("POST", f"/backup/restore/{ID}", body=body)
    assert answer.status == 400
    assert names in answer.json()["detail"]
    assert started == []


def test_a_restore_of_a_backup_that_is_not_there_starts_nothing(
    call: Client, started: list[tuple[str, dict[str, object]]]
) -> None:
    assert call("POST", f"/backup/restore/{ID}").status == 404
    assert call("POST", "/backup/restore/latest").status == 404
    assert started == []


def test_runs_are_listed_by_kind_and_state(call: Client, catalog: Catalog) -> None:
    create = catalog.runs.queue(catalog.runs.new_id(RunKind.CREATE), RunKind.CREATE, ID)
    restore = catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, ID)

    def ids(query: str) -> set[str]:
        return {run["id"] for run in call("GET", f"/backup/runs?{query}").json()["runs"]}

    assert ids("") == {create.id, restore.id}
    assert ids("kind=restore") == {restore.id}
    assert ids("state=failed") == set()
    assert len(ids("limit=1")) == 1


def test_lists_are_had_page_by_page_and_a_client_that_knows_of_none_gets_the_newest(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    for _ in range(3):
        clock.pass_by(timedelta(minutes=1))
        publish(catalog, clock())
        catalog.runs.queue(catalog.runs.new_id(RunKind.RESTORE), RunKind.RESTORE, ID)
    for path, records, name in (
        ("/backup/list", "backups", "backupId"),
        ("/backup/list?status=all", "backups", "backupId"),
        ("/backup/runs", "runs", "id"),
    ):
        whole = call("GET", path, by="bob").json()
        assert (len(whole[records]), whole["next"]) == (3, None)
        paged = f"{path}{'&' if '?' in path else '?'}limit=2"
        first = call("GET", paged, by="bob").json()
        second = call("GET", f"{paged}&next={first['next']}", by="bob").json()
        assert second["next"] is None
        told = [it[name] for page in (first, second) for it in page[records]]
        assert told == [it[name] for it in whole[records]]


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        (
            "GET",
            "list?state=failed",
            "state: this call has no such parameter; did you mean ?stat",
        ),
        ("GET", "list?limit=3&stauts=failed", "stauts: this call has no such parameter; did you"),
        (
            "GET",
            "runs?status=failed",
            "status: this call has no such parameter; did you mean ?",
        ),
        (
            "GET",
            "runs?x=1",
            "x: this call has no such parameter; it takes limit, kind, ",
        ),
        ("GET", "whoami?x=1", "x: this call has no such parameter; it takes none"),
        (
            "POST",
            "restore/latest?tables=User_",
            "tables: this call takes it in its body, as JSON: {",
        ),
        (
            "POST",
            "restore/latest?table=User_",
            "table: this call has no such parameter; it takes",
        ),
        ("POST", "create?workers=3", "workers: this call takes it in its body, as JSON: {"),
        ("POST", f"verify/{ID}?workers=3", "workers: this call takes it in its body, as JSON: {"),
        ("DELETE", f"{ID}?dry_run=true", "dry_run: this call has no such parameter; it takes none"),
    ],
)
def test_a_parameter_that_the_call_does_not_have_is_not_left_out(
    call: Client, catalog: Catalog, clock: SettableClock, method: str, path: str, told: str
) -> None:
    made = publish(catalog, clock())
    answer = call(method, f"/backup/{path}")
    assert (answer.status, told in answer.json()["detail"]) == (400, True), answer
    assert (catalog.backups.ids(), list(catalog.runs.ids())) == ([made], [])


@pytest.mark.parametrize("name", ["tables", "paths"])
def test_a_restore_of_nothing_is_no_restore_of_everything(
    call: Client, catalog: Catalog, clock: SettableClock, name: str
) -> None:
    publish(catalog, clock())
    answer = call("POST", "/backup/restore/latest", body={name: []})
    assert (answer.status, answer.json()["detail"]) == (
        400,
        f"{name}: it names nothing: leave it out, which means all, or name at least 1",
    )
    assert list(catalog.runs.ids()) == []


def test_a_page_begins_after_an_id_and_nothing_else(call: Client) -> None:
    for path in ("/backup/list", "/backup/runs"):
        for wrong in ("x", "../lease", "%00", "0" * 300):
            assert call("GET", f"{path}?next={wrong}").status == 400
        for fine in (ID, "20261123T001500-create-0a1b2c3d"):
            assert call("GET", f"{path}?next={fine}").status == 200


def test_a_path_says_which_methods_it_has(call: Client, catalog: Catalog) -> None:
    publish(catalog, catalog.now())
    for path, allowed in (
        (f"/backup/download/volume/{ID}", "GET, POST"),
        (f"/backup/{ID}", "DELETE, GET"),
        ("/backup/upload/20261123T001500-upload-0a1b2c3d", "DELETE, GET"),
        ("/backup/runs", "GET"),
        ("/backup/list", "GET"),
        ("/backup/restore/pause", "DELETE, PUT"),
        ("/console", "GET"),
    ):
        for method in ("HEAD", "PATCH", "OPTIONS"):
            answer = call(method, path)
            assert (answer.status, answer.headers["allow"]) == (405, allowed), path


def test_workers_for_some_paths_are_refused_before_anything_starts(
    with_settings: Callable[..., Client],
    catalog: Catalog,
    started: list[tuple[str, dict[str, object]]],
) -> None:
    call = with_settings(LCP_BACKUP_WORKERS="4")
    publish(catalog, catalog.now())
    answer = call("POST", "/backup/restore/latest", body={"paths": ["a"], "workers": 2})
    assert answer.status == 400
    assert "they unpack a whole volume, not some paths of it" in answer.json()["detail"]
    assert started == []
    one = call("POST", "/backup/restore/latest", body={"paths": ["a"], "workers": 1})
    assert one.status == 202


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "create", "POST"),
        ("DELETE", "create", "POST"),
        ("GET", "upload", "POST"),
        ("DELETE", "list", "GET"),
        ("DELETE", "runs", "GET"),
        ("DELETE", "openapi.json", "GET"),
        ("POST", "restore/pause", "DELETE, PUT"),
    ],
)
def test_the_word_of_a_call_is_no_backups_id(
    call: Client, method: str, path: str, allowed: str
) -> None:
    answer = call(method, f"/backup/{path}")
    assert (answer.status, answer.headers.get("allow")) == (405, allowed)
    assert (
        answer.json()["detail"] == f"{method} /backup/{path} is no call: this path takes {allowed}"
    )


@pytest.mark.parametrize(
    ("path", "there_is"),
    [
        ("restore", "DELETE, PUT /backup/restore/pause; POST /backup/restore/{backup_id}"),
        ("verify", "POST /backup/verify/{backup_id}"),
        ("download", "GET, POST /backup/download/{kind}/{backup_id}"),
        ("download/volume", "GET, POST /backup/download/{kind}/{backup_id}"),
    ],
)
def test_a_call_without_what_it_is_about_is_told_what_there_is(
    call: Client, path: str, there_is: str
) -> None:
    for method in ("GET", "POST", "DELETE", "PATCH"):
        answer = call(method, f"/backup/{path}")
        assert (answer.status, answer.headers.get("allow")) == (404, None)
        told = answer.json()
        assert told["type"].endswith(":no-such-path")
        assert told["detail"] == f"{method} /backup/{path} is no call: there is {there_is}"


def test_a_path_that_is_none_is_named(call: Client) -> None:
    assert call("GET", "/backup/list/").json()["detail"] == "GET /backup/list/ is no call"
    # Of one whose id was not filled in, the id is what is wrong.
    assert call("GET", "/backup/{backup_id}").status == 400


def test_json_that_is_none_is_a_malformed_body(call: Client, catalog: Catalog) -> None:
    publish(catalog, catalog.now())
    for body in (b"{", b'"\xff"', b"[" * 100_000):
        answer = call(
            "POST", f"/backup/restore/{ID}", body=body, headers={"content-type": "application/json"}
        )
        assert answer.status == 400
        assert answer.json()["type"] == "urn:lcp-backup:problem:malformed-body"


def test_json_that_does_not_say_so_is_told_which_header_does(
    call: Client, catalog: Catalog
) -> None:
    publish(catalog, catalog.now())
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):
        answer = call("POST", f"/backup/restore/{ID}", body=b'{"tables": ["a"]}', headers=headers)
        assert answer.status == 400
        assert "'Content-Type: application/json'" in answer.json()["detail"]


def test_archives_are_named_by_their_kind(call: Client) -> None:
    answer = call("GET", f"/backup/download/manifest/{ID}")
    assert answer.status == 400
    assert all(kind in answer.json()["detail"] for kind in ArchiveKind)


def test_scripts_are_asked_for_and_refused_at_once_where_they_cannot_run(
    call: Client,
    with_settings: Callable[..., Client],
    catalog: Catalog,
    clock: SettableClock,
    started: list[tuple[str, dict[str, object]]],
) -> None:
    publish(catalog, clock())
    path = f"/backup/restore/{ID}"
    assert call("POST", path, body={"scripts": True, "tables": ["User_"]}).status == 400
    overwrites = with_settings(LCP_BACKUP_RESTORE_STRATEGY="OVERWRITE")
    assert overwrites("POST", path, body={"scripts": True}).status == 400
    assert started == []
    assert call("POST", path, body={"scripts": True}).status == 202
    assert started[0][1]["scripts"] is True


def test_an_older_backup_that_cannot_be_read_is_no_reason_to_say_nothing_of_others(
    call: Client, catalog: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    made = publish(catalog, clock())
    older = publish(catalog, clock() - timedelta(days=1))
    store.put(f"acme/prd/backups/{older}/manifest.json", b'{"format": 2}')
    assert call("GET", f"/backup/{made}").json()["backupId"] == made
    usage = call("GET", "/backup/usage").json()
    assert [it["backup_id"] for it in usage["backups"]] == [made]
    for path in (f"/backup/{older}", f"/backup/{older}/tables"):
        problem = call("GET", path)
        assert problem.status == 500
        assert older in problem.json()["detail"]
