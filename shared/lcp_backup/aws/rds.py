"""RDS: where the database service listens that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lcp_backup.aws.clients import aws_errors
from lcp_backup.errors import DatabaseUnreachable, SettingsError

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

_DEFAULT_PORT = 3306


def locate_database(
    service: str, *, for_reading: bool, client: Callable[[], RDSClient]
) -> tuple[str, int]:
    """Host and port of the database service that LCP_DATABASE_SERVICE names.

    `host[:port]` is used as it is. Otherwise it is the id of an RDS cluster (its reader endpoint is
    taken `for_reading`, so that a dump does not burden the writer) or of an RDS instance. Raises
    DatabaseUnreachable when there is none, or it has no endpoint yet; AwsError, SettingsError.
    """
    if (literal := _host_and_port(service)) is not None:
        return literal
    rds = client()
    with aws_errors(f"look up the database service {service!r}"):
        try:
            cluster = rds.describe_db_clusters(DBClusterIdentifier=service)["DBClusters"][0]
        except (rds.exceptions.DBClusterNotFoundFault, IndexError):
            pass
        else:
            # A cluster with a single instance has a reader endpoint too: it leads to the writer.
            host = cluster.get("ReaderEndpoint") if for_reading else None
            host = host or cluster.get("Endpoint")
            if host:
                return host, cluster.get("Port", _DEFAULT_PORT)
        try:
            instance = rds.describe_db_instances(DBInstanceIdentifier=service)["DBInstances"][0]
        except (rds.exceptions.DBInstanceNotFoundFault, IndexError):
            raise DatabaseUnreachable(
                f"LCP_DATABASE_SERVICE is {service!r}, and there is no RDS cluster or instance of"
                " that id in this region and account; use its id, or host[:port]"
            ) from None
    endpoint = instance.get("Endpoint", {})
    if not endpoint.get("Address"):
        raise DatabaseUnreachable(
            f"the RDS instance {service} has no endpoint yet: it is"
            f" {instance.get('DBInstanceStatus', 'not ready')}"
        )
    return endpoint["Address"], endpoint.get("Port", _DEFAULT_PORT)


def is_rds_id(service: str) -> bool:
    """Whether LCP_DATABASE_SERVICE names an RDS instance or cluster; raises SettingsError."""
    return _host_and_port(service) is None


def _host_and_port(service: str) -> tuple[str, int] | None:
    """What `host[:port]` says, or None for the id of an RDS service (ids hold no dot)."""
    host, colon, port = service.rpartition(":")
    if not colon:
        host, port = service, str(_DEFAULT_PORT)
    if not colon and "." not in host and host != "localhost":
        return None
    if not port.isdecimal() or not 1 <= int(port) <= 65535 or not host:  # noqa: PLR2004 -- TCP's
        raise SettingsError(
            "LCP_DATABASE_SERVICE",
            service,
            "the id of an RDS instance or cluster, or host[:port] with a port from 1 to 65535",
        )
    return host.strip("[]"), int(port)
