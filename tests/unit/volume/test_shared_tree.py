"""A volume that workers unpack is what one unpacks, whatever happens to any of them."""

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from lcp_backup.archive.segment import IndexedMember, Segment
from lcp_backup.catalog import Catalog
from lcp_backup.errors import ArchiveDamaged, LeaseLost
from lcp_backup.jobs.portion_slices import reading
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.volume import crew
from lcp_backup.volume.large_files import LargeFile, LargeFileBegins, LargePiece
from lcp_backup.volume.portions import Portion, portioned
from lcp_backup.volume.shared_tree import SharedTree
from lcp_backup.volume.slices import Block, read_slice, write_slices
from tests.support.clock import SettableClock
from tests.support.trees import TEXT, Member, odd_tree, snapshot
from tests.support.volumes import Volumes, refer_to_every_size

MIB = 1 << 20


class Workers:
    """Workers of one backup's volume, which unpack it into one folder."""

    def __init__(self, backup: StoredBackup, folder: Path) -> None:
        self._backup = backup
        self.new = folder / "new"
        self.new.mkdir(parents=True)
        self.aside = folder / "parts"
        self.left: dict[int, bytes] = {}
        with backup.volume() as volume:
            self.shared = portioned(volume.members(), workers=3, least=MIB)
            self._slices = write_slices(
                self.shared,
                volume.members(),
                volume.all_segments,
                volume.archives,
                self.left.__setitem__,
            )

    def unpack(
        self,
        portion: Portion,
        *,
        first: int | None = None,
        is_over: Callable[[], bool] = lambda: False,
        check: Callable[[], None] = lambda: None,
    ) -> int | None:
        last = self._slices[self.shared.portions.index(portion)]
        own = read_slice(last, lambda it: found(self.left, it), "a slice")
        begin = portion.first if first is None else first
        return self._tree(check).unpack(own, begin, reading(self._backup, own), is_over)

    def settled(self) -> dict[str, Member]:
        """What is there once all are done."""
        with self._backup.volume() as volume:
            self._tree(lambda: None).settle(volume.members, self.shared.most)
        return snapshot(self.new)

    def _tree(self, check: Callable[[], None]) -> SharedTree:
        return SharedTree(self.new, self.aside, threads=2, progress=lambda _: None, check=check)


def found(left: dict[int, bytes], block: Block) -> bytes:
    """A block among what was left."""
    return left[block.object][block.offset : block.offset + block.size]


@pytest.fixture
def slow_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system is slow enough for threads."""
    monkeypatch.setattr(crew, "SLOW_STEPS", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all kinds of things."""
    made = tmp_path / "data"
    odd_tree(made)
    (made / "closed").mkdir()
    (made / "closed" / "none.bin").write_bytes(bytes(9 * MIB + 1))
    (made / "closed" / "none.bin").chmod(0)
    (made / "closed").chmod(0)
    return made


@pytest.fixture
def backup(
    catalog: Catalog,
    clock: SettableClock,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> StoredBackup:
    """A backup that lies in three archives, two of which have members that are live no more."""
    refer_to_every_size(monkeypatch)
    volumes = Volumes(catalog, clock, folder, tmp_path)
    volumes.back_up()
    library = folder / "document_library" / "20097" / "0"
    (library / "block").unlink()
    (folder / "names" / "*").write_bytes(b"changed")
    (folder / "more.bin").write_bytes(os.urandom(10 * MIB) + TEXT)
    volumes.back_up()
    (folder / "names" / "-rf").write_bytes(b"changed")
    (folder / "to file").unlink()
    made = volumes.back_up()
    assert len(made.sources) == 2
    return StoredBackup(catalog, made)


@pytest.mark.usefixtures("slow_file_system")
def test_shares_in_any_order_and_at_once_make_the_very_tree(
    backup: StoredBackup, folder: Path, tmp_path: Path
) -> None:
    workers = Workers(backup, tmp_path / "staged")
    todo = list(workers.shared.portions)
    assert len({portion.source for portion in todo}) == 3
    assert len({portion.large for portion in todo if portion.large}) > 1
    random.Random(1).shuffle(todo)
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(workers.unpack, todo)) == {None}
    assert workers.settled() == snapshot(folder)
    assert list(workers.aside.iterdir()) == []


def test_a_worker_whose_time_is_always_over_does_a_little_and_is_done_in_the_end(
    backup: StoredBackup, folder: Path, tmp_path: Path
) -> None:
    workers = Workers(backup, tmp_path / "staged")
    stops = 0
    for portion in workers.shared.portions:
        first = portion.first
        while (begin := workers.unpack(portion, first=first, is_over=lambda: True)) is not None:
            assert first < begin <= portion.last
            first, stops = begin, stops + 1
    assert stops > 1
    assert workers.settled() == snapshot(folder)


def test_workers_that_die_anywhere_and_are_called_twice_change_nothing(
    backup: StoredBackup, folder: Path, tmp_path: Path
) -> None:
    """Each portion is begun, broken off, and done by two at once; one of them is killed as well."""

    def die_after(times: int) -> Callable[[], None]:
        left = iter(range(times))

        def check() -> None:
            if next(left, None) is None:
                raise LeaseLost("killed")

        return check

    def killed(portion: Portion, times: int) -> None:
        with suppress(LeaseLost):
            workers.unpack(portion, check=die_after(times))

    workers = Workers(backup, tmp_path / "staged")
    for number, portion in enumerate(workers.shared.portions):
        killed(portion, number % 3)
        with ThreadPoolExecutor(2) as pool:
            zombie = pool.submit(killed, portion, number % 5)
            assert pool.submit(workers.unpack, portion).result() is None
            zombie.result()
        killed(portion, 1)
    workers.settled()
    assert workers.settled() == snapshot(folder), "and the last step may come twice as well"


def test_the_last_step_misses_a_large_file_that_nobody_finished(
    backup: StoredBackup, tmp_path: Path
) -> None:
    workers = Workers(backup, tmp_path / "staged")
    for portion in workers.shared.portions:
        workers.unpack(portion)
    os.truncate(workers.new / "more.bin", 3)
    with pytest.raises(ArchiveDamaged, match=r"'more\.bin' was not unpacked whole"):
        workers.settled()


# --- how it is portioned ------------------------------------------------------------------------


def a_file(segment: int, size: int, *, more: int = 0, at: int = 0) -> IndexedMember:
    return IndexedMember(f"{segment}-{at}", "file", 0, segment, at, size, 0, 0o644, 0, 0, more=more)


def test_a_pipe_in_the_place_of_a_large_file_keeps_no_worker_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "large")
    with pytest.raises(OSError, match="No such device"):
        LargeFile(tmp_path, LargePiece("folder/large", 1, 0))


def test_shares_are_about_equal_and_some_for_each_worker() -> None:
    members = [a_file(number, 8 * MIB) for number in range(1000)]
    shared = portioned([*members, a_file(1000, 4000 * MIB, more=500)], 8)
    assert 32 <= len(shared.portions) <= 40
    lengths = [portion.last - portion.first + 1 for portion in shared.portions]
    assert max(lengths) <= 2 * min(lengths[:-1])


def test_where_there_is_little_to_do_there_are_few_shares() -> None:
    assert portioned([], 8).portions == ()
    assert len(portioned([a_file(1, 100), a_file(2, 100)], 64).portions) == 1


# --- which bytes are whose -----------------------------------------------------------------------


def test_an_index_that_contradicts_itself_is_damaged() -> None:
    member = a_file(5, 17 * MIB, more=2)

    def segment(number: int, first: int = 0) -> Segment:
        return Segment(
            number=number,
            offset=0,
            size=1,
            raw_size=8 * MIB,
            sha256="",
            members=1 if first else 0,
            first=first,
        )

    def header_size(segments: list[Segment]) -> int:
        begins = LargeFileBegins(member)
        for it in segments:
            begins.next(it)
        return begins.header_size()

    assert header_size([segment(5), segment(6), segment(7, MIB + 1024)]) == 1024
    for wrong in (
        [segment(5), segment(7, MIB + 1024)],
        [segment(5), segment(6)],
        [segment(5), segment(6), segment(7, MIB)],
        [segment(5), segment(6), segment(7, MIB + 1000)],
        # The file is longer, and would be cut where the index says that it ends.
        [segment(5), segment(6), segment(7, 2 * MIB)],
    ):
        with pytest.raises(ArchiveDamaged):
            header_size(wrong)
