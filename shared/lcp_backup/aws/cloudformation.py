"""The CloudFormation edge: what a custom resource is asked, and the answer it owes, always.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from aws_lambda_powertools import Logger
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal

from lcp_backup.errors import AwsError, BackupError, InvalidRequest
from lcp_backup.invalid import first_problem

_MAX_ANSWER = 4096  # bytes; CloudFormation takes no more
_ATTEMPTS = 4
_TIMEOUT = 10  # seconds for one attempt


class ResourceRequest(BaseModel):
    """What CloudFormation asks of a custom resource."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, alias_generator=to_pascal
    )

    request_type: str
    """`Create`, `Update` or `Delete`."""
    response_url: str = Field(alias="ResponseURL", pattern="^https?://", repr=False)
    """Where the answer goes; presigned, so not for a log."""
    stack_id: str
    request_id: str
    logical_resource_id: str
    physical_resource_id: str | None = None
    """Absent in a Create."""
    resource_properties: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> Self:
        """Reads the event; raises InvalidRequest for one that did not come from CloudFormation."""
        try:
            return cls.model_validate(event)
        except ValidationError as error:
            where, message, _ = first_problem(error)
            raise InvalidRequest(
                f"this is no request of CloudFormation: {where}: {message}"
            ) from None


@dataclass(frozen=True)
class Resource:
    """What a custom resource is after its request was done."""

    physical_id: str
    """Its identity; when an update answers another one, CloudFormation deletes the old one."""
    data: dict[str, str] = field(default_factory=dict)
    """What the template reads by `!GetAtt`."""


def answer(
    request: ResourceRequest,
    work: Callable[[ResourceRequest], Resource],
    log: Logger,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Does the work and tells CloudFormation how it went, whatever happens.

    A stack that gets no answer hangs for an hour, and then again while it rolls back. So an error
    becomes the answer FAILED with its sentence, and is not raised: Lambda would run the request
    again, after the stack has already rolled back. An error that is not a BackupError is logged
    with its stack, and only its kind is told.

    Raises AwsError only when the answer cannot be delivered.
    """
    try:
        resource = work(request)
        status, reason = "SUCCESS", ""
    except BackupError as error:
        log.error("failed", request=request.request_type, error=error.code, reason=str(error))
        resource, status, reason = _unchanged(request), "FAILED", str(error)
    except Exception as error:
        log.exception("failed unexpectedly", request=request.request_type)
        kind = type(error).__name__
        reason = f"an unexpected {kind}; the log of the function has its stack"
        resource, status = _unchanged(request), "FAILED"
    _send(request.response_url, _body(request, resource, status, reason), pause)


def _unchanged(request: ResourceRequest) -> Resource:
    # CloudFormation wants an identity even for what was never made, and sends a Delete for it.
    return Resource(request.physical_resource_id or request.logical_resource_id)


def _body(request: ResourceRequest, resource: Resource, status: str, reason: str) -> bytes:
    """The answer as JSON, with the reason cut to what CloudFormation takes."""
    while True:
        fields = {
            "Status": status,
            "Reason": reason,
            "PhysicalResourceId": resource.physical_id,
            "StackId": request.stack_id,
            "RequestId": request.request_id,
            "LogicalResourceId": request.logical_resource_id,
            "Data": resource.data,
        }
        body = json.dumps(fields).encode()
        excess = len(body) - _MAX_ANSWER
        if excess <= 0 or not reason:
            return body
        # JSON writes a character in twelve bytes at most (two escapes), so this cuts too little.
        reason = reason[: -max(1, excess // 12)]


def _send(url: str, body: bytes, pause: Callable[[float], None]) -> None:
    # The URL is signed for an empty content type; any other one is refused.
    request = Request(url, data=body, method="PUT", headers={"Content-Type": ""})  # noqa: S310 -- ResourceRequest allows http and https only
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with urlopen(request, timeout=_TIMEOUT):  # noqa: S310 -- as above
                return
        except HTTPError as error:
            error.close()
            problem = f"HTTP {error.code}"
        except (URLError, OSError) as error:
            problem = type(error).__name__
        if attempt < _ATTEMPTS:
            pause(2.0**attempt)
    raise AwsError(
        f"CloudFormation did not take the answer ({problem}); in a VPC the function needs a way to"
        " S3, and the stack goes on when its own time is over"
    )
