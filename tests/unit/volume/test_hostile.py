"""Whatever an archive holds: what is taken in can be restored, and nothing else is ever touched."""

import gzip
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lcp_backup.errors import ArchiveError, ArchiveRefused
from lcp_backup.volume import crew, tree
from lcp_backup.volume.staging import stage
from lcp_backup.volume.swap import recover
from tests.support.child_process import in_child
from tests.support.taken_volume import Store
from tests.support.tars import Tar
from tests.support.unpacked import unpack


@pytest.fixture(autouse=True, scope="module")
def slow_file_system() -> Iterator[None]:
    """Every file system is slow enough for threads, and each of them gets one thing at a time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(crew, "SLOW_STEPS", 0)
        patched.setattr(tree, "_STEPS", 1)
        yield


LIBRARY = "document_library"

components = st.sampled_from(
    ["a", "b", "c", "a", "b", "l", LIBRARY, "..", ".", "", "data", "._a", ".DS_Store", "ü", " "]
)
odd_components = st.sampled_from(
    [".lcp-restore", ".LCP-Kept-1", "n" * 255, "n" * 256, "\udcff", "outside", "live", "\n", "\\"]
)
names = st.one_of(
    st.lists(components, min_size=1, max_size=4).map("/".join),
    st.lists(st.one_of(components, odd_components), min_size=1, max_size=4).map("/".join),
    st.integers(100, 140).map(lambda depth: "a/" * depth + "f"),
    st.sampled_from(["/a", "/", "a/", "a" * 5000, "x/" * 300 + "y"]),
)
targets = st.one_of(
    names,
    st.builds(lambda up, name: "../" * up + name, st.integers(0, 5), names),
    st.sampled_from(["../outside/canary", "../../outside/canary", "/etc/passwd", "t" * 4080]),
)


class Drawn(NamedTuple):
    """One member of an archive."""

    kind: bytes
    name: str
    target: str
    mode: int
    content: bytes


members = st.lists(
    st.builds(
        Drawn,
        st.sampled_from(
            [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE]
        ),
        names,
        targets,
        st.sampled_from([0o644, 0o755, 0, 0o7777, 0o200]),
        st.binary(max_size=600),
    ),
    max_size=12,
)


def packed(drawn: list[Drawn], form: int) -> bytes | None:
    """The members as an archive; None when the form cannot hold them."""
    tar = Tar(form)
    tar.add(LIBRARY, kind=tarfile.DIRTYPE, mode=0o755)
    try:
        for it in drawn:
            is_file = it.kind == tarfile.REGTYPE
            content = it.content if is_file else b""
            target = "" if is_file else it.target
            tar.add(it.name, content, kind=it.kind, target=target, mode=it.mode)
    except (ValueError, UnicodeEncodeError):
        return None
    return tar.raw()


class World:
    """A live folder, and around it what nobody may touch."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.folder = place / "live"
        self.folder.mkdir()
        outside = place / "outside"
        outside.mkdir()
        for name in ("canary", "a", "b", "l"):
            (outside / name).write_text(name)
            (outside / name).chmod(0o640)
            os.utime(outside / name, ns=(1, 2))
        os.utime(outside, ns=(1, 2))
        self._before = self._around()

    def _around(self) -> list[tuple[str, int, int, int, int, str]]:
        found = [*sorted(self._place.iterdir()), *sorted((self._place / "outside").iterdir())]
        found.remove(self.folder)
        statuses = [(it, it.lstat()) for it in found]
        return [
            (
                str(it),
                s.st_mode,
                s.st_mtime_ns,
                s.st_nlink,
                s.st_ino,
                it.read_text() if it.is_file() else "",
            )
            for it, s in statuses
        ]

    def check(self) -> None:
        assert self._around() == self._before
        self._check_within(self.folder)

    def _check_within(self, folder: Path) -> None:
        if len(str(folder)) > 1000:
            return  # there are only folders and a file in it, and the way is long
        mode = stat.S_IMODE(folder.stat().st_mode)
        # An archive may have a folder that its owner cannot look into. (The mode is put back, for
        # the next restore has to remove the folder as it is.)
        folder.chmod(mode | 0o700)
        for path in folder.iterdir():
            status = path.lstat()
            assert stat.S_ISDIR(status.st_mode) or not status.st_mode & 0o7000
            if path.is_symlink():
                landed = Path(os.path.realpath(path))
                assert landed == self.folder or self.folder in landed.parents
            elif stat.S_ISDIR(status.st_mode):
                self._check_within(path)
        folder.chmod(mode)

    def restore(self, raw: bytes) -> None:
        unpacking = unpack(
            [raw], self.folder, owner=None, threads=4, progress=lambda _: None, check=lambda: None
        )
        with unpacking as staged:
            staged.swap()
        assert staged.notices == ()

    def require_next_restore(self) -> None:
        assert recover(self.folder) == ()
        self.restore(Tar().add("honest", b"x").raw())
        assert [it.name for it in self.folder.iterdir()] == ["honest"]
        with stage(self.folder) as staged:
            assert staged.notices == ()
        assert len(list(self._place.iterdir())) == 2


def tried(place: Path, drawn: list[Drawn], form: int) -> None:
    raw = packed(drawn, form)
    if raw is None:
        return
    world = World(place)
    # As an archive that was never taken in, but lies in the bucket.
    with suppress(ArchiveError):
        world.restore(raw)
    world.check()
    world.require_next_restore()
    store = Store()
    try:
        store.take(gzip.compress(raw))
    except ArchiveRefused:
        return
    store.restore(world.folder)
    world.check()
    world.require_next_restore()
    world.check()


@given(drawn=members, form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_taken_in_can_be_restored_and_nothing_else_is_touched(
    drawn: list[Drawn], form: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tried(tmp_path_factory.mktemp("world"), drawn, form)


def test_who_is_not_root_can_restore_what_was_taken_in_too() -> None:
    def work() -> None:
        number = 0

        @given(drawn=members)
        @settings(
            max_examples=60,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        def any_archive(drawn: list[Drawn]) -> None:
            nonlocal number
            number += 1
            place = Path.cwd() / str(number)
            place.mkdir()
            tried(place, drawn, tarfile.PAX_FORMAT)

        any_archive()

    in_child(work, as_nobody=True)


KINDS: dict[str, Callable[[Tar], object]] = {
    "link by a second name": lambda tar: tar.add(
        f"{LIBRARY}/a/b/c/d/e/f/g/h/l", kind=tarfile.SYMTYPE, target="../" * 9 + "etc/passwd"
    ).add(f"{LIBRARY}/evil", kind=tarfile.LNKTYPE, target=f"{LIBRARY}/a/b/c/d/e/f/g/h/l"),
    "1,500 folders": lambda tar: tar.add("d/" * 1500 + "f", b"x"),
    "300 bytes": lambda tar: tar.add(f"{LIBRARY}/{'n' * 300}"),
    "target of 5,000": lambda tar: tar.add(f"{LIBRARY}/l", kind=tarfile.SYMTYPE, target="t" * 5000),
}


@pytest.mark.parametrize("kind", KINDS)
def test_attacks_that_got_through_are_refused_when_they_are_taken_in(
    kind: str, tmp_path: Path
) -> None:
    tar = Tar().add(LIBRARY, kind=tarfile.DIRTYPE, mode=0o755)
    KINDS[kind](tar)
    raw = tar.raw()
    with pytest.raises(ArchiveRefused):
        Store().take(raw)
    world = World(tmp_path)
    with suppress(ArchiveRefused):
        world.restore(raw)
    world.check()
    world.require_next_restore()
