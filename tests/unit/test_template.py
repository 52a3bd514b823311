"""What the template lets each function do, read from the template itself.

The emulator enforces the same roles (tests/e2e/test_permissions.py); what it does not know, such as
keys of KMS, is seen here only.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode.cfn_yaml import load

from lcp_backup.jobs.task_end import LONGEST
from tests.support.roles import FUNCTIONS

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
OWN = "${Bucket.Arn}/${Prefix}/"
AT_DATABASE = {"Create", "CreateWorker", "Restore", "RestoreWorker", "Verify", "VerifyWorker"}
SECRETS = {
    "MasterUserPassword": AT_DATABASE,
    "ProjectMasterToken": {"Api", *AT_DATABASE},
    "LoaderUserPassword": {"Restore", "RestoreWorker"},
    "SiteUserPassword": {"Restore"},
    "BackupVerifyUserPassword": {"Verify", "VerifyWorker"},
}
"""Parameters that hold a secret or its ARN, and whose function gets it."""


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    read: dict[str, Any] = load(str(TEMPLATE))
    return read


def branches(value: Any) -> Iterator[Any]:
    """What stands in a list, with all that a condition may put there."""
    match value:
        case {"Fn::If": [_, *either]}:
            for one in either:
                yield from branches(one)
        case {"Ref": "AWS::NoValue"}:
            return
        case list():
            for one in value:
                yield from branches(one)
        case _:
            yield value


def text(value: Any) -> str:
    """A value with its names left in it: `${Prefix}` of a Sub, `Bucket.Arn` of a GetAtt."""
    match value:
        case {"Fn::Sub": [template, _]}:
            return str(template)
        case {"Fn::Sub": template}:
            # (The prefix of what restores read from is one of the Sub's own, and called the same.)
            return str(template).replace("${Prefix.Value}", "${Prefix}")
        case {"Fn::GetAtt": [*path]}:
            return ".".join(path)
        case {"Ref": name}:
            return f"${{{name}}}"
    return str(value)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: dict[str, Any], function: str) -> list[dict[str, Any]]:
    """What a function's role and the policies attached to it say, whatever their conditions are."""
    role = template["Resources"][f"{function}Role"]["Properties"]
    attached = branches(role.get("ManagedPolicyArns", []))
    documents = [policy["PolicyDocument"] for policy in branches(role["Policies"])]
    documents += [
        template["Resources"][policy["Ref"]]["Properties"]["PolicyDocument"] for policy in attached
    ]
    return [statement for document in documents for statement in branches(document["Statement"])]


def allowing(template: dict[str, Any], action: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Function and statement, of all that allow this action."""
    for function in FUNCTIONS:
        for statement in statements(template, function):
            if statement["Effect"] == "Allow" and action in as_list(statement["Action"]):
                yield function, statement


def who_may(template: dict[str, Any], action: str, key: str) -> set[str]:
    """Functions whose role allows the action on a key below the prefix of the own bucket."""
    return {
        function
        for function, statement in allowing(template, action)
        for resource in branches(as_list(statement["Resource"]))
        if fnmatchcase(f"{OWN}{key}", text(resource).replace("${BucketArn}", "${Bucket.Arn}"))
    }


BACKUP = "backups/acme-prd-202611230015/"
READ_VOLUMES = {
    "Api", "Assemble", "Create", "CreateWorker", "Restore", "RestoreWorker", "Verify",
    "VerifyWorker",
}  # fmt: skip


@pytest.mark.parametrize(
    ("action", "key", "functions"),
    [
        # The upload function reads what strangers wrote.
        ("s3:DeleteObject", f"{BACKUP}manifest.json", {"Api", "Cleanup", "Create", "CreateWorker"}),
        ("s3:DeleteObject", f"{BACKUP}database.tgz", {"Api", "Cleanup", "Create", "CreateWorker"}),
        ("s3:PutObject", f"{BACKUP}manifest.json", {"Create", "CreateWorker", "Upload"}),
        ("s3:PutObject", f"{BACKUP}database.tgz", {"Create", "CreateWorker", "Upload"}),
        (
            "s3:GetObject",
            f"{BACKUP}volume.tgz",
            READ_VOLUMES,
        ),
        (
            "s3:GetObject",
            f"{BACKUP}volume.index",
            READ_VOLUMES,
        ),
        (
            "s3:PutObject",
            f"{BACKUP}verification.json",
            {"Create", "CreateWorker", "Upload", "Verify"},
        ),
        (
            "s3:DeleteObject",
            f"{BACKUP}verification.json",
            {"Api", "Cleanup", "Create", "CreateWorker", "Verify"},
        ),
        ("s3:GetObject", "downloads/d.tgz", {"Api", "Assemble"}),
        ("s3:PutObject", "downloads/d.tgz", {"Assemble"}),
        ("s3:DeleteObject", "downloads/d.tgz", {"Cleanup"}),
        (
            "s3:PutObject",
            "lease.json",
            {"Create", "CreateWorker", "Restore", "RestoreWorker", "Upload"},
        ),
        ("s3:DeleteObject", "lease.json", set()),
        ("s3:PutObject", "restore-paused.json", {"Api", "Restore"}),
        ("s3:DeleteObject", "restore-paused.json", {"Api", "Restore"}),
        ("s3:GetObject", "uploads/u/database", {"Api", "Upload"}),
        ("s3:PutObject", "uploads/u/database", {"Api"}),
        ("s3:DeleteObject", "uploads/u/database", {"Api", "Cleanup", "Upload"}),
        (
            "s3:PutObject",
            "runs/20261123T001500-create-0a1b2c3d.json",
            {"Api", "Cleanup", "Create", "CreateWorker"},
        ),
        ("s3:PutObject", "runs/20261123T001500-upload-0a1b2c3d.json", {"Api", "Cleanup", "Upload"}),
        (
            "s3:PutObject",
            "runs/20261123T001500-restore-0a1b2c3d.json",
            {"Api", "Cleanup", "Restore", "RestoreWorker"},
        ),
        (
            "s3:PutObject",
            "runs/20261123T001500-download-0a1b2c3d.json",
            {"Api", "Assemble", "Cleanup"},
        ),
        (
            "s3:PutObject",
            "runs/20261123T001500-verify-0a1b2c3d.json",
            {"Api", "Cleanup", "Verify", "VerifyWorker"},
        ),
        ("s3:PutObject", "runs/20261123T001500-verify-0a1b2c3d/read-0", {"Verify", "VerifyWorker"}),
        ("s3:DeleteObject", "runs/20261123T001500-verify-0a1b2c3d/read-0", {"Cleanup", "Verify"}),
        ("s3:PutObject", "runs/20261123T001500-download-0a1b2c3d/made-0", {"Assemble"}),
        (
            "s3:DeleteObject",
            "runs/20261123T001500-download-0a1b2c3d/made-0",
            {"Assemble", "Cleanup"},
        ),
        (
            "s3:AbortMultipartUpload",
            "runs/20261123T001500-download-0a1b2c3d/piece-0/a",
            {"Assemble", "Cleanup"},
        ),
        ("s3:DeleteObject", "runs/20261123T001500-upload-0a1b2c3d.json", {"Cleanup"}),
        ("s3:PutObject", "runs/20261123T001500-create-0a1b2c3d/plan", {"CreateWorker"}),
        (
            "s3:PutObject",
            "runs/20261123T001500-create-0a1b2c3d/request",
            {"Create", "CreateWorker"},
        ),
        (
            "s3:DeleteObject",
            "runs/20261123T001500-create-0a1b2c3d/plan",
            {"Cleanup", "CreateWorker"},
        ),
    ],
)
def test_only_who_needs_it_may(
    template: dict[str, Any], action: str, key: str, functions: set[str]
) -> None:
    assert who_may(template, action, key) == functions


def test_no_role_can_destroy_a_version_or_lift_a_lock(template: dict[str, Any]) -> None:
    """So what was deleted or overwritten, by whatever function, can be had back for a week."""
    destroying = {"s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutBucketPolicy"}
    actions = {
        action
        for function in FUNCTIONS
        for statement in statements(template, function)
        if statement["Effect"] == "Allow"
        for action in as_list(statement["Action"])
    }
    assert destroying.isdisjoint(actions)
    assert not any("*" in action for action in actions)


def test_nobody_writes_over_what_a_backup_is_made_of(template: dict[str, Any]) -> None:
    """The form that AWS gives (S3 User Guide, "Enforce conditional writes")."""
    policy = template["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]
    (rule,) = [s for s in policy["Statement"] if s["Sid"] == "NoBackupIsWrittenOver"]
    assert (rule["Effect"], rule["Principal"], rule["Action"]) == ("Deny", "*", "s3:PutObject")
    assert text(rule["Resource"]) == f"{OWN}backups/*"
    assert rule["Condition"] == {
        "Null": {"s3:if-none-match": "true"},
        "Bool": {"s3:ObjectCreationOperation": "true"},
    }


def test_every_listing_is_of_a_prefix(template: dict[str, Any]) -> None:
    found = list(allowing(template, "s3:ListBucket"))
    assert {function for function, _ in found} == set(FUNCTIONS) - {"Schedules"}
    for function, statement in found:
        assert as_list(statement["Action"]) == ["s3:ListBucket"], function
        prefixes = as_list(statement["Condition"]["StringLike"]["s3:prefix"])
        assert all(text(prefix).startswith("${Prefix}/") for prefix in prefixes), function
    # S3 knows no such condition for this one, so few have it, and of the own bucket only.
    multipart = list(allowing(template, "s3:ListBucketMultipartUploads"))
    assert {function for function, _ in multipart} == {"Cleanup", "Create", "CreateWorker"}
    assert {text(statement["Resource"]) for _, statement in multipart} == {"Bucket.Arn"}


OWN_KEY, SOURCE_KEY = "${KmsKeyArn}", "${BackupRestoreSourceKmsKeyArn}"


@pytest.mark.parametrize(
    ("action", "key", "functions"),
    [
        ("kms:Decrypt", OWN_KEY, set(FUNCTIONS) - {"Schedules"}),
        ("kms:GenerateDataKey", OWN_KEY, set(FUNCTIONS) - {"Schedules", "Watch"}),
        ("kms:Decrypt", SOURCE_KEY, {"Restore", "RestoreWorker", "Watch"}),
        ("kms:GenerateDataKey", SOURCE_KEY, set()),
    ],
)
def test_keys_are_used_by_who_needs_them_and_through_s3_of_their_own_region_only(
    template: dict[str, Any], action: str, key: str, functions: set[str]
) -> None:
    found = [it for it in allowing(template, action) if text(it[1]["Resource"]) == key]
    assert {function for function, _ in found} == functions
    for _, statement in found:
        via = statement["Condition"]["StringEquals"]["kms:ViaService"]
        if key == OWN_KEY:
            assert text(via) == "s3.${AWS::Region}.${AWS::URLSuffix}"
        else:
            assert text(via) == "s3.${Region}.${AWS::URLSuffix}"
            assert "BackupRestoreSourceKmsKeyArn" in str(via["Fn::Sub"][1]["Region"])


def test_a_managed_policy_is_there_only_with_its_key_and_no_other_is(
    template: dict[str, Any],
) -> None:
    """All else is written out in each role."""
    conditions = {
        "ReadWithKey": "HasKmsKey",
        "WriteWithKey": "HasKmsKey",
        "ReadWithSourceKey": "HasSourceKmsKey",
    }
    managed = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
    }
    assert {name: policy["Condition"] for name, policy in managed.items()} == conditions
    for function in FUNCTIONS:
        role = template["Resources"][f"{function}Role"]["Properties"]
        assert "kms:" not in str(role["Policies"])
        for attached in role.get("ManagedPolicyArns", []):
            condition, policy, nothing = attached["Fn::If"]
            assert (conditions[policy["Ref"]], nothing) == (condition, {"Ref": "AWS::NoValue"})


def variables(template: dict[str, Any], function: str) -> dict[str, Any]:
    """The variables that only this function has."""
    properties = template["Resources"][f"{function}Function"]["Properties"]
    found: dict[str, Any] = properties["Environment"]["Variables"]
    return found


def test_who_reads_or_replaces_the_folder_knows_where_its_file_system_is_mounted(
    template: dict[str, Any],
) -> None:
    for function in ("Create", "Restore"):
        (mount,) = template["Resources"][f"{function}Function"]["Properties"]["FileSystemConfigs"][
            "Fn::If"
        ][1]
        assert variables(template, function)["LCP_FILE_SYSTEM_MOUNT_PATH"] == {
            "Fn::If": ["HasFileSystem", mount["LocalMountPath"], ""]
        }


def test_the_limit_of_a_shrinking_volume_reaches_create_and_is_checked_at_deployment(
    template: dict[str, Any],
) -> None:
    limit = {"Ref": "BackupVolumeShrinkLimit"}
    checked = template["Resources"]["Schedules"]["Properties"]["Variables"]
    for given in (variables(template, "Create"), checked):
        assert given["LCP_BACKUP_VOLUME_SHRINK_LIMIT"] == limit
    assert template["Parameters"]["BackupVolumeShrinkLimit"]["Default"] == "50"


@pytest.mark.parametrize(
    ("function", "retries"),
    [
        ("Restore", 0),
        ("Assemble", 0),
        ("Verify", 0),
        ("Schedules", 0),
        ("Watch", 0),
        ("Create", 2),
        ("Upload", 2),
        ("Cleanup", 2),
    ],
)
def test_lambda_repeats_only_what_harms_nobody_who_was_told_that_it_failed(
    template: dict[str, Any], function: str, retries: int
) -> None:
    """Unless told otherwise, Lambda repeats a failed asynchronous invocation twice."""
    config = template["Resources"][f"{function}Function"]["Properties"]["EventInvokeConfig"]
    assert config["MaximumRetryAttempts"] == retries


KINDS = ("Create", "Restore", "Cleanup", "Verify")
RULES = tuple(f"{kind.lower()}-{number}" for kind in KINDS for number in (1, 2))


def rule_patterns(template: dict[str, Any], stack: str) -> dict[str, list[str]]:
    """Rule names, as patterns: what the role may change, and what may start each function."""
    (role,) = [s for s in statements(template, "Schedules") if s["Sid"] == "KeepRules"]
    found = {"role": [text(resource) for resource in as_list(role["Resource"])]}
    for kind in KINDS:
        permission = template["Resources"][f"{kind}Permission"]["Properties"]
        found[kind.lower()] = [text(permission["SourceArn"])]
    return {
        who: [arn.rpartition("/")[2].replace("${AWS::StackName}", stack) for arn in arns]
        for who, arns in found.items()
    }


@pytest.mark.parametrize(
    "neighbour", ["lcp-prod", "lcp-create", "lcp-create-1", "lcp-1", "lc", "lcq"]
)
def test_rules_of_a_stack_whose_name_begins_alike_are_out_of_reach(
    template: dict[str, Any], neighbour: str
) -> None:
    for who, patterns in rule_patterns(template, "lcp").items():
        for rule in RULES:
            if who in ("role", rule.partition("-")[0]):
                assert any(fnmatchcase(f"lcp-{rule}", pattern) for pattern in patterns)
            theirs = f"{neighbour}-{rule}"
            assert not any(fnmatchcase(theirs, pattern) for pattern in patterns), (who, theirs)


@pytest.mark.parametrize(("parameter", "functions"), SECRETS.items())
def test_a_secret_is_given_to_the_functions_that_need_it(
    template: dict[str, Any], parameter: str, functions: set[str]
) -> None:
    assert template["Parameters"][parameter]["NoEcho"] is True
    holders = {
        name.removesuffix("Function")
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
        and {"Ref": parameter}
        in resource["Properties"].get("Environment", {}).get("Variables", {}).values()
    }
    assert holders == functions
    assert {"Ref": parameter} not in template["Globals"]["Function"]["Environment"][
        "Variables"
    ].values()
    readers = {
        function
        for function, statement in allowing(template, "secretsmanager:GetSecretValue")
        if statement["Resource"] == {"Ref": parameter}
    }
    assert readers == functions


@pytest.mark.parametrize("who", ["Loader", "Site"])
def test_a_password_needs_its_name_and_is_looked_up_only_when_it_is_an_arn(
    template: dict[str, Any], who: str
) -> None:
    rule = template["Rules"][f"{who}PasswordNeedsName"]
    assert rule["RuleCondition"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": f"{who}UserPassword"}, ""]}]
    }
    (asserted,) = rule["Assertions"]
    assert asserted["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": f"{who}UserName"}, ""]}]}
    policies = template["Resources"]["RestoreRole"]["Properties"]["Policies"]
    conditional = [
        entry["Fn::If"][0]
        for entry in policies[0]["PolicyDocument"]["Statement"]
        if "Fn::If" in entry and entry["Fn::If"][1].get("Resource") == {"Ref": f"{who}UserPassword"}
    ]
    assert conditional == [f"{who}PasswordIsSecret"]


def test_access_logs_take_no_room_in_the_regions_policy_for_delivered_logs(
    template: dict[str, Any],
) -> None:
    """Under any other name each log group takes some of its 5,120 characters.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-CWL.html
    """
    resources = template["Resources"]
    assert text(resources["ApiStage"]["Properties"]["AccessLogSettings"]["DestinationArn"]) == (
        "ApiAccessLogGroup.Arn"
    )
    name = resources["ApiAccessLogGroup"]["Properties"]["LogGroupName"]
    assert text(name).startswith("/aws/vendedlogs/")
    assert "${AWS::StackName}" in text(name), "two stacks side by side"


def test_what_holds_data_outlives_the_stack_but_not_a_first_deployment_that_failed(
    template: dict[str, Any],
) -> None:
    """And so does what protects it: a bucket without its policy would take plain HTTP again."""
    for name in ("Bucket", "BucketPolicy", "UserPool"):
        resource = template["Resources"][name]
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert resource["UpdateReplacePolicy"] == "Retain", name


def test_the_defaults_can_be_deployed_in_a_new_account(template: dict[str, Any]) -> None:
    """It may run 10 functions at once, and Lambda keeps 100 that nobody can reserve."""
    assert template["Parameters"]["ReserveConcurrency"]["Default"] == "false"
    for name, resource in template["Resources"].items():
        reserved = resource.get("Properties", {}).get("ReservedConcurrentExecutions")
        nothing = {"Ref": "AWS::NoValue"}
        assert reserved in (None, {"Fn::If": ["ReservesConcurrency", 1, nothing]}), name


def test_a_folder_that_no_function_can_see_fails_before_anything_is_made(
    template: dict[str, Any],
) -> None:
    """Of other folders the custom resource says it: rules can only compare whole values."""
    rule = template["Rules"]["FileSystemNeedsFolder"]
    assert rule["RuleCondition"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "FileSystemArn"}, ""]}]}
    (asserted,) = rule["Assertions"]
    default = template["Parameters"]["BackupFolder"]["Default"]
    assert asserted["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "BackupFolder"}, default]}]}
    checked = template["Resources"]["Schedules"]["Properties"]["Variables"]
    assert checked["LCP_FILE_SYSTEM_MOUNT_PATH"] == {
        "Fn::If": ["HasFileSystem", {"Ref": "FileSystemMountPath"}, ""]
    }


def test_lambda_lets_through_what_is_logged_and_never_drops_a_metric(
    template: dict[str, Any],
) -> None:
    """Lambda takes a line without a level, as metrics are, for INFO.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    """
    logging = template["Globals"]["Function"]["LoggingConfig"]
    assert logging == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": {"Fn::If": ["LogsDebug", "DEBUG", "INFO"]},
    }
    assert template["Conditions"]["LogsDebug"] == {
        "Fn::Or": [
            {"Fn::Equals": [{"Ref": "ServiceLogLevel"}, "DEBUG"]},
            {"Fn::Equals": [{"Ref": "DebugLog"}, "true"]},
        ]
    }


def test_a_backup_that_lacks_something_is_an_alarm_until_one_lacks_nothing(
    template: dict[str, Any],
) -> None:
    alarm = template["Resources"]["CreateIncompleteAlarm"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("LcpBackup", "CreateLosses")
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (
        1,
        "GreaterThanOrEqualToThreshold",
    )
    # Backups are a day apart: silence between them neither raises nor ends it.
    assert alarm["TreatMissingData"] == "ignore"
    overdue = template["Resources"]["OverdueAlarm"]["Properties"]
    assert alarm["Dimensions"] == overdue["Dimensions"]


def test_who_waits_for_a_download_does_not_alarm_anybody(template: dict[str, Any]) -> None:
    (counted,) = template["Resources"]["DownloadsNotReady"]["Properties"]["MetricTransformations"]
    metrics = template["Resources"]["ApiFailingAlarm"]["Properties"]["Metrics"]
    by_id = {metric["Id"]: metric for metric in metrics}
    waiting = by_id["waiting"]["MetricStat"]["Metric"]
    assert waiting["MetricName"] == counted["MetricName"]
    assert waiting["Namespace"] == counted["MetricNamespace"]
    assert by_id["failing"]["Expression"] == "answered - FILL(waiting, 0)"


def test_every_alarm_tells_the_topic_is_on_the_dashboard_and_in_the_runbook(
    template: dict[str, Any],
) -> None:
    runbook = (TEMPLATE.parent / "docs/operations.md").read_text()
    dashboard = str(template["Resources"]["Dashboard"]["Properties"]["DashboardBody"])
    topic = [{"Ref": "AlarmTopic"}]
    alarms = {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert len(alarms) > 8
    for name, alarm in alarms.items():
        assert (alarm["AlarmActions"], alarm["OKActions"]) == (topic, topic), name
        assert f"${{{name}.Arn}}" in dashboard
        section = name.removesuffix("Alarm")
        assert re.search(rf"^### .*\b{section}\b", runbook, re.MULTILINE), section
        assert text(alarm["AlarmDescription"]).strip().endswith(f"operations.md, {section}")


def test_with_one_worker_the_stack_has_no_state_machine_and_nothing_that_belongs_to_one(
    template: dict[str, Any],
) -> None:
    assert template["Conditions"]["HasWorkers"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "Workers"}, "1"]}]
    }
    of_workers = {
        name
        for name, resource in template["Resources"].items()
        if resource.get("Condition") == "HasWorkers"
    }
    # (A stack with a task has workers.)
    of_task = of_the_task(template)
    named = {name for name in template["Resources"] if re.search("Worker|Machine", name)}
    assert of_workers == named - of_task
    of_workers |= of_task
    types = {resource["Type"]: name for name, resource in template["Resources"].items()}
    assert types["AWS::Serverless::StateMachine"] in of_workers
    # And nothing else names them but behind the same condition.
    rest = {name: it for name, it in template["Resources"].items() if name not in of_workers}
    assert not re.search("Worker[A-Z]|Machine", str(without_workers(rest)))


def without_workers(value: Any) -> Any:
    """The template as it is where Workers is 1."""
    match value:
        case {"Fn::If": ["HasWorkers" | "HasDumpTask", _, otherwise]}:
            return otherwise
        case dict():
            return {key: without_workers(inner) for key, inner in value.items()}
        case list():
            return [without_workers(inner) for inner in value]
    return value


# --- the dump as a task ---------------------------------------------------------------------------


def of_the_task(template: dict[str, Any]) -> set[str]:
    return {
        name
        for name, resource in template["Resources"].items()
        if resource.get("Condition") == "HasDumpTask"
    }


def test_the_bucket_forgets_no_upload_that_a_task_may_still_take_in(
    template: dict[str, Any],
) -> None:
    """S3 counts from when a file was begun to be sent. Daily cleanups let one be sent for two days;
    a task has 12 hours for it, and for a day or two after that it may be completed again."""
    rules = template["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (rule,) = [it for it in rules if it["Id"] == "forget-uploads-that-nobody-completed"]
    sent, taken_in, kept = timedelta(days=2), LONGEST + timedelta(hours=2), timedelta(days=2)
    assert timedelta(days=rule["ExpirationInDays"]) > sent + taken_in + kept


def test_without_its_subnets_the_stack_has_no_task_and_nothing_that_belongs_to_one(
    template: dict[str, Any],
) -> None:
    has_subnets = {"Fn::Not": [{"Fn::Equals": [{"Ref": "DumpTaskSubnetIds"}, ""]}]}
    assert template["Conditions"]["HasDumpTask"] == {
        "Fn::And": [{"Condition": "HasWorkers"}, has_subnets]
    }
    assert template["Parameters"]["DumpTaskSubnetIds"]["Default"] == ""
    resources = template["Resources"]
    found = of_the_task(template)
    starts = ("Dump", "UploadTask", "UploadMachine", "RestoreTask", "VerifyTask")
    assert found == {name for name in resources if name.startswith(starts)}
    assert {name for name in resources if resources[name]["Type"].startswith("AWS::ECS")} <= found
    rest = without_task({name: it for name, it in resources.items() if name not in found})
    named = (
        r"'Ref': 'Dump(?!TaskSubnetIds)|GetAtt': \['Dump|\$\{Dump|Upload(Task|Machine)|PassRole"
        r"|(Restore|Verify)Task|ecs:(?!runTask')|ecs-tasks"
    )
    assert not re.search(named, str(rest))
    for whose in ("Create", "Restore", "Verify"):
        definition = rest[f"{whose}Machine"]["Properties"]["DefinitionSubstitutions"]
        assert text(definition["RunTask"]).endswith(":ecs:runTask")  # without .sync


def without_task(value: Any) -> Any:
    """The template as it is where there is no task."""
    match value:
        case {"Fn::If": ["HasDumpTask", _, otherwise]}:
            return otherwise
        case dict():
            return {key: without_task(inner) for key, inner in value.items()}
        case list():
            return [without_task(inner) for inner in value]
    return value


@pytest.mark.parametrize(
    ("rule", "needed"),
    [("DumpTaskNeedsSecurityGroups", "SecurityGroupIds"), ("DumpTaskNeedsWorkers", "Workers")],
)
def test_a_task_needs_security_groups_and_workers(
    template: dict[str, Any], rule: str, needed: str
) -> None:
    found = template["Rules"][rule]
    assert found["RuleCondition"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "DumpTaskSubnetIds"}, ""]}]
    }
    (asserted,) = found["Assertions"]
    without = {"SecurityGroupIds": "", "Workers": "1"}[needed]
    assert asserted["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": needed}, without]}]}


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("DumpTask", "CreateWorkerFunction"),
        ("UploadTask", "UploadFunction"),
        ("RestoreTask", "RestoreFunction"),
        ("VerifyTask", "VerifyFunction"),
    ],
)
def test_a_tasks_definition_holds_no_secret_and_runs_on_the_stacks_processor(
    template: dict[str, Any], name: str, function: str
) -> None:
    task = template["Resources"][name]["Properties"]
    (container,) = task["ContainerDefinitions"]
    given = {it["Name"]: it["Value"] for it in container["Environment"]}
    assert given == {
        "FUNCTION": {"Ref": function},
        "TMPDIR": "/work",
        "AWS_DEFAULT_REGION": {"Ref": "AWS::Region"},
        "AWS_ENDPOINT_URL": {"Ref": "EndpointUrl"},
    }
    assert "Secrets" not in container
    assert not any(parameter in str(task) for parameter in SECRETS)
    assert task["RuntimePlatform"]["CpuArchitecture"] == {"Fn::If": ["OnArm", "ARM64", "X86_64"]}
    (command,) = container["Command"]
    (place, *keys) = command["Fn::FindInMap"]
    code = template["Mappings"][place][keys[0]][keys[1]]
    compile(code, "the command of a task", "exec")


def test_the_task_may_do_no_more_than_the_worker_whose_step_it_does(
    template: dict[str, Any],
) -> None:
    """But read what that is: its variables and its layers."""
    worker = list(allowed(template, "CreateWorker"))
    more = {
        (action, resource)
        for action, resource in allowed(template, "DumpTask")
        if not any(action == a and fnmatchcase(resource, r) for a, r in worker)
    }
    assert more == {
        ("lambda:GetFunctionConfiguration", "CreateWorkerFunction.Arn"),
        ("lambda:GetLayerVersion", "${ServiceLayer}"),
        ("lambda:GetLayerVersion", "${MysqlClientLayer}"),
    }


def allowed(template: dict[str, Any], role: str) -> Iterator[tuple[str, str]]:
    """Action and resource, of all that a role allows."""
    for statement in statements(template, role):
        if statement["Effect"] == "Allow":
            for action in as_list(statement["Action"]):
                for resource in as_list(statement["Resource"]):
                    yield action, text(resource)
