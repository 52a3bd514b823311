"""What a backup leaves out on purpose, a restore leaves where it is."""

import os
from pathlib import Path

import pytest

from lcp_backup.errors import OutOfTime, VolumeError, VolumeIncomplete
from lcp_backup.volume import mounts
from lcp_backup.volume.outward_links import carry_over
from tests.support.archived import Archived
from tests.support.trees import snapshot
from tests.support.unpacked import unpack

MOMENT = 1_600_000_000_123_456_789


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "doc").write_text("doc")
    return outside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "document_library").mkdir(parents=True)
    (folder / "license.xml").write_text("x")
    return folder


def restore(archived: Archived, folder: Path) -> list[str]:
    with unpack(
        [archived.raw()], folder, owner=None, threads=4, progress=lambda _: None, check=lambda: None
    ) as staged:
        staged.swap()
    return [f"{notice.code} {notice.subject}" for notice in staged.notices]


@pytest.mark.parametrize("target", ["{outside}", "../outside", "nowhere/../../x", "/nowhere"])
def test_a_document_library_that_lies_elsewhere_fails_the_backup(
    folder: Path, outside: Path, target: str
) -> None:
    (folder / "document_library").rmdir()
    (folder / "document_library").symlink_to(target.format(outside=outside))
    with pytest.raises(VolumeIncomplete) as raised:
        Archived(folder)
    assert "'document_library' is a symbolic link that leads out" in raised.value.public
    assert "Move that folder to where the link is" in raised.value.public


def test_a_folder_of_the_library_that_lies_elsewhere_fails_the_backup(
    folder: Path, outside: Path
) -> None:
    (folder / "document_library" / "file").symlink_to(outside / "doc")
    (folder / "document_library" / "nowhere").symlink_to("/nowhere")
    assert [code for code, _ in Archived(folder).notices] == ["link-outside"] * 2
    (folder / "document_library" / "20097").symlink_to(outside)
    with pytest.raises(VolumeIncomplete, match="'document_library/20097' is a symbolic link"):
        Archived(folder)


def test_a_library_behind_a_link_that_stays_inside_is_backed_up(folder: Path) -> None:
    (folder / "document_library").rename(folder / "real")
    (folder / "real" / "doc").write_text("doc")
    (folder / "document_library").symlink_to("real")
    assert Archived(folder).contents() == {"license.xml": b"x", "real/doc": b"doc"}


@pytest.mark.parametrize("way", ["beside", "inside"])
def test_a_restore_leaves_the_links_that_no_backup_holds(
    folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(mounts, "mount_points", lambda: {folder} if way == "inside" else set())
    (folder / "logs").symlink_to(outside)
    (folder / "document_library" / "dangling").symlink_to("/nowhere")
    os.utime(folder / "logs", ns=(MOMENT, MOMENT), follow_symlinks=False)
    os.utime(folder / "document_library", ns=(MOMENT, MOMENT))
    (folder / "document_library").chmod(0o555)
    archived = Archived(folder)
    before = snapshot(folder)
    (folder / "license.xml").unlink()

    assert restore(archived, folder) == []

    assert snapshot(folder) == before
    assert (folder / "logs").readlink() == outside
    assert [it.name for it in outside.iterdir()] == ["doc"]
    assert sorted(it.name for it in folder.parent.iterdir()) == ["data", "outside"]


def test_a_link_that_is_newer_than_the_backup_stays_too(folder: Path, outside: Path) -> None:
    """The backup cannot know it; that it is not in there says nothing."""
    archived = Archived(folder)
    (folder / "logs").symlink_to(outside)
    assert restore(archived, folder) == []
    assert (folder / "logs").is_symlink()


def test_a_link_that_cannot_stay_is_told(folder: Path, outside: Path) -> None:
    archived = Archived(folder)
    (folder / "document_library").rmdir()
    (folder / "document_library").symlink_to(outside)
    (folder / "newer").mkdir()
    (folder / "newer" / "link").symlink_to(outside)
    assert restore(archived, folder) == [
        "link-not-kept document_library",
        "link-not-kept newer/link",
    ]
    assert (folder / "document_library").is_dir(follow_symlinks=False)
    assert (outside / "doc").read_text() == "doc"


def test_links_in_a_selection_that_is_restored_stay_and_no_other_is_looked_at(
    folder: Path, outside: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "link").symlink_to(outside)
    new = tmp_path / "new"
    (new / "a").mkdir(parents=True)
    assert carry_over(folder, new, ("a", "license.xml", "missing"), check=_nothing) == ()
    assert sorted(str(it.relative_to(new)) for it in new.rglob("*")) == ["a", "a/link"]


def test_no_link_of_the_new_tree_is_followed(folder: Path, outside: Path, tmp_path: Path) -> None:
    (folder / "document_library" / "l").symlink_to("/nowhere")
    new = tmp_path / "new"
    new.mkdir()
    (new / "document_library").symlink_to(outside)
    (notice,) = carry_over(folder, new, check=_nothing)
    assert (notice.code, notice.subject) == ("link-not-kept", "document_library/l")
    assert [it.name for it in outside.iterdir()] == ["doc"]


def test_a_live_folder_that_cannot_be_read_does_not_stop_its_restore(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refusing(path: str | Path, *args: int, **kwargs: int) -> int:
        if path == folder:
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    (tmp_path / "new").mkdir()
    (notice,) = carry_over(folder, tmp_path / "new", check=_nothing)
    assert (notice.code, notice.subject) == ("link-not-kept", ".")


def test_a_tree_that_cannot_be_written_fails_before_anything_moves(
    folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived = Archived(folder)
    (folder / "logs").symlink_to(outside)
    before = snapshot(folder)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "symlink", full)
    with pytest.raises(VolumeError, match="No space left"):
        restore(archived, folder)
    assert snapshot(folder) == before
    assert sorted(it.name for it in folder.parent.iterdir()) == ["data", "outside"]


def _nothing() -> None:
    """Checks nothing."""


def test_a_run_that_has_to_stop_is_told_while_links_are_looked_for(tmp_path: Path) -> None:
    folder, new = tmp_path / "live", tmp_path / "new"
    (folder / "a" / "b").mkdir(parents=True)
    new.mkdir()

    def stop() -> None:
        raise OutOfTime("enough")

    with pytest.raises(OutOfTime):
        carry_over(folder, new, check=stop)
