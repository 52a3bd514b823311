"""Rows of literals, and the rows of one table."""

import tracemalloc
from typing import Any

import pytest

from lcp_backup.database.rows import Column, RowPlan, only_literals

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


# --- plans ---


def column(kind: str, name: str = "c", **changes: bool) -> Column:
    plain: dict[str, Any] = {"nullable": True, "generated": False, "invisible": False}
    return Column(name, kind, **{**plain, **changes})


def plan(*kinds: str, charset: str = "utf8mb4") -> RowPlan:
    made = RowPlan.of("t", [column(it, f"c{n}") for n, it in enumerate(kinds)], None, charset)
    assert made is not None
    return made


_TAKEN: dict[str, list[bytes]] = {
    "int": [b"0", b"-1", b"007", b"18446744073709551616", b"NULL"],
    "decimal": [b"1", b"-1.50", b"0.000", b"NULL"],
    "double": [b"1", b"-0", b"1.5", b"1e308", b"-1.5e-30", b"1e+5", b"NULL"],
    "year": [b"0000", b"2026", b"NULL"],
    "datetime": [b"'2026-11-26 01:02:03.456'", b"'0000-00-00'", b"'-838:59:59'", b"NULL"],
    "varchar": [
        b"''", b"'a'", b"'it''s'", rb"'\0\n\r\t\b\Z\\\'\"'", b"'),('", b"'x\ny'", b"'\xc3\xa4'",
        b"'(SELECT 1)'", b"'NULL'", b"'_binary '", b"NULL", "'😀'".encode(), b"'\xef\xbf\xbf'",
    ],
    "json": [rb"""'{\"a\": \"it\\\"s\"}'""", b"NULL"],
    "enum": [b"'a'", b"''"],
    "uuid": [b"'123e4567-e89b-12d3-a456-426655440000'"],
    "blob": [b"0x00", b"0xabCD", b"''", b"'a'", b"_binary 'a'", b"'\xff\x00'", b"NULL",
             b"_binary '\\\xf0\\'\\0'", b"''''", b"_binary '_binary '"],
    "bit": [b"0x01", b"'\x01'", b"_binary '\\0'", b"NULL"],
    "point": [b"0x0001", b"_binary '\\0'"],
    "vector": [b"0x0000803F"],
}  # fmt: skip

_LEFT: dict[str, list[bytes]] = {
    "int": [b"'1'", b"1.5", b"1e3", b"+1", b"TRUE", b"0x01", b"b'1'", b"''", b"null", b"-", b"",
            b" 1", b"1 "],
    "decimal": [b"'1'", b"1e3", b".5", b"1.", b"+1"],
    "double": [b"'1'", b"1E3", b".5", b"1.", b"1e", b"nan", b"inf"],
    "year": [b"0", b"'0'", b"70", b"'2026'", b"02026"],
    "datetime": [b"20260101", b"0", b"''", b"'now()'", b"NOW()", b"'2026-01-01'''"],
    "varchar": [
        rb"'\%'", rb"'\_'", rb"'\N'", rb"'\x'", b'"a"', b"1", b"0x41", b"x'41'", b"_binary 'a'",
        b"N'a'", b"'a' 'b'", b"'a", b"'a'b", b"'\xe4'", b"'\xf0\x9f\x98'", b"'\xed\xa0\x80'",
        b"(SELECT 1)", b"f()", b"DEFAULT", b"@a", b"'a'/**/", b"'a' ", b"", b"'\\\xc3\xa4'",
    ],
    "enum": [b"1"],
    "blob": [b"x'41'", b"1", b"0x", b"0xg", b"b'1'", b"_binary  'a'", b"_BINARY 'a'", b"_utf8'a'",
             b'"a"', rb"'\%'", rb"_binary '\N'", b"_binary 0x00", b"_binary NULL"],
    "bit": [b"1", b"b'1'"],
    "point": [b"ST_GeomFromText('POINT(1 1)')"],
}  # fmt: skip


@pytest.mark.parametrize("kind", _TAKEN)
def test_a_plan_takes_what_dump_programs_write(kind: str) -> None:
    for value in _TAKEN[kind]:
        for rows in (b"(%b,7)", b"(%b,7),\n(%b,8)", b"(%b,7),(%b,8) \n"):
            text = b"VALUES " + rows.replace(b"%b", value)
            found = plan(kind, "int").read(text, 7)
            assert found is not None, value
            assert found.count == rows.count(b"%b")
            if b"_binary" not in value:
                assert found.text == text[7:]


@pytest.mark.parametrize("kind", _LEFT)
def test_a_plan_leaves_to_insert_what_a_file_may_say_otherwise(kind: str) -> None:
    for value in _LEFT[kind]:
        for rows in (
            b"(%b,7)",
            b"(7,%b)",
            b"(NULL,NULL),(%b,7)",
            b"(NULL,NULL),(7,%b),(NULL,NULL)",
        ):
            kinds = (kind, "int") if b"(%b" in rows else ("int", kind)
            assert plan(*kinds).read(rows.replace(b"%b", value), 0) is None, value


@pytest.mark.parametrize(
    "rows",
    [
        b"", b"()", b"(1)", b"(1,2,3)", b"(1,2)(3,4)", b"(1,2) ,(3,4)", b"(1,2), (3,4)",
        b"(1,2),\n\n(3,4)", b"(1,2),", b"(1,2),(3,4", b"(1,2),(3)", b" (1,2)", b"(1,2);", b"(1,2)x",
        b"(1,2) AS new ON DUPLICATE KEY UPDATE a = 1", b"(1,2)/**/", b"(1, 2)", b"(1,2\n)", b"1,2",
        b"(1,2),(SELECT 1,2)", b"(1,2),\r\n(3,4)", b"(1,2) UNION SELECT 1,2",
    ],
)  # fmt: skip
def test_a_plan_takes_only_rows_as_dump_programs_set_them(rows: bytes) -> None:
    assert plan("int", "int").read(rows, 0) is None


def test_the_statement_says_what_the_rows_are() -> None:
    columns = [
        column("int", "id"),
        column("varchar", "select"),
        column("blob", "b`1"),
        column("int", "sum", generated=True),
        column("int", "hidden", invisible=True),
    ]
    made = RowPlan.of("ta`ble", columns, None, "utf8mb4")
    assert made is not None
    digits = made.read(b"(1,'a',0x00,3)", 0)
    assert digits is not None
    assert digits.statement.decode() == (
        "LOAD DATA LOCAL INFILE 'rows' INTO TABLE `ta``ble` CHARACTER SET utf8mb4"
        r" FIELDS TERMINATED BY ',' ENCLOSED BY '\'' ESCAPED BY '\\'"
        " LINES STARTING BY '(' TERMINATED BY ')'"
        " (`id`, `select`, @lcp_2, @lcp_3) SET `b``1` = UNHEX(SUBSTRING(@lcp_2, 3))"
    )
    strings = made.read(b"(1,'a',_binary '\xff',3)", 0)
    assert strings is not None
    assert strings.statement.decode() == (
        "LOAD DATA LOCAL INFILE 'rows' INTO TABLE `ta``ble` CHARACTER SET binary"
        r" FIELDS TERMINATED BY ',' ENCLOSED BY '\'' ESCAPED BY '\\'"
        " LINES STARTING BY '(' TERMINATED BY ')'"
        " (`id`, @lcp_1, `b``1`, @lcp_3) SET `select` = CONVERT(@lcp_1 USING utf8mb4)"
    )


@pytest.mark.parametrize(
    ("kind", "column_charset", "charset", "said"),
    [
        ("longtext", "utf8mb4", "utf8mb4", "binary"),
        ("char", "utf8mb3", "utf8mb4", "binary"),
        ("varchar", "utf8mb4", "utf8", "binary"),
        ("blob", "", "utf8mb4", "binary"),
        # What would be stored otherwise than it is written, or taken for something else.
        ("varchar", "latin1", "utf8mb4", "utf8mb4"),
        ("varchar", "ascii", "utf8mb4", "utf8mb4"),
        ("varchar", "utf16", "utf8mb4", "utf8mb4"),
        ("varchar", "utf8mb4", "latin1", "latin1"),
        ("enum", "utf8mb4", "utf8mb4", "utf8mb4"),
        ("set", "utf8mb4", "utf8mb4", "utf8mb4"),
        ("json", "", "utf8mb4", "utf8mb4"),
        ("uuid", "", "utf8mb4", "utf8mb4"),
        ("inet6", "", "utf8mb4", "utf8mb4"),
    ],
)
def test_only_utf8_for_columns_of_utf8_travels_as_bytes(
    kind: str, column_charset: str, charset: str, said: str
) -> None:
    columns = [
        column("int", "id"),
        column("text", "other")._replace(charset="utf8mb4"),
        column(kind)._replace(charset=column_charset),
    ]
    made = RowPlan.of("t", columns, None, charset)
    assert made is not None
    rows = made.read(b"(1,'a',NULL)", 0)
    assert rows is not None
    assert f"`t` CHARACTER SET {said} FIELDS" in rows.statement.decode()


def test_introducers_are_taken_out_of_rows_but_not_out_of_strings() -> None:
    text = b"""('_binary ',_binary 'it''s_binary '),('a,_binary \\'x\\'',_binary ''),('',NULL)"""
    found = plan("text", "blob").read(text, 0)
    assert found is not None
    assert found.count == 3
    assert bytes(found.text) == (
        b"""('_binary ','it''s_binary '),('a,_binary \\'x\\'',''),('',NULL)"""
    )


def test_a_listed_column_is_found_in_any_case_and_order() -> None:
    columns = [column("int", "Id"), column("blob", "data"), column("int", "Größe", invisible=True)]
    made = RowPlan.of("t", columns, ["GRÖSSE".replace("SS", "ß"), "DATA", "id"], "utf8mb4")
    assert made is not None
    found = made.read(b"(1,0x00,2)", 0)
    assert found is not None
    assert "(`Größe`, @lcp_1, `Id`) SET `data` =".encode() in found.statement


@pytest.mark.parametrize(
    ("columns", "listed"),
    [
        ([], None),
        ([column("int", "a")], []),
        ([column("int", "a")], ["b"]),
        ([column("int", "a")], ["a", "a"]),
        ([column("int", "a")], ["a", "row_start"]),
        ([column("int", "a"), column("period", "s", generated=True)], None),
        ([column("int", "a"), column("hologram", "b")], None),
        ([column("int", "a", invisible=True)], None),
    ],
)
def test_there_is_no_plan_for_columns_that_are_not_known(
    columns: list[Column], listed: list[str] | None
) -> None:
    assert RowPlan.of("t", columns, listed, "utf8mb4") is None


def test_a_column_of_an_unknown_type_does_no_harm_where_it_is_not_listed() -> None:
    assert RowPlan.of("t", [column("int", "a"), column("period", "s")], ["a"], "utf8mb4")


@pytest.mark.parametrize("charset", ["gbk", "sjis", "big5", "utf16", "ucs2", "cp932", ""])
def test_there_is_no_plan_for_other_character_sets(charset: str) -> None:
    assert RowPlan.of("t", [column("int")], None, charset) is None


def test_names_are_said_in_the_sessions_character_set_or_not_at_all() -> None:
    for charset, name, said in (
        ("utf8mb3", "日本", "日本".encode()),
        ("latin1", "Käse€", b"K\xe4se\x80"),
        ("latin1", "日本", None),
        ("binary", "Käse", None),
        ("binary", "a", b"a"),
    ):
        made = RowPlan.of(name, [column("int", name)], None, charset)
        found = made.read(b"(1)", 0) if made else None
        assert (found and b"TABLE `%b` " % said in found.statement) if said else made is None


def test_null_is_no_value_of_a_column_that_has_none() -> None:
    columns = [
        column("int", "a", nullable=False),
        column("int", "g", nullable=False, generated=True),
    ]
    made = RowPlan.of("t", columns, None, "utf8mb4")
    assert made is not None
    assert made.read(b"(1,NULL)", 0)
    assert made.read(b"(NULL,1)", 0) is None


def test_what_is_no_utf8_is_not_sent_as_bytes() -> None:
    made = RowPlan.of("t", [column("text")._replace(charset="utf8mb4")], None, "utf8mb4")
    assert made is not None
    assert made.read(b"('\xc3\xa4')", 0) is not None
    assert made.read(b"('\xe4')", 0) is None


def test_bytes_are_text_only_in_the_sessions_character_set() -> None:
    four, half, high = "('😀')".encode(), b"('\xf0\x9f')", b"('\xe4')"
    for charset, taken in (
        ("utf8mb4", [True, False, False]),
        ("utf8mb3", [False, False, False]),
        ("latin1", [True, True, True]),
        ("binary", [True, True, True]),
    ):
        made = plan("text", charset=charset)
        assert [made.read(it, 0) is not None for it in (four, half, high)] == taken, charset
        # A character may stand where the check goes on to its next look.
        text = b"('" + b"x" * (1024 * 1024 - 4) + "ü".encode() * 9 + b"')"
        assert made.read(text, 0)


def test_a_plan_for_many_columns_and_rows_is_made_and_read_in_linear_time() -> None:
    wide = plan(*["int", "varchar"] * 2048)
    row = b"(" + b",".join([b"1", b"'a'"] * 2048) + b")"
    found = wide.read(b",".join([row] * 100), 0)
    assert found is not None
    assert found.count == 100
    many = b"(1)," * 2_000_000
    tracemalloc.start()
    try:
        assert plan("int").read(many + b"(1", 0) is None
        found = plan("int").read(many + b"(1)", 0)
        assert found is not None
        assert found.count == 2_000_001
        # (One copy each of the text is the test's own.)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(many)
    finally:
        tracemalloc.stop()
