"""A foreign dump becomes a database archive: cut into segments, every statement judged once."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from lcp_backup.archive.deflate import inflate_stream
from lcp_backup.archive.segment import Section
from lcp_backup.archive.tar import MemberKind
from lcp_backup.archive.untar import TarReader
from lcp_backup.archive.write import SEGMENT_SIZE, ArchiveWriter
from lcp_backup.database.dump import SANDBOX_LINE
from lcp_backup.database.endpoint import Flavour
from lcp_backup.database.pieces import Piece, PlacedStatement, StreamedDump
from lcp_backup.database.policy import Policy, refusal
from lcp_backup.database.reader import StatementReader
from lcp_backup.database.rulings import StatementKind
from lcp_backup.database.statements import StatementSplitter
from lcp_backup.database.tokens import EVERY, NotTakenError
from lcp_backup.errors import ArchiveDamaged, ArchiveRefused
from lcp_backup.intake.content import Form, is_apples, recognised
from lcp_backup.intake.ends import Ends
from lcp_backup.model import DatabaseFacts
from lcp_backup.volume.names import printable

MOST_STATEMENT: Final = 128 << 20
"""Bytes of one statement: mysqldump's own limit for a row is 24 MiB, and hexadecimal doubles it."""

_MOST_EMPTY: Final = 100_000
"""Statements of one segment that say nothing, such as DELIMITER lines: a segment of the smallest
routines has fewer."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_TAIL_SIZE: Final = 400
_HEAD_SIZE: Final = 4096
_BY_DUMP_PROGRAM = re.compile(rb"^-- (?:MySQL|MariaDB) dump ", re.MULTILINE)
_TRAILER = re.compile(rb"(?:\A|\n)-- Dump completed[^\n]*\s*\Z")
_CLIENT_VERSION = re.compile(rb"^-- M\w+ dump .*?Distrib ([^\s,]+)", re.MULTILINE)
_SERVER_VERSION = re.compile(rb"^-- Server version[ \t]+([^\r\n]{1,100})", re.MULTILINE)
_SCHEMA_OF_HEAD = re.compile(rb"^-- Host: [^\n]*?[ \t]Database: ([^\r\n]+?)[ \t\r]*$", re.MULTILINE)
_ADMINER = re.compile(rb"\A-- Adminer\w*+ [^\n]*\n")
_ADMINER_TRAILER = re.compile(rb"\n-- \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\n]*\s*\Z")
_UNKNOWN: Final = "unknown"
_SCHEMA_NAME = re.compile(r"(?!\.)[\w$.-]{1,64}")
"""It becomes a file's name inside the archive, which users unpack: so no slash, and more."""

type MakeWriter = Callable[[str], ArchiveWriter]
"""Makes the writer of an archive for the dump of a schema; told its name."""


class TakenDatabase(NamedTuple):
    """A dump that was taken in: the caller finishes the writer."""

    writer: ArchiveWriter
    facts: DatabaseFacts


def take_database(
    chunks: Iterable[bytes],
    make_writer: MakeWriter,
    *,
    default_name: str,
    limit: int,
    progress: Callable[[int], None],
    check: Callable[[], None],
) -> TakenDatabase:
    """Writes a foreign dump as a database archive, in segments that a restore can load apart.

    Taken: SQL as dump programs write it, plain or gzip'd, or a tar file (gzip'd or not) that holds
    one such file and nothing else. What a restore would refuse is refused here already.

    Memory: a few segments, or the largest statement.

    Args:
        chunks: the file's bytes, front to back; read to the end.
        make_writer: called once the schema's name is known; with an `only_file` of it. The writer
            is not finished here, and the caller aborts it when this raises.
        default_name: the schema's name when the dump names none.
        limit: bytes it may inflate to.
        progress: told the raw bytes that are handed to the writer.
        check: called before every chunk and statement; what it raises ends the work.

    Raises ArchiveRefused (with the line), ArchiveDamaged, and what chunks, writer and check raise.
    """
    dump = _ForeignDump(_sql(chunks, limit, check))
    writer: ArchiveWriter | None = None
    policy = Policy(default_name, uploaded=True, server=None)
    name = default_name
    created: set[str] = set()
    defined: set[str] = set()
    ends = Ends()
    for piece in StreamedDump(dump.chunks).pieces(as_written=True):
        check()
        dump.taken(len(piece.raw))
        if writer is None:
            name = _schema_name(piece, check) or dump.named_schema() or default_name
            policy = Policy(name, uploaded=True, server=None)
            writer = make_writer(name)
        created |= _judged(piece, policy, check, ends, begun=bool(created))
        if piece.section is Section.DEFINITION and piece.table is not None:
            defined.add(piece.table)
        writer.add([piece.raw], section=piece.section, table=piece.table)
        progress(len(piece.raw))
    if writer is None or not created:
        raise ArchiveRefused(
            "the database is text, but no dump: it holds no CREATE TABLE statement"
        )
    dump.require_end(ends)
    return TakenDatabase(writer, dump.facts(name, len(created | defined)))


class _ForeignDump:
    """The SQL on its way to the cutter, and what its first and last bytes say."""

    def __init__(self, sql: Iterator[bytes]) -> None:
        self._sql = sql
        self._head = b""
        self._tail = b""
        self._waiting = 0
        """Bytes that were read and did not come back in a piece yet."""

    def chunks(self) -> Iterator[bytes]:
        """Can be read once. Raises ArchiveRefused for an endless statement."""
        for chunk in self._sql:
            text = chunk
            if not self._head:
                text = chunk.removeprefix(_BYTE_ORDER_MARK)
                if line := SANDBOX_LINE.match(text):
                    # An empty line in its place: messages count the lines of the user's file.
                    text = b"\n" + text[line.end() :]
                self._head = text[:_HEAD_SIZE]
            self._tail = (self._tail + text[-_TAIL_SIZE:])[-_TAIL_SIZE:]
            self._waiting += len(text)
            if self._waiting > MOST_STATEMENT + 2 * SEGMENT_SIZE:
                raise ArchiveRefused(
                    f"the database holds a statement of more than {MOST_STATEMENT} bytes"
                )
            yield text

    def taken(self, size: int) -> None:
        """A piece of so many bytes came out of the cutter."""
        self._waiting -= size

    def named_schema(self) -> str | None:
        """The schema that the dump program's first lines name."""
        name = _first(_SCHEMA_OF_HEAD, self._head)
        return name if name != _UNKNOWN and _SCHEMA_NAME.fullmatch(name) else None

    def require_end(self, ends: Ends) -> None:
        """Raises ArchiveDamaged for what was begun and not ended, ArchiveRefused for no proof."""
        trailer = _TRAILER.search(self._tail) is not None
        if _BY_DUMP_PROGRAM.search(self._head) and not trailer:
            raise ArchiveDamaged(
                "the database is cut short: a dump program wrote it, and its last line is not"
                " '-- Dump completed'"
            )
        if missing := ends.missing():
            raise ArchiveDamaged(f"the database is cut short: {missing}")
        adminer = _ADMINER.search(self._head) and _ADMINER_TRAILER.search(self._tail)
        if not (trailer or adminer or ends.seen):
            raise ArchiveRefused(
                "nothing in the database says that it is whole, and it may have been cut short:"
                " dump it with comments; or, if you know it to be whole, append the line"
                " '-- Dump completed'"
            )

    def facts(self, name: str, tables: int) -> DatabaseFacts:
        """What the dump program's first lines tell."""
        server = _first(_SERVER_VERSION, self._head)
        client = _first(_CLIENT_VERSION, self._head)
        begin = self._head.partition(b"\n--\n")[0].decode(errors="replace")
        return DatabaseFacts(
            name=name,
            flavour=Flavour.of(f"{begin} {server}"),
            server_version=server,
            client_version=client,
            tables=tables,
        )


def _first(pattern: re.Pattern[bytes], text: bytes) -> str:
    found = pattern.search(text)
    return _UNKNOWN if found is None else found[1].decode(errors="replace").strip()


def _judged(
    piece: Piece, policy: Policy, check: Callable[[], None], ends: Ends, *, begun: bool
) -> set[str]:
    """The tables a piece creates; refuses what its restore would refuse, and half a statement.

    Before a dump has `begun` to create tables, half a statement is no sign that it was cut.
    """
    created: set[str] = set()
    empty = 0
    for statement in StatementSplitter().split(piece.raw, check):
        check()
        judged = PlacedStatement(piece, statement)
        if statement.begin == statement.end:
            empty += 1
            if empty > _MOST_EMPTY:
                raise ArchiveRefused(
                    f"{_MOST_EMPTY} statements of the database before {judged.where} say nothing"
                )
        if begun and statement.begin < statement.end == len(statement.raw):
            raise ArchiveDamaged(
                f"the database is cut short: it ends inside the statement at {judged.where}"
            )
        ruling = policy.judge(judged)
        if ruling.kind is StatementKind.DROP_SCHEMA and (begun or created):
            raise refusal(
                judged,
                "it drops the schema in which tables were created before; send what follows alone",
            )
        # (No statement that ends a dump is long.)
        ends.see(ruling, statement.raw[statement.begin : statement.end][:_HEAD_SIZE])
        if ruling.kind is StatementKind.TABLE and ruling.creates:
            created.add(ruling.name)
    return created


def _schema_name(first: Piece, check: Callable[[], None]) -> str | None:
    """The schema that the dump's beginning names."""
    for statement in StatementSplitter().split(first.raw, check):
        check()
        name = _named_schema(statement.text)
        if name is not None:
            if not _SCHEMA_NAME.fullmatch(name):
                raise ArchiveRefused(
                    f"the dump is of a schema {printable(name)[:100]!r}; letters, digits and _ $ ."
                    " - are taken in its name"
                )
            return name
    return None


def _named_schema(statement: bytes) -> str | None:
    """The schema that a statement creates or uses, if it does."""
    reader = StatementReader(statement, EVERY)
    with suppress(NotTakenError):
        if reader.take("USE"):
            return reader.name()
        if reader.peek_word(1) in {"DATABASE", "SCHEMA"} and reader.take("CREATE DATABASE|SCHEMA"):
            reader.take("IF NOT EXISTS")
            return reader.name()
    return None


def _sql(chunks: Iterable[bytes], limit: int, check: Callable[[], None]) -> Iterator[bytes]:
    """The SQL inside a file of any form that is taken."""
    content = recognised(chunks)
    if content.form is Form.GZIP:
        content = recognised(inflate_stream(content.chunks, name="the database", limit=limit))
    if content.form is Form.TAR:
        yield from _only_member(content.chunks, limit, check)
    elif content.form is Form.TEXT:
        yield from _checked(content.chunks, check)
    else:
        raise ArchiveRefused(f"the database is {content.found}, and no SQL dump")


def _only_member(chunks: Iterable[bytes], limit: int, check: Callable[[], None]) -> Iterator[bytes]:
    reader = TarReader(chunks, lambda _: None, check)
    taken: str | None = None
    for member in reader.members():
        name = printable(member.name)
        is_file = member.kind is MemberKind.FILE
        if member.kind is MemberKind.FOLDER or (is_file and is_apples(member.name)):
            continue
        if not is_file:
            what = "a link" if member.kind is not None else member.found
            raise ArchiveRefused(
                f"the database's archive holds {name!r}, which is {what}; one SQL file is taken"
            )
        if taken is not None:
            raise ArchiveRefused(
                f"the database's archive holds {taken!r} and {name!r}; one SQL file is taken"
            )
        taken = name
        content = recognised(bytes(piece) for piece in reader.content())
        if content.form is Form.GZIP:
            inflated = inflate_stream(
                content.chunks, name=f"{name!r} in the database's archive", limit=limit
            )
            content = recognised(inflated)
        if content.form is not Form.TEXT:
            raise ArchiveRefused(
                f"{name!r} in the database's archive is {content.found}, and no SQL dump"
            )
        yield from _checked(content.chunks, check)
    if taken is None:
        raise ArchiveRefused("the database's archive holds no file")


def _checked(chunks: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for chunk in chunks:
        check()
        yield chunk
