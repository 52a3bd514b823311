"""What no answer, record or event says: whose account this is, and where in it things lie."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.requests import Request

from lcp_backup import errors
from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.errors import AwsError, BackupError, SettingsError, StorageError
from lcp_backup.jobs.active_run import RunTiming
from lcp_backup.jobs.create import create_backup
from lcp_backup.model import RunState
from lcp_backup.requests import CreateRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup_api import problems
from lcp_backup_api.application import create_app
from lcp_backup_api.backend import Backend
from lcp_backup_api.refusals import LoginRefused, SignInExpired, Unauthenticated, WrongAnswer
from local.api import Answer
from tests.support.api_calls import ELSEWHERE, ID, KINDS, ROUTES, SIGN_IN
from tests.support.api_client import REQUEST_ID, SETTINGS, Client, Lines, Names

PRIVATE = [
    "123456789012",
    "api-role-SECRET",
    "backups-bucket-secret",
    "acme/prd/lease-secret.json",
    "db-secret.example.internal",
    "10.0.3.7",
    "master-user-secret",
]
BY_A_SERVER = f"{PRIVATE[6]}@{PRIVATE[5]} has no right at {PRIVATE[4]}: {PRIVATE[2]} {PRIVATE[3]}"
BY_AWS = (
    f"User: arn:aws:sts::{PRIVATE[0]}:assumed-role/{PRIVATE[1]} is not authorized to perform:"
    f" s3:PutObject on s3://{PRIVATE[2]}/{PRIVATE[3]}; {BY_A_SERVER}"
)


def stuffed(kind: type[BackupError], text: str) -> BackupError:
    """Such an error, with all that must not get out in all that it takes."""
    if kind is SettingsError:
        return SettingsError("LCP_DATABASE_SERVICE", text, text)
    if kind in {Unauthenticated, WrongAnswer, SignInExpired}:
        return kind()  # these say one thing, whatever happened
    run_id = "20261123T001500-download-0a1b2c3d"
    if kind is errors.DownloadNotReady:
        return errors.DownloadNotReady(run_id)
    if kind is errors.DownloadFailed:
        return errors.DownloadFailed(run_id, text)
    return kind(text)


def leaks(text: str) -> list[str]:
    return [private for private in PRIVATE if private in text]


def told(answer: Answer) -> str:
    return answer.body.decode() + str(answer.headers)


class Failing:
    """A collaborator that fails, whatever it is asked."""

    error: Exception

    def __getattr__(self, _name: str) -> Any:
        raise self.error


ASK_NO_STORE = {"/backup/whoami", "/backup/environment"}
"""What only the user pool is asked for: it is what may fail there, as for every call."""


def call_all(call: Client, by: str | None = "ann") -> Iterator[tuple[str, str, Answer]]:
    bodies: dict[str, dict[str, Any]] = {
        "upload": {"database": {"size": 3}, "volume": {"size": 4}},
        "pin": {"reason": "an audit"},
    }
    for method, path in ROUTES:
        if path in ASK_NO_STORE and by is not None:
            continue
        body = bodies.get(path.rpartition("/")[2])
        yield method, path, call(method, path, by=by, body=body)


# --- errors -------------------------------------------------------------------


def test_only_these_classes_speak_for_themselves() -> None:
    # Another one is an act: its messages must hold nothing but what the caller sent or may read.
    speaking = {kind.__name__ for kind in KINDS if kind.message_is_public}
    assert speaking == {
        *("InvalidCron", "InvalidRequest", "NotFound", "UnknownFormat"),
        *("Unauthenticated", "Forbidden", "NotAMember", "FromAnotherSite", "Throttled"),
        # Cognito's words for what a password must be, and the name of what it asks.
        *("WrongAnswer", "SignInExpired", "PasswordRefused", "ChallengeUnsupported"),
        *("Conflict", "LeaseHeld", "LeaseLost", "OutOfTime", "RunIsOver"),
        *("StoredInPart", "StagedInPart"),
        "Pinned",
        *("ArchiveError", "ArchiveDamaged", "ArchiveRefused", "FlavourMismatch"),
        *("VolumeError", "VolumeIncomplete"),
        # A run's id, and the reason that its record gives to the same readers.
        *("DownloadFailed", "DownloadNotReady"),
        # A backup's id, and what is wrong with the index.
        "BackupDamaged",
        # A backup's id, and how much SQL it had.
        "DatabaseTooLarge",
    }


def test_no_route_tells_what_an_error_of_any_class_knows_of_the_account(
    backend: Backend, lines: Lines
) -> None:
    failing: Any = Failing()
    client = Client(replace(backend, catalog=failing, uploads=failing))
    for kind in KINDS:
        texts = [BY_AWS] if kind.message_is_public else [BY_AWS, BY_A_SERVER]
        for error in (stuffed(kind, text) for text in texts):
            failing.error = error
            for method, path, answer in call_all(client):
                assert leaks(told(answer)) == [], (kind, method, path)
                assert answer.status >= 400
                assert ("www-authenticate" in answer.headers) == (answer.status == 401)
                if error.is_explained_by_log:
                    assert f"see the log, request id {REQUEST_ID}" in answer.json()["detail"]
                    line = next(it for it in reversed(lines.written) if it["level"] == "ERROR")
                    assert (line["request_id"], line["error"]) == (REQUEST_ID, kind.code)
                    assert line["reason"] == str(error)


def test_no_route_tells_what_an_error_that_nobody_foresaw_says(
    backend: Backend, lines: Lines
) -> None:
    failing: Any = Failing()
    failing.error = RuntimeError(BY_AWS)
    for _, path, answer in call_all(Client(replace(backend, catalog=failing, uploads=failing))):
        assert (path, answer.status, leaks(told(answer))) == (path, 500, [])
        assert f"see the log, request id {REQUEST_ID}" in answer.json()["detail"]
    assert any(PRIVATE[0] in line.get("reason", "") for line in lines.written)


def sign_ins(call: Client) -> Iterator[Answer]:
    """A sign-in and an answer, by nobody yet."""
    yield call("POST", SIGN_IN, by=None, body={"user": "ann", "password": "secret"})
    answered = {"name": "SMS_MFA", "session": "s" * 20, "user": "ann", "answer": "314159"}
    yield call("POST", f"{SIGN_IN}/challenge", by=None, body=answered)


def test_no_sign_in_tells_what_an_error_of_any_class_knows_of_the_account(
    backend: Backend,
) -> None:
    for kind in KINDS:
        failing: Any = Failing()
        for text in [BY_AWS] if kind.message_is_public else [BY_AWS, BY_A_SERVER]:
            failing.error = stuffed(kind, text)
            for answer in sign_ins(Client(replace(backend, users=failing))):
                assert (leaks(told(answer)), answer.status >= 400) == ([], True), kind


@pytest.mark.parametrize("kind", [AwsError, StorageError, LoginRefused, SettingsError])
def test_a_stranger_learns_nothing_from_what_fails_while_they_are_judged(
    backend: Backend, kind: type[BackupError]
) -> None:
    class Broken(Names):
        def identify(self, *_: object) -> Any:
            raise stuffed(kind, BY_AWS)

    for _, path, answer in call_all(Client(replace(backend, users=Broken())), by=None):
        assert (path, answer.status >= 500, leaks(told(answer))) == (path, True, [])


def test_no_record_of_a_run_that_could_not_be_started_tells_it(
    backend: Backend, catalog: Catalog
) -> None:
    raised: list[BackupError] = []

    def broken(_name: str, _event: dict[str, object]) -> None:
        raise raised[-1]

    call = Client(replace(backend, start=broken))
    for kind in KINDS:
        raised.append(stuffed(kind, BY_AWS))
        assert leaks(told(call("POST", "/backup/create"))) == [], kind
        [run] = catalog.runs.all()
        assert run.state is RunState.FAILED
        assert leaks(run.model_dump_json()) == [], kind
        for path in ("/backup/runs", f"/backup/runs/{run.id}", "/backup/list?status=all"):
            assert leaks(told(call("GET", path, by="bob"))) == [], kind
        catalog.runs.delete([run.id])


def test_no_record_and_no_event_of_a_run_that_failed_tells_it(
    catalog: Catalog, telemetry: Telemetry, announced: list[tuple[str, dict[str, Any]]]
) -> None:
    for kind in KINDS:
        error = stuffed(kind, BY_AWS)

        def locate(error: BackupError = error) -> DatabaseEndpoint:
            raise error

        with pytest.raises(kind):
            create_backup(
                CreateRequest(time=catalog.now()),
                settings=SETTINGS,
                catalog=catalog,
                telemetry=telemetry,
                locate=locate,
                programs=[],
                timing=RunTiming(heartbeat=timedelta(hours=1)),
            )
        [run] = catalog.runs.all()
        assert run.error is not None
        assert run.error.code == kind.code
        (event, detail) = announced.pop()
        assert (event, detail["reason"]) == ("Backup Failed", run.error.message)
        assert leaks(run.model_dump_json() + str(detail)) == [], kind
        catalog.runs.delete([run.id])


def test_what_a_caller_made_up_comes_back_cut(call: Client) -> None:
    for answer in (
        call("POST", f"/backup/restore/{ID}", body={"x" * 500_000: 1}),
        call("POST", f"/backup/restore/{ID}", body={"paths": ["y" * 500_000]}),
        call("POST", "/backup/upload", body={"x" * 500_000: 1}),
        call("POST", "/backup/upload", body=b"x", headers={"content-type": "x" * 9000}),
        call("GET", f"/backup/list?status={'x' * 9000}"),
        call("GET", f"/backup/{'x' * 9000}"),
    ):
        assert answer.status in {400, 415}
        assert len(told(answer)) < 3000


# --- strangers ----------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_stranger_is_told_the_same_wherever_they_ask(call: Client, method: str) -> None:
    answers = {
        (answer.status, answer.body, str(sorted(answer.headers.items())))
        for path in {*(path for _, path in ROUTES), *ELSEWHERE}
        for answer in [call(method, path, by=None)]
    }
    assert [status for status, *_ in answers] == [401]
    [(_, body, _)] = answers
    assert b"backup_id" not in body


def test_health_is_the_one_call_for_strangers_who_do_not_sign_in(call: Client) -> None:
    assert call("GET", "/backup/health", by=None).status == 200
    assert call("POST", "/backup/health", by=None).status == 401
    assert call("GET", "/backup/openapi.json", by="bob").status == 200
    assert call("GET", "/nothing", by="bob").status == 404
    assert call("PATCH", "/backup/list", by="bob").status == 405


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/backup/upload", "multipart/form-data; boundary=b", b"--b\r\n" + bytes(4_000_000)),
        ("/backup/upload", "application/json", b"[" * 1_000_000),
        (f"/backup/restore/{ID}", "application/json", b"{not json"),
        ("/backup/restore/pause", "application/json", b"{not json"),
    ],
)
def test_nothing_that_a_stranger_sends_is_parsed(
    call: Client, monkeypatch: pytest.MonkeyPatch, path: str, content_type: str, body: bytes
) -> None:
    def parsed(_: Request) -> Any:
        raise AssertionError("a stranger's body was read")

    monkeypatch.setattr(Request, "stream", parsed)
    method = "PUT" if path.endswith("pause") else "POST"
    for by in (None, "mallory"):
        answer = call(method, path, by=by, body=body, headers={"content-type": content_type})
        assert answer.status == 401


def test_a_user_in_neither_group_is_told_so_wherever_they_ask(call: Client) -> None:
    for _, path, answer in [*call_all(call, by="eve"), ("", "", call("GET", "/x", by="eve"))]:
        assert (path, answer.status) == (path, 403)
        assert answer.json()["type"] == "urn:lcp-backup:problem:not-a-member"
        assert "neither group" in answer.json()["detail"]


# --- pages of other sites -----------------------------------------------------


def test_no_form_on_another_sites_page_changes_anything(
    call: Client, started: list[tuple[str, dict[str, object]]], catalog: Catalog
) -> None:
    sent = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    form = {**sent, "content-type": "application/x-www-form-urlencoded"}
    for method, path in ROUTES:
        if method != "GET":
            answer = call(method, path, headers=form, body=b"")
            assert (path, answer.status) == (path, 403)
            assert answer.json()["type"] == "urn:lcp-backup:problem:from-another-site"
    assert started == []
    assert list(catalog.runs.all()) == []
    assert call("POST", "/backup/create").status == 202


def test_the_page_that_the_stack_allows_may_change_things(
    with_settings: Callable[..., Client],
) -> None:
    call = with_settings(LCP_BROWSER_ORIGIN="https://console.example.com")
    sent = {"origin": "https://console.example.com", "sec-fetch-site": "cross-site"}
    assert call("POST", "/backup/create", headers=sent).status == 202


def test_only_a_401_challenges(backend: Backend) -> None:
    assert create_app(backend)
    rows = problems.TABLE.values()
    assert {row.status for row in rows if "WWW-Authenticate" in row.headers} == {401}
