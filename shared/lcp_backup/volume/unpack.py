"""Unpacks a tar stream into a staged tree beside the live folder; trusts nothing in it.

Python's `tarfile` parses the headers (POSIX ustar and pax, GNU long names); the files' bytes go
from the inflated segment to the file without another copy.
"""

import errno
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self, cast

from lcp_backup.errors import ArchiveDamaged, ArchiveRefused, VolumeError
from lcp_backup.volume.names import KEPT_PREFIX, STAGING_NAME, is_own, link_stays_inside, shown
from lcp_backup.volume.staging import StagedVolume, stage

MAX_HEADER: Final = 256 << 10
"""Bytes of one extended header; Linux ends a path at 4 KiB and one attribute at 64 KiB."""

_MOST_GLOBAL_RECORDS = 64
_MOST_SECONDS = 2**33
"""The year 2242, and 1697 before 1970: what file systems of today can store, about."""
_MAX_ID = 2**32 - 2
_ALL_OF_OWNER = 0o700

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = {errno.ENOSPC, errno.EDQUOT}
_THROUGH = {errno.ELOOP, errno.ENOTDIR}
_TIME = re.compile(r"(-?)(\d{1,18})(?:\.(\d*))?")


def unpack(
    chunks: Iterable[bytes],
    folder: Path,
    *,
    owner: tuple[int, int] | None,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> StagedVolume:
    """Unpacks a whole tar stream beside the live folder, which is not touched.

    Kept: names of any bytes, permissions, times to the nanosecond, empty folders, symbolic and hard
    links; the owner, as far as this process may give files away. Set-user-id, set-group-id and
    sticky bits of files are dropped, those of folders are kept, but for set-user-id. A later member
    of the same name replaces an earlier file, as with `tar`.

    Args:
        chunks: the tar's bytes, such as the segments of `archive.read.read_segments`.
        folder: LCP_BACKUP_FOLDER; made, at the swap, when it does not exist.
        owner: uid and gid of everything, such as Liferay's 1000 and 1000; None: the archive's.
        progress: told the bytes of every chunk once they are unpacked.
        check: called before every chunk and every member; what it raises ends the unpacking.

    Raises, with the staged tree removed:
        ArchiveRefused: a member has a place outside the folder, leads there, is written through a
            link, or is neither file, folder nor link; the message names it.
        ArchiveDamaged: it is no whole tar file.
        VolumeError: the file system is full or does not let itself be written.
    """
    return staged_by(
        lambda tree: extract(chunks, tree, progress=progress, check=check), folder, owner
    )


def staged_by(
    fill: "Callable[[Members], None]", folder: Path, owner: tuple[int, int] | None
) -> StagedVolume:
    """A staged tree of what `fill` hands over, removed when that raises; else as `unpack`."""
    staged = stage(folder)
    with ExitStack() as undo:
        undo.callback(staged.discard)
        try:
            with _Tree(staged.new, owner) as tree:
                fill(tree)
        except OSError as error:
            raise _unwritable(folder, error) from error
        undo.pop_all()
    return staged


def _unwritable(folder: Path, error: OSError) -> VolumeError:
    if error.errno in _FULL:
        reason = f"the file system that holds it is full ({error.strerror})"
    else:
        reason = error.strerror or type(error).__name__
    return VolumeError(
        f"the volume cannot be unpacked beside {str(folder)!r}: {reason};"
        " the live folder is as it was"
    )


class Members(Protocol):
    """Takes the members of a tar file one after the other; `parts` are a name's, never empty."""

    def add_folder(self, parts: list[str], attributes: "Attributes") -> None: ...

    def add_file(
        self, parts: list[str], size: int, content: Iterable[memoryview], attributes: "Attributes"
    ) -> None:
        """Must take all of the content, which is `size` bytes."""

    def add_link(self, parts: list[str], target: str, attributes: "Attributes") -> None:
        """A symbolic link that stays inside."""

    def add_name(self, parts: list[str], existing: list[str]) -> None:
        """A hard link to an earlier member, which may be missing."""


def extract(
    chunks: Iterable[bytes],
    into: Members,
    *,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> None:
    """Reads a whole tar stream and hands over its members; raises as `unpack` does."""
    stream = TarStream(chunks, progress, check)
    for member in read_members(stream, check):
        hand_over(member, stream, into)
    stream.drain()


def read_members(stream: "TarStream", check: Callable[[], None]) -> Iterator[tarfile.TarInfo]:
    """The headers of a tar stream; content that nobody takes is passed over.

    Raises ArchiveDamaged, ArchiveRefused for headers that are a bomb, and what `check` raises.
    """
    try:
        members = tarfile.TarFile(
            # Reads, tells and seeks forward: all that `tarfile` does with one that it only reads.
            fileobj=cast("tarfile._Fileobj", stream),
            mode="r",
            tarinfo=_Header,
            encoding="utf-8",
            stream=True,
        )
        while (member := members.next()) is not None:
            check()
            if len(members.pax_headers) > _MOST_GLOBAL_RECORDS:
                raise ArchiveRefused(
                    f"the archive sets more than {_MOST_GLOBAL_RECORDS} attributes for all members"
                )
            yield member
    except tarfile.TarError as error:
        raise ArchiveDamaged(
            f"the archive is not a valid tar file near byte {stream.tell()} of it: {error}"
        ) from None
    except RecursionError:
        raise ArchiveRefused(
            f"the archive nests its headers too deep, near byte {stream.tell()} of it"
        ) from None
    if not stream.at_end_mark:
        # `tarfile` takes a broken extended header for the end of the archive.
        raise ArchiveDamaged(f"a header near byte {stream.tell()} of the archive is not valid")


def hand_over(member: tarfile.TarInfo, stream: "TarStream", into: Members) -> None:
    """Checks the member at hand and gives it on, with its content; raises as `unpack` does."""
    parts = _parts(member.name)
    if not parts:
        if not member.isdir():
            raise ArchiveRefused(f"the archive's member {member.name!r} has no name")
        return  # `tar -c .` has the folder itself, whose mode and owner the live one decides
    attributes = _attributes(member)
    name = "/".join(parts)
    if member.size < 0:
        raise ArchiveDamaged(f"the archive's member {shown(name)!r} has a size of {member.size}")
    if member.isdir():
        into.add_folder(parts, attributes)
    elif member.isreg() and not member.issparse():
        into.add_file(parts, member.size, stream.take(member.size), attributes)
    elif member.issym():
        if not link_stays_inside(name, member.linkname):
            raise ArchiveRefused(
                f"the archive's link {shown(name)!r} leads out of the folder,"
                f" to {shown(member.linkname)!r}"
            )
        into.add_link(parts, member.linkname, attributes)
    elif member.islnk():
        into.add_name(parts, _parts(member.linkname))
    else:
        kind = "a sparse file" if member.isreg() else "a device, pipe or something unknown"
        raise ArchiveRefused(f"the archive's member {shown(name)!r} is {kind}, which is not taken")


def _parts(name: str) -> list[str]:
    """The parts of a member's name; raises ArchiveRefused when they lead out of the folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise ArchiveRefused(f"the archive's member {shown(name)!r} lies outside the folder")
    if parts and is_own(parts[0]):
        raise ArchiveRefused(
            f"the archive's member {shown(name)!r} is what a restore left: {STAGING_NAME!r} and"
            f" {KEPT_PREFIX + '...'!r} are this service's own"
        )
    return parts


class Attributes(NamedTuple):
    """What a member carries beside its content."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int


def _attributes(member: tarfile.TarInfo) -> Attributes:
    if not (0 <= member.uid <= _MAX_ID and 0 <= member.gid <= _MAX_ID):
        raise ArchiveRefused(f"the archive's member {shown(member.name)!r} has an impossible owner")
    # `tarfile` rounds times to what a float can hold; the record has them in full.
    record = member.pax_headers.get("mtime")
    if record is not None:
        if (match := _TIME.fullmatch(record)) is None:
            raise ArchiveDamaged(f"the archive's member {shown(member.name)!r} has no valid time")
        seconds = min(int(match[2]), _MOST_SECONDS)
        nanoseconds = seconds * 1_000_000_000 + int((match[3] or "")[:9].ljust(9, "0"))
        nanoseconds = -nanoseconds if match[1] else nanoseconds
    else:
        seconds = min(max(int(member.mtime), -_MOST_SECONDS), _MOST_SECONDS)
        nanoseconds = seconds * 1_000_000_000
    return Attributes(member.mode, member.uid, member.gid, nanoseconds)


class _Header(tarfile.TarInfo):
    """Tells the end of an archive from a header that is broken or missing: `tarfile` does not."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) != tarfile.BLOCKSIZE:
            raise ArchiveDamaged("the archive is cut short: the mark of its end is missing")
        if not any(buf):
            return super().frombuf(buf, encoding, errors)
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise ArchiveDamaged(f"a header of the archive is not valid: {error}") from None


class TarStream:
    """The inflated bytes as a file that is read forward; only headers are copied."""

    def __init__(
        self,
        chunks: Iterable[bytes],
        progress: Callable[[int], None],
        check: Callable[[], None],
    ) -> None:
        self._chunks = iter(chunks)
        self._progress = progress
        self._check = check
        self._chunk = memoryview(b"")
        self._at = 0
        self._offset = 0
        self.at_end_mark = False
        """Whether what was read last is a block of zeros."""

    def tell(self) -> int:
        return self._offset

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, less only at the end; raises ArchiveRefused for an endless header."""
        if not 0 <= size <= MAX_HEADER:
            raise ArchiveRefused(
                f"a header near byte {self._offset} of the archive announces {size} bytes;"
                f" more than {MAX_HEADER} are not taken"
            )
        data = b"".join(self._pieces(size))
        self.at_end_mark = size == tarfile.BLOCKSIZE and not any(data)
        return data

    def seek(self, offset: int) -> int:
        """Forward only: passes over padding, and content nobody asked for."""
        for _ in self._pieces(offset - self._offset):
            pass
        return self._offset

    def take(self, size: int) -> Iterator[memoryview]:
        """Exactly `size` bytes in pieces; raises ArchiveDamaged when the archive ends before."""
        end = self._offset + size
        yield from self._pieces(size)
        if self._offset != end:
            raise ArchiveDamaged("the archive is cut short: it ends inside a file")

    def drain(self) -> None:
        """Reads to the end, so that the last byte is checked too."""
        while self._fill():
            self._at = len(self._chunk)

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size > 0 and self._fill():
            piece = self._chunk[self._at : self._at + size]
            self._at += len(piece)
            self._offset += len(piece)
            size -= len(piece)
            yield piece

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


class _Level:
    """An open folder on the way to the member at hand, and what it gets when it is left."""

    def __init__(self, name: str, descriptor: int, final: Attributes | None) -> None:
        self.name = name
        self.descriptor = descriptor
        self.final = final


class _Tree:
    """Writes members below one folder, reaching them from there and never through a link.

    Folders get their mode and time when the next member lies outside them, because writing into
    them would change the time and may need more than the mode allows. So memory does not grow with
    their number; one that is entered again has its time put back.
    """

    def __init__(self, root: Path, owner: tuple[int, int] | None) -> None:
        self._owner = owner
        self._may_give_away = os.geteuid() == 0
        descriptor = os.open(root, _OPEN_FOLDER)
        self._levels = [_Level("", descriptor, None)]
        self._give_away(lambda uid, gid: os.fchown(descriptor, uid, gid), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and len(self._levels) > 1:
                self._leave()
        finally:
            for level in self._levels:
                os.close(level.descriptor)

    def add_folder(self, parts: list[str], attributes: Attributes) -> None:
        self._enter(parts)
        self._levels[-1].final = attributes

    def add_file(
        self,
        parts: list[str],
        size: int,  # noqa: ARG002 -- the protocol's
        content: Iterable[memoryview],
        attributes: Attributes,
    ) -> None:
        folder = self._enter(parts[:-1])
        descriptor = self._made(
            parts, folder, lambda: os.open(parts[-1], _NEW_FILE, 0o600, dir_fd=folder)
        )
        try:
            for piece in content:
                rest = piece
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            self._settle(descriptor, attributes, attributes.mode & 0o777)
        finally:
            # A network file system may tell only now that it is full.
            os.close(descriptor)

    def add_link(self, parts: list[str], target: str, attributes: Attributes) -> None:
        folder = self._enter(parts[:-1])
        self._made(parts, folder, lambda: os.symlink(target, parts[-1], dir_fd=folder))
        self._give_away(
            lambda uid, gid: os.chown(parts[-1], uid, gid, dir_fd=folder, follow_symlinks=False),
            attributes,
        )
        times = (attributes.mtime_ns, attributes.mtime_ns)
        os.utime(parts[-1], ns=times, dir_fd=folder, follow_symlinks=False)

    def add_name(self, parts: list[str], existing: list[str]) -> None:
        """A hard link; what it names must have been unpacked before it."""
        if not existing or existing == parts:
            raise ArchiveRefused(f"the archive's hard link {shown('/'.join(parts))!r} has no file")
        source = os.dup(self._enter(existing[:-1]))
        try:
            folder = self._enter(parts[:-1])
            self._made(
                parts,
                folder,
                lambda: os.link(
                    existing[-1],
                    parts[-1],
                    src_dir_fd=source,
                    dst_dir_fd=folder,
                    follow_symlinks=False,
                ),
            )
        except (FileNotFoundError, PermissionError):
            raise ArchiveRefused(
                f"the archive's hard link {shown('/'.join(parts))!r} names"
                f" {shown('/'.join(existing))!r}, which is no file before it in the archive"
            ) from None
        finally:
            os.close(source)

    def _enter(self, parts: list[str]) -> int:
        """The open folder of these parts; makes what is missing, leaves what is left."""
        same = 0
        while same < min(len(parts), len(self._levels) - 1):
            if self._levels[same + 1].name != parts[same]:
                break
            same += 1
        while len(self._levels) - 1 > same:
            self._leave()
        for count in range(same, len(parts)):
            self._levels.append(self._opened(parts[: count + 1]))
        return self._levels[-1].descriptor

    def _opened(self, parts: list[str]) -> _Level:
        name = parts[-1]
        parent = self._levels[-1].descriptor
        try:
            os.mkdir(name, _ALL_OF_OWNER, dir_fd=parent)
        except FileExistsError:
            made = False
        else:
            made = True
        try:
            descriptor = os.open(name, _OPEN_FOLDER, dir_fd=parent)
        except OSError as error:
            if error.errno not in _THROUGH:
                raise
            raise ArchiveRefused(
                f"the archive writes through {shown('/'.join(parts))!r}, which is no folder"
            ) from None
        status = os.fstat(descriptor)
        if made:
            # Not in the archive so far: as `mkdir` would have made it.
            final = None
            os.fchmod(descriptor, 0o755)
            self._give_away(lambda uid, gid: os.fchown(descriptor, uid, gid), None)
        else:
            final = Attributes(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
            if status.st_mode & _ALL_OF_OWNER != _ALL_OF_OWNER:
                os.fchmod(descriptor, _ALL_OF_OWNER)
        return _Level(name, descriptor, final)

    def _leave(self) -> None:
        level = self._levels.pop()
        try:
            if level.final is not None:
                self._settle(level.descriptor, level.final, level.final.mode & 0o3777)
        finally:
            os.close(level.descriptor)

    def _settle(self, descriptor: int, attributes: Attributes, mode: int) -> None:
        """Owner first: giving a file away takes bits off its mode."""
        self._give_away(lambda uid, gid: os.fchown(descriptor, uid, gid), attributes)
        os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(attributes.mtime_ns, attributes.mtime_ns))

    def _give_away(self, chown: Callable[[int, int], None], attributes: Attributes | None) -> None:
        owner = self._owner or (attributes and (attributes.uid, attributes.gid))
        if not self._may_give_away or owner is None:
            return
        try:
            chown(*owner)
        except PermissionError:
            # A mount that decides the owner itself (an EFS access point) lets nobody choose.
            self._may_give_away = False

    def _made[T](self, parts: list[str], folder: int, make: Callable[[], T]) -> T:
        """Makes a member; what an earlier one of its name made goes, unless that is a folder."""
        try:
            return make()
        except FileExistsError:
            pass
        try:
            os.unlink(parts[-1], dir_fd=folder)
        except (IsADirectoryError, PermissionError):
            raise ArchiveRefused(
                f"the archive has {shown('/'.join(parts))!r} as a folder and as a file"
            ) from None
        return make()
