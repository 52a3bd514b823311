"""What a server's error tells: that a dump is bad, or only that the server could not go on."""

import pymysql
import pytest

from lcp_backup.database.sql import load_failed
from lcp_backup.errors import LoadFailed, ServerGaveUp


@pytest.mark.parametrize(
    "code", [2013, 1021, 1114, 1026, 1071, 1118, 1205, 1213, 1418, 1419, 1792, 1878]
)
def test_a_server_that_is_gone_full_or_locked_tells_nothing_of_the_dump(code: int) -> None:
    error = pymysql.OperationalError(code, "says the server")
    assert type(load_failed(error, "")) is ServerGaveUp


@pytest.mark.parametrize("code", [1062, 1064, 1146])
def test_what_the_server_refuses_is_a_fault_of_the_dump(code: int) -> None:
    error = pymysql.OperationalError(code, "says the server")
    assert type(load_failed(error, "")) is LoadFailed
