"""A foreign dump, and what is made of it when it is taken in."""

import gzip
import io
import tarfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial

from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_segments
from lcp_backup.archive.segment import Segment
from lcp_backup.archive.write import ArchiveWriter, OnlyFile
from lcp_backup.intake.database import TakenDatabase, take_database
from tests.support.buffers import Buffer

gzipped = partial(gzip.compress, mtime=0)
"""Equal for equal bytes: tests are named by what they are given, also in another process."""


HEAD = b"""-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
--
-- Host: localhost    Database: lportal
-- ------------------------------------------------------
-- Server version\t8.0.36

/*!40101 SET NAMES utf8mb4 */;
/*!40000 DROP DATABASE IF EXISTS `lportal`*/;

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `lportal` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;

USE `lportal`;
"""


TABLES = b"""
DROP TABLE IF EXISTS `Company`;
CREATE TABLE `Company` (`id` bigint NOT NULL, `name` text, PRIMARY KEY (`id`));
LOCK TABLES `Company` WRITE;
INSERT INTO `Company` VALUES (1,'it''s; \\'quoted\\''),
(2,'-- no comment');
UNLOCK TABLES;
"""


TRAILER = b"-- Dump completed on 2026-11-20  0:15:01\n"


SQL = HEAD + TABLES + TRAILER


def tar(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else kind
            member.size = len(content)
            member.linkname = "elsewhere" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
            archive.addfile(member, io.BytesIO(content))
    return raw.getvalue()


class Store:
    """Where the archive goes, and what it is read back from."""

    def __init__(self) -> None:
        self.archive = Buffer()
        self.index = Buffer()
        self.schema = ""

    def writer(self, schema: str) -> ArchiveWriter:
        self.schema = schema
        return ArchiveWriter(
            self.archive,
            self.index,
            name="database.tgz",
            index_name="database.index",
            threads=1,
            only_file=OnlyFile(f"{schema}.sql", datetime(2026, 11, 20, tzinfo=UTC)),
        )

    def segments(self) -> Iterator[tuple[Segment, bytes]]:
        index = read_index(self.index, archive_name="database.tgz")
        return read_segments(self.archive, index, name="database.tgz", threads=1)


def take(data: bytes, store: Store | None = None, *, limit: int = 1 << 20) -> TakenDatabase:
    store = store or Store()
    # Odd, so that everything lies over the chunks' borders.
    chunks: Iterable[bytes] = (data[at : at + 701] for at in range(0, len(data), 701))
    taken = take_database(
        chunks,
        store.writer,
        default_name="lportal",
        limit=limit,
        progress=lambda _: None,
        check=lambda: None,
    )
    taken.writer.finish()
    return taken
