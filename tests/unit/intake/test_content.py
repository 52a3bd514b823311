"""What lies around the files that are meant: archives that were joined, and what macOS adds."""

import pytest

from lcp_backup.errors import ArchiveError
from lcp_backup.intake.content import is_apples
from tests.support.taken_database import SQL, gzipped, take, tar

OTHER = SQL.replace(b"Company", b"Group_")


@pytest.mark.parametrize(
    "joined",
    [
        gzipped(tar(("one.sql", SQL))) + gzipped(tar(("two.sql", OTHER))),
        gzipped(tar(("one.sql", SQL)) + tar(("two.sql", OTHER))),
        tar(("one.sql", SQL)) + tar(("two.sql", OTHER)),
        tar(("one.sql", SQL)) + b"-- more",
    ],
    ids=["gzip files", "archives in a gzip file", "archives", "text behind it"],
)
def test_a_second_archive_behind_the_dumps_is_not_lost_without_a_word(joined: bytes) -> None:
    with pytest.raises(ArchiveError, match="bytes after the end of the archive"):
        take(joined)


def test_a_dumps_archive_without_its_end_is_refused() -> None:
    raw = tar(("one.sql", SQL))
    with pytest.raises(ArchiveError, match="mark of its end is missing"):
        take(raw.rstrip(b"\0") + bytes(-len(raw.rstrip(b"\0")) % 512))


@pytest.mark.parametrize("name", [".DS_Store", "./.DS_Store", "dump/.DS_Store", "._one.sql"])
def test_what_macos_adds_around_a_dump_is_passed_over(name: str) -> None:
    taken = take(tar((name, b"Mac"), ("one.sql", SQL), ("._.", b"Mac")))
    assert taken.facts.name == "lportal"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("._1.0", True),
        ("document_library/20097/._1.0", True),
        ("a/.DS_Store", True),
        ("1.0", False),
        ("._folder/1.0", False),
        (".ds_store", False),
        ("a._b", False),
    ],
)
def test_what_macos_adds_is_known_by_its_name(name: str, *, is_one: bool) -> None:
    assert is_apples(name) == is_one
