"""The routes' doors: what each lets in, and which headers it reads."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request

from lcp_backup.errors import AwsError, Forbidden, Throttled, Unauthenticated
from lcp_backup.users import Caller, Role, Users
from lcp_backup_api import identity


class Doorman(Users):
    """Notes the headers it was given, and answers one thing."""

    def __init__(self, answer: Caller | Exception) -> None:
        self.answer = answer
        self.given: list[tuple[str | None, str | None]] = []

    def identify(self, authorization: str | None, dxpcloud_authorization: str | None) -> Caller:
        self.given.append((authorization, dxpcloud_authorization))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


VIEWER = Caller("bob", Role.VIEWER, "basic")
ADMIN = Caller("ann", Role.ADMIN, "access token")


@pytest.fixture
def doorman() -> Doorman:
    return Doorman(VIEWER)


@pytest.fixture
def app(doorman: Doorman) -> FastAPI:
    app = FastAPI()
    app.state.users = doorman

    @app.get("/look")
    def look(caller: Annotated[Caller, Depends(identity.viewer)]) -> str:
        return caller.name

    @app.post("/change")
    def change(caller: Annotated[Caller, Depends(identity.admin)]) -> str:
        return caller.name

    return app


def viewer_of(app: FastAPI, *headers: tuple[str, str], query: str = "") -> Caller:
    """The caller of a request as an ASGI server hands it over: header names in lower case."""
    scope = {
        "type": "http",
        "app": app,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    return identity.viewer(Request(scope), None, None, None)


def test_whoever_is_identified_may_look(app: FastAPI, doorman: Doorman) -> None:
    assert viewer_of(app) == VIEWER
    doorman.answer = ADMIN
    assert viewer_of(app) == ADMIN


def test_only_an_admin_may_change_anything() -> None:
    assert identity.admin(ADMIN) == ADMIN
    with pytest.raises(Forbidden, match="bob may look and download only.*'admins'"):
        identity.admin(VIEWER)


@pytest.mark.parametrize(
    "error", [Unauthenticated(), Throttled("later"), AwsError("out of reach")], ids=repr
)
def test_whoever_is_not_identified_gets_in_nowhere(
    app: FastAPI, doorman: Doorman, error: Exception
) -> None:
    doorman.answer = error
    with pytest.raises(type(error)):
        viewer_of(app)


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
    app: FastAPI,
    doorman: Doorman,
    headers: list[tuple[str, str]],
    given: tuple[str | None, str | None],
) -> None:
    viewer_of(app, *headers, query="access_token=x&authorization=Bearer%20x")
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
