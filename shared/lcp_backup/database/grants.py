"""What the server says that an account may do, and what the service's accounts need."""

import re
from collections.abc import Collection
from contextlib import closing
from typing import Final

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, connect
from lcp_backup.database.sql import execute, quote, text
from lcp_backup.errors import AccountRefused

RIGHTS: Final = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER",
    "CREATE TEMPORARY TABLES", "LOCK TABLES", "EXECUTE", "CREATE VIEW", "SHOW VIEW",
    "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER",
)  # fmt: skip
"""On one schema; all of them are among those that RDS and Aurora give their master user.

Source: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.MasterAccounts.html
"""
_MASTER_RIGHTS: Final = (*RIGHTS, "CREATE USER")
"""What the master user needs on all schemas, with GRANT OPTION, to make both accounts."""

_SHOWS_ROUTINES: Final = frozenset(
    {"EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "SHOW CREATE ROUTINE", "SHOW_ROUTINE"}
)
"""One of these shows that there is a routine. So does SELECT on all schemas."""

_GRANT: Final = re.compile(
    r"GRANT (?P<rights>.+?) ON (?:(?:TABLE|FUNCTION|PROCEDURE|PACKAGE(?: BODY)?) )?(?P<on>.+) TO "
)


def missing_rights(control: Connection) -> list[str]:
    """What the connection's account would need to make the others, and may not do."""
    held = _rights_everywhere(control)
    return [right for right in _MASTER_RIGHTS if right not in held]


def check_rights(endpoint: DatabaseEndpoint, whose: str, *, only: Collection[str] | None) -> None:
    """Makes sure of what the server says that an account may do.

    Args:
        whose: how the account is called in an error.
        only: the schemas it may have rights on; None: any, but not all of them, nor the server's.

    Raises AccountRefused, DatabaseUnreachable.
    """
    with closing(connect(endpoint, database=None)) as connection:
        ((user,),) = execute(connection, "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)")
        # In a mode of its own (ANSI_QUOTES), a server would quote names otherwise.
        execute(connection, "SET SESSION sql_mode = ''")
        grants = [text(said) for (said,) in execute(connection, "SHOW GRANTS")]
    if text(user) != endpoint.user:
        raise AccountRefused(
            f"{whose} was logged in as {text(user)!r}: another account of the server, one without"
            " a name perhaps, stands in its way; drop that"
        )
    there: set[str] = set()
    for grant in grants:
        found = _GRANT.match(grant)
        if found is None:
            raise AccountRefused(
                f"{whose} has a role, and what that may do is not known here: {grant[:200]!r}."
                " Revoke the role, or name another account"
            )
        if found["rights"] == "USAGE":
            continue
        schema = _schema_of(found["on"])
        if schema is None or schema.lower() in {"mysql", "sys", "performance_schema"}:
            raise AccountRefused(
                f"{whose} may do more than a restore lets it: {found['rights']} ON {found['on']}."
                " Revoke that, or name another account"
            )
        there.add(schema)
        if only is not None and schema not in only:
            raise AccountRefused(
                f"{whose} has rights on the schema {schema!r} and must have them on"
                f" {', '.join(map(repr, only))} only: revoke them"
            )
    if only is not None and not there:
        raise AccountRefused(
            f"{whose} has no rights on {', '.join(map(repr, only))}: GRANT {', '.join(RIGHTS)} ON"
            f" {quote(next(iter(only)))}.* TO it"
        )


def unseen(connection: Connection, schema: str) -> dict[str, str]:
    """What of a schema the connection's account may not see all of, and the right to do so.

    Servers leave it out of their answers, without an error. (Without SHOW VIEW or EVENT they refuse
    the answer.) To be asked over a session that quotes names with backticks.
    """
    held: set[str] = set()
    for (said,) in execute(connection, "SHOW GRANTS"):
        # (Those of roles that are active come with it.)
        found = _GRANT.match(text(said))
        if found is None or not _covers(found["on"], schema):
            continue
        rights = {right.strip() for right in found["rights"].split(",")}
        held |= set(RIGHTS) if "ALL PRIVILEGES" in rights else rights
        if found["on"] == "*.*" and "SELECT" in rights:
            held |= _SHOWS_ROUTINES
    return {
        what: right
        for what, right, enough in (
            ("tables", "SELECT", {"SELECT"}),
            ("triggers", "TRIGGER", {"TRIGGER"}),
            ("routines", "EXECUTE", _SHOWS_ROUTINES),
        )
        if not held & enough
    }


def _covers(on: str, schema: str) -> bool:
    """Whether a grant's `ON` clause is about all that the schema holds."""
    if on == "*.*":
        return True
    named = re.fullmatch(r"`((?:[^`]|``)+)`\.\*", on)
    if named is None:
        return False
    signs = re.findall(r"\\.|.", named[1].replace("``", "`"), re.DOTALL)
    wild = {"%": ".*", "_": "."}
    pattern = "".join(wild.get(sign) or re.escape(sign[-1]) for sign in signs)
    return re.fullmatch(pattern, schema, re.DOTALL | re.IGNORECASE) is not None


def _rights_everywhere(control: Connection) -> frozenset[str]:
    """What the connection's account may do on all schemas, as far as it may pass it on."""
    held: set[str] = set()
    for (said,) in execute(control, "SHOW GRANTS"):
        grant = text(said)
        found = _GRANT.match(grant)
        if found is None or found["on"] != "*.*" or "WITH GRANT OPTION" not in grant:
            continue
        rights = {right.strip() for right in found["rights"].split(",")}
        held |= set(_MASTER_RIGHTS) if "ALL PRIVILEGES" in rights else rights
    return frozenset(held)


def _schema_of(on: str) -> str | None:
    """The schema of a grant's `ON` clause; None when it is for all, or for more than one."""
    if on.startswith("*"):
        return None
    named = re.match(r"`((?:[^`]|``)+)`|([^.]+)", on)
    if named is None:
        return None
    pattern = (named[1] or named[2]).replace("``", "`")
    if re.search(r"(?<!\\)%", pattern):
        return None
    return pattern.replace("\\_", "_").replace("\\%", "%")
