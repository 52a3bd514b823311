"""A database that several functions load for a proof, on real servers: as one function finds it.

And never more than that: whatever fails, nothing stays on the server, and nothing is a success.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from lcp_backup.archive.segment import Section, Segment
from lcp_backup.database import accounts, scratch, scratch_checks, scratch_schemas
from lcp_backup.database.dump_order import OrderMattersError
from lcp_backup.database.endpoint import DatabaseEndpoint
from lcp_backup.database.journal import Journal
from lcp_backup.database.piece_load import PieceLoad
from lcp_backup.database.session import Session
from lcp_backup.database.staged_load import StagedLoad
from lcp_backup.errors import (
    AccountRefused,
    ArchiveDamaged,
    BackupError,
    Conflict,
    DatabaseUnreachable,
    LeaseHeld,
    LeaseLost,
    LoadFailed,
    RunIsOver,
    ServerGaveUp,
)
from lcp_backup.jobs import verify_by_workers
from lcp_backup.jobs.database_proof import DatabaseProof
from lcp_backup.jobs.left_work import DEAD_AFTER
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.model import RunKind, RunState
from lcp_backup.verification import Verification
from tests.support.frozen_worker import Frozen
from tests.support.job_site import BACKUP_ID, JobSite
from tests.support.large_table import ROWS, backed_up
from tests.support.scratch_schemas import on_server, progress_of, scratch_of
from tests.support.verify_machine import VerifyMachine

DATABASE = f"acme/prd/backups/{BACKUP_ID}/database.tgz"


def machine_for(site: JobSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[VerifyMachine]:
    """Afterwards nothing is on the server that was not before."""
    machine = VerifyMachine(backed_up(site), monkeypatch)
    before = on_server(site)
    yield machine
    with suppress(BackupError):
        machine.abort(LoadFailed("the test is over"))
    assert on_server(site) - before == set()


@pytest.fixture
def machine(job_site: JobSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[VerifyMachine]:
    """On each server in turn."""
    yield from machine_for(job_site, monkeypatch)


@pytest.fixture
def on_mariadb(mariadb_site: JobSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[VerifyMachine]:
    yield from machine_for(mariadb_site, monkeypatch)


@pytest.fixture
def none_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes sure that no function loads the whole instead."""

    def prove(*_: object, **__: object) -> None:
        raise AssertionError("one function loads the whole database")

    monkeypatch.setattr(DatabaseProof, "prove", prove)


def kept(machine: VerifyMachine) -> Verification:
    found = machine.site.verification()
    assert found is not None
    return found


def verdict(machine: VerifyMachine) -> tuple[str, str | None]:
    found = kept(machine)
    return str(found.verdict), None if found.error is None else found.error.code


def assert_aborted(machine: VerifyMachine, error: BackupError, *expected: str) -> None:
    """It ends with this verdict, and nothing of it is left."""
    machine.abort(error)
    assert verdict(machine) == expected
    assert machine.record.state is RunState.FAILED
    assert_nothing_left(machine)


def assert_nothing_left(machine: VerifyMachine) -> None:
    assert not [name for name in on_server(machine.site) if name.startswith("lcp_verify")]
    assert list(machine.site.catalog.work.of(machine.told["run_id"]).names()) == []


def in_order(*_: object, **__: object) -> None:
    """Something in the dump has to happen in its place."""
    raise OrderMattersError


# --- a good backup --------------------------------------------------------------------------------


def test_three_workers_at_once_on_the_same_pieces_find_what_one_function_finds(
    machine: VerifyMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machine.site
    site.env["LCP_BACKUP_VERIFY_SQL"] = f"SELECT COUNT(*) = {ROWS} FROM big"
    live = site.fingerprint()
    alone_run = site.catalog.runs.get(site.verify("latest", workers=1)["run_id"])
    alone = kept(machine)
    monkeypatch.setattr(DatabaseProof, "prove", lambda *_: pytest.fail("one loads the whole"))
    machine.begin(workers=3)
    assert machine.told["loads"] == "by-workers"
    machine.step("tables")
    machine.load_rows_by_three()
    run = machine.finish()
    assert (run.state, run.error, run.result) == (RunState.SUCCEEDED, None, alone_run.result)
    found = kept(machine)
    of_run = {"run_id", "started_at", "finished_at", "load_seconds", "read_seconds", "report"}
    assert found.model_dump(exclude=of_run) == alone.model_dump(exclude=of_run)
    assert found.report is not None
    assert found.statements == 1
    assert found.load_seconds > 0
    # (A piece that two of them load is counted by the one whose rows stay.)
    assert run.progress["database"] == alone_run.progress["database"]
    assert live.differences(site.fingerprint()) == []
    assert_nothing_left(machine)


@pytest.mark.usefixtures("none_alone")
def test_a_second_delivery_of_each_step_changes_nothing(on_mariadb: VerifyMachine) -> None:
    machine = on_mariadb
    machine.begin()
    machine.step("tables")
    machine.step("tables")
    for name in ("rows", "indexes"):
        for portion in machine.items(f"items-{name}"):
            first = machine.step(name, portion=portion)
            assert machine.step(name, portion=portion) == first
    machine.step("database")
    found = machine.site.catalog.work.of(machine.told["run_id"]).get("proved")
    machine.step("database")
    assert machine.site.catalog.work.of(machine.told["run_id"]).get("proved") == found
    machine.read()
    machine.step("conclude")
    with pytest.raises(RunIsOver):
        machine.step("conclude")
    for step in ("tables", "rows", "indexes", "database"):
        with pytest.raises(RunIsOver):
            machine.step(step)
    assert machine.abort(LoadFailed("late")) is False
    assert verdict(machine) == ("verified", None)
    assert machine.record.state is RunState.SUCCEEDED


@pytest.mark.parametrize(("step", "method"), [("tables", "define"), ("database", "complete")])
def test_a_second_delivery_while_the_first_is_at_work_is_refused_and_ends_nothing(
    on_mariadb: VerifyMachine, step: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = on_mariadb
    machine.begin()
    if step == "database":
        machine.load_rows()
        machine.build_indexes()
    real = getattr(StagedLoad, method)
    again: list[BaseException] = []

    def twice(load: Any, *more: Any) -> Any:
        with pytest.raises(Conflict, match="already") as raised:
            machine.step(step)
        again.append(raised.value)
        return real(load, *more)

    with monkeypatch.context() as patched:
        patched.setattr(StagedLoad, method, twice)
        machine.step(step)
    assert len(again) == 1
    if step == "tables":
        machine.load_rows()
        machine.build_indexes()
    machine.step("database")
    machine.read()
    machine.step("conclude")
    assert verdict(machine) == ("verified", None)


@pytest.mark.usefixtures("none_alone")
def test_a_worker_that_died_in_a_piece_is_no_bad_backup_and_another_loads_it(
    on_mariadb: VerifyMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = on_mariadb
    machine.begin()
    machine.step("tables")
    commit = Session.commit
    calls: list[None] = []

    def dies(self: Session) -> None:
        calls.append(None)
        if len(calls) == 1:
            raise ServerGaveUp("the connection was lost")
        commit(self)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "commit", dies)
        with pytest.raises(ServerGaveUp):
            machine.step("rows", portion=0)
    for portion in machine.items("items-rows"):
        assert machine.step("rows", portion=portion) == {"done": True}
    machine.finish()
    assert verdict(machine) == ("verified", None)


def test_what_a_frozen_worker_holds_is_taken_from_it_and_what_it_then_meets_is_no_bad_backup(
    machine: VerifyMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.begin()
    machine.step("tables")
    monkeypatch.setattr(verify_by_workers, "STAGES", ())  # as if its minute had passed
    frozen = Frozen(machine, monkeypatch)
    assert_aborted(machine, ServerGaveUp("gone"), "could-not-verify", "died")
    assert isinstance(frozen.thaw(), BackupError)
    assert verdict(machine) == ("could-not-verify", "died")
    assert machine.site.catalog.work.of(machine.told["run_id"]).find("bad-database") is None


# --- where one function has to load all of it -----------------------------------------------------


def test_a_dump_that_cannot_be_defined_apart_is_proved_by_one_function(
    on_mariadb: VerifyMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = on_mariadb
    machine.begin()
    with monkeypatch.context() as patched:
        patched.setattr(PieceLoad, "execute", in_order)
        machine.step("tables")
    assert not [name for name in on_server(machine.site) if name.startswith("lcp_verify")]
    assert machine.execute().state is RunState.SUCCEEDED
    assert verdict(machine) == ("verified", None)
    assert_nothing_left(machine)


@pytest.mark.parametrize("found_by", ["rows", "database"])
def test_a_dump_whose_order_turns_out_to_matter_is_proved_by_one_function(
    on_mariadb: VerifyMachine, found_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = on_mariadb
    machine.begin()
    machine.step("tables")
    with monkeypatch.context() as patched:
        if found_by == "rows":
            patched.setattr(PieceLoad, "insert_rows", in_order)
        machine.step("rows", portion=0)
    for portion in machine.items("items-rows"):
        machine.step("rows", portion=portion)
    machine.build_indexes()
    with monkeypatch.context() as patched:
        if found_by == "database":
            patched.setattr(StagedLoad, "complete", in_order)
        machine.step("database")
    assert not [name for name in on_server(machine.site) if name.startswith("lcp_verify")]
    machine.read()
    machine.step("conclude")
    assert verdict(machine) == ("verified", None)


# --- a bad one ------------------------------------------------------------------------------------


def segment_of(site: JobSite, section: Section, table: str) -> Segment:
    backup = StoredBackup(site.catalog, site.manifest())
    return next(
        it for it in backup.database_segments() if (it.section, it.table) == (section, table)
    )


def flip(site: JobSite, segment: Segment) -> None:
    body = bytearray(site.store.get(DATABASE).body)
    body[segment.offset + segment.size // 2] ^= 1
    site.store.delete([DATABASE])
    site.store.put(DATABASE, bytes(body))


def work_through(machine: VerifyMachine, found: list[BackupError]) -> None:
    """As the machine does, but that it goes on after a failure."""

    def attempt(step: str, portion: int = 0) -> None:
        try:
            machine.step(step, portion=portion)
        except BackupError as error:
            found.append(error)

    attempt("tables")
    for name in ("rows", "indexes"):
        with suppress(BackupError):
            for portion in machine.items(f"items-{name}"):
                attempt(name, portion)
    attempt("database")
    machine.read()


@pytest.mark.parametrize("section", [Section.ROWS, Section.DEFINITION])
def test_a_damaged_segment_is_bad_and_stays_bad_when_another_reads_it_well(
    on_mariadb: VerifyMachine, section: Section
) -> None:
    machine, site = on_mariadb, on_mariadb.site
    segment = segment_of(site, section, "big")
    flip(site, segment)
    with pytest.raises(ArchiveDamaged):
        site.verify(workers=1)
    machine.begin()
    with pytest.raises(ArchiveDamaged, match=f"{segment.size} bytes at byte {segment.offset}"):
        machine.step("tables")
        for portion in machine.items("items-rows"):
            machine.step("rows", portion=portion)
    flip(site, segment)  # it was a lie
    found: list[BackupError] = []
    work_through(machine, found)
    if section is Section.ROWS:
        assert found == [], "all else went well"
    with pytest.raises(ArchiveDamaged) as raised:
        machine.step("conclude")
    assert_aborted(machine, raised.value, "bad", "archive-damaged")


def broken(old: bytes, new: bytes) -> Callable[..., Iterator[Any]]:
    """Reads a dump that says something else."""
    real = StoredBackup.read_database

    def read(self: StoredBackup, segments: Any) -> Iterator[Any]:
        for segment, raw in real(self, segments):
            yield segment, raw.replace(old, new)

    return read


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"`userId` bigint", b"`userId` no_such_type", "definition of User_"),
        (b"", b"", "rows of big"),
    ],
    ids=["definition", "rows"],
)
def test_what_the_server_refuses_is_bad_and_named_as_by_one_function(
    machine: VerifyMachine, old: bytes, new: bytes, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not old:
        old = first_row(machine.site)
        new = old.replace(b"(1,", b"(2,")
    monkeypatch.setattr(StoredBackup, "read_database", broken(old, new))
    with pytest.raises(LoadFailed):
        machine.site.verify("latest", workers=1)
    alone = kept(machine)
    assert alone.verdict == "bad"
    machine.begin()
    with pytest.raises(LoadFailed) as raised:
        machine.load_rows()
    assert_aborted(machine, raised.value, "bad", "load-failed")
    found = kept(machine)
    assert found.error is not None
    assert named in found.error.message
    assert found.server == alone.server


def first_row(site: JobSite) -> bytes:
    """How the rows of a table begin, so that its first one can be made its second."""
    backup = StoredBackup(site.catalog, site.manifest())
    segment = segment_of(site, Section.ROWS, "big")
    ((_, raw),) = backup.read_database([segment])
    at = raw.index(b"(1,")
    return raw[raw.rindex(b"INSERT", 0, at) : at + 3]


def test_a_statement_that_is_not_true_is_bad(on_mariadb: VerifyMachine) -> None:
    on_mariadb.site.env["LCP_BACKUP_VERIFY_SQL"] = "SELECT COUNT(*) > 0 FROM User_; SELECT 0"
    on_mariadb.begin()
    on_mariadb.load_rows()
    on_mariadb.build_indexes()
    with pytest.raises(LoadFailed, match="statement 2 of LCP_BACKUP_VERIFY_SQL") as raised:
        on_mariadb.step("database")
    assert on_server(on_mariadb.site) == set()
    assert_aborted(on_mariadb, raised.value, "bad", "load-failed")


@pytest.mark.parametrize("at", ["indexes", "database"])
def test_a_row_that_is_not_there_is_missed_and_its_table_named(
    machine: VerifyMachine, at: str
) -> None:
    machine.begin()
    machine.load_rows()
    if at == "database":
        machine.build_indexes()
    machine.site.server.execute(f"DELETE FROM {scratch_of(machine.site)}.big WHERE id = 7")
    with pytest.raises(LoadFailed, match=f"{ROWS} rows were loaded into 'big'") as raised:
        machine.finish()
    assert_aborted(machine, raised.value, "bad", "load-failed")


# --- what says nothing of the backup --------------------------------------------------------------


@pytest.mark.parametrize("at", ["indexes", "database"])
def test_a_piece_that_is_lost_is_no_success_and_no_bad_backup(
    machine: VerifyMachine, at: str
) -> None:
    machine.begin()
    machine.load_rows()
    if at == "database":
        machine.build_indexes()
    table = progress_of(machine.site)
    machine.site.server.execute(f"DELETE FROM {table} ORDER BY piece LIMIT 1")
    with pytest.raises(ServerGaveUp, match="were not loaded") as raised:
        machine.finish()
    assert_aborted(machine, raised.value, "could-not-verify", "server-gave-up")


def test_without_all_rows_or_all_indexes_there_is_no_success(on_mariadb: VerifyMachine) -> None:
    machine = on_mariadb
    machine.begin()
    machine.load_rows()
    with pytest.raises(LoadFailed, match="indexes of some tables were not built") as raised:
        machine.step("database")
    with pytest.raises(BackupError):
        machine.step("database")
    machine.read()
    with pytest.raises(Conflict, match="nobody has said that the database was proved"):
        machine.step("conclude")
    assert_aborted(machine, raised.value, "could-not-verify", "conflict")


@pytest.mark.parametrize("step", ["rows", "indexes", "database"])
def test_what_was_dropped_meanwhile_says_nothing_of_the_backup(
    machine: VerifyMachine, step: str
) -> None:
    """By hand, say: no verification does it."""
    site = machine.site
    machine.begin()
    machine.step("tables")
    if step != "rows":
        machine.load_rows()
    if step == "database":
        machine.build_indexes()
    schema = scratch_of(site)
    site.server.execute(f"DROP TABLE {progress_of(site)}")
    site.server.execute(f"DROP TABLE {schema}.refers")
    with pytest.raises(Conflict, match="not on the server any more") as raised:
        machine.step(step)
    assert_aborted(machine, raised.value, "could-not-verify", "conflict")


def test_no_worker_sends_anything_as_a_loader_that_may_do_more_meanwhile(
    machine: VerifyMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machine.site
    machine.begin()
    machine.step("tables")
    name = accounts.loader_name(scratch_of(site).removesuffix("_lcp_staging"))
    site.server.execute(f"GRANT SELECT ON {site.name}.* TO '{name}'@'%'")
    monkeypatch.setattr(PieceLoad, "insert_rows", lambda *_: pytest.fail("it sent rows"))
    with pytest.raises(AccountRefused, match="must have them on") as raised:
        machine.step("rows", portion=0)
    assert_aborted(machine, raised.value, "could-not-verify", "database-account-refused")


def test_the_loaders_password_lies_nowhere_and_ends_with_the_workers(
    on_mariadb: VerifyMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, site = on_mariadb, on_mariadb.site
    machine.begin()
    seen: list[DatabaseEndpoint] = []
    real = accounts.lasting_loader

    def lasting_loader(*args: Any) -> Any:
        seen.append(real(*args))
        return seen[-1]

    monkeypatch.setattr(accounts, "lasting_loader", lasting_loader)
    machine.load_rows()
    machine.build_indexes()
    (password,) = {it.password.get_secret_value() for it in seen}
    for entry in site.store.entries("acme/prd/runs/"):
        assert password.encode() not in site.store.get(entry.key).body
    assert password not in str(machine.told)
    machine.step("database")
    with pytest.raises(DatabaseUnreachable):
        accounts.check_lasting_loader(seen[-1], "any")
    with pytest.raises(LeaseLost):
        machine.step("rows", portion=0)


@pytest.mark.parametrize("step", ["tables", "rows", "indexes", "database"])
def test_each_step_gives_way_to_a_restore(on_mariadb: VerifyMachine, step: str) -> None:
    machine, site = on_mariadb, on_mariadb.site
    machine.begin()
    if step != "tables":
        machine.step("tables")
    if step in {"indexes", "database"}:
        machine.load_rows()
    if step == "database":
        machine.build_indexes()
    restore = "20261120T010000-restore-0a1b2c3d"
    site.catalog.lease.acquire(restore, RunKind.RESTORE, BACKUP_ID, timedelta(minutes=2))
    with pytest.raises(LeaseHeld, match=f"restore run {restore}") as raised:
        machine.step(step)
    assert machine.abort(raised.value) is True
    assert verdict(machine) == ("could-not-verify", "lease-held")
    assert_nothing_left(machine)


# --- nothing stays --------------------------------------------------------------------------------


def some_rows(machine: VerifyMachine) -> None:
    machine.step("tables")
    machine.step("rows", portion=0)


def indexed(machine: VerifyMachine) -> None:
    machine.load_rows()
    machine.build_indexes()


def proved(machine: VerifyMachine) -> None:
    indexed(machine)
    machine.step("database")


def killed_while(step: str, method: str) -> Callable[[VerifyMachine], None]:
    """Up to a step in which the function is killed: a kill drops nothing, and ends connections."""

    def kill(machine: VerifyMachine) -> None:
        if step == "database":
            indexed(machine)

        def die(*_: Any) -> None:
            raise ServerGaveUp("killed")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scratch, "drop", lambda *_: None)
            patch.setattr(accounts, "_retire", lambda *_: None)
            patch.setattr(*_where(method), die)
            with pytest.raises(ServerGaveUp):
                machine.step(step)
        assert on_server(machine.site) != set()

    return kill


def _where(method: str) -> tuple[Any, str]:
    owners = {"note": Journal, "count_rows": scratch, "_tried": StagedLoad}
    return owners[method], method


STEPS = {
    "nothing": lambda _: None,
    "tables": lambda it: it.step("tables"),
    "some-rows": some_rows,
    "all-rows": VerifyMachine.load_rows,
    "indexes": indexed,
    "proved": proved,
    "killed-in-tables": killed_while("tables", "note"),
    "killed-in-load": killed_while("database", "_tried"),
    "killed-in-checks": killed_while("database", "count_rows"),
}


@pytest.mark.parametrize("so_far", STEPS)
def test_an_abort_at_any_step_leaves_nothing_on_the_server(
    machine: VerifyMachine, so_far: str
) -> None:
    site = machine.site
    before = site.fingerprint()
    machine.begin()
    STEPS[so_far](machine)
    why = "server-gave-up" if so_far.startswith("killed") else "died"
    assert_aborted(machine, ServerGaveUp("gone"), "could-not-verify", why)
    assert on_server(site) == set()
    assert before.differences(site.fingerprint()) == []


@pytest.mark.parametrize("so_far", ["tables", "some-rows", "all-rows", "indexes"])
def test_another_verification_that_begins_meanwhile_leaves_what_is_live(
    machine: VerifyMachine, so_far: str
) -> None:
    site = machine.site
    machine.begin()
    STEPS[so_far](machine)
    live = on_server(site)
    site.verify("latest", workers=1)
    assert on_server(site) == live
    site.report("latest")
    assert on_server(site) == live
    first = machine.told["run_id"]
    other = VerifyMachine(site, pytest.MonkeyPatch())
    other.begin()
    other.step("tables")
    assert on_server(site) > live
    other.abort(ServerGaveUp("gone"))
    assert on_server(site) == live
    machine.told["run_id"] = first
    run = machine.finish() if so_far == "indexes" else machine.execute()
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    assert kept(machine).run_id == first


def is_over(machine: VerifyMachine) -> None:
    """As cleanup says of an execution that was stopped."""
    catalog = machine.site.catalog
    update = {"state": RunState.FAILED, "finished_at": catalog.now()}
    catalog.runs.change(machine.told["run_id"], lambda it: it.model_copy(update=update))


def is_silent(machine: VerifyMachine) -> None:
    """Nobody has renewed its record for an hour."""
    catalog = machine.site.catalog
    update = {"updated_at": catalog.now() - DEAD_AFTER - timedelta(seconds=1)}
    catalog.runs.change(machine.told["run_id"], lambda it: it.model_copy(update=update))


def is_forgotten(machine: VerifyMachine) -> None:
    machine.site.catalog.runs.delete([machine.told["run_id"]])


@pytest.mark.parametrize("ends", [is_over, is_silent, is_forgotten])
def test_an_abandoned_schema_goes_with_the_next_verification(
    on_mariadb: VerifyMachine, ends: Callable[[VerifyMachine], None]
) -> None:
    on_mariadb.begin()
    some_rows(on_mariadb)
    ends(on_mariadb)
    assert on_mariadb.site.verify("latest", workers=1)["verdict"] == "verified"
    assert on_server(on_mariadb.site) == set()


def test_a_schema_of_a_function_that_was_killed_before_it_was_its_runs_goes_with_the_next(
    on_mariadb: VerifyMachine,
) -> None:
    """Though the run is under way: no step goes on with it."""
    on_mariadb.begin()
    killed_while("tables", "note")(on_mariadb)
    assert on_mariadb.record.finished_at is None
    on_mariadb.site.verify("latest", workers=1)
    assert on_server(on_mariadb.site) == set()


def test_what_a_step_holds_by_the_servers_lock_nobody_takes_though_its_run_is_silent(
    on_mariadb: VerifyMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = on_mariadb
    machine.begin()
    indexed(machine)
    real = scratch_checks.count_rows
    inside: list[set[str]] = []

    def meanwhile(*args: Any) -> None:
        if not inside:
            is_silent(machine)
            inside.append(on_server(machine.site))
            machine.site.verify("latest", workers=1)
            inside.append(on_server(machine.site))
        real(*args)

    monkeypatch.setattr(scratch, "count_rows", meanwhile)
    machine.step("database")
    before, after = inside
    assert before == after != set()


def test_a_load_is_told_apart_by_the_whole_of_its_name(on_mariadb: VerifyMachine) -> None:
    """The lock, the account and the journal are by it."""
    on_mariadb.begin()
    on_mariadb.step("tables")
    name = scratch_of(on_mariadb.site).removesuffix("_lcp_staging")
    assert len(name) == scratch_schemas.NAME_LENGTH
    assert f"{name}_lcp_journal" in on_server(on_mariadb.site)
    assert accounts.loader_name(name) in on_server(on_mariadb.site)
