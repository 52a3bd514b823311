"""What a server holds, read as root from its own tables, as facts that can be compared."""

from pathlib import Path
from typing import Any, Final

import pymysql

from lcp_backup.database.endpoint import Flavour

NAME: Final = "lportal"
"""The site's schema."""
SERVICE_ACCOUNTS: Final = "lcp_"
"""How the names of the service's own accounts begin."""
SYSTEM: Final = frozenset({"mysql", "sys", "information_schema", "performance_schema"})
GRANT_TABLES: Final = {
    Flavour.MARIADB: (
        "global_priv", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv",
        "roles_mapping",
    ),
    Flavour.MYSQL: (
        "user", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv", "role_edges",
        "default_roles", "global_grants", "password_history",
    ),
}  # fmt: skip
"""Where each kind of server keeps accounts and rights."""
_LOADED: Final = ("servers", "func", "plugin")
_WHOSE: Final = frozenset({"user", "to_user", "from_user", "role"})
_OF_THE_CLOCK: Final = frozenset({"timestamp", "password_timestamp"})
_VOLATILE: Final = ("gtid", "timestamp", "innodb_buffer_pool", "last_", "innodb_version", "pseudo")
_CODE_COLUMNS: Final = {
    "triggers": (
        "trigger_schema",
        (
            "trigger_name, event_manipulation, event_object_schema, event_object_table,"
            " action_statement, action_timing, sql_mode"
        ),
    ),
    "routines": (
        "routine_schema",
        (
            "routine_name, routine_type, dtd_identifier, routine_definition, is_deterministic,"
            " sql_data_access, security_type, sql_mode"
        ),
    ),
    "events": (
        "event_schema",
        (
            "event_name, event_definition, event_type, execute_at, interval_value, interval_field,"
            " sql_mode, starts, ends, status, on_completion"
        ),
    ),
    "views": ("table_schema", "table_name, view_definition, check_option, security_type"),
}

type Fingerprint = dict[str, tuple[object, ...]]


def differences(before: Fingerprint, after: Fingerprint) -> list[str]:
    """The facts that are missing, new or not the same, each with a word on how."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was != now:
            gone = sorted(map(repr, set(was or ()) - set(now or ())))
            new = sorted(map(repr, set(now or ()) - set(was or ())))
            found.append(f"{name} changed: gone {str(gone)[:300]}, new {str(new)[:300]}")
    return found


def is_the_sites(name: str) -> bool:
    """Whether a schema is the site's, or one that the service made beside it."""
    return name == NAME or name.startswith(f"{NAME}_lcp_")


class Reader:
    """Reads a server over root's connection."""

    def __init__(self, root: "pymysql.Connection[Any]", flavour: Flavour, outside: Path) -> None:
        self._root = root
        self._tables = GRANT_TABLES[flavour]
        self._outside = outside

    def rows(self, sql: str) -> tuple[tuple[Any, ...], ...]:
        """The rows of one query."""
        with self._root.cursor() as cursor:
            cursor.execute(sql)
            return tuple(cursor.fetchall())

    def fingerprint(self) -> Fingerprint:
        """Everything that is not the site's."""
        found: Fingerprint = {}
        for table in (*self._tables, *_LOADED):
            found[f"mysql.{table}"] = self.foreign_rows(table)
        schemas = self.schemas()
        others = [name for name in schemas if not is_the_sites(name)]
        found["schemas"] = tuple(others)
        for name in others:
            if name not in SYSTEM:
                found |= self.schema(name)
        found["global variables"] = tuple(
            (name, value)
            for name, value in self.rows("SHOW GLOBAL VARIABLES")
            if not any(volatile in name for volatile in _VOLATILE)
        )
        found["files outside"] = tuple(
            sorted(str(path.relative_to(self._outside)) for path in self._outside.rglob("*"))
        )
        return found

    def schema(self, name: str, *, definers: bool = True) -> Fingerprint:
        """All of one schema: tables with rows, views, triggers, routines, events."""
        found: Fingerprint = {
            name: self.rows(
                "SELECT default_character_set_name, default_collation_name"
                f" FROM information_schema.schemata WHERE schema_name = '{name}'"
            )
        }
        for table, kind in self.rows(
            "SELECT table_name, table_type FROM information_schema.tables"
            f" WHERE table_schema = '{name}'"
        ):
            if "VIEW" not in kind:
                quoted = f"`{name}`.`{table.replace('`', '``')}`"
                definition = self.rows(f"SHOW CREATE TABLE {quoted}")[0][1]
                rows = sorted(map(repr, self.rows(f"SELECT * FROM {quoted}")))
                found[f"{name}.{table}"] = (definition, *rows)
        for what, (schema_column, columns) in _CODE_COLUMNS.items():
            wanted = f"{columns}, definer" if definers else columns
            found[f"{name}'s {what}"] = tuple(
                sorted(
                    self.rows(
                        f"SELECT {wanted} FROM information_schema.{what}"
                        f" WHERE {schema_column} = '{name}'"
                    ),
                    key=repr,
                )
            )
        return found

    def live(self) -> Fingerprint:
        """The site as it is, but for who defined its stored code."""
        return self.schema(NAME, definers=False)

    def site_schemas(self) -> Fingerprint:
        """The live site, and what a restore may have left beside it."""
        found: Fingerprint = {}
        for name in self.schemas():
            if is_the_sites(name):
                found |= self.schema(name, definers=False)
        return found

    def foreign_rows(self, table: str) -> tuple[object, ...]:
        """A table of the server's own, without what is about the service's accounts."""
        with self._root.cursor() as cursor:
            cursor.execute(f"SELECT * FROM mysql.{table}")
            names = [column[0].lower() for column in cursor.description or ()]
            rows = cursor.fetchall()
        kept = [
            tuple(
                value for name, value in zip(names, row, strict=True) if name not in _OF_THE_CLOCK
            )
            for row in rows
            if not any(
                name in _WHOSE and str(value).startswith(SERVICE_ACCOUNTS)
                for name, value in zip(names, row, strict=True)
            )
        ]
        return tuple(sorted(map(repr, kept)))

    def schemas(self) -> list[str]:
        rows = self.rows("SELECT schema_name FROM information_schema.schemata ORDER BY 1")
        return [str(name) for (name,) in rows]
