"""Schedules: the rules a deployment makes, changes and removes, and what CloudFormation is told."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError, EndpointConnectionError

from functions.schedules import app
from lcp_backup.aws.cloudformation import Resource, ResourceRequest, answer
from lcp_backup.aws.rules import ScheduleRule, ScheduleRules
from lcp_backup.cron import CronExpression, default_create_schedule, default_verify_schedule
from lcp_backup.errors import AwsError, InvalidRequest, SettingsError
from lcp_backup.jobs.schedules import SchedulesRequest, remove_schedules, sync_schedules

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_events import EventBridgeClient

EVENTS = Path(__file__).parents[3] / "events"
STACK = "arn:aws:cloudformation:eu-central-1:123456789012:stack/site/5b918d10-cd98-11ea-90d5"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:site-"
DISASTER_RECOVERY = {
    "LCP_BACKUP_RESTORE_SCHEDULE": "35 * * * *",
    "LCP_ENVIRONMENT_TYPE": "production",
    "LCP_BACKUP_BUCKET": "here",
    "LCP_BACKUP_RESTORE_SOURCE_BUCKET": "there",
}


def properties(prefix: str = "site", **variables: str) -> dict[str, Any]:
    return {
        "ServiceToken": f"{ARN}schedules",
        "Variables": variables,
        "CreateFunctionArn": f"{ARN}create",
        "RestoreFunctionArn": f"{ARN}restore",
        "CleanupFunctionArn": f"{ARN}cleanup",
        "VerifyFunctionArn": f"{ARN}verify",
        "RuleNamePrefix": prefix,
    }


@pytest.fixture
def events(aws: None) -> "EventBridgeClient":  # noqa: ARG001 -- the mock has to be there first
    return boto3.client("events")


@pytest.fixture
def rules(events: "EventBridgeClient") -> ScheduleRules:
    return ScheduleRules(events)


def in_force(events: "EventBridgeClient") -> dict[str, tuple[str, str]]:
    """Every rule there is: its expression and the function it invokes."""
    found = {}
    for rule in events.list_rules()["Rules"]:
        (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        assert rule["State"] == "ENABLED"
        found[rule["Name"]] = (rule["ScheduleExpression"], target["Arn"].removeprefix(ARN))
    return found


def sync(rules: ScheduleRules, prefix: str = "site", **variables: str) -> None:
    sync_schedules(rules, SchedulesRequest.read(properties(prefix, **variables)), STACK)


# --- the rules ------------------------------------------------------------------------------------


def test_without_variables_all_is_drawn_and_cleanup_is_daily(
    rules: ScheduleRules, events: "EventBridgeClient"
) -> None:
    sync(rules)
    minute, hour, *_ = default_create_schedule(STACK).split()
    drawn = default_verify_schedule(STACK)
    assert in_force(events) == {
        "site-create-1": (f"cron({minute} {hour} * * ? *)", "create"),
        "site-cleanup-1": ("cron(0 1 * * ? *)", "cleanup"),
        "site-verify-1": (CronExpression.parse(drawn).eventbridge()[0], "verify"),
    }


def test_backups_are_verified_when_it_is_said_and_not_when_that_is_none(
    rules: ScheduleRules, events: "EventBridgeClient"
) -> None:
    sync(rules, LCP_BACKUP_VERIFY_SCHEDULE="0 4 1 * *")
    assert in_force(events)["site-verify-1"] == ("cron(0 4 1 * ? *)", "verify")
    sync(rules, LCP_BACKUP_VERIFY_SCHEDULE="Weekly")
    assert in_force(events)["site-verify-1"][0] != "cron(0 4 1 * ? *)"
    sync(rules, LCP_BACKUP_VERIFY_SCHEDULE="none")
    assert "site-verify-1" not in in_force(events)


def test_the_originals_spelling_of_the_default_draws_the_same_time(
    rules: ScheduleRules, events: "EventBridgeClient"
) -> None:
    sync(rules)
    drawn = in_force(events)
    sync(rules, LCP_BACKUP_CREATE_SCHEDULE=r"[5-55][0-1] \* \* \*")
    assert in_force(events) == drawn


def test_an_update_changes_rules_and_takes_away_those_no_longer_wanted(
    rules: ScheduleRules, events: "EventBridgeClient"
) -> None:
    sync(rules, LCP_BACKUP_CREATE_SCHEDULE="30 4 1,15 * FRI")
    assert in_force(events).keys() == {
        "site-create-1",
        "site-create-2",
        "site-cleanup-1",
        "site-verify-1",
    }
    for _ in range(2):  # delivered twice, it is the same
        sync(
            rules,
            LCP_BACKUP_CREATE_SCHEDULE="@hourly",
            LCP_BACKUP_CLEANUP_SCHEDULE="0 3 * * 0",
            LCP_BACKUP_VERIFY_SCHEDULE="none",
        )
        assert in_force(events) == {
            "site-create-1": ("cron(0 * * * ? *)", "create"),
            "site-cleanup-1": ("cron(0 3 ? * SUN *)", "cleanup"),
        }


def test_with_a_restore_schedule_nothing_is_created_or_verified(
    rules: ScheduleRules, events: "EventBridgeClient"
) -> None:
    sync(rules, LCP_BACKUP_CREATE_SCHEDULE="30 4 1 * FRI")
    sync(rules, LCP_BACKUP_CREATE_SCHEDULE="30 4 1 * FRI", **DISASTER_RECOVERY)
    assert in_force(events) == {
        "site-restore-1": ("cron(35 * * * ? *)", "restore"),
        "site-cleanup-1": ("cron(0 1 * * ? *)", "cleanup"),
    }
    sync(rules)
    assert in_force(events).keys() == {"site-create-1", "site-cleanup-1", "site-verify-1"}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"LCP_BACKUP_CREATE_SCHEDULE": "61 0 * * *"}, "LCP_BACKUP_CREATE_SCHEDULE is '61 0"),
        ({"LCP_BACKUP_CLEANUP_SCHEDULE": "@reboot"}, "LCP_BACKUP_CLEANUP_SCHEDULE is '@reboot'"),
        ({"LCP_BACKUP_RETENTION_PERIOD": "0"}, "LCP_BACKUP_RETENTION_PERIOD is '0'"),
        (
            {**DISASTER_RECOVERY, "LCP_ENVIRONMENT_TYPE": "development"},
            "LCP_ENVIRONMENT_TYPE is 'development'",
        ),
    ],
)
def test_a_bad_variable_touches_no_rule(
    rules: ScheduleRules, events: "EventBridgeClient", variables: dict[str, str], named: str
) -> None:
    sync(rules, LCP_BACKUP_CREATE_SCHEDULE="@daily")
    before = in_force(events)
    with pytest.raises(SettingsError) as raised:
        sync(rules, **variables)
    assert str(raised.value).startswith(named)
    assert in_force(events) == before


def test_the_function_receives_the_event_itself_for_half_an_hour_at_most(
    rules: ScheduleRules, events: "EventBridgeClient"
) -> None:
    sync(rules)
    (target,) = events.list_targets_by_rule(Rule="site-create-1")["Targets"]
    assert not {"Input", "InputPath", "InputTransformer"} & target.keys()  # `time` is the slot
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 1800


def test_a_stack_leaves_the_rules_of_one_whose_name_begins_alike(
    rules: ScheduleRules, events: "EventBridgeClient"
) -> None:
    neighbours = ["site-create", "site-create-1", "site-2"]
    for prefix in neighbours:
        sync(rules, prefix)
    before = in_force(events)
    sync(rules, "site")
    remove_schedules(rules, properties("site"))
    assert in_force(events) == before


def test_removal_takes_all_rules_and_may_be_repeated(
    rules: ScheduleRules, events: "EventBridgeClient"
) -> None:
    sync(rules, LCP_BACKUP_CREATE_SCHEDULE="30 4 1,15 * FRI")
    for _ in range(2):
        remove_schedules(rules, properties(LCP_BACKUP_CREATE_SCHEDULE="no longer valid"))
        assert in_force(events) == {}


@pytest.mark.parametrize("prefix", [None, "", "a b", "a/b", 7, "s" * 55])
def test_removal_of_what_was_never_made_asks_for_nothing(prefix: object) -> None:
    class Untouchable(ScheduleRules):
        def __init__(self) -> None: ...

    remove_schedules(Untouchable(), {"RuleNamePrefix": prefix})


def test_a_stack_name_that_leaves_no_room_for_a_rules_is_refused_by_its_length(
    rules: ScheduleRules, events: "EventBridgeClient"
) -> None:
    with pytest.raises(InvalidRequest, match="name has 55 characters.* at most 54"):
        SchedulesRequest.read(properties("s" * 55))
    sync(rules, "s" * 54, **DISASTER_RECOVERY | {"LCP_BACKUP_RESTORE_SCHEDULE": "0 0 1 * 1"})
    names = in_force(events).keys()
    assert max(map(len, names)) == 64
    remove_schedules(rules, properties("s" * 54))
    assert in_force(events) == {}


def test_wanted_rules_are_put_before_others_go(events: "EventBridgeClient") -> None:
    calls: list[str] = []

    class Failing(ScheduleRules):
        def put(self, rule: ScheduleRule) -> None:
            calls.append(rule.name)
            raise AwsError("no")

        def remove(self, name: str) -> None:
            calls.append(f"remove {name}")

    with pytest.raises(AwsError):
        sync(Failing(events), **DISASTER_RECOVERY)
    assert calls == ["site-restore-1"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"CreateFunctionArn": "create"}, "CreateFunctionArn"),
        ({"RuleNamePrefix": ""}, "RuleNamePrefix"),
        ({"RuleNamePrefix": "a/b"}, "RuleNamePrefix"),
        ({"Variables": "none"}, "Variables"),
        ({"Variables": {"LCP_DBNAME": ["secret"]}}, "Variables.LCP_DBNAME"),
    ],
)
def test_a_wrong_property_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=f"property {named}: ") as raised:
        SchedulesRequest.read(properties() | wrong)
    assert "secret" not in str(raised.value)


# --- the edge -------------------------------------------------------------------------------------


class RefusingClient:
    """Stands for an EventBridge that answers in ways the mock cannot."""

    def __init__(self, error: Exception | None = None, failed: list[dict[str, str]] | None = None):
        self._error = error
        self._failed = failed or []

    def put_rule(self, **_: object) -> None:
        if self._error is not None:
            raise self._error

    def put_targets(self, **_: object) -> dict[str, Any]:
        return {"FailedEntries": self._failed}

    def remove_targets(self, **_: object) -> None:
        assert self._error is not None
        raise self._error


RULE = ScheduleRule("site-create-1", "cron(0 0 * * ? *)", f"{ARN}create", "")


def refusing(
    error: Exception | None = None, failed: list[dict[str, str]] | None = None
) -> ScheduleRules:
    client: Any = RefusingClient(error, failed)
    return ScheduleRules(client)


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "not allowed"}}, "PutRule")


def test_a_refusal_by_eventbridge_names_the_rule() -> None:
    with pytest.raises(AwsError, match=r"put the rule site-create-1: AccessDenied: not allowed"):
        refusing(client_error("AccessDenied")).put(RULE)
    with pytest.raises(AwsError, match=r"remove the rule site-create-1: AccessDenied"):
        refusing(client_error("AccessDenied")).remove("site-create-1")
    with pytest.raises(AwsError, match="interface endpoint"):
        refusing(EndpointConnectionError(endpoint_url="https://events")).put(RULE)


def test_a_target_that_was_refused_in_a_good_answer_is_an_error() -> None:
    with pytest.raises(AwsError, match="target of the rule site-create-1: Throttled: later"):
        refusing(failed=[{"ErrorCode": "Throttled", "ErrorMessage": "later"}]).put(RULE)


# --- the answer to CloudFormation -----------------------------------------------------------------


@dataclass
class Inbox:
    """A server that stands for the bucket CloudFormation takes its answers from."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    content_types: list[str | None] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    """Status codes that come before the first 200."""

    @property
    def answer(self) -> dict[str, Any]:
        (body,) = self.bodies
        decoded: dict[str, Any] = json.loads(body)
        return decoded


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    box = Inbox("")

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = box.refusals.pop(0) if box.refusals else 200
            if status == 200:
                box.bodies.append(body)
                box.content_types.append(self.headers["Content-Type"])
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        box.url = f"http://127.0.0.1:{server.server_port}/answer?X-Amz-Signature=abc"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield box
        server.shutdown()
        thread.join()


@pytest.fixture
def deploy(
    inbox: Inbox, events: "EventBridgeClient", monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Sends an event to the function and returns what CloudFormation was told."""
    monkeypatch.setattr(app, "_rules", lambda: ScheduleRules(events))

    def send(name: str, **changes: Any) -> dict[str, Any]:
        event = json.loads((EVENTS / name).read_text()) | {"ResponseURL": inbox.url} | changes
        inbox.bodies.clear()
        context: LambdaContext = None  # type: ignore[assignment] # the function does not use it
        app.handler(event, context)
        told = inbox.answer
        for copied in ("StackId", "RequestId", "LogicalResourceId"):
            assert told[copied] == event[copied]
        return told

    return send


def test_create_update_and_delete_of_the_resource_are_answered(
    deploy: Callable[..., dict[str, Any]], events: "EventBridgeClient", inbox: Inbox
) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    created = deploy("schedules-create.json")
    assert created["Status"] == "SUCCESS"
    drawn = default_create_schedule(created["StackId"])
    since = datetime.fromisoformat(created["Data"].pop("Since"))
    assert before <= since <= datetime.now(UTC)
    assert created["Data"] == {
        "CreateSchedule": drawn,
        "RestoreSchedule": "none",
        "CleanupSchedule": "0 1 * * *",
        "VerifySchedule": default_verify_schedule(created["StackId"]),
    }
    assert in_force(events).keys() == {
        "lcp-backup-create-1",
        "lcp-backup-cleanup-1",
        "lcp-backup-verify-1",
    }
    assert inbox.content_types == [""]

    updated = deploy("schedules-update.json")
    assert updated["PhysicalResourceId"] == created["PhysicalResourceId"]
    assert updated["Data"]["CreateSchedule"] == "none"
    assert updated["Data"]["RestoreSchedule"] == "35 * * * *"

    back = deploy("schedules-create.json", RequestType="Update")
    assert back["Data"]["CreateSchedule"] == drawn

    deleted = deploy("schedules-delete.json")
    assert deleted["Status"] == "SUCCESS"
    assert deleted["PhysicalResourceId"] == created["PhysicalResourceId"]
    assert in_force(events) == {}


def test_a_bad_variable_fails_the_deployment_with_its_sentence_and_its_rollback_succeeds(
    deploy: Callable[..., dict[str, Any]], events: "EventBridgeClient"
) -> None:
    wrong = properties(LCP_BACKUP_CREATE_SCHEDULE="0 0 31 2 *")
    failed = deploy("schedules-create.json", ResourceProperties=wrong)
    assert failed["Status"] == "FAILED"
    assert failed["Reason"].startswith("LCP_BACKUP_CREATE_SCHEDULE is '0 0 31 2 *': day of month")
    rollback = deploy(
        "schedules-delete.json",
        ResourceProperties=wrong,
        PhysicalResourceId=failed["PhysicalResourceId"],
    )
    assert rollback["Status"] == "SUCCESS"
    assert in_force(events) == {}


def test_a_failed_update_keeps_the_resources_identity(
    deploy: Callable[..., dict[str, Any]],
) -> None:
    failed = deploy(
        "schedules-update.json",
        ResourceProperties=properties(LCP_BACKUP_CREATE_SCHEDULE="never"),
        PhysicalResourceId="the one it has",
    )
    assert (failed["Status"], failed["PhysicalResourceId"]) == ("FAILED", "the one it has")


@pytest.mark.parametrize("broken", [{}, {"RuleNamePrefix": "a/b"}, {"Variables": 3}])
def test_broken_properties_fail_a_create_and_not_a_delete(
    deploy: Callable[..., dict[str, Any]], broken: dict[str, Any]
) -> None:
    created = deploy("schedules-create.json", ResourceProperties=broken)
    assert created["Status"] == "FAILED"
    assert created["Reason"].startswith("the resource's property ")
    assert deploy("schedules-delete.json", ResourceProperties=broken)["Status"] == "SUCCESS"


REQUEST = {
    "RequestType": "Create",
    "ResponseURL": "",
    "StackId": STACK,
    "RequestId": "r",
    "LogicalResourceId": "Schedules",
}


def test_an_unexpected_error_is_answered_by_its_kind_and_logged_with_its_stack(
    inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: ResourceRequest) -> Resource:
        raise ZeroDivisionError("hunter2")

    answer(ResourceRequest.read(REQUEST | {"ResponseURL": inbox.url}), work, Logger("test"))
    assert inbox.answer["Status"] == "FAILED"
    assert inbox.answer["PhysicalResourceId"] == "Schedules"
    assert "unexpected ZeroDivisionError" in inbox.answer["Reason"]
    assert "hunter2" not in inbox.answer["Reason"]
    assert "Traceback" in capsys.readouterr().out


@pytest.mark.parametrize("letter", ["x", "ü", "\u0001", "😀", "\ud800"])
def test_a_long_reason_is_cut_to_what_cloudformation_takes(inbox: Inbox, letter: str) -> None:
    def work(_: ResourceRequest) -> Resource:
        raise InvalidRequest("the head says it" + letter * 9000)

    answer(ResourceRequest.read(REQUEST | {"ResponseURL": inbox.url}), work, Logger("test"))
    assert 3000 < len(inbox.bodies[0]) <= 4096
    assert inbox.answer["Reason"].startswith("the head says it")


def test_the_answer_is_sent_again_when_it_was_not_taken(inbox: Inbox) -> None:
    inbox.refusals = [503, 500]
    pauses: list[float] = []
    request = ResourceRequest.read(REQUEST | {"ResponseURL": inbox.url})
    answer(request, lambda _: Resource("id"), Logger("test"), pauses.append)
    assert inbox.answer["Status"] == "SUCCESS"
    assert pauses == [2.0, 4.0]


def test_an_answer_that_is_never_taken_is_an_error_without_the_signed_url(inbox: Inbox) -> None:
    inbox.refusals = [403] * 9
    request = ResourceRequest.read(REQUEST | {"ResponseURL": inbox.url})
    with pytest.raises(AwsError, match=r"HTTP 403") as raised:
        answer(request, lambda _: Resource("id"), Logger("test"), lambda _: None)
    assert "Signature" not in str(raised.value)
    assert "Signature" not in repr(request)


def test_an_event_that_is_not_cloudformations_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no request of CloudFormation: "):
        ResourceRequest.read({"source": "aws.events"})
    with pytest.raises(InvalidRequest, match="ResponseURL"):
        ResourceRequest.read(REQUEST | {"ResponseURL": "file:///etc/passwd"})
