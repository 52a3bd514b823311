"""A foreign tar file of a document library becomes a volume archive, as `volume.pack` writes it."""

import os
from collections.abc import Callable, Iterable
from typing import Final

from lcp_backup.archive import tar
from lcp_backup.archive.deflate import inflate_stream
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.errors import ArchiveRefused
from lcp_backup.intake.content import Form, recognised
from lcp_backup.model import VolumeFacts
from lcp_backup.volume.names import is_own, link_stays_inside, shown
from lcp_backup.volume.segments import TarSegments
from lcp_backup.volume.unpack import Attributes, extract

LIBRARY: Final = "document_library"
_TOP: Final = "data"
"""The data folder's own name, when it was packed from outside."""
_SHOWN_NAMES: Final = 5
MOST_NAMES: Final = 5_000_000
"""Members and the folders around them. Their places take about 100 bytes of memory each."""


def take_volume(
    chunks: Iterable[bytes],
    writer: ArchiveWriter,
    *,
    limit: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> VolumeFacts:
    """Writes a foreign volume as a whole tar file of our own form; the caller finishes the writer.

    Taken: a tar file, gzip'd or not, of `document_library`, of the data folder's content, or of one
    folder `data` with that content, which is left out of the names. What a restore would refuse is
    refused here already. Members keep names, modes, owners, times to the nanosecond and links.

    Memory: about 100 bytes for every member (places that are taken), and a few segments.

    Args:
        chunks: the file's bytes, front to back; read to the end.
        writer: without an `only_file`.
        limit: bytes it may inflate to.
        progress: told the raw bytes that are handed to the writer.
        check: called before every chunk and member; what it raises ends the work.

    Raises ArchiveRefused, ArchiveDamaged, and what chunks, writer and check raise.
    """
    content = recognised(chunks)
    if content.form is Form.GZIP:
        content = recognised(inflate_stream(content.chunks, name="the volume", limit=limit))
    if content.form is not Form.TAR:
        raise ArchiveRefused(
            f"the volume is {content.found}, and no tar.gz of the folder {LIBRARY!r}"
        )
    segments = TarSegments(writer, progress, check)
    members = _Rewritten(segments)
    # What was read counts once it is written: two figures would make the progress jump.
    extract(content.chunks, members, progress=lambda _: None, check=check)
    members.require_library()
    segments.end()
    return VolumeFacts(
        files=members.files, folders=members.folders, links=members.links, bytes=members.bytes
    )


class _Rewritten:
    """Takes members (`volume.unpack.Members`) and writes each again with a header of our own."""

    def __init__(self, segments: TarSegments) -> None:
        self._segments = segments
        self.files = self.folders = self.links = self.bytes = 0
        self._drop_top: bool | None = None
        self._tops: dict[str, None] = {}
        # Hashes, because a million names would fill the memory. Two that meet (one in 10^7 for a
        # million names) would only have an archive refused.
        self._folders: set[int] = set()
        self._others: set[int] = set()

    def add_folder(self, parts: list[str], attributes: Attributes) -> None:
        name = self._placed(parts, is_folder=True)
        if name is not None:
            self._begin(name, tar.Kind.FOLDER, attributes)
            self.folders += 1

    def add_file(
        self, parts: list[str], size: int, content: Iterable[memoryview], attributes: Attributes
    ) -> None:
        name = self._required(parts)
        self._begin(name, tar.Kind.FILE, attributes, size=size)
        done = 0
        for piece in content:
            while piece:
                room = self._segments.room(name, done, len(piece))
                count = len(room)
                room[:] = piece[:count]
                self._segments.filled(count)
                done += count
                piece = piece[count:]  # noqa: PLW2901 -- the part that found no room
        self._segments.put(tar.padding(size))
        self.files += 1
        self.bytes += size

    def add_link(self, parts: list[str], target: str, attributes: Attributes) -> None:
        name = self._required(parts)
        if not link_stays_inside(name, target):
            raise ArchiveRefused(
                f"the archive's link {shown(name)!r} leads out of the folder, to {shown(target)!r}"
            )
        self._begin(name, tar.Kind.LINK, attributes, target=target)
        self.links += 1

    def add_name(self, parts: list[str], existing: list[str]) -> None:
        name = self._required(parts)
        target = "/".join(existing[1:] if self._drop_top else existing)
        if target == name or hash(target) not in self._others:
            raise ArchiveRefused(
                f"the archive's hard link {shown(name)!r} names {shown(target)!r},"
                " which is no file before it in the archive"
            )
        # A hard link's own attributes mean nothing: it is another name of a file.
        attributes = Attributes(0o644, 0, 0, 0)
        self._begin(name, tar.Kind.SECOND_NAME, attributes, target=target)
        self.files += 1

    def require_library(self) -> None:
        """Raises ArchiveRefused when the archive is something else than a document library."""
        if hash(LIBRARY) in self._folders:
            return
        held = "it is empty"
        if self._tops:
            held = f"at its top it has {', '.join(repr(shown(name)) for name in self._tops)}"
        raise ArchiveRefused(
            f"the volume holds no folder {LIBRARY!r}: {held}; pack that folder, empty if need be,"
            f" or the data folder's content"
        )

    def _required(self, parts: list[str]) -> str:
        name = self._placed(parts, is_folder=False)
        if name is None:
            raise ArchiveRefused(f"the archive has {_TOP!r} as a folder and as a file")
        return name

    def _placed(self, parts: list[str], *, is_folder: bool) -> str | None:
        """Where a member goes; None for the top folder itself."""
        if self._drop_top is None:
            self._drop_top = parts[0] == _TOP and (is_folder or len(parts) > 1)
        if self._drop_top:
            if parts[0] != _TOP:
                raise ArchiveRefused(
                    f"the volume holds {shown('/'.join(parts))!r} beside its folder {_TOP!r}; pack"
                    f" {LIBRARY!r}, or the data folder's content"
                )
            parts = parts[1:]
            if not parts:
                return None
        if is_own(parts[0]):
            raise ArchiveRefused(
                f"the archive's member {shown('/'.join(parts))!r} is what a restore left: such"
                " names are this service's own"
            )
        if len(self._tops) < _SHOWN_NAMES:
            self._tops[parts[0]] = None
        self._occupy(parts, is_folder=is_folder)
        return "/".join(parts)

    def _occupy(self, parts: list[str], *, is_folder: bool) -> None:
        """Refuses what a restore would meet as a folder and as something else."""
        name = ""
        for part in parts[:-1]:
            name += part
            place = hash(name)
            if place in self._others:
                raise ArchiveRefused(
                    f"the archive writes through {shown(name)!r}, which is no folder"
                )
            self._folders.add(place)
            name += "/"
        name += parts[-1]
        place = hash(name)
        if place in (self._others if is_folder else self._folders):
            raise ArchiveRefused(f"the archive has {shown(name)!r} as a folder and as a file")
        (self._folders if is_folder else self._others).add(place)
        if len(self._folders) + len(self._others) > MOST_NAMES:
            raise ArchiveRefused(f"the volume holds more than {MOST_NAMES} files and folders")

    def _begin(
        self,
        name: str,
        kind: tar.Kind,
        attributes: Attributes,
        *,
        size: int = 0,
        target: str = "",
    ) -> None:
        head = tar.header(
            os.fsencode(name),
            kind,
            size=size,
            mode=attributes.mode & 0o7777,
            uid=attributes.uid,
            gid=attributes.gid,
            mtime_ns=attributes.mtime_ns,
            target=os.fsencode(target),
        )
        self._segments.begin(name, head, size)
