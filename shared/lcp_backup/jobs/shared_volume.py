"""The volume of a backup that several workers make: shared out, packed side by side, joined.

    plan --> a worker for each share: stretch, stretch, ... --> join

All that one of these steps leaves to the next lies below the run's id. What a stretch has done
counts from the moment that its own small object is written, which happens once: an attempt that was
given up and lives on finds it there, and changes nothing.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime

from lcp_backup.archive.index import IndexReader
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.aws.s3_parts import FIRST_PART_SIZE, MAX_PARTS
from lcp_backup.aws.s3_shared import PartsWriter, SentPart, SharedMultipart
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.keys import archive_name, index_name
from lcp_backup.catalog.work import RunWork
from lcp_backup.document import Document, read_document
from lcp_backup.errors import NotFound, StorageError
from lcp_backup.exclusion import PathPatterns
from lcp_backup.history import Plan
from lcp_backup.jobs.archives import THREADS
from lcp_backup.jobs.increment import Increment, open_increment, open_index, told_plainly
from lcp_backup.model import ArchiveKind, Manifest, Notice, VolumeFacts, VolumeSource
from lcp_backup.volume.packing import Packed
from lcp_backup.volume.share import Boundary, looked_at_again, pack_share
from lcp_backup.volume.shares import Survey, survey

LEAST_SHARE: Final = 64 << 20
"""Raw bytes below which a share is not worth a worker of its own."""
KEPT_FOR_JOIN: Final = 2
"""Of each share's part numbers, those by which the ends of shares are sent once all are there."""
_PLAN: Final = "plan"
_SURVEY: Final = "survey"
"""How far the folder was looked through for the plan."""
_PART_THREADS: Final = 4
_VOLUME: Final = archive_name(ArchiveKind.VOLUME)


class ChosenBase(Document):
    """What the folder is compared with, the same for all workers."""

    backup_id: str
    is_unfinished: bool
    kept: tuple[VolumeSource, ...]


class SharedPlan(Document):
    """How the volume is shared out."""

    format: Literal[1] = 1
    token: str
    """Is in the names of all that belongs to this plan, and is what the archive is known by."""
    multipart_id: str
    began: AwareDatetime
    boundaries: tuple[Boundary, ...]
    part_size: int
    base: ChosenBase | None
    notices: tuple[Notice, ...]

    @property
    def shares(self) -> int:
        """How many there are, counted from 0."""
        return len(self.boundaries) + 1

    def start(self, share: int) -> Boundary | None:
        """Where a share begins."""
        return self.boundaries[share - 1] if share else None

    def end(self, share: int) -> Boundary | None:
        """Where it ends."""
        return self.boundaries[share] if share < len(self.boundaries) else None

    def numbers(self, share: int) -> range:
        """Those of a share's parts; the last few are for who joins the shares."""
        each = MAX_PARTS // self.shares
        return range(share * each + 1, (share + 1) * each + 1)


class Cuts(Document):
    """Where a plan cuts the folder, as it was looked at last before anything was packed."""

    format: Literal[1] = 1
    attempt: str
    boundaries: tuple[Boundary, ...]


class Stretch(Document):
    """What a worker has done of its share, from the stretch before up to some boundary."""

    format: Literal[1] = 1
    attempt: str
    """Is in the names of what belongs to it: its own index, and the bytes that are in no part."""
    index_etag: str
    """S3's tag of that index: another one is not read, whoever put it there."""
    rest_sha256: str
    """Of those bytes, likewise."""
    reached: Boundary | None
    """Where it stopped; None when the share is done."""
    leading: int
    """As of PackedShare."""
    parts: tuple[SentPart, ...]
    size: int
    raw_size: int
    facts: VolumeFacts
    notices: tuple[Notice, ...]
    notices_left_out: int
    losses: int
    lost: tuple[Notice, ...]
    left_out: int
    read_size: int

    @property
    def packed(self) -> Packed:
        """What it packed."""
        return Packed(
            self.facts,
            self.notices,
            self.notices_left_out,
            self.losses,
            self.lost,
            self.left_out,
            self.read_size,
        )


class SharedVolume:
    """The volume of one backup, below an id that is not published, and what its workers leave.

    What somebody else put in its place raises StorageError. Arguments: `work` is the run's.
    """

    def __init__(self, catalog: Catalog, work: RunWork, backup_id: str) -> None:
        self.catalog = catalog
        self._work = work
        self.backup_id = backup_id

    # --- the plan -------------------------------------------------------------

    def surveyed(self) -> Survey | None:
        """How far the folder was looked through for the plan; None when nobody has begun."""
        body = self._work.find(_SURVEY)
        if body is None:
            return None
        return read_document(Survey, body, f"survey of run {self._work.run_id}")

    def share_out(
        self,
        folder: Path,
        before: Survey | None,
        *,
        whole: bool,
        workers: int,
        least_size: int,
        leave_out: PathPatterns,
        began: datetime,
        threads: int,
        check: Callable[[], None],
        is_over: Callable[[], bool],
    ) -> SharedPlan | Survey:
        """Decides who packs what, and opens the multipart that all of them write.

        Once it is over it stops looking through the folder, answers how far it came, and is called
        again. Nothing is carried over from older archives: what would be is read from the folder.

        Arguments: `before` is what `surveyed` answers; `workers` and `least_size` are as of
        `Survey.shares`, the others as of `store_volume` and `survey`. Raises as these do.
        """
        with open_increment(self.catalog, whole=whole, unusable=(), carries=False) as increment:
            found = survey(
                folder,
                increment.base(),
                before,
                leave_out=leave_out,
                began=began,
                threads=threads,
                check=check,
                is_over=is_over,
            )
            if found.reached is not None:
                # (Each is right by itself: of two attempts at once, one looked in vain.)
                self._work.put(_SURVEY, found.model_dump_json().encode())
                return found
            shares = found.shares(most=workers, least_size=least_size)
            token = secrets.token_hex(8)
            plan = SharedPlan(
                token=token,
                multipart_id=self.catalog.backups.start_shared(
                    self.backup_id, ArchiveKind.VOLUME, token
                ),
                began=began,
                boundaries=shares.boundaries,
                part_size=_part_size(shares.size, len(shares.boundaries) + 1),
                base=_chosen(increment),
                notices=increment.notices,
            )
        self._work.put(_PLAN, plan.model_dump_json().encode())
        return plan

    def plan(self) -> SharedPlan:
        """What was decided; raises ObjectNotFound."""
        plan = self._read_plan(self._work.get(_PLAN))
        body = self._work.find(_cuts(plan))
        if body is None:
            return plan
        cuts = read_document(Cuts, body, f"cuts of run {self._work.run_id}")
        return plan.model_copy(update={"boundaries": cuts.boundaries})

    def look_again(self, folder: Path) -> None:
        """Has the plan's cuts inside of files be of these files as they are now.

        Once, before anybody packs: all workers must have the same ones. Files may have changed
        since the plan came by, which may be long ago. Raises as `plan`.
        """
        plan = self.plan()
        boundaries = tuple(looked_at_again(plan.boundaries, folder, plan.began))
        cuts = Cuts(attempt=secrets.token_hex(8), boundaries=boundaries)
        self._work.put_new(_cuts(plan), cuts.model_dump_json().encode())

    def abort(self) -> None:
        """Ends the multipart, and with it whatever a worker may still send."""
        body = self._work.find(_PLAN)
        if body is not None:
            plan = self._read_plan(body)
            self.multipart(plan).abort(plan.multipart_id)

    def _read_plan(self, body: bytes) -> SharedPlan:
        return read_document(SharedPlan, body, f"plan of run {self._work.run_id}")

    def multipart(self, plan: SharedPlan) -> SharedMultipart:
        """What all workers write."""
        return self.catalog.backups.shared_archive(self.backup_id, ArchiveKind.VOLUME, plan.token)

    # --- a worker -------------------------------------------------------------

    def pack(
        self,
        plan: SharedPlan,
        share: int,
        folder: Path,
        *,
        leave_out: PathPatterns,
        threads: int,
        progress: Callable[[int], None],
        check: Callable[[], None],
        is_over: Callable[[], bool],
    ) -> bool:
        """Packs the next stretch of a share; whether the share is done.

        Once it is over it stops in good order, and is called again. Arguments are as of
        `pack_share`. Raises as that does, StorageError, and NotFound when the base is gone.
        """
        done = self.stretches(plan, share)
        last = done[-1] if done else None
        if last is not None and last.reached is None:
            return True
        attempt = secrets.token_hex(8)
        numbers = plan.numbers(share)
        sink = PartsWriter(
            self.multipart(plan),
            plan.multipart_id,
            numbers[:-KEPT_FOR_JOIN],
            first=numbers.start + sum(len(stretch.parts) for stretch in done),
            part_size=plan.part_size,
            before=self.rest(share, last) if last else b"",
            threads=_PART_THREADS,
        )
        index_sink = self._work.writer(_of("index", share, attempt))
        with (
            reopened(self.catalog, plan) as increment,
            ArchiveWriter(
                sink,
                index_sink,
                name=_VOLUME,
                index_name=index_name(ArchiveKind.VOLUME),
                threads=THREADS,
                sources=increment.sources,
            ) as writer,
        ):
            packed = pack_share(
                folder,
                writer,
                start=last.reached if last else plan.start(share),
                end=plan.end(share),
                base=increment.base(),
                leave_out=leave_out,
                began=plan.began,
                threads=threads,
                progress=progress,
                check=check,
                is_over=is_over,
            )
            written = writer.finish()
        self._work.put(_of("rest", share, attempt), sink.rest)
        told = packed.packed._asdict()
        told.pop("reached_size")
        assert index_sink.etag is not None, "it is complete"
        stretch = Stretch(
            attempt=attempt,
            index_etag=index_sink.etag,
            rest_sha256=sha256(sink.rest).hexdigest(),
            reached=packed.reached,
            leading=packed.leading,
            parts=sink.parts,
            size=written.size,
            raw_size=written.raw_size,
            **told,
        )
        is_first = self._work.put_new(
            _stretch(plan, share, len(done)), stretch.model_dump_json().encode()
        )
        return is_first and packed.reached is None

    def stretches(self, plan: SharedPlan, share: int) -> list[Stretch]:
        """What was done of a share, in order."""
        found: list[Stretch] = []
        while (body := self._work.find(_stretch(plan, share, len(found)))) is not None:
            found.append(read_document(Stretch, body, f"stretch of run {self._work.run_id}"))
        return found

    def rest(self, share: int, stretch: Stretch) -> bytes:
        """The bytes behind the last part of a share, when this stretch was done."""
        rest = self._work.get(_of("rest", share, stretch.attempt))
        if sha256(rest).hexdigest() != stretch.rest_sha256:
            raise self._replaced(share)
        return rest

    def index(self, share: int, stretch: Stretch) -> IndexReader:
        """What a stretch has packed."""
        index = self._work.open(_of("index", share, stretch.attempt))
        if index.etag != stretch.index_etag:
            raise self._replaced(share)
        return IndexReader(index, archive_name=_VOLUME)

    def _replaced(self, share: int) -> StorageError:
        return StorageError(
            f"what run {self._work.run_id} keeps of share {share} of the volume is not what its"
            " worker left there: somebody replaced it, so make another backup"
        )


@contextmanager
def reopened(catalog: Catalog, plan: SharedPlan) -> Iterator[Increment]:
    """The volume as it refers to other archives, as it was decided; for as long as the block lasts.

    Raises NotFound when the base is gone.
    """
    chosen = plan.base
    if chosen is None:
        yield Increment(catalog, notices=plan.notices)
        return
    backups = catalog.backups
    find = backups.unfinished if chosen.is_unfinished else backups.find
    last = find(chosen.backup_id)
    if last is None:
        raise NotFound(f"backup {chosen.backup_id} was deleted while another referred to it")
    with open_index(catalog, last) as index, told_plainly(last.id):
        yield Increment(catalog, last, index, Plan(chosen.kept, (), ()), plan.notices)


def _chosen(increment: Increment) -> ChosenBase | None:
    last = increment.last
    if last is None:
        return None
    return ChosenBase(
        backup_id=last.id,
        is_unfinished=not isinstance(last, Manifest),
        kept=increment.kept,
    )


def _part_size(share_size: int, shares: int) -> int:
    """Bytes of the first parts: no more than a share needs, for they wait in memory.

    They double with each quarter of the numbers that is used up. So a share that does not grow is
    sent by the first two quarters, and one that grows to its fivefold still fits.
    """
    each = MAX_PARTS // shares - KEPT_FOR_JOIN
    return max(FIRST_PART_SIZE, 7 * share_size // (5 * each))


def _of(what: str, share: int, attempt: str) -> str:
    return f"{what}/{share}/{attempt}"


def _cuts(plan: SharedPlan) -> str:
    return f"{plan.token}/cuts"


def _stretch(plan: SharedPlan, share: int, number: int) -> str:
    return f"{plan.token}/{share}/{number}"
