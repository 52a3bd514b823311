"""docs/format.md says what lies in the bucket: its samples are read, and its commands are run."""

import gzip
import re
from pathlib import Path

import pytest

from lcp_backup.archive.index import IndexReader, read_index
from lcp_backup.archive.read import read_back
from lcp_backup.archive.segment import IndexedMember, Section, Segment
from lcp_backup.archive.write import ArchiveWriter, OnlyFile
from lcp_backup.catalog.pins import Pin
from lcp_backup.catalog.retired import Retired
from lcp_backup.catalog.unfinished import Unfinished
from lcp_backup.document import Document
from lcp_backup.model import Lease, Manifest, Pause, Run, Upload
from lcp_backup.verification import Report, Verification
from lcp_backup.volume.pack import pack
from tests.support.buffers import Buffer
from tests.support.by_hand import by_hand
from tests.support.clock import SettableClock
from tests.support.trees import odd_tree, snapshot

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
SAMPLES = re.findall(r"^## ([\w ]+)\n```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS: dict[str, str] = dict(
    re.findall(
        r"^\*\*([\w ]+?)\.?\*\*(?:(?!^\*\*).)*?^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
)

HEAD = b"""-- head
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;
SET @@SESSION.SQL_LOG_BIN= 0;
SET @a=1; DROP DATABASE other;
/*!40000 DROP DATABASE IF EXISTS `lportal`*/;

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `lportal` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;

USE `lportal`;
"""


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("Manifest", Manifest),
        ("Verification", Verification),
        ("Report", Report),
        ("Retired backup", Retired),
        ("Unfinished volume", Unfinished),
        ("Pin", Pin),
        ("Run record", Run),
        ("Upload", Upload),
        ("Lease", Lease),
        ("Pause", Pause),
    ],
)
def test_a_documents_sample_is_what_the_service_would_write(
    title: str, model: type[Document]
) -> None:
    sample = dict(SAMPLES)[title]
    read = model.model_validate_json(sample)
    assert read.model_dump_json(indent=1) == sample.rstrip("\n")


def test_the_indexs_sample_is_an_index() -> None:
    lines = PAGE[PAGE.index("## Index") :].split("```json\n")[1].split("```")[0]
    reader = IndexReader(Buffer(gzip.compress(lines.encode())), archive_name="volume.tgz")
    own, end, begun, goes_on, members = reader.lines()
    assert isinstance(own, Segment)
    assert isinstance(end, Segment)
    assert isinstance(begun, Segment)
    assert isinstance(goes_on, Segment)
    assert (own.members, end.members, begun.members, goes_on.members) == (3, 0, 2, 2)
    assert (begun.source, begun.number, goes_on.source, goes_on.number) == (1, 0, 1, 1)
    assert isinstance(members, list)
    _, large, _, odd = members
    assert (large.name, large.source, large.more) == ("document_library/large.bin", 1, 1)
    head = 3 * 512  # an extended header, its content, and the header
    assert goes_on.first == large.at + head + large.size - begun.raw_size
    assert (odd.name, odd.source) == ("document_library/r\udce9sum\udce9", 0)


def test_the_table_of_a_members_values_has_all_of_them() -> None:
    rows = re.findall(r"^\| (\d+)(?: to (\d+)|, (\d+))? \| ", PAGE, re.MULTILINE)
    numbers = [n for a, b, c in rows for n in range(int(a), int(b or c or a) + 1)]
    assert numbers == list(range(1, len(IndexedMember._fields) + 1))


@pytest.fixture
def backup(tmp_path: Path, clock: SettableClock) -> Path:
    """A backup's objects in a folder of their own, beside the site that it is of."""
    site = tmp_path / "site"
    site.mkdir()
    odd_tree(site)
    (site / "document_library" / "20098").mkdir(parents=True)
    for number in range(3):
        large = bytes([number]) * (9 << 20)
        (site / "document_library" / "20098" / f"large-{number}").write_bytes(large)
    (site / "document_library" / "20098" / "small").write_text("small")
    (site / "document_library" / "200980").write_text("another")
    folder = tmp_path / "bucket" / "backups" / "acme-prd-202611200015"
    folder.mkdir(parents=True)
    archives = {}
    for kind, only_file in {"volume": None, "database": OnlyFile("lportal.sql", clock())}.items():
        archive, index = Buffer(), Buffer()
        with ArchiveWriter(
            archive,
            index,
            name=f"{kind}.tgz",
            index_name=f"{kind}.index",
            threads=2,
            only_file=only_file,
        ) as writer:
            if kind == "volume":
                pack(
                    site,
                    writer,
                    began=clock(),
                    progress=lambda _: None,
                    check=lambda: None,
                )
            else:
                writer.add([HEAD], section=Section.HEAD)
                for table in ("a", "b"):
                    writer.add(
                        [f"CREATE TABLE {table};\n".encode()],
                        section=Section.DEFINITION,
                        table=table,
                    )
                    writer.add(
                        [f"INSERT INTO {table} VALUES ('\\\\;');\n".encode()],
                        section=Section.ROWS,
                        table=table,
                    )
            written = writer.finish()
        archives[kind] = read_back(written, archive, index, threads=2)
        (folder / f"{kind}.tgz").write_bytes(archive.data)
        (folder / f"{kind}.index").write_bytes(index.data)
    sample = Manifest.model_validate_json(dict(SAMPLES)["Manifest"])
    manifest = sample.model_copy(update=archives)
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1))
    return folder


def site_of(backup: Path) -> Path:
    return backup.parents[2] / "site"


def said_by(title: str, backup: Path, **variables: str) -> str:
    """What the page's commands print, run in the folder of a backup."""
    done = by_hand(
        COMMANDS[title],
        backup,
        backup.parents[1],
        **{"from": f"s3://bucket/backups/{backup.name}", **variables},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_volume_is_recovered_by_the_script_also_without_sources(backup: Path) -> None:
    assert said_by("Any other volume", backup) == ""
    assert snapshot(backup / "data") == snapshot(site_of(backup))


def test_a_site_is_recovered_by_hand(backup: Path) -> None:
    said = said_by("Everything", backup)
    assert said == "database.tgz: OK\nvolume.tgz: OK\n"
    assert snapshot(backup / "data") == snapshot(site_of(backup))
    assert (backup / "lportal.sql").read_text().splitlines()[0] == "-- head"


@pytest.mark.parametrize(
    "path", ["document_library/20098", "document_library/20098/large-1", "document_library/200980"]
)
def test_a_file_or_folder_is_recovered_by_hand(backup: Path, path: str) -> None:
    said_by("One file or folder", backup, path=path)
    wanted = {
        name: it
        for name, it in snapshot(site_of(backup)).items()
        if name == path or name.startswith(f"{path}/")
    }
    found = snapshot(backup / "found")
    assert {name: it for name, it in found.items() if name in wanted} == wanted
    assert {name for name in found if not path.startswith(f"{name}/")} == set(wanted)


def test_a_table_is_recovered_by_hand_as_sql_that_touches_nothing_else(backup: Path) -> None:
    said_by("One table", backup, table="b")
    assert (backup / "table.sql").read_text() == (
        "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n"
        "/*M!100616 SET @OLD_NOTE_VERBOSITY=@@NOTE_VERBOSITY, NOTE_VERBOSITY=0 */;\n"
        "SET @@SESSION.SQL_LOG_BIN= 0;\n"
        "CREATE TABLE b;\nINSERT INTO b VALUES ('\\\\;');\n"
    )


def test_what_is_damaged_is_named_by_hand(backup: Path) -> None:
    assert said_by("A damaged archive", backup) == ""
    archive = bytearray((backup / "volume.tgz").read_bytes())
    segments = list(
        read_index(Buffer((backup / "volume.index").read_bytes()), archive_name="volume.tgz")
    )
    archive[segments[2].offset + 30] ^= 1
    (backup / "volume.tgz").write_bytes(archive)
    said = said_by("A damaged archive", backup)
    assert said == f"the segment at byte {segments[2].offset} is damaged\n"
