"""How tests are spread over processes, what hypothesis asks of them, what is not repeated."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import botocore.loaders
import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # no types

# What they compare is told when it fails, as in a test.
pytest.register_assert_rewrite("tests.support")

# No test asserts on time: a busy machine would fail it.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A mocked AWS begins with a new session, which reads the descriptions of AWS's services anew: for
# most tests of this kind that was most of their time.
botocore.loaders.create_loader = cache(botocore.loaders.create_loader)


_MYSQL_DIR = os.environ.get("LCP_TEST_MYSQL_DIR")
_ENGINE = "DOCKER_HOST" in os.environ or Path("/var/run/docker.sock").exists()
collect_ignore = [] if _ENGINE else ["e2e/test_sam_local.py"]


def pytest_report_header() -> list[str]:
    """What is tested with, beside MariaDB: tests that need what is not there are left out."""
    mysql = f"the one in {_MYSQL_DIR}" if _MYSQL_DIR else "none; LCP_TEST_MYSQL_DIR can name one"
    engine = "one for sam local" if _ENGINE else "none, so sam local is not tested"
    return [f"MySQL: {mysql}", f"container engine: {engine}"]


class ByFile(LoadScopeScheduling):  # type: ignore[misc] # as above
    """Files stay together, and all of e2e: it deploys the stack once, in one process.

    Groups by marks (`loadgroup`) would say the same, and do nothing under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "e2e" if path.startswith("tests/e2e/") else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """The scheduler of `pytest -n`."""
    return ByFile(config, log)
