"""A verification proves a backup or says what is wrong, and leaves nothing on the server."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.aws import clients
from lcp_backup.database import accounts, scratch, scratch_checks
from lcp_backup.database.endpoint import Flavour
from lcp_backup.database.loaded import Loaded
from lcp_backup.errors import (
    ArchiveDamaged,
    BackupError,
    DatabaseUnreachable,
    LeaseHeld,
    LoadFailed,
    NotFound,
    OutOfTime,
    ServerGaveUp,
)
from lcp_backup.jobs.active_run import LEASE_TERM
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.model import RunKind
from lcp_backup.verification import Verification
from local.mariadb import RDS_RIGHTS
from local.processes import free_port
from tests.support.job_site import BACKUP_ID, JobSite
from tests.support.memory_s3 import MemoryS3, NoEvents
from tests.support.servers import FLAVOURS, DatabaseServer, running_server

KEY = f"acme/prd/backups/{BACKUP_ID}"


class BackedUp(JobSite):
    """A site with one backup in a bucket in memory, as it was before each test."""

    def __init__(self, server: DatabaseServer, folder: Path, s3: MemoryS3) -> None:
        super().__init__(server, folder, "")
        self.fill()
        os.environ["PATH"] = self.path
        self.create()
        self._s3, self._env, self._objects = s3, dict(self.env), dict(s3.objects)
        self.before = named_as_ours(self)
        """What tests of restores left on the server, such as owners of stored code."""

    def begin(self) -> None:
        """Forgets what an earlier test did."""
        self.env = dict(self._env)
        self._s3.objects = dict(self._objects)


@pytest.fixture(scope="module", params=FLAVOURS, ids=str)
def backed_up(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackedUp]:
    with pytest.MonkeyPatch.context() as patch:
        s3 = MemoryS3()
        patch.setattr(clients, "s3", lambda: s3)
        patch.setattr(clients, "events", NoEvents)
        # PyMySQL reads all of the system's authorities for every connection, for 50 ms each.
        patch.setenv("SSL_CERT_FILE", os.devnull)
        patch.setenv("PATH", os.environ["PATH"])
        server = request.getfixturevalue(str(request.param))
        made = BackedUp(server, tmp_path_factory.mktemp("site") / "data", s3)
        yield made
        made.drop()


@pytest.fixture
def site(backed_up: BackedUp) -> Iterator[BackedUp]:
    """The site, on each server in turn; afterwards nothing is on the server that was not before."""
    backed_up.begin()
    yield backed_up
    assert left_on(backed_up) == set()


def left_on(site: BackedUp) -> set[str]:
    """All that verifications have made on the server and not dropped."""
    return named_as_ours(site) - site.before


def named_as_ours(site: JobSite) -> set[str]:
    """All schemas and accounts that have names as this service gives them."""
    schemas = site.server.execute(
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'lcp%'"
    )
    users = site.server.execute("SELECT user FROM mysql.user WHERE user LIKE 'lcp\\_%'")
    return {str(name) for (name,) in (*schemas, *users)}


ON_MARIADB = pytest.mark.parametrize("backed_up", [Flavour.MARIADB], ids=str, indirect=True)
"""For what has nothing to do with the kind of server."""


def kept(site: JobSite) -> Verification:
    found = site.verification()
    assert found is not None
    return found


def before_counting(patch: pytest.MonkeyPatch, act: Callable[[Any, str], None]) -> None:
    """Does something when a dump was loaded and is about to be counted."""
    real = scratch_checks.count_rows

    def count(loader: Any, staging: str, *rest: Any) -> None:
        act(loader, staging)
        real(loader, staging, *rest)

    patch.setattr(scratch, "count_rows", count)


def test_a_backup_is_proved_and_nothing_of_it_stays(
    site: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = site.fingerprint()
    site.env["LCP_BACKUP_VERIFY_SQL"] = (
        "SELECT COUNT(*) > 0 FROM User_; SELECT 1 FROM DUAL WHERE 'a' LIKE '%';"
    )
    held: list[object] = []
    before_counting(monkeypatch, lambda *_: held.append(site.catalog.lease.holder()))
    answer = site.verify("latest")
    assert held == [None], "no backup has to wait for it"
    assert (answer["backup_id"], answer["verdict"]) == (BACKUP_ID, "verified")
    found, manifest = kept(site), site.manifest()
    assert (found.verdict, found.error, found.run_id) == ("verified", None, answer["run_id"])
    assert found.server is not None
    assert found.server.startswith(f"{site.server.flavour} ")
    assert found.rows > found.tables > 3
    assert 0 < found.tables_counted <= found.tables
    assert found.files == found.files_compared == manifest.volume_facts.files == 2
    assert found.report is not None
    assert found.report.documents == "elsewhere", "the site's folder has no documents"
    assert found.statements == 2
    assert 0 < found.restore_seconds == max(found.load_seconds, found.read_seconds)
    assert found.restore_seconds < found.seconds
    assert found.read_bytes > manifest.size - 10_000
    assert live.differences(site.fingerprint()) == []


def test_an_account_without_rights_on_the_live_schema_can_verify(site: BackedUp) -> None:
    """So no statement of a verification reaches the live site."""
    for sql in (
        "CREATE USER IF NOT EXISTS 'verifier'@'%' IDENTIFIED BY 'proof'",
        "GRANT CREATE USER ON *.* TO 'verifier'@'%'",
        (
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER,"
            " CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, CREATE VIEW, SHOW VIEW,"
            " CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER ON `lcp\\_verify\\_%`.*"
            " TO 'verifier'@'%' WITH GRANT OPTION"
        ),
    ):
        site.server.execute(sql)
    site.env["LCP_BACKUP_VERIFY_USER_NAME"] = "verifier"
    site.env["LCP_BACKUP_VERIFY_USER_PASSWORD"] = "proof"
    site.env["LCP_MASTER_USER_PASSWORD"] = "wrong"
    assert site.verify()["verdict"] == "verified"


@pytest.mark.parametrize("name", ["database.tgz", "volume.tgz"])
def test_a_flipped_byte_is_found_and_its_segment_named(site: BackedUp, name: str) -> None:
    body = bytearray(site.store.get(f"{KEY}/{name}").body)
    body[-3000 if name == "database.tgz" else 9 << 20] ^= 1
    site.store.put(f"{KEY}/{name}", bytes(body))
    with pytest.raises(ArchiveDamaged, match=f"{name} of backup {BACKUP_ID}: segment"):
        site.verify()
    found = kept(site)
    assert (found.verdict, found.error and found.error.code) == ("bad", "archive-damaged")


@ON_MARIADB
@pytest.mark.parametrize("name", ["database.tgz", "volume.tgz"])
@pytest.mark.parametrize("how", ["longer", "flipped"])
def test_an_archive_that_tar_would_not_read_to_its_end_is_bad_although_a_restore_could(
    site: BackedUp, name: str, how: str
) -> None:
    body = bytearray(site.store.get(f"{KEY}/{name}").body)
    if how == "longer":
        body += b"more"
    elif name == "database.tgz":
        body[40] ^= 1  # in the tar header, which lies in front of the segments
    else:
        body[-5] ^= 1  # in the checksum of the end
    site.store.put(f"{KEY}/{name}", bytes(body))
    with pytest.raises(ArchiveDamaged, match=f"{name} of backup {BACKUP_ID}"):
        site.verify()
    assert kept(site).verdict == "bad"


@ON_MARIADB
@pytest.mark.parametrize("name", ["database.tgz", "volume.index"])
def test_an_object_that_is_missing_is_named(site: BackedUp, name: str) -> None:
    site.store.delete([f"{KEY}/{name}"])
    with pytest.raises(ArchiveDamaged, match=f"{name} of backup {BACKUP_ID}.* is missing"):
        site.verify()
    assert kept(site).verdict == "bad"


@ON_MARIADB
def test_a_dump_that_does_not_load_is_bad_and_its_statement_named(
    site: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StoredBackup.read_database

    def broken(self: StoredBackup, segments: Any) -> Iterator[Any]:
        for segment, raw in real(self, segments):
            yield segment, raw.replace(b"`userId` bigint", b"`userId` no_such_type")

    monkeypatch.setattr(StoredBackup, "read_database", broken)
    with pytest.raises(BackupError) as raised:
        site.verify()
    found = kept(site)
    assert found.error is not None
    assert (found.verdict, found.error.code) == ("bad", raised.value.code)
    assert "definition of User_" in found.error.message


def test_rows_that_are_not_there_are_missed_and_their_table_named(
    site: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:

    def lose(_loader: Any, staging: str) -> None:
        site.server.execute(f"DELETE FROM `{staging}`.User_ LIMIT 1")

    before_counting(monkeypatch, lose)
    with pytest.raises(LoadFailed, match="rows were loaded into 'User_' and .* are there"):
        site.verify()
    assert kept(site).verdict == "bad"


@ON_MARIADB
@pytest.mark.parametrize("statement", ["SELECT 0", "SELECT 1, 1", "SELECT 1 FROM Nothing_"])
def test_a_statement_that_is_not_true_makes_a_backup_bad_and_is_named(
    site: BackedUp, statement: str
) -> None:
    site.env["LCP_BACKUP_VERIFY_SQL"] = f"SELECT 1; {statement}"
    with pytest.raises(LoadFailed, match="statement 2 of LCP_BACKUP_VERIFY_SQL"):
        site.verify()
    assert kept(site).verdict == "bad"


def test_a_statement_does_not_outlast_the_run(site: BackedUp) -> None:
    def running() -> bool:
        rows = site.server.execute("SHOW FULL PROCESSLIST")
        # (A connection that was killed may take a moment to go.)
        return any(row[7] == slow and row[4] != "Killed" for row in rows)

    def check() -> None:
        if running():
            raise OutOfTime("the time is over")

    slow = "SELECT SLEEP(30) = 0"
    with pytest.raises(OutOfTime):
        scratch_checks.ask_all(site.server.endpoint(site.name), site.name, (slow,), check)
    assert not running()


def test_a_count_does_not_outlast_the_run(site: BackedUp) -> None:
    def running() -> bool:
        rows = site.server.execute("SHOW FULL PROCESSLIST")
        return any("COUNT" in str(row[7]) and row[4] != "Killed" for row in rows)

    def check() -> None:
        if running():
            raise OutOfTime("the time is over")

    with site.connect() as other, other.cursor() as cursor:
        cursor.execute(f"LOCK TABLES {site.name}.User_ WRITE")
        loaded = Loaded(("User_",), 1, 1, (), rows_of={"User_": 1})
        with pytest.raises(OutOfTime):
            scratch_checks.count_rows(site.server.endpoint(site.name), site.name, loaded, check)
        assert not running()


@ON_MARIADB
def test_statements_see_nothing_but_what_was_restored(site: BackedUp) -> None:
    site.env["LCP_BACKUP_VERIFY_SQL"] = f"SELECT COUNT(*) FROM {site.name}.User_"
    with pytest.raises(LoadFailed, match="DENIED"):
        site.verify()


@ON_MARIADB
def test_a_server_that_is_down_says_nothing_of_the_backup(site: BackedUp) -> None:
    site.env["LCP_BACKUP_VERIFY_DATABASE_SERVICE"] = f"127.0.0.1:{free_port()}"
    with pytest.raises(DatabaseUnreachable):
        site.verify()
    assert kept(site).verdict == "could-not-verify"
    del site.env["LCP_BACKUP_VERIFY_DATABASE_SERVICE"]
    site.verify()
    site.env["LCP_BACKUP_VERIFY_DATABASE_SERVICE"] = f"127.0.0.1:{free_port()}"
    with pytest.raises(DatabaseUnreachable):
        site.verify()
    assert kept(site).verdict == "verified", "what was proved stays proved"


def test_a_server_that_goes_away_says_nothing_of_the_backup(
    site: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:

    def hang_up(_loader: Any, _staging: str) -> None:
        rows = site.server.execute("SHOW PROCESSLIST")
        for thread_id in (row[0] for row in rows if row[1] == "lcp"):
            site.server.execute(f"KILL {thread_id}")

    with monkeypatch.context() as patch:
        before_counting(patch, hang_up)
        with pytest.raises(ServerGaveUp):
            site.verify()
    assert kept(site).verdict == "could-not-verify"
    assert left_on(site) != set(), "nobody was left to drop it"
    site.verify()


@ON_MARIADB
def test_a_server_that_takes_nobodys_functions_says_nothing_of_the_backup(
    site: BackedUp, tmp_path: Path
) -> None:
    """As RDS with automated backups, until its parameter group says otherwise."""
    binary_log = ("--log-bin=log", "--server-id=1")
    with running_server(site.server.flavour, tmp_path, *binary_log) as server:
        server.execute("CREATE USER master@'%' IDENTIFIED BY 'site'")
        server.execute(f"GRANT {RDS_RIGHTS} ON *.* TO master@'%' WITH GRANT OPTION")
        site.env["LCP_BACKUP_VERIFY_DATABASE_SERVICE"] = f"127.0.0.1:{server.port}"
        site.env["LCP_MASTER_USER_NAME"] = "master"
        with pytest.raises(ServerGaveUp, match="log_bin_trust_function_creators = 1"):
            site.verify()
        assert kept(site).verdict == "could-not-verify"
        server.execute("SET GLOBAL log_bin_trust_function_creators = 1")
        site.verify()
    assert kept(site).verdict == "verified"


def test_an_account_that_may_make_no_schema_says_nothing_of_the_backup(site: BackedUp) -> None:
    site.server.execute("CREATE USER weak@'%' IDENTIFIED BY 'site'")
    site.env["LCP_MASTER_USER_NAME"] = "weak"
    try:
        with pytest.raises(ServerGaveUp, match=r"error 1044 \(DBACCESS_DENIED_ERROR\)"):
            site.verify()
    finally:
        site.server.execute("DROP USER weak@'%'")
    assert kept(site).verdict == "could-not-verify"


def test_two_at_once_leave_each_other_alone(
    site: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[object] = []

    def another(*_: Any) -> None:
        if not others:
            others.append(left_on(site))
            others.append(site.verify()["verdict"])
            others.append(left_on(site))

    before_counting(monkeypatch, another)
    assert site.verify()["verdict"] == "verified"
    before, verdict, after = others
    assert verdict == "verified"
    assert before == after != set()


def test_what_a_killed_one_left_goes_with_the_next(
    site: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill drops nothing, and ends the connections."""

    def die(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(scratch, "drop", lambda *_: None)
        patch.setattr(accounts, "_retire", lambda *_: None)
        before_counting(patch, die)
        with pytest.raises(RuntimeError, match="killed"):
            site.verify()
    left = {name.partition("_")[2].partition("_")[0] for name in left_on(site)}
    assert left == {"loader", "verify"}
    site.verify()


@ON_MARIADB
def test_it_gives_way_to_a_restore(site: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcp_backup.jobs.giving_way.LOOKS_FOR_RESTORES_EVERY", LEASE_TERM * 0)
    restore = "20261120T010000-restore-0a1b2c3d"

    def begin(*_: Any) -> None:
        site.catalog.lease.acquire(restore, RunKind.RESTORE, BACKUP_ID, LEASE_TERM)

    before_counting(monkeypatch, begin)
    with pytest.raises(LeaseHeld, match=f"restore run {restore} is under way.*gives way"):
        site.verify()
    assert kept(site).verdict == "could-not-verify"


@ON_MARIADB
def test_a_backup_that_is_deleted_meanwhile_is_told_and_leaves_nothing(
    site: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_counting(monkeypatch, lambda *_: site.catalog.backups.unpublish(BACKUP_ID))
    with pytest.raises(NotFound, match=f"{BACKUP_ID} was deleted while it was read"):
        site.verify()
    assert list(site.store.entries("acme/prd/backups/")) == []
    *_, stored = sorted(it.key for it in site.store.entries("acme/prd/runs/"))
    run = site.catalog.runs.get(Path(stored).stem)
    assert (run.kind, run.error and run.error.code) == (RunKind.VERIFY, "not-found")


@ON_MARIADB
def test_what_was_found_out_goes_with_the_backup(site: BackedUp) -> None:
    site.verify()
    site.catalog.backups.retire(BACKUP_ID)
    assert [it.key.rpartition("/")[2] for it in site.store.entries(KEY)] == ["volume.tgz"]
