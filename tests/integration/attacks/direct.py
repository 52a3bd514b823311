"""Attacks from the place where a dump's statements are executed: no parser stands before them.

An honest dump is restored by the real job. As soon as one of its statements is on its way to the
server, a second connection is opened with the same login and the same schema, and the hostile
statements are sent over that. So what holds, holds by the rights that the service's accounts have.
Nothing of the service is known here but that it sends a dump's definitions by PyMySQL.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import pymysql
import pytest
from pymysql.connections import Connection
from pymysql.constants import CR, ER

from lcp_backup.database.statements import StatementSplitter
from tests.integration.attacks.corpus.attack import HEAD
from tests.support.world import World

_PATIENCE_SECONDS: Final = 2
_TOKEN: Final = b"sent-out-of-the-archive"
HONEST: Final = HEAD + (
    b"CREATE TABLE `carrier` (`id` int NOT NULL COMMENT '%(token)s', PRIMARY KEY (`id`));\n"
    b"CREATE VIEW `carrier_view` AS select '%(token)s' AS `a`;\n"
    b"DELIMITER ;;\n"
    b"CREATE PROCEDURE `carrier_procedure`() SELECT '%(token)s';;\n"
    b"CREATE EVENT `carrier_event` ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01 00:00:00'"
    b" DO SET @a = '%(token)s';;\n"
    b"CREATE TRIGGER `carrier_trigger` BEFORE INSERT ON `carrier` FOR EACH ROW"
    b" SET @a = '%(token)s';;\n"
    b"DELIMITER ;\n"
) % {b"token": _TOKEN}
"""A dump whose definitions can be told on the wire."""


@dataclass(frozen=True)
class Login:
    """Whose connection carries a dump's statement, and where it stands."""

    host: str
    port: int
    user: str
    password: str
    schema: str | None

    def open(self) -> "pymysql.Connection[Any]":
        """A connection of its own with this login."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.schema,
            charset="utf8mb4",
            autocommit=True,
            local_infile=False,
            read_timeout=_PATIENCE_SECONDS,
        )


@contextmanager
def when_sent(
    act: Callable[[Login], None], *, dies: bool = False
) -> Iterator[list[tuple[str, bytes]]]:
    """While a restore runs: `act` is told each login that sends a statement of `HONEST`, once.

    Answers who sent what. When the service `dies`, no server hears anything of it afterwards.
    """
    sent: list[tuple[str, bytes]] = []
    seen: set[tuple[str, str | None]] = set()
    real = Connection.query
    dead = False

    def query(self: Any, sql: Any, unbuffered: bool = False) -> Any:
        nonlocal dead
        if dead and _text(self.user) != "root":
            raise pymysql.OperationalError(CR.CR_SERVER_LOST, "the process was killed")
        raw = sql.encode("utf-8", "surrogateescape") if isinstance(sql, str) else bytes(sql)
        if _TOKEN in raw:
            user = _text(self.user)
            sent.append((user, raw))
            schema = _text(self.db) if self.db else None
            if (user, schema) not in seen:
                seen.add((user, schema))
                act(Login(self.host, self.port, user, _text(self.password), schema))
                dead = dies
        return real(self, sql, unbuffered)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "query", query)
        yield sent


def execute(login: Login, sql: bytes, world: World) -> list[str]:
    """Sends statements, one by one, whatever the server says of each; answers what it said."""
    said = []
    with closing(_opened(login, world)) as connection:
        number = connection.thread_id()  # type: ignore[no-untyped-call] # the stub's
        if login.schema:
            # A dump that names its schema means the one that it is loaded into.
            sql = re.sub(rb"(DATABASE [A-Z ]*)`lportal`", rb"\1`%s`" % login.schema.encode(), sql)
        for statement in _split(sql):
            with closing(connection.cursor()) as cursor:
                try:
                    cursor.execute(statement)
                    while cursor.nextset():
                        pass
                    said.append("done")
                except pymysql.MySQLError as error:
                    said.append(str(error)[:120])
                    if not connection.open:
                        break
                except (UnicodeDecodeError, ValueError) as error:
                    said.append(f"done, and {error!r}")
        # What took too long would go on, and hold its tables.
        with suppress(pymysql.MySQLError):
            world.say(f"KILL {number}")
    return said


def _opened(login: Login, world: World) -> "pymysql.Connection[Any]":
    try:
        return login.open()
    except pymysql.OperationalError as error:
        if error.args[0] != ER.ACCESS_DENIED_ERROR:
            raise
    # An account may change its own password: that is no harm, but the next attack needs it.
    for (host,) in world.say(f"SELECT host FROM mysql.user WHERE user = '{login.user}'"):
        with world.root.cursor() as cursor:
            cursor.execute(
                f"ALTER USER '{login.user}'@'{host}' IDENTIFIED BY %s", (login.password,)
            )
    return login.open()


def _split(sql: bytes) -> list[bytes]:
    splitter = StatementSplitter()
    found = [*splitter.feed(sql), *splitter.close()]
    return [statement.text for statement in found if statement.text.strip()]


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
