"""A folder of a backup is listed a page at a time, out of an index of any order and length."""

import random
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest

from lcp_backup.archive import index_lines
from lcp_backup.archive.index import IndexWriter
from lcp_backup.archive.index_lines import IndexLines
from lcp_backup.archive.segment import IndexedMember, MemberType
from lcp_backup.errors import ArchiveDamaged, NotFound
from lcp_backup.volume.listing import Listed, list_folder
from lcp_backup.volume.names import place_in_order
from tests.support.buffers import Buffer

COMPONENTS = ("a", "a!", "a-b", "b", "é", "\udce9", 'q"\\', "z", "Z")


class Index:
    """The index of a volume with these members, as it lies in a bucket."""

    def __init__(self, members: Iterable[IndexedMember]) -> None:
        self.buffer = Buffer()
        writer = IndexWriter(self.buffer, "volume.tgz")
        for it in members:
            writer.add_member(it)
        self.sha256 = writer.end(archive_size=0, raw_size=0)
        self.buffer.complete()

    def page(
        self, folder: str, *, after: str | None = None, limit: int = 100, is_sorted: bool = True
    ) -> tuple[list[Listed], bool]:
        lines = IndexLines(self.buffer, archive_name="volume.tgz", sha256=self.sha256)
        return list_folder(lines, folder, after=after, limit=limit, is_sorted=is_sorted)

    def pages(self, folder: str, limit: int, *, is_sorted: bool) -> Iterator[Listed]:
        after, more = None, True
        while more:
            entries, more = self.page(folder, after=after, limit=limit, is_sorted=is_sorted)
            assert len(entries) == limit or not more
            yield from entries
            after = entries[-1].name if entries else None


def member(name: str, kind: MemberType = "file", size: int = 0) -> IndexedMember:
    return IndexedMember(name, kind, 0, 0, 0, size, 7, 0, 0, 0)


def in_order(members: Iterable[IndexedMember]) -> list[IndexedMember]:
    return sorted(members, key=lambda it: place_in_order(it.name))


def listed(members: Iterable[IndexedMember], folder: str) -> list[Listed]:
    """What a folder holds, found out in the plain way."""
    prefix = f"{folder}/" if folder else ""
    found: dict[str, Listed] = {}
    for it in members:
        rest = it.name.removeprefix(prefix)
        if it.name.startswith(prefix) and "/" not in rest:
            found[it.name] = Listed(it.name, it.type, it.size, it.mtime_ns)
        elif it.name.startswith(prefix):
            child = prefix + rest.partition("/")[0]
            found.setdefault(child, Listed(child, "folder", 0, None))
    return sorted(found.values(), key=lambda it: place_in_order(it.name))


def some_tree(chance: random.Random) -> dict[str, IndexedMember]:
    """Folders in folders, a few levels deep, with files and links."""
    tree: dict[str, IndexedMember] = {}
    folders = [""]
    for _ in range(chance.randint(1, 60)):
        above = chance.choice(folders)
        name = f"{above}/{chance.choice(COMPONENTS)}".lstrip("/")
        if name in tree:
            continue
        kind: MemberType = chance.choice(("file", "folder", "folder", "link"))
        tree[name] = member(name, kind, chance.randint(1, 9) if kind == "file" else 0)
        if kind == "folder":
            folders.append(name)
    return tree


@pytest.fixture(autouse=True)
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few members in a line, so that most lines are to be passed over."""
    monkeypatch.setattr("lcp_backup.archive.index._MEMBERS_IN_LINE", 3)


@pytest.mark.parametrize("seed", range(40))
def test_every_folder_comes_whole_whatever_the_size_of_a_page(seed: int) -> None:
    chance = random.Random(seed)
    tree = some_tree(chance)
    index = Index(in_order(tree.values()))
    for folder in ["", *(name for name, it in tree.items() if it.type == "folder")]:
        expected = listed(tree.values(), folder)
        for limit in (1, 2, 100):
            assert list(index.pages(folder, limit, is_sorted=True)) == expected


@pytest.mark.parametrize("seed", range(40))
def test_so_does_that_of_an_upload_in_any_order_with_gaps_and_repetitions(seed: int) -> None:
    chance = random.Random(seed)
    tree = some_tree(chance)
    folders = [name for name, it in tree.items() if it.type == "folder"]
    members = [it for it in tree.values() if it.type != "folder" or chance.random() < 0.6]
    members += [it._replace(size=99) for it in members if chance.random() < 0.3]
    again = {id(it) for it in members if it.size == 99}
    # What comes later of a name counts, so what is repeated stays behind.
    chance.shuffle(members)
    members.sort(key=lambda it: id(it) in again)
    index = Index(members)
    for folder in ["", *folders]:
        expected = listed(members, folder)
        if not expected and folder not in {it.name for it in members}:
            with pytest.raises(NotFound, match="holds no folder"):
                index.page(folder, is_sorted=False)
            continue
        for limit in (1, 2, 100):
            assert list(index.pages(folder, limit, is_sorted=False)) == expected


@pytest.mark.parametrize("is_sorted", [True, False])
def test_what_is_no_folder_is_told_from_what_is_not_there(*, is_sorted: bool) -> None:
    index = Index([member("a", "folder"), member("a/file"), member("a/link", "link")])
    for path in ("b", "a/b", "a/file/x", "a/fil", "A"):
        with pytest.raises(NotFound, match="the backup's volume holds no folder"):
            index.page(path, is_sorted=is_sorted)
    with pytest.raises(NotFound, match="'a/file' is a file in the backup, and no folder"):
        index.page("a/file", is_sorted=is_sorted)


def test_an_empty_volume_has_an_empty_folder() -> None:
    assert Index([]).page("") == ([], False)
    assert Index([]).page("", is_sorted=False) == ([], False)


def test_only_lines_that_may_hold_something_of_the_folder_are_taken_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = [member(name, "folder") for name in ("a", "b", "b/deep", "c")]
    tree += [
        member(f"{name}/{number:04}") for name in ("a", "b/deep", "c") for number in range(900)
    ]
    index = Index(in_order([*tree, member("b/last")]))
    real, taken = index_lines.members_in, []

    def noting(line: bytes, *, most_source: int) -> list[IndexedMember]:
        taken.append(line)
        return real(line, most_source=most_source)

    monkeypatch.setattr(index_lines, "members_in", noting)
    assert [it.name for it in index.page("b")[0]] == ["b/deep", "b/last"]
    assert len(taken) <= 4
    taken.clear()
    assert index.page("c", after="c/0899")[0] == []
    assert len(taken) <= 2


@pytest.mark.parametrize("is_sorted", [True, False])
def test_memory_does_not_grow_with_the_folder(
    monkeypatch: pytest.MonkeyPatch, *, is_sorted: bool
) -> None:
    monkeypatch.undo()

    def peak(files: int) -> int:
        index = Index(member(f"{number:07}") for number in range(files))
        tracemalloc.start()
        try:
            entries, more = index.page("", after="0000009", limit=50, is_sorted=is_sorted)
            assert (entries[0].name, len(entries), more) == ("0000010", 50, True)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(100_000) < 2 * peak(10_000)


def test_damage_is_told() -> None:
    index = Index([member("a"), member("b")])
    whole = index.buffer.data
    for damaged in (whole[:-9], whole[:40], whole + b"x", whole[:30] + b"\xff" + whole[31:], b""):
        index.buffer = Buffer(damaged)
        with pytest.raises(ArchiveDamaged, match=r"the index of volume\.tgz|index of"):
            index.page("")
    index.buffer, index.sha256 = Buffer(whole), "0" * 64
    with pytest.raises(ArchiveDamaged, match="its SHA-256 differs"):
        index.page("")
