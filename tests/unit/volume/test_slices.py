"""What a portion's worker gets of the index is all that it needs, and nothing of the others'."""

import dataclasses
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.volume import slices
from lcp_backup.volume.large_files import LargePiece
from lcp_backup.volume.portions import (
    PortionedVolume,
    is_large,
    portioned,
    portioned_uncut,
)
from lcp_backup.volume.slices import Block, Mark, Slice, read_slice, write_slices
from lcp_backup.volume.wanted import Place, WantedMembers

MIB = 1 << 20
ARCHIVES = ("own", "older", "oldest")


@dataclass
class Left:
    """A volume whose slices were left."""

    members: list[IndexedMember]
    segments: list[Segment]
    workers: int = 12
    objects: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cut: PortionedVolume = portioned(self.members, self.workers)
        self.last = write_slices(
            self.cut, self.members, lambda: self.segments, ARCHIVES, self.objects.__setitem__
        )

    def slices(self) -> Iterator[Slice]:
        return (read_slice(it, self.read, "a slice") for it in self.last)

    def read(self, block: Block) -> bytes:
        return self.objects[block.object][block.offset : block.offset + block.size]


def a_volume(seed: int) -> Left:
    """Members of all sizes in three archives, which the index lists by their names."""
    rng = random.Random(seed)
    members: list[IndexedMember] = []
    segments: list[Segment] = []
    for source in range(3):
        number, at = 0, 0
        counts = {0: 0}
        firsts = {0: 0}
        for _ in range(60):
            size = rng.choice([0, 1000, 3 * MIB, 40 * MIB, 900 * MIB])
            more, rest = divmod(at + 512 + -(-size // 512) * 512, 8 * MIB)
            name = f"{rng.random()}\udcff"
            members.append(
                IndexedMember(name, "file", source, number, at, size, 0, 0o644, 0, 0, more=more)
            )
            counts[number] = counts.get(number, 0) + 1
            if more:
                number, at = number + more, rest
                firsts[number] = rest
            elif rng.random() < 0.3:
                number, at = number + 1, 0
                firsts[number] = 0
            else:
                at = rest
            members.append(IndexedMember(f"{name}d", "folder", source, number, at, 0, 0, 0, 0, 0))
            counts[number] = counts.get(number, 0) + 1
        segments += [
            Segment(
                source=source,
                number=it,
                offset=it * 10,
                size=10,
                raw_size=8 * MIB,
                sha256=f"{source}-{it}",
                members=counts.get(it, 0),
                first=firsts.get(it, 0),
            )
            for it in range(number + 2)
        ]
    # Of one archive they come in their order; else by chance.
    queues = [iter([it for it in members if it.source == source]) for source in range(3)]
    mixed = [queue for queue in queues for _ in range(120)]
    rng.shuffle(mixed)
    return Left([next(queue) for queue in mixed], segments)


def numbers(it: Slice) -> list[int]:
    return [segment.number for segment in it.segments]


@pytest.mark.parametrize("waiting", [40, 1 << 18])
def test_each_member_comes_in_one_slice_with_every_segment_that_it_lies_in(
    waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a slice is one block, or many that lie between those of others."""
    monkeypatch.setattr(slices, "_MOST_WAITING", waiting)
    monkeypatch.setattr(slices, "_OBJECT_SIZE", 2000)
    left = a_volume(1)
    listed = {(it.source, it.number): it for it in left.segments}
    places: list[Place] = []
    pieces: dict[str, list[int]] = {}
    for portion, own in zip(left.cut.portions, left.slices(), strict=True):
        assert own.archive == ARCHIVES[portion.source]
        for segment in own.segments:
            as_listed = listed[portion.source, segment.number]
            assert segment.model_copy(update={"source": portion.source}) == as_listed
        if own.piece is None:
            found = list(own.places(portion.first))
            wanted = WantedMembers(found)
            assert numbers(own) == [it.number for it in own.segments if it in wanted]
            assert numbers(own) == sorted(set(numbers(own)))
            needed = {n for it in found for n in range(it.segment, it.segment + it.more + 1)}
            assert needed == set(numbers(own))
            places += [it._replace(source=portion.source) for it in found]
        else:
            assert numbers(own) == list(range(portion.first, portion.last + 1))
            pieces.setdefault(own.piece.name, []).extend(numbers(own))
            member = next(it for it in left.members if it.name == own.piece.name)
            begin = (portion.first - member.segment) * 8 * MIB - member.at - 512
            assert own.piece == LargePiece(member.name, member.size, begin)
    files = [it for it in left.members if it.type == "file"]
    small = [it for it in files if not is_large(it, left.cut.most)]
    assert sorted(places) == sorted(Place(*it[2:5], it.more) for it in small)
    for it in files:
        if is_large(it, left.cut.most):
            assert sorted(pieces.pop(it.name)) == list(range(it.segment, it.segment + it.more + 1))
    assert not pieces
    assert len(left.objects) > 1


def test_what_is_left_of_a_portion_begins_where_it_is_told() -> None:
    left = a_volume(2)
    own = next(it for it in left.slices() if it.piece is None and len(it.segments) > 3)
    first = own.segments[2].number
    everything = list(own.places(0))
    assert list(own.places(first)) == [it for it in everything if it.segment >= first]
    assert len(everything) > len(list(own.places(first)))


@pytest.mark.parametrize("waiting", [2000, 1 << 18])
def test_a_slice_that_was_changed_anywhere_is_not_used(
    waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_MOST_WAITING", waiting)
    left = a_volume(3)
    for last in left.last[:9]:
        blocks: list[Block] = []

        def noted(block: Block, found: list[Block] = blocks) -> bytes:
            found.append(block)
            return left.read(block)

        read_slice(last, noted, "a slice")
        for block in (blocks[0], blocks[-1]):
            for at in (block.offset, block.offset + block.size - 1):
                whole = left.objects[block.object]
                flipped = bytes([whole[at] ^ 1])
                left.objects[block.object] = whole[:at] + flipped + whole[at + 1 :]
                with pytest.raises(ArchiveDamaged, match="run r keeps is not what was left there"):
                    read_slice(last, left.read, "what run r keeps")
                left.objects[block.object] = whole


def test_no_block_is_empty_however_many_segments_large_files_lie_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "_MOST_WAITING", 40)
    left = a_volume(3)
    blocks = 0

    def counted(block: Block) -> bytes:
        nonlocal blocks
        blocks += 1
        return left.read(block)

    held = 0
    for last in left.last:
        own = read_slice(last, counted, "a slice")
        held += len(own.segments) + len(list(own.places(0)))
    assert blocks <= held


def without(dropped: int, segments: Iterable[Segment]) -> list[Segment]:
    return [it for it in segments if (it.source, it.number) != (0, dropped)]


def test_an_index_that_lacks_a_segment_is_damaged_before_anything_is_unpacked() -> None:
    left = a_volume(4)
    small = next(
        it
        for it in left.members
        if it.type == "file" and not it.source and not is_large(it, left.cut.most)
    )
    with pytest.raises(ArchiveDamaged, match="segments in which it says that files lie"):
        Left(left.members, without(small.segment, left.segments))
    large = next(it for it in left.members if not it.source and is_large(it, left.cut.most))
    with pytest.raises(ArchiveDamaged, match="lacks a segment"):
        Left(left.members, without(large.segment + 1, left.segments))


def test_a_volume_without_files_has_no_slice() -> None:
    assert dataclasses.asdict(Left([], []))["objects"] == {}


def test_memory_of_the_plan_does_not_grow_with_the_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "_MOST_WAITING", 1000)

    def most_memory(files: int) -> int:
        """Of so many files in one segment each time."""
        member = IndexedMember("n", "file", 0, 0, 0, 0, 0, 0o644, 0, 0)
        each = files // 50
        members = (member._replace(segment=n // each, at=n % each * 512) for n in range(files))
        listed = [
            Segment(number=it, offset=it, size=1, raw_size=1, sha256="", members=each)
            for it in range(50)
        ]
        cut = portioned(members, 1, least=1)
        again = (member._replace(segment=n // each, at=n % each * 512) for n in range(files))
        tracemalloc.start()
        write_slices(cut, again, lambda: listed, ARCHIVES, lambda *_: None)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    most_memory(5000)  # what is made once
    assert most_memory(50_000) < 1.5 * most_memory(10_000)


# --- slices for who has to see every member whole -------------------------------------------------


def marked(left: Left, mark: Mark) -> tuple[PortionedVolume, list[Slice]]:
    """The same volume, for a verification."""
    left.objects.clear()
    cut = portioned_uncut(left.members, left.workers)
    last = write_slices(
        cut,
        left.members,
        lambda: left.segments,
        ARCHIVES,
        left.objects.__setitem__,
        folders=True,
        mark=mark,
    )
    return cut, [read_slice(it, left.read, "a slice") for it in last]


@pytest.mark.parametrize("waiting", [40, 1 << 18])
def test_with_marks_each_member_is_whole_in_one_slice_and_each_segment_in_any(
    waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders as well; of the first archive also the segments that hold nothing."""
    monkeypatch.setattr(slices, "_MOST_WAITING", waiting)
    left = a_volume(5)
    numbered = {id(it): number for number, it in enumerate(left.members)}
    cut, found = marked(left, lambda it: numbered[id(it)])
    assert len(found) > len(cut.portions) > 12
    places = {number: Place(*it[2:5], it.more) for number, it in enumerate(left.members)}
    seen: list[int] = []
    read: set[tuple[int, int]] = set()
    for portion, own in zip(cut.portions, found, strict=False):
        assert own.piece is None
        pairs = list(zip(own.marks(), own.places(0), strict=True))
        for number, place in pairs:
            assert place._replace(source=portion.source) == places[number]
        wanted = WantedMembers(place for _, place in pairs)
        assert numbers(own) == [it.number for it in own.segments if it in wanted]
        seen += [number for number, _ in pairs]
        read |= {(portion.source, number) for number in numbers(own)}
    assert sorted(seen) == list(range(len(left.members)))
    rest = found[len(cut.portions) :]
    for own in rest:
        assert not [*own.marks(), *own.places(0)]
        assert own.archive == ARCHIVES[0]
        read |= {(0, number) for number in numbers(own)}
    own_segments = {(0, it.number) for it in left.segments if not it.source}
    assert own_segments <= read
    needed = {
        (it.source, number)
        for it in left.members
        for number in range(it.segment, it.segment + it.more + 1)
    }
    assert read == needed | own_segments


def test_a_rest_of_many_segments_is_shared_out_too() -> None:
    """Of an archive from which nearly all has been deleted."""
    member = IndexedMember("n", "file", 0, 0, 0, 10, 0, 0o644, 0, 0)
    listed = [
        Segment(number=it, offset=it, size=1, raw_size=8 * MIB, sha256="", members=1)
        for it in range(1000)
    ]
    left = Left([member], listed[:1])
    left.segments = listed
    cut, found = marked(left, lambda _: 7)
    assert (len(cut.portions), len(found)) == (1, 5)
    assert [len(it.segments) for it in found] == [1, 256, 256, 256, 231]
    assert [list(it.marks()) for it in found] == [[7], [], [], [], []]


def test_the_heaviest_portions_come_first_and_no_file_is_cut() -> None:
    members = [
        IndexedMember(f"{number}", "file", 0, number * 1000, 0, size, 0, 0o644, 0, 0, more=more)
        for number, (size, more) in enumerate([(100 * MIB, 99), (900 * MIB, 899), (3 * MIB, 2)])
    ]
    cut = portioned_uncut(members, 64)
    assert [(it.first, it.large) for it in cut.portions] == [(1000, None), (0, None), (2000, None)]


def test_memory_of_a_plan_with_marks_does_not_grow_with_the_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "_MOST_WAITING", 1000)

    def most_memory(files: int) -> int:
        """Of so many files in one segment each time."""
        member = IndexedMember("n", "file", 0, 0, 0, 0, 0, 0o644, 0, 0)
        each = files // 50
        listed = [
            Segment(number=it, offset=it, size=1, raw_size=1, sha256="", members=each)
            for it in range(50)
        ]

        def members() -> Iterator[IndexedMember]:
            return (member._replace(segment=n // each, at=n % each * 512) for n in range(files))

        tracemalloc.start()
        cut = portioned_uncut(members(), 1, least=1)
        write_slices(
            cut,
            members(),
            lambda: listed,
            ARCHIVES,
            lambda *_: None,
            folders=True,
            mark=lambda _: 1,
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    most_memory(5000)  # what is made once
    assert most_memory(50_000) < 1.5 * most_memory(10_000)
