"""Peak memory of the create and restore functions: it must not grow with what they carry."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench.database import fill, server
from bench.folder import make_documents, make_folder, remove
from bench.lines import Line, Measured, once
from bench.s3_files import served
from lcp_backup.database.endpoint import DatabaseEndpoint, connect
from local import site

_FUNCTIONS: Final = ("create", "restore")
_WITH_INCREMENT: Final = ("create", "increment", "restore")
_FOLDERS: Final = ((1000, 200_000_000), (10_000, 2_000_000_000))
"""Files and their bytes: the small folder and the large one."""
_FILES: Final = ((10_000, 20_000), (1_000_000, 1000))
"""How many, and the bytes of each. (A small volume would be stored whole, so no increment.)"""
_DATABASES: Final = (300_000_000, 3_000_000_000)
"""Bytes of SQL."""


class _Kind(NamedTuple):
    """One way for a site to grow, while everything else of it stays small."""

    growth: Mapping[str, Line]
    """Of each function: the large site's peak to the small one's."""
    peak: Mapping[str, Line]
    """Of each function: the larger of both, in MB."""

    @classmethod
    def of(cls, sizes: str, functions: Sequence[str]) -> "_Kind":
        return cls(
            {it: Line(f"{it}, growth of peak memory, {sizes}", at_most=1.2) for it in functions},
            {it: Line(f"{it}, peak memory in MB, {sizes}", at_most=400) for it in functions},
        )

    @property
    def lines(self) -> tuple[Line, ...]:
        """In the order of `judged`."""
        return tuple(line for it in self.growth for line in (self.growth[it], self.peak[it]))

    def judged(self, small: Mapping[str, int], large: Mapping[str, int]) -> list[Measured]:
        """Each function's peaks, in MB."""
        found = []
        for it in self.growth:
            detail = f"{small[it]} MB and {large[it]} MB"
            found += [
                once(self.growth[it], large[it] / small[it], detail),
                once(self.peak[it], max(small[it], large[it]), detail),
            ]
        return found


_BYTES_GROW: Final = _Kind.of("0.2 and 2 GB of files", _FUNCTIONS)
_FILES_GROW: Final = _Kind.of("10,000 and 1,000,000 files", _WITH_INCREMENT)
_SQL_GROWS: Final = _Kind.of("0.3 and 3 GB of SQL", _FUNCTIONS)
LINES: Final = (*_BYTES_GROW.lines, *_FILES_GROW.lines, *_SQL_GROWS.lines)


def peak_memory(work: Path, _rounds: int) -> list[Measured]:
    """Megabytes of a fresh process that runs the handler, by the folder's and the database's size.

    A real MariaDB, the functions' own code, and S3's protocol over HTTP. While the one grows
    the other stays small. An increment is a create whose base is the whole folder, of which a
    hundredth was changed. No round is taken twice: memory does not depend on how busy the machine
    is.
    """
    with environment(work) as (endpoint, env):
        with connect(endpoint, database=None) as connection:
            site.fill_database(connection, endpoint.name)
        return [
            *_BYTES_GROW.judged(*_by_bytes(work, env)),
            *_FILES_GROW.judged(*_by_files(work, env)),
            *_SQL_GROWS.judged(*_by_database(work, endpoint, env)),
        ]


def _by_bytes(work: Path, env: dict[str, str]) -> Iterator[dict[str, int]]:
    for files, size in _FOLDERS:
        with probed_site(work, f"bytes-{size}", env) as probe:
            make_folder(probe.folder, files=files, size=size)
            yield {it: probe.peak(it) for it in _FUNCTIONS}


def _by_files(work: Path, env: dict[str, str]) -> Iterator[dict[str, int]]:
    for files, size in _FILES:
        with probed_site(work, f"files-{files}", env) as probe:
            make_documents(probe.folder, range(files), size=size)
            create = probe.peak("create")
            make_documents(probe.folder, range(0, files, 100), size=size, version=1)
            yield {"create": create} | {it: probe.peak(it) for it in ("increment", "restore")}


def _by_database(
    work: Path, endpoint: DatabaseEndpoint, env: dict[str, str]
) -> Iterator[dict[str, int]]:
    for size in _DATABASES:
        fill(endpoint, size)
        with probed_site(work, f"database-{size}", env) as probe:
            make_folder(probe.folder, files=10, size=1_000_000)
            yield {it: probe.peak(it) for it in _FUNCTIONS}


class Took(NamedTuple):
    """What one run of a function took."""

    seconds: float
    megabytes: int
    """Of memory, at most."""
    read_bytes: int
    """Of archives."""


class Probe(NamedTuple):
    """A site whose functions run in processes of their own."""

    folder: Path
    env: dict[str, str]

    def run(self, function: str) -> Took:
        """Runs one function, in a fresh process."""
        command = [sys.executable, "-m", "bench.memory_probe", function]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=self.env)
        return Took(**json.loads(done.stdout.splitlines()[-1]))

    def peak(self, function: str) -> int:
        """Megabytes that one function's process took at most."""
        return self.run(function).megabytes


@contextmanager
def probed_site(work: Path, name: str, env: dict[str, str]) -> Iterator[Probe]:
    """A site with a catalog of its own; its folder is not made yet, and is removed at the end."""
    folder = work / name / "data"
    yield Probe(folder, {**env, "LCP_BACKUP_FOLDER": str(folder), "LCP_BACKUP_PREFIX": name})
    remove(folder.parent)


@contextmanager
def environment(work: Path) -> Iterator[tuple[DatabaseEndpoint, dict[str, str]]]:
    """A MariaDB and an S3 over HTTP, and the variables by which functions find both."""
    objects = work / "objects"
    objects.mkdir()
    with served(objects) as s3, server(work) as endpoint:
        yield endpoint, _variables(s3, endpoint)


def _variables(s3: str, database: DatabaseEndpoint) -> dict[str, str]:
    return {
        **os.environ,
        "AWS_ENDPOINT_URL_S3": s3,
        # Nobody listens to the events of a bench; the run goes on without.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "LCP_BACKUP_BUCKET": "bench",
        "LCP_DATABASE_SERVICE": f"{database.host}:{database.port}",
        "LCP_MASTER_USER_PASSWORD": database.password.get_secret_value(),
        "LCP_SERVICE_LOG_LEVEL": "CRITICAL",
        "MALLOC_MMAP_THRESHOLD_": "1000000",  # as the template sets it
    }
