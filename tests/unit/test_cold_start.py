"""What a function imports is what its cold start costs."""

import subprocess
import sys
from pathlib import Path

import pytest

_PROJECT = Path(__file__).parents[2]
_WEB = {"fastapi", "starlette", "mangum", "multipart", "python_multipart"}


@pytest.mark.parametrize(
    "name", ["create", "restore", "cleanup", "schedules", "upload", "assemble", "verify", "watch"]
)
def test_a_function_that_answers_no_http_does_not_import_the_web_framework(name: str) -> None:
    imported = imported_by(name)
    assert "lcp_backup.settings" in imported
    assert _WEB.isdisjoint(imported)


def test_the_api_imports_nothing_that_reads_archives_or_talks_to_databases() -> None:
    imported = imported_by("api")
    assert imported >= _WEB - {"multipart"}
    assert imported.isdisjoint({"isal", "pymysql"})


def imported_by(name: str) -> set[str]:
    """The modules that a function's handler imports before its first event."""
    code = (
        "import sys;"
        f"sys.path[:0] = [{str(_PROJECT / 'functions' / name)!r}, {str(_PROJECT / 'shared')!r}];"
        "import app; assert callable(app.handler);"
        "print(*sys.modules)"
    )
    # A process of its own: the tests' own imports must not count, nor hide anything.
    run = [sys.executable, "-I", "-c", code]
    return set(subprocess.run(run, check=True, capture_output=True, text=True).stdout.split())
