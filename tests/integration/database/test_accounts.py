"""Who executes what of a dump, and who owns what comes of it, on real servers with RDS's rights."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pymysql
import pytest
from pydantic import SecretStr

from lcp_backup.database import accounts, staged_schema
from lcp_backup.database.accounts import Accounts, Login, loader_name, owner_name
from lcp_backup.database.endpoint import DatabaseEndpoint, Flavour, connect
from lcp_backup.database.sql import execute
from lcp_backup.database.staged_schema import Loaded, StagedDatabase, StreamedDump
from lcp_backup.errors import AccountRefused, DatabaseUnreachable, InvalidRequest, LoadFailed
from local.mariadb import RDS_RIGHTS
from tests.support.child_process import in_process
from tests.support.servers import DatabaseServer

_DUMP = b"""
CREATE DATABASE `owned`;
USE `owned`;
CREATE TABLE `t` (`id` int NOT NULL, `x` varchar(20), PRIMARY KEY (`id`), KEY `x` (`x`))
 ENGINE=InnoDB;
INSERT INTO `t` VALUES (1,'a'),(2,'b');
CREATE TABLE `log` (`id` int NOT NULL AUTO_INCREMENT, PRIMARY KEY (`id`)) ENGINE=InnoDB;
/*!50001 CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` SQL SECURITY DEFINER
 VIEW `v` AS select `t`.`id` AS `id` from `t` */;
DELIMITER ;;
CREATE DEFINER=`root`@`localhost` TRIGGER `tr` AFTER INSERT ON `t`
 FOR EACH ROW INSERT INTO log VALUES () ;;
CREATE DEFINER=`root`@`localhost` PROCEDURE `pr`() INSERT INTO log VALUES () ;;
CREATE DEFINER=`root`@`localhost` FUNCTION `fn`() RETURNS int DETERMINISTIC RETURN 1 ;;
CREATE DEFINER=`root`@`localhost` EVENT `ev` ON SCHEDULE EVERY 1 DAY
 STARTS '2020-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE DO INSERT INTO log VALUES () ;;
DELIMITER ;
"""
_MASTER = "accounts_master"
_SITE = "accounts_site"


@pytest.fixture
def master(server: DatabaseServer) -> Iterator[DatabaseEndpoint]:
    """A master user as RDS gives one; nothing of this module's schemas and accounts is there."""

    def drop() -> None:
        for (schema,) in server.execute("SHOW DATABASES"):
            if str(schema).startswith("owned"):
                if server.flavour is Flavour.MYSQL:
                    server.execute(f"ALTER DATABASE `{schema}` READ ONLY = 0")
                server.execute(f"DROP DATABASE `{schema}`")
        owners = [owner_name("owned", number) for number in range(3)]
        for user in (_MASTER, _SITE, loader_name("owned"), *owners, "given"):
            server.execute(f"DROP USER IF EXISTS '{user}'@'%'")

    drop()
    server.execute(f"CREATE USER '{_MASTER}'@'%' IDENTIFIED BY 'm'")
    server.execute(f"GRANT {RDS_RIGHTS} ON *.* TO '{_MASTER}'@'%' WITH GRANT OPTION")
    yield server.endpoint("owned", user=_MASTER, password="m")
    drop()


@pytest.fixture
def site(server: DatabaseServer, master: DatabaseEndpoint) -> DatabaseEndpoint:  # noqa: ARG001
    """The site's own account: all rights on the site's schema, and no others."""
    server.execute("CREATE DATABASE IF NOT EXISTS owned")
    server.execute(f"CREATE USER '{_SITE}'@'%' IDENTIFIED BY 's'")
    server.execute(f"GRANT ALL ON `owned`.* TO '{_SITE}'@'%'")
    return server.endpoint("owned", user=_SITE, password="s")


def stage(
    master: DatabaseEndpoint,
    dump: bytes = _DUMP,
    given: Accounts = Accounts(),  # noqa: B008
) -> StagedDatabase:
    return staged_schema.SchemaLoad(
        master,
        StreamedDump(lambda: [dump]),
        dumped_name="owned",
        connections=2,
        progress=lambda _: None,
        check=lambda: None,
        given=given,
    ).stage()


def restore(master: DatabaseEndpoint, given: Accounts = Accounts()) -> Loaded:  # noqa: B008
    return stage(master, given=given).swap()


def users(server: DatabaseServer) -> set[str]:
    return {str(user) for (user,) in server.execute("SELECT user FROM mysql.user")}


def definers(server: DatabaseServer) -> set[str]:
    return {
        str(definer)
        for (definer,) in server.execute(
            "SELECT definer FROM information_schema.views WHERE table_schema = 'owned'"
            " UNION ALL SELECT definer FROM information_schema.triggers"
            " WHERE trigger_schema = 'owned'"
            " UNION ALL SELECT definer FROM information_schema.routines"
            " WHERE routine_schema = 'owned'"
            " UNION ALL SELECT definer FROM information_schema.events WHERE event_schema = 'owned'"
        )
    }


def schemas(server: DatabaseServer) -> set[str]:
    found = {str(name) for (name,) in server.execute("SHOW DATABASES")}
    return {name for name in found if name.startswith("owned")}


def test_stored_code_belongs_to_a_locked_account_with_rights_on_the_site_only(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    loaded = restore(master)
    owner = owner_name("owned")
    assert definers(server) == {f"{owner}@%"}
    grants = [str(grant) for (grant,) in server.execute(f"SHOW GRANTS FOR '{owner}'@'%'")]
    assert [grant for grant in grants if "USAGE" not in grant and "ON `owned`.*" not in grant] == []
    with pytest.raises(DatabaseUnreachable, match="refused the login"):
        connect(server.endpoint("owned", user=owner, password="x"), database=None)
    assert sorted(loaded.definers) == [
        "event ev: root@localhost",
        "routine fn: root@localhost",
        "routine pr: root@localhost",
        "trigger tr: root@localhost",
        "view v: root@localhost",
    ]


@pytest.mark.parametrize("mode", ["ANSI_QUOTES", "ANSI,NO_BACKSLASH_ESCAPES"])
def test_an_accounts_rights_are_read_whatever_the_servers_own_mode_is(
    server: DatabaseServer, master: DatabaseEndpoint, mode: str
) -> None:
    """In these a server quotes the schema of a grant otherwise, and every restore was refused."""
    ((before,),) = server.execute("SELECT @@GLOBAL.sql_mode")
    server.execute(f"SET GLOBAL sql_mode = '{mode}'")
    try:
        assert restore(master).tables == ("t", "log")
    finally:
        server.execute(f"SET GLOBAL sql_mode = '{before}'")


_OWN_SESSIONS = (
    "autocommit=0",
    "completion_type=2",
    "sql_select_limit=1",
    "max_join_size=1",
    "sql_safe_updates=1",
    "transaction_read_only=1",
)


@pytest.mark.parametrize("given", _OWN_SESSIONS)
def test_a_restore_is_whole_whatever_sessions_the_server_gives(
    server: DatabaseServer, master: DatabaseEndpoint, given: str
) -> None:
    """By a parameter group, or init_connect, which all of the service's accounts get."""
    if server.flavour is Flavour.MARIADB:
        given = given.replace("transaction_read_only", "tx_read_only")
    restore(master)
    server.execute(f"SET GLOBAL init_connect = 'SET SESSION {given}'")
    try:
        assert restore(master).tables == ("t", "log")
    finally:
        server.execute("SET GLOBAL init_connect = ''")
    assert server.execute("SELECT COUNT(*) FROM owned.t") == ((2,),)
    # One for each of: view, trigger, procedure, function, event.
    assert len(definers(server)) == 1
    assert schemas(server) == {"owned"}


def test_what_a_locked_account_owns_still_works(
    master: DatabaseEndpoint, site: DatabaseEndpoint
) -> None:
    restore(master)
    with closing(connect(site, database="owned")) as connection:
        assert execute(connection, "SELECT id FROM v ORDER BY id") == ((1,), (2,))
        execute(connection, "INSERT INTO t VALUES (3, 'c')")
        execute(connection, "CALL pr()")
        assert execute(connection, "SELECT COUNT(*), fn() FROM log") == ((2, 1),)


def test_events_of_an_uploaded_dump_come_back_disabled(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    assert restore(master).disabled == ("ev",)
    ((status,),) = server.execute(
        "SELECT status FROM information_schema.events WHERE event_schema = 'owned'"
    )
    assert status == "DISABLED"


def test_the_loader_is_gone_after_a_restore_and_after_a_failed_one(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    restore(master)
    assert loader_name("owned") not in users(server)
    with pytest.raises(LoadFailed):
        stage(master, _DUMP + b"INSERT INTO `t` VALUES (1,'twice');\n")
    assert loader_name("owned") not in users(server)
    assert schemas(server) == {"owned"}


def test_what_the_loader_still_runs_is_ended_though_it_is_no_text(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    """The server lists what a connection has sent: a hostile dump's bytes, for one."""
    with (
        closing(connect(master, database=None)) as control,
        ThreadPoolExecutor(1) as running,
        accounts.loader(control, master, "owned_lcp_staging", None) as endpoint,
    ):
        connection = connect(endpoint, database=None)
        sleeping = running.submit(connection.query, b"SELECT SLEEP(60) -- \x80")
        while str(server.execute("SHOW GLOBAL STATUS LIKE 'Threads_running'")[0][1]) == "1":
            time.sleep(0.01)
    assert isinstance(sleeping.exception(), pymysql.MySQLError)
    assert loader_name("owned") not in users(server)


def test_the_loader_may_do_nothing_outside_of_the_staging_schema(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    """What the policy lets through by mistake, the server refuses."""
    server.execute("CREATE DATABASE ownedXlcp_staging")
    seen: list[str] = []

    def look() -> None:
        if not seen and loader_name("owned") in users(server):
            seen.extend(
                str(grant)
                for (grant,) in server.execute(f"SHOW GRANTS FOR '{loader_name('owned')}'@'%'")
            )

    staged_schema.SchemaLoad(
        master,
        StreamedDump(lambda: [_DUMP]),
        dumped_name="owned",
        connections=1,
        progress=lambda _: None,
        check=look,
    ).stage().discard()
    assert len(seen) == 2
    assert "USAGE ON *.*" in seen[0]
    assert "ON `owned\\_lcp\\_staging`.*" in seen[1]


def test_a_loader_that_a_killed_restore_left_is_taken_away_by_the_next(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    def die() -> None:
        if loader_name("owned") in users(server):
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        staged_schema.SchemaLoad(
            master,
            StreamedDump(lambda: [_DUMP]),
            dumped_name="owned",
            connections=1,
            progress=lambda _: None,
            check=die,
        ).stage()

    assert in_process(work) == -signal.SIGKILL
    assert loader_name("owned") in users(server)
    staged_schema.recover(master)
    assert loader_name("owned") not in users(server)
    assert schemas(server) == set()
    restore(master)


def test_a_master_that_may_not_make_accounts_is_told_what_it_lacks_and_nothing_is_done(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    # (With INSERT everywhere it could make them by the grant tables' rights.)
    server.execute(f"REVOKE CREATE USER, INSERT ON *.* FROM '{_MASTER}'@'%'")
    with pytest.raises(AccountRefused, match="lacks INSERT, CREATE USER on") as refused:
        stage(master)
    assert "LCP_LOADER_USER_NAME" in str(refused.value)
    assert schemas(server) == set()


def test_a_master_that_may_not_pass_a_right_on_is_told_which(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    server.execute(f"REVOKE EVENT ON *.* FROM '{_MASTER}'@'%'")
    with pytest.raises(AccountRefused, match="lacks EVENT on"):
        stage(master)


def _given(server: DatabaseServer, rights: str, on: str) -> Login:
    server.execute("CREATE USER 'given'@'%' IDENTIFIED BY 'g'")
    server.execute(f"GRANT {rights} ON {on} TO 'given'@'%'")
    return Login("given", SecretStr("g"))


def test_accounts_that_an_operator_made_load_and_own(
    server: DatabaseServer, master: DatabaseEndpoint, site: DatabaseEndpoint
) -> None:
    loader = _given(server, "ALL", r"`owned\_lcp\_staging`.*")
    server.execute(f"REVOKE CREATE USER ON *.* FROM '{_MASTER}'@'%'")
    restore(master, Accounts(loader=loader, site=Login(site.user, site.password)))
    assert definers(server) == {f"{_SITE}@%"}
    assert {loader_name("owned"), owner_name("owned")} & users(server) == set()


@pytest.mark.parametrize(
    ("rights", "on", "said"),
    [
        ("SELECT", "*.*", "may do more than a restore lets it"),
        ("SELECT", "mysql.*", "may do more than a restore lets it"),
        ("SELECT", "`owned%`.*", "may do more than a restore lets it"),
        ("SELECT", "owned.*", "must have them on 'owned_lcp_staging' only"),
        ("SELECT", "`owned\\_lcp\\_journal`.*", "must have them on"),
    ],
)
def test_an_operators_loader_that_may_do_more_is_refused(
    server: DatabaseServer, master: DatabaseEndpoint, rights: str, on: str, said: str
) -> None:
    loader = _given(server, rights, on)
    with pytest.raises(AccountRefused, match=said):
        stage(master, given=Accounts(loader=loader))


@pytest.mark.parametrize("variable", ["LCP_LOADER_USER_NAME", "LCP_SITE_USER_NAME"])
def test_the_master_user_is_taken_for_neither(master: DatabaseEndpoint, variable: str) -> None:
    login = Login(master.user, master.password)
    given = Accounts(loader=login) if "LOADER" in variable else Accounts(site=login)
    with pytest.raises(AccountRefused, match=f"{variable} names the master user"):
        stage(master, given=given)


def test_a_stray_file_in_a_leftover_schema_does_not_block_a_restore(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    for suffix in ("staging", "previous"):
        server.execute(f"CREATE DATABASE owned_lcp_{suffix}")
        ((folder,),) = server.execute("SELECT @@datadir")
        Path(str(folder), f"owned_lcp_{suffix}", "stray").touch()
    try:
        restore(master)
        assert server.execute("SELECT id FROM owned.t ORDER BY id") == ((1,), (2,))
        assert schemas(server) == {"owned", "owned_lcp_staging", "owned_lcp_previous"}
    finally:
        for suffix in ("staging", "previous"):
            Path(str(folder), f"owned_lcp_{suffix}", "stray").unlink()


def test_a_lock_that_the_site_takes_does_not_keep_a_restore_waiting(
    master: DatabaseEndpoint, site: DatabaseEndpoint
) -> None:
    with closing(connect(site, database=None)) as squatter:
        assert execute(squatter, "SELECT GET_LOCK('lcp:owned', 0)") == ((1,),)
        restore(master)


def test_a_read_only_site_is_restored(
    server: DatabaseServer, master: DatabaseEndpoint, site: DatabaseEndpoint
) -> None:
    if server.flavour is Flavour.MARIADB:
        return  # it knows no such thing
    restore(master)
    with closing(connect(site, database=None)) as connection:
        execute(connection, "ALTER DATABASE owned READ ONLY = 1")
    restore(master)
    server.execute("INSERT INTO owned.t VALUES (3, 'c')")


def test_what_the_master_may_not_drop_goes_with_the_schema(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    """MySQL lets nobody without SYSTEM_USER drop what root has defined."""
    restore(master)
    server.execute("CREATE VIEW owned.roots AS SELECT 1 AS one")
    server.execute("CREATE PROCEDURE owned.roots() SELECT 1")
    server.execute("CREATE TRIGGER owned.roots BEFORE INSERT ON owned.t FOR EACH ROW SET @x = 1")
    server.execute("CREATE EVENT owned.roots ON SCHEDULE EVERY 1 DAY DO SELECT 1")
    restore(master)
    assert server.execute("SELECT id FROM owned.t ORDER BY id") == ((1,), (2,))
    assert definers(server) == {f"{owner_name('owned')}@%"}
    assert schemas(server) == {"owned"}


def test_a_restore_killed_while_it_frees_the_schema_is_finished_by_the_next(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    if server.flavour is Flavour.MARIADB:
        return  # its master user may drop everything
    for at in ("empty", "drop the schema", "fill again"):
        server.execute("DROP DATABASE IF EXISTS owned")
        restore(master)
        server.execute("CREATE VIEW owned.roots AS SELECT 1 AS one")

        def between(step: str, at: str = at) -> None:
            if step == at:
                os.kill(os.getpid(), signal.SIGKILL)

        def work() -> None:
            stage(master).swap(between)

        assert in_process(work) == -signal.SIGKILL
        assert staged_schema.recover(master) == "finished"
        assert server.execute("SELECT id FROM owned.v ORDER BY id") == ((1,), (2,))
        assert definers(server) == {f"{owner_name('owned')}@%"}
        assert schemas(server) == {"owned"}


def test_a_server_with_partial_revokes_takes_the_loader(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    """There a backslash in a grant's schema name stands for itself."""
    if server.flavour is Flavour.MARIADB:
        return  # it knows no such thing
    server.execute("SET GLOBAL partial_revokes = ON")
    try:
        restore(master)
    finally:
        server.execute("DROP USER IF EXISTS 'accounts_site'@'%'")
        server.execute("SET GLOBAL partial_revokes = OFF")


def test_an_event_of_the_last_restore_cannot_keep_the_next_one_out(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    """It runs as the owner, and could change that account's password for ever."""
    restore(master)
    server.execute("ALTER EVENT owned.ev ENABLE")
    first = owner_name("owned")
    # (ALTER EVENT makes root its definer: as the owner's own it is made anew.)
    server.execute("DROP EVENT owned.ev")
    server.execute(
        f"CREATE DEFINER='{first}'@'%' EVENT owned.ev ON SCHEDULE EVERY 1 DAY DO SELECT 1"
    )
    restore(master)
    assert definers(server) == {f"{owner_name('owned', 1)}@%"}


def test_a_trigger_that_is_wrong_for_ever_blocks_no_later_restore(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    restore(master)
    server.execute("ALTER TABLE owned.t ADD y int")
    server.execute("CREATE TRIGGER owned.wrong BEFORE INSERT ON owned.t FOR EACH ROW SET NEW.y = 1")
    server.execute("ALTER TABLE owned.t DROP y")

    def between(step: str) -> None:
        if step == "rename":
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        stage(master).swap(between)

    assert in_process(work) == -signal.SIGKILL
    with pytest.raises(LoadFailed, match="triggers and views cannot be put back: wrong"):
        staged_schema.recover(master)
    assert server.execute("SHOW TRIGGERS FROM owned LIKE 't'")[0][0] == "tr"
    restore(master)


def test_a_row_numbered_zero_stays_zero_beside_a_blob(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    """MariaDB's LOAD DATA forgets NO_AUTO_VALUE_ON_ZERO where it has a SET."""
    dump = (
        b"SET sql_mode='NO_AUTO_VALUE_ON_ZERO';\n"
        b"CREATE TABLE `z` (`id` int NOT NULL AUTO_INCREMENT, `v` blob, PRIMARY KEY (`id`))"
        b" ENGINE=InnoDB;\nINSERT INTO `z` VALUES (0,0x61),(7,0x62);\n"
    )
    loaded = stage(master, dump).swap()
    assert loaded.rows_as_statements == 0
    assert server.execute("SELECT id, v FROM owned.z ORDER BY id") == ((0, b"a"), (7, b"b"))


def test_a_schema_that_holds_stored_code_is_not_empty(
    server: DatabaseServer, master: DatabaseEndpoint
) -> None:
    server.execute("CREATE DATABASE owned")
    server.execute("CREATE PROCEDURE owned.mine() SELECT 1")
    with pytest.raises(InvalidRequest, match="is not empty"):
        staged_schema.check_empty(master)
