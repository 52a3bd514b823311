"""The application over a mocked S3, called as API Gateway calls the function."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from aws_lambda_powertools import Logger

from lcp_backup.catalog import Catalog
from lcp_backup.settings import Settings
from lcp_backup.uploads import Uploads
from lcp_backup_api.backend import Backend
from tests.support.api_client import SETTINGS, Client, Lines, Names


@pytest.fixture(autouse=True)
def event_loop() -> Iterator[None]:
    """Lambda's runtime has none either, and Mangum makes one, with a warning of Python's."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def started() -> list[tuple[str, dict[str, object]]]:
    """The functions that were started, with their events."""
    return []


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def backend(
    catalog: Catalog, started: list[tuple[str, dict[str, object]]], lines: Lines
) -> Backend:
    return Backend(
        settings=SETTINGS,
        catalog=catalog,
        uploads=Uploads(catalog),
        users=Names(),
        start=lambda name, event: started.append((name, event)),
        log=Logger(service=f"api-{id(lines)}", stream=lines, level="INFO"),  # type: ignore[arg-type]
        longest_wait=timedelta(0),
    )


@pytest.fixture
def call(backend: Backend) -> Client:
    return Client(backend)


@pytest.fixture
def with_settings(backend: Backend) -> Callable[..., Client]:
    """A client of an application with other settings."""

    def changed(**variables: str) -> Client:
        env = {
            field.alias: str(value)
            for name, field in Settings.model_fields.items()
            if field.alias and isinstance(value := getattr(SETTINGS, name), str)
        }
        return Client(replace(backend, settings=Settings.from_env({**env, **variables})))

    return changed
