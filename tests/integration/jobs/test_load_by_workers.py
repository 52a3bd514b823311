"""A database whose rows and indexes several functions load beside the live one, on real servers."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pymysql
import pytest
from pydantic import SecretStr

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.database import accounts
from lcp_backup.database.dump_order import OrderMattersError
from lcp_backup.database.endpoint import connect
from lcp_backup.database.load_progress import LoadProgress
from lcp_backup.database.piece_load import Inserted, PieceLoad
from lcp_backup.database.session import Session
from lcp_backup.database.shared_load import SharedLoader
from lcp_backup.errors import (
    AccountRefused,
    BackupError,
    DatabaseUnreachable,
    LeaseLost,
    LoadFailed,
    ServerGaveUp,
)
from lcp_backup.jobs import load_by_workers, restore_by_workers
from lcp_backup.jobs.staged_site import SiteStaging
from lcp_backup.model import RunState
from tests.support.frozen_worker import Frozen
from tests.support.job_site import JobSite
from tests.support.large_table import ROWS, backed_up, indexes, progress_table, staging
from tests.support.restore_machine import RestoreMachine


@pytest.fixture
def machine(job_site: JobSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[RestoreMachine]:
    """On each server in turn."""
    machine = RestoreMachine(backed_up(job_site), monkeypatch)
    yield machine
    machine.end()


@pytest.fixture
def on_mariadb(mariadb_site: JobSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[RestoreMachine]:
    machine = RestoreMachine(backed_up(mariadb_site), monkeypatch)
    yield machine
    machine.end()


@pytest.fixture
def none_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes sure that no function loads the whole instead."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("one function loads the whole database")

    monkeypatch.setattr(SiteStaging, "load", load)


def change(site: JobSite) -> None:
    with site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {site.name}.Image_")
        cursor.execute(f"DROP TABLE {site.name}.refers")


@pytest.mark.usefixtures("none_in_order")
def test_a_database_comes_back_exactly_whose_rows_and_indexes_workers_load_twice_each(
    machine: RestoreMachine,
) -> None:
    site = machine.site
    before = site.fingerprint()
    change(site)
    changed = site.fingerprint()
    machine.begin(workers=3)
    machine.step("tables")
    machine.load_rows_by_three()
    machine.build_indexes()
    machine.build_indexes()
    assert changed.differences(site.fingerprint()) == [], "the live site is as it was"
    machine.step("load")
    machine.unpack()
    machine.step("swap")
    assert before.differences(site.fingerprint()) == []
    assert site.schemas() == {site.name}
    run = site.catalog.runs.get(machine.told["run_id"])
    assert run.state is RunState.SUCCEEDED
    rows = run.result["rows"]
    assert isinstance(rows, int)
    assert rows >= ROWS
    assert list(site.catalog.work.of(run.id).names()) == []


@pytest.mark.parametrize(
    "request_", [{"only": "database"}, {"tables": ["big", "refers"]}, {"into_database": "other_9"}]
)
@pytest.mark.usefixtures("none_in_order")
def test_a_database_alone_or_some_tables_or_another_database_come_back_by_workers(
    on_mariadb: RestoreMachine, request_: dict[str, Any]
) -> None:
    site = on_mariadb.site
    before = site.fingerprint()
    if "into_database" not in request_:
        with site.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {site.name}.refers")
            cursor.execute(f"DELETE FROM {site.name}.big")
        if "tables" not in request_:
            change(site)
    on_mariadb.begin(**request_)
    assert on_mariadb.told["loads"] == "by-workers"
    on_mariadb.execute()
    assert before.differences(site.fingerprint()) == []
    assert site.schemas() == {site.name}
    if name := request_.get("into_database"):
        ((count,),) = site.server.execute(f"SELECT COUNT(*) FROM {name}.big")
        assert count == ROWS
        site.server.execute(f"DROP DATABASE {name}")


def test_a_worker_that_died_in_a_piece_leaves_nothing_of_it_and_another_loads_it(
    on_mariadb: RestoreMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = on_mariadb.site
    before = site.fingerprint()
    on_mariadb.begin()
    on_mariadb.step("tables")
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
            on_mariadb.step("rows", portion=0)
    for portion in on_mariadb.items("items-rows"):
        assert on_mariadb.step("rows", portion=portion) == {"done": True}
    on_mariadb.finish()
    assert before.differences(site.fingerprint()) == []


def test_what_a_frozen_worker_holds_is_taken_from_it_when_the_run_is_aborted(
    machine: RestoreMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machine.site
    before = site.fingerprint()
    machine.begin()
    machine.step("tables")
    monkeypatch.setattr(load_by_workers, "STAGES", ())  # as if its minute had passed
    monkeypatch.setattr(restore_by_workers, "STAGES", ())
    frozen = Frozen(machine, monkeypatch)
    machine.step("abort", error={"Error": "States.Timeout", "Cause": ""})
    assert site.schemas() == {site.name}
    assert site.server.execute("SELECT user FROM mysql.user WHERE user LIKE 'lcp_loader_%'") == ()
    assert isinstance(frozen.thaw(), BackupError)
    assert site.schemas() == {site.name}
    assert before.differences(site.fingerprint()) == []


def lose_a_piece(machine: RestoreMachine) -> None:
    table = progress_table(machine.site)
    machine.site.server.execute(f"DELETE FROM {table} ORDER BY piece LIMIT 1")


def lose_a_row(machine: RestoreMachine) -> None:
    machine.site.server.execute(f"DELETE FROM {staging(machine.site)}.big WHERE id = 7")


@pytest.mark.parametrize("lose", [lose_a_piece, lose_a_row])
def test_indexes_are_not_built_where_rows_are_missing(
    on_mariadb: RestoreMachine, lose: Callable[[RestoreMachine], None]
) -> None:
    on_mariadb.begin()
    on_mariadb.load_rows()
    lose(on_mariadb)
    with pytest.raises(LoadFailed, match=r"'big'|rows of table"):
        on_mariadb.build_indexes()


@pytest.mark.parametrize("rows", [RestoreMachine.load_rows, lambda it: it.step("tables")])
def test_a_database_is_not_completed_whose_rows_or_indexes_are_missing(
    on_mariadb: RestoreMachine, rows: Callable[[RestoreMachine], None]
) -> None:
    site = on_mariadb.site
    before = site.fingerprint()
    on_mariadb.begin()
    rows(on_mariadb)
    with pytest.raises(LoadFailed):
        on_mariadb.step("load")
    on_mariadb.step("abort", error={"Error": "LoadFailed", "Cause": ""})
    assert site.schemas() == {site.name}
    assert before.differences(site.fingerprint()) == []


def test_a_piece_that_is_lost_after_the_indexes_is_noticed(on_mariadb: RestoreMachine) -> None:
    on_mariadb.begin()
    on_mariadb.load_rows()
    on_mariadb.build_indexes()
    lose_a_piece(on_mariadb)
    with pytest.raises(LoadFailed, match="were not loaded"):
        on_mariadb.step("load")
    on_mariadb.step("abort", error={"Error": "LoadFailed", "Cause": ""})
    assert on_mariadb.site.schemas() == {on_mariadb.site.name}


def test_indexes_that_an_attempt_built_before_it_died_are_taken_as_they_are(
    machine: RestoreMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machine.site
    before = site.fingerprint()
    machine.begin()
    machine.load_rows()
    machine.site.server.execute(f"DROP INDEX by_word ON {staging(site)}.big")
    machine.site.server.execute(f"DROP INDEX by_both ON {staging(site)}.big")
    with monkeypatch.context() as patched:

        def dies(*_: object) -> int:
            raise ServerGaveUp("the connection was lost")

        patched.setattr(Session, "count", dies)
        for portion in machine.items("items-indexes"):
            with pytest.raises(ServerGaveUp):
                machine.step("indexes", portion=portion)
    machine.finish()
    assert before.differences(site.fingerprint()) == []


def test_who_loads_the_last_rows_of_a_table_builds_its_indexes(
    on_mariadb: RestoreMachine,
) -> None:
    site = on_mariadb.site
    on_mariadb.begin()
    on_mariadb.step("tables")
    assert indexes(site) == {"PRIMARY"}
    on_mariadb.load_rows()
    assert indexes(site) == {"PRIMARY", "by_word", "by_both"}


def test_indexes_that_another_worker_builds_are_left_to_it(
    on_mariadb: RestoreMachine,
) -> None:
    site = on_mariadb.site
    on_mariadb.begin()
    on_mariadb.step("tables")
    progress = LoadProgress(staging(site), progress_table(site).partition(".")[2])
    with site.connect() as other, other.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (progress.lock("big"),))
        on_mariadb.load_rows()
    assert indexes(site) == {"PRIMARY"}
    on_mariadb.build_indexes()
    assert indexes(site) == {"PRIMARY", "by_word", "by_both"}


def test_a_dump_whose_order_turns_out_to_matter_is_loaded_by_one_function(
    on_mariadb: RestoreMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = on_mariadb.site
    before = site.fingerprint()
    change(site)
    on_mariadb.begin()
    on_mariadb.step("tables")
    with monkeypatch.context() as patched:

        def matters(*_: object) -> Inserted:
            raise OrderMattersError

        patched.setattr(PieceLoad, "insert_rows", matters)
        assert on_mariadb.step("rows", portion=0) == {"done": True}
    for portion in on_mariadb.items("items-rows"):
        assert on_mariadb.step("rows", portion=portion) == {"done": True}
    on_mariadb.finish()
    assert before.differences(site.fingerprint()) == []


def test_a_dump_that_cannot_be_defined_apart_is_loaded_by_one_function(
    on_mariadb: RestoreMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = on_mariadb.site
    before = site.fingerprint()
    on_mariadb.begin()

    def matters(*_: object, **__: object) -> None:
        raise OrderMattersError

    with monkeypatch.context() as patched:
        patched.setattr(PieceLoad, "execute", matters)
        on_mariadb.step("tables")
    on_mariadb.execute()
    assert before.differences(site.fingerprint()) == []


def test_whoever_still_loads_is_shut_out_by_the_server_once_the_load_is_completed(
    machine: RestoreMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machine.site
    before = site.fingerprint()
    machine.begin()
    machine.step("tables")
    late: list[tuple[SharedLoader, Any]] = []
    load_rows = SharedLoader.load_rows

    def seen(self: SharedLoader, wanted: Any, is_over: Any) -> bool:
        late.append((self, wanted))
        return load_rows(self, wanted, is_over)

    monkeypatch.setattr(SharedLoader, "load_rows", seen)
    for portion in machine.items("items-rows"):
        machine.step("rows", portion=portion)
    loader, wanted = late[0]
    with closing(connect(loader.endpoint, database=staging(site))) as connection:
        machine.build_indexes()
        machine.step("load")
        with pytest.raises(pymysql.MySQLError):
            connection.ping(reconnect=False)
        with pytest.raises(DatabaseUnreachable):
            replace(loader, check=lambda: None).load_rows(wanted, lambda: False)
    with pytest.raises(LeaseLost):
        machine.step("rows", portion=0)
    machine.unpack()
    machine.step("swap")
    assert before.differences(site.fingerprint()) == []


def test_no_worker_sends_anything_as_a_loader_that_may_do_more_meanwhile(
    machine: RestoreMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = machine.site
    machine.begin()
    machine.step("tables")
    name = accounts.loader_name(site.name)
    site.server.execute(f"GRANT SELECT ON {site.name}.* TO '{name}'@'%'")
    monkeypatch.setattr(PieceLoad, "insert_rows", lambda *_: pytest.fail("it sent rows"))
    with pytest.raises(AccountRefused, match="must have them on"):
        machine.step("rows", portion=0)
    machine.step("abort", error={"Error": "AccountRefused", "Cause": ""})
    assert site.schemas() == {site.name}


def test_the_loaders_password_lies_nowhere(on_mariadb: RestoreMachine) -> None:
    site = on_mariadb.site
    on_mariadb.begin()
    on_mariadb.load_rows()
    run_id = on_mariadb.told["run_id"]
    endpoint = accounts.lasting_loader(
        replace(site.server.endpoint(site.name), password=_password(site)), None, run_id
    )
    with closing(connect(endpoint, database=staging(site))):
        pass  # it is that one
    store: ObjectStore = site.store
    for entry in store.entries("acme/prd/runs/"):
        assert endpoint.password.get_secret_value().encode() not in store.get(entry.key).body
    assert endpoint.password.get_secret_value() not in str(on_mariadb.told)


def _password(site: JobSite) -> SecretStr:
    return SecretStr(site.env["LCP_MASTER_USER_PASSWORD"])


def test_the_progress_is_no_table_of_the_site(on_mariadb: RestoreMachine) -> None:
    site = on_mariadb.site
    on_mariadb.begin()
    on_mariadb.load_rows()
    assert progress_table(site)
    on_mariadb.build_indexes()
    on_mariadb.step("load")
    with pytest.raises(ValueError, match="not enough values"):
        progress_table(site)


def test_a_server_that_takes_no_rows_as_data_is_loaded_by_statements(
    on_mariadb: RestoreMachine,
) -> None:
    site = on_mariadb.site
    before = site.fingerprint()
    site.server.execute("SET GLOBAL local_infile = 0")
    try:
        on_mariadb.begin()
        on_mariadb.execute()
    finally:
        site.server.execute("SET GLOBAL local_infile = 1")
    assert before.differences(site.fingerprint()) == []
    run = site.catalog.runs.get(on_mariadb.told["run_id"])
    assert [it.code for it in run.warnings] == ["rows-as-statements"]


def test_nobody_can_know_the_name_of_the_table_in_which_the_progress_is_kept(
    on_mariadb: RestoreMachine,
) -> None:
    site = on_mariadb.site
    with site.connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {staging(site)}")
        names = {LoadProgress.create(connection, staging(site)).table for _ in range(3)}
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {staging(site)}")
    assert len(names) == 3
    assert all(len(name) >= 32 for name in names)
