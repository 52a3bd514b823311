"""Real database servers, and the road that dumps take to those that are like RDS's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcp_backup.aws import clients
from lcp_backup.database.endpoint import Flavour
from tests.support.memory_s3 import MemoryS3, NoEvents
from tests.support.road import Road, Roads
from tests.support.servers import FLAVOURS, DatabaseServer, running_server
from tests.support.world import Worlds

_HERE = Path(__file__).parent
_OF_EVERY_VERSION = {
    _HERE / "database" / name for name in ("test_dump.py", "test_roundtrip.py", "test_rows.py")
}
"""What a dump says and how it is read differs between versions of one server."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what comes out the same on every machine, so that CI need not try it on two.

    Of the tests in this folder: pytest hands over those of other folders too. What only one kind of
    server has is no test of the other.
    """
    ours = [item for item in items if item.path.is_relative_to(_HERE)]
    for item in ours:
        if item.path not in _OF_EVERY_VERSION and not _asks_for_mysql(item):
            item.add_marker(pytest.mark.same_everywhere)
    elsewhere = [item for item in ours if _is_elsewhere(item)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in set(elsewhere)]


def _asks_for_mysql(item: pytest.Item) -> bool:
    ids = item.callspec.id if hasattr(item, "callspec") else ""
    return "mysql" in ids or "mysql" in getattr(item, "fixturenames", ())


def _is_elsewhere(item: pytest.Item) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    named = getattr(params.get("attack"), "only", None)
    only = named or getattr(getattr(item, "function", None), "only", None)
    return only is not None and only != params.get("flavour", only)


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


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """The servers that were asked for."""
    made = Worlds(tmp_path_factory)
    yield made
    made.close()


@pytest.fixture(scope="module")
def in_memory() -> Iterator[None]:
    """A store and a bus in memory, for as long as one module's tests run."""
    store = MemoryS3()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "s3", lambda: store)
        patch.setattr(clients, "events", NoEvents)
        # PyMySQL reads all of the system's authorities for every connection, for 50 ms each.
        patch.setenv("SSL_CERT_FILE", os.devnull)
        yield


@pytest.fixture(scope="module")
def roads(
    worlds: Worlds,
    in_memory: None,  # noqa: ARG001 -- it has to be there first
    tmp_path_factory: pytest.TempPathFactory,
) -> Roads:
    return Roads(worlds, tmp_path_factory)


@pytest.fixture(scope="module", params=FLAVOURS, ids=str)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Each kind of server in turn."""
    return Flavour(request.param)


@pytest.fixture
def road(roads: Roads, flavour: Flavour) -> Iterator[Road]:
    """The road to each server in turn."""
    found = roads.of(flavour)
    with found.programs():
        yield found
