"""Real database servers, one of each kind for all tests of a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lcp_backup.database.endpoint import Flavour
from tests.support.servers import FLAVOURS, DatabaseServer, running_server

_HERE = Path(__file__).parent
_OF_EVERY_VERSION = {
    _HERE / "database" / name for name in ("test_dump.py", "test_roundtrip.py", "test_rows.py")
}
"""What a dump says and how it is read differs between versions of one server."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what comes out the same on every machine, so that CI need not try it on two.

    Of the tests in this folder: pytest hands over those of other folders too.
    """
    for item in items:
        is_ours = item.path.is_relative_to(_HERE)
        if is_ours and item.path not in _OF_EVERY_VERSION and not _asks_for_mysql(item):
            item.add_marker(pytest.mark.same_everywhere)


def _asks_for_mysql(item: pytest.Item) -> bool:
    ids = item.callspec.id if hasattr(item, "callspec") else ""
    return "mysql" in ids or "mysql" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A private MariaDB."""
    with running_server(Flavour.MARIADB, tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="session")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """A private MySQL."""
    with running_server(Flavour.MYSQL, tmp_path_factory.mktemp("mysql")) as server:
        yield server


@pytest.fixture(params=FLAVOURS, ids=str)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    """Each server in turn: what is promised holds on both."""
    found = request.getfixturevalue(str(request.param))
    assert isinstance(found, DatabaseServer)
    return found
