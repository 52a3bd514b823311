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
from lcp_backup.jobs.stored_backup import StoredBackup, StoredVolume
from lcp_backup.volume import crew
from lcp_backup.volume.large_files import LargeFile, Pieces
from lcp_backup.volume.portions import Portion, is_large, portioned
from lcp_backup.volume.shared_tree import SharedTree
from tests.support.clock import SettableClock
from tests.support.trees import TEXT, Member, odd_tree, snapshot
from tests.support.volumes import Volumes, refer_to_every_size

MIB = 1 << 20


class Workers:
    """Workers of one volume, which unpack it into one folder."""

    def __init__(self, volume: StoredVolume, folder: Path) -> None:
        self._volume = volume
        self.new = folder / "new"
        self.new.mkdir(parents=True)
        self.aside = folder / "parts"
        self.shared = portioned(volume.members(), workers=3, least=MIB)

    def unpack(
        self,
        portion: Portion,
        *,
        is_over: Callable[[], bool] = lambda: False,
        check: Callable[[], None] = lambda: None,
    ) -> int | None:
        return self._tree(check).unpack(portion, is_over)

    def settled(self) -> dict[str, Member]:
        """What is there once all are done."""
        self._tree(lambda: None).settle()
        return snapshot(self.new)

    def _tree(self, check: Callable[[], None]) -> SharedTree:
        return SharedTree(
            self._volume,
            self._volume.members,
            self.shared.most,
            self.new,
            self.aside,
            threads=2,
            progress=lambda _: None,
            check=check,
        )


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
    with backup.volume() as volume:
        workers = Workers(volume, tmp_path / "staged")
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
    with backup.volume() as volume:
        workers = Workers(volume, tmp_path / "staged")
        stops = 0
        for portion in workers.shared.portions:
            left = portion
            while (begin := workers.unpack(left, is_over=lambda: True)) is not None:
                assert left.first < begin <= portion.last
                left, stops = left._replace(first=begin), stops + 1
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

    with backup.volume() as volume:
        workers = Workers(volume, tmp_path / "staged")
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
    with backup.volume() as volume:
        workers = Workers(volume, tmp_path / "staged")
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
    member = a_file(0, 1, more=1)._replace(name="folder/large")
    with pytest.raises(OSError, match="No such device"):
        LargeFile(tmp_path, member)


@pytest.mark.parametrize("workers", [1, 2, 8, 64])
def test_every_member_is_in_one_share_and_every_piece_too(workers: int) -> None:
    rng = random.Random(workers)
    members, segment = [], 0
    for number in range(1000):
        size = rng.choice([0, 1000, 3 * MIB, 40 * MIB, 6000 * MIB])
        more = size >> 23
        members.append(a_file(segment, size, more=more, at=number))
        segment += rng.choice([0, 1]) + more
    shared = portioned(members, workers)
    for member in members:
        holders = [it for it in shared.portions if it.holds(member, shared.most)]
        if is_large(member, shared.most):
            covered = sorted(n for it in holders for n in range(it.first, it.last + 1))
            assert covered == list(range(member.segment, member.segment + member.more + 1))
        else:
            assert len(holders) == 1
    assert len(shared.portions) < 10_000


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

    Pieces(member, [segment(5), segment(6), segment(7, MIB + 1024)])
    for wrong in (
        [segment(5), segment(7, MIB + 1024)],
        [segment(5), segment(6)],
        [segment(5), segment(6), segment(7, MIB)],
        [segment(5), segment(6), segment(7, MIB + 1000)],
    ):
        with pytest.raises(ArchiveDamaged):
            Pieces(member, wrong)
