"""Tar headers mean to others what they were made from."""

import io
import os
import stat
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.archive import tar

names = st.binary(min_size=1, max_size=300).map(
    lambda raw: raw.replace(b"\0", b"_").replace(b"/", b"_")
)


def read_back(blocks: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(blocks + tar.END), mode="r:") as opened:
        (member,) = opened.getmembers()
        return member


@given(
    name=names,
    target=names,
    kind=st.sampled_from([tar.MemberKind.FILE, tar.MemberKind.LINK, tar.MemberKind.FOLDER]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime_ns=st.integers(-(2**62), 2**62),
)
def test_a_header_says_to_tarfile_what_it_was_made_from(
    *,
    name: bytes,
    target: bytes,
    kind: tar.MemberKind,
    mode: int,
    uid: int,
    gid: int,
    mtime_ns: int,
) -> None:
    blocks = tar.header(
        name,
        kind,
        mode=mode,
        uid=uid,
        gid=gid,
        mtime_ns=mtime_ns,
        target=target if kind is tar.MemberKind.LINK else b"",
    )

    member = read_back(blocks)

    assert os.fsencode(member.name) == name
    assert member.type == kind.value
    assert (member.mode, member.uid, member.gid) == (mode, uid, gid)
    if kind is tar.MemberKind.LINK:
        assert os.fsencode(member.linkname) == target
    seconds, _, fraction = str(member.pax_headers.get("mtime", int(member.mtime))).partition(".")
    sign = -1 if seconds.startswith("-") else 1
    whole = abs(int(seconds)) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
    assert sign * whole == mtime_ns


def test_a_name_beyond_ascii_is_announced_as_the_standard_says() -> None:
    blocks = tar.header("ü".encode(), tar.MemberKind.FILE, mode=0o644, mtime_ns=0)
    assert "11 path=ü\n".encode() in blocks
    assert b"hdrcharset" not in blocks
    blocks = tar.header(b"\xff", tar.MemberKind.FILE, mode=0o644, mtime_ns=0)
    assert b"21 hdrcharset=BINARY\n9 path=\xff\n" in blocks


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 2**50])
def test_a_file_of_any_size_is_announced(size: int) -> None:
    blocks = tar.header(b"x", tar.MemberKind.FILE, size=size, mode=0o644, mtime_ns=0)

    header = tarfile.TarInfo.frombuf(blocks[-512:], "utf-8", "strict")
    pax = b"size=%d\n" % size in blocks
    assert pax == (size >= 8**11)
    assert header.size == (0 if pax else size)


@given(size=st.integers(0, 2**60), name=st.text("aé日_", min_size=1, max_size=64))
def test_the_head_of_an_only_file_has_one_length_whatever_the_size(size: int, name: str) -> None:
    head = tar.file_head(f"{name}.sql", size, mtime=1_700_000_000)

    assert len(head) == tar.FILE_HEAD_SIZE
    info = tarfile.TarInfo.frombuf(head[-512:], "utf-8", "replace")
    assert stat.S_IMODE(info.mode) == 0o644
    assert b"size=%d\n" % size in head


def test_a_name_too_long_for_the_head_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        tar.file_head("n" * 600, 1, mtime=0)
