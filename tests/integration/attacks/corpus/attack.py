"""How an attack is written down: one input, by a name that says its kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lcp_backup.database.endpoint import Flavour

HEAD: Final = b"""SET NAMES utf8mb4;
CREATE DATABASE IF NOT EXISTS `lportal`;
USE `lportal`;
DROP TABLE IF EXISTS `t`;
CREATE TABLE `t` (`id` int NOT NULL, `x` longtext, PRIMARY KEY (`id`)) ENGINE=InnoDB;
INSERT INTO `t` VALUES (1,'a');
"""
"""What stands before each attack: without it a dump would be refused for holding no table."""


@dataclass(frozen=True)
class Attack:
    """One hostile dump."""

    kind: str
    name: str
    sql: bytes
    """Statements after the `HEAD`; the whole dump when it is `bare`."""
    only: Flavour | None = None
    """The only kind of server that has what it uses."""
    bare: bool = False

    @property
    def dump(self) -> bytes:
        """The hostile dump."""
        return self.sql if self.bare else HEAD + self.sql + b"\n"

    @property
    def id(self) -> str:
        """Its kind and its name, for a test's name."""
        return f"{self.kind}: {self.name}"


def attacks(
    kind: str,
    inputs: Mapping[str, str | bytes],
    *,
    only: Flavour | None = None,
    bare: bool = False,
) -> list[Attack]:
    """Attacks of one kind; text is UTF-8."""
    return [
        Attack(kind, name, sql.encode() if isinstance(sql, str) else sql, only, bare)
        for name, sql in inputs.items()
    ]
