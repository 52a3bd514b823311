"""Whom the routes let in, and which headers are read."""

from dataclasses import replace
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request

from lcp_backup.errors import AwsError, Throttled
from lcp_backup_api import identity
from lcp_backup_api.refusals import Forbidden, FromAnotherSite, Unauthenticated
from lcp_backup_api.users import Caller, Role, Users


class Doorman(Users):
    """Notes the headers it was given, and answers one thing."""

    def __init__(self, answer: Caller | Exception) -> None:
        self.answer = answer
        self.given: list[tuple[str | None, str | None]] = []
        self.sources: list[str | None] = []

    def identify(
        self,
        authorization: str | None,
        dxpcloud_authorization: str | None,
        source: str | None = None,
    ) -> Caller:
        self.given.append((authorization, dxpcloud_authorization))
        self.sources.append(source)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


VIEWER = Caller("bob", Role.VIEWER, "basic")
ADMIN = Caller("ann", Role.ADMIN, "access token")


@pytest.fixture
def doorman() -> Doorman:
    return Doorman(VIEWER)


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()

    @app.get("/look")
    def look(caller: Annotated[Caller, Depends(identity.viewer)]) -> str:
        return caller.name

    @app.post("/change")
    def change(caller: Annotated[Caller, Depends(identity.admin)]) -> str:
        return caller.name

    return app


def admitted(
    doorman: Doorman,
    *headers: tuple[str, str],
    method: str = "GET",
    query: str = "",
    allowed: str | None = None,
) -> Caller:
    """The caller of a request as an ASGI server hands it over: header names in lower case."""
    scope = {
        "type": "http",
        "method": method,
        "scheme": "https",
        "client": ("192.0.2.7", 0),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    return identity.admitted(Request(scope), doorman, allowed)


def test_a_viewers_door_lets_in_who_was_admitted_and_nobody_else() -> None:
    request = Request({"type": "http", "state": {"caller": VIEWER}})
    assert identity.viewer(request, None, None, None) == VIEWER
    with pytest.raises(AttributeError):
        identity.viewer(Request({"type": "http", "state": {}}), None, None, None)


def test_only_an_admin_may_change_anything() -> None:
    assert identity.admin(ADMIN) == ADMIN
    with pytest.raises(Forbidden, match="bob may look and download only.*group of admins"):
        identity.admin(VIEWER)


@pytest.mark.parametrize(
    "error", [Unauthenticated(), Throttled("later"), AwsError("out of reach")], ids=repr
)
def test_whoever_is_not_identified_gets_in_nowhere(doorman: Doorman, error: Exception) -> None:
    doorman.answer = error
    with pytest.raises(type(error)):
        admitted(doorman)


PAGE = "https://evil.example"
API = ("host", "api.example.com")
HERE = "https://api.example.com"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "post"])
@pytest.mark.parametrize(
    "sent",
    [
        [("origin", PAGE)],
        [("origin", "null")],
        [("origin", "")],
        [("origin", "http://api.example.com")],
        [("origin", HERE + ".evil.example")],
        [("origin", HERE), ("origin", PAGE)],
        [("origin", HERE), ("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
        [("sec-fetch-site", "anything")],
        [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-origin"), ("origin", PAGE)],
    ],
)
def test_a_change_that_another_sites_page_sends_with_a_remembered_password_is_refused(
    doorman: Doorman, method: str, sent: list[tuple[str, str]]
) -> None:
    doorman.answer = replace(ADMIN, how="basic")
    with pytest.raises(FromAnotherSite):
        admitted(doorman, API, *sent, method=method, allowed="https://console.example.com")
    # A token is in no browser's memory: a page that sends one was given it.
    for how in ("access token", "master token"):
        doorman.answer = replace(ADMIN, how=how)
        assert admitted(doorman, API, *sent, method=method)


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        ("POST", []),
        ("POST", [("sec-fetch-site", "none")]),
        ("POST", [("sec-fetch-site", "same-origin"), ("origin", HERE)]),
        ("POST", [("sec-fetch-site", "same-origin"), ("origin", "http://api.example.com")]),
        ("POST", [("origin", "https://API.example.com")]),
        ("POST", [("origin", "https://console.example.com"), ("sec-fetch-site", "same-site")]),
        ("GET", [("origin", PAGE), ("sec-fetch-site", "cross-site")]),
    ],
)
def test_programs_own_pages_the_page_that_is_set_and_what_changes_nothing_are_let_in(
    doorman: Doorman, method: str, sent: list[tuple[str, str]]
) -> None:
    doorman.answer = replace(ADMIN, how="basic")
    assert admitted(doorman, API, *sent, method=method, allowed="https://console.example.com")


def test_the_address_of_the_call_is_told_to_who_counts_guesses(doorman: Doorman) -> None:
    admitted(doorman)
    assert doorman.sources == ["192.0.2.7"]


@pytest.mark.parametrize(
    ("headers", "given"),
    [
        ([], (None, None)),
        ([("AUTHORIZATION", "Basic eA==")], ("Basic eA==", None)),
        ([("DXPCloud-Authorization", "Bearer x")], (None, "Bearer x")),
        ([("authorization", "")], ("", None)),
        ([("authorization", "a"), ("dxpcloud-authorization", "b")], ("a", "b")),
        ([("cookie", "access_token=x"), ("x-authorization", "Bearer x")], (None, None)),
        ([("authorization", "Bearer x"), ("authorization", "y")], ("Bearer x, y", None)),
    ],
)
def test_only_the_two_headers_are_read_and_a_double_one_is_not_chosen_from(
    doorman: Doorman,
    headers: list[tuple[str, str]],
    given: tuple[str | None, str | None],
) -> None:
    admitted(doorman, *headers, query="access_token=x&authorization=Bearer%20x")
    assert doorman.given == [given]


def test_openapi_tells_the_three_ways_as_alternatives(app: FastAPI) -> None:
    told = app.openapi()
    for operation in (told["paths"]["/look"]["get"], told["paths"]["/change"]["post"]):
        assert [list(way) for way in operation["security"]] == [["basic"], ["bearer"], ["dxpcloud"]]
    scheme = told["components"]["securitySchemes"]["dxpcloud"]
    assert (scheme["in"], scheme["name"]) == ("header", "dxpcloud-authorization")


def test_the_challenge_names_both_schemes_and_the_charset() -> None:
    assert identity.CHALLENGE == (
        'Basic realm="lcp-backup", charset="UTF-8", Bearer realm="lcp-backup"'
    )
