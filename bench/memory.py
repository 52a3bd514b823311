"""Peak memory of the create and restore functions: it must not grow with the folder."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import boto3

from bench.folder import make_folder
from bench.rows import Row, at_most
from local import emulator, mariadb, site
from local.stack import Database

_SMALL = (1000, 200_000_000)
_LARGE = (10_000, 2_000_000_000)
_MOST_MEGABYTES = 400
_MOST_GROWTH = 1.2
_BUCKET = "bench"


def peak_memory(work: Path) -> list[Row]:
    """Megabytes of a fresh process that runs the handler, by the folder's size.

    Real parts: a MariaDB with the sample site, S3 over HTTP, the functions' own code.
    """
    password = secrets.token_hex(8)
    peaks: dict[str, list[int]] = {"create": [], "restore": []}
    try:
        endpoint = emulator.start(work)
        database = Database(
            "127.0.0.1", mariadb.start(work, password), mariadb.MASTER_USER, password, "lportal"
        )
        with database.connect() as connection:
            site.seed_database(connection, database.name)
        env = {
            **os.environ,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": emulator.REGION,
            "AWS_ACCESS_KEY_ID": emulator.CREDENTIALS["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": emulator.CREDENTIALS["secret_access_key"],
            "LCP_BACKUP_BUCKET": _BUCKET,
            "LCP_DATABASE_SERVICE": f"{database.host}:{database.port}",
            "LCP_MASTER_USER_PASSWORD": password,
            "LCP_SERVICE_LOG_LEVEL": "CRITICAL",
        }
        boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=emulator.REGION,
            aws_access_key_id=emulator.CREDENTIALS["access_key_id"],
            aws_secret_access_key=emulator.CREDENTIALS["secret_access_key"],
        ).create_bucket(
            Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": emulator.REGION}
        )
        for files, size in (_SMALL, _LARGE):
            folder = work / f"site-{size}" / "data"
            make_folder(folder, files=files, size=size)
            for function, figures in peaks.items():
                figures.append(_peak(function, {**env, "LCP_BACKUP_FOLDER": str(folder)}))
            subprocess.run(["/bin/rm", "-r", folder.parent], check=True)
    finally:
        emulator.stop(work)
        mariadb.stop(work)
    rows = []
    for function, (small, large) in peaks.items():
        detail = f"{small} MB for {_SMALL[1] / 1e9:g} GB, {large} MB for {_LARGE[1] / 1e9:g} GB"
        rows += [
            at_most(f"{function}, growth of peak memory", large / small, _MOST_GROWTH, detail),
            at_most(f"{function}, peak memory in MB", large, _MOST_MEGABYTES, detail),
        ]
    return rows


def _peak(function: str, env: dict[str, str]) -> int:
    command = [sys.executable, "-m", "bench.memory_probe", function]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    return int(done.stdout.splitlines()[-1])
