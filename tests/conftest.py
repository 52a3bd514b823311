"""How the tests are spread over processes."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files stay together, and all of e2e: it deploys the stack once, in one process."""
    for item in items:
        group = "e2e" if item.path.parent.name == "e2e" else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
