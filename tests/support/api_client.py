"""The application, called as API Gateway calls the function."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from mangum import Mangum

from lcp_backup.settings import Settings
from lcp_backup_api.application import create_app
from lcp_backup_api.backend import Backend
from lcp_backup_api.refusals import NotAMember, Unauthenticated
from lcp_backup_api.users import Caller, Role, Users
from local.api import Answer

SETTINGS = Settings.from_env(
    {
        "LCP_PROJECT_ID": "acme",
        "LCP_ENVIRONMENT_ID": "prd",
        "LCP_BACKUP_BUCKET": "backups",
        "LCP_BACKUP_CREATE_SCHEDULE": "15 0 * * *",
        "LCP_CREATE_FUNCTION": "create-function",
        "LCP_RESTORE_FUNCTION": "restore-function",
        "LCP_UPLOAD_FUNCTION": "upload-function",
        "LCP_ASSEMBLE_FUNCTION": "assemble-function",
        "LCP_VERIFY_FUNCTION": "verify-function",
    }
)


REQUEST_ID = "JKJaXmPLvHcESHA="


class Names(Users):
    """Takes a name alone for a credential: who may what is the subject here, not who is who."""

    def __init__(self) -> None: ...

    def identify(
        self,
        authorization: str | None,
        dxpcloud_authorization: str | None,
        source: str | None = None,  # noqa: ARG002 -- the real one's
    ) -> Caller:
        name = dxpcloud_authorization or authorization
        if name == "eve":
            raise NotAMember("eve is in neither group")
        if name not in {"ann", "bob"}:
            raise Unauthenticated
        return Caller(name, Role.ADMIN if name == "ann" else Role.VIEWER, "basic")


@dataclass
class Lines:
    """A logger's lines, as they were written."""

    written: list[dict[str, Any]] = field(default_factory=list)

    def write(self, line: str) -> None:
        if line.strip():
            self.written.append(json.loads(line))

    def flush(self) -> None: ...

    @property
    def audits(self) -> list[dict[str, Any]]:
        return [line for line in self.written if line["message"] == "audit"]


@dataclass(frozen=True)
class Client:
    """Calls the function with events of API Gateway's format 2.0."""

    backend: Backend
    adapter: Mangum = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapter", Mangum(create_app(self.backend), lifespan="off"))

    def __call__(
        self,
        method: str,
        path: str,
        *,
        by: str | None = "ann",
        body: bytes | dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {"host": "api", "user-agent": "curl/7.88.1", **(headers or {})}
        if by is not None:
            sent["authorization"] = by
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        if body is not None:
            sent["content-length"] = str(len(body))
        path, _, query = path.partition("?")
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": sent,
            "requestContext": {
                "http": {"method": method, "path": path, "sourceIp": "192.0.2.7"},
                "requestId": REQUEST_ID,
                "stage": "$default",
            },
            "isBase64Encoded": True,
            "body": base64.b64encode(body or b"").decode(),
        }
        answer: Any = self.adapter(event, None)  # type: ignore[arg-type]  # no context is looked at
        text = answer.get("body") or ""
        return Answer(
            answer["statusCode"],
            {name.lower(): value for name, value in answer.get("headers", {}).items()},
            base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode(),
        )
