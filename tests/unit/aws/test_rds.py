"""Where the database is."""

from typing import Any

import boto3
import pytest

from lcp_backup.aws.rds import locate_database
from lcp_backup.errors import DatabaseUnreachable, SettingsError


def never() -> Any:
    raise AssertionError("AWS was asked")


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("localhost", ("localhost", 3306)),
        ("127.0.0.1:3307", ("127.0.0.1", 3307)),
        ("db.example.com", ("db.example.com", 3306)),
        ("database:33060", ("database", 33060)),
        ("[::1]:3306", ("::1", 3306)),
    ],
)
def test_a_host_name_is_used_as_it_is(service: str, expected: tuple[str, int]) -> None:
    assert locate_database(service, for_reading=True, client=never) == expected


@pytest.mark.parametrize("service", ["host:", "host:0", "host:99999", "host:abc", ":3306"])
def test_a_wrong_port_names_the_variable(service: str) -> None:
    with pytest.raises(SettingsError, match="LCP_DATABASE_SERVICE"):
        locate_database(service, for_reading=True, client=never)


@pytest.mark.usefixtures("aws")
def test_a_dump_reads_from_a_clusters_reader_and_a_restore_goes_to_its_writer() -> None:
    rds = boto3.client("rds")
    rds.create_db_cluster(
        DBClusterIdentifier="liferay",
        Engine="aurora-mysql",
        MasterUsername="root",
        MasterUserPassword="hunter2000",
    )
    reader, port = locate_database("liferay", for_reading=True, client=lambda: rds)
    writer, _ = locate_database("liferay", for_reading=False, client=lambda: rds)
    described = rds.describe_db_clusters()["DBClusters"][0]
    assert (reader, writer) == (described["ReaderEndpoint"], described["Endpoint"])
    assert reader != writer
    assert port == described["Port"]


@pytest.mark.usefixtures("aws")
def test_an_instance_is_found_by_its_id_and_a_missing_one_is_named() -> None:
    rds = boto3.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="database", DBInstanceClass="db.t3.micro", Engine="mysql", Port=3311
    )
    host, port = locate_database("database", for_reading=True, client=lambda: rds)
    assert (host.split(".")[0], port) == ("database", 3311)
    with pytest.raises(DatabaseUnreachable, match="LCP_DATABASE_SERVICE is 'nothing'"):
        locate_database("nothing", for_reading=True, client=lambda: rds)
