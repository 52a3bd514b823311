"""Servers as RDS gives them, what may not change on them, and the road that dumps take."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lcp_backup.aws import clients
from lcp_backup.database.endpoint import Flavour
from tests.support.memory_s3 import MemoryS3, NoEvents
from tests.support.rds_like import rds_like
from tests.support.road import Road
from tests.support.servers import FLAVOURS
from tests.support.world import World


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Attacks on what only one kind of server has are no tests of the other."""
    elsewhere = [item for item in items if _is_elsewhere(item)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in set(elsewhere)]


def _is_elsewhere(item: pytest.Item) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    named = getattr(params.get("attack"), "only", None)
    only = named or getattr(getattr(item, "function", None), "only", None)
    return only is not None and only != params.get("flavour", only)


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Worlds"]:
    """The servers that were asked for."""
    made = Worlds(tmp_path_factory)
    yield made
    made.close()


class Worlds:
    """Starts a server when it is first asked for, and another when it has crashed."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._open: dict[Flavour, World] = {}
        self._running = ExitStack()

    def of(self, flavour: Flavour) -> World:
        """The server of this kind, alive."""
        world = self._open.get(flavour)
        if world is None or not world.is_alive():
            folder = self._folders.mktemp(f"rds-{flavour}")
            server, outside = self._running.enter_context(rds_like(flavour, folder))
            world = self._open[flavour] = World(server, folder / "data", outside)
            self._running.callback(world.close)
        return world

    def close(self) -> None:
        """Stops them all."""
        self._running.close()


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


class Roads:
    """The road to each server, with an honest backup to restore after attacks."""

    def __init__(self, worlds: Worlds, folders: pytest.TempPathFactory) -> None:
        self._worlds = worlds
        self._folders = folders
        self._made: dict[Flavour, Road] = {}

    def of(self, flavour: Flavour) -> Road:
        """The road to a server that is alive."""
        world = self._worlds.of(flavour)
        road = self._made.get(flavour)
        if road is None or road.world is not world:
            road = self._made[flavour] = Road(world, self._folders.mktemp("volume"))
            with road.programs():
                road.prepare()
        return road


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
