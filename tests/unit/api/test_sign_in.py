"""Signing in over JSON: who gets a token, what strangers learn, and how guessing is slowed down."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lcp_backup_api.backend import Backend
from lcp_backup_api.challenges import Challenge
from lcp_backup_api.sign_in import is_for_anybody
from local.api import Answer
from tests.support.api_client import Client, Lines
from tests.support.clock import SettableClock
from tests.support.door import CODE, PASSWORD, SESSION, Door

LOGIN, CHALLENGE = "/backup/login", "/backup/login/challenge"
ASKED = Challenge("SOFTWARE_TOKEN_MFA", SESSION, "ann@acme.com")


@pytest.fixture
def door(clock: SettableClock) -> Door:
    return Door(clock)


@pytest.fixture
def call(backend: Backend, door: Door) -> Client:
    """Of an application that knows its users by the door's user pool."""
    return Client(replace(backend, users=door.users))


def sign_in(call: Client, password: str = PASSWORD, user: str = "ann@acme.com") -> Answer:
    return call("POST", LOGIN, by=None, body={"user": user, "password": password})


def answer(call: Client, code: str = CODE, session: str = SESSION) -> Answer:
    body = {"name": ASKED.name, "session": session, "user": ASKED.user, "answer": code}
    return call("POST", CHALLENGE, by=None, body=body)


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["type"].rpartition(":")[2]


def test_a_name_and_password_get_a_token_that_the_other_calls_take(
    call: Client, lines: Lines
) -> None:
    told = sign_in(call)
    assert told.status == 200
    entry = told.json()["signed_in"]
    assert (entry["name"], entry["role"], told.json()["challenge"]) == (
        "ann@acme.com",
        "admin",
        None,
    )
    assert entry["expires_at"].endswith("Z")
    assert told.headers["cache-control"] == "no-store"
    assert call("GET", "/backup/whoami", by=f"Bearer {entry['token']}").status == 200
    assert [(it["action"], it["caller"], it["outcome"]) for it in lines.audits] == [
        ("sign in", "ann@acme.com", "done")
    ]
    assert entry["token"] not in str(lines.written)
    assert PASSWORD not in str(lines.written)


def test_what_the_pool_asks_is_told_and_its_answer_signs_in(
    call: Client, door: Door, lines: Lines
) -> None:
    door.pool.challenge = replace(ASKED, sent_to="+***12")
    told = sign_in(call).json()
    assert told["signed_in"] is None
    assert told["challenge"] == {
        "name": "SOFTWARE_TOKEN_MFA",
        "session": SESSION,
        "user": "ann@acme.com",
        "sent_to": "+***12",
        "choices": [],
        "secret": None,
    }
    assert lines.audits == []
    entry = answer(call).json()["signed_in"]
    assert entry["name"] == "ann@acme.com"
    assert [it["action"] for it in lines.audits] == ["sign in"]
    assert not {SESSION, CODE} & set(json.dumps(lines.written).split('"'))


def test_whatever_is_wrong_with_a_login_a_stranger_is_told_one_thing(
    call: Client, door: Door
) -> None:
    known = call("GET", "/backup/list", by=None)
    for user, password in (("ann@acme.com", "wrong"), ("nobody", "wrong"), ("a\nb", PASSWORD)):
        told = sign_in(call, password, user)
        assert (told.status, told.body) == (401, known.body)
    assert [it["message"] for it in door.log_lines()[-3:]] == ["a sign-in was refused"] * 3
    assert "wrong" not in door.written.getvalue()


def test_a_wrong_code_may_be_given_again_and_a_session_that_is_over_may_not(call: Client) -> None:
    assert problem(answer(call, code="000000")) == (401, "wrong-answer")
    assert problem(answer(call, session="made-up-session-of-nobody")) == (401, "sign-in-expired")
    assert answer(call).status == 200


@pytest.mark.parametrize("wrong", ["password", "code", "session"])
def test_after_20_wrong_ones_of_any_kind_an_address_has_to_wait(
    call: Client, door: Door, wrong: str
) -> None:
    attempts = {
        "password": lambda: sign_in(call, "wrong"),
        "code": lambda: answer(call, code="000000"),
        "session": lambda: answer(call, session="made-up-session-of-nobody"),
    }
    for _ in range(20):
        assert attempts[wrong]().status == 401
    asked = len(door.pool.logins_asked), len(door.pool.answers_asked)
    for held_off in (sign_in(call), answer(call)):
        assert problem(held_off) == (429, "throttled")
        assert held_off.headers["retry-after"] == "60"
    assert (len(door.pool.logins_asked), len(door.pool.answers_asked)) == asked
    door.clock.pass_by(timedelta(seconds=61))
    assert sign_in(call).status == 200


def test_a_right_password_of_no_member_opens_nothing_and_is_told_so(
    call: Client, door: Door
) -> None:
    door.pool.groups = ["readers"]
    assert problem(sign_in(call)) == (403, "not-a-member")


def test_no_page_of_another_site_signs_anybody_in(call: Client, door: Door) -> None:
    for path in (LOGIN, CHALLENGE):
        for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            told = call("POST", path, by=None, body={}, headers=headers)
            assert problem(told) == (403, "from-another-site")
    assert door.pool.logins_asked == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{not json", "malformed-body"),
        (b"", "invalid-request"),
        (b"[]", "invalid-request"),
        (b'{"user": "ann"}', "invalid-request"),
        (b'{"user": "ann", "password": ""}', "invalid-request"),
        (b'{"user": "ann", "password": "secret-word", "more": 1}', "invalid-request"),
        (b'{"user": "ann", "password": ["secret-word"]}', "invalid-request"),
        (b'{"user": "ann", "password": "' + b"secret-word" * 40 + b'"}', "invalid-request"),
    ],
    ids=ascii,
)
def test_what_is_no_login_is_refused_without_being_quoted(
    call: Client, door: Door, lines: Lines, body: bytes, told: str
) -> None:
    headers = {"content-type": "application/json"}
    refused = call("POST", LOGIN, by=None, body=body, headers=headers)
    assert problem(refused) == (400, told)
    assert b"secret-word" not in refused.body
    assert "secret-word" not in str(lines.written)
    assert door.pool.logins_asked == []


def test_half_a_character_reaches_no_user_pool(call: Client, door: Door) -> None:
    assert problem(sign_in(call, password="\ud800")) == (401, "unauthenticated")
    assert problem(answer(call, code="\ud800")) == (401, "wrong-answer")
    assert problem(answer(call, session="a\nb" * 20)) == (401, "wrong-answer")
    assert (door.pool.logins_asked, door.pool.answers_asked) == ([], [])


def test_a_stranger_has_no_large_body_parsed(call: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(*_: Any, **__: Any) -> Any:
        raise AssertionError("a large body was parsed")

    large = json.dumps({"user": "x" * 9000, "password": "y"}).encode()
    monkeypatch.setattr(json, "loads", parsed)
    told = call("POST", LOGIN, by=None, body=large, headers={"content-type": "application/json"})
    monkeypatch.undo()
    assert problem(told) == (413, "too-large")


def test_only_these_three_calls_are_for_anybody(call: Client) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "HEAD"):
        for path in (LOGIN, CHALLENGE, f"{LOGIN}/", f"{LOGIN}/x", "/backup/logins"):
            if not is_for_anybody(method, path):
                assert call(method, path, by=None).status == 401


def test_the_hosted_login_is_named_where_there_is_one_and_nothing_else(
    call: Client, backend: Backend, door: Door
) -> None:
    assert call("GET", LOGIN, by=None).json() == {"sso": None}
    domain = "acme.auth.eu-central-1.amazoncognito.com"
    changed = {"user_pool_domain": domain, "user_pool_client_id": "1example23456789"}
    settings = backend.settings.model_copy(update=changed)
    call = Client(replace(backend, users=door.users, settings=settings))
    assert call("GET", LOGIN, by=None).json() == {
        "sso": {"domain": domain, "client_id": "1example23456789"}
    }
