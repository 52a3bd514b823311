"""The application: routes, problems, and what every answer carries."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi

from lcp_backup import VERSION
from lcp_backup_api import (
    backups,
    callers,
    console,
    contents,
    cors,
    downloads,
    environment,
    identity,
    pins,
    problems,
    restores,
    runs,
    sign_in,
    uploads,
    usage,
    verifications,
)
from lcp_backup_api.backend import Backend
from lcp_backup_api.dependencies import refuse_unknown_parameters
from lcp_backup_api.schemas import Download, Health
from lcp_backup_api.uploads import Announcement, OpenUpload, TakenIn

_ONLY_REFERRED_TO = (problems.Problem, Download, Announcement, OpenUpload, TakenIn)
"""Models that no route has as its own answer, so that FastAPI does not know them."""
_EVERYWHERE = ("401", "403", "429", "500", "503")
_HEALTH: Final = "/backup/health"


def create_app(backend: Backend) -> FastAPI:
    """The application over these collaborators."""
    app = without_backend()
    app.state.backend = backend
    app.middleware("http")(_guarded(backend))
    return app


def without_backend() -> FastAPI:
    """The application's routes; it can describe itself, and answer nothing."""
    app = FastAPI(
        title="LCP Backup",
        version=VERSION,
        description="Backups of a Liferay DXP site: list, download, upload, make, restore.",
        openapi_url="/backup/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    app.get(_HEALTH, tags=["health"], summary="Whether the API answers")(_health)
    app.include_router(sign_in.router)
    # Before /backup/{backup_id}, which would take their words for an id.
    for router in (
        callers.router,
        environment.router,
        usage.router,
        runs.router,
        restores.router,
        verifications.router,
        uploads.router,
        backups.router,
        contents.router,
        pins.router,
        downloads.router,
    ):
        app.include_router(router, dependencies=[Depends(refuse_unknown_parameters)])
    # A login of the user pool's own page comes back to the console with parameters.
    app.include_router(console.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's own way
    return app


def _health() -> Health:
    return Health(version=VERSION)


def _is_open(method: str, path: str) -> bool:
    return (method, path) == ("GET", _HEALTH) or console.is_open(method, path)


def _guarded(
    backend: Backend,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    origin = backend.settings.browser_origin

    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.id = problems.request_id(request)
        # Not of `request.url`: that is made with the caller's Host, and not of every one.
        path = request.scope["path"]
        # A refused credential is logged where it is judged; the line then says from where it came.
        backend.log.append_keys(
            request_id=request.state.id,
            source_ip=request.client.host if request.client else None,
            path=path[:200],
        )
        answer = cors.preflight(request, origin)
        if answer is None:
            answer = await answered(request, path, go_on)
        if origin is not None and cors.is_from_page(request, origin):
            cors.let_page_read(answer, origin)
        # (The console's files say themselves how long they may be kept.)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    async def answered(
        request: Request, path: str, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        try:
            # Before the path is looked at and the body is read: a stranger learns from no answer
            # what there is, and has nothing parsed. The description is not for strangers either:
            # it names the version and every call, and who develops against it has it in docs/.
            if sign_in.is_for_anybody(request.method, path):
                await sign_in.check(request, origin)
            elif not _is_open(request.method, path):
                request.state.caller = await run_in_threadpool(
                    identity.admitted, request, backend.users, origin
                )
            return await go_on(request)
        except Exception as error:  # noqa: BLE001 -- the answer's maker logs it
            return problems.answer(request, error)

    return guard


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with this service's errors in the place of the library's."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for model in _ONLY_REFERRED_TO:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in document["paths"].values():
        for operation in path.values():
            if operation["responses"].get("422", {}).get("description") == "Validation Error":
                del operation["responses"]["422"]
            if "security" in operation:
                for status in _EVERYWHERE:
                    operation["responses"].setdefault(
                        status, {"description": _DESCRIPTIONS[status], "content": content}
                    )
    app.openapi_schema = document
    return document


_DESCRIPTIONS = {
    "401": "No credential, or a wrong one",
    "403": "The caller may only look, or nothing; or a page of another site sent this",
    "429": "Too many logins, or wrong credentials",
    "500": "Something unexpected",
    "503": "S3 or another AWS service does not answer as expected",
}
