"""Foreign keys that a restore would break, or could not bring back, as the server tells them."""

from collections.abc import Collection

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint
from lcp_backup.database.sql import execute, text
from lcp_backup.errors import InvalidRequest, LoadFailed


def referring_tables(control: Connection, schema: str, tables: Collection[str]) -> dict[str, str]:
    """Which other tables have foreign keys to these, each with one that it points to."""
    rows = execute(
        control,
        "SELECT DISTINCT table_name, referenced_table_name FROM information_schema.key_column_usage"
        " WHERE referenced_table_schema = %s AND referenced_table_name IN %s"
        " AND NOT (table_schema = %s AND table_name IN %s)",
        schema,
        list(tables),
        schema,
        list(tables),
    )
    return {str(child): str(parent) for child, parent in rows}


def keys_from_elsewhere(connection: Connection, schema: str) -> list[str]:
    """The foreign keys of other schemas that point to this one, as `schema.table.key`.

    (Not of schemas that this service made beside it.)
    """
    rows = execute(
        connection,
        "SELECT DISTINCT table_schema, table_name, constraint_name"
        " FROM information_schema.key_column_usage"
        " WHERE referenced_table_schema = %s AND table_schema <> %s ORDER BY 1, 2, 3",
        schema,
        schema,
    )
    keys = [tuple(map(text, row)) for row in rows]
    return [".".join(key) for key in keys if not key[0].startswith(f"{schema}_lcp_")]


def dangling_keys(connection: Connection, schema: str) -> list[tuple[str, str]]:
    """The tables of a schema that have foreign keys to tables that do not exist, with those."""
    rows = execute(
        connection,
        "SELECT DISTINCT table_name, referenced_table_name"
        " FROM information_schema.key_column_usage k"
        " WHERE table_schema = %s AND referenced_table_name IS NOT NULL AND NOT EXISTS (SELECT 1"
        " FROM information_schema.tables t WHERE t.table_schema = k.referenced_table_schema"
        " AND t.table_name = k.referenced_table_name)",
        schema,
    )
    return [(text(table), text(other)) for table, other in rows]


def check_ties(control: Connection, staging: str) -> None:
    """A foreign key to a table that does not come along would point to staging for ever.

    Raises LoadFailed.
    """
    for table, other in dangling_keys(control, staging):
        raise dangling_key(table, other)


def dangling_key(table: str, other: str) -> LoadFailed:
    """The error that refuses a dump for a key to a table that it does not hold."""
    reason = (
        f"table {table!r} has a foreign key to {other!r}, which the dump does not hold: dump that"
        " table too, or drop the key before the dump is made"
    )
    return LoadFailed(reason, public=reason)


def check_ties_of_live(
    control: Connection, endpoint: DatabaseEndpoint, tables: Collection[str]
) -> None:
    """A live foreign key follows the table it points to out of the schema: so none may.

    Raises InvalidRequest.
    """
    tied = referring_tables(control, endpoint.name, tables)
    if tied:
        raise InvalidRequest(
            f"live tables that are not restored have foreign keys to {', '.join(tied.values())}:"
            f" name {', '.join(tied)} as well, or restore into another database"
        )


def check_ties_from_elsewhere(control: Connection, endpoint: DatabaseEndpoint) -> None:
    """Those of others would follow the old tables out of the schema, and point to nothing.

    Raises InvalidRequest.
    """
    keys = keys_from_elsewhere(control, endpoint.name)
    if keys:
        raise InvalidRequest(
            f"foreign keys of other schemas point to the live tables: {', '.join(keys[:5])}: drop"
            " them, restore, and add them again; or restore into another database"
        )
