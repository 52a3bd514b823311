r"""What the splitter promises, held against a lexer too slow and too plain to be wrong."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.database.statements import Statement, StatementSplitter

PIECES = [
    *(b"'", b'"', b"`", b"\\", b";", b";;", b"$$", b"#", b"-", b"--", b"-- ", b"/*", b"*/", b"/"),
    *(b"/*!", b"/*!50003 ", b"/*M!", b"*", b"!", b"\n", b" ", b"\t", b"\r\n", b"a", b"x;y", b"\0"),
    *(b"DELIMITER ", b"delimiter ;;\n", b"\nDELIMITER $$\n", b"\nDelimiter ;\n", b"delimiter"),
    *(b"INSERT INTO `t` VALUES (", b"'it''s',", b"'\\'',", b"1);\n", b"CREATE ", "é😀".encode()),
]
sql = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


def split(
    text: bytes, cuts: list[int] | None = None, *, dump_program: bool = False
) -> list[Statement]:
    splitter = StatementSplitter(dump_program=dump_program)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts or []), len(text)]
    fed = [found for start, end in pairwise(places) for found in splitter.feed(text[start:end])]
    return [*fed, *splitter.close()]


def reference(text: bytes) -> list[Statement]:
    """Byte by byte, with the whole text at hand."""
    statements = []
    delimiter = b";"
    start = at = 0
    text_at: int | None = None

    def end_statement(text_end: int, raw_end: int) -> None:
        nonlocal start, at, text_at
        begin = text_end if text_at is None else text_at
        line = 1 + text[:begin].count(b"\n")
        statements.append(
            Statement(text[start:raw_end], begin - start, text_end - start, begin, line)
        )
        start = at = raw_end
        text_at = None

    def after(token: bytes, since: int) -> int:
        found = text.find(token, since)
        return len(text) if found < 0 else found + len(token)

    while at < len(text):
        here = text[at : at + 1]
        rest = text[at:]
        if text_at is None and here in b" \t\n\v\f\r":
            at += 1
        elif rest.startswith(delimiter):
            end_statement(at, at + len(delimiter))
        elif (
            text_at is None
            and rest[:9].lower() == b"delimiter"
            and rest[9:10] in (b" ", b"\t")
            and rest[9:].split(b"\n")[0].strip(b" \t\v\f\r")
        ):
            delimiter = rest[9:].split(b"\n")[0].split()[0]
            end_statement(at, after(b"\n", at))
        elif here == b"#" or (
            rest[:2] == b"--" and (len(rest) == 2 or rest[2] <= 32 or rest[2] == 127)
        ):
            at = after(b"\n", at)
        elif rest[:2] == b"/*" and rest[:3] != b"/*!" and rest[:4] != b"/*M!":
            at = after(b"*/", at + 2)
        else:
            if text_at is None:
                text_at = at
            at += 1
            if here in (b"'", b'"', b"`"):
                while at < len(text) and text[at : at + 1] != here:
                    at += 2 if text[at : at + 1] == b"\\" and here != b"`" else 1
                at = min(at + 1, len(text))
    if start < len(text):
        end_statement(len(text), len(text))
    return statements


@given(sql, st.lists(st.integers(0, 200), max_size=30))
def test_any_text_in_any_chunks_is_cut_as_by_the_plain_lexer(text: bytes, cuts: list[int]) -> None:
    assert split(text, cuts) == reference(text)


@given(sql)
def test_a_text_fed_byte_by_byte_is_cut_as_in_one_piece(text: bytes) -> None:
    assert split(text, list(range(len(text)))) == split(text)


@given(sql, st.booleans())
def test_no_byte_is_lost(text: bytes, dump_program: bool) -> None:
    found = split(text, dump_program=dump_program)
    assert b"".join(statement.raw for statement in found) == text
    assert all(statement.text in statement.raw for statement in found)


literal = st.binary(max_size=20).map(
    lambda value: (
        b"'%s'"
        % value.replace(b"\\", b"\\\\")
        .replace(b"\n", b"\\n")
        .replace(b"'", b"\\'")
        .replace(b'"', b'\\"')
    )
)
rows = st.lists(
    st.lists(literal | st.just(b"NULL") | st.just(b"-1.5"), min_size=1), min_size=1
).map(
    lambda rows: (
        b"INSERT INTO `t``;\n` (`a'`, `b;`) VALUES\n%s;\n"
        % b",\n".join(b"(%s)" % b",".join(row) for row in rows)
    )
)


@given(
    st.lists(rows | st.sampled_from([b"-- ');\n", b"SET a = ');\n';\n", b"UNLOCK TABLES;\n"])),
    st.lists(st.integers(0, 500), max_size=20),
)
def test_a_dump_programs_rows_are_cut_the_same_way_but_faster(
    texts: list[bytes], cuts: list[int]
) -> None:
    text = b"".join(texts)
    uncounted = [statement._replace(line=0) for statement in reference(text)]
    assert split(text, cuts, dump_program=True) == uncounted


def test_an_insert_that_never_ends_its_line_is_read_properly_at_the_end() -> None:
    text = b"INSERT INTO `t` VALUES (';'); SELECT 1"
    assert [found.text for found in split(text, dump_program=True)] == [
        b"INSERT INTO `t` VALUES (';')",
        b"SELECT 1",
    ]


@pytest.mark.parametrize(
    ("setting", "body"),
    [
        ("SET sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'", b"SELECT '\\', ';;\n'"),
        ("SET sql_mode = 'REAL_AS_FLOAT,ANSI_QUOTES,ANSI'", b"SELECT 1 AS \"\\\", ';;\n'"),
        ("SET character_set_client  = gbk", b"SELECT '\xbf\\', ';;\n', `\xbf``, 1"),
        ("SET character_set_client = sjis", b"SELECT '\x83\\', ';;\n'"),
        ("SET sql_mode = ''", b"SELECT '\\\\', ';;\n'"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_dump_programs_body_ends_where_its_own_session_ends_it(
    setting: str, body: bytes, size: int
) -> None:
    create = b"/*!50003 CREATE PROCEDURE p() %s */" % body
    text = b"/*!50003 %s */ ;\nDELIMITER ;;\n%s;;\nDELIMITER ;\n" % (setting.encode(), create)
    put_back = (
        b"/*!50003 SET sql_mode              = @saved_sql_mode */ ;\n"
        b"/*!50003 SET character_set_client  = @saved_cs_client */ ;\nSELECT '\\';', \"\\\"\";\n"
    )
    found = split(text + put_back, list(range(0, 400, size)), dump_program=True)
    assert found[2].text == create
    assert found[-2].text == b"SELECT '\\';', \"\\\"\""


def test_a_trigger_between_delimiter_lines_is_one_statement() -> None:
    text = (
        b"DELIMITER ;;\n"
        b"/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`%`*/ /*!50003 TRIGGER t BEFORE INSERT ON u\n"
        b"FOR EACH ROW BEGIN SET NEW.a = ';;'; /* ;; */ -- it's\n END */;;\n"
        b"DELIMITER ;\nSELECT 1;"
    )
    found = split(text)
    assert [statement.text[:18] for statement in found] == [
        b"",
        b"/*!50003 CREATE*/ ",
        b"",
        b"SELECT 1",
    ]
    assert [statement.line for statement in found] == [1, 2, 5, 6]


def test_comments_before_a_statement_are_not_its_text_but_versioned_ones_are() -> None:
    found = split(b"-- one;\n# two;\n/* three; */ /*!40101 SET a=';' */;\n-- rest")
    assert [(statement.text, statement.line) for statement in found] == [
        (b"/*!40101 SET a=';' */", 3),
        (b"", 4),
    ]


@pytest.mark.parametrize("dump_program", [False, True])
def test_one_endless_statement_costs_no_more_per_chunk_at_its_end(dump_program: bool) -> None:
    # Not a matter of seconds: with rescans this would take hours.
    splitter = StatementSplitter(dump_program=dump_program)
    assert list(splitter.feed(b"INSERT INTO `t` VALUES ('")) == []
    for _ in range(20_000):
        assert list(splitter.feed(b"a;b\\' -- /* \n" * 100)) == []
    [found] = splitter.feed(b"');\n")
    assert found.line == (0 if dump_program else 1)
    assert found.at == 0
    assert len(found.text) > 20_000_000


def test_a_delimiter_is_cut_off_as_the_stock_clients_do() -> None:
    found = split(b"DELIMITER 123456789012345XYZ\nSELECT 1 123456789012345XYZ")
    assert [statement.text for statement in found] == [b"", b"SELECT 1 ", b"XYZ"]


@pytest.mark.parametrize("delimiter", ["`", "'", '"', "#", "--", "/*", "/", "-"])
def test_a_delimiter_may_be_what_else_begins_a_literal_or_a_comment(delimiter: str) -> None:
    text = f"DELIMITER {delimiter}\nSELECT 1 {delimiter} x {delimiter}y".encode()
    assert split(text) == split(text, list(range(len(text)))) == reference(text)


def test_a_line_without_end_is_no_delimiter() -> None:
    long = b"DELIMITER " + b"x" * 2000
    assert [statement.text for statement in split(long + b";\nSELECT 1;")] == [long, b"SELECT 1"]


@pytest.mark.parametrize(
    "text",
    [
        b"DELIMITER ;;\nDELIMITER ;\n" * 100_000,
        b"".join(b"DELIMITER x%d\n" % number for number in range(200_000)),
        b"/* " * 1_000_000,
        b"SELECT 1 " + b"/* " * 1_000_000,
        b"SELECT 1 " + b"/**/" * 1_000_000,
        b"SELECT 1 " + b"-" * 4_000_000,
        b"SELECT 1 " + b"/" * 4_000_000,
        b"SELECT 1 " + b"/*!" * 1_000_000,
        b"SELECT 1 " + b"'\"" * 2_000_000,
        b"SELECT 1 " + b"# x\n" * 1_000_000,
        b";" * 500_000,
    ],
    ids=lambda text: repr(text[:30]),
)
def test_no_text_takes_more_than_linear_time(text: bytes) -> None:
    # Not a matter of seconds: with rescans, or a pattern made for each line, this takes minutes.
    cuts = list(range(0, len(text), 100_000))
    assert b"".join(statement.raw for statement in split(text, cuts)) == text


def test_a_check_is_made_while_one_statement_is_read() -> None:
    checks = []
    text = b"SELECT '" + b"x" * 5_000_000 + b"';"
    [found] = StatementSplitter().split(text, lambda: checks.append(1))
    assert (found.raw, len(checks)) == (text, 5)
