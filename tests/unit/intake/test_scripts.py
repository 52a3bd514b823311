"""Scripts as operators store them: which files are taken, and in which order they run."""

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress

import pytest

from lcp_backup.database.endpoint import Flavour, Server
from lcp_backup.database.scripts import Script, judge_scripts
from lcp_backup.errors import ArchiveDamaged, ArchiveRefused
from lcp_backup.intake import scripts
from lcp_backup.intake.scripts import take_scripts

SERVER = Server(flavour=Flavour.MARIADB, version="10.11.19-MariaDB", encrypted=False)


def zipped(**members: bytes) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.sql", content)
    return body.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return body.getvalue()


def taken(**objects: bytes) -> list[tuple[str, bytes]]:
    named = [(name.replace("_", "."), body) for name, body in objects.items()]
    return [(it.name, it.sql) for it in take_scripts(named, lambda: None)]


def test_scripts_run_in_the_order_of_their_names_and_inside_archives_of_theirs() -> None:
    assert taken(
        c_sql=b"\xef\xbb\xbfc",
        b_zip=zipped(two=b"b2", one=b"b1"),
        a_sql_gz=gzip.compress(b"a"),
        d_tgz=tarred("x/last.sql", b"d"),
    ) == [
        ("a.sql", b"a"),
        ("b.zip/one.sql", b"b1"),
        ("b.zip/two.sql", b"b2"),
        ("c.sql", b"c"),
        ("d.tgz/x/last.sql", b"d"),
    ]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a_txt", b"UPDATE a SET b = 1"),
        ("a_sql_bz2", b"BZh"),
        ("a_tgz", tarred("readme.md", b"")),
        ("a_zip", b"no zip"),
    ],
    # (An archive differs from process to process, by its time.)
    ids=["a text", "another compression", "a tar without any", "no zip"],
)
def test_what_is_no_script_is_refused_by_its_name(name: str, body: bytes) -> None:
    with pytest.raises(ArchiveRefused, match="'a."):
        taken(**{name: body})


def test_what_inflates_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "_MOST_BYTES", 1000)
    for objects in ({"a_zip": zipped(a=bytes(1001))}, {"a_sql_gz": gzip.compress(bytes(1001))}):
        with pytest.raises(ArchiveRefused, match="inflates to more"):
            taken(**objects)


def test_scripts_may_not_inflate_to_too_much_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "_MOST_BYTES", 1000)
    some = gzip.compress(bytes(400))
    with pytest.raises(ArchiveRefused, match="'c.sql.gz', with those before it, inflates to more"):
        taken(a_sql_gz=some, b_zip=zipped(a=bytes(400)), c_sql_gz=some)


def test_a_zip_that_tells_a_smaller_size_inflates_no_further_than_that() -> None:
    body = bytearray(zipped(a=bytes(32 << 20)))
    struct.pack_into("<I", body, body.rindex(b"PK\x01\x02") + 24, 10)
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveRefused, match=r"'a\.zip' is no zip archive that is read"):
            taken(a_zip=bytes(body))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_a_zip_of_a_compression_without_bounds_is_refused(method: int) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as archive:
        archive.writestr("a.sql", "DELETE FROM a")
    with pytest.raises(ArchiveRefused, match="'a.sql' is compressed in an unusual way"):
        taken(a_zip=body.getvalue())


def test_a_damaged_zip_is_refused_by_its_name_wherever_the_damage_is() -> None:
    whole = zipped(ä=b"DELETE FROM a")
    for at in range(len(whole)):
        with suppress(ArchiveRefused):
            taken(a_zip=whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])


def test_more_scripts_than_a_record_can_tell_of_are_refused() -> None:
    many = {f"s{number}": b"DELETE FROM a" for number in range(1001)}
    with pytest.raises(ArchiveRefused, match=r"up to 'a\.zip' there are 1001 scripts"):
        taken(a_zip=zipped(**many))


def test_a_file_that_was_cut_is_damaged() -> None:
    with pytest.raises(ArchiveDamaged, match="script 'a.sql.gz'"):
        taken(a_sql_gz=gzip.compress(b"UPDATE a SET b = 1")[:-4])


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DROP TABLE User_", "may say DELETE, INSERT"),
        ("SELECT 1", "may say DELETE, INSERT"),
        ("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE a", "may say DELETE, INSERT"),
        ("SET GLOBAL general_log = 1", "may say DELETE, INSERT"),
        ("/*!50000 DROP TABLE a */", "may say DELETE, INSERT"),
        ("UPDATE lportal.User_ SET a = 1", "it names another schema, lportal"),
        ("DELETE FROM mysql.user", "names the server's own schema mysql"),
        ("INSERT INTO a SELECT LOAD_FILE('/etc/passwd')", "LOAD_FILE"),
        ("UPDATE a SET b = `Sleep`(10)", "calls no SLEEP"),
        ("UPDATE a SET b = SLEEP(900)", "a script calls no SLEEP"),
        ("UPDATE a SET b = 'open", "refused"),
        ("-- nothing", "holds no statement"),
    ],
)
def test_a_script_says_nothing_but_changes_to_rows(sql: str, why: str) -> None:
    script = Script("a.sql", f"UPDATE a SET b = 1;\n{sql};".encode() if why[0] != "h" else b"")
    with pytest.raises(ArchiveRefused, match=why) as refused:
        judge_scripts((script,), SERVER, lambda: None)
    if why[0] != "h":
        assert "statement 2 (line 2) of script 'a.sql'" in str(refused.value)
