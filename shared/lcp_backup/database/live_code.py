"""The live schema's own triggers and views, read so that they can be created again."""

from collections.abc import Collection
from dataclasses import replace

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, Server, ask_server
from lcp_backup.database.journal import StoredCode
from lcp_backup.database.policy import Policy
from lcp_backup.database.rulings import StatementKind
from lcp_backup.database.sql import execute, folds_case, quote, text, working
from lcp_backup.errors import ArchiveRefused


def live_triggers(
    control: Connection, endpoint: DatabaseEndpoint, tables: Collection[str] | None
) -> list[StoredCode]:
    """The live schema's triggers, in the order in which they have to be created again.

    Without their definers: put back, they belong to the owner.
    """
    with working(endpoint, endpoint.name) as connection:
        names = [
            str(name)
            for name, table in execute(
                connection,
                "SELECT trigger_name, event_object_table FROM information_schema.triggers"
                " WHERE trigger_schema = %s"
                " ORDER BY event_object_table, event_manipulation, action_timing, action_order",
                endpoint.name,
            )
            if tables is None or table in tables
        ]
        server = ask_server(control)
        # As mysqldump does: the definition comes in the bytes in which it was written.
        execute(connection, "SET character_set_results = binary")
        found = []
        for name in names:
            row = execute(connection, f"SHOW CREATE TRIGGER {quote(name)}")[0]
            _, sql_mode, statement, character_set, collation, schema_collation, *_ = row
            code = StoredCode(
                kind=StatementKind.TRIGGER,
                name=name,
                statement=b"",
                character_set=text(character_set),
                collation=text(collation),
                sql_mode=text(sql_mode),
                time_zone="SYSTEM",
                schema_collation=text(schema_collation),
            )
            try:
                written = _judged(statement, endpoint.name, server)
            except ArchiveRefused:
                written = _composed(control, endpoint.name, name)
                code = replace(code, character_set="utf8mb4", collation="utf8mb4_bin")
            found.append(replace(code, statement=written))
        return found


def live_views(
    control: Connection, endpoint: DatabaseEndpoint, tables: Collection[str]
) -> list[StoredCode]:
    """The live schema's views named like one of these tables; else as `live_triggers`."""
    with working(endpoint, endpoint.name) as connection:
        fold = str.lower if folds_case(connection) else str
        wanted = {fold(table) for table in tables}
        names = [
            str(name)
            for (name,) in execute(
                connection,
                "SELECT table_name FROM information_schema.views WHERE table_schema = %s",
                endpoint.name,
            )
            if fold(str(name)) in wanted
        ]
        server = ask_server(control)
        ((schema_collation,),) = execute(connection, "SELECT @@collation_database")
        found = []
        for name in names:
            row = execute(connection, f"SHOW CREATE VIEW {quote(name)}")[0]
            _, statement, character_set, collation, *_ = row
            found.append(
                StoredCode(
                    kind=StatementKind.VIEW,
                    name=name,
                    statement=_judged(statement, endpoint.name, server),
                    character_set="utf8mb4",
                    collation=text(collation) if character_set == "utf8mb4" else "utf8mb4_bin",
                    sql_mode="",
                    time_zone="SYSTEM",
                    schema_collation=text(schema_collation),
                )
            )
        return found


def _judged(statement: object, schema: str, server: Server) -> bytes:
    """A live definition without its definer; raises ArchiveRefused for one in an odd mode."""
    written = statement if isinstance(statement, bytes) else text(statement).encode()
    return Policy(schema, uploaded=False, server=server).judge(_Live(written)).sql


def _composed(control: Connection, schema: str, name: str) -> bytes:
    """A trigger by what the server says of it, when its own text is written in an odd mode."""
    ((timing, event, table, body),) = execute(
        control,
        "SELECT action_timing, event_manipulation, event_object_table, action_statement"
        " FROM information_schema.triggers WHERE trigger_schema = %s AND trigger_name = %s",
        schema,
        name,
    )
    head = f"CREATE TRIGGER {quote(name)} {timing} {event} ON {quote(str(table))} FOR EACH ROW "
    return f"{head}{text(body)}".encode()


class _Live:
    """A live definition, as the policy judges statements."""

    where = "its own definition"

    def __init__(self, statement: bytes) -> None:
        self.text = statement
