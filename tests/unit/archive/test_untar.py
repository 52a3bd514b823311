"""Tar files of any program are read to their last byte, and nothing is taken for their end."""

import io
import struct
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lcp_backup.archive.tar import BLOCK, END, MemberKind, header, padding
from lcp_backup.archive.tar_header import Member, is_header
from lcp_backup.archive.untar import TarReader
from lcp_backup.errors import ArchiveDamaged, ArchiveError, ArchiveRefused

KINDS = {
    tarfile.REGTYPE: MemberKind.FILE,
    tarfile.DIRTYPE: MemberKind.FOLDER,
    tarfile.SYMTYPE: MemberKind.LINK,
    tarfile.LNKTYPE: MemberKind.SECOND_NAME,
}


def read(raw: bytes, size: int = 700) -> list[tuple[Member, bytes]]:
    """All members with their content; chunks of an odd size, so that all lies over borders."""
    chunks = (raw[at : at + size] for at in range(0, len(raw), size))
    reader = TarReader(chunks, lambda _: None, lambda: None)
    return [(it, b"".join(map(bytes, reader.content()))) for it in reader.members()]


def file(name: str, content: bytes = b"") -> bytes:
    head = header(name.encode(), MemberKind.FILE, size=len(content), mode=0o644, mtime_ns=0)
    return head + content + padding(len(content))


def by_tarfile(form: int, *members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as opened:
        for member, content in members:
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def signed(block: bytes) -> bytes:
    """The header block with a checksum that holds."""
    front, back = block[:148], block[156:]
    return front + b"%06o\0 " % (sum(front) + sum(back) + 256) + back


WHOLE = file("a", b"1" * 600) + file("b" * 120, b"2" * 600)
MEMBERS = ["a", "b" * 120]


# --- the end ------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [1, 2, 3, 20, 1000])
def test_blocks_of_zeros_end_an_archive(zeros: int) -> None:
    assert [it.name for it, _ in read(WHOLE + bytes(zeros * BLOCK))] == MEMBERS
    assert read(bytes(zeros * BLOCK)) == []


def test_an_archive_that_is_cut_anywhere_is_refused() -> None:
    for length in range(0, len(WHOLE) + BLOCK, 8):
        with pytest.raises(ArchiveDamaged, match="cut short"):
            read((WHOLE + END)[:length])


def test_an_archive_without_the_mark_of_its_end_is_refused() -> None:
    with pytest.raises(ArchiveDamaged, match=f"mark of its end is missing at byte {len(WHOLE)}"):
        read(WHOLE)


@pytest.mark.parametrize(
    "behind",
    [
        file("c", b"3") + END,
        bytes(BLOCK) + file("c", b"3") + END,
        bytes(10_000 - 1) + b"\n",
        b"-- garbage",
    ],
    ids=["second archive", "after a pair", "at the very end", "text"],
)
@pytest.mark.parametrize("zeros", [1, 2, 20])
def test_bytes_after_the_end_are_refused(zeros: int, behind: bytes) -> None:
    with pytest.raises(ArchiveRefused, match=r"bytes after the end of the archive, from its byte"):
        read(WHOLE + bytes(zeros * BLOCK) + behind)


def test_an_archive_that_ends_after_a_header_for_the_next_member_is_refused() -> None:
    long = header(b"n" * 200, MemberKind.FILE, mode=0o644, mtime_ns=0)[:-BLOCK]
    with pytest.raises(ArchiveDamaged, match="is not valid"):
        read(long + END)


def test_what_lies_before_a_byte_that_is_known_is_passed_over_unread() -> None:
    raw = file("a", b"1") + b"no header at all".ljust(BLOCK) + file("c", b"3") + END
    reader = TarReader([raw[:700], raw[700:]], lambda _: None, lambda: None)
    members = reader.members()
    assert next(members).name == "a"
    reader.pass_over(3 * BLOCK)
    assert next(members).name == "c"
    assert b"".join(map(bytes, reader.content())) == b"3"
    assert list(members) == []


@pytest.mark.parametrize("until", [0, BLOCK, 2 * BLOCK - 1, 100 * BLOCK])
def test_a_byte_within_a_member_or_behind_the_end_is_no_beginning(until: int) -> None:
    reader = TarReader([file("a", b"1") + END], lambda _: None, lambda: None)
    next(reader.members())
    with pytest.raises(ArchiveDamaged):
        reader.pass_over(until)


def test_every_byte_is_told_as_progress_and_asked_for_before() -> None:
    done: list[int] = []
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1

    raw = WHOLE + END
    reader = TarReader([raw[:1000], b"", raw[1000:]], done.append, check)
    assert [it.name for it in reader.members()] == MEMBERS
    assert sum(done) == len(raw)
    assert asked >= 5


# --- what programs write ------------------------------------------------------


@given(
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    name=st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1),
    folders=st.integers(0, 30),
    target=st.text("ab/.ü", min_size=1, max_size=300),
    kind=st.sampled_from(list(KINDS)),
    content=st.binary(max_size=1500),
    fields=st.fixed_dictionaries(
        {
            "mode": st.integers(0, 0o7777),
            "uid": st.integers(0, 2**31),
            "gid": st.integers(0, 2**20),
            "mtime": st.integers(0, 2**33),
        }
    ),
)
def test_a_member_is_read_as_tarfile_wrote_it(
    form: int,
    name: str,
    folders: int,
    target: str,
    kind: bytes,
    content: bytes,
    fields: dict[str, Any],
) -> None:
    member = tarfile.TarInfo("folder/" * folders + name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    is_file = kind == tarfile.REGTYPE
    member.linkname = target if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    try:
        raw = by_tarfile(form, (member, content if is_file else b""))
    except ValueError:  # ustar holds neither long names nor large numbers
        return
    ((found, data),) = read(raw)
    assert (found.name, found.kind) == (member.name, KINDS[kind])
    assert (found.target, data) == (member.linkname, content if is_file else b"")
    assert found.size == len(data)
    given_ = (fields["mode"], fields["uid"], fields["gid"], fields["mtime"] * 10**9)
    assert (found.mode, found.uid, found.gid, found.mtime_ns) == given_


@given(
    name=st.binary(min_size=1, max_size=300).map(lambda it: it.translate(None, b"\0/")),
    mtime_ns=st.integers(-(2**62), 2**62),
    size=st.integers(0, 3000),
)
def test_a_member_is_read_as_this_service_wrote_it(name: bytes, mtime_ns: int, size: int) -> None:
    name = name or b"x"
    raw = header(name, MemberKind.FILE, size=size, mode=0o640, mtime_ns=mtime_ns)
    ((found, data),) = read(raw + b"c" * size + padding(size) + END)
    assert found.name.encode(errors="surrogateescape") == name
    assert (found.mtime_ns, data) == (mtime_ns, b"c" * size)


def test_a_tar_of_version_7_is_read() -> None:
    block = bytearray(header(b"folder", MemberKind.FILE, mode=0o755, mtime_ns=0))
    block[:8] = b"folder/\0"
    block[156:157] = b"\0"
    block[257:] = bytes(BLOCK - 257)
    block[100:108] = b"   755 \0"
    ((found, _),) = read(signed(bytes(block)) + END)
    assert (found.name, found.kind, found.mode) == ("folder", MemberKind.FOLDER, 0o755)


def test_a_checksum_of_signed_bytes_holds() -> None:
    block = bytearray(header(b"x", MemberKind.FILE, mode=0o644, mtime_ns=0))
    block[0:1] = b"\xfc"
    total = sum(struct.unpack("512b", block[:148] + b" " * 8 + block[156:]))
    block[148:156] = b"%06o\0 " % total
    ((found, _),) = read(bytes(block) + END)
    assert found.name == "\udcfc"


def test_a_checksum_of_as_large_bytes_as_can_be_holds_and_no_other_does() -> None:
    block = bytearray(header(b"x", MemberKind.FILE, mode=0o644, mtime_ns=0))
    block[:100] = b"\xff" * 100
    block[157:257] = b"\xff" * 100
    block[263:] = b"\xff" * (BLOCK - 263)
    whole = signed(bytes(block))
    ((found, _),) = read(whole + END)
    assert found.name == f"{'\udcff' * 155}/{'\udcff' * 100}"
    for at in (*range(148), *range(156, BLOCK)):
        changed = bytearray(whole)
        changed[at] ^= 1
        with pytest.raises(ArchiveDamaged):
            read(bytes(changed) + END)


def test_what_gnu_tar_keeps_in_the_place_of_the_prefix_is_no_name() -> None:
    block = bytearray(header(b"name", MemberKind.FILE, mode=0o644, mtime_ns=0))
    block[257:265] = b"ustar  \0"
    block[345:357] = b"14712345671\0"
    ((found, _),) = read(signed(bytes(block)) + END)
    assert found.name == "name"


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE])
def test_what_has_no_content_has_no_size(kind: bytes) -> None:
    block = bytearray(header(b"x", MemberKind.FILE, size=700, mode=0o644, mtime_ns=0))
    block[156:157] = kind
    assert [it.size for it, _ in read(signed(bytes(block)) + file("y") + END)] == [0, 0]


@pytest.mark.parametrize("flag", [b"3", b"4", b"6", b"S", b"V", b"M", b"D", b"Z"])
def test_what_is_neither_file_nor_folder_nor_link_is_told(flag: bytes) -> None:
    block = bytearray(header(b"x", MemberKind.FILE, mode=0o644, mtime_ns=0))
    block[156:157] = flag
    ((found, _),) = read(signed(bytes(block)) + END)
    assert found.kind is None
    assert {b"S": "sparse", b"V": "label"}.get(flag, "device") in found.found


# --- what no program writes ---------------------------------------------------


def pax(records: bytes, flag: bytes = b"x") -> bytes:
    block = bytearray(header(b"pax", MemberKind.FILE, size=len(records), mode=0o644, mtime_ns=0))
    block[156:157] = flag
    return signed(bytes(block)) + records + padding(len(records))


@pytest.mark.parametrize(
    "records",
    [
        b"x path=a\n",
        b"99 path=a\n",
        b"3 path=a\n",
        b"0 path=a\n",
        b"9 path=a\n9 size=\n",
        b"7 path\n",
        b"12345678901234567890 path=a\n",
        b"11 size=-1\n",
        b"12 size=1_0\n",
        b"13 mtime=1e5\n",
        b"11 mtime=x\n",
    ],
)
def test_a_broken_extended_header_is_refused(records: bytes) -> None:
    with pytest.raises(ArchiveDamaged):
        read(pax(records) + file("x") + END)


@pytest.mark.parametrize("records", [b"22 GNU.sparse.major=1\n", b"27 SUN.holesdata= 0 512 99\n"])
def test_a_file_without_its_holes_is_told_by_its_extended_header(records: bytes) -> None:
    """Solaris's tar, too: taken as it is, all behind the first hole would lie elsewhere."""
    assert len(records) == int(records.split()[0])
    ((found, _),) = read(pax(records) + file("x") + END)
    assert (found.kind, found.found) == (None, "a sparse file")


def test_an_empty_value_leaves_what_the_header_says() -> None:
    ((found, _),) = read(pax(b"8 path=\n9 mtime=\n") + file("x") + END)
    assert found.name == "x"


@pytest.mark.parametrize("keyword", [b"path", b"linkpath", b"size", b"GNU.sparse.major"])
def test_a_name_or_size_for_all_members_at_once_is_refused(keyword: bytes) -> None:
    record = b"=1\n"
    length = len(keyword) + len(record) + 3
    records = b"%d " % length + keyword + record
    with pytest.raises(ArchiveRefused, match="for all its members at once"):
        read(pax(records, b"g") + file("x") + END)


def test_a_time_for_all_members_at_once_is_taken() -> None:
    raw = pax(b"12 mtime=17\n", b"g") + file("x") + file("y") + END
    assert [it.mtime_ns for it, _ in read(raw)] == [17 * 10**9] * 2


@pytest.mark.parametrize("flag", [b"x", b"g", b"L", b"K"])
def test_headers_that_never_end_are_refused_at_once(flag: bytes) -> None:
    calls = 0

    def endless() -> Iterator[bytes]:
        nonlocal calls
        while True:
            calls += 1
            yield pax(b"6 a=1\n", flag) * 16

    with pytest.raises(ArchiveRefused, match="nests its headers too deep"):
        list(TarReader(endless(), lambda _: None, lambda: None).members())
    assert calls <= 3


@pytest.mark.parametrize("flag", [b"x", b"g", b"L", b"K"])
def test_a_header_of_any_announced_size_is_not_read(flag: bytes) -> None:
    block = bytearray(header(b"pax", MemberKind.FILE, size=8**11 - 1, mode=0o644, mtime_ns=0))
    block[156:157] = flag
    with pytest.raises(ArchiveRefused, match="announces 8589934591 bytes"):
        read(signed(bytes(block)) + bytes(5000))


@pytest.mark.parametrize("field", [b"\xff" * 12, b"0x17\0", b"1_0\0", b"-1\0", b"8\0"])
def test_a_size_that_is_no_number_is_refused(field: bytes) -> None:
    block = bytearray(header(b"x", MemberKind.FILE, mode=0o644, mtime_ns=0))
    block[124:136] = field.ljust(12, b"\0")
    with pytest.raises(ArchiveDamaged):
        read(signed(bytes(block)) + END)


def test_a_header_is_told_from_what_is_none() -> None:
    assert is_header(bytes(BLOCK))
    assert is_header(header(b"x", MemberKind.FILE, mode=0o644, mtime_ns=0))
    assert not is_header(b"-- MySQL dump".ljust(BLOCK))
    assert not is_header(bytes(100))
    assert not is_header(b"")


@given(data=st.data())
@settings(max_examples=300)
def test_any_damage_is_either_harmless_or_refused(data: st.DataObject) -> None:
    raw = bytearray(pax(b"9 path=a\n12 mtime=17\n") + WHOLE + END)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ArchiveError):
        read(bytes(raw))
