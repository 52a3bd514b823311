"""A load by workers of dumps, and on servers, that are not as one would expect."""

from pathlib import Path

import pytest

from tests.support.job_site import JobSite
from tests.support.large_table import backed_up, indexes, progress_table
from tests.support.restore_machine import RestoreMachine


def test_an_index_that_is_there_from_the_beginning_is_not_taken_for_those_that_come_later(
    mariadb_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As VECTOR KEY of MariaDB 11.7 is, or whatever else a definition is not taken apart by."""
    mariadb_site.wrap_dump(
        tmp_path / "bin", 'exec "$REAL" "$@" | sed "s/UNIQUE KEY .by_both./CONSTRAINT by_both &/"'
    )
    machine = RestoreMachine(backed_up(mariadb_site), monkeypatch)
    site = machine.site
    before = site.fingerprint()
    machine.begin()
    machine.step("tables")
    assert indexes(site) == {"PRIMARY", "by_both"}
    machine.execute()
    assert before.differences(site.fingerprint()) == []


def test_a_dump_whose_stored_code_leaves_the_session_changed_is_loaded_by_one_function(
    mariadb_site: JobSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mariadb_site.wrap_dump(
        tmp_path / "bin", 'exec "$REAL" "$@" | grep -v "SET sql_mode *= @saved_sql_mode"'
    )
    machine = RestoreMachine(backed_up(mariadb_site), monkeypatch)
    site = machine.site
    before = site.fingerprint()
    machine.begin()
    machine.execute()
    assert before.differences(site.fingerprint()) == []
    assert site.schemas() == {site.name}


def test_a_piece_that_is_not_committed_does_not_count_whatever_the_server_lets_be_seen(
    job_site: JobSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = RestoreMachine(backed_up(job_site), monkeypatch)
    site = machine.site
    before = site.fingerprint()
    site.server.execute("SET GLOBAL TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    try:
        machine.begin()
        machine.step("tables")
        with site.connect() as other, other.cursor() as cursor:
            other.begin()
            cursor.execute(f"INSERT INTO {progress_table(site)} (piece) VALUES (4000000000)")
            machine.load_rows()
            machine.build_indexes()
            other.rollback()
        machine.step("load")
    finally:
        site.server.execute("SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    machine.unpack()
    machine.step("swap")
    assert before.differences(site.fingerprint()) == []
