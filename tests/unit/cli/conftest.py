"""The command line against a service of the tests' own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.pretended_service import Service, pretended_service


@pytest.fixture
def service() -> Iterator[Service]:
    with pretended_service() as service:
        yield service


@pytest.fixture
def stranger(tmp_path: Path) -> CommandLine:
    """Somebody who has not logged in yet."""
    return CommandLine(tmp_path / "home")


@pytest.fixture
def lcp(stranger: CommandLine, service: Service) -> CommandLine:
    """Somebody who is logged in to the service."""
    stranger.logged_in(service.url, next(iter(service.tokens)))
    return stranger
