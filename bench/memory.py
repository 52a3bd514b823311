"""Peak memory of the create and restore functions: it must not grow with what they carry."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.database import fill, server
from bench.folder import make_folder
from bench.rows import Row, at_most
from lcp_backup.database.endpoint import DatabaseEndpoint, connect
from local import site

_FOLDERS: Final = ((1000, 200_000_000), (10_000, 2_000_000_000))
"""Files and their bytes: the small folder and the large one."""
_DATABASES: Final = (300_000_000, 3_000_000_000)
"""Bytes of SQL."""
_FUNCTIONS: Final = ("create", "restore")
_MOST_MEGABYTES = 400
_MOST_GROWTH = 1.2


def peak_memory(work: Path) -> list[Row]:
    """Megabytes of a fresh process that runs the handler, by the folder's and the database's size.

    A real MariaDB, the functions' own code, and S3's protocol over HTTP. While the one grows
    the other stays small.
    """
    objects = work / "objects"
    objects.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "bench.s3_files", objects], stdout=subprocess.PIPE, text=True
    ) as s3:
        try:
            assert s3.stdout is not None
            at = f"http://127.0.0.1:{s3.stdout.readline().strip()}"
            with server(work) as endpoint:
                env = _environment(at, endpoint)
                return [
                    *_rows(
                        "folder", [size for _, size in _FOLDERS], _by_folder(work, endpoint, env)
                    ),
                    *_rows("SQL", _DATABASES, _by_database(work, endpoint, env)),
                ]
        finally:
            s3.kill()


def _rows(what: str, sizes: Sequence[int], peaks: Iterable[list[int]]) -> list[Row]:
    """Of each function, its peaks by size judged."""
    rows = []
    for function, (small, large) in zip(_FUNCTIONS, zip(*peaks, strict=True), strict=True):
        detail = ", ".join(
            f"{peak} MB for {size / 1e9:g} GB of {what}"
            for peak, size in zip((small, large), sizes, strict=True)
        )
        rows += [
            at_most(
                f"{function}, growth of peak memory by {what}", large / small, _MOST_GROWTH, detail
            ),
            at_most(
                f"{function}, peak memory in MB by {what}",
                max(small, large),
                _MOST_MEGABYTES,
                detail,
            ),
        ]
    return rows


def _by_folder(work: Path, endpoint: DatabaseEndpoint, env: dict[str, str]) -> Iterator[list[int]]:
    with connect(endpoint, database=None) as connection:
        site.fill_database(connection, endpoint.name)
    for files, size in _FOLDERS:
        folder = work / f"site-{size}" / "data"
        make_folder(folder, files=files, size=size)
        yield _peaks(f"folder-{size}", folder, env)
        subprocess.run(["/bin/rm", "-r", folder.parent], check=True)


def _by_database(
    work: Path, endpoint: DatabaseEndpoint, env: dict[str, str]
) -> Iterator[list[int]]:
    folder = work / "site" / "data"
    make_folder(folder, files=10, size=1_000_000)
    for size in _DATABASES:
        fill(endpoint, size)
        yield _peaks(f"database-{size}", folder, env)


def _environment(s3: str, database: DatabaseEndpoint) -> dict[str, str]:
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


def _peaks(name: str, folder: Path, env: dict[str, str]) -> list[int]:
    # A prefix of its own, because two creates within a minute are one backup.
    named = {**env, "LCP_BACKUP_FOLDER": str(folder), "LCP_BACKUP_PREFIX": name}
    return [_peak(function, named) for function in _FUNCTIONS]


def _peak(function: str, env: dict[str, str]) -> int:
    command = [sys.executable, "-m", "bench.memory_probe", function]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    return int(done.stdout.splitlines()[-1])
