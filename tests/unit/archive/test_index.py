"""An index is read as it was written, or not at all."""

import base64
import gzip
import hashlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.archive.index import IndexWriter, read_index
from lcp_backup.archive.segment import Continuation, IndexedMember, Section, Segment
from lcp_backup.errors import ArchiveDamaged, UnknownFormat
from tests.support.buffers import Buffer

NAME = "volume.tgz"
NOT_TEXT = os.fsdecode(b"b/\xff\xc3")
ODD_MEMBERS = (
    IndexedMember("ü\n", "file", 512, 2**40, 1_700_000_000_123_456_789, 0o4755, 1000, 2**31),
    IndexedMember(NOT_TEXT, "link", 1024, 0, 0, 0o777, 0, 0),
    IndexedMember("b/\\xff", "second-name", 1536, 0, 0, 0, 0, 0),
)


def segments_of(sizes: list[int], start: int = 0) -> list[Segment]:
    segments = []
    for number, size in enumerate(sizes):
        segments.append(
            Segment(
                offset=start,
                size=size,
                raw_size=size * 3,
                sha256=hashlib.sha256(bytes([number % 256])).hexdigest(),
                members=(
                    IndexedMember(f"a/{number}", "folder", 0, 0, -1, 0o755, 0, 0),
                    *ODD_MEMBERS,
                ),
                continues=Continuation(NOT_TEXT, 5, 9) if number % 2 else None,
                section=Section.ROWS if number % 3 else None,
            )
        )
        start += size
    return segments


def index_of(segments: list[Segment]) -> tuple[Buffer, str]:
    buffer = Buffer()
    writer = IndexWriter(buffer, NAME)
    for segment in segments:
        writer.add(segment)
    sha256 = writer.end(archive_size=10**12, raw_size=10**10)
    buffer.complete()
    assert writer.size == buffer.size
    return buffer, sha256


def lines_of(segments: list[Segment]) -> list[bytes]:
    return gzip.decompress(index_of(segments)[0].data).splitlines(keepends=True)


def read_lines(lines: list[bytes]) -> list[Segment]:
    return list(read_index(Buffer(gzip.compress(b"".join(lines))), archive_name=NAME))


@given(sizes=st.lists(st.integers(1, 1 << 30), max_size=50), start=st.integers(0, 5000))
def test_what_is_read_is_what_was_written(sizes: list[int], start: int) -> None:
    segments = segments_of(sizes, start)
    buffer, sha256 = index_of(segments)

    assert sha256 == hashlib.sha256(buffer.data).hexdigest()
    assert list(read_index(buffer, archive_name=NAME, sha256=sha256)) == segments


def test_an_index_of_many_segments_is_written_and_read_piece_by_piece() -> None:
    segments = segments_of([7] * 20_000)
    buffer, _ = index_of(segments)
    assert buffer.writes > 1

    reading = read_index(buffer, archive_name=NAME)

    assert next(reading) == segments[0]
    assert list(reading) == segments[1:]


@pytest.mark.parametrize("kept", range(5))
def test_an_index_that_lost_its_last_lines_is_refused(kept: int) -> None:
    lines = lines_of(segments_of([1, 2, 3]))
    assert len(lines) == 5
    with pytest.raises((ArchiveDamaged, UnknownFormat)):
        read_lines(lines[:kept])


def test_an_index_whose_last_line_has_no_end_is_refused() -> None:
    lines = lines_of(segments_of([1, 2, 3]))
    with pytest.raises(ArchiveDamaged, match="its last line has no end"):
        read_lines([*lines[:-1], lines[-1][:-1]])


def test_an_index_cut_at_any_byte_is_refused() -> None:
    data = index_of(segments_of([1, 2, 3]))[0].data
    for length in range(1, len(data)):
        with pytest.raises((ArchiveDamaged, UnknownFormat)):
            list(read_index(Buffer(data[:length]), archive_name=NAME))


def test_an_index_with_any_bit_flipped_is_refused() -> None:
    buffer, sha256 = index_of(segments_of([1, 2, 3]))
    for position in range(buffer.size):
        data = bytearray(buffer.data)
        data[position] ^= 0x10
        with pytest.raises((ArchiveDamaged, UnknownFormat)):
            list(read_index(Buffer(bytes(data)), archive_name=NAME, sha256=sha256))


def test_an_index_that_lost_a_segment_in_the_middle_is_refused() -> None:
    lines = lines_of(segments_of([1, 2, 3]))
    with pytest.raises(ArchiveDamaged, match="segment 2 starts at byte 3, but segment 1 ends at"):
        read_lines(lines[:2] + lines[3:])


def test_an_index_whose_trailer_counts_others_is_refused() -> None:
    lines = lines_of(segments_of([1, 2, 3]))
    with pytest.raises(ArchiveDamaged, match="lists 2 segments"):
        read_lines([*lines[:3], lines[-1]])


def test_the_index_of_another_archive_is_refused() -> None:
    buffer, _ = index_of([])
    with pytest.raises(ArchiveDamaged, match=r"database\.tgz was written for 'volume\.tgz'"):
        list(read_index(buffer, archive_name="database.tgz"))


def test_an_index_of_a_later_format_is_refused_with_its_number() -> None:
    header = json.dumps({"format": 2, "archive": NAME}).encode() + b"\n"
    with pytest.raises(UnknownFormat, match=r"the index of volume\.tgz format 1"):
        read_lines([header, *lines_of([])[1:]])


def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcp_backup.archive.index._MAX_LINE", 1000)
    with pytest.raises(ArchiveDamaged, match="a line of more than 1000 bytes"):
        read_lines([*lines_of([])[:1], b"x" * (3 << 20)])


def test_a_name_that_is_no_text_lies_there_by_its_bytes_and_any_other_as_text() -> None:
    entry = json.loads(lines_of(segments_of([1, 2]))[2])
    assert [member[0] for member in entry["members"]] == [
        "a/1", "ü\n", {"base64": base64.b64encode(b"b/\xff\xc3").decode()}, "b/\\xff"
    ]  # fmt: skip
    assert entry["continues"] == [{"base64": "Yi//ww=="}, 5, 9]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("members", None),
        ("members", [1]),
        ("members", [["a", "file", 0, 0, 0, 0, 0]]),
        ("members", [["a", "file", 0, 0, 0, 0, 0, "0"]]),
        ("members", [["a", "file", 0, 0, 0.5, 0, 0, 0]]),
        ("members", [["a", "door", 0, 0, 0, 0, 0, 0]]),
        ("members", [["a\ud800", "file", 0, 0, 0, 0, 0, 0]]),
        ("members", [[None, "file", 0, 0, 0, 0, 0, 0]]),
        ("members", [[{"base64": "*"}, "file", 0, 0, 0, 0, 0, 0]]),
        ("members", [[{"hex": "61"}, "file", 0, 0, 0, 0, 0, 0]]),
        ("continues", 5),
        ("continues", ["b", 5]),
        ("continues", ["b", 5, None]),
        ("size", "many"),
    ],
)
def test_a_line_that_is_not_as_the_format_says_is_refused_by_its_number(
    field: str, value: object
) -> None:
    lines = lines_of(segments_of([1, 2]))
    lines[2] = json.dumps(json.loads(lines[2]) | {field: value}).encode() + b"\n"
    with pytest.raises(ArchiveDamaged, match="is damaged at its entry 2: "):
        read_lines(lines)


def test_a_line_that_nests_without_end_is_refused() -> None:
    lines = lines_of(segments_of([1]))
    lines[1] = b'{"members":' + b"[" * 200_000 + b"\n"
    with pytest.raises(ArchiveDamaged, match="is damaged at its entry 1: "):
        read_lines(lines)


def test_members_that_are_spelled_in_another_way_are_none() -> None:
    lines = lines_of(segments_of([1]))
    fields = json.loads(lines[1])
    del fields["members"]
    lines[1] = json.dumps(fields).encode().replace(b"{", b'{"\\u006dembers": 5, ', 1) + b"\n"
    (segment,) = read_lines(lines)
    assert segment.members == ()


def test_fields_of_a_later_version_are_passed_over() -> None:
    lines = lines_of(segments_of([1]))
    entry = json.loads(lines[1]) | {"colour": "green"}
    entry["members"] = [[*member, "0123abcd"] for member in entry["members"]]
    lines[1] = json.dumps(entry).encode() + b"\n"
    assert read_lines(lines) == segments_of([1])
