"""Of archives that hold more than a backup does, what it holds is taken, and nothing else."""

import io
import os
import tarfile
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest

from lcp_backup.archive.index import read_index, read_members
from lcp_backup.archive.read import OpenArchive, read_segments_of
from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.archive.tar import MemberKind
from lcp_backup.archive.write import SEGMENT_SIZE, ArchiveWriter
from lcp_backup.errors import ArchiveDamaged, LeaseLost
from lcp_backup.volume.members import Attributes as Given
from lcp_backup.volume.members import Content
from lcp_backup.volume.segments import Attributes, TarSegments
from lcp_backup.volume.wanted import WantedMembers, hand_over_wanted
from tests.support.buffers import Buffer

LARGE = 2 * SEGMENT_SIZE + 4_321


class Archived(NamedTuple):
    """An archive of files, with its index."""

    archive: Buffer
    segments: list[Segment]
    members: dict[str, IndexedMember]


class Taken:
    """What was handed over: names with their contents, in their order."""

    def __init__(self) -> None:
        self.files: list[tuple[str, bytes]] = []

    def add_folder(self, components: list[str], attributes: Given) -> None:
        raise AssertionError((components, attributes))

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: Given
    ) -> None:
        assert attributes
        data = b"".join(content)
        assert len(data) == size
        self.files.append(("/".join(components), data))

    def add_link(self, components: list[str], target: str, attributes: Given) -> None:
        raise AssertionError((components, target, attributes))

    def add_name(self, components: list[str], existing: list[str]) -> None:
        raise AssertionError((components, existing))


def archived(files: dict[str, bytes], source: int = 0) -> Archived:
    """As the archive of a backup that a new one numbers so."""
    archive, index = Buffer(), Buffer()
    with ArchiveWriter(
        archive, index, name="volume.tgz", index_name="volume.index", threads=2
    ) as writer:
        tar_file = TarSegments(writer, lambda _: None, lambda: None)
        for name, content in files.items():
            tar_file.begin(name, MemberKind.FILE, Attributes(len(content), 0o644, 0, 0, 0), "")
            while content:
                room = tar_file.room(len(content))
                count = len(room)
                room[:] = content[:count]
                tar_file.filled(count)
                content = content[count:]  # noqa: PLW2901 -- the bytes that found no room
            tar_file.close()
        tar_file.end()
        writer.finish()
    return Archived(
        archive,
        [
            segment.model_copy(update={"source": source})
            for segment in read_index(index, archive_name="volume.tgz")
        ],
        {
            member.name: member._replace(source=source)
            for member in read_members(index, archive_name="volume.tgz")
        },
    )


def taken(
    archives: list[Archived],
    members: Iterable[IndexedMember],
    *,
    progress: Callable[[int], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> list[tuple[str, bytes]]:
    """What is handed over of these members, each archive read in its order."""
    wanted = WantedMembers(members)
    into = Taken()
    needed = [segment for it in archives for segment in it.segments if segment in wanted]
    read = read_segments_of(
        lambda segment: OpenArchive(archives[segment.source].archive, f"{segment.source}"),
        needed,
        threads=2,
    )
    hand_over_wanted(wanted, read, into, progress=progress, check=check)
    return into.files


FILES = {
    "a": b"A" * 700,
    "b-large": os.urandom(1000) * (LARGE // 1000),
    "c": b"C",
    "d": b"",
    "e-large": os.urandom(1000) * (LARGE // 1000 + 71),
    "f": b"F" * 512,
    "g": b"G" * 513,
}


@pytest.fixture(scope="module")
def stored() -> Archived:
    found = archived(FILES)
    # Both large files begin beside a small one, and end beside one.
    assert [it.members for it in found.segments] == [2, 0, 3, 0, 2, 0]
    return found


@pytest.mark.parametrize(
    "names",
    [
        *(
            tuple(name)
            for name in ("a", "c", "d", "f", "g", "ac", "cf", "ag", "cd", "dfg", "acdfg")
        ),
        ("b-large",),
        ("e-large",),
        ("b-large", "e-large"),
        ("a", "b-large"),
        ("b-large", "c"),
        ("b-large", "d"),
        ("a", "e-large"),
        ("c", "e-large"),
        ("e-large", "g"),
        ("a", "c", "e-large", "f"),
        tuple(FILES),
    ],
    ids=",".join,
)
def test_live_members_come_whole_and_dead_ones_not_at_all(
    stored: Archived, names: tuple[str, ...]
) -> None:
    members = [stored.members[name] for name in names]
    assert taken([stored], members) == [(name, FILES[name]) for name in names]
    # In whichever order they are listed.
    assert taken([stored], members[::-1]) == [(name, FILES[name]) for name in names]


def test_only_segments_that_hold_any_are_asked_for(stored: Archived) -> None:
    wanted = WantedMembers([stored.members["a"], stored.members["e-large"]])
    assert [segment.number for segment in stored.segments if segment in wanted] == [0, 2, 3, 4]


def test_nothing_live_takes_nothing(stored: Archived) -> None:
    assert taken([stored], []) == []


def test_several_archives_are_told_apart(stored: Archived) -> None:
    other = archived({"a": b"another", "z-large": bytes(LARGE), "c": b"another c"}, source=1)
    members = [
        other.members["a"],
        stored.members["b-large"],
        other.members["c"],
        stored.members["g"],
    ]
    assert taken([stored, other], members) == [
        ("b-large", FILES["b-large"]),
        ("g", FILES["g"]),
        ("a", b"another"),
        ("c", b"another c"),
    ]


def test_what_is_read_of_an_archive_counts_once_for_each_byte_from_the_first_live_one(
    stored: Archived,
) -> None:
    counted: list[int] = []
    taken([stored], [stored.members["a"]], progress=counted.append)
    assert sum(counted) == stored.segments[0].raw_size


def test_what_check_raises_ends_it(stored: Archived) -> None:
    def check() -> None:
        raise LeaseLost("taken over")

    with pytest.raises(LeaseLost):
        taken([stored], stored.members.values(), check=check)


class TestAnIndexThatIsNotTrue:
    """What does not lie where the index says is never taken for something else."""

    @pytest.mark.parametrize("name", ["a", "c", "f"])
    @pytest.mark.parametrize("by", [-1, 1, 512, 20 * 512, SEGMENT_SIZE])
    def test_a_place_where_no_member_begins_is_refused(
        self, stored: Archived, name: str, by: int
    ) -> None:
        member = stored.members[name]
        at = member.at + by if member.at + by >= 0 else 3
        with pytest.raises(ArchiveDamaged):
            taken([stored], [member._replace(at=at)])

    def test_a_place_behind_the_last_member_is_refused(self, stored: Archived) -> None:
        f, g = stored.members["f"], stored.members["g"]
        with pytest.raises(ArchiveDamaged):
            taken([stored], [f, g._replace(at=g.at + 512)])
        end = g._replace(segment=len(stored.segments) - 1, at=0)
        with pytest.raises(ArchiveDamaged, match="no member begins where one should"):
            taken([stored], [f, end])

    def test_a_large_file_of_which_a_segment_is_missing_is_refused(self, stored: Archived) -> None:
        wanted = WantedMembers([stored.members["b-large"]])
        for missing in (0, 1, 2):
            segments = [it for it in stored.segments if it in wanted and it.number != missing]
            pieces = read_segments_of(
                lambda _: OpenArchive(stored.archive, "x"), segments, threads=1
            )
            with pytest.raises(ArchiveDamaged):
                hand_over_wanted(
                    wanted, pieces, Taken(), progress=lambda _: None, check=lambda: None
                )

    def test_a_file_that_goes_on_for_longer_than_it_is_named_is_refused(
        self, stored: Archived
    ) -> None:
        large = stored.members["b-large"]
        with pytest.raises(ArchiveDamaged):
            taken([stored], [large._replace(more=large.more - 1)])


def test_a_segment_that_holds_nothing_dead_is_known(stored: Archived) -> None:
    def whole(*names: str) -> list[int]:
        wanted = WantedMembers(stored.members[name] for name in names)
        return [it.number for it in stored.segments if it in wanted and wanted.are_all_of(it)]

    assert whole(*FILES) == [0, 1, 2, 3, 4]
    assert whole("a", "b-large") == [0, 1]
    assert whole("b-large") == [1]
    # A dead file ends at the beginning of the third.
    assert whole("a", "c", "d", "e-large") == [3]
    assert whole("b-large", "c", "d", "e-large") == [1, 2, 3]


def test_gnu_tar_finds_the_same_members_in_the_archive(stored: Archived) -> None:
    with tarfile.open(fileobj=io.BytesIO(stored.archive.data), mode="r:gz") as opened:
        assert opened.getnames() == list(FILES)
