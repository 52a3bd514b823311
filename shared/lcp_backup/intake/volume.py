"""A foreign tar file of a document library becomes a volume archive, as `volume.pack` writes it."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from lcp_backup.archive import tar
from lcp_backup.archive.deflate import inflate_stream
from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.errors import ArchiveRefused
from lcp_backup.intake.content import Form, is_apples, recognised
from lcp_backup.intake.places import Occupant, Places
from lcp_backup.model import Notice, VolumeFacts
from lcp_backup.volume import segments
from lcp_backup.volume.base import footprint
from lcp_backup.volume.members import Attributes, Content, check_link, extract
from lcp_backup.volume.names import LIBRARY, is_own, printable, quoted

_TOP: Final = "data"
"""The data folder's own name, when it was packed from outside."""
_SHOWN_NAMES: Final = 5
MOST_DEPTH: Final = 128
"""Components of a member's name. Liferay's own names have about ten, and EFS holds a thousand."""
MOST_TARGET: Final = 4080
"""Bytes that a symbolic link holds on EFS (https://docs.aws.amazon.com/efs/latest/ug/limits.html)."""


class TakenVolume(NamedTuple):
    """A volume that was taken in."""

    facts: VolumeFacts
    notices: tuple[Notice, ...]
    """What was left out (`macos-files-left-out`)."""


def take_volume(
    chunks: Iterable[bytes],
    writer: ArchiveWriter,
    *,
    limit: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> TakenVolume:
    """Writes a foreign volume as a whole tar file of our own form; the caller finishes the writer.

    Taken: a tar file, gzip'd or not, of `document_library`, of the data folder's content, or of one
    folder `data` with that content, which is left out of the names. What a restore would refuse, or
    a file system on AWS would, is refused here already. Members keep names, modes, owners, times to
    the nanosecond and links. Left out, with a notice: what macOS adds to archives (`._name`,
    `.DS_Store`).

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
    tar_file = segments.TarSegments(writer, progress, check)
    members = _Rewritten(tar_file)
    # What was read counts once it is written: two figures would make the progress jump.
    extract(content.chunks, members, progress=lambda _: None, check=check)
    members.require_library()
    tar_file.end()
    facts = VolumeFacts(
        files=members.files,
        folders=members.folders,
        links=members.links,
        bytes=members.bytes,
        own_size=members.own_size,
        in_any_order=members.in_any_order,
    )
    return TakenVolume(facts, members.notices())


class _Rewritten:
    """Takes members (`volume.members.Members`) and writes each again with a header of our own."""

    def __init__(self, tar_file: segments.TarSegments) -> None:
        self._segments = tar_file
        self.files = self.folders = self.links = self.bytes = self.own_size = 0
        self._places = Places()
        self._drop_top: bool | None = None
        self._tops: dict[str, None] = {}
        self._apples: list[str] = []
        self._more_apples = 0

    @property
    def in_any_order(self) -> bool:
        """As of Places."""
        return self._places.in_any_order

    def notices(self) -> tuple[Notice, ...]:
        """What was left out."""
        if not self._apples:
            return ()
        count = len(self._apples) + self._more_apples
        return (
            Notice(
                code="macos-files-left-out",
                subject=printable(self._apples[0]),
                detail=f"{count} files that macOS adds to archives (._name, .DS_Store) were left"
                f" out: {', '.join(map(quoted, self._apples))}{', ...' * bool(self._more_apples)}",
            ),
        )

    def add_folder(self, components: list[str], attributes: Attributes) -> None:
        name = self._placed(components, Occupant.FOLDER)
        if name is not None:
            self._begin(name, tar.MemberKind.FOLDER, attributes)
            self.folders += 1

    def add_file(
        self, components: list[str], size: int, content: Content, attributes: Attributes
    ) -> None:
        if self._is_left_out(components):
            return
        name = self._required(components, Occupant.FILE)
        self._begin(name, tar.MemberKind.FILE, attributes, size=size)
        for piece in content:
            while piece:
                room = self._segments.room(len(piece))
                count = len(room)
                room[:] = piece[:count]
                self._segments.filled(count)
                piece = piece[count:]  # noqa: PLW2901 -- the bytes that found no room
        self._segments.close()
        self.files += 1
        self.bytes += size
        self.own_size += footprint(size)

    def add_link(self, components: list[str], target: str, attributes: Attributes) -> None:
        name = self._required(components, Occupant.LINK)
        check_link(name, target, MOST_TARGET)
        self._begin(name, tar.MemberKind.LINK, attributes, target=target)
        self.links += 1

    def add_name(self, components: list[str], existing: list[str]) -> None:
        if self._is_left_out(components):
            return
        placed = existing
        if self._drop_top:
            placed = existing[1:] if existing[:1] == [_TOP] else []
        first = self._places.file(placed)
        name = self._required(components, Occupant.FILE)
        target = "/".join(placed)
        if target == name or first is None:
            raise ArchiveRefused(
                f"the archive's hard link {quoted(name)} names {quoted('/'.join(existing))},"
                " which is no file before it in the archive"
            )
        self._places.share(components[1:] if self._drop_top else components, first)
        # A hard link's own attributes mean nothing: it is another name of a file.
        attributes = Attributes(0o644, 0, 0, 0)
        self._begin(name, tar.MemberKind.SECOND_NAME, attributes, target=target)
        self.files += 1

    def require_library(self) -> None:
        """Raises ArchiveRefused when the archive is something else than a document library."""
        if self._places.is_folder([LIBRARY]):
            return
        held = "it is empty"
        if self._tops:
            held = f"at its top it has {', '.join(repr(printable(name)) for name in self._tops)}"
        raise ArchiveRefused(
            f"the volume holds no folder {LIBRARY!r}: {held}; pack that folder, empty if need be,"
            f" or the data folder's content"
        )

    def _is_left_out(self, components: list[str]) -> bool:
        if not is_apples(components[-1]):
            return False
        if len(self._apples) < _SHOWN_NAMES:
            self._apples.append("/".join(components))
        else:
            self._more_apples += 1
        return True

    def _required(self, components: list[str], what: Occupant) -> str:
        name = self._placed(components, what)
        if name is None:
            raise ArchiveRefused(f"the archive has {_TOP!r} as a folder and as a file")
        return name

    def _placed(self, components: list[str], what: Occupant) -> str | None:
        """Where a member goes; None for the top folder itself."""
        if self._drop_top is None:
            self._drop_top = components[0] == _TOP and (
                what is Occupant.FOLDER or len(components) > 1
            )
        if self._drop_top:
            if components[0] != _TOP:
                raise ArchiveRefused(
                    f"the volume holds {quoted('/'.join(components))} beside its folder {_TOP!r};"
                    f" pack {LIBRARY!r}, or the data folder's content"
                )
            components = components[1:]
            if not components:
                return None
        name = "/".join(components)
        if is_own(components[0]):
            raise ArchiveRefused(
                f"the archive's member {quoted(name)} is what a restore left: such"
                " names are this service's own"
            )
        if len(components) > MOST_DEPTH:
            raise ArchiveRefused(
                f"the archive's member {quoted(name)} lies {len(components)} deep;"
                f" at most {MOST_DEPTH} components of a name are taken"
            )
        if len(self._tops) < _SHOWN_NAMES:
            self._tops[components[0]] = None
        self._places.occupy(components, what)
        return name

    def _begin(
        self,
        name: str,
        kind: tar.MemberKind,
        attributes: Attributes,
        *,
        size: int = 0,
        target: str = "",
    ) -> None:
        mode, uid, gid, mtime_ns = attributes
        rewritten = segments.Attributes(size, mode & 0o7777, uid, gid, mtime_ns)
        self._segments.begin(name, kind, rewritten, target)
        if kind is not tar.MemberKind.FILE:
            self._segments.close()
