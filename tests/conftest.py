"""How tests are spread over processes, what hypothesis asks of them, what is not repeated."""

from functools import cache
from typing import Any

import botocore.loaders
import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # no types

# No test asserts on time: a busy machine would fail it.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A mocked AWS begins with a new session, which reads the descriptions of AWS's services anew: for
# most tests of this kind that was most of their time.
botocore.loaders.create_loader = cache(botocore.loaders.create_loader)


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
