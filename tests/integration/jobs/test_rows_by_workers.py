"""Rows that several functions load: the same promises, be it for a restore or for a proof."""

from collections.abc import Iterator
from typing import Any

import pytest

from lcp_backup.database import shared_load
from lcp_backup.database.piece_load import Inserted, PieceLoad
from lcp_backup.errors import ServerGaveUp
from lcp_backup.jobs import load_by_workers
from lcp_backup.jobs.database_proof import DatabaseProof
from lcp_backup.jobs.staged_site import SiteStaging
from lcp_backup.model import RunState
from tests.support.frozen_worker import Frozen, load_rows_beside
from tests.support.job_site import JobSite
from tests.support.large_table import backed_up
from tests.support.load_machine import LoadMachine
from tests.support.restore_machine import RestoreMachine
from tests.support.verify_machine import VerifyMachine


@pytest.fixture(params=[RestoreMachine, VerifyMachine])
def machine(
    mariadb_site: JobSite, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[LoadMachine]:
    """Of each kind in turn. No function loads the whole instead."""

    def alone(*_: object) -> None:
        raise AssertionError("one function loads the whole database")

    monkeypatch.setattr(SiteStaging, "load", alone)
    monkeypatch.setattr(DatabaseProof, "prove", alone)
    machine: LoadMachine = request.param(backed_up(mariadb_site), monkeypatch)
    before = mariadb_site.fingerprint()
    yield machine
    assert before.differences(mariadb_site.fingerprint()) == []
    machine.end()


def test_a_worker_that_froze_in_a_piece_holds_nobody_up_for_long(
    machine: LoadMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.begin()
    machine.step("tables")
    monkeypatch.setattr(shared_load, "_SILENCE_SECONDS", 2)
    frozen = Frozen(machine, monkeypatch)
    load_rows_beside(machine)
    assert isinstance(frozen.thaw(), ServerGaveUp), "its connection is gone with what it began"
    assert machine.finish().state is RunState.SUCCEEDED


def test_a_portion_is_gone_on_with_where_the_last_invocation_stopped(
    machine: LoadMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_by_workers, "PORTIONS_OF_WORKER", 1)
    machine.begin()
    machine.step("tables")
    monkeypatch.setattr(load_by_workers, "end_of_stretch", lambda _: lambda: True)
    inserted: list[str | None] = []
    insert_rows = PieceLoad.insert_rows

    def counting(self: PieceLoad, piece: Any, *more: Any) -> Inserted:
        inserted.append(piece.of)
        return insert_rows(self, piece, *more)

    monkeypatch.setattr(PieceLoad, "insert_rows", counting)
    calls = 0
    for portion in machine.items("items-rows"):
        done = False
        while not done:
            calls += 1
            done = machine.step("rows", portion=portion)["done"]
    assert len(inserted) == len(set(inserted)) == calls > len(machine.items("items-rows"))
    assert machine.finish().state is RunState.SUCCEEDED
