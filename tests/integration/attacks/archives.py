"""Archives of files as an attacker writes them: by hand, for no tar program would."""

import gzip
import io
import tarfile

_BLOCK = 512


def tar(*members: tarfile.TarInfo) -> bytes:
    """A tar of members that hold nothing, in the format that takes any name."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return raw.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    """One member."""
    made = tarfile.TarInfo(name)
    made.type = kind
    made.linkname = link
    made.size = size
    made.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return made


def folder(name: str) -> tarfile.TarInfo:
    return member(name, tarfile.DIRTYPE)


def symlink(name: str, target: str) -> tarfile.TarInfo:
    return member(name, tarfile.SYMTYPE, target)


def hardlink(name: str, target: str) -> tarfile.TarInfo:
    return member(name, tarfile.LNKTYPE, target)


def packed(*members: tarfile.TarInfo) -> bytes:
    """The same, gzip'd."""
    return gzip.compress(tar(*members), mtime=0)


def deep(folders: int, top: str = "document_library") -> tarfile.TarInfo:
    """One file so many folders deep."""
    return member("/".join([top, *["d"] * folders, "f"]))


LEADING_OUT = "../" * 9 + "etc/passwd"
_DOWN = "document_library/a/b/c/d/e/f/g/h"

HOSTILE = {
    "a hard link to a symlink that is allowed where it lies": packed(
        *(folder(_DOWN[:end]) for end in range(18, len(_DOWN) + 1, 2)),
        symlink(f"{_DOWN}/l", LEADING_OUT),
        hardlink("document_library/evil", f"{_DOWN}/l"),
    ),
    "the same without folders": packed(
        symlink(f"{_DOWN}/l", LEADING_OUT), hardlink("document_library/evil", f"{_DOWN}/l")
    ),
    "a hard link to a link that comes later": packed(
        hardlink("document_library/evil", f"{_DOWN}/l"), symlink(f"{_DOWN}/l", LEADING_OUT)
    ),
    "a hard link out": packed(hardlink("document_library/evil", "../../../../etc/passwd")),
    "a hard link to an absolute name": packed(hardlink("document_library/evil", "/etc/passwd")),
    "a hard link through a symlink": packed(
        symlink("document_library/s", "."),
        member("document_library/f", size=1),
        hardlink("document_library/evil", "document_library/s/f"),
    ),
    "a hard link to a folder": packed(
        folder("document_library/d"), hardlink("document_library/evil", "document_library/d")
    ),
    "a hard link to itself": packed(hardlink("document_library/evil", "document_library/evil")),
    "a file through a symlink": packed(
        symlink("document_library/s", "../.."), member("document_library/s/evil", size=1)
    ),
    "a symlink of two steps": packed(
        symlink("document_library/a", "b"), symlink("document_library/b", "../../../../etc")
    ),
    "a symlink that is replaced by a folder": packed(
        symlink("document_library/s", "../.."),
        folder("document_library/s"),
        member("document_library/s/evil", size=1),
    ),
    "an absolute name": packed(member("/etc/evil", size=1)),
    "a name that leads up": packed(member("document_library/../../evil", size=1)),
    "a device": packed(member("document_library/dev", tarfile.CHRTYPE)),
    "a pipe": packed(member("document_library/pipe", tarfile.FIFOTYPE)),
    "1,500 folders in one name": packed(deep(1500)),
    "200 folders in one name": packed(deep(200)),
    "a component of 300 bytes": packed(member("document_library/" + "n" * 300)),
    "a component of 256 bytes in UTF-8": packed(member("document_library/" + "ü" * 128)),
    "a link's target of 5,000 bytes": packed(symlink("document_library/l", "t/" * 2500)),
    "a folder of 300 bytes": packed(folder("document_library/" + "n" * 300)),
    "a path of 5,000 bytes": packed(member("document_library/" + "/".join(["n" * 100] * 50))),
    "a zero byte in a name": packed(member("document_library/a\0b")),
    "20 members, 100,000 folders deep each": packed(*(deep(100_000, f"d{n}") for n in range(20))),
    "a folder and a file of one name": packed(
        folder("document_library/x"), member("document_library/x"), deep(1, "document_library/x")
    ),
    "a name that is a marker of ours": packed(
        member(".lcp-restore", size=1), member(".lcp_backup/marker", size=1)
    ),
}  # fmt: skip
"""By what is wrong with each."""
