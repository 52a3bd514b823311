"""What a manifest says of an archive, and which archives are read again for it."""

import hashlib
from datetime import UTC, datetime

import pytest

from lcp_backup.archive.index import read_index
from lcp_backup.archive.write import OnlyFile
from lcp_backup.aws.s3_reader import ObjectReader
from lcp_backup.catalog import Catalog
from lcp_backup.jobs.archives import open_archive, read_back_or_describe
from lcp_backup.model import ArchiveKind

OLD, NEW = "acme-prd-202611230015", "acme-prd-202611240015"


@pytest.fixture
def opened(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The objects that are opened to be read from here on."""
    names: list[str] = []
    real = catalog.backups.open

    def note(backup_id: str, name: str) -> ObjectReader:
        names.append(f"{backup_id}/{name}")
        return real(backup_id, name)

    monkeypatch.setattr(catalog.backups, "open", note)
    return names


def test_an_archive_into_which_segments_were_copied_is_not_read_and_has_no_sha256(
    catalog: Catalog, opened: list[str]
) -> None:
    with open_archive(catalog, OLD, ArchiveKind.VOLUME, None) as writer:
        writer.add([b"old"])
        old = read_back_or_describe(catalog, OLD, writer.finish())
    source = catalog.backups.open(OLD, old.name)
    index = catalog.backups.open(OLD, old.index_name)
    opened.clear()
    with open_archive(catalog, NEW, ArchiveKind.VOLUME, None) as writer:
        for segment in read_index(index, archive_name=old.name):
            writer.copy(source, segment)
        new = read_back_or_describe(catalog, NEW, writer.finish())
    assert opened == []
    assert old.sha256 is not None
    (segment,) = read_index(index, archive_name=old.name)
    digest = hashlib.sha256(bytes.fromhex(segment.sha256)).hexdigest()
    assert new == old.model_copy(update={"sha256": None, "segments_sha256": digest})


def test_an_archive_whose_head_was_written_last_is_read_for_its_sha256(
    catalog: Catalog, opened: list[str]
) -> None:
    only_file = OnlyFile("lportal.sql", datetime(2026, 11, 23, tzinfo=UTC))
    with open_archive(catalog, OLD, ArchiveKind.DATABASE, only_file) as writer:
        writer.add([b"-- dump\n"])
        archive = read_back_or_describe(catalog, OLD, writer.finish())
    assert opened == [f"{OLD}/database.tgz", f"{OLD}/database.index"]
    source = catalog.backups.open(OLD, archive.name)
    assert archive.sha256 == hashlib.sha256(source.read(0, source.size)).hexdigest()
