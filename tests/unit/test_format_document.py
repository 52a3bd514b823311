"""docs/format.md says what lies in the bucket: its samples are read, and its commands are run."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from lcp_backup.archive.index import read_index
from lcp_backup.archive.read import read_back
from lcp_backup.archive.segment import Section
from lcp_backup.archive.write import ArchiveWriter, OnlyFile
from lcp_backup.document import Document
from lcp_backup.model import Lease, Manifest, Pause, Run, Upload
from lcp_backup.volume.pack import pack
from tests.support.buffers import Buffer
from tests.support.clock import SettableClock
from tests.support.trees import odd_tree, snapshot

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
SAMPLES = re.findall(r"^## ([\w ]+)\n```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS: dict[str, str] = dict(
    re.findall(
        r"^\*\*([\w ]+?)\.?\*\*(?:(?!^\*\*).)*?^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
)


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("Manifest", Manifest),
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
    index = Buffer(gzip.compress(lines.encode()))
    large, _, _, rest = read_index(index, archive_name="volume.tgz")
    assert large.members[1].name == "document_library/large.bin"
    assert rest.members[1].name == "document_library/r\udce9sum\udce9"


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
    folder = tmp_path / "backup"
    folder.mkdir()
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
                pack(site, writer, progress=lambda _: None, check=lambda: None)
            else:
                writer.add([b"-- head\n"], section=Section.HEAD)
                for table in ("a", "b"):
                    writer.add(
                        [f"CREATE TABLE {table};\n".encode()],
                        section=Section.DEFINITION,
                        table=table,
                    )
                    writer.add(
                        [f"INSERT INTO {table};\n".encode()], section=Section.ROWS, table=table
                    )
            written = writer.finish()
        archives[kind] = read_back(written, archive, index, threads=2)
        (folder / f"{kind}.tgz").write_bytes(archive.data)
        (folder / f"{kind}.index").write_bytes(index.data)
    sample = Manifest.model_validate_json(dict(SAMPLES)["Manifest"])
    manifest = sample.model_copy(update=archives)
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1))
    return folder


def by_hand(title: str, folder: Path, **variables: str) -> str:
    """What the page's commands print, run in the folder of a backup."""
    done = subprocess.run(
        ["bash", "-euc", COMMANDS[title]],
        cwd=folder,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_site_is_recovered_by_hand(backup: Path) -> None:
    said = by_hand("Everything", backup)
    assert said == "database.tgz: OK\nvolume.tgz: OK\n"
    assert snapshot(backup / "data") == snapshot(backup.parent / "site")
    assert (backup / "lportal.sql").read_text().splitlines()[0] == "-- head"


@pytest.mark.parametrize(
    "path", ["document_library/20098", "document_library/20098/large-1", "document_library/200980"]
)
def test_a_file_or_folder_is_recovered_by_hand(backup: Path, path: str) -> None:
    by_hand("One file or folder", backup, path=path)
    wanted = {
        name: it
        for name, it in snapshot(backup.parent / "site").items()
        if name == path or name.startswith(f"{path}/")
    }
    found = snapshot(backup / "found")
    assert {name: it for name, it in found.items() if name in wanted} == wanted
    assert {name for name in found if not path.startswith(f"{name}/")} == set(wanted)


def test_a_table_is_recovered_by_hand(backup: Path) -> None:
    by_hand("One table", backup, table="b")
    assert (backup / "table.sql").read_text() == "-- head\nCREATE TABLE b;\nINSERT INTO b;\n"


def test_what_is_damaged_is_named_by_hand(backup: Path) -> None:
    assert by_hand("A damaged archive", backup) == ""
    archive = bytearray((backup / "volume.tgz").read_bytes())
    segments = list(
        read_index(Buffer((backup / "volume.index").read_bytes()), archive_name="volume.tgz")
    )
    archive[segments[2].offset + 30] ^= 1
    (backup / "volume.tgz").write_bytes(archive)
    said = by_hand("A damaged archive", backup)
    assert said == f"the segment at byte {segments[2].offset} is damaged\n"
