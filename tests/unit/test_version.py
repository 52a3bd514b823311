"""One version, said in two places."""

import tomllib
from pathlib import Path

from lcp_backup import VERSION


def test_manifests_name_the_version_of_the_project() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
