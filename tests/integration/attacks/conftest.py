"""Servers as RDS gives them, what may not change on them, and the road that dumps take."""

import os
from collections.abc import Iterator

import pytest

from lcp_backup import aws
from lcp_backup.database.endpoint import Flavour
from tests.integration.attacks.memory_s3 import MemoryS3, NoEvents
from tests.integration.attacks.road import Road
from tests.integration.attacks.servers import rds_like
from tests.integration.attacks.world import World
from tests.integration.conftest import _FLAVOURS


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Worlds"]:
    """The servers that were asked for; each is started once."""
    made = Worlds(tmp_path_factory)
    yield made
    made.close()


class Worlds:
    """Starts a server when it is first asked for."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._open: dict[Flavour, tuple[World, object]] = {}

    def of(self, flavour: Flavour) -> World:
        if flavour not in self._open:
            folder = self._folders.mktemp(f"rds-{flavour}")
            running = rds_like(flavour, folder)
            server, outside = running.__enter__()
            self._open[flavour] = (World(server, folder / "data", outside), running)
        return self._open[flavour][0]

    def close(self) -> None:
        for world, running in self._open.values():
            world.close()
            running.__exit__(None, None, None)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def in_memory() -> Iterator[None]:
    """A store and a bus in memory, for as long as one module's tests run."""
    store = MemoryS3()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws, "s3_client", lambda: store)
        patch.setattr(aws, "events_client", NoEvents)
        # PyMySQL reads all of the system's authorities for every connection, for 50 ms each.
        patch.setenv("SSL_CERT_FILE", os.devnull)
        yield


@pytest.fixture(scope="module", params=_FLAVOURS, ids=str)
def road(
    request: pytest.FixtureRequest,
    worlds: Worlds,
    in_memory: None,  # noqa: ARG001 -- it has to be there first
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Road]:
    """The road to each server in turn, with an honest backup to restore after attacks."""
    world = worlds.of(request.param)
    made = Road(world, tmp_path_factory.mktemp("volume"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{world.server.programs}:{os.environ['PATH']}")
        made.prepare()
        yield made


@pytest.fixture
def world(road: Road) -> World:
    return road.world
