"""Who a caller is, and the token that a program keeps in place of a password."""

from dataclasses import replace

import jwt
import pytest

from lcp_backup_api.backend import Backend
from lcp_backup_api.refusals import LoginRefused
from lcp_backup_api.users import Caller, Role
from tests.support.api_client import Client, Lines, Names


class ByToken(Names):
    """Everybody has an access token."""

    def identify(self, *_: object) -> Caller:
        return Caller("ann", Role.ADMIN, "access token")


class ChangedMeanwhile(Names):
    """Whose password was changed after it was taken."""

    def token_for(self, authorization: str) -> str:
        raise LoginRefused(authorization)


@pytest.mark.parametrize(("name", "role"), [("ann", "admin"), ("bob", "viewer")])
def test_a_caller_is_told_who_they_are(call: Client, name: str, role: str) -> None:
    answer = call("GET", "/backup/whoami", by=name)
    assert (answer.status, answer.json()) == (200, {"name": name, "role": role, "by": "basic"})


def test_a_name_and_password_get_a_token_and_the_log_says_so_without_it(
    call: Client, lines: Lines
) -> None:
    answer = call("POST", "/backup/token", by="bob")
    assert answer.status == 200
    told = answer.json()
    assert jwt.decode(told["token"], options={"verify_signature": False})["username"] == "bob"
    assert told["expires_at"] == "2027-01-15T08:00:00Z"
    assert answer.headers["cache-control"] == "no-store"
    assert [(line["action"], line["outcome"]) for line in lines.audits] == [("token", "done")]
    assert told["token"] not in str(lines.written)


def test_a_token_gets_no_other_one_and_so_lives_no_longer(backend: Backend) -> None:
    answer = Client(replace(backend, users=ByToken()))("POST", "/backup/token")
    assert (answer.status, answer.json()["type"]) == (400, "urn:lcp-backup:problem:invalid-request")


def test_a_password_that_was_changed_a_moment_ago_gets_none(backend: Backend) -> None:
    answer = Client(replace(backend, users=ChangedMeanwhile()))("POST", "/backup/token")
    assert (answer.status, answer.json()["type"]) == (401, "urn:lcp-backup:problem:unauthenticated")
