"""One deployed stack for all end-to-end tests: the real template on the emulator, real servers."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from local.stack import Stack, stop
from tests.support.browser import browser
from tests.support.deployed import NEVER, Deployed


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    state = tmp_path_factory.mktemp("stack") / "state"
    try:
        stack = Stack.start(state)
        stack.build()
        stack.deploy({"LCP_BACKUP_CREATE_SCHEDULE": NEVER, "LCP_PROJECT_ID": "acme"})
        stack.add_users()
        yield Deployed(stack)
    finally:
        stop(state)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found
