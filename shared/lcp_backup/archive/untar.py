"""Tar files read from front to back, by rules of our own: every byte of them is accounted for.

Forms: POSIX ustar and pax, GNU tar's long names, and the tar of Unix version 7. Python's `tarfile`
is not used: where an archive ends, and which headers it passes over, differs between its releases
(3.13.5 stops without a word where 3.13.0 raised), and one header costs it several times as much.

Sources: POSIX.1-2017, `pax` utility, "ustar Interchange Format" and "pax Interchange Format"; the
GNU tar manual, "Basic Tar Format"; for what programs really write, libarchive's tar(5).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from lcp_backup.archive.tar import BLOCK
from lcp_backup.archive.tar_header import ZEROS, Fields, Member, NotValid, read_records, text_of
from lcp_backup.errors import ArchiveDamaged, ArchiveRefused

MAX_HEADER: Final = 256 << 10
"""Bytes of one extended header; Linux ends a path at 4 KiB and one attribute at 64 KiB."""

_MOST_HEADERS = 16
"""In front of one member. Programs write one, or GNU tar's two, and one more for all members."""
_MOST_GLOBAL_RECORDS = 64

_PAX = (b"x", b"X")
"""The standard's extended header, and Solaris's before there was a standard."""
_OF_ONE_MEMBER = ("path", "linkpath", "size")


class TarReader:
    """A tar file's members, one after the other; only headers are copied.

    Args:
        chunks: the file's bytes, front to back.
        progress: told the bytes of every chunk once they are used.
        check: called before every chunk and every member; what it raises ends the reading.
    """

    def __init__(
        self,
        chunks: Iterable[bytes | memoryview],
        progress: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        self._chunks = iter(chunks)
        self._progress = progress
        self._check = check
        self._chunk = memoryview(b"")
        self._at = 0
        self._offset = 0
        self.begin = 0
        """Where the member at hand begins in the file, with what stands in front of its header."""
        self.content_at = 0
        """Where its content begins."""
        self._content = 0
        """Bytes of the member at hand that were not taken yet."""
        self._padding = 0
        self._global: dict[str, str] = {}

    def members(self) -> Iterator[Member]:
        """All members; what of their content was not taken is passed over, and must be there.

        Comes to its end only when everything holds: a block of zeros ends the archive, and behind
        it are zeros and nothing else. (The standard wants two such blocks; SharpZipLib and MonetDB
        write one, and no member can be missing where a header was due and zeros stand.)

        Raises ArchiveDamaged for an archive that is cut short or has a header that is not valid;
        ArchiveRefused for bytes behind its end, and for headers that are a bomb; both tell the
        byte. And what chunks and check raise.
        """
        while (member := self._next()) is not None:
            self._check()
            yield member
            if self._content:
                for _ in self.content():
                    pass
            if len(self._read(self._padding)) != self._padding:
                raise ArchiveDamaged("the archive is cut short: it ends inside a file")

    def content(self) -> Iterator[memoryview]:
        """The content of the member at hand, in pieces; raises ArchiveDamaged when some is missing.

        What was taken of it does not come a second time.
        """
        while self._content:
            piece = self._piece(self._content)
            if not piece:
                raise ArchiveDamaged("the archive is cut short: it ends inside a file")
            self._content -= len(piece)
            yield piece

    def pass_over(self, until: int) -> None:
        """Goes on at a byte of the file, behind the member at hand, where one is known to begin.

        Raises ArchiveDamaged when that lies in the member at hand, or behind the end.
        """
        behind = self._offset + self._content + self._padding
        if until < behind:
            raise ArchiveDamaged(
                f"no member begins at byte {until}: the one before ends at byte {behind}"
            )
        self._content = self._padding = 0
        while self._offset < until:
            if not self._piece(until - self._offset):
                raise ArchiveDamaged("the archive is cut short: a member is missing that follows")

    def drain(self) -> None:
        """Reads to the end of the chunks, whatever they hold: for a piece out of an archive."""
        while self._fill():
            self._at = len(self._chunk)

    def _next(self) -> Member | None:
        """The next header, with what stands in front of it; None at the end."""
        records: dict[str, str] = {}
        self.begin = self._offset
        for number in range(_MOST_HEADERS):
            begin = self._offset
            block = self._read(BLOCK)
            if block == ZEROS and not number:
                self._end()
                return None
            if len(block) != BLOCK:
                raise ArchiveDamaged(
                    f"the archive is cut short: the mark of its end is missing at byte {begin}"
                )
            try:
                fields = Fields(block)
                if fields.flag in _PAX:
                    records |= read_records(self._extended(fields))
                elif fields.flag == b"g":
                    self._set_for_all(read_records(self._extended(fields)))
                elif fields.flag in (b"L", b"K"):
                    keyword = "path" if fields.flag == b"L" else "linkpath"
                    records.setdefault(keyword, text_of(self._extended(fields)))
                else:
                    member = fields.member(self._global | records if self._global else records)
                    self.content_at = self._offset
                    self._content = member.size
                    self._padding = -member.size % BLOCK
                    return member
            except NotValid as error:
                raise ArchiveDamaged(
                    f"the archive's header at byte {begin} is not valid: {error}"
                ) from None
        raise ArchiveRefused(
            f"the archive nests its headers too deep: there are more than {_MOST_HEADERS} in front"
            f" of one member, near byte {self._offset}"
        )

    def _extended(self, fields: Fields) -> bytes:
        """The content of an extended header."""
        size = fields.size
        if size > MAX_HEADER:
            raise ArchiveRefused(
                f"a header near byte {self._offset} of the archive announces {size} bytes;"
                f" at most {MAX_HEADER} are read; pack the folder anew with GNU tar"
            )
        padded = size + -size % BLOCK
        data = self._read(padded)
        if len(data) != padded:
            raise ArchiveDamaged("the archive is cut short: it ends inside a header")
        return data[:size]

    def _set_for_all(self, records: dict[str, str]) -> None:
        for keyword in records:
            if keyword in _OF_ONE_MEMBER or keyword.startswith("GNU.sparse."):
                raise ArchiveRefused(f"the archive sets {keyword!r} for all its members at once")
        self._global |= records
        if len(self._global) > _MOST_GLOBAL_RECORDS:
            raise ArchiveRefused(
                f"the archive sets more than {_MOST_GLOBAL_RECORDS} attributes for all members"
            )

    def _end(self) -> None:
        """Makes sure that nothing stands behind the end; so the last byte is read, too."""
        while self._fill():
            rest = bytes(self._chunk[self._at :])
            if zeros := len(rest) - len(rest.lstrip(b"\0")):
                self._at += zeros
                self._offset += zeros
            if zeros != len(rest):
                raise ArchiveRefused(
                    f"there are bytes after the end of the archive, from its byte {self._offset}"
                    " on, as when two archives were joined: pack everything into one"
                )

    def _read(self, size: int) -> bytes:
        """So many bytes, less only at the end."""
        if size <= len(self._chunk) - self._at:
            begin = self._at
            self._at += size
            self._offset += size
            return bytes(self._chunk[begin : self._at])
        pieces = []
        while size and (piece := self._piece(size)):
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _piece(self, most: int) -> memoryview:
        """The next bytes, 1 to `most`; none only at the end."""
        if not self._fill():
            return memoryview(b"")
        piece = self._chunk[self._at : self._at + most]
        self._at += len(piece)
        self._offset += len(piece)
        return piece

    def _fill(self) -> bool:
        while self._at == len(self._chunk):
            self._check()
            if self._at:
                self._progress(self._at)
            following = next(self._chunks, None)
            self._chunk = memoryview(following or b"")
            self._at = 0
            if following is None:
                return False
        return True
