"""Rows that travel by LOAD DATA are the rows that INSERT would have made, on both servers."""

import hashlib
import random
import re
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any

import pymysql
import pytest

from lcp_backup.database.endpoint import Flavour, connect
from lcp_backup.database.local_infile import LoadingConnection, allows_local_infile
from lcp_backup.database.rows import Column, RowPlan, columns_of
from lcp_backup.database.statements import StatementSplitter
from tests.support.servers import DatabaseServer

_SOURCE = "rows_source"
_LOADED = _BY_DATA, _BY_INSERT = "rows_by_data", "rows_by_insert"
_INSERT = re.compile(
    rb"INSERT INTO `(?P<table>(?:[^`]|``)+)` (?:\((?P<listed>[^)]*)\) )?VALUES\s*(?=\()"
)

_HOSTILE = [
    "", "'", "''", '"', "\\", "\\\\", "\\'", "),(", "'),('", "x'),('y", "(SELECT 1)", ",", ")", "(",
    "NULL", "\\N", "\\%", "\\_", "%", "_", "\n", "\r\n", "\t", "\0", "\x1a", "\b", ");\n", "0x41",
    "a,_binary ", "_binary '", ",_binary '", "-- ", "/*!50000 ", "*/", "`", ";", " ", "  x  ", "#",
    "@a", "\x00'\\\x1a\"\n", "\\0", "');\nDROP TABLE x;\n",
]  # fmt: skip
_BYTES = [
    *(text.encode() for text in _HOSTILE), bytes(range(256)), b"\xe4'", b"\xf0\x9f\x98", b"\xc3\\",
    b"\xff\xfe\x00", b"\xf0'),('", b"\\\xf0", b"\x8e\xa1'", b"''\xc3", b"\xc3\xa4",
]  # fmt: skip
_POINT = struct.pack("<I", 0) + struct.pack("<BIdd", 1, 1, 1.5, -2.25)
_COLLECTION = struct.pack("<IBII", 0, 1, 7, 1) + _POINT[4:]

_NUMBERS: dict[str, Sequence[object]] = {
    "tinyint": [-128, 127, 0], "tinyint(3) unsigned zerofill": [0, 7, 255],
    "smallint": [-32768, 32767], "mediumint": [-8388608, 8388607],
    "int": [-(2**31), 2**31 - 1, 0], "bigint": [-(2**63), 2**63 - 1],
    "bigint unsigned": [0, 2**64 - 1], "bigint(20) unsigned zerofill": [42],
    "decimal(65,30)": [Decimal("-" + "9" * 35 + "." + "9" * 30), Decimal("0.1"), Decimal("-0.0")],
    "decimal(5,0)": [99999, -1], "decimal(10,2) unsigned zerofill": [Decimal("7.50")],
    "float": [1.17549e-38, 3.40282e38, -1.5e-7, 0.1, 16777216], "double": [
        1e308, -1.7976931348623157e308, 2.2250738585072014e-308, 5e-324, 0.1, 1e15, 1e-18, 1 / 3,
    ], "double(20,6)": [0.333333], "year": [0, 1901, 2155, 2026],
}  # fmt: skip
_TIMES: dict[str, Sequence[object]] = {
    "date": ["0000-00-00", "2026-00-00", "1000-01-01", "9999-12-31"],
    "time": ["-838:59:59", "838:59:59"], "time(6)": ["00:00:00.000001", "-00:00:01.5"],
    "datetime": ["0000-00-00 00:00:00", "9999-12-31 23:59:59"],
    "datetime(6)": ["2026-11-26 01:02:03.456789"],
    "timestamp null": ["0000-00-00 00:00:00", "1970-01-01 12:00:01", "2026-10-25 00:30:00"],
    "timestamp(3) null": ["2026-10-25 01:30:00.999"],
}  # fmt: skip
_TEXTS: dict[str, Sequence[object]] = {
    **{
        f"{kind} character set utf8mb4": [*_HOSTILE, "Käse", "日本", "😀'", "\U0010ffff"]
        for kind in ("varchar(300)", "longtext", "text", "mediumtext")
    },
    "char(40) character set utf8mb3": [*_HOSTILE[:40], "Käse", "日本"],
    "tinytext character set latin1": [*_HOSTILE, "Käse €"],
    "varchar(300) character set ascii": _HOSTILE,
    "varchar(300) character set cp1251": [*_HOSTILE, "Привет"],
    "varchar(300) character set gbk": [*_HOSTILE, "你好", "乗'"],
    "varchar(300) character set sjis": [text for text in _HOSTILE if "\\" not in text] + ["表ソ"],
    "varchar(300) character set utf16": [*_HOSTILE, "😀", "Käse"],
    "varchar(300) character set utf32": [*_HOSTILE, "😀"],
    "enum('a','','1','it''s','c,d','ü','NULL',')')": [
        "a", "", "1", "it's", "c,d", "ü", "NULL", ")",
    ],
    "enum('a','3','b')": ["3", "b", "a"],
    "set('a','b','it''s','ü')": ["", "a,b", "it's,ü"],
    "json": ['{"a": [1, null, "ü😀\'"], "b": {"c": "\\\\\\" ),(\\n"}}', "[]", '"x"', "-1.5e-7"],
}  # fmt: skip
_BINARIES: dict[str, Sequence[object]] = {
    "binary(8)": [text[:8] for text in _BYTES], "varbinary(300)": _BYTES, "tinyblob": _BYTES[:40],
    "blob": _BYTES, "mediumblob": _BYTES, "longblob": _BYTES,
    "varchar(300) character set binary": _BYTES,
    "bit(1)": [b"\x00", b"\x01"], "bit(9)": [b"\x01\xff", b"\x27", b"\x30"],
    "bit(64)": [b"\xff" * 8, b"'\\,)('\x00\x00", b"\x00"],
    "point": [_POINT], "geometry": [_POINT, _COLLECTION],
    "geometrycollection": [_COLLECTION],
}  # fmt: skip
_UTF8: dict[str, Sequence[object]] = {
    **{kind: values for kind, values in _TEXTS.items() if "set utf8mb" in kind},
    "char(30)": [*_HOSTILE, "Käse", "😀"], "int": [0, -1], "double": [0.1, 1e308],
    "datetime(6)": ["2026-11-26 01:02:03.456789"], "blob": _BYTES, "bit(9)": [b"\x01\xff"],
}  # fmt: skip
"""No text in another character set: it travels as bytes."""
_ONLY: dict[Flavour, dict[str, dict[str, Sequence[object]]]] = {
    Flavour.MYSQL: {
        "only binary": {
            "vector(3)": [struct.pack("<3f", 1.5, -0.0, 1e-30), struct.pack("<f", 7)],
            "point srid 4326": [struct.pack("<I", 4326) + _POINT[4:]],
        },
    },
    Flavour.MARIADB: {
        "addresses": {
            "inet6": ["::1", "ffff::", "::ffff:1.2.3.4"], "inet4": ["1.2.3.4", "10.0.0.1"],
            "uuid": ["123e4567-e89b-12d3-a456-426655440000"],
        }
    },
}  # fmt: skip
_TABLES = {
    "numbers": _NUMBERS, "times": _TIMES, "texts": _TEXTS, "binaries": _BINARIES, "utf8": _UTF8,
}  # fmt: skip

_ODD = r"""
CREATE TABLE `select` (`from` int, `it's` varchar(9), `we``ird "name"` blob, `x)` text,
  `(` int, `ä,'(\` varbinary(9)) CHARACTER SET utf8mb4;
INSERT INTO `select` VALUES (1, 'a', 0x27, 'ü', 2, 0xff), (NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE `ta``ble '; -- Ü` (a blob NOT NULL, b varchar(10) NOT NULL, c longtext)
  CHARACTER SET latin1;
INSERT INTO `ta``ble '; -- Ü` VALUES ('', '', NULL), (0x00, 'Käse', ')');
CREATE TABLE `generated` (id int PRIMARY KEY, v int AS (id * 2) VIRTUAL, n varchar(20),
  s varchar(40) AS (concat(n, ''';),(', id)) STORED, b blob AS (unhex(hex(n))) VIRTUAL, z int);
INSERT INTO `generated` (id, n, z) VALUES (1, 'a''', 5), (2, NULL, 6);
CREATE TABLE `invisible` (a int, b blob INVISIBLE, c int, d int DEFAULT 7 INVISIBLE);
INSERT INTO `invisible` (a, b, c, d) VALUES (1, 0x27, 3, 4), (1, NULL, 3, NULL);
CREATE TABLE `counted` (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, t text);
INSERT INTO `counted` VALUES (0, 'zero'), (-5, 'less'), (17, 'more');
CREATE TABLE `defaults` (a int NOT NULL DEFAULT 3, b timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
  ON UPDATE CURRENT_TIMESTAMP, c varchar(9) NOT NULL DEFAULT 'x');
INSERT INTO `defaults` VALUES (1, '2020-01-01 00:00:00', '');
CREATE TABLE `partitioned` (id int, made date, PRIMARY KEY (id, made))
  PARTITION BY RANGE (year(made))
  (PARTITION p0 VALUES LESS THAN (2020), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO `partitioned` VALUES (1, '2019-01-01'), (2, '2021-01-01');
"""

_DUMPS = {
    "hex": ("--hex-blob",),
    "hex, complete, small": ("--hex-blob", "--complete-insert", "--net-buffer-length=4096"),
    "hex, one row each": ("--hex-blob", "--skip-extended-insert"),
    "hex, utf8": ("--hex-blob", "--default-character-set=utf8"),
    "hex, latin1": ("--hex-blob", "--default-character-set=latin1"),
    "hex, binary": ("--hex-blob", "--default-character-set=binary"),
    "bytes": ("--skip-hex-blob",),
    "bytes, complete, one row each": (
        "--skip-hex-blob", "--complete-insert", "--skip-extended-insert",
    ),
    "bytes, utf8": ("--skip-hex-blob", "--default-character-set=utf8"),
    "bytes, latin1": ("--skip-hex-blob", "--default-character-set=latin1"),
    "bytes, binary": ("--skip-hex-blob", "--default-character-set=binary"),
}  # fmt: skip


_LOSSY = frozenset(it for it in _DUMPS if "utf8" in it or "latin1" in it)
"""Of some characters there are question marks in the dump."""
_UNDUMPABLE = {
    Flavour.MYSQL: [f"--ignore-table={_SOURCE}.texts"],
    Flavour.MARIADB: [f"--ignore-table={_SOURCE}.addresses"],
}
"""Tables with types that take no strings that are `binary`: no INSERT either can load them."""


@pytest.fixture
def clean(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """A server with two empty schemas, and an account that has rights on those alone."""

    def drop() -> None:
        for schema in _LOADED:
            server.execute(f"DROP DATABASE IF EXISTS {schema}")
        server.execute("DROP USER IF EXISTS 'rows'@'%'")

    drop()
    server.execute("CREATE USER 'rows'@'%' IDENTIFIED BY 'a password'")
    for schema in _LOADED:
        server.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
        server.execute(f"GRANT ALL ON {schema}.* TO 'rows'@'%'")
    yield server
    drop()


@pytest.fixture(scope="module")
def filled() -> Iterator[dict[Flavour, DatabaseServer]]:
    """The servers that have the source already: its tables are the same for every test."""
    servers: dict[Flavour, DatabaseServer] = {}
    yield servers
    for server in servers.values():
        server.execute(f"DROP DATABASE {_SOURCE}")


@pytest.fixture
def source(server: DatabaseServer, filled: dict[Flavour, DatabaseServer]) -> str:
    """The name of a schema with tables of every type that the server has."""
    if server.flavour not in filled:
        server.execute(f"DROP DATABASE IF EXISTS {_SOURCE}")
        server.execute(f"CREATE DATABASE {_SOURCE} CHARACTER SET utf8mb4")
        filled[server.flavour] = server
        fill(server, seed=9)
    return _SOURCE


def session(server: DatabaseServer, schema: str, user: str = "rows") -> LoadingConnection:
    password = "" if user == "root" else "a password"
    endpoint = server.endpoint(schema, user=user, password=password)
    return connect(endpoint, database=schema, local_infile=True)


def dump(server: DatabaseServer, *flags: str, tables: Sequence[str] = ()) -> bytes:
    mysql = server.flavour is Flavour.MYSQL
    program = "mysqldump" if mysql else "mariadb-dump"
    extra = ["--no-tablespaces", "--set-gtid-purged=OFF"] if mysql else []
    login = [it for it in server.client()[1:] if not it.startswith("--default-character-set")]
    done = subprocess.run(
        [
            str(server.programs / program),
            *login,
            "--skip-add-locks",
            *extra,
            *flags,
            _SOURCE,
            *tables,
        ],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def load(server: DatabaseServer, text: bytes, schema: str, *, as_data: bool) -> tuple[int, int]:
    """Loads a dump; answers how many INSERT statements travelled as data, and how many did not."""
    # By this line, which ends in no `;`, mariadb-dump turns on its own client's sandbox.
    text = re.sub(rb"\A/\*M!999999\\- [^\n]*\n", b"", text)
    splitter = StatementSplitter(dump_program=True)
    plans: dict[tuple[bytes | str, ...], RowPlan | None] = {}
    ways = [0, 0]
    with closing(session(server, schema)) as connection, connection.cursor() as cursor:
        for statement in [*splitter.feed(text), *splitter.close()]:
            if not statement.text:
                continue
            insert = _INSERT.match(statement.text)
            if insert is None or not as_data:
                connection.query(statement.text)
                continue
            cursor.execute("SELECT @@character_set_client")
            (said,) = cursor.fetchone() or ()
            # In a `binary` session the server answers in bytes.
            charset = said.decode() if isinstance(said, bytes) else str(said)
            key = (insert["table"], insert["listed"], charset)
            if key not in plans:
                plans[key] = plan_of(server, schema, insert, charset)
            plan = plans[key]
            rows = plan.read(statement.text, insert.end()) if plan is not None else None
            if rows is None:
                connection.query(statement.text)
            else:
                loaded = connection.load_rows(rows.statement, rows.text)
                cursor.execute("SHOW WARNINGS")
                assert loaded == (rows.count, 0), cursor.fetchall()
            ways[rows is None] += 1
    return ways[0], ways[1]


def plan_of(
    server: DatabaseServer, schema: str, insert: "re.Match[bytes]", charset: str
) -> RowPlan | None:
    codec = "cp1252" if charset == "latin1" else "utf-8"
    table = insert["table"].decode(codec).replace("``", "`")
    listed = None
    if insert["listed"] is not None:
        names = re.findall(rb"`((?:[^`]|``)+)`", insert["listed"])
        listed = [name.decode(codec).replace("``", "`") for name in names]
    # (Of its own: the dump's session may speak another language.)
    with closing(session(server, schema)) as connection:
        return RowPlan.of(table, columns_of(connection, schema, table), listed, charset)


def shown(column: Column) -> str:
    """The expression that shows a column's value bit by bit (but for a sign that zero has not)."""
    name = "`" + column.name.replace("`", "``") + "`"
    return name if column.type in {"float", "double", "decimal"} else f"HEX({name})"


def content(server: DatabaseServer, schema: str) -> dict[tuple[str, str], object]:
    """All that can be seen of a schema's rows, bit by bit."""
    found: dict[tuple[str, str], object] = {}
    with closing(session(server, schema, "root")) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        for (table,) in cursor.fetchall():
            name = "`" + table.replace("`", "``") + "`"
            columns = [shown(column) for column in columns_of(connection, schema, table)]
            cursor.execute(f"SHOW CREATE TABLE {name}")
            found["create", table] = cursor.fetchall()
            cursor.execute(f"CHECKSUM TABLE {name}")
            found["checksum", table] = [checksum for _, checksum in cursor.fetchall()]
            cursor.execute(f"SELECT {', '.join(columns)} FROM {name}")
            found["rows", table] = sorted(map(repr, cursor.fetchall()))
    return found


def fill(server: DatabaseServer, *, seed: int) -> None:
    """Tables of every type: each boundary value at least once, and random ones."""
    chance = random.Random(seed)
    tables = {**_TABLES, **_ONLY[server.flavour]}
    with closing(session(server, _SOURCE, "root")) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
        for table, types in tables.items():
            columns = ", ".join(f"`c{n}` {kind}" for n, kind in enumerate(types))
            cursor.execute(f"CREATE TABLE `{table}` ({columns}) CHARACTER SET utf8mb4")
            places = ", ".join(["%s"] * len(types))
            for number in range(max(map(len, types.values())) + 20):
                row = [
                    values[number] if number < len(values) else _value(chance, kind, values)
                    for kind, values in types.items()
                ]
                cursor.execute(f"INSERT INTO `{table}` VALUES ({places})", row)
        for sql in _ODD.split(";\n"):
            if sql.strip():
                cursor.execute(sql)


def _value(chance: random.Random, kind: str, values: Sequence[object]) -> object:
    roll = chance.random()
    if roll < 0.2:
        return None
    if roll < 0.6 and "blob" in kind:
        return chance.randbytes(chance.randrange(200))
    if roll < 0.6 and kind == "double":
        return struct.unpack("<d", chance.randbytes(7) + b"\x3f")[0]
    if roll < 0.6 and "text" in kind:
        some = chance.choices([*_HOSTILE, "a", "b" * 50], k=4)
        return "".join(some)[:250]
    return chance.choice(values)


@pytest.mark.parametrize("kind", _DUMPS)
def test_rows_are_the_same_by_data_and_by_insert(
    clean: DatabaseServer, source: str, kind: str
) -> None:
    text = dump(clean, *_DUMPS[kind], *_UNDUMPABLE[clean.flavour] if "binary" in kind else ())
    as_data, as_statements = load(clean, text, _BY_DATA, as_data=True)
    load(clean, text, _BY_INSERT, as_data=False)
    found = content(clean, _BY_DATA)
    assert found == content(clean, _BY_INSERT)
    if kind not in _LOSSY:
        there = rows_of(content(clean, source))
        assert rows_of(found) == {table: there[table] for table in rows_of(found)}
    if kind.endswith(", binary"):
        # Texts in digits, and names beyond ASCII, go as statements: such a dump says no charset.
        assert as_data > 5
        return
    assert as_data > 10
    # mysqldump introduces an empty string among digits, when that is a statement's only one.
    mixed = kind == "hex, one row each" and clean.flavour is Flavour.MYSQL
    # MariaDB's program from 11 on has digits for bits and shapes beside strings for other bytes.
    mixed = mixed or (kind.startswith("bytes") and re.search(rb",0x[0-9A-F]{2}", text) is not None)
    assert bool(as_statements) == mixed


def rows_of(content: dict[tuple[str, str], object]) -> dict[str, object]:
    return {table: rows for (what, table), rows in content.items() if what == "rows"}


def test_names_may_be_in_any_script(clean: DatabaseServer, source: str) -> None:
    clean.execute(f"CREATE TABLE {source}.`日本` (`ключ, x)` text, `表` blob)")
    try:
        clean.execute(f"INSERT INTO {source}.`日本` VALUES ('語', 0xff)")
        assert load(clean, dump(clean, tables=["日本"]), _BY_DATA, as_data=True) == (1, 0)
        assert rows_of(content(clean, _BY_DATA)) == {"日本": ["('E8AA9E', 'FF')"]}
    finally:
        clean.execute(f"DROP TABLE {source}.`日本`")


class Pair:
    """One table twice: `t` takes rows as data, `u` as statements; both are rolled back."""

    def __init__(self, connection: LoadingConnection, columns: str) -> None:
        self._connection = connection
        for table in ("t", "u"):
            self.execute(f"DROP TABLE IF EXISTS {table}")
            self.execute(f"CREATE TABLE {table} ({columns}) ENGINE=InnoDB CHARACTER SET utf8mb4")
        self._columns = columns_of(connection, _BY_DATA, "t")

    def execute(self, sql: str) -> tuple[tuple[object, ...], ...]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return tuple(cursor.fetchall())

    def fitting(self, number: int) -> list[str]:
        """The literals by which a plan does not leave a column's rows to INSERT."""
        plan = RowPlan.of("t", self._columns[number : number + 1], None, "utf8mb4")
        assert plan is not None
        return [it for it in _ANY_LITERAL if plan.read(f"({it})".encode(), 0)]

    def as_data(self, rows: bytes) -> str:
        """What becomes of the rows: `left` by the plan, `stored` without a warning, or `told`."""
        plan = RowPlan.of("t", self._columns, None, "utf8mb4")
        assert plan is not None
        found = plan.read(rows, 0)
        if found is None:
            return "left"
        try:
            loaded = self._connection.load_rows(found.statement, found.text)
        except pymysql.MySQLError:
            return "told"
        return "stored" if loaded == (found.count, 0) else "told"

    def as_statement(self, rows: bytes) -> bool:
        try:
            self._connection.query(b"INSERT INTO u VALUES " + rows)
        except pymysql.MySQLError:
            return False
        return True

    def same(self) -> bool:
        columns = ", ".join(map(shown, self._columns))
        t, u = (self.execute(f"SELECT {columns} FROM {table}") for table in ("t", "u"))
        return t == u


_MODES = [
    "", "NO_AUTO_VALUE_ON_ZERO", "TRADITIONAL", "STRICT_ALL_TABLES", "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE,STRICT_TRANS_TABLES", "ALLOW_INVALID_DATES", "PAD_CHAR_TO_FULL_LENGTH",
]  # fmt: skip
_ANY_LITERAL = [
    "NULL", "0", "-0", "1", "-1", "127", "128", "255", "256", "0000", "2026", "2156", "70", "1e3",
    "1.5", "-0.5", "99999999999999999999", "1e400", "0.1e-400", "'0'", "'1'", "' 1'", "'1x'", "''",
    "'a'", "'A '", "'a,b'", "'b'", "'c'", "'3'", "'0000-00-00'", "'2026-02-30'", "'2026-11-26'",
    "'2026-11-26 25:00:00'", "'2026-03-29 02:30:00'", "'1969-12-31 23:59:59'", "'12:30'", "'-1:0'",
    "'2038-01-19 03:14:08'", "'2026-11-26 01:02:03.9999999'", "'20261126'", "'{}'", "'[1'",
    "'null'", "0x00", "0x31", "0x1", "0xFFFF", "0x313233343536373839", "'),('", "'ü'", "'😀'",
    "_binary '1'", r"_binary '\0'", r"'\0'", r"'\N'", r"'\%'", r"'\\'", r"'\b\Z'", "'''x'",
    "'" + "x" * 300 + "'",
    "0x000000000101000000000000000000F03F0000000000000040", "TRUE", "'(SELECT 1)'", "-9e99",
]  # fmt: skip
_ANY_TYPE = [
    "tinyint", "int unsigned", "bigint NOT NULL", "decimal(5,2)", "decimal(65,30)", "float",
    "double", "double unsigned", "year", "date", "time(3)", "datetime", "datetime(6) NOT NULL",
    "timestamp NULL", "char(3)", "varchar(5) NOT NULL", "text", "varchar(9) CHARACTER SET latin1",
    "tinytext CHARACTER SET utf8mb3", "enum('a','3','b','')", "set('a','b') NOT NULL", "json",
    "binary(3)", "varbinary(9) NOT NULL", "tinyblob", "blob", "bit(1)", "bit(17)", "point",
]  # fmt: skip


def test_rows_without_a_warning_are_those_of_insert(clean: DatabaseServer) -> None:
    chance = random.Random(2026)
    outcomes: Counter[str] = Counter()
    with closing(session(clean, _BY_DATA)) as connection:
        for _ in range(40):
            kinds = chance.choices(_ANY_TYPE, k=2)
            pair = Pair(connection, ", ".join(f"c{n} {kind}" for n, kind in enumerate(kinds)))
            pair.execute(f"SET sql_mode = '{chance.choice(_MODES)}', autocommit = 0")
            pair.execute(f"SET time_zone = '{chance.choice(['+00:00', '-08:00', '+05:30'])}'")
            fitting = [pair.fitting(number) for number in range(len(kinds))]
            for _ in range(40):
                values = [[chance.choice(it) for it in fitting] for _ in range(2)]
                if chance.random() < 0.1:
                    values[1][0] = chance.choice(_ANY_LITERAL)
                rows = ",\n".join(f"({','.join(row)})" for row in values).encode()
                outcome = pair.as_data(rows)
                if outcome == "stored":
                    assert pair.as_statement(rows), (kinds, rows)
                    assert pair.same(), (kinds, rows)
                outcomes[outcome] += 1
                pair.execute("ROLLBACK")
            pair.execute("SET sql_mode = ''")
    assert min(outcomes[it] for it in ("stored", "told", "left")) > 20, outcomes


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("a int PRIMARY KEY", b"(1),(2),(1)"),
        ("a int, UNIQUE KEY (a)", b"(1),(NULL),(NULL),(1)"),
        ("a tinyint", b"(1),(128)"),
        ("a varchar(2)", b"('ab'),('abc')"),
        ("a enum('a')", b"('a'),('b')"),
        ("a date", b"('2026-02-30')"),
        ("a json", b"('{}'),('{')"),
        ("a geometry", b"(0x00)"),
        ("a text CHARACTER SET latin1", "('語')".encode()),
        ("a text CHARACTER SET utf8mb3", "('語'),('😀')".encode()),
        ("a int, b int AS (a) STORED, CHECK (a > 5)", b"(7,7),(1,1)"),
    ],
)
def test_what_does_not_fit_is_told(clean: DatabaseServer, columns: str, rows: bytes) -> None:
    with closing(session(clean, _BY_DATA)) as connection:
        assert Pair(connection, columns).as_data(rows) == "told"


def test_zero_is_a_value_of_auto_increment_where_the_mode_says_so(clean: DatabaseServer) -> None:
    with closing(session(clean, _BY_DATA)) as connection:
        for mode in ("", "NO_AUTO_VALUE_ON_ZERO"):
            pair = Pair(connection, "a int NOT NULL AUTO_INCREMENT PRIMARY KEY, b int")
            pair.execute(f"SET sql_mode = '{mode}'")
            assert pair.as_data(b"(5,1),(0,2)") == "stored"
            assert pair.as_statement(b"(5,1),(0,2)")
            assert pair.same()


def test_values_may_be_longer_than_a_packet(clean: DatabaseServer) -> None:
    size = 17 * 1024 * 1024
    rows = b"(1,0x%b,'x'),(2,NULL,'%b')" % (b"5C27" * (size // 2), b"\\\\'')," * (size // 5))
    with closing(session(clean, _BY_DATA)) as connection:
        pair = Pair(connection, "a int, b longblob, c longtext")
        assert pair.as_data(rows) == "stored"
        assert pair.execute("SELECT a, SHA2(b, 256), SHA2(c, 256) FROM t ORDER BY a") == (
            (1, hashlib.sha256(b"\\'" * (size // 2)).hexdigest(), hashlib.sha256(b"x").hexdigest()),
            (2, None, hashlib.sha256(b"\\')," * (size // 5)).hexdigest()),
        )


def test_rows_need_the_server_and_the_connection_to_allow_it(clean: DatabaseServer) -> None:
    with closing(session(clean, _BY_DATA)) as connection:
        pair = Pair(connection, "a int")
        assert allows_local_infile(connection)
        clean.execute("SET GLOBAL local_infile = 0")
        try:
            assert not allows_local_infile(connection)
            assert pair.as_data(b"(1)") == "told"
        finally:
            clean.execute("SET GLOBAL local_infile = 1")
        assert pair.as_data(b"(1)") == "stored"
    endpoint = clean.endpoint(_BY_DATA, user="rows", password="a password")
    with closing(connect(endpoint, database=_BY_DATA)) as connection:
        assert Pair(connection, "a int").as_data(b"(1)") == "told"


def test_a_zero_keeps_the_sign_that_insert_takes_away(clean: DatabaseServer) -> None:
    with closing(session(clean, _BY_DATA)) as connection:
        pair = Pair(connection, "a double, b float")
        assert pair.as_data(b"(-0,-0)") == "stored"
        # MariaDB's dump program writes none.
        kept = "-0" if clean.flavour is Flavour.MYSQL else "0"
        assert pair.execute("SELECT CONCAT(a), CONCAT(b) FROM t") == ((kept, kept),)


def test_columns_are_told_as_the_server_has_them(clean: DatabaseServer) -> None:
    with closing(session(clean, _BY_DATA)) as connection:
        pair = Pair(
            connection,
            "Id int NOT NULL, `it's` varchar(9) CHARACTER SET latin1 INVISIBLE,"
            " v int AS (Id) VIRTUAL, s int AS (Id) STORED, d int DEFAULT (1 + 2), p point NOT NULL",
        )
        plain: dict[str, Any] = {"nullable": True, "generated": False, "invisible": False}
        assert columns_of(connection, _BY_DATA, "t") == (
            Column("Id", "int", **{**plain, "nullable": False}),
            Column("it's", "varchar", **{**plain, "invisible": True}, charset="latin1"),
            Column("v", "int", **{**plain, "generated": True}),
            Column("s", "int", **{**plain, "generated": True}),
            Column("d", "int", **plain),
            Column("p", "point", **{**plain, "nullable": False}),
        )
        assert (
            pair.as_data(b"(1,1,1,3,0x000000000101000000000000000000F03F0000000000000040)")
            == "stored"
        )
        assert columns_of(connection, _BY_DATA, "none") == ()


def test_rows_with_a_history_are_left_to_insert(mariadb: DatabaseServer) -> None:
    schema = "rows_history"
    mariadb.execute(f"CREATE DATABASE {schema}")
    try:
        mariadb.execute(
            f"CREATE TABLE {schema}.said (a int, s timestamp(6) GENERATED ALWAYS AS ROW START,"
            " e timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e))"
            " WITH SYSTEM VERSIONING"
        )
        mariadb.execute(f"CREATE TABLE {schema}.hidden (a int) WITH SYSTEM VERSIONING")
        with closing(session(mariadb, schema, "root")) as connection:
            said = columns_of(connection, schema, "said")
            hidden = columns_of(connection, schema, "hidden")
    finally:
        mariadb.execute(f"DROP DATABASE {schema}")
    assert RowPlan.of("said", said, None, "utf8mb4") is None
    assert RowPlan.of("said", said, ["a"], "utf8mb4") is not None
    assert RowPlan.of("hidden", hidden, ["a", "row_start", "row_end"], "utf8mb4") is None
    assert RowPlan.of("hidden", hidden, None, "utf8mb4") is not None
