"""Which calls there are: what a path takes, and what is told of one that is none."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

_WORD = 2
"""Where the word of a call stands: `restore` in `/backup/restore/...`, split at its slashes."""


def allowed(request: Request) -> str | None:
    """The methods of the path that was called."""
    for path, methods in _paths(request).items():
        if compile_path(path)[0].match(request.scope["path"]):
            return methods
    return None


def below(request: Request) -> list[str]:
    """The calls that go on where this path ends, such as those of /backup/restore."""
    given = str(request.scope["path"]).rstrip("/").split("/")
    found = {
        path: methods
        for path, methods in _paths(request).items()
        if _is_or_goes_on(path.split("/"), given)
    }
    if any(path.count("/") < len(given) for path in found):
        return []  # it is a call itself
    return sorted(f"{methods} {path}" for path, methods in found.items())


class Taken(NamedTuple):
    """The names that a call takes."""

    query: list[str]
    """Those of its query parameters."""
    body: frozenset[str]
    """Those of the fields of its body."""


def taken(request: Request) -> Taken:
    """What the call that was asked for takes, by its description."""
    document = request.app.openapi()
    call = document["paths"][request.scope["route"].path_format][request.method.lower()]
    names = [it["name"] for it in call.get("parameters", ()) if it["in"] == "query"]
    body = call.get("requestBody", {}).get("content", {}).get("application/json", {})
    fields = _fields(document, body.get("schema", {}))
    return Taken(names, frozenset(fields))


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Those of a schema, or of the one that it refers to; of an optional one, as well."""
    yield from schema.get("properties", ())
    if name := schema.get("$ref", "").removeprefix("#/components/schemas/"):
        yield from _fields(document, document["components"]["schemas"][name])
    for choice in schema.get("anyOf", ()):
        yield from _fields(document, choice)


def refuse_by_word(request: Request) -> None:
    """Raises for a call's word that stands where an id should: GET /backup/create, /backup/restore.

    Starlette goes on to /backup/{backup_id} when the method is not that of the call.
    """
    path = request.scope["path"]
    if "{" not in path and path in _paths(request):
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
    if below(request):
        raise HTTPException(HTTPStatus.NOT_FOUND)


def _is_or_goes_on(path: list[str], given: list[str]) -> bool:
    if not _WORD < len(given) <= len(path):
        return False
    # By its own word: what takes for an id whatever is given says nothing of what was meant.
    return "{" not in given[_WORD] == path[_WORD] and all(
        theirs == own or own.startswith("{") for own, theirs in zip(path, given, strict=False)
    )


def _paths(request: Request) -> dict[str, str]:
    """Each call's path with its methods; a route knows its own only, and a path may be of several.

    Those that are written out stand before those that take the same for an id.
    """
    # (The description does not describe itself.)
    paths = {request.app.openapi_url: ["get"], **request.app.openapi()["paths"]}
    return {
        path: ", ".join(sorted(method.upper() for method in paths[path]))
        for path in sorted(paths, key=lambda path: path.count("{"))
    }
