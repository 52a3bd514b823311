"""A volume is proved by what a restore would write: names, kinds, sizes and contents."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lcp_backup.archive.read import read_segments
from lcp_backup.archive.segment import IndexedMember
from lcp_backup.errors import ArchiveDamaged
from lcp_backup.volume.proof import Read, read_all
from lcp_backup.volume.wanted import WantedMembers
from tests.support.archived import Archived
from tests.support.trees import odd_tree

type Change = Callable[[IndexedMember], IndexedMember]


@pytest.fixture
def archived(tmp_path: Path) -> Archived:
    odd_tree(tmp_path)
    (tmp_path / "large").write_bytes(bytes(9 << 20))
    return Archived(tmp_path)


def proved(archived: Archived, change: Change = lambda it: it) -> Read:
    def members() -> Iterator[IndexedMember]:
        return map(change, archived.members)

    wanted = WantedMembers(archived.members)
    segments = [it for it in archived.segments if it in wanted]
    read = read_segments(archived.sink, segments, name="volume.tgz", threads=1)
    return read_all(members, wanted, read, progress=lambda _: None, check=lambda: None)


def test_a_whole_volume_is_as_its_index_says(archived: Archived) -> None:
    files = sum(it.type == "file" for it in archived.members)
    assert proved(archived) == Read(files=files, files_compared=files)


def test_a_file_whose_sha256_is_not_known_is_read_and_not_compared(archived: Archived) -> None:
    files = sum(it.type == "file" for it in archived.members)

    def forget(member: IndexedMember) -> IndexedMember:
        return member._replace(sha256=None) if member.name == "large" else member

    assert proved(archived, forget) == Read(files=files, files_compared=files - 1)


@pytest.mark.parametrize(
    "other",
    [
        {"sha256": "0" * 64},
        {"size": 7},
        {"type": "folder", "sha256": None},
        {"name": "larger"},
    ],
)
def test_a_member_that_is_not_what_the_index_says_is_named(
    archived: Archived, other: dict[str, str]
) -> None:
    def change(member: IndexedMember) -> IndexedMember:
        return member._replace(**other) if member.name == "large" else member  # type: ignore[arg-type] # made so

    with pytest.raises(ArchiveDamaged, match="member 'larger?' is not what the index says"):
        proved(archived, change)


def test_a_member_that_no_index_lists_is_missed(archived: Archived) -> None:
    everything = archived.members
    wanted = WantedMembers(everything)
    segments = [it for it in archived.segments if it in wanted]
    read = read_segments(archived.sink, segments, name="volume.tgz", threads=1)
    with pytest.raises(ArchiveDamaged, match=f"has {len(everything)} members where the index"):
        read_all(
            lambda: iter(everything[:-1]), wanted, read, progress=lambda _: None, check=lambda: None
        )
