"""Foreign keys that a restore would break, or could not bring back, as the server tells them."""

from collections.abc import Collection

from lcp_backup.database.endpoint import Connection
from lcp_backup.database.sql import execute, text


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
