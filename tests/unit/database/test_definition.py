"""Definitions taken apart: what is set aside, what stays, and when nothing may be touched."""

import pytest

from lcp_backup.database.definition import Definition, taken_apart

_PLAIN = b"""CREATE TABLE `User_` (
  `id` bigint(20) NOT NULL,
  `name` varchar(75) DEFAULT 'KEY `x` (`y`), -- ''no',
  `group` bigint(20) DEFAULT NULL COMMENT 'a, b) ENGINE=MyISAM',
  PRIMARY KEY (`id`),
  UNIQUE KEY `IX_1` (`name`(10),`group`),
  KEY `IX, 2)` (`group`) COMMENT 'it''s, one',
  CONSTRAINT `fk` FOREIGN KEY (`group`) REFERENCES `Gro``up` (`id`) ON DELETE CASCADE,
  CONSTRAINT `positive` CHECK (`id` > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"""


def test_secondary_indexes_and_foreign_keys_come_later_and_nothing_else() -> None:
    assert taken_apart(_PLAIN, set_indexes_aside=True) == Definition(
        create=b"""CREATE TABLE `User_` (
  `id` bigint(20) NOT NULL,
  `name` varchar(75) DEFAULT 'KEY `x` (`y`), -- ''no',
  `group` bigint(20) DEFAULT NULL COMMENT 'a, b) ENGINE=MyISAM',
  PRIMARY KEY (`id`),
  CONSTRAINT `positive` CHECK (`id` > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
        indexes=(
            b"UNIQUE KEY `IX_1` (`name`(10),`group`)",
            b"KEY `IX, 2)` (`group`) COMMENT 'it''s, one'",
        ),
        foreign_keys=(
            b"CONSTRAINT `fk` FOREIGN KEY (`group`) REFERENCES `Gro``up` (`id`) ON DELETE CASCADE",
        ),
        references=("Gro`up",),
        counted=True,
    )


def test_foreign_keys_come_later_also_where_indexes_stay() -> None:
    apart = taken_apart(_PLAIN, set_indexes_aside=False)
    assert apart.indexes == ()
    assert len(apart.foreign_keys) == 1
    assert b"UNIQUE KEY `IX_1`" in apart.create
    assert b"FOREIGN KEY" not in apart.create


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b"  PRIMARY KEY (`id`),\n", b""),
        (b"  KEY `IX", b"  FULLTEXT KEY `IX"),
        (b"  KEY `IX", b"  SPATIAL KEY `IX"),
        (b"`group` bigint(20) DEFAULT NULL", b"`group` bigint(20) NOT NULL AUTO_INCREMENT"),
    ],
    ids=["no primary key", "full text", "spatial", "counts up a secondary index"],
)
def test_indexes_stay_where_the_table_would_become_another(was: bytes, now: bytes) -> None:
    assert was in _PLAIN
    assert taken_apart(_PLAIN.replace(was, now), set_indexes_aside=True).indexes == ()


def test_a_primary_key_that_counts_up_keeps_no_index_back() -> None:
    counting = _PLAIN.replace(b"`id` bigint(20) NOT NULL", b"`id` bigint NOT NULL AUTO_INCREMENT")
    assert len(taken_apart(counting, set_indexes_aside=True).indexes) == 2


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b"ENGINE=InnoDB", b"ENGINE=MyISAM"),
        (b"ENGINE=InnoDB", b"COMMENT='ENGINE=InnoDB'"),
        (b"CHARSET=utf8mb4", b"CHARSET=utf8mb4 WITH SYSTEM VERSIONING"),
        (b") ENGINE", b"ENGINE"),
    ],
    ids=["another engine", "a comment", "versioned", "not whole"],
)
def test_tables_of_another_make_are_left_whole(was: bytes, now: bytes) -> None:
    assert was in _PLAIN
    statement = _PLAIN.replace(was, now)
    assert taken_apart(statement, set_indexes_aside=True) == Definition(statement)


def test_what_newer_versions_write_stays_where_it_belongs() -> None:
    statement = b"""CREATE TABLE `t` (
  `id` int NOT NULL,
  `c` json DEFAULT NULL INVISIBLE,
  PRIMARY KEY (`id`),
  KEY `i` ((cast(`c` as char(20) array))) INVISIBLE
) COMMENT='x, )' ENGINE=InnoDB
PARTITION BY HASH (`id`) PARTITIONS 2"""
    apart = taken_apart(statement, set_indexes_aside=True)
    assert apart.indexes == (b"KEY `i` ((cast(`c` as char(20) array))) INVISIBLE",)
    assert apart.create == statement.replace(b",\n  " + apart.indexes[0], b"")


def test_a_table_of_nothing_but_keys_is_left_whole() -> None:
    statement = b"CREATE TABLE `t` (KEY `i` (`a`)) ENGINE=InnoDB"
    assert taken_apart(statement, set_indexes_aside=True).create == statement
