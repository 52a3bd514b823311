"""The words that a dump's definitions and settings may use. Upper case, but for character sets."""

from typing import Final

ENGINES: Final = frozenset(
    {"INNODB", "MYISAM", "ARIA", "MEMORY", "HEAP", "CSV", "ARCHIVE", "BLACKHOLE", "ROCKSDB",
    "XTRADB", "TOKUDB", "COLUMNSTORE", "MROONGA", "NDB", "NDBCLUSTER"}
)  # fmt: skip
"""Engines whose tables hold their own rows. Never those that read from elsewhere: FEDERATED,
CONNECT, SPIDER, MERGE, S3, OQGRAPH, SphinxSE."""

TABLE_OPTIONS: Final = frozenset(
    {"AUTOEXTEND_SIZE", "AUTO_INCREMENT", "AVG_ROW_LENGTH", "CHARACTER", "CHARSET", "CHECKSUM",
    "COLLATE", "COMMENT", "COMPRESSION", "DELAY_KEY_WRITE", "ENCRYPTED", "ENCRYPTION",
    "ENCRYPTION_KEY_ID", "ENGINE_ATTRIBUTE", "IETF_QUOTES", "INSERT_METHOD", "KEY_BLOCK_SIZE",
    "MAX_ROWS", "MIN_ROWS", "PACK_KEYS", "PAGE_CHECKSUM", "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL", "ROW_FORMAT", "SEQUENCE", "STATS_AUTO_RECALC", "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES", "TABLE_CHECKSUM", "TRANSACTIONAL"}
)  # fmt: skip
"""Not among them: where files lie, other tables and servers (UNION, CONNECTION), other engines."""

SCHEMA_OPTIONS: Final = (
    "CHARACTER SET =? *", "CHARSET =? *", "COLLATE =? *", "COMMENT =? *", "ENCRYPTION =? *"
)  # fmt: skip
"""Not among them: READ ONLY, which would keep the schema from ever being dropped."""

SEQUENCE_WORDS: Final = frozenset(
    {"AS", "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "INTEGER", "BIGINT", "SIGNED", "UNSIGNED",
    "START", "WITH", "MINVALUE", "MAXVALUE", "INCREMENT", "BY", "CACHE", "NOCACHE", "CYCLE",
    "NOCYCLE", "NOMINVALUE", "NOMAXVALUE", "NO", "=", "-"}
)  # fmt: skip

DENIED_FUNCTIONS: Final = frozenset(
    {"BENCHMARK", "SLEEP", "GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS", "IS_FREE_LOCK",
    "IS_USED_LOCK", "LOAD_FILE", "MASTER_POS_WAIT", "SOURCE_POS_WAIT", "MASTER_GTID_WAIT",
    "WAIT_FOR_EXECUTED_GTID_SET", "WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS", "SYS_EXEC", "SYS_EVAL"}
)  # fmt: skip
"""In definitions: they wait, work or reach outside."""

QUOTING_MODES: Final = frozenset(
    {"ANSI", "ANSI_QUOTES", "DB2", "MAXDB", "MSSQL", "NO_BACKSLASH_ESCAPES", "ORACLE",
    "POSTGRESQL"}
)  # fmt: skip
"""SQL modes in which a text is other tokens than in all the others."""
KNOWN_MODES: Final = QUOTING_MODES | {
    "ALLOW_INVALID_DATES", "EMPTY_STRING_IS_NULL", "ERROR_FOR_DIVISION_BY_ZERO",
    "HIGH_NOT_PRECEDENCE", "IGNORE_BAD_TABLE_OPTIONS", "IGNORE_SPACE", "MYSQL323", "MYSQL40",
    "NO_AUTO_CREATE_USER", "NO_AUTO_VALUE_ON_ZERO", "NO_DIR_IN_CREATE", "NO_ENGINE_SUBSTITUTION",
    "NO_FIELD_OPTIONS", "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS", "NO_UNSIGNED_SUBTRACTION",
    "NO_ZERO_DATE", "NO_ZERO_IN_DATE", "ONLY_FULL_GROUP_BY", "PAD_CHAR_TO_FULL_LENGTH",
    "PIPES_AS_CONCAT", "REAL_AS_FLOAT", "SIMULTANEOUS_ASSIGNMENT", "STRICT_ALL_TABLES",
    "STRICT_TRANS_TABLES", "TIME_ROUND_FRACTIONAL", "TIME_TRUNCATE_FRACTIONAL", "TRADITIONAL",
    "DEFAULT",
}  # fmt: skip

SESSION_CHARACTER_SETS: Final = frozenset(
    {"utf8", "utf8mb3", "utf8mb4", "latin1", "binary", "ascii"}
)
SINGLE_BYTE_CHARACTER_SETS: Final = frozenset(
    {"armscii8", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8",
    "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin2", "latin5", "latin7",
    "macce", "macroman", "tis620"}
)  # fmt: skip
"""In which stored code may have been written: every byte of ASCII means itself in them."""
