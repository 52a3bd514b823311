"""`dump`, with a dump program of the tests' own: what it is told, and what is left of a failure."""

import gzip
import json
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

SECRET = 'pa"ss\\w#rd'
PROGRAM = """#!/bin/sh
[ "$1" = --version ] && echo "{version}" && exit
for word in "$@"; do echo "$word"; done > "{told}"
/bin/cat "${{1#--defaults-extra-file=}}" > "{given}"
{body}
"""
WHOLE = 'echo "CREATE TABLE t (a INT);"; echo "-- Dump completed on 2026-11-23"'


@pytest.fixture
def lcp(stranger: CommandLine, tmp_path: Path) -> CommandLine:
    """Somebody with nothing but a dump program on the PATH."""
    stranger.env["PATH"] = str(tmp_path / "bin")
    return stranger


def install(folder: Path, body: str, name: str = "mariadb-dump", version: str = "MariaDB") -> None:
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    told, given = folder / "told", folder / "given"
    program.write_text(PROGRAM.format(version=version, told=told, given=given, body=body))
    program.chmod(0o755)


def test_a_dump_is_packed_and_the_password_is_where_only_the_program_reads_it(
    lcp: CommandLine, tmp_path: Path
) -> None:
    install(tmp_path, WHOLE)
    output = tmp_path / "database.sql.gz"
    where = ("--user", "ann", "--host", "db", "--port", "3307", "--password-stdin")
    said = lcp("dump", "lportal", *where, "--output", output, "--json", stdin=f"{SECRET}\n")
    assert said.code == 0, said.err
    content = gzip.decompress(output.read_bytes())
    assert content.startswith(b"CREATE TABLE")
    assert said.json() == {
        "file": str(output),
        "size": output.stat().st_size,
        "sql_size": len(content),
    }
    words = (tmp_path / "told").read_text().splitlines()
    assert words[-3:] == ["--databases", "--", "lportal"]
    assert {"--add-drop-database", "--routines", "--events", "--triggers"} < set(words)
    assert "--set-gtid-purged=OFF" not in words
    assert SECRET not in str(words)
    assert (tmp_path / "given").read_text().splitlines() == [
        "[client]",
        'host="db"',
        'port="3307"',
        'user="ann"',
        'password="pa\\"ss\\\\w#rd"',
    ]
    leftovers = [it for it in tmp_path.rglob("*") if it.is_file() and it.name != "given"]
    assert not [it for it in leftovers if SECRET.encode() in it.read_bytes()]


def test_without_a_user_the_programs_own_option_files_count(
    lcp: CommandLine, tmp_path: Path
) -> None:
    install(tmp_path, WHOLE, "mysqldump", "mysqldump  Ver 9.1.0")
    assert lcp("dump", "lportal", "--output", tmp_path / "d.gz").code == 0
    assert (tmp_path / "given").read_text() == "[client]\n"
    assert "--set-gtid-purged=OFF" in (tmp_path / "told").read_text()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('echo "CREATE"; echo "Access denied for user" >&2; exit 2', "Access denied for user"),
        ('echo "CREATE TABLE t (a INT);"', "without the line that ends a whole dump"),
        ("kill -9 $$", "ended with -9"),
    ],
)
def test_a_dump_that_is_not_whole_leaves_nothing_and_is_told_in_the_programs_words(
    lcp: CommandLine, tmp_path: Path, body: str, told: str
) -> None:
    install(tmp_path, body)
    target = tmp_path / "out"
    target.mkdir()
    said = lcp("dump", "lportal", "--output", target / "database.sql.gz")
    assert (said.code, told in said.err) == (10, True), said.err
    assert "Check the password" in said.err
    assert list(target.iterdir()) == []


def test_a_file_that_is_there_and_a_missing_program_are_told(
    lcp: CommandLine, tmp_path: Path
) -> None:
    missing = lcp("dump", "lportal", "--json")
    assert "mariadb-client" in json.loads(missing.out)["error"]["action"]
    install(tmp_path, WHOLE)
    output = tmp_path / "mine"
    output.write_bytes(b"mine")
    assert lcp("dump", "lportal", "--output", output).code == 2
    assert output.read_bytes() == b"mine"
