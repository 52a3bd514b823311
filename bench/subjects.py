"""Everything that is measured, by the name it is asked for with; a new subject is added here."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench import (
    database,
    delayed,
    first_view,
    increments,
    lists,
    memory,
    scale_held,
    shared_load,
    shared_restore,
    shared_volume,
    transfers,
    verification,
    volume,
)
from bench.lines import Line, Measured


class Subject(NamedTuple):
    """The lines that it prints, in their order, and what measures them."""

    lines: Sequence[Line]
    measure: Callable[[Path, int], Sequence[Measured]]
    """Gets an empty folder on a disk, and the number of rounds. May raise ProgramMissing."""


SUBJECTS: Final[Mapping[str, Subject]] = {
    "volume": Subject(volume.LINES, volume.volume_archive),
    "workers": Subject(shared_volume.LINES, shared_volume.shared_volume),
    "unpacking": Subject(shared_restore.LINES, shared_restore.shared_restore),
    "increments": Subject(increments.LINES, increments.increments),
    "delayed": Subject(delayed.LINES, delayed.slow_file_system),
    "database": Subject(database.ARCHIVE_LINES, database.database_archive),
    "restore": Subject(database.RESTORE_LINES, database.database_restore),
    "loading": Subject(shared_load.LINES, shared_load.shared_load),
    "memory": Subject(memory.LINES, memory.peak_memory),
    "verification": Subject(verification.LINES, verification.verification),
    "scale": Subject(scale_held.LINES, scale_held.predictions),
    "console": Subject(first_view.LINES, first_view.first_view),
    "transfers": Subject(transfers.LINES, transfers.transfers),
    "lists": Subject(lists.LINES, lists.pages),
}
