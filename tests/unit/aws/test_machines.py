"""Executions are started once: a second start of the same name is none."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lcp_backup.aws.machines import MachineStarter
from lcp_backup.errors import AwsError

MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:lcp-backup-create"
ASKED = {"stateMachineArn": MACHINE, "name": "run", "input": '{"run_id": "run"}'}


@pytest.fixture
def stub(aws: None) -> Stubber:  # noqa: ARG001 -- credentials
    return Stubber(boto3.client("stepfunctions"))


def test_an_execution_has_the_runs_name_and_is_started_once(stub: Stubber) -> None:
    client: Any = stub.client
    stub.add_response("start_execution", {"executionArn": "e", "startDate": 0}, ASKED)
    stub.add_client_error("start_execution", "ExecutionAlreadyExists", expected_params=ASKED)
    with stub:
        for _ in range(2):
            MachineStarter(client).start(MACHINE, "run", {"run_id": "run"})
    stub.assert_no_pending_responses()


def test_what_aws_refuses_is_told(stub: Stubber) -> None:
    client: Any = stub.client
    stub.add_client_error("start_execution", "AccessDeniedException")
    with stub, pytest.raises(AwsError, match="refused to start an execution"):
        MachineStarter(client).start(MACHINE, "run", {})
