"""All that the API can be asked, and every error that it may tell."""

from collections.abc import Iterator

from lcp_backup.errors import BackupError
from lcp_backup_api.application import without_backend

ID = "acme-prd-202611230015"


RUN = "20261123T001500-upload-0a1b2c3d"


def kinds(of: type[BackupError] = BackupError) -> Iterator[type[BackupError]]:
    """Every class of error there is."""
    yield of
    for below in of.__subclasses__():
        yield from kinds(below)


KINDS = sorted(set(kinds()), key=lambda kind: kind.__name__)


def _called(path: str) -> str:
    for name, value in {"kind": "volume", "backup_id": ID, "run_id": RUN, "upload_id": RUN}.items():
        path = path.replace(f"{{{name}}}", value)
    return path


SIGN_IN = "/backup/login"
"""Here and below it nobody needs a credential."""
ROUTES = [
    (method.upper(), _called(path))
    for path, methods in without_backend().openapi()["paths"].items()
    for method in methods
    if path != "/backup/health" and not path.startswith(SIGN_IN)
]


ELSEWHERE = ["/backup", "/backup/", "/backup/openapi.json", "/docs", "/x", "/backup//list"]
