"""An archive is whole and plain, or it is not there."""

import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lcp_backup.archive.deflate import inflate_member
from lcp_backup.archive.index import IndexReader, read_index
from lcp_backup.archive.read import read_back
from lcp_backup.archive.segment import IndexedMember, Section, Segment
from lcp_backup.archive.write import SEGMENT_SIZE, ArchiveWriter, OnlyFile, WrittenArchive
from lcp_backup.errors import ArchiveDamaged, StorageError
from tests.support.buffers import Buffer

MODIFIED = datetime(2026, 11, 23, 4, 5, 6, tzinfo=UTC)
STATEMENTS = [b"DROP DATABASE x;\n", b"INSERT INTO t VALUES (1);\n" * 9999, b"-- Dump completed\n"]


def writer_of(
    sink: Buffer, index_sink: Buffer, only_file: OnlyFile | None = None, threads: int = 2
) -> ArchiveWriter:
    return ArchiveWriter(
        sink,
        index_sink,
        name="database.tgz",
        index_name="database.index",
        threads=threads,
        only_file=only_file,
    )


def write_file(segments: Sequence[bytes]) -> tuple[Buffer, Buffer, WrittenArchive]:
    sink, index_sink = Buffer(), Buffer()
    with writer_of(sink, index_sink, OnlyFile("lportal.sql", MODIFIED)) as writer:
        for raw in segments:
            writer.add([raw[:7], raw[7:]], section=Section.ROWS, table="t")
        written = writer.finish()
    return sink, index_sink, written


def test_the_archive_of_a_file_is_one_that_gzip_tar_and_python_open(tmp_path: Path) -> None:
    sink, _, _ = write_file(STATEMENTS)
    path = tmp_path / "database.tgz"
    path.write_bytes(sink.data)

    subprocess.run(["gzip", "-t", path], check=True)
    out = subprocess.run(
        ["tar", "-xzOf", path, "lportal.sql"],
        check=True,
        capture_output=True,
    )
    assert out.stdout == b"".join(STATEMENTS)
    assert out.stderr == b""
    with tarfile.open(path) as opened:
        (member,) = opened.getmembers()
        assert member.size == len(out.stdout)
        assert member.mtime == MODIFIED.timestamp()


@pytest.mark.parametrize("size", [1, 511, 512, 513])
def test_a_file_of_any_length_is_filled_up_to_a_block(size: int) -> None:
    sink, _, _ = write_file([b"x" * size])

    raw = gzip.decompress(sink.data)
    assert len(raw) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(raw)) as opened:
        extracted = opened.extractfile("lportal.sql")
        assert extracted is not None
        assert extracted.read() == b"x" * size


def test_an_empty_file_is_a_valid_archive_too() -> None:
    sink, index_sink, written = write_file([])

    assert written.segments == 0
    with tarfile.open(fileobj=io.BytesIO(sink.data)) as opened:
        assert [member.size for member in opened.getmembers()] == [0]
    assert list(read_index(index_sink, archive_name="database.tgz")) == []


def test_the_index_gives_true_places_of_segments_that_inflate_alone() -> None:
    sink, index_sink, written = write_file(STATEMENTS)

    segments = list(read_index(index_sink, archive_name="database.tgz"))

    assert [segment.table for segment in segments] == ["t"] * 3
    for segment, raw in zip(segments, STATEMENTS, strict=True):
        data = sink.data[segment.offset : segment.offset + segment.size]
        assert inflate_member(data, segment.raw_size) == raw
        assert gzip.decompress(data) == raw
        assert hashlib.sha256(data).hexdigest() == segment.sha256
    assert (written.size, written.raw_size) == (len(sink.data), len(gzip.decompress(sink.data)))
    assert written.index_size == len(index_sink.data)
    assert written.index_sha256 == hashlib.sha256(index_sink.data).hexdigest()


def test_the_index_lists_members_and_segments_wherever_they_lie() -> None:
    sink, index_sink = Buffer(), Buffer()
    foreign = Segment(
        source=1, number=7, offset=70, size=3, raw_size=9, sha256="0", members=2, first=4
    )
    own = IndexedMember("a", "file", 0, 0, 512, 1, 2, 0o644, 3, 4)
    other = own._replace(name="b", source=1, segment=7, more=1)
    with ArchiveWriter(
        sink,
        index_sink,
        name="volume.tgz",
        index_name="volume.index",
        threads=2,
        sources=("acme-prd-202611220015",),
    ) as writer:
        writer.add([b"raw"], members=2, first=1)
        writer.list_member(own)
        writer.add([b"more"])
        writer.list_member(other)
        writer.list_segment(foreign)
        written = writer.finish()
    reader = IndexReader(index_sink, archive_name="volume.tgz")
    first, second, third, members = reader.lines()
    assert reader.sources == ("acme-prd-202611220015",)
    assert (third, members) == (foreign, [own, other])
    assert isinstance(first, Segment)
    assert isinstance(second, Segment)
    assert [(it.number, it.members, it.first) for it in (first, second)] == [(0, 2, 1), (1, 0, 0)]
    # What lies elsewhere is no part of the archive.
    assert (written.segments, written.raw_size, written.size) == (2, 7, sink.size)


def test_the_sha256_is_the_whole_objects() -> None:
    sink, index_sink = Buffer(), Buffer()
    with writer_of(sink, index_sink) as writer:
        writer.add([b"raw"])
        written = writer.finish()
    assert written.sha256 == hashlib.sha256(sink.data).hexdigest()

    sink, index_sink, written = write_file(STATEMENTS)
    assert written.sha256 is None
    described = read_back(written, sink, index_sink, threads=2)
    assert described.sha256 == hashlib.sha256(sink.data).hexdigest()


def test_equal_content_gives_equal_bytes() -> None:
    assert write_file(STATEMENTS)[0].data == write_file(STATEMENTS)[0].data


def test_an_exception_that_leaves_publishes_nothing() -> None:
    sink, index_sink = Buffer(), Buffer()

    def dump_that_dies() -> None:
        with writer_of(sink, index_sink, OnlyFile("lportal.sql", MODIFIED)) as writer:
            writer.add([STATEMENTS[0]])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dump_that_dies()
    assert (sink.visible, index_sink.visible) == (False, False)
    assert (sink.aborted, index_sink.aborted) == (True, True)


def test_leaving_without_finish_publishes_nothing() -> None:
    sink, index_sink = Buffer(), Buffer()
    with writer_of(sink, index_sink) as writer:
        writer.add([b"raw"])
    assert (sink.visible, index_sink.visible) == (False, False)
    assert (sink.aborted, index_sink.aborted) == (True, True)


@pytest.mark.parametrize(
    ("sink", "index_sink"),
    [
        (Buffer(fail_at=1000), Buffer()),
        (Buffer(fail_complete=True), Buffer()),
        (Buffer(), Buffer(fail_at=10)),
    ],
)
def test_a_storage_that_fails_leaves_nothing(sink: Buffer, index_sink: Buffer) -> None:
    def write() -> None:
        with writer_of(sink, index_sink) as writer:
            for _ in range(3):
                writer.add([bytes(range(256)) * 1000])
            writer.finish()

    with pytest.raises(StorageError):
        write()
    assert (sink.visible, index_sink.visible) == (False, False)
    assert (sink.aborted, index_sink.aborted) == (True, True)


def test_an_index_that_fails_last_is_aborted_and_the_error_is_told() -> None:
    sink, index_sink = Buffer(), Buffer(fail_complete=True)
    with writer_of(sink, index_sink) as writer:
        writer.add([b"raw"])
        with pytest.raises(StorageError):
            writer.finish()
        assert index_sink.aborted
        assert not sink.aborted


def test_a_finished_archive_is_not_aborted_when_the_block_ends() -> None:
    sink, index_sink, _ = write_file(STATEMENTS)
    assert (sink.aborted, index_sink.aborted) == (False, False)


def test_the_queue_is_bounded() -> None:
    sink, index_sink = Buffer(), Buffer()
    raw = bytes(SEGMENT_SIZE)
    with writer_of(sink, index_sink, threads=1) as writer:
        for count in range(1, 9):
            written_before = sink.written
            writer.add([raw])
            assert sink.written > written_before or count <= 3


def test_a_segment_larger_than_the_queue_passes() -> None:
    sink, index_sink = Buffer(), Buffer()
    with writer_of(sink, index_sink, threads=1) as writer:
        for raw in (b"small", bytes(SEGMENT_SIZE * 5), b"small"):
            writer.add([raw])
        assert writer.finish().segments == 3


# --- segments of other archives -------------------------------------------------------------------


def old_archive(count: int = 3) -> tuple[Buffer, list[Segment]]:
    """An archive of some folders, and its segments."""
    sink, index_sink = Buffer(), Buffer()
    with writer_of(sink, index_sink) as writer:
        for number in range(count):
            writer.add([b"old %d" % number * 999], members=number + 1)
        writer.finish()
    return sink, list(read_index(index_sink, archive_name="database.tgz"))


def test_a_copied_segment_is_the_old_one_at_a_new_place_and_behind_what_was_added_before() -> None:
    old, segments = old_archive()
    sink, index_sink = Buffer(), Buffer()
    with writer_of(sink, index_sink) as writer:
        writer.add([b"first" * 1_000_000])
        writer.copy(old, segments[2])
        writer.add([b"second"])
        writer.copy(old, segments[0])
        assert writer.raw_size == 5_000_000 + 6 + segments[0].raw_size + segments[2].raw_size
        written = writer.finish()
    found = list(read_index(index_sink, archive_name="database.tgz"))
    raws = [inflate_member(sink.data[it.offset : it.offset + it.size], it.raw_size) for it in found]
    assert raws == [b"first" * 1_000_000, b"old 2" * 999, b"second", b"old 0" * 999]
    for copied, before in ((found[1], segments[2]), (found[3], segments[0])):
        place = {"offset": before.offset, "number": before.number}
        assert copied.model_copy(update=place) == before
        assert copied.members == before.members
    assert (written.size, written.segments, written.copied_segments) == (len(sink.data), 4, 2)
    assert written.raw_size == len(gzip.decompress(sink.data))


def test_nobody_knows_the_sha256_of_an_archive_with_copied_segments() -> None:
    old, segments = old_archive()
    sink, index_sink = Buffer(), Buffer()
    with writer_of(sink, index_sink) as writer:
        writer.copy(old, segments[0])
        writer.add([b"own"])
        written = writer.finish()
    assert written.sha256 is None
    assert written.described(None).sha256 is None
    described = read_back(written, sink, index_sink, threads=2)
    assert described.sha256 == hashlib.sha256(sink.data).hexdigest()


def test_a_segment_that_its_source_does_not_hold_is_refused_before_anything_is_copied() -> None:
    old, segments = old_archive()
    sink, index_sink = Buffer(), Buffer()
    beyond = segments[2].model_copy(update={"size": segments[2].size + 1})
    with (
        writer_of(sink, index_sink) as writer,
        pytest.raises(ArchiveDamaged, match=f"at byte {beyond.offset} of an archive"),
    ):
        writer.copy(old, beyond)
    assert sink.written == 0


def test_an_archive_whose_head_is_written_last_takes_no_copies() -> None:
    old, segments = old_archive()
    with (
        writer_of(Buffer(), Buffer(), OnlyFile("lportal.sql", MODIFIED)) as writer,
        pytest.raises(ValueError, match="OnlyFile"),
    ):
        writer.copy(old, segments[0])
