"""Things broken on purpose: nothing half-made is published, and the live site stays as it was."""

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse, HeadersDict

from lcp_backup.aws.s3_parts import MIB
from lcp_backup.database import preflight
from lcp_backup.database.endpoint import Flavour
from lcp_backup.errors import (
    ArchiveDamaged,
    DatabaseUnreachable,
    DumpFailed,
    LeaseHeld,
    ServerGaveUp,
    StorageError,
    TableChangedDuringDump,
    VolumeError,
    VolumeIncomplete,
)
from lcp_backup.model import RunKind, RunState
from lcp_backup.verification import Verdict
from lcp_backup.volume.pack import pack
from tests.support.job_site import BACKUP_ID, INDEX_END, SLOT, JobSite, kill_when


def test_a_dump_that_is_killed_half_way_publishes_nothing(
    job_site: JobSite, tmp_path: Path
) -> None:
    job_site.wrap_dump(tmp_path / "fake", '"$REAL" "$@" | head -c 300000; kill -9 $$')
    before = job_site.fingerprint()
    with pytest.raises(DumpFailed, match="SIGKILL"):
        job_site.create()
    job_site.assert_nothing_published()
    assert before.differences(job_site.fingerprint()) == []
    (run,) = job_site.catalog.runs.all()
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.code == "dump-failed"


def test_a_dump_without_its_trailer_publishes_nothing_though_it_exits_with_0(
    job_site: JobSite, tmp_path: Path
) -> None:
    job_site.wrap_dump(tmp_path / "fake", '"$REAL" "$@" | sed "/^-- Dump completed/d"')
    with pytest.raises(DumpFailed, match="Dump completed"):
        job_site.create()
    job_site.assert_nothing_published()


@pytest.mark.parametrize("limit", [2, 1000, 2**32 - 2])
def test_a_server_that_answers_with_a_part_of_the_rows_fails_the_backup(
    job_site: JobSite, limit: int
) -> None:
    """The dump program gets so many rows of each table, and ends as if these were all."""
    job_site.server.execute(f"SET GLOBAL sql_select_limit = {limit}")
    try:
        with pytest.raises(DumpFailed, match=rf"no query with more than {limit} rows"):
            job_site.create()
    finally:
        job_site.server.execute("SET GLOBAL sql_select_limit = DEFAULT")
    job_site.assert_nothing_published()
    assert job_site.create()["created"] is True


_HIDING = {
    Flavour.MARIADB: (
        "CREATE TABLE hiding (id INT) WITH SYSTEM VERSIONING",
        "system_versioning_asof = '2020-01-01'",
        "rows of 2020-01-01 .* hiding: set system_versioning_asof to DEFAULT",
    ),
    Flavour.MYSQL: (
        "CREATE TABLE hiding (my_row_id BIGINT UNSIGNED AUTO_INCREMENT KEY INVISIBLE, id INT)",
        "show_gipk_in_create_table_and_information_schema = OFF",
        "without those of hiding: set show_gipk_in_create_table_and_information_schema to ON",
    ),
}
"""A table, the setting by which the server tells nobody all of it, and what that fails with."""


def test_a_server_that_hides_a_part_of_a_table_fails_the_backup(
    job_site: JobSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of today, or the key that it made itself: to the dump program they are not there."""
    # (With what MariaDB has since, a dump holds the rows of all times.)
    monkeypatch.setattr(preflight, "_HISTORY_SINCE", (99, 0))
    server = job_site.server
    table, setting, told = _HIDING[server.flavour]
    variable = setting.partition(" = ")[0]
    server.execute(table, database=job_site.name)
    server.execute("INSERT INTO hiding (id) VALUES (7)", database=job_site.name)
    server.execute(f"SET GLOBAL {setting}")
    try:
        with pytest.raises(DumpFailed, match=told):
            job_site.create()
        server.execute("DROP TABLE hiding", database=job_site.name)
        assert job_site.create()["created"] is True
    finally:
        server.execute(f"SET GLOBAL {variable} = DEFAULT")


@pytest.mark.parametrize(
    ("lacks", "grants", "told"),
    [
        ("TRIGGER", ["SELECT ON *.*", "SHOW VIEW, EVENT ON {}.*"], "all triggers of"),
        ("EXECUTE", ["SELECT, SHOW VIEW, EVENT, TRIGGER ON {}.*"], "all routines of"),
    ],
)
def test_an_account_that_does_not_see_all_of_the_database_fails_the_backup(
    job_site: JobSite, lacks: str, grants: list[str], told: str
) -> None:
    """The dump program is told of nothing that it may not see, and ends as if it had all."""
    server, site = job_site.server, job_site.name
    server.execute("CREATE USER reader IDENTIFIED BY 'site'")
    server.execute("CREATE ROLE seeing")
    try:
        for grant in ["PROCESS ON *.*", *grants]:
            server.execute(f"GRANT {grant.format(site)} TO reader")
        job_site.env["LCP_MASTER_USER_NAME"] = "reader"
        with pytest.raises(DumpFailed, match=rf"{told} .*: GRANT {lacks} ON `{site}`\.\* TO"):
            job_site.create()
        job_site.assert_nothing_published()
        # What it has by a role, and by a pattern, counts.
        server.execute("GRANT SELECT ON *.* TO seeing")
        server.execute(f"GRANT {lacks} ON `sit%`.* TO seeing")
        server.execute("GRANT seeing TO reader")
        is_mysql = server.flavour is Flavour.MYSQL
        server.execute(
            "ALTER USER reader DEFAULT ROLE seeing"
            if is_mysql
            else "SET DEFAULT ROLE seeing FOR reader"
        )
        assert job_site.create()["created"] is True
    finally:
        server.execute("DROP USER reader")
        server.execute("DROP ROLE seeing")


def test_a_dump_with_history_holds_todays_rows_whatever_day_the_server_answers_for(
    mariadb_site: JobSite,
) -> None:
    server = mariadb_site.server
    server.execute("CREATE TABLE v (id INT) WITH SYSTEM VERSIONING", database=mariadb_site.name)
    server.execute("INSERT INTO v VALUES (7)", database=mariadb_site.name)
    server.execute("SET GLOBAL system_versioning_asof = '2020-01-01'")
    try:
        mariadb_site.create()
        server.execute("DELETE FROM v", database=mariadb_site.name)
        mariadb_site.restore()
    finally:
        server.execute("SET GLOBAL system_versioning_asof = DEFAULT")
    assert server.execute("SELECT * FROM v", database=mariadb_site.name) == ((7,),)


def test_a_server_that_makes_tables_of_another_engine_restores_none(mariadb_site: JobSite) -> None:
    """Foreign keys would be gone, and nobody told."""
    server = mariadb_site.server
    mariadb_site.create()
    before = mariadb_site.fingerprint()
    server.execute("SET GLOBAL enforce_storage_engine = MyISAM")
    try:
        with pytest.raises(ServerGaveUp, match="every table with engine MyISAM"):
            mariadb_site.verify()
        verification = mariadb_site.verification()
        assert verification is not None
        assert verification.verdict is Verdict.COULD_NOT_VERIFY
        for strategy in ("PREPARE_AND_SWAP", "OVERWRITE"):
            mariadb_site.env["LCP_BACKUP_RESTORE_STRATEGY"] = strategy
            with pytest.raises(ServerGaveUp, match="set enforce_storage_engine to InnoDB"):
                mariadb_site.restore()
        assert before.differences(mariadb_site.fingerprint()) == []
        server.execute("SET GLOBAL enforce_storage_engine = InnoDB")
        assert mariadb_site.restore()["restored"] is True
    finally:
        server.execute("SET GLOBAL enforce_storage_engine = NULL")
    assert before.differences(mariadb_site.fingerprint()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LCP_MASTER_USER_PASSWORD", "wrong-and-secret"),
        ("LCP_DBNAME", "nowhere"),
        ("LCP_DATABASE_SERVICE", "127.0.0.1:1"),
    ],
)
def test_a_wrong_login_database_or_host_is_named_and_publishes_nothing(
    mariadb_site: JobSite, variable: str, value: str
) -> None:
    mariadb_site.env[variable] = value
    with pytest.raises(DatabaseUnreachable, match=variable) as raised:
        mariadb_site.create()
    assert "wrong-and-secret" not in str(raised.value)
    mariadb_site.assert_nothing_published()


_ALTER = """
set -o pipefail
first={folder}/first
if {always} || [ ! -e $first ]; then
  touch $first
  "$REAL" "$@" | {{
    head -c 65536
    {client} -e "ALTER TABLE {name}.User_ FORCE"
    cat
  }}
else
  touch {folder}/retried
  exec "$REAL" "$@"
fi
"""


@pytest.mark.parametrize("always", [False, True])
def test_a_table_altered_during_the_dump_is_dumped_once_more_or_fails(
    job_site: JobSite, tmp_path: Path, *, always: bool
) -> None:
    script = _ALTER.format(
        folder=tmp_path,
        always=str(always).lower(),
        client=" ".join(job_site.server.client()),
        name=job_site.name,
    )
    job_site.wrap_dump(tmp_path / "fake", script)
    if always:
        with pytest.raises(TableChangedDuringDump):
            job_site.create()
        job_site.assert_nothing_published()
    else:
        assert job_site.create()["created"] is True
        assert (tmp_path / "retried").exists(), "nothing was altered during the dump"
        assert list(job_site.catalog.backups.open_multiparts()) == []
        altered = job_site.fingerprint()
        job_site.restore()
        assert altered.differences(job_site.fingerprint()) == []


class Refusing:
    """Answers so many requests for part 2 in S3's place."""

    def __init__(self, status: int, times: int) -> None:
        self._status = status
        self._times = times
        self.answered = 0

    def __call__(self, request: Any, **_: Any) -> Any:
        if not re.search(r"partNumber=2\b", request.url) or self.answered == self._times:
            return None
        self.answered += 1
        code = {500: "InternalError", 503: "SlowDown"}[self._status]
        body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        raw = SimpleNamespace(stream=lambda *_a, **_k: iter([body]), close=lambda: None)
        headers: Any = HeadersDict({"content-type": "application/xml"})
        return AWSResponse(request.url, self._status, headers, raw)


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's retries without their pauses."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", [500, 503])
def test_s3_that_recovers_costs_nothing_but_time(
    mariadb_site: JobSite, s3_faults: list[Callable[..., Any]], status: int
) -> None:
    refusing = Refusing(status, 3)
    s3_faults.append(refusing)
    assert mariadb_site.create()["created"] is True
    assert refusing.answered == 3
    before = mariadb_site.fingerprint()
    mariadb_site.restore()
    assert before.differences(mariadb_site.fingerprint()) == []


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("status", [500, 503])
def test_s3_that_stays_broken_publishes_nothing(
    mariadb_site: JobSite, s3_faults: list[Callable[..., Any]], status: int
) -> None:
    s3_faults.append(Refusing(status, 10_000))
    with pytest.raises(StorageError, match="part 2 of s3://"):
        mariadb_site.create()
    mariadb_site.assert_nothing_published()


SWAP = "lcp_backup.database.staged_schema:StagedDatabase.swap"


def test_a_create_that_is_killed_is_made_by_the_next_delivery(job_site: JobSite) -> None:
    process = job_site.start("create", {"time": SLOT}, stuck_in=INDEX_END)
    kill_when(lambda: bool(list(job_site.catalog.backups.open_multiparts())), process)
    assert list(job_site.catalog.backups.all()) == []
    job_site.expire_lease()
    assert job_site.create()["created"] is True
    assert list(job_site.catalog.backups.open_multiparts()) == []
    before = job_site.fingerprint()
    job_site.restore()
    assert before.differences(job_site.fingerprint()) == []


def test_a_restore_that_is_killed_leaves_the_site_and_the_next_one_brings_it_back(
    job_site: JobSite,
) -> None:
    job_site.create()
    backed_up = job_site.fingerprint()
    with job_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {job_site.name}.User_ SET greeting = 'later'")
    (job_site.folder / "later.txt").write_text("later")
    live = job_site.fingerprint()

    process = job_site.start("restore", {"backup_id": BACKUP_ID}, stuck_in=SWAP)
    kill_when(lambda: len(job_site.schemas()) > 1, process)
    assert live.differences(job_site.fingerprint()) == []
    job_site.expire_lease()
    job_site.restore()
    assert backed_up.differences(job_site.fingerprint()) == []
    assert job_site.schemas() == {job_site.name}
    assert [path.name for path in job_site.folder.parent.iterdir()] == ["data"]


def test_one_event_delivered_twice_at_once_is_one_backup(mariadb_site: JobSite) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: mariadb_site.create(), range(2))
    assert first["backup_id"] == second["backup_id"] == BACKUP_ID
    assert sorted([first["created"], second["created"]]) == [False, True]
    again = mariadb_site.create()
    assert (again["created"], again["run_id"]) == (False, first["run_id"])
    assert [backup.id for backup in mariadb_site.catalog.backups.all()] == [BACKUP_ID]


def test_a_create_while_a_restore_runs_is_refused_and_says_who_holds_the_lease(
    mariadb_site: JobSite,
) -> None:
    lease = mariadb_site.catalog.lease.acquire(
        "r-1", RunKind.RESTORE, "a-b-202601010000", timedelta(hours=1)
    )
    with pytest.raises(LeaseHeld, match="restore run r-1 of backup a-b-202601010000 has held"):
        mariadb_site.create()
    mariadb_site.assert_nothing_published()
    lease.release()
    assert mariadb_site.create()["created"] is True


@pytest.mark.parametrize("name", ["database.tgz", "volume.tgz"])
def test_a_flipped_byte_is_refused_by_segment_and_leaves_the_live_site(
    mariadb_site: JobSite, name: str
) -> None:
    mariadb_site.create()
    store = mariadb_site.store
    key = f"acme/prd/backups/{BACKUP_ID}/{name}"
    body = bytearray(store.get(key).body)
    body[len(body) // 2] ^= 1
    store.put(key, bytes(body))
    (mariadb_site.folder / "later.txt").write_text("later")
    live = mariadb_site.fingerprint()
    with pytest.raises(ArchiveDamaged, match=rf"{name}.*segment \d+"):
        mariadb_site.restore()
    assert live.differences(mariadb_site.fingerprint()) == []
    assert mariadb_site.schemas() == {mariadb_site.name}
    assert [path.name for path in mariadb_site.folder.parent.iterdir()] == ["data"]


def test_files_that_change_or_vanish_while_they_are_read_become_warnings(
    mariadb_site: JobSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pack

    def busy(folder: Path, *arguments: Any, **named: Any) -> Any:
        check = named["check"]

        def meanwhile() -> None:
            (folder / "document_library" / "Übersicht.txt").unlink(missing_ok=True)
            with (folder / "document_library" / "large.bin").open("ab") as grown:
                grown.write(bytes(MIB))
            check()

        return real(folder, *arguments, **{**named, "check": meanwhile})

    monkeypatch.setattr("lcp_backup.jobs.new_volume.pack", busy)
    mariadb_site.create()
    warnings = {(notice.code, notice.subject) for notice in mariadb_site.manifest().warnings}
    assert ("file-changed", "document_library/large.bin") in warnings
    mariadb_site.restore()


def test_an_emptied_folder_fails_the_backup_and_leaves_the_last_one(mariadb_site: JobSite) -> None:
    mariadb_site.create()
    shutil.rmtree(mariadb_site.folder / "document_library")
    with pytest.raises(VolumeIncomplete, match=f"0 files .* in backup {BACKUP_ID}"):
        mariadb_site.create("2026-11-20T01:15:00Z")
    assert [it.id for it in mariadb_site.catalog.backups.all()] == [BACKUP_ID]
    assert mariadb_site.catalog.backups.ids() == [BACKUP_ID]
    assert list(mariadb_site.catalog.backups.open_multiparts()) == []
    mariadb_site.env["LCP_BACKUP_VOLUME_SHRINK_LIMIT"] = "100"
    made = mariadb_site.create("2026-11-20T01:15:00Z")["backup_id"]
    assert [it.code for it in mariadb_site.catalog.backups.get(made).warnings] == ["volume-empty"]


def test_a_file_system_that_is_not_mounted_fails_backups_and_restores_before_they_begin(
    mariadb_site: JobSite,
) -> None:
    mariadb_site.create()
    before = mariadb_site.fingerprint()
    mariadb_site.env["LCP_FILE_SYSTEM_MOUNT_PATH"] = str(mariadb_site.folder.parent)
    with pytest.raises(VolumeError, match="no file system is mounted"):
        mariadb_site.create("2026-11-20T01:15:00Z")
    with pytest.raises(VolumeError, match="no file system is mounted"):
        mariadb_site.restore()
    assert mariadb_site.catalog.backups.ids() == [BACKUP_ID]
    assert before.differences(mariadb_site.fingerprint()) == []


def test_a_link_that_no_backup_holds_outlives_a_restore(
    mariadb_site: JobSite, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (mariadb_site.folder / "logs").symlink_to(tmp_path / "logs")
    mariadb_site.create()
    (notice,) = mariadb_site.manifest().warnings
    assert (notice.code, notice.subject) == ("link-outside", "logs")
    mariadb_site.restore()
    assert (mariadb_site.folder / "logs").readlink() == tmp_path / "logs"


def test_a_missing_folder_fails_the_backup_and_names_the_variable(mariadb_site: JobSite) -> None:
    mariadb_site.env["LCP_BACKUP_FOLDER"] = str(mariadb_site.folder / "nowhere")
    with pytest.raises(VolumeError, match="LCP_BACKUP_FOLDER"):
        mariadb_site.create()
    mariadb_site.assert_nothing_published()
