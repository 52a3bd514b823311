"""Scripts run in a schema, on each database server: how they end when the run has to."""

from collections.abc import Iterator

import pytest

from lcp_backup.database.endpoint import ask_server, connect
from lcp_backup.database.scripts import Script, run_scripts
from lcp_backup.errors import OutOfTime
from tests.support.servers import FLAVOURS, DatabaseServer

SCHEMA = "scripted"
SLOW = b"UPDATE a SET b = (SELECT COUNT(*) FROM (SELECT 1 FROM a x, a y, a z) slow) LIMIT 1"


@pytest.fixture(params=FLAVOURS, ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A server with a schema of one table, of 300 rows."""
    found: DatabaseServer = request.getfixturevalue(str(request.param))
    found.execute(f"CREATE DATABASE {SCHEMA}")
    found.execute("CREATE TABLE a (b bigint)", database=SCHEMA)
    found.execute(f"INSERT INTO a VALUES {', '.join(['(1)'] * 300)}", database=SCHEMA)
    yield found
    found.execute(f"DROP DATABASE {SCHEMA}")


def test_a_statement_of_a_script_does_not_outlast_the_run(server: DatabaseServer) -> None:
    def running() -> bool:
        rows = server.execute("SHOW FULL PROCESSLIST")
        # (A connection that was killed may take a moment to go.)
        return any(str(row[7]).startswith("UPDATE") and row[4] != "Killed" for row in rows)

    def check() -> None:
        if running():
            raise OutOfTime("the time is over")

    endpoint = server.endpoint(SCHEMA)
    with connect(endpoint, database=None) as connection:
        kind = ask_server(connection)
    with pytest.raises(OutOfTime):
        run_scripts(endpoint, SCHEMA, (Script("a.sql", SLOW),), kind, check)
    assert not running()
    assert server.execute("SELECT COUNT(*) FROM a WHERE b = 1", database=SCHEMA) == ((300,),)
