"""Peak memory of the create and restore functions: it must not grow with the folder."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

from bench.folder import make_folder
from bench.rows import Row, at_most
from local import mariadb, site
from local.stack import Database

_SMALL = (1000, 200_000_000)
_LARGE = (10_000, 2_000_000_000)
_MOST_MEGABYTES = 400
_MOST_GROWTH = 1.2


def peak_memory(work: Path) -> list[Row]:
    """Megabytes of a fresh process that runs the handler, by the folder's size.

    A real MariaDB with the sample site, the functions' own code, and S3's protocol over HTTP.
    """
    password = secrets.token_hex(8)
    peaks: dict[str, list[int]] = {"create": [], "restore": []}
    objects = work / "objects"
    objects.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "bench.s3_files", objects], stdout=subprocess.PIPE, text=True
    ) as s3:
        try:
            assert s3.stdout is not None
            endpoint = f"http://127.0.0.1:{s3.stdout.readline().strip()}"
            database = Database(
                "127.0.0.1", mariadb.start(work, password), mariadb.MASTER_USER, password, "lportal"
            )
            with database.connect() as connection:
                site.seed_database(connection, database.name)
            _measure(work, peaks, _environment(endpoint, database))
        finally:
            s3.kill()
            mariadb.stop(work)
    rows = []
    for function, (small, large) in peaks.items():
        detail = f"{small} MB for {_SMALL[1] / 1e9:g} GB, {large} MB for {_LARGE[1] / 1e9:g} GB"
        rows += [
            at_most(f"{function}, growth of peak memory", large / small, _MOST_GROWTH, detail),
            at_most(f"{function}, peak memory in MB", large, _MOST_MEGABYTES, detail),
        ]
    return rows


def _environment(endpoint: str, database: Database) -> dict[str, str]:
    return {
        **os.environ,
        "AWS_ENDPOINT_URL_S3": endpoint,
        # Nobody listens to the events of a bench; the run goes on without.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "LCP_BACKUP_BUCKET": "bench",
        "LCP_DATABASE_SERVICE": f"{database.host}:{database.port}",
        "LCP_MASTER_USER_PASSWORD": database.password,
        "LCP_SERVICE_LOG_LEVEL": "CRITICAL",
        "MALLOC_MMAP_THRESHOLD_": "1000000",  # as the template sets it
    }


def _measure(work: Path, peaks: dict[str, list[int]], env: dict[str, str]) -> None:
    for files, size in (_SMALL, _LARGE):
        folder = work / f"site-{size}" / "data"
        make_folder(folder, files=files, size=size)
        for function, figures in peaks.items():
            # A prefix of its own, because two creates within a minute are one backup.
            named = {"LCP_BACKUP_FOLDER": str(folder), "LCP_BACKUP_PREFIX": str(size)}
            figures.append(_peak(function, {**env, **named}))
        subprocess.run(["/bin/rm", "-r", folder.parent], check=True)


def _peak(function: str, env: dict[str, str]) -> int:
    command = [sys.executable, "-m", "bench.memory_probe", function]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    return int(done.stdout.splitlines()[-1])
