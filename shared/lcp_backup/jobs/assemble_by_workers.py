"""An assembly that several functions work on, each step of it an invocation of its own.

    piece (by many) --> join

The assemble function has cut what is wanted into portions (jobs/assemble_fan_out.py). Each worker
makes a *piece* of the archive of one, an object of its own below the run's id; the last step has S3
put them one behind the other. The state machine (functions/assemble/assemble.asl.json) says what
comes next, and when a step is tried again. What a worker has made counts from the moment that it is
said, which happens once: of an attempt that was given up and lives on nothing is used. `abort` ends
what failed, for the reason of the worker that failed last.
"""

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Literal

from lcp_backup.archive import tar
from lcp_backup.archive.deflate import member
from lcp_backup.archive.streams import Nowhere
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import REQUEST, RunWork
from lcp_backup.document import Document, read_document
from lcp_backup.errors import (
    ArchiveDamaged,
    Conflict,
    ObjectNotFound,
    PreconditionFailed,
    RunIsOver,
    StorageError,
    UnknownFormat,
)
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.archives import THREADS
from lcp_backup.jobs.assemble_fan_out import SharedAssembly
from lcp_backup.jobs.handing_out import check_portion, forget
from lcp_backup.jobs.portion_slices import slice_left
from lcp_backup.jobs.shared_run import SharedRun, why_it_failed
from lcp_backup.jobs.stored_backup import StoredBackup, published
from lcp_backup.steps import AssembleStepRequest
from lcp_backup.telemetry import Telemetry
from lcp_backup.volume.carry import carry
from lcp_backup.volume.slices import Slice
from lcp_backup.volume.wanted import WantedMembers

_MADE: Final = "made-"
_PIECE: Final = "piece-"
_JOINED_AT_ONCE: Final = 32
"""Parts that S3 is asked to copy side by side; none of them is in memory here."""


class Piece(Document):
    """What was made of a portion."""

    format: Literal[1] = 1
    attempt: str
    """Is in the name of its object."""
    size: int
    """Bytes of that."""
    etag: str
    """S3's tag of it: nothing else is joined, whoever put it there."""


def work_on_assembly(
    request: AssembleStepRequest, *, catalog: Catalog, telemetry: Telemetry, timing: RunTiming
) -> dict[str, Any]:
    """Does one step; each may be asked for twice, also while the first is still at work on it.

    Raises what an assembly raises, which the run's record will tell if the state machine gives up;
    RunIsOver for a step that comes late.
    """
    work = catalog.work.of(request.run_id)
    stored = SharedRun(catalog, request.run_id)
    if request.step == "abort":
        _abort(request, work, stored, telemetry, timing)
        return {}
    with ActiveRun(stored, telemetry, timing) as run:
        assembly = _Assembly(run, work, catalog)
        if request.step == "piece":
            assembly.make_piece(request.portion)
            run.hand_over()
            return {}
        run.set_result(bytes=assembly.join())
        stored.settle()
    if not stored.has_ended_it:
        # Tried again it finds the archive; and else cleanup would tell that the run had died.
        raise StorageError(f"the end of run {request.run_id} could not be written into its record")
    forget(work)
    return {}


def _abort(
    request: AssembleStepRequest,
    work: RunWork,
    stored: SharedRun,
    telemetry: Telemetry,
    timing: RunTiming,
) -> None:
    """Ends the run as failed, where it has not ended."""
    reason = why_it_failed(work, request.error)
    try:
        with ActiveRun(stored, telemetry, timing):
            stored.settle()
            stored.end_as(reason)
    except RunIsOver:
        pass
    forget(work)


class _Assembly:
    """What a step works with."""

    def __init__(self, run: ActiveRun, work: RunWork, catalog: Catalog) -> None:
        self._run = run
        self._work = work
        self._catalog = catalog
        found = work.get(REQUEST)
        self._shared = read_document(SharedAssembly, found, f"request of run {run.id}")
        self._manifest = published(catalog, self._shared.backup_id, self._shared.backup_run_id)

    # --- a worker -------------------------------------------------------------

    def make_piece(self, number: int) -> None:
        """Makes what a portion has of the archive, unless that was done."""
        if not self._shared.portions and not number:
            return  # the one item of a Map that has none
        check_portion(number, len(self._shared.portions))
        if self._made(number) is not None:
            return
        own = self._slice(number)
        backup = StoredBackup(self._catalog, self._manifest)
        archive = backup.open_volume_of(own.archive)
        wanted = WantedMembers(own.places(own.first))
        segments = [it for it in own.segments if it in wanted]
        attempt = secrets.token_hex(8)
        sink = self._work.writer(_piece(number, attempt))
        with ArchiveWriter(
            sink,
            Nowhere(),
            name=self._shared.name,
            index_name="",
            threads=THREADS,
        ) as writer:
            carry(
                writer,
                wanted,
                lambda: iter(segments),
                lambda _: archive,
                threads=THREADS,
                check=self._run.check,
                # (In a slice all lies in one archive.)
                unsure=() if backup.is_as_recorded(own.archive, archive) else {0},
            )
            written = writer.finish()
        assert sink.etag is not None, "it is complete"
        piece = Piece(attempt=attempt, size=written.size, etag=sink.etag)
        self._run.progress_of("volume")(written.raw_size)
        self._work.put_new(f"{_MADE}{number}", piece.model_dump_json().encode())

    def _made(self, number: int) -> Piece | None:
        found = self._work.find(f"{_MADE}{number}")
        return None if found is None else read_document(Piece, found, f"piece {number}")

    def _slice(self, number: int) -> Slice:
        try:
            return slice_left(self._work, self._shared.slices[number])
        except (ArchiveDamaged, UnknownFormat) as error:
            raise Conflict(
                f"what run {self._run.id} keeps of the index is not what it left there: download"
                " it once more"
            ) from error

    # --- the end --------------------------------------------------------------

    def join(self) -> int:
        """Has S3 make one object of all pieces; its bytes. Nothing is to do where it lies there."""
        name, downloads = self._shared.name, self._catalog.downloads
        if (found := downloads.find(name)) is not None:
            return found.size
        pieces = self._open_pieces()
        writer = downloads.writer(name, threads=_JOINED_AT_ONCE)
        try:
            for piece in pieces:
                self._run.check()
                writer.append(piece, 0, piece.size)
            writer.write(member(tar.END))
            writer.complete()
        except (PreconditionFailed, ObjectNotFound):
            if (found := downloads.find(name)) is not None:
                return found.size
            # S3 copies a piece only as it was opened. Which one is another since then, this tells.
            self._open_pieces()
            raise
        finally:
            writer.abort()
        return sum(piece.size for piece in pieces) + len(member(tar.END))

    def _open_pieces(self) -> list[ObjectReader]:
        """In the order of the archive; raises Conflict where one is not there as it was made."""
        with ThreadPoolExecutor(_JOINED_AT_ONCE) as pool:
            return list(pool.map(self._open_piece, self._shared.in_order()))

    def _open_piece(self, number: int) -> ObjectReader:
        made = self._made(number)
        if made is not None:
            with suppress(ObjectNotFound):
                found = self._work.open(_piece(number, made.attempt))
                if (found.size, found.etag) == (made.size, made.etag):
                    return found
        raise Conflict(
            f"piece {number} of run {self._run.id} is not there as it was made: download it once"
            " more"
        )


def _piece(number: int, attempt: str) -> str:
    return f"{_PIECE}{number}/{attempt}"
