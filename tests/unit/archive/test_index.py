"""An index is read as it was written, or not at all."""

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.archive.index import IndexReader, IndexWriter, read_index, read_members
from lcp_backup.archive.segment import IndexedMember, Section, Segment
from lcp_backup.errors import ArchiveDamaged, UnknownFormat
from tests.support.buffers import Buffer

NAME = "volume.tgz"
NOT_TEXT = os.fsdecode(b"b/\xff\xc3")
SHA256 = hashlib.sha256(b"x").hexdigest()
ODD_MEMBERS = (
    IndexedMember(
        "ü\n", "file", 0, 0, 512, 2**40, 1_700_000_000_123_456_789, 0o4755, 1000, 2**31,
        1_700_000_000_987_654_321, 2**63, SHA256, 131_072,
    ),
    IndexedMember(NOT_TEXT, "link", 2, 7, 1024, 0, 0, 0o777, 0, 0),
    IndexedMember("b/\\xff", "second-name", 1, 1, 1536, 0, 0, 0, 0, 0),
)  # fmt: skip
SOURCES = ("acme-prd-202611220015", "acme-prd-202611210015")


def segments_of(sizes: list[int], start: int = 0) -> list[Segment]:
    segments = []
    for number, size in enumerate(sizes):
        segments.append(
            Segment(
                number=number,
                offset=start,
                size=size,
                raw_size=size * 3,
                sha256=hashlib.sha256(bytes([number % 256])).hexdigest(),
                members=number,
                section=Section.ROWS if number % 3 else None,
            )
        )
        start += size
    return segments


def foreign(source: int, number: int, offset: int = 90_000) -> Segment:
    """A segment that lies in another backup's archive."""
    return Segment(
        source=source, number=number, offset=offset, size=5, raw_size=9, sha256=SHA256, members=3
    )


def index_of(
    segments: Iterable[Segment],
    members: Iterable[IndexedMember] = ODD_MEMBERS,
    sources: tuple[str, ...] = SOURCES,
) -> tuple[Buffer, str]:
    buffer = Buffer()
    writer = IndexWriter(buffer, NAME, sources)
    for segment in segments:
        writer.add(segment)
    for member in members:
        writer.add_member(member)
    sha256 = writer.end(archive_size=10**12, raw_size=10**10)
    buffer.complete()
    assert writer.size == buffer.size
    return buffer, sha256


def lines_of(
    segments: Iterable[Segment], members: Iterable[IndexedMember] = ODD_MEMBERS
) -> list[bytes]:
    return gzip.decompress(index_of(segments, members)[0].data).splitlines(keepends=True)


def joined(lines: list[bytes]) -> Buffer:
    return Buffer(gzip.compress(b"".join(lines)))


def read_lines(lines: list[bytes]) -> list[Segment]:
    return list(read_index(joined(lines), archive_name=NAME))


def read_all(lines: list[bytes]) -> tuple[list[Segment], list[IndexedMember]]:
    """Every segment and every member, in one pass."""
    segments: list[Segment] = []
    members: list[IndexedMember] = []
    for line in IndexReader(joined(lines), archive_name=NAME).lines():
        if isinstance(line, Segment):
            segments.append(line)
        else:
            members.extend(line)
    return segments, members


@given(sizes=st.lists(st.integers(1, 1 << 30), max_size=50), start=st.integers(0, 5000))
def test_what_is_read_is_what_was_written(sizes: list[int], start: int) -> None:
    segments = segments_of(sizes, start)
    buffer, sha256 = index_of(segments)

    assert sha256 == hashlib.sha256(buffer.data).hexdigest()
    assert list(read_index(buffer, archive_name=NAME, sha256=sha256)) == segments
    assert tuple(read_members(buffer, archive_name=NAME, sha256=sha256)) == ODD_MEMBERS
    assert IndexReader(buffer, archive_name=NAME).sources == SOURCES


_NAMES = st.binary(min_size=1, max_size=20).map(os.fsdecode)
_COUNTS = st.integers(0, 2**63)
_TIMES = st.integers(-(2**63), 2**63)
_MEMBERS = st.builds(
    IndexedMember,
    name=_NAMES,
    type=st.sampled_from(["file", "folder", "link", "second-name"]),
    source=st.integers(0, len(SOURCES)),
    segment=st.integers(0, 2**24),
    at=st.integers(0, 2**32 - 1),
    size=st.integers(0, 2**63 - 1),
    mtime_ns=_TIMES,
    mode=_COUNTS,
    uid=_COUNTS,
    gid=_COUNTS,
    ctime_ns=_TIMES,
    inode=_COUNTS,
    sha256=st.none() | st.just(SHA256),
    more=st.integers(0, 2**24),
)


@given(members=st.lists(_MEMBERS, max_size=20))
def test_members_are_read_as_they_were_written_whatever_bytes_their_names_have(
    members: list[IndexedMember],
) -> None:
    buffer, sha256 = index_of([], members)
    assert list(read_members(buffer, archive_name=NAME, sha256=sha256)) == members


def test_an_index_of_many_segments_is_written_and_read_piece_by_piece() -> None:
    segments = segments_of([7] * 20_000)
    buffer, _ = index_of(segments)
    assert buffer.writes > 1

    reading = read_index(buffer, archive_name=NAME)

    assert next(reading) == segments[0]
    assert list(reading) == segments[1:]


def test_members_are_listed_many_to_a_line_and_all_of_them() -> None:
    members = [ODD_MEMBERS[0]._replace(name=f"{number}") for number in range(2500)]
    lines = lines_of(segments_of([1]), members)
    counts = [
        len(json.loads(line).get("members") or ()) for line in lines if b'"members":[' in line
    ]
    assert counts == [1000, 1000, 500]
    assert read_all(lines) == (segments_of([1]), members)


def test_members_and_segments_may_stand_in_any_order() -> None:
    header, *lines, trailer = lines_of(segments_of([1, 2]))
    for order in (lines, lines[::-1][:1] + lines[:-1], [lines[0], lines[2], lines[1]]):
        assert read_all([header, *order, trailer]) == (segments_of([1, 2]), list(ODD_MEMBERS))


@pytest.mark.parametrize("kept", range(6))
def test_an_index_that_lost_its_last_lines_is_refused(kept: int) -> None:
    lines = lines_of(segments_of([1, 2, 3]))
    assert len(lines) == 6
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
        for read in (read_index, read_members):
            with pytest.raises((ArchiveDamaged, UnknownFormat)):
                list(read(Buffer(bytes(data)), archive_name=NAME, sha256=sha256))


def test_an_index_that_lost_a_segment_in_the_middle_is_refused() -> None:
    lines = lines_of(segments_of([1, 2, 3]))
    with pytest.raises(ArchiveDamaged, match="segment 2 starts at byte 3, but segment 1 ends at"):
        read_lines(lines[:2] + lines[3:])


def test_an_index_whose_trailer_counts_others_is_refused() -> None:
    lines = lines_of(segments_of([1, 2, 3]))
    with pytest.raises(ArchiveDamaged, match="lists 2 segments"):
        read_lines([*lines[:3], lines[-1]])


def test_an_index_that_lost_members_is_refused_by_whoever_reads_members() -> None:
    members = [ODD_MEMBERS[0]._replace(name=f"{number}") for number in range(1500)]
    header, first, second, trailer = lines_of([], members)
    assert read_all([header, first, second, trailer]) == ([], members)
    for there in ([first], [second], [first, first, second], []):
        with pytest.raises(ArchiveDamaged, match="is not whole: .* with 1500"):
            read_all([header, *there, trailer])


class TestSources:
    """Segments and members that lie in other backups' archives."""

    def test_a_foreign_segment_is_read_with_its_number_and_is_none_of_the_archives_own(
        self,
    ) -> None:
        own = segments_of([4, 5])
        lines = lines_of([own[0], foreign(1, 40), foreign(2, 3, offset=0), own[1], foreign(1, 42)])
        assert read_lines(lines) == own
        segments, _ = read_all(lines)
        assert segments == [own[0], foreign(1, 40), foreign(2, 3, offset=0), own[1], foreign(1, 42)]
        assert json.loads(lines[-1])["segments"] == 2

    def test_an_archive_needs_no_segment_of_its_own_among_them(self) -> None:
        assert read_all(lines_of([foreign(1, 0)]))[0] == [foreign(1, 0)]

    @pytest.mark.parametrize("source", [3, -1])
    def test_a_segment_in_no_source_is_refused(self, source: int) -> None:
        with pytest.raises(ArchiveDamaged, match="entry 1: a segment lies in no source"):
            read_lines(lines_of([foreign(source, 0)]))

    def test_a_foreign_segment_without_a_number_is_refused(self) -> None:
        lines = lines_of([foreign(1, 0)])
        lines[1] = lines[1].replace(b'"number":0,', b"")
        with pytest.raises(ArchiveDamaged, match="entry 1: a segment lies in no source"):
            read_lines(lines)

    @pytest.mark.parametrize("source", [3, -1])
    def test_a_member_in_no_source_is_refused(self, source: int) -> None:
        lines = lines_of([], [ODD_MEMBERS[0]._replace(source=source)])
        with pytest.raises(ArchiveDamaged, match="entry 1: a member lies in no source"):
            read_all(lines)

    @pytest.mark.parametrize(
        "place",
        [
            {"segment": -1},
            {"segment": 2**30},
            {"at": -1},
            {"at": 2**32},
            {"more": -1},
            {"more": 2**30},
        ],
    )
    def test_a_member_at_an_impossible_place_is_refused(self, place: dict[str, Any]) -> None:
        lines = lines_of([], [ODD_MEMBERS[0]._replace(**place)])
        with pytest.raises(ArchiveDamaged, match="entry 1: a member lies in no segment"):
            read_all(lines)

    @pytest.mark.parametrize(
        ("field", "told"),
        [({"name": ""}, "a member has no name"), ({"size": -1}, "a size that no file can have")],
    )
    def test_a_member_that_no_file_can_be_is_refused(
        self, field: dict[str, Any], told: str
    ) -> None:
        lines = lines_of([], [ODD_MEMBERS[0]._replace(**field)])
        with pytest.raises(ArchiveDamaged, match=f"entry 1: .*{told}"):
            read_all(lines)

    def test_an_index_of_a_volume_without_sources_names_none(self) -> None:
        buffer, _ = index_of([], (), sources=())
        assert IndexReader(buffer, archive_name=NAME).sources == ()


def test_the_index_of_another_archive_is_refused() -> None:
    buffer, _ = index_of([])
    with pytest.raises(ArchiveDamaged, match=r"database\.tgz was written for 'volume\.tgz'"):
        list(read_index(buffer, archive_name="database.tgz"))


def test_an_index_of_a_later_format_is_refused_with_its_number() -> None:
    header = json.dumps({"format": 2, "archive": NAME}).encode() + b"\n"
    with pytest.raises(UnknownFormat, match=r"the index of volume\.tgz format 1"):
        read_lines([header, *lines_of([])[1:]])


def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcp_backup.archive.index_lines._MAX_LINE", 1000)
    with pytest.raises(ArchiveDamaged, match="a line of more than 1000 bytes"):
        read_lines([*lines_of([])[:1], b"x" * (3 << 20)])


def test_a_name_that_is_no_text_lies_there_by_its_bytes_and_any_other_as_text() -> None:
    _, line, _ = lines_of([])
    assert [member[0] for member in json.loads(line)["members"]] == [
        "ü\n", {"base64": base64.b64encode(b"b/\xff\xc3").decode()}, "b/\\xff"
    ]  # fmt: skip


FIELDS: list[Any] = list(ODD_MEMBERS[0])


def with_field(place: int, value: object) -> list[Any]:
    """A member's list with one value replaced."""
    return [*FIELDS[:place], value, *FIELDS[place + 1 :]]


@pytest.mark.parametrize(
    "members",
    [
        None,
        [1],
        [{}],
        [FIELDS[:9]],
        [[]],
        [with_field(0, None)],
        [with_field(0, "a\ud800")],
        [with_field(0, {"base64": "*"})],
        [with_field(0, {"base64": 5})],
        [with_field(0, {"hex": "61"})],
        [with_field(1, "door")],
        [with_field(1, ["file"])],
        *([with_field(place, "0")] for place in range(2, 12)),
        *([with_field(place, 0.5)] for place in range(2, 12)),
        *([with_field(place, True)] for place in range(2, 12)),
        *([with_field(place, None)] for place in range(2, 12)),
        [with_field(12, 5)],
        [with_field(13, "1")],
        [with_field(13, None)],
    ],
)
def test_a_member_that_is_not_as_the_format_says_is_refused_by_its_line(members: object) -> None:
    lines = lines_of(segments_of([1]))
    lines[2] = json.dumps({"members": members}, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(ArchiveDamaged, match="is damaged at its entry 2: "):
        read_all(lines)


@pytest.mark.parametrize(
    ("field", "value"), [("size", "many"), ("members", [1]), ("offset", None), ("source", "1")]
)
def test_a_segment_that_is_not_as_the_format_says_is_refused_by_its_line(
    field: str, value: object
) -> None:
    lines = lines_of(segments_of([1, 2]))
    lines[2] = json.dumps(json.loads(lines[2]) | {field: value}).encode() + b"\n"
    with pytest.raises(ArchiveDamaged, match="is damaged at its entry 2: "):
        read_lines(lines)


@pytest.mark.parametrize("start", [b'{"members":', b'{"members":[['])
def test_a_line_that_nests_without_end_is_refused(start: bytes) -> None:
    lines = lines_of(segments_of([1]))
    lines[1] = start + b"[" * 200_000 + b"\n"
    with pytest.raises(ArchiveDamaged, match="is damaged at its entry 1: "):
        read_all(lines)


def test_half_a_character_is_refused_and_a_whole_one_taken_however_it_is_spelled() -> None:
    lines = lines_of([])
    spelled = '{"members":[' + json.dumps(with_field(0, "😀\x01")) + "]}\n"
    assert "\\ud83d\\ude00" in spelled
    trailer = json.dumps(json.loads(lines[-1]) | {"members": 1}).encode() + b"\n"
    (member,) = read_all([lines[0], spelled.encode(), trailer])[1]
    assert member.name == "😀\x01"
    with pytest.raises(ArchiveDamaged, match="entry 1: .*surrogates"):
        read_all([lines[0], spelled.replace("\\ude00", "").encode(), trailer])


def test_fields_of_a_later_version_are_passed_over() -> None:
    segment, listed = segments_of([1])[0], ODD_MEMBERS
    header, first, members, trailer = lines_of([segment], listed)
    first = json.dumps(json.loads(first) | {"colour": "green"}).encode() + b"\n"
    longer = [[*member, "0123abcd", None] for member in json.loads(members)["members"]]
    members = json.dumps({"members": longer, "of": 1}, separators=(",", ":")).encode() + b"\n"
    assert read_all([header, first, members, trailer]) == ([segment], list(listed))


def test_what_an_early_version_would_leave_out_of_a_member_has_its_default() -> None:
    lines = lines_of([], ODD_MEMBERS[:1])
    lines[1] = json.dumps({"members": [FIELDS[:10]]}, separators=(",", ":")).encode() + b"\n"
    assert read_all(lines)[1] == [ODD_MEMBERS[0]._replace(ctime_ns=0, inode=0, sha256=None, more=0)]
