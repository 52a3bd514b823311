"""The whole road of a dump: upload, intake, restore, by the real jobs; and what came of it."""

import io
import itertools
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.archive.write import ArchiveWriter, OnlyFile
from lcp_backup.aws import clients
from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.composition import Environment
from lcp_backup.database.endpoint import Flavour
from lcp_backup.errors import BackupError, RestoredInPart
from lcp_backup.intake.database import take_database
from lcp_backup.model import ArchiveKind
from lcp_backup.requests import CreateRequest, RestoreRequest, UploadRequest
from lcp_backup.service import Service, deadline
from lcp_backup.settings import Settings
from lcp_backup.uploads import Uploads
from tests.support.buffers import Buffer
from tests.support.fingerprint import NAME, differences
from tests.support.rds_like import MASTER, MASTER_PASSWORD
from tests.support.world import World, Worlds

BUCKET = "attacks"
_MOST_SECONDS = 60
"""Far more than any restore here takes, on a machine that has much else to do."""
_MILLISECONDS = 150_000
"""What a function would have left: a job that hangs ends itself."""
_NUMBERS = itertools.count(1)
_SLOT = "2026-11-20T00:15:00Z"


def _library() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        member = tarfile.TarInfo("document_library/a.txt")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"text"))
    return raw.getvalue()


LIBRARY = _library()


@dataclass
class Outcome:
    """How far a dump came."""

    reached: str = "intake"
    """`intake`: refused there; `restore`: refused or failed there; `live`: it was restored."""
    error: BaseException | None = None
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Looks at what can be told without a server."""
        if self.error is not None and not isinstance(self.error, BackupError):
            self.problems.append(f"an error of no kind of ours: {self.error!r}"[:300])
        if self.seconds >= _MOST_SECONDS:
            self.problems.append(f"it took {self.seconds:.0f} seconds")

    def __str__(self) -> str:
        said = f": {type(self.error).__name__}: {self.error}"[:300] if self.error else ""
        return f"{self.reached}{said}"


def _said_to_be_whole(dump: bytes) -> bytes:
    """A dump with the last line by which it is no half: that alone is no reason to refuse it."""
    return dump if b"-- Dump completed" in dump[-200:] else dump + b"\n-- Dump completed\n"


def refused_at_intake(dump: bytes) -> Exception | None:
    """What the intake raises for a dump: quicker than by an upload."""

    def writer(schema: str) -> ArchiveWriter:
        return ArchiveWriter(
            Buffer(),
            Buffer(),
            name="database.tgz",
            index_name="database.index",
            threads=1,
            only_file=OnlyFile(f"{schema}.sql", datetime(2026, 11, 20, tzinfo=UTC)),
        )

    try:
        taken = take_database(
            iter([_said_to_be_whole(dump)]),
            writer,
            default_name=NAME,
            limit=1 << 30,
            progress=lambda _: None,
            check=lambda: None,
        )
        taken.writer.abort()
    except Exception as error:  # noqa: BLE001 -- what is raised is what is judged
        return error
    return None


class Road:
    """The service of one site on one server, with its bucket and its folder."""

    def __init__(self, world: World, folder: Path, **settings: str) -> None:
        self.world = world
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.env = {
            "LCP_PROJECT_ID": "acme",
            "LCP_BACKUP_BUCKET": BUCKET,
            "LCP_BACKUP_FOLDER": str(folder),
            "LCP_DATABASE_SERVICE": f"127.0.0.1:{world.server.port}",
            "LCP_DBNAME": NAME,
            "LCP_MASTER_USER_NAME": MASTER,
            "LCP_MASTER_USER_PASSWORD": MASTER_PASSWORD,
            **settings,
        }
        self.begin()
        self._honest_env: dict[str, str] | None = None
        self._honest_id = ""
        self._honest_site: dict[str, tuple[object, ...]] = {}

    def begin(self) -> None:
        """A place in the bucket that nothing was written to yet."""
        self.env["LCP_ENVIRONMENT_ID"] = f"a{next(_NUMBERS)}"

    @contextmanager
    def programs(self) -> Iterator[None]:
        """The dump program is this server's own."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{self.world.server.programs}:{os.environ['PATH']}")
            yield

    # --- the jobs -------------------------------------------------------------

    def service(self, env: dict[str, str] | None = None) -> Service:
        return Service(Environment.of(Settings.from_env(env or self.env)))

    def catalog(self) -> Catalog:
        return Catalog(ObjectStore(clients.s3(), BUCKET), f"acme/{self.env['LCP_ENVIRONMENT_ID']}")

    def take_in(self, dump: bytes, library: bytes = LIBRARY) -> str:
        """Uploads and takes in; answers the backup's id."""
        uploads = Uploads(self.catalog())
        files = {ArchiveKind.DATABASE: _said_to_be_whole(dump), ArchiveKind.VOLUME: library}
        opened = uploads.open({kind: len(body) for kind, body in files.items()}, {}, "ann")
        for kind, body in files.items():
            uploads.put(opened.id, kind, body)
        run = uploads.seal(opened.id)
        request = UploadRequest.read({"upload_id": run.id})
        return str(self.service().upload(request, deadline(_MILLISECONDS))["backup_id"])

    def create(self, milliseconds: int = _MILLISECONDS) -> str:
        """A backup by the real dump program; answers its id."""
        request = CreateRequest.read({"time": _SLOT})
        return str(self.service().create(request, deadline(milliseconds))["backup_id"])

    def restore(self, backup_id: str, **more: Any) -> dict[str, Any]:
        request = RestoreRequest.read({"backup_id": backup_id, **more})
        return self.service().restore(request, deadline(_MILLISECONDS))

    # --- an attack ------------------------------------------------------------

    def attack(self, dump: bytes) -> Outcome:
        """Sends a dump down the road and runs what it brought; looks at all that may not change."""
        started = time.monotonic()
        if (refusal := refused_at_intake(dump)) is not None:
            # No server was asked: there is nothing on it to look at.
            outcome = Outcome(error=refusal, seconds=time.monotonic() - started)
            outcome.judge()
            return outcome
        self.begin()
        with self.watched() as outcome:
            backup_id = self.take_in(dump)
            self._make_live(backup_id, outcome)
        return outcome

    def back_up_and_restore(self) -> Outcome:
        """Backs the live site up and restores that, watched as an attack is."""
        self.begin()
        with self.watched() as outcome:
            backup_id = self.create()
            self._make_live(backup_id, outcome)
        return outcome

    def _make_live(self, backup_id: str, outcome: Outcome) -> None:
        outcome.reached = "restore"
        try:
            self.restore(backup_id)
        except RestoredInPart:
            outcome.reached = "live"
            raise
        outcome.reached = "live"

    def at_hand(self, dump: bytes) -> bytes:
        """A dump of the corpus, with the places of this server."""
        return dump.replace(b"@OUTSIDE@", str(self.world.outside).encode())

    @contextmanager
    def watched(self) -> Iterator[Outcome]:
        """What the block does is watched: its outcome tells what it may not have done."""
        outcome = Outcome()
        world = self.world
        before, site = world.clean, world.read.site_schemas()
        started = time.monotonic()
        # A statement that never ends would keep all other tests from their turn.
        watchdog = threading.Timer(_MOST_SECONDS, world.kill_all)
        watchdog.start()
        try:
            yield outcome
        except Exception as error:  # noqa: BLE001 -- what is raised is what is judged
            outcome.error = error
        finally:
            watchdog.cancel()
        outcome.seconds = time.monotonic() - started
        problems = outcome.problems
        if outcome.reached == "live":
            world.activate()
            problems += world.leaks()
        elif outcome.reached == "restore":
            problems += [
                f"though the restore failed, {it}" for it in differences(site, world.read.live())
            ]
        problems += differences(before, world.read.fingerprint())
        problems += world.service_rights()
        outcome.judge()
        said = str(outcome.error)
        problems += ["the error shows a secret" for it in world.secrets if it in said]
        # (What is as it was before cannot be in the way of the next restore.)
        if problems or world.read.site_schemas() != site:
            problems += self.honest_restore()
        if problems:
            world.rebuild()

    # --- the honest site ------------------------------------------------------

    def prepare(self) -> None:
        """Makes the honest backup that is restored after attacks; once, on a clean server."""
        self._honest_id = self.create()
        self._honest_env = dict(self.env)
        self._honest_site = self.world.read.live()

    def honest_restore(self) -> list[str]:
        """Restores the honest backup; answers what is wrong with that."""
        assert self._honest_env is not None
        request = RestoreRequest.read({"backup_id": self._honest_id})
        try:
            self.service(self._honest_env).restore(request, deadline(_MILLISECONDS))
        except Exception as error:  # noqa: BLE001 -- what is raised is what is told
            return [f"the next honest restore fails: {type(error).__name__}: {error}"[:400]]
        return [
            f"after the next honest restore {it}"
            for it in differences(self._honest_site, self.world.read.live())
        ]

    def restore_through(self, port: int) -> None:
        """Restores the honest backup by another port of the server's, without TLS."""
        assert self._honest_env is not None
        env = self._honest_env | {
            "LCP_DATABASE_SERVICE": f"127.0.0.1:{port}",
            # What stands between, reads what is said.
            "LCP_DATABASE_TLS": "DISABLED",
        }
        request = RestoreRequest.read({"backup_id": self._honest_id})
        self.service(env).restore(request, deadline(_MILLISECONDS))


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
