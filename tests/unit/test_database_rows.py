"""Rows of literals, and the rows of one table."""

import tracemalloc

import pytest

from lcp_backup.database.rows import only_literals

_LITERALS = [
    b"NULL", b"null", b"0", b"-1", b"+1", b"1.5", b"-0.0", b"1.", b".5", b"1e308", b"-1.5E-30",
    b"''", b"'a'", b"'it''s'", rb"'it\'s'", rb"'\\'", b"'),('", b"'(SELECT 1)'", b"'-- '",
    b"'\n\x00\xff'", rb"'\0\Z\%'", b"'a\\\nb'", b"''''", b"'/* */'",
    b'""', b'"a"', b'"it\'s"', b'"say ""x"""', rb'"\""',
    b"_binary 'a'", b"_binary ''", b"_BINARY'\xff'", b"_binary '\\''",
    b"0x00ff", b"0xABCDEF", b"0xf", b"x'00ff'", b"X''", b"b'01'", b"B''",
    b"TRUE", b"false", rb"""'{\"a\": [1, null]}'""", b"0000", b"9" * 65,
]  # fmt: skip

_NO_LITERALS = [
    b"f()", b"NOW()", b"(1)", b"(SELECT 1)", b"1+1", b"1-1", b"- 1", b"--1", b"1 1", b"@a",
    b"@@version", b"DEFAULT", b"a", b"`a`", b"'a' 'b'", b"'a'\"b\"", b"1 OR 1", b"NOT 1", b"*",
    b"/* */1", b"1/* */", b"/*!50000 1 */", b"1 -- \n", b"#\n1", b"1#\n", b"-- \n1", b"1;", b"",
    b"NULLS", b"NULL()", b"_utf8mb4 'a'", b"_binary 0x00", b"_binary \"a\"", b"N'a'", b"'a", b"\"a",
    rb"'a\'", b"0x", b"0xg", b"0X41", b"x'0'", b"x'0g'", b"b'2'", b"0b01", b"x 'ab'",
    b"1e", b"1e+", b".", b"-", b"+", b"--", b"1.5.5", b"0x41x", b"TRUES", b"TRUE()", b"1a",
    b"\xa01", b"1\x0b", b"DATE '2020-01-01'", b"{d '2020-01-01'}", b"1,", b",1", b"1,,1",
    b"'a' COLLATE utf8mb4_bin", b"'a'->'$.b'", b"INTERVAL 1 DAY", b"BINARY 'a'", b"!1", b"~1",
    b"ST_GeomFromText('POINT(1 1)')", b"?", b":a", b"\\N", b"b'01'1",
]  # fmt: skip


@pytest.mark.parametrize("literal", _LITERALS)
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_every_literal_of_a_dump_passes(
    literal: bytes, kind: type[bytes] | type[memoryview]
) -> None:
    for row in (b"(%b)", b"( %b\t)", b"(1,%b,2)", b"(%b , %b)", b"('a',\n%b\r\n)"):
        rows = row.replace(b"%b", literal)
        text = b"INSERT INTO `t` VALUES " + rows + b" ,\n" + rows + b"," + rows
        assert only_literals(kind(text + b";"), text.index(b"(")) == len(text)


@pytest.mark.parametrize("value", _NO_LITERALS)
def test_whatever_else_stands_in_a_row_ends_the_rows_before_it(value: bytes) -> None:
    for row in (b"(%b)", b"(1,%b)", b"(%b,1)", b"('a', %b ,'b')", b"(%b,%b)"):
        text = b"V (1,'a'),(2,NULL)," + row.replace(b"%b", value) + b",(3,'b')"
        assert only_literals(text, 2) == len(b"V (1,'a'),(2,NULL)")
        assert only_literals(b"V " + row.replace(b"%b", value), 2) == 2


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (b"", 0), (b"()", 0), (b" (1)", 0), (b"1", 0), (b"(1", 0), (b"(1,", 0), (b"(1)", 3),
        (b"(1) ", 3), (b"(1),", 3), (b"(1),(", 3), (b"(1)(2)", 3), (b"(1),,(2)", 3),
        (b"(1);(2)", 3), (b"(1) AS new ON DUPLICATE KEY UPDATE a=f()", 3), (b"(1)/**/,(2)", 3),
        (b"((1))", 0), (b"(1),(2),", 7), (b"(1) , (2) x", 9), (b"[1]", 0), (b",(1)", 0),
    ],
)  # fmt: skip
def test_the_rows_end_where_the_last_whole_row_does(text: bytes, end: int) -> None:
    assert only_literals(text, 0) == end


@pytest.mark.parametrize(
    ("row", "times"),
    [
        (b"(1)", 4_000_000),
        (b"('" + b"\\'" * 4_000_000 + b"')", 1),
        (b"('" + b"''" * 4_000_000 + b"')", 1),
        (b"('" + b"x" * 16_000_000 + b"')", 2),
        (b"(" + b",".join([b"NULL"] * 4096) + b")", 500),
        (b"(0x" + b"AB" * 8_000_000 + b")", 2),
        (b"(" + b" " * 16_000_000 + b"1)", 1),
    ],
    ids=["rows", "escapes", "quotes", "string", "columns", "hex", "blanks"],
)
def test_much_takes_neither_memory_nor_more_than_linear_time(row: bytes, times: int) -> None:
    text = b",".join([row] * times)
    tracemalloc.start()
    try:
        assert only_literals(text, 0) == len(text)
        # At its very end it turns out that the last row is none.
        assert only_literals(memoryview(text)[:-1], 0) == max(len(text) - len(row) - 1, 0)
        assert tracemalloc.get_traced_memory()[1] < len(text) + 1_000_000
    finally:
        tracemalloc.stop()
