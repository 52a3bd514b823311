"""What a new volume takes over from the last backup instead of reading and storing it again."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType

from lcp_backup.archive.index import IndexReader, read_members
from lcp_backup.archive.local_copy import read_again
from lcp_backup.archive.read import OpenArchive, read_segments_of
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.streams import RangeSource
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.unfinished import Unfinished
from lcp_backup.errors import (
    ArchiveDamaged,
    ObjectNotFound,
    UnknownFormat,
)
from lcp_backup.exclusion import PathPatterns
from lcp_backup.history import BaseVolume, Found, Plan, plan
from lcp_backup.jobs.archives import THREADS
from lcp_backup.jobs.bases import bases, missing, not_whole, stored_whole
from lcp_backup.model import Manifest, Notice, VolumeSource
from lcp_backup.volume.base import Base
from lcp_backup.volume.carry import Moved, carry
from lcp_backup.volume.unchanged import unchanged
from lcp_backup.volume.wanted import WantedMembers

_ASKED_AT_ONCE = 16
_NOTHING = Plan((), (), ())


class SourceUnusable(Exception):
    """What was to be carried over is gone or damaged: it has to be read from the folder.

    Arguments: `backup_ids` are the sources that it lay in.
    """

    def __init__(self, backup_ids: Collection[str]) -> None:
        super().__init__(*backup_ids)
        self.backup_ids = backup_ids


class IndexUnusable(Exception):
    """The index of the base says what no index says, although it is what its manifest names.

    Arguments: `backup_id` is the base's.
    """

    def __init__(self, backup_id: str, reason: str) -> None:
        super().__init__(backup_id, reason)
        self.backup_id = backup_id
        self.reason = reason


@contextmanager
def told_plainly(base_id: str) -> Iterator[None]:
    """Where nobody begins anew: raises ArchiveDamaged for a base that turns out to be unusable."""
    try:
        yield
    except (IndexUnusable, SourceUnusable) as error:
        reason = error.reason if isinstance(error, IndexUnusable) else "it lacks segments"
        raise ArchiveDamaged(
            f"the last backup, {base_id}, cannot be compared with the folder, because its index is"
            f" wrong ({reason}): delete that backup, and nothing is compared with it any more"
        ) from error


class Increment:
    """A new volume as it refers to archives of other backups, or takes over what lies in them.

    Args:
        catalog: holds them.
        last: the base; None when everything is stored.
        index: a copy of its index.
        chosen: what is done with the archives it reads.
        notices: what a reader of the new backup should know.
    """

    def __init__(
        self,
        catalog: Catalog,
        last: BaseVolume | None = None,
        index: RangeSource | None = None,
        chosen: Plan = _NOTHING,
        notices: tuple[Notice, ...] = (),
    ) -> None:
        self._catalog = catalog
        self._last = last
        self._index = index
        self._plan = chosen
        self.notices = notices
        self.sources = tuple(source.backup_id for source in chosen.kept)
        """The backups that the new index may name; it counts them from 1."""
        self._moved = Moved()
        self._base: Base | None = None
        self._opened = cache(self._open)

    @property
    def last(self) -> BaseVolume | None:
        """The base."""
        return self._last

    @property
    def kept(self) -> tuple[VolumeSource, ...]:
        """The sources, in their order, with what was live in them in the base."""
        return self._plan.kept

    def carry(
        self,
        writer: ArchiveWriter,
        folder: Path | None,
        leave_out: PathPatterns,
        threads: int,
        check: Callable[[], None],
    ) -> None:
        """Takes over what is live in the archives that are not to be referred to.

        Args:
            writer: of the new volume; nothing was packed yet.
            folder: given, only files that are unchanged in it are taken over, so that the new
                archive holds nothing else than the folder does.
            leave_out: what is not taken over, though it lies there.
            threads: as of `scan`.
            check: called often; what it raises ends the work.

        Raises SourceUnusable, which names those that are gone or damaged.
        """
        if not self._plan.carried or self._last is None:
            return
        numbers = self._numbers(source.backup_id for source in self._plan.carried)

        def members() -> Iterator[IndexedMember]:
            return (
                it
                for it in self._members()
                if it.type == "file"
                and it.source in numbers
                and not leave_out.cover(it.name, folder=False)
            )

        if folder is None:
            wanted = WantedMembers(members())
        else:
            same = {number: number for number in numbers}
            found = unchanged(
                folder,
                Base(members, same, Moved()),
                leave_out=leave_out,
                threads=threads,
                check=check,
            )
            wanted = WantedMembers(found)
        archives = self._archives()
        try:
            self._moved = carry(
                writer,
                wanted,
                lambda: (it for it in self._segments() if it in wanted),
                lambda segment: self._opened(segment.source),
                threads=THREADS,
                check=check,
            )
        except (ArchiveDamaged, ObjectNotFound) as error:
            unusable = {number for number in numbers if not self._is_usable(number, wanted, check)}
            # (None, where what the index says is not in an archive that is as it was written.)
            raise SourceUnusable({archives[it] for it in unusable or numbers}) from error

    def _is_usable(self, number: int, wanted: WantedMembers, check: Callable[[], None]) -> bool:
        """Whether all that is cut out of an archive can be read; asked when something cannot."""
        segments = (
            it
            for it in self._segments()
            if it.source == number and it in wanted and not wanted.are_all_of(it)
        )
        read = read_segments_of(
            lambda segment: self._opened(segment.source), segments, threads=THREADS
        )
        try:
            with closing(read):
                for _ in read:
                    check()
        except (ArchiveDamaged, ObjectNotFound):
            return False
        return True

    def _open(self, number: int) -> OpenArchive:
        backup_id = self._archives()[number]
        _, name = self._of_base()
        shown = f"{name} of backup {backup_id}"
        archive = self._catalog.backups.open(backup_id, name)
        carried = {it.backup_id: Found(it.size, it.etag) for it in self._plan.carried}
        if Found(archive.size, archive.etag) != carried[backup_id]:
            raise ArchiveDamaged(f"{shown} was replaced while another backup was made")
        return OpenArchive(archive, shown)

    def base(self) -> Base | None:
        """What the folder is compared with; None when everything is stored."""
        if self._last is None:
            return None
        self._base = Base(self._members, self._places(), self._moved)
        return self._base

    def reached_before(self, leave_out: PathPatterns) -> int | None:
        """Bytes of the files that the run passed which this goes on from; None if from none.

        None, too, where this run cannot come as far for another reason than the folder's changes:
        an archive is missing, or other things are left out.
        """
        last = self._last
        if not isinstance(last, Unfinished) or self._plan.missing:
            return None
        return last.reached_size if last.path_patterns == leave_out.patterns else None

    def segments(self) -> Iterator[Segment]:
        """The segments of sources in which members of the new volume lie; once all are known.

        Raises SourceUnusable, at the end, where the base's index does not list each of them once.
        """
        if self._base is None:
            return
        places, used = self._places(), self._base.used
        left = {source: len(numbers) for source, numbers in used.items()}
        for segment in self._segments():
            source = places.get(segment.source)
            if source in used and segment.number in used[source]:
                left[source] -= 1
                yield segment.model_copy(update={"source": source})
        if unlisted := {self.sources[source - 1] for source, count in left.items() if count}:
            raise SourceUnusable(unlisted)

    def referred(self) -> tuple[VolumeSource, ...]:
        """The sources of the new volume, as its manifest lists them; once all members are known."""
        if self._base is None:
            return ()
        live = self._base.live
        return tuple(
            source.model_copy(update={"live_size": live[number]})
            for number, source in enumerate(self._plan.kept, 1)
            if number in live
        )

    def _places(self) -> dict[int, int]:
        """The number in the new index of each source that is kept, by that in the base's."""
        new = {backup_id: count for count, backup_id in enumerate(self.sources, 1)}
        archives = self._archives()
        return {number: new[archives[number]] for number in self._numbers(self.sources)}

    def _numbers(self, backup_ids: Iterable[str]) -> set[int]:
        """The numbers that the base's index has for backups."""
        wanted = set(backup_ids)
        return {number for number, it in enumerate(self._archives()) if it in wanted}

    def _archives(self) -> tuple[str, ...]:
        """The backups that the base's index has numbers for: itself, and its sources."""
        return () if self._last is None else (self._last.id, *self._reader().sources)

    def _members(self) -> Iterator[IndexedMember]:
        index, name = self._of_base()
        return self._read(read_members(index, archive_name=name))

    def _segments(self) -> Iterator[Segment]:
        return self._read(self._reader().segments())

    def _read[T](self, lines: Iterator[T]) -> Iterator[T]:
        """Raises IndexUnusable: what the lines say was forged, or written by a faulty version."""
        try:
            yield from lines
        except ArchiveDamaged as error:
            raise IndexUnusable(self._archives()[0], str(error)) from error

    def _reader(self) -> IndexReader:
        index, name = self._of_base()
        return IndexReader(index, archive_name=name)

    def _of_base(self) -> tuple[RangeSource, str]:
        if self._last is None or self._index is None:
            raise ValueError("there is no base")
        return self._index, self._last.volume.name


@contextmanager
def open_increment(
    catalog: Catalog,
    *,
    whole: bool,
    unusable: Collection[str] = (),
    distrusted: Mapping[str, str] = MappingProxyType({}),
    stores_anew: bool = False,
    carries: bool = True,
) -> Iterator[Increment]:
    """What a new volume may refer to, for as long as the block lasts.

    The base is the last backup that was made of the site, or what a run since then could not
    finish. Without one that can be used everything is stored, and a notice tells why if that is not
    as it should be (`volume-stored-whole`, `source-missing`).

    Args:
        whole: whether the new archive is to hold everything, so that nothing is referred to. What
            goes on from an unfinished volume refers to that all the same, and a notice tells it.
        unusable: sources that turned out to be; what lies in them is read from the folder and
            stored again, with a notice.
        distrusted: bases whose index cannot be used, as it turned out, each with the reason.
        stores_anew: whatever would be carried over is treated like that, too.
        carries: False reads what would be carried over from the folder without a notice, for
            nothing is wrong with it; and ArchiveDamaged is raised in the block for what is wrong.

    Raises StorageError.
    """
    notices: tuple[Notice, ...] = ()
    for base in bases(catalog):
        if isinstance(base, Notice):
            notices = (*notices, base)
            continue
        with ExitStack() as opened:
            why = distrusted.get(base.id)
            try:
                index = opened.enter_context(open_index(catalog, base)) if why is None else None
            except (ArchiveDamaged, ObjectNotFound, UnknownFormat) as error:
                why = str(error)
            if why is not None:
                is_backup = isinstance(base, Manifest)
                told = stored_whole(base.id, why) if is_backup else missing(base.id)
                notices = (*notices, told)
                continue
            found = archives_found(catalog, base)
            for backup_id in unusable:
                found.pop(backup_id, None)
            # (All that runs before this one stored would be copied by each: no run would be long
            # enough for that and for something new, in the end.)
            goes_on = whole and isinstance(base, Unfinished)
            if goes_on:
                notices = (*notices, not_whole(base.id))
            chosen = plan(base, found, carry_all=whole and not goes_on)
            if stores_anew:
                chosen = Plan(chosen.kept, (), (*chosen.missing, *chosen.carried))
            if not carries:
                chosen = Plan(chosen.kept, (), chosen.missing)
            notices = (*notices, *(missing(source.backup_id) for source in chosen.missing))
            if not carries:
                opened.enter_context(told_plainly(base.id))
            yield Increment(catalog, base, index, chosen, notices)
            return
    yield Increment(catalog, notices=notices)


@contextmanager
def open_index(catalog: Catalog, base: BaseVolume) -> Iterator[RangeSource]:
    """The index of a base, as often as it is read.

    Raises ArchiveDamaged, ObjectNotFound, UnknownFormat, and what `read_again` raises.
    """
    with read_again(
        catalog.backups.open(base.id, base.volume.index_name),
        sha256=base.volume.index_sha256,
        name=f"the index of {base.volume.name} of backup {base.id}",
    ) as index:
        IndexReader(index, archive_name=base.volume.name)
        yield index


def archives_found(catalog: Catalog, manifest: BaseVolume) -> dict[str, Found]:
    """What lies at the places of the archives that a volume reads, its own included."""

    def look(backup_id: str) -> Found | None:
        try:
            reader = catalog.backups.open(backup_id, manifest.volume.name)
        except ObjectNotFound:
            return None
        return Found(reader.size, reader.etag)

    ids = [manifest.id, *(source.backup_id for source in manifest.sources)]
    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="source") as pool:
        answers = zip(ids, pool.map(look, ids), strict=True)
        return {backup_id: found for backup_id, found in answers if found is not None}
