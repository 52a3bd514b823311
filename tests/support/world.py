"""What no dump may change: another schema, the accounts, their grants, the server's own settings.

A `World` is one server with a live site and all that is not the site's. What it holds is read as
root, from the server's own tables, into a `Fingerprint` whose facts can be compared one by one.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest

from lcp_backup.database.endpoint import Flavour
from tests.support.fingerprint import (
    GRANT_TABLES,
    NAME,
    SERVICE_ACCOUNTS,
    SYSTEM,
    Reader,
    differences,
    is_the_sites,
)
from tests.support.rds_like import (
    MASTER,
    MASTER_PASSWORD,
    MASTER_RIGHTS,
    SITE_PASSWORD,
    SITE_USER,
    rds_like,
)
from tests.support.sample import CANARY, OTHERS, SECRET, SITE
from tests.support.servers import DatabaseServer


@dataclass
class World:
    """One server, its accounts, a live site and what must never change."""

    server: DatabaseServer
    data: Path
    outside: Path

    def __post_init__(self) -> None:
        self.root = self._connect("root", "")
        self.read = Reader(self.root, self.server.flavour, self.outside)
        self.mysql = self.server.flavour is Flavour.MYSQL
        rights = MASTER_RIGHTS[self.server.flavour]
        for sql in (
            f"CREATE USER '{MASTER}'@'%%' IDENTIFIED BY '{MASTER_PASSWORD}'",
            f"GRANT {rights} ON *.* TO '{MASTER}'@'%%' WITH GRANT OPTION",
            f"CREATE USER '{SITE_USER}'@'%%' IDENTIFIED BY '{SITE_PASSWORD}'",
            f"GRANT ALL ON `{NAME}`.* TO '{SITE_USER}'@'%%'",
            "CREATE USER 'bystander'@'%%' IDENTIFIED BY 'bystander-secret'",
            "CREATE ROLE watchers",
            "GRANT SELECT ON `canary`.* TO 'bystander'@'%%'",
        ):
            self.say(sql.replace("%%", "%"))
        self._grants = {
            table: self._rows(f"SELECT * FROM mysql.{table}")
            for table in GRANT_TABLES[self.server.flavour]
        }
        self._make_canaries()
        self.make_site()
        self.clean = self.read.fingerprint()
        self._globals = dict(self._rows("SHOW GLOBAL VARIABLES"))
        self.secrets = [SECRET, *self._hashes()]

    def close(self) -> None:
        """Ends root's connection."""
        if self.root.open:
            self.root.close()

    def is_alive(self) -> bool:
        """Whether the server still answers root."""
        try:
            self.root.ping()
        except pymysql.MySQLError:
            try:
                self.root = self._connect("root", "")
            except pymysql.MySQLError:
                return False
            self.read = Reader(self.root, self.server.flavour, self.outside)
        return True

    # --- connections ----------------------------------------------------------

    def _connect(
        self, user: str, password: str, database: str | None = None
    ) -> "pymysql.Connection[Any]":
        return pymysql.connect(
            host="127.0.0.1",
            port=self.server.port,
            user=user,
            password=password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            read_timeout=20,
        )

    def site(self) -> "pymysql.Connection[Any]":
        """A connection of the site's own account."""
        return self._connect(SITE_USER, SITE_PASSWORD, NAME)

    def say(self, sql: str | bytes) -> tuple[tuple[Any, ...], ...]:
        """Runs one statement as root."""
        with self.root.cursor() as cursor:
            cursor.execute(sql)
            return tuple(cursor.fetchall())

    def say_all(self, text: str) -> None:
        """Runs statements that are parted by lines, as root."""
        for statement in text.strip().split("\n\n"):
            self.say(statement)

    def _rows(self, sql: str) -> tuple[tuple[Any, ...], ...]:
        return self.say(sql)

    def service_rights(self) -> list[str]:
        """What the service's own accounts may do beyond the site's schemas: should be nothing."""
        found = []
        accounts = self._rows(
            f"SELECT user, host FROM mysql.user WHERE user LIKE '{SERVICE_ACCOUNTS[:-1]}\\_%'"
        )
        for user, host in accounts:
            for (grant,) in self._rows(f"SHOW GRANTS FOR '{user}'@'{host}'"):
                rights, _, on = grant.partition(" ON ")
                pattern, _, what = on.partition(" TO ")[0].partition(".")
                pattern = pattern.strip("`")
                usage = rights == "GRANT USAGE" and "GRANT OPTION" not in grant
                plain = pattern.replace("\\", "")
                # In a right on a whole schema, an underscore that is not escaped is any character.
                wild = plain.count("_") + plain.count("%") - pattern.count("\\")
                sure = what != "*" or wild == 0
                if not usage and not (is_the_sites(plain) and sure):
                    found.append(f"{user} holds {grant[:120]}")
        return found

    def leaks(self) -> list[str]:
        """Secrets that the site's account can read in its schema."""
        found = []
        with closing(self.site()) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW FULL TABLES")
            for table, *_ in cursor.fetchall():
                with suppress(pymysql.MySQLError, UnicodeDecodeError):
                    cursor.execute(f"SELECT * FROM `{table.replace('`', '``')}` LIMIT 1000")
                    rows = repr(cursor.fetchall())
                    found += [f"{table} shows a secret" for it in self.secrets if it in rows]
        return found

    def activate(self) -> None:
        """Runs all code the site holds, as its own account would; waits for its events."""
        with closing(self.site()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT routine_type, routine_name, (SELECT COUNT(*) FROM"
                " information_schema.parameters p WHERE p.specific_schema = routine_schema"
                " AND p.specific_name = r.specific_name AND ordinal_position > 0)"
                f" FROM information_schema.routines r WHERE routine_schema = '{NAME}'"
            )
            for kind, name, count in cursor.fetchall():
                call = "CALL" if kind == "PROCEDURE" else "SELECT"
                arguments = ", ".join(f"@a{number}" for number in range(count))
                self._try(cursor, f"{call} `{NAME}`.`{name.replace('`', '``')}`({arguments})")
            cursor.execute(
                "SELECT DISTINCT event_object_table FROM information_schema.triggers"
                f" WHERE trigger_schema = '{NAME}'"
            )
            for (table,) in cursor.fetchall():
                self._try(cursor, f"INSERT INTO `{table}` (id) VALUES (987654321)")
                self._try(cursor, f"UPDATE `{table}` SET id = 987654322 WHERE id = 987654321")
                self._try(cursor, f"DELETE FROM `{table}` WHERE id = 987654322")
        self._wait_for_events()

    def _wait_for_events(self) -> None:
        due = (
            "SELECT COUNT(*) FROM information_schema.events WHERE event_schema LIKE 'lportal%'"
            " AND status = 'ENABLED' AND last_executed IS NULL"
            " AND COALESCE(execute_at, starts) < NOW() + INTERVAL 2 SECOND"
        )
        end = time.monotonic() + 3
        while self.say(due)[0][0] and time.monotonic() < end:
            time.sleep(0.1)

    @staticmethod
    def _try(cursor: Any, sql: str) -> None:
        with suppress(pymysql.MySQLError, UnicodeDecodeError):
            cursor.execute(sql)
            while cursor.nextset():
                pass

    def _hashes(self) -> list[str]:
        rows = self._rows("SELECT authentication_string FROM mysql.user WHERE user <> 'root'")
        # (The end of it: the rest of MySQL's are raw bytes.)
        texts = (it.decode(errors="replace") if isinstance(it, bytes) else it for (it,) in rows)
        return [text[-40:] for text in texts if text and len(text) >= 40 and "INVALID" not in text]

    # --- putting it back ------------------------------------------------------

    def make_site(self) -> None:
        """The live site, anew."""
        self._drop_schemas(is_the_sites)
        self.say(f"CREATE DATABASE `{NAME}` CHARACTER SET utf8mb4")
        with closing(self.site()) as connection, connection.cursor() as cursor:
            for statement in SITE.strip().split("\n\n"):
                cursor.execute(statement)

    def _make_canaries(self) -> None:
        for name in ("canary", *OTHERS):
            self.say(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
            self.root.select_db(name)
            self.say_all(CANARY)

    def kill_all(self) -> None:
        """Ends all connections but root's; over one of its own, for other threads."""
        with closing(self._connect("root", "")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id, user FROM information_schema.processlist")
            for number, user in cursor.fetchall():
                if user not in {"root", "event_scheduler", "system user"}:
                    with suppress(pymysql.MySQLError):
                        cursor.execute(f"KILL {number}")

    def rebuild(self) -> None:
        """Puts everything back after an attack got through."""
        self._drop_events(lambda _: True)
        self.kill_all()
        self._drop_schemas(is_the_sites)
        self.rebuild_foreign()
        self.make_site()
        left = differences(self.clean, self.read.fingerprint())
        assert not left, f"the server could not be put back: {left}"

    def rebuild_foreign(self) -> None:
        """Puts back all but the site, and what the service made for itself."""
        self._drop_events(is_the_sites)
        self._drop_schemas(lambda name: name not in SYSTEM and not is_the_sites(name))
        for table, rows in self._grants.items():
            if self.read.foreign_rows(table) == self.clean[f"mysql.{table}"]:
                continue
            whose = "to_user" if table == "role_edges" else "user"
            self.say(f"DELETE FROM mysql.{table} WHERE {whose} NOT LIKE 'lcp\\_%'")
            with self.root.cursor() as cursor:
                for row in rows:
                    marks = ", ".join(["%s"] * len(row))
                    cursor.execute(f"INSERT INTO mysql.{table} VALUES ({marks})", row)
        self.say("FLUSH PRIVILEGES")
        for path in self.outside.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, value in self._rows("SHOW GLOBAL VARIABLES"):
            if self._globals.get(name) != value:
                with suppress(pymysql.MySQLError), self.root.cursor() as cursor:
                    cursor.execute(f"SET GLOBAL `{name}` = %s", (self._globals.get(name),))
        self._make_canaries()

    def _drop_events(self, wanted: Callable[[str], bool]) -> None:
        """They would go on doing what was just put back."""
        for schema, event in self._rows(
            "SELECT event_schema, event_name FROM information_schema.events"
        ):
            if wanted(schema):
                with suppress(pymysql.MySQLError):
                    self.say(f"DROP EVENT IF EXISTS `{schema}`.`{event.replace('`', '``')}`")

    def _drop_schemas(self, wanted: Callable[[str], bool]) -> None:
        for name in self.read.schemas():
            if not wanted(name):
                continue
            quoted = "`" + name.replace("`", "``") + "`"
            if self.mysql:
                self.say(f"ALTER DATABASE {quoted} READ ONLY = 0")
            try:
                self.say(f"DROP DATABASE {quoted}")
            except pymysql.MySQLError:
                # What a test put into the folder.
                for stray in (self.data / name).glob("stray*"):
                    stray.unlink()
                self.say(f"DROP DATABASE IF EXISTS {quoted}")


class Worlds:
    """Starts a server when it is first asked for, and another when it has crashed."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._open: dict[Flavour, World] = {}
        self._running = ExitStack()

    def of(self, flavour: Flavour) -> World:
        """The server of this kind, alive."""
        world = self._open.get(flavour)
        if world is None or not world.is_alive():
            folder = self._folders.mktemp(f"rds-{flavour}")
            server, outside = self._running.enter_context(rds_like(flavour, folder))
            world = self._open[flavour] = World(server, folder / "data", outside)
            self._running.callback(world.close)
        return world

    def close(self) -> None:
        """Stops them all."""
        self._running.close()
