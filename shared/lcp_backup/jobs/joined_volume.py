"""The last step of a volume that several workers packed: their shares become one archive."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import chain

from lcp_backup.archive import tar
from lcp_backup.archive.deflate import member
from lcp_backup.archive.index import IndexWriter
from lcp_backup.archive.join import JoinedIndex, grown
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.aws.s3_parts import SMALLEST_PART
from lcp_backup.aws.s3_shared import SentPart, SharedMultipart
from lcp_backup.catalog.keys import archive_name, index_name
from lcp_backup.errors import ObjectNotFound, StorageError, VolumeIncomplete
from lcp_backup.exclusion import PathPatterns
from lcp_backup.jobs.increment import Increment
from lcp_backup.jobs.new_volume import NewVolume
from lcp_backup.jobs.shared_volume import (
    KEPT_FOR_JOIN,
    SharedPlan,
    SharedVolume,
    Stretch,
    reopened,
)
from lcp_backup.jobs.volume_loss import check_for_loss
from lcp_backup.model import Archive, ArchiveKind
from lcp_backup.volume.base import Base
from lcp_backup.volume.names import quoted
from lcp_backup.volume.packing import added_up

_NAME = archive_name(ArchiveKind.VOLUME)
_MOST_WAITING = 4 * SMALLEST_PART
"""Bytes of small shares that wait for a part."""
_READ_AT_ONCE = 8 << 20


def join_volume(
    volume: SharedVolume,
    *,
    leave_out: PathPatterns,
    shrink_limit: int,
    check: Callable[[], None],
) -> NewVolume:
    """Makes one archive of the shares, once all are done, and writes its index.

    May be called again after it was killed: what it has done is found done, or done anew.

    Args:
        leave_out: what of the folder was left out.
        shrink_limit: as of `check_for_loss`.
        check: called often; what it raises ends the work.

    Raises VolumeIncomplete, also when a file became a folder between two stretches; StorageError,
    and what check raises.
    """
    plan = volume.plan()
    shares = [volume.stretches(plan, share) for share in range(plan.shares)]
    packed = added_up([stretch.packed for stretch in chain.from_iterable(shares)])
    notices = check_for_loss(packed, volume.catalog, shrink_limit, leave_out.patterns)
    joining = _Joining(volume, plan, shares, check)
    with reopened(volume.catalog, plan) as increment:
        archive = joining.join(increment)
        sources = increment.referred()
    told = (*plan.notices, *notices)
    return NewVolume(archive, sources, packed, told, None, leave_out.patterns)


class _Joining:
    """The shares of one volume on their way into one archive."""

    def __init__(
        self,
        volume: SharedVolume,
        plan: SharedPlan,
        shares: list[list[Stretch]],
        check: Callable[[], None],
    ) -> None:
        self._volume = volume
        self._plan = plan
        self._shares = shares
        self._check = check
        self._first: Segment | None = None
        """What the archive's first segment has become, where it had to be grown."""
        self._end = member(tar.END)

    def join(self, increment: Increment) -> Archive:
        backups, backup_id = self._volume.catalog.backups, self._volume.backup_id
        shared = self._volume.multipart(self._plan)
        is_complete = shared.is_complete()
        parts = list(self._parts(None if is_complete else shared))
        sink = backups.index_writer(backup_id, ArchiveKind.VOLUME)
        try:
            index = IndexWriter(sink, _NAME, increment.sources)
            joined = self._write_index(index, increment)
            index_sha256 = index.end(archive_size=joined.size, raw_size=joined.raw_size)
            if not is_complete:
                shared.complete(self._plan.multipart_id, parts)
            found = backups.open(backup_id, _NAME)
            if found.size != joined.size:
                raise StorageError(
                    f"{_NAME} of backup {backup_id} has {found.size} bytes in S3, and its"
                    f" shares have {joined.size}"
                )
            # (One that an earlier attempt wrote is the same, and that one may be about to publish.)
            if not self._is_index_there(index.size, index_sha256):
                backups.clear_index(backup_id, ArchiveKind.VOLUME)
                sink.complete()
        finally:
            sink.abort()
        return Archive(
            name=_NAME,
            size=joined.size,
            raw_size=joined.raw_size,
            sha256=None,
            segments_sha256=index.segments_sha256,
            writers=self._plan.shares,
            segments=index.segments,
            index_name=index_name(ArchiveKind.VOLUME),
            index_size=index.size,
            index_sha256=index_sha256,
        )

    def _is_index_there(self, size: int, sha256_of_it: str) -> bool:
        backups, backup_id = self._volume.catalog.backups, self._volume.backup_id
        try:
            found = backups.open(backup_id, index_name(ArchiveKind.VOLUME))
        except ObjectNotFound:
            return False
        digest = sha256()
        for offset in range(0, found.size if found.size == size else 0, _READ_AT_ONCE):
            self._check()
            digest.update(found.read(offset, min(_READ_AT_ONCE, size - offset)))
        return digest.hexdigest() == sha256_of_it

    def _parts(self, shared: SharedMultipart | None) -> Iterator[SentPart]:
        """All parts in their order; those that are made of what the workers held back are sent.

        Where the multipart is complete already, nothing is, but all else is found out again.
        """
        waiting = bytearray()

        def send(number: int, count: int) -> Iterator[SentPart]:
            body = bytes(waiting[:count])
            del waiting[:count]
            if shared is not None and body:
                yield shared.send(self._plan.multipart_id, number, body)

        for share, stretches in enumerate(self._shares):
            self._check()
            sent = [part for stretch in stretches for part in stretch.parts]
            if sent:
                if 0 < len(waiting) < SMALLEST_PART:
                    self._grow(waiting)
                yield from send(self._plan.numbers(share).start - 1, len(waiting))
                yield from sent
            if stretches:
                waiting += self._volume.rest(share, stretches[-1])
            if len(waiting) >= _MOST_WAITING:
                number = self._plan.numbers(share)[-KEPT_FOR_JOIN]
                yield from send(number, len(waiting) - SMALLEST_PART)
        waiting += self._end
        yield from send(self._plan.numbers(self._plan.shares - 1)[-1], len(waiting))

    def _grow(self, waiting: bytearray) -> None:
        """Makes the beginning of the archive long enough for a part.

        Further on there always is enough: a worker that has sent a part holds as much back.
        """
        for share, stretches in enumerate(self._shares):
            for stretch in stretches:
                first = next(self._volume.index(share, stretch).segments(), None)
                if first is not None:
                    lacking = SMALLEST_PART - len(waiting)
                    self._first, body = grown(first, bytes(waiting[: first.size]), lacking)
                    waiting[: first.size] = body
                    return

    def _write_index(self, index: IndexWriter, increment: Increment) -> JoinedIndex:
        joined = JoinedIndex(index, _listed(increment.base()))
        for share, stretches in enumerate(self._shares):
            for stretch in stretches:
                self._check()
                first = self._first if index.segments == 0 else None
                reader = self._volume.index(share, stretch)
                joined.add(reader, leading=stretch.leading, first=first)
        joined.finish()
        joined.add_segment(
            Segment(
                offset=0,
                size=len(self._end),
                raw_size=len(tar.END),
                sha256=sha256(self._end).hexdigest(),
            )
        )
        for segment in increment.segments():
            index.add(segment)
        return joined


def _listed(base: Base | None) -> Callable[[IndexedMember], None]:
    """Looks at each member when it is listed, and tells the base."""
    last: IndexedMember | None = None

    def listed(member: IndexedMember) -> None:
        nonlocal last
        # (In the order of names, nothing comes between a folder and what it holds.)
        if (
            last is not None
            and last.type != "folder"
            and member.name.startswith(last.name)
            and member.name.startswith("/", len(last.name))
        ):
            raise VolumeIncomplete(
                f"{quoted(last.name)} was no folder when one worker packed it, and one when another"
                " packed what it holds: no restore could make both; make another backup"
            )
        last = member
        if base is not None:
            base.refer(member)

    return listed
