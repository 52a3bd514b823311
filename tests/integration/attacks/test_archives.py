"""Hostile archives: refused when they are taken in, or restored; never in the next one's way."""

import multiprocessing
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lcp_backup.archive.write import ArchiveWriter
from lcp_backup.errors import BackupError
from lcp_backup.intake.volume import take_volume
from tests.integration.attacks.archives import HOSTILE
from tests.integration.attacks.corpus.attack import HEAD
from tests.support.buffers import Buffer
from tests.support.road import Road, refused_at_intake

_MOST_SECONDS = 60
_MOST_MEMORY = 300 << 20
"""Bytes over what the process has when it starts."""

_HARD_LIMIT = 2 << 30
"""Bytes that it cannot have: what grows without end must not take the machine with it."""

SLOW = {
    "an exponential regular expression": b"INSERT INTO User_ (userId, companyId, createDate,"
    b" modifiedDate, emailAddress) VALUE (1,2,3,4,5);\n",
    "the same with more columns": b"INSERT INTO `t` (" + b"aaaaaaaa, " * 40 + b"b) VALU (1);\n",
    "columns that are never closed": b"INSERT INTO `t` (" + b"a " * 4000,
    "160,000 comments that are never closed": b"/* " * 160_000,
    "comments in a statement that are never closed": b"CREATE VIEW v AS " + b"/* " * 160_000,
    "versioned comments that are never closed": b"CREATE VIEW v AS " + b"/*! " * 160_000,
    "200,000 DELIMITER lines": b"DELIMITER ;;\nDELIMITER ;\n" * 100_000,
    "DELIMITER lines, each another": b"".join(b"DELIMITER %d\n" % n for n in range(100_000)),
    "60 MiB of commas in a row": b"INSERT INTO `t` VALUES (1" + b"," * (60 << 20) + b");\n",
    "60 MiB of brackets in a row": b"INSERT INTO `t` VALUES " + b"(" * (60 << 20) + b";\n",
    "60 MiB of quotes": b"INSERT INTO `t` VALUES (1," + b"'" * (60 << 20) + b");\n",
    "60 MiB of backslashes": b"INSERT INTO `t` VALUES (1,'" + b"\\" * (60 << 20) + b"');\n",
    "60 MiB of a definition": b"CREATE TABLE `u` (" + b"`a` int, " * (6 << 20) + b"`b` int);\n",
    "a million empty statements": b";" * (1 << 20),
    "a million small statements": b"SET @a=1;\n" * (1 << 19),
    "a body of a million words": b"CREATE PROCEDURE p() " + b"SELECT a.b, " * 200_000 + b"1;\n",
    "nested brackets in a definition": b"CREATE TABLE `u` (a int " + b"(" * 200_000 + b"1;\n",
    "nested blocks in a body": b"CREATE PROCEDURE p() " + b"BEGIN " * 200_000 + b";\n",
    "one long name": b"CREATE TABLE `" + b"a" * (20 << 20) + b"` (id int);\n",
    "dashes": b"--" * (10 << 20) + b"\n",
    "hashes": b"#\n" * (5 << 20),
    "blanks": b" " * (60 << 20),
    "blanks in a statement": b"SET" + b" " * (20 << 20) + b"@a = 1;\n",
    "slashes": b"CREATE VIEW v AS SELECT 1" + b"/" * (10 << 20) + b";\n",
}  # fmt: skip


def _child(work: Any, argument: bytes, answers: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _HARD_LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    begun = time.process_time()
    try:
        said = work(argument)
    except Exception as error:  # noqa: BLE001 -- what is raised is what is judged
        said = error
    name = None if said is None else type(said).__name__
    ours = said is None or isinstance(said, BackupError)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
    answers.put((name, ours, str(said)[:200], time.process_time() - begun, grown))


def _in_a_process(work: Any, argument: bytes) -> tuple[str | None, bool, str, float, int]:
    """Runs `work` apart: what hangs is killed, and its memory is its own."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_child, args=(work, argument, answers), daemon=True)
    process.start()
    process.join(_MOST_SECONDS * 3)
    if process.is_alive():
        process.kill()
        process.join()
        pytest.fail(f"it hangs: killed after {_MOST_SECONDS * 3} seconds")
    name, ours, said, seconds, grown = answers.get()
    return name, ours, said, seconds, grown


def _assert_bounded(answer: tuple[str | None, bool, str, float, int], size: int) -> None:
    name, ours, said, seconds, grown = answer
    assert ours, f"an error of no kind of ours: {name}: {said}"
    assert seconds < _MOST_SECONDS, f"it took {seconds:.0f} s of the processor: {name}: {said}"
    # A statement is held whole, and handed on in copies.
    assert grown < _MOST_MEMORY + 6 * size, f"it took {grown >> 20} MiB: {name}: {said}"


@pytest.mark.parametrize("name", SLOW)
def test_a_dump_is_taken_in_or_refused_in_linear_time(name: str) -> None:
    dump = HEAD + SLOW[name]
    _assert_bounded(_in_a_process(refused_at_intake, dump), len(dump))


def _taken(archive: bytes) -> Exception | None:
    writer = ArchiveWriter(
        Buffer(), Buffer(), name="volume.tgz", index_name="volume.index", threads=1, only_file=None
    )
    chunks = (archive[at : at + 65536] for at in range(0, len(archive), 65536))
    try:
        take_volume(chunks, writer, limit=1 << 30, progress=lambda _: None, check=lambda: None)
        writer.abort()
    except BackupError as error:
        return error
    return None


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_is_taken_in_or_refused_with_bounded_time_and_memory(name: str) -> None:
    archive = HOSTILE[name]
    _assert_bounded(_in_a_process(_taken, archive), len(archive))


@pytest.fixture
def outside(road: Road) -> Iterator[Path]:
    """What lies beside the site's folder, and may not change."""
    road.folder.mkdir(exist_ok=True)
    canary = road.folder.parent / "canary.txt"
    canary.write_text("untouched")
    yield canary
    canary.unlink()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_taken_in_can_be_restored_and_leads_nowhere(
    road: Road, outside: Path, name: str
) -> None:
    if "100,000" in name and _in_a_process(_taken, HOSTILE[name])[0] is None:
        pytest.fail("it is taken in, and a restore would take minutes")
    beside = sorted(road.folder.parent.iterdir())
    road.begin()
    try:
        backup_id = road.take_in(HEAD, HOSTILE[name])
    except BackupError:
        return
    problems = []
    try:
        road.restore(backup_id)
    except Exception as error:  # noqa: BLE001 -- what is raised is what is told
        problems.append(f"taken in, but not restored: {type(error).__name__}: {error}"[:300])
    inside = road.folder.resolve()
    for folder, names, files in os.walk(road.folder):
        for entry in (*names, *files):
            path = Path(folder, entry)
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                problems.append(f"{path.relative_to(inside)} leads to {path.readlink()}"[:200])
    problems += road.honest_restore()
    if (now := sorted(road.folder.parent.iterdir())) != beside:
        problems.append(f"beside the folder now lies {now}")
    assert outside.read_text() == "untouched"
    assert not problems, "\n".join(problems)
