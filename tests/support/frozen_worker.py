"""A worker that loads rows, and stops in the middle of it as a frozen process does."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from lcp_backup.database.piece_load import Inserted, PieceLoad
from lcp_backup.database.session import Session
from lcp_backup.errors import BackupError, ServerGaveUp
from tests.support.load_machine import LoadMachine


class Frozen:
    """A worker that goes no further than into the transaction of its first piece, until it thaws.

    Nobody else froze: what it holds, it holds.
    """

    def __init__(self, machine: LoadMachine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._machine = machine
        self._is_frozen, self._thaws = threading.Event(), threading.Event()
        self._ended: list[BaseException] = []
        insert_rows = PieceLoad.insert_rows

        def freezes(
            load: PieceLoad, piece: Any, session: Session, begin: Callable[[], None]
        ) -> Inserted:
            if self._is_frozen.is_set():
                return insert_rows(load, piece, session, begin)
            begin()
            self._is_frozen.set()
            self._thaws.wait()
            return insert_rows(load, piece, session)

        monkeypatch.setattr(PieceLoad, "insert_rows", freezes)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        self._is_frozen.wait()

    def _work(self) -> None:
        try:
            self._machine.step("rows", portion=0)
        except BackupError as error:
            self._ended.append(error)

    def thaw(self) -> BaseException:
        """Answers how it ends."""
        self._thaws.set()
        self._thread.join()
        (error,) = self._ended
        return error


def load_rows_beside(machine: LoadMachine) -> None:
    """All rows, each portion as often as the state machine would ask for it.

    (Where the server ends silent connections after two seconds, it may be one that only waited.)
    """
    for portion in machine.items("items-rows"):
        for _ in range(5):
            with suppress(ServerGaveUp):
                assert machine.step("rows", portion=portion) == {"done": True}
                break
        else:
            pytest.fail(f"portion {portion} cannot be loaded")
