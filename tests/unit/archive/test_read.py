"""Nothing of an archive is handed out that is not what was written."""

import gzip
import hashlib
import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.archive.deflate import inflate_member, inflate_stream, stored_member
from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import (
    OpenArchive,
    check_gaps,
    read_back,
    read_segments,
    read_segments_of,
    read_whole,
)
from lcp_backup.archive.segment import Segment
from lcp_backup.archive.write import SEGMENT_SIZE, ArchiveWriter, WrittenArchive
from lcp_backup.errors import ArchiveDamaged, ArchiveRefused
from tests.support.buffers import Buffer

NAME = "volume.tgz"


def archive_of(raws: list[bytes]) -> tuple[Buffer, Buffer, WrittenArchive]:
    sink, index_sink = Buffer(), Buffer()
    with ArchiveWriter(sink, index_sink, name=NAME, index_name="volume.index", threads=2) as writer:
        for raw in raws:
            writer.add([raw])
        written = writer.finish()
    return sink, index_sink, written


def index(index_sink: Buffer) -> Iterator[Segment]:
    return read_index(index_sink, archive_name=NAME)


@pytest.fixture(scope="module")
def raws() -> list[bytes]:
    chance = random.Random(1)
    return [chance.randbytes(chance.randrange(1, 3000)) + b"text " * 300 for _ in range(40)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_segments_come_back_in_order(raws: list[bytes], threads: int) -> None:
    source, index_sink, _ = archive_of(raws)

    pairs = list(read_segments(source, index(index_sink), name=NAME, threads=threads))

    assert [raw for _, raw in pairs] == raws


def test_some_segments_can_be_asked_for(raws: list[bytes]) -> None:
    source, index_sink, _ = archive_of(raws)
    wanted = list(index(index_sink))[3::7]

    pairs = list(read_segments(source, wanted, name=NAME, threads=2))

    assert pairs == [(segment, raws[3 + 7 * n]) for n, segment in enumerate(wanted)]
    assert len(source.reads) == len(wanted)


class TestSeveralArchives:
    """Segments of several archives, one after the other in any order."""

    @pytest.fixture
    def archives(self, raws: list[bytes]) -> list[OpenArchive]:
        return [
            OpenArchive(archive_of(some)[0], f"volume.tgz of backup {number}")
            for number, some in enumerate((raws[:20], raws[20:]))
        ]

    @pytest.fixture
    def segments(self, raws: list[bytes]) -> list[Segment]:
        """One of each, in turn."""
        first, second = (
            [it.model_copy(update={"source": source}) for it in index(archive_of(some)[1])]
            for source, some in enumerate((raws[:20], raws[20:]))
        )
        return [it for pair in zip(first, second, strict=True) for it in pair]

    @pytest.mark.parametrize("threads", [1, 3])
    def test_each_segment_comes_from_the_archive_it_lies_in(
        self,
        raws: list[bytes],
        archives: list[OpenArchive],
        segments: list[Segment],
        threads: int,
    ) -> None:
        asked: list[Segment] = []

        def archive_of_segment(segment: Segment) -> OpenArchive:
            asked.append(segment)
            return archives[segment.source]

        read = list(read_segments_of(archive_of_segment, segments, threads=threads))
        assert [segment for segment, _ in read] == asked == segments
        expected = [raw for pair in zip(raws[:20], raws[20:], strict=True) for raw in pair]
        assert [raw for _, raw in read] == expected

    def test_what_is_damaged_is_named_by_the_archive_it_lies_in(
        self, archives: list[OpenArchive], segments: list[Segment]
    ) -> None:
        reading = read_segments_of(lambda it: archives[1 - it.source], segments, threads=2)
        with pytest.raises(ArchiveDamaged, match=r"volume\.tgz of backup 1: segment 1, .* byte 0,"):
            next(reading)

    def test_an_archive_that_cannot_be_opened_ends_the_reading(
        self, archives: list[OpenArchive], segments: list[Segment]
    ) -> None:
        def opened(segment: Segment) -> OpenArchive:
            if segment.source:
                raise ArchiveDamaged("volume.tgz of backup 1 is missing")
            return archives[0]

        with pytest.raises(ArchiveDamaged, match="backup 1 is missing"):
            list(read_segments_of(opened, segments, threads=2))


def test_a_flipped_byte_names_the_archive_the_segment_and_the_offset(raws: list[bytes]) -> None:
    source, index_sink, written = archive_of(raws)
    segments = list(index(index_sink))
    for number, segment in enumerate(segments, 1):
        data = bytearray(source.data)
        data[segment.offset + segment.size // 2] ^= 1
        with pytest.raises(ArchiveDamaged) as raised:
            list(read_segments(Buffer(bytes(data)), segments, name=NAME, threads=2))
        message = str(raised.value)
        assert f"{NAME}: segment {number}," in message
        assert f"at byte {segment.offset}," in message
        with pytest.raises(ArchiveDamaged, match=f"segment {number},"):
            read_back(written, Buffer(bytes(data)), index_sink, threads=2)


def test_what_was_handed_out_before_a_damaged_segment_was_right(raws: list[bytes]) -> None:
    source, index_sink, _ = archive_of(raws)
    segments = list(index(index_sink))
    data = bytearray(source.data)
    data[segments[9].offset] ^= 1
    reading = read_segments(Buffer(bytes(data)), segments, name=NAME, threads=3)

    assert [next(reading)[1] for _ in range(9)] == raws[:9]
    with pytest.raises(ArchiveDamaged, match="segment 10,"):
        next(reading)


def test_an_archive_that_is_cut_short_is_refused(raws: list[bytes]) -> None:
    source, index_sink, written = archive_of(raws)
    short = Buffer(source.data[:-1])

    with pytest.raises(ArchiveDamaged, match="segment 40, .* is not there"):
        list(read_segments(short, index(index_sink), name=NAME, threads=2))
    with pytest.raises(ArchiveDamaged, match="were written"):
        read_back(written, short, index_sink, threads=2)


@pytest.mark.parametrize("raw_size", [0, 999, 1001, 10**12])
def test_a_segment_that_inflates_to_another_size_is_refused(raw_size: int) -> None:
    source, index_sink, _ = archive_of([bytes(1000)])
    (segment,) = index(index_sink)
    lying = segment.model_copy(update={"raw_size": raw_size})

    with pytest.raises(ArchiveDamaged, match=f"exactly {raw_size} bytes"):
        list(read_segments(source, [lying], name=NAME, threads=1))


def test_a_segment_is_never_inflated_beyond_its_size() -> None:
    bomb = gzip.compress(bytes(100 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveDamaged):
            inflate_member(bomb, 1000)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_segment_that_is_two_members_is_refused() -> None:
    data = gzip.compress(b"one") + gzip.compress(b"two")
    sha256 = hashlib.sha256(data).hexdigest()
    segment = Segment(offset=0, size=len(data), raw_size=3, sha256=sha256)
    with pytest.raises(ArchiveDamaged, match="segment 1"):
        list(read_segments(Buffer(data), [segment], name=NAME, threads=1))


def gap_archive(gap: bytes) -> tuple[Buffer, list[Segment]]:
    """Two segments, with something in front of each and behind the second."""
    first, second = stored_member(b"first"), stored_member(b"second")
    places = [len(gap), 2 * len(gap) + len(first)]
    segments = [
        Segment(offset=at, size=len(data), raw_size=1, sha256="")
        for at, data in zip(places, (first, second), strict=True)
    ]
    return Buffer(gap + first + gap + second + gap), segments


def test_gaps_between_segments_are_read_by_tar_and_so_they_are_by_us() -> None:
    for gap in (b"", stored_member(b"gap"), stored_member(b"a") * 2):
        buffer, segments = gap_archive(gap)
        check_gaps(buffer, segments, size=buffer.size, name="it", check=lambda: None)
    for gap in (b"\0" * 40, stored_member(b"gap")[:-1], b"no gzip"):
        buffer, segments = gap_archive(gap)
        with pytest.raises(ArchiveDamaged, match="it, outside of its segments, at bytes 0 to"):
            check_gaps(buffer, segments, size=buffer.size, name="it", check=lambda: None)
    buffer, segments = gap_archive(stored_member(b"gap"))
    with pytest.raises(ArchiveDamaged, match=f"it has {buffer.size} bytes, and 7 were written"):
        check_gaps(buffer, segments, size=7, name="it", check=lambda: None)


def test_reading_ahead_is_bounded() -> None:
    source, index_sink, _ = archive_of([bytes(SEGMENT_SIZE)] * 30)
    taken = 0

    def counted() -> Iterator[Segment]:
        nonlocal taken
        for segment in index(index_sink):
            taken += 1
            yield segment

    reading = read_segments(source, counted(), name=NAME, threads=1)

    next(reading)

    # (threads + 2) times two segments' bytes; a segment of zeros stores next to nothing.
    assert taken <= 7
    reading.close()


def test_leaving_early_ends_the_threads(raws: list[bytes]) -> None:
    source, index_sink, _ = archive_of(raws)
    for segment, raw in read_segments(source, index(index_sink), name=NAME, threads=2):
        assert segment.raw_size == len(raw)
        break


def test_reading_back_finds_an_object_that_is_not_what_the_writer_wrote(raws: list[bytes]) -> None:
    source, _, written = archive_of(raws)
    _, other_index, other = archive_of(raws[::-1])
    with pytest.raises(ArchiveDamaged):
        read_back(written, source, other_index, threads=2)
    with pytest.raises(ArchiveDamaged):
        read_back(other, source, other_index, threads=2)


@given(
    raws=st.lists(st.binary(max_size=2000), min_size=1, max_size=8),
    cut=st.integers(1, 700),
    zeros=st.integers(0, 600),
)
def test_a_stream_of_members_inflates_to_all_of_them(
    raws: list[bytes], cut: int, zeros: int
) -> None:
    data = b"".join(
        stored_member(raw) if number % 2 else gzip.compress(raw) for number, raw in enumerate(raws)
    ) + bytes(zeros)
    chunks = [data[at : at + cut] for at in range(0, len(data), cut)]

    assert b"".join(inflate_stream(chunks, name=NAME)) == b"".join(raws)


def test_a_stored_member_has_the_length_that_was_promised() -> None:
    for size in (0, 1, 1536, 65535):
        data = stored_member(b"x" * size)
        assert len(data) == size + 23
        assert gzip.decompress(data) == b"x" * size
    with pytest.raises(ValueError, match="do not fit"):
        stored_member(bytes(65536))


def test_an_upload_is_read_as_a_stream(raws: list[bytes]) -> None:
    raw = b"".join(raws) * 200
    source = Buffer(gzip.compress(raw, 1))
    assert source.size > SEGMENT_SIZE
    assert b"".join(inflate_stream(read_whole(source, threads=2), name=NAME, limit=len(raw))) == raw


def test_a_stream_that_inflates_beyond_its_limit_is_refused_early() -> None:
    bomb = Buffer(gzip.compress(bytes(64 << 20)))
    came = 0
    with pytest.raises(ArchiveRefused, match=r"volume\.tgz inflates to more than 5000000 bytes"):
        for raw in inflate_stream(read_whole(bomb, threads=1), name=NAME, limit=5_000_000):
            came += len(raw)
    assert came <= 5_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"CREATE TABLE t (id int);",
        gzip.compress(b"x" * 1000)[:-1],
        gzip.compress(b"x" * 1000)[:20],
        gzip.compress(b"x" * 1000) + b"garbage",
        gzip.compress(b"x" * 1000) + gzip.compress(b"y")[:9],
    ],
    ids=["empty", "text", "a byte short", "cut", "garbage after", "second member cut"],
)
def test_a_stream_that_is_no_whole_gzip_file_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveDamaged, match=r"volume\.tgz"):
        list(inflate_stream(read_whole(Buffer(data), threads=1), name=NAME))
