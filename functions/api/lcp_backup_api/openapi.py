"""Writes the API's description, as docs/openapi.json has it, to standard output."""

import json
import sys

from lcp_backup_api.application import without_backend


def text() -> str:
    """The description, in the form in which it is committed."""
    return json.dumps(without_backend().openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
