"""The AWS edge: where the database is, what a secret holds, and what the bus takes."""

from typing import Any

import boto3
import pytest
from pydantic import SecretStr

from lcp_backup.aws.bus import EventBus
from lcp_backup.aws.rds import locate_database
from lcp_backup.aws.secrets import resolve_secret
from lcp_backup.errors import AwsError, DatabaseUnreachable, SettingsError


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


def test_a_plain_secret_is_itself() -> None:
    assert resolve_secret(SecretStr("p"), "V", never).get_secret_value() == "p"


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("stored", "secret"),
    [
        ("plain", "plain"),
        ('{"username": "u", "password": "made by RDS"}', "made by RDS"),
        ('{"not": "it"}', '{"not": "it"}'),
        ("12345", "12345"),
        ("read from a file\n", "read from a file"),
    ],
)
def test_an_arn_means_what_lies_in_secrets_manager(stored: str, secret: str) -> None:
    client = boto3.client("secretsmanager")
    arn = client.create_secret(Name="password", SecretString=stored)["ARN"]
    assert resolve_secret(SecretStr(arn), "V", lambda: client).get_secret_value() == secret


@pytest.mark.usefixtures("aws")
def test_a_secret_that_is_not_there_is_an_error_that_names_the_variable() -> None:
    client = boto3.client("secretsmanager")
    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:gone-AbCdEf"
    with pytest.raises(AwsError, match="LCP_MASTER_USER_PASSWORD names: ResourceNotFound"):
        resolve_secret(SecretStr(arn), "LCP_MASTER_USER_PASSWORD", lambda: client)


@pytest.mark.usefixtures("aws")
def test_an_event_goes_on_the_bus() -> None:
    EventBus(boto3.client("events")).publish("Backup Created", {"backupId": "a-b-202611230015"})
