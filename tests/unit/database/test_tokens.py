"""The lexer reads as the named server would, and what is built of tokens reads alike anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.database.endpoint import Flavour, Server
from lcp_backup.database.reader import StatementReader
from lcp_backup.database.tokens import (
    EVERY,
    MOST_NESTED,
    NEWEST,
    NotTakenError,
    Reading,
    differs,
    tokens,
    unquote,
)

MYSQL = Reading.of(Server(Flavour.MYSQL, "9.7.1"))
MYSQL_8 = Reading.of(Server(Flavour.MYSQL, "8.0.36"))
MARIADB = Reading.of(Server(Flavour.MARIADB, "10.11.19-MariaDB-0+deb12u1"))
MARIADB_12 = Reading.of(Server(Flavour.MARIADB, "12.1.2-MariaDB"))


def raws(text: bytes, reading: Reading = EVERY) -> list[bytes]:
    return [token.raw for token in tokens(text, reading)]


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("8.0.36", 80036),
        ("9.7.1-commercial", 90701),
        ("5.7.mysql_aurora.2.11.4", 50799),
        ("8.0.mysql_aurora.3.05.2", 80099),
        ("10.11.19-MariaDB-0+deb12u1", 101119),
        ("5.5.5-10.6.4-MariaDB", 100604),
    ],
)
def test_a_servers_version_is_read_as_its_comments_count_it(version: str, number: int) -> None:
    assert Reading.of(Server(Flavour.MYSQL, version)).version == number


@pytest.mark.parametrize(
    ("comment", "kept_by"),
    [
        ("/*!40101 x */", {"mysql 9", "mysql 8", "mariadb 10", "mariadb 12"}),
        ("/*! x */", {"mysql 9", "mysql 8", "mariadb 10", "mariadb 12"}),
        ("/*!50699 x */", {"mysql 9", "mysql 8", "mariadb 10", "mariadb 12"}),
        ("/*!50700 x */", {"mysql 9", "mysql 8"}),
        ("/*!80016 x */", {"mysql 9", "mysql 8"}),
        ("/*!80037 x */", {"mysql 9"}),
        ("/*!99999 x */", set()),
        ("/*!100000 x */", {"mariadb 10", "mariadb 12"}),
        ("/*!120000 x */", {"mariadb 12"}),
        ("/*M! x */", {"mariadb 10", "mariadb 12"}),
        ("/*M!50700 x */", {"mariadb 10", "mariadb 12"}),
        ("/*M!100616 x */", {"mariadb 10", "mariadb 12"}),
        ("/*M!110400 x */", {"mariadb 12"}),
        ("/*M!999999\\- enable the sandbox mode */", set()),
        # What is left out ends where the server sees its end.
        ("/*!99999 a ' /* ' */ \" x */", set()),
        ("/*!99999 x /* y */ z */", set()),
    ],
)
def test_a_versioned_comment_is_kept_by_the_servers_that_execute_it(
    comment: str, kept_by: set[str]
) -> None:
    readings = {
        "mysql 9": MYSQL,
        "mysql 8": MYSQL_8,
        "mariadb 10": MARIADB,
        "mariadb 12": MARIADB_12,
    }
    text = f"a {comment} b".encode()
    found = {name: raws(text, reading) for name, reading in readings.items()}
    assert found == {name: [b"a", *([b"x"] if name in kept_by else []), b"b"] for name in readings}
    assert differs(text) or kept_by == set(readings)


def test_mysql_reads_another_flavours_comment_as_a_plain_one() -> None:
    """No comment stands in a plain one, so it ends at the first end."""
    assert raws(b"/*M!100000 a /* b */ c /* d */", MYSQL) == [b"c"]
    assert raws(b"/*M!100000 a /* b */ c */ d", MARIADB) == [b"a", b"c", b"d"]
    assert raws(b"/*M!990000 a /* b */ c */ d", MARIADB) == [b"d"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.b", ["a", ".", "b"]),
        ("`a``b`.`c`", ["`a``b`", ".", "`c`"]),
        (r"'it''s \' \\' 'b'", [r"'it''s \' \\'", "'b'"]),
        ('"a""b\\"" x', ['"a""b\\""', "x"]),
        ("N'a' _utf8mb4'b' x'4a' 0x4A", ["N", "'a'", "_utf8mb4", "'b'", "x", "'4a'", "0x4A"]),
        ("root@db-1.example.com", ["root", "@", "db", "-", "1", ".", "example", ".", "com"]),
        (
            "root@db.example.com @a.b @@global.x",
            ["root", "@", "db.example.com", "@", "a.b", "@@", "global", ".", "x"],
        ),
        ("5--3", ["5", "-", "-", "3"]),
        ("5-- 3\n,4", ["5", ",", "4"]),
        ("5--", ["5"]),
        ("a#b\n/c", ["a", "/", "c"]),
        ("a/**/b", ["a", "b"]),
        ("x->>'$.a'", ["x", "-", ">", ">", "'$.a'"]),
        ("größe", ["`größe`"]),
    ],
)
def test_a_text_is_taken_apart_as_the_servers_do(text: str, found: list[str]) -> None:
    assert [raw.decode() for raw in raws(text.encode())] == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a '", "never closed"),
        (b'a "b\\"', "never closed"),
        (b"a `b", "never closed"),
        (b"a /* b", "never closed"),
        (b"a /*! b", "never closed"),
        (b"a /*!99999 b /* */", "never closed"),
        (b"a */", "not open"),
        (b"a /*! b */ */", "not open"),
        (b"a \x00 b", "0x00"),
        (b"a\x7fb", "0x7f"),
        (b"a --\x7f b\n", "control"),
        (b"a -- b\x00\n", "control"),
        (b"a # b\x1a\n", "control"),
        (b"$$ a $$", "0x24"),
        (b"/*! " * 9 + b"*/" * 9, "9 versioned comments"),
        (b"(" * (MOST_NESTED + 1), "parentheses"),
    ],
)
def test_what_servers_might_read_in_two_ways_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(NotTakenError, match=said):
        raws(text)


def test_gaps_hold_only_comments_that_mean_nothing_to_any_server() -> None:
    text = b"a -- b\n # c\n /* d ' */ /*+ e */ /*! f */ /* /* g */ h"
    gaps = [token.gap for token in tokens(text, MYSQL)]
    assert gaps == [b"", b" -- b\n # c\n /* d ' */     ", b"     "]


PIECES = [
    *(b"a", b"`b`", b"'c'", b'"d"', b"1", b"N", b"$", b"@", b"@@", b".", b",", b"(", b")", b"-"),
    *(b"--", b"-- x\n", b"#y\n", b"/*", b"*/", b"/", b"*", b"!", b"/* z */", b"/*!", b"/*!40101 "),
    *(b"/*!80036 ", b"/*!99999 ", b"/*M!100616 ", b"/*M!", b"/*+ ", b" ", b"\n", b"\\", b"'", b'"'),
    *(b"`", b";", b"\xc3\xa4", b"\xa0", b"\x00", b"\xbf\\", b"0x", b"\t"),
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.sampled_from([*NEWEST, EVERY])
)
def test_what_is_built_of_tokens_has_the_same_tokens_for_every_server(
    text: bytes, reading: Reading
) -> None:
    reader = StatementReader(text, reading)
    try:
        built = reader.built()
    except NotTakenError:
        return
    expected = [token.raw for token in reader.tokens]
    for other in (*NEWEST, EVERY, MYSQL_8, Reading(Flavour.MYSQL, 0)):
        assert raws(built, other) == expected
    body = b"x" + StatementReader(text, reading).built_body(0)
    for other in (*NEWEST, EVERY, MYSQL_8, Reading(Flavour.MYSQL, 0)):
        assert b"".join(raws(body, other)).removeprefix(b"x") == b"".join(expected)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        found = list(tokens(text, EVERY))
    except NotTakenError:
        return
    assert all(token.raw.strip(b"`") in text for token in found)


@given(st.text())
def test_a_quoted_name_comes_back(name: str) -> None:
    for quote in "`'\"":
        quoted = quote + name.replace(quote, quote * 2) + quote
        assert unquote(quoted.encode("utf-8", "surrogatepass")) == name.encode(
            "utf-8", "surrogatepass"
        ).decode("utf-8", "surrogateescape")
