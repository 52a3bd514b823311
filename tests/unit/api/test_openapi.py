"""The committed description of the API is the API's."""

from pathlib import Path

from lcp_backup_api import openapi

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_the_committed_description_is_what_the_code_answers() -> None:
    assert COMMITTED.read_text() == openapi.text(), "run `make openapi` and commit"
