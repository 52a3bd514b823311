"""The accounts by which the server contains what comes out of an archive.

*Loader*: executes a dump's statements. It has rights on the staging schema and on nothing else, a
new random password for every restore, and is dropped afterwards. *Owner*: the definer of the site's
views, triggers, routines and events. It has rights on the site's schema and on nothing else, and is
locked but for the moment in which a restore creates these; a locked definer is as good as another
(https://dev.mysql.com/doc/refman/8.4/en/account-locking.html; tried on MariaDB, events too).

Both are made by the master user, or named in the settings where it may not make accounts. What an
account may do is read back from the server before anything is sent as it: nothing is ever sent as
the master user instead.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

import pymysql
from pydantic import SecretStr
from pymysql.constants import ER

from lcp_backup.database.endpoint import Connection, DatabaseEndpoint, connect
from lcp_backup.database.grants import RIGHTS, check_rights, missing_rights
from lcp_backup.database.sql import describe, execute, is_lost, numbered, quote, text
from lcp_backup.errors import AccountRefused, DatabaseUnreachable

_HOST: Final = "%"
_PASSWORD_SIGNS: Final = "Aa1-"  # noqa: S105 -- a password begins so
"""Letters of both cases, a digit and a sign: a server may have a policy for passwords."""
_MOST_OWNERS: Final = 3
_REFERENCED: Final = 4006  # ER_CANNOT_USER_REFERENCED_AS_DEFINER, MySQL 8.0.22
_UNKNOWN_VARIABLE: Final = 1193


@dataclass(frozen=True)
class Login:
    """An account that an operator made and named in the settings."""

    user: str
    password: SecretStr


@dataclass(frozen=True)
class Accounts:
    """The accounts of the settings; what is None the service makes for itself."""

    loader: Login | None = None
    """LCP_LOADER_USER_NAME."""
    site: Login | None = None
    """LCP_SITE_USER_NAME: owns the stored code in the owner's place."""


def loader_name(schema: str) -> str:
    """The account that loads into this schema's staging schema."""
    return f"lcp_loader_{_mark(schema)}"


def owner_name(schema: str, number: int = 0) -> str:
    """An account that owns this schema's stored code: the first, or one that takes its place."""
    return f"lcp_owner_{_mark(schema)}" + (f"_{number}" if number else "")


def idle_owner(control: Connection, schema: str) -> str:
    """The first owner as whom no event of the schema runs.

    An event could change its own account's password, or end its connections, while a restore needs
    them.
    """
    rows = execute(
        control,
        "SELECT DISTINCT definer FROM information_schema.events"
        " WHERE event_schema = %s AND status = 'ENABLED'",
        schema,
    )
    busy = {text(definer).partition("@")[0] for (definer,) in rows}
    names = [owner_name(schema, number) for number in range(_MOST_OWNERS)]
    return next((name for name in names if name not in busy), names[0])


def _mark(schema: str) -> str:
    # A user name may have 32 characters in MySQL, and a schema's name 64.
    return hashlib.sha256(schema.encode()).hexdigest()[:16]


@contextmanager
def loader(
    control: Connection, live: DatabaseEndpoint, staging: str, given: Login | None
) -> Iterator[DatabaseEndpoint]:
    """Where to connect as the loader, which may work in `staging` alone.

    An account of a killed restore is taken over with a new password, and what it still runs inside
    the server is ended. Leaving the block ends the account's connections and drops it (one that an
    operator gave stays). Raises AccountRefused, DatabaseUnreachable.
    """
    if given is not None:
        yield _given_loader(live, given, staging)
        return
    endpoint = _made(control, live, loader_name(live.name), staging, _random_password())
    try:
        _check_loader(endpoint, staging)
        yield endpoint
    finally:
        # A master connection that is gone leaves this to the next restore.
        with suppress(pymysql.MySQLError, DatabaseUnreachable):
            _end_connections(endpoint)
        with suppress(pymysql.MySQLError):
            _retire(control, endpoint.user)


def make_lasting_loader(
    control: Connection, live: DatabaseEndpoint, staging: str, given: Login | None, run_id: str
) -> DatabaseEndpoint:
    """As `loader`, for several processes of one run, each of which finds it by `lasting_loader`.

    It stays until `loader` takes it over, with a password that none of them has, or `put_away`
    drops it.
    """
    if given is not None:
        return _given_loader(live, given, staging)
    endpoint = lasting_loader(live, None, run_id)
    password = endpoint.password.get_secret_value()
    endpoint = _made(control, live, endpoint.user, staging, password)
    _check_loader(endpoint, staging)
    return endpoint


def lasting_loader(live: DatabaseEndpoint, given: Login | None, run_id: str) -> DatabaseEndpoint:
    """Where a process of this run connects as the loader that `make_lasting_loader` made.

    Its password comes of the master user's and the run's id, so that it lies nowhere.
    """
    if given is not None:
        return _given(live, given, "LCP_LOADER_USER_NAME")
    secret = live.password.get_secret_value().encode()
    of_run = hmac.digest(secret, f"loader of {live.name} in {run_id}".encode(), "sha256")
    password = SecretStr(_PASSWORD_SIGNS + of_run.hex())
    return replace(live, user=loader_name(live.name), password=password)


@contextmanager
def owner(
    control: Connection, live: DatabaseEndpoint, given: Login | None, name: str
) -> Iterator[DatabaseEndpoint]:
    """Where to connect as the owner of the stored code of the schema `live.name`.

    `name` is the account's, as `idle_owner` says, where the service makes it. Leaving the block
    locks the account (one that an operator gave stays as it is). Raises AccountRefused,
    DatabaseUnreachable.
    """
    if given is not None:
        endpoint = _given(live, given, "LCP_SITE_USER_NAME")
        check_rights(endpoint, f"LCP_SITE_USER_NAME, {given.user!r},", only=None)
        yield endpoint
        return
    endpoint = _made(control, live, name, live.name, _random_password())
    try:
        check_rights(endpoint, f"the owner {endpoint.user!r}", only={live.name})
        yield endpoint
    finally:
        with suppress(pymysql.MySQLError):
            execute(control, f"ALTER USER {_account(endpoint.user)} ACCOUNT LOCK")


def check_lasting_loader(endpoint: DatabaseEndpoint, staging: str) -> None:
    """Makes sure that it may still work in `staging` alone; as `loader`, for each of the processes.

    Raises AccountRefused, DatabaseUnreachable.
    """
    check_rights(endpoint, f"the loader {endpoint.user!r}", only={staging})


def put_away(control: Connection, live: DatabaseEndpoint, given: Login | None) -> None:
    """Drops the loader and locks the owner that a killed restore left.

    Whatever the loader (`given`, if an operator made it) still runs inside the server is ended:
    nothing can be dropped that a transaction holds.
    """
    for number in range(_MOST_OWNERS):
        with suppress(pymysql.MySQLError):
            execute(control, f"ALTER USER {_account(owner_name(live.name, number))} ACCOUNT LOCK")
    name = loader_name(live.name)
    with suppress(pymysql.MySQLError, DatabaseUnreachable, AccountRefused):
        if given is not None:
            _end_connections(_given(live, given, "LCP_LOADER_USER_NAME"))
        elif _taken_over(control, _account(name), password := _random_password()):
            _end_connections(replace(live, user=name, password=SecretStr(password)))
    with suppress(pymysql.MySQLError):
        _retire(control, name)


def kill(endpoint: DatabaseEndpoint, thread_id: int) -> None:
    """Ends a connection of the endpoint's own account; one that ended by itself is as good.

    Only an account itself may end its connections: RDS gives nobody the right to end others'.
    """
    with (
        suppress(pymysql.MySQLError, DatabaseUnreachable),
        closing(connect(endpoint, database=None)) as connection,
    ):
        execute(connection, f"KILL {thread_id}")


def _given(live: DatabaseEndpoint, given: Login, variable: str) -> DatabaseEndpoint:
    if given.user == live.user:
        raise AccountRefused(
            f"{variable} names the master user: what a backup holds is never executed as that one;"
            " name an account that has rights on the site's schema only"
        )
    return replace(live, user=given.user, password=given.password)


def _given_loader(live: DatabaseEndpoint, given: Login, staging: str) -> DatabaseEndpoint:
    endpoint = _given(live, given, "LCP_LOADER_USER_NAME")
    check_rights(endpoint, f"LCP_LOADER_USER_NAME, {given.user!r},", only={staging})
    _end_connections(endpoint)
    return endpoint


def _check_loader(endpoint: DatabaseEndpoint, staging: str) -> None:
    """Makes sure that it may work in `staging` alone, and is the only one that is at work as it."""
    check_rights(endpoint, f"the loader {endpoint.user!r}", only={staging})
    _end_connections(endpoint)


def _random_password() -> str:
    return _PASSWORD_SIGNS + secrets.token_urlsafe(32)


def _made(
    control: Connection, live: DatabaseEndpoint, name: str, schema: str, password: str
) -> DatabaseEndpoint:
    """An account with this password and rights on one schema, which need not exist."""
    account = _account(name)
    try:
        # MySQL refuses CREATE USER IF NOT EXISTS for one that exists and is a definer (4006).
        if not _taken_over(control, account, password):
            execute(control, f"CREATE USER {account} IDENTIFIED BY '{password}'")
        execute(
            control,
            f"GRANT {', '.join(RIGHTS)} ON {_pattern(control, schema)}.* TO {account}",
        )
    except pymysql.MySQLError as error:
        if is_lost(error):
            raise
        raise _cannot_be_made(control, live, error) from None
    return replace(live, user=name, password=SecretStr(password))


def _taken_over(control: Connection, account: str, password: str) -> bool:
    """Whether there was such an account; it has this password now, and is not locked."""
    try:
        execute(control, f"ALTER USER {account} IDENTIFIED BY '{password}' ACCOUNT UNLOCK")
    except pymysql.MySQLError as error:
        if error.args[0] != ER.CANNOT_USER:
            raise
        return False
    return True


def _cannot_be_made(
    control: Connection, live: DatabaseEndpoint, error: pymysql.MySQLError
) -> AccountRefused:
    missing = missing_rights(control)
    sentence = (
        "a restore needs database accounts of its own, so that nothing of a backup is executed as"
        " the master user, and {user} may not make them: {why}; or make the accounts and name them"
        " in LCP_LOADER_USER_NAME and LCP_SITE_USER_NAME"
    )
    lacks = f"it lacks {', '.join(missing)} on *.* WITH GRANT OPTION. Grant that"
    return AccountRefused(
        sentence.format(user=repr(live.user), why=lacks if missing else describe(error)),
        public=sentence.format(user="that one", why=lacks if missing else numbered(error)),
    )


def _end_connections(endpoint: DatabaseEndpoint) -> None:
    """Ends all connections of the account but the one that does it."""
    with closing(connect(endpoint, database=None)) as connection:
        own = int(connection.thread_id())  # type: ignore[no-untyped-call]  # stub
        # What they have sent is listed, too, and need be no text.
        execute(connection, "SET SESSION character_set_results = binary")
        for row in execute(connection, "SHOW PROCESSLIST"):
            if row[0] != own and text(row[1]) == endpoint.user:
                with suppress(pymysql.MySQLError):  # it ended by itself
                    execute(connection, f"KILL {row[0]}")


def _retire(control: Connection, name: str) -> None:
    """Drops an account; where something still names it as its definer, it is locked for good."""
    try:
        execute(control, f"DROP USER IF EXISTS {_account(name)}")
    except pymysql.MySQLError as error:
        if error.args[0] != _REFERENCED:
            raise
        execute(control, f"ALTER USER {_account(name)} ACCOUNT LOCK")


def _account(name: str) -> str:
    return f"'{name}'@'{_HOST}'"


def _pattern(control: Connection, schema: str) -> str:
    r"""A schema's name as GRANT wants it, where `_` and `%` stand for other characters, too.

    MySQL with `partial_revokes` takes them, and a backslash before them, as they are (tried: 9.7).
    """
    try:
        ((literal,),) = execute(control, "SELECT @@partial_revokes")
    except pymysql.MySQLError as error:
        if error.args[0] != _UNKNOWN_VARIABLE:
            raise
        literal = 0
    if literal:
        return quote(schema)
    return quote(schema.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
