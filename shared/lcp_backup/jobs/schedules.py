"""Schedules: the rules that the cron variables ask for, made, changed and removed at deployment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_pascal

from lcp_backup.aws.rules import ScheduleRule, ScheduleRules
from lcp_backup.cron import CronExpression, default_create_schedule, default_verify_schedule
from lcp_backup.errors import InvalidRequest
from lcp_backup.invalid import first_problem
from lcp_backup.model import RunKind
from lcp_backup.settings import Settings

_SCHEDULED = (RunKind.CREATE, RunKind.RESTORE, RunKind.CLEANUP, RunKind.VERIFY)
_RULES_PER_SCHEDULE = 2
"""A cron schedule becomes one or two EventBridge rules."""
_LONGEST_RULE_NAME = 64  # EventBridge's limit
_LONGEST_PREFIX = _LONGEST_RULE_NAME - len(f"-{RunKind.RESTORE}-{_RULES_PER_SCHEDULE}")
_PREFIX = re.compile(rf"[A-Za-z0-9._-]{{1,{_LONGEST_PREFIX}}}")

_Arn = Annotated[str, StringConstraints(pattern=r"^arn:[^:]+:lambda:")]


class SchedulesRequest(BaseModel):
    """The properties of the custom resource `Custom::Schedules`."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, alias_generator=to_pascal
    )

    variables: dict[str, str]
    """The LCP_* variables of the deployment; one that is empty counts as not set."""
    create_function_arn: _Arn
    restore_function_arn: _Arn
    cleanup_function_arn: _Arn
    verify_function_arn: _Arn
    rule_name_prefix: Annotated[str, Field(pattern=rf"^{_PREFIX.pattern}$")]
    """The stack's name: each rule is named `<stack>-<kind>-<number>`, which the role allows by that
    exact form. A shortened name would be none that the template can tell the role."""

    @classmethod
    def read(cls, properties: Mapping[str, Any]) -> Self:
        """Reads the properties; raises InvalidRequest, which names the one that is wrong."""
        name = properties.get("RuleNamePrefix")
        if isinstance(name, str) and len(name) > _LONGEST_PREFIX:
            raise InvalidRequest(
                f"the stack's name has {len(name)} characters, and its rules are named after it:"
                f" choose a name of at most {_LONGEST_PREFIX}"
            )
        try:
            return cls.model_validate(properties)
        except ValidationError as error:
            where, message, _ = first_problem(error)
            raise InvalidRequest(f"the resource's property {where}: {message}") from None

    def function_arn(self, kind: RunKind) -> str:
        """The function that does runs of this kind."""
        arns = {
            RunKind.CREATE: self.create_function_arn,
            RunKind.RESTORE: self.restore_function_arn,
            RunKind.CLEANUP: self.cleanup_function_arn,
            RunKind.VERIFY: self.verify_function_arn,
        }
        return arns[kind]


@dataclass(frozen=True)
class Schedules:
    """The cron schedules in force after a deployment; None where there is none."""

    create: CronExpression | None
    restore: CronExpression | None
    cleanup: CronExpression
    verify: CronExpression | None

    @classmethod
    def of(cls, settings: Settings, stack_id: str) -> Self:
        """What the settings ask for; with a restore schedule nothing is created on schedule.

        Nor verified then: there are no backups of its own, and each restore proves one of the
        source's. Source: the original service's table. The default times are drawn from the stack's
        id, so they stay the same over updates and differ between stacks.
        """
        create: CronExpression | None = settings.backup_create_schedule or CronExpression.parse(
            default_create_schedule(stack_id)
        )
        restore = settings.backup_restore_schedule
        verify = settings.backup_verify_schedule
        if settings.backup_verify_schedule_given is None:
            verify = CronExpression.parse(default_verify_schedule(stack_id))
        if restore is not None:
            create = verify = None
        return cls(create, restore, settings.backup_cleanup_schedule, verify)

    def of_kind(self, kind: RunKind) -> CronExpression | None:
        """The schedule of runs of this kind."""
        by_kind = {
            RunKind.CREATE: self.create,
            RunKind.RESTORE: self.restore,
            RunKind.CLEANUP: self.cleanup,
            RunKind.VERIFY: self.verify,
        }
        return by_kind[kind]


def sync_schedules(rules: ScheduleRules, request: SchedulesRequest, stack_id: str) -> Schedules:
    """Makes the rules be what the variables say, whatever they were before; may be called again.

    Everything is checked before the first rule is touched, and wanted rules are put before others
    are removed: a failure half-way leaves the stack with too many rules, never without a backup.
    Raises SettingsError (a variable), AwsError.
    """
    settings = Settings.from_env(request.variables)
    schedules = Schedules.of(settings, stack_id)
    prefix = request.rule_name_prefix
    wanted = {
        rule.name: rule for kind in _SCHEDULED for rule in _rules(kind, schedules, request, prefix)
    }
    for rule in wanted.values():
        rules.put(rule)
    for name in _possible_names(prefix):
        if name not in wanted:
            rules.remove(name)
    return schedules


def remove_schedules(rules: ScheduleRules, properties: Mapping[str, Any]) -> None:
    """Removes every rule that `sync_schedules` can have made; that there is none is fine.

    Properties without a usable prefix never made a rule, so there is nothing to remove: the
    rollback of a deployment that failed on them must succeed. Raises AwsError.
    """
    prefix = properties.get("RuleNamePrefix")
    if isinstance(prefix, str) and _PREFIX.fullmatch(prefix):
        for name in _possible_names(prefix):
            rules.remove(name)


def rule_names(prefix: str, kind: RunKind, schedule: CronExpression) -> list[str]:
    """What the rules of a schedule are called, in the order of its expressions.

    Arguments: `prefix` is the stack's name.
    """
    return [f"{prefix}-{kind}-{number}" for number, _ in enumerate(schedule.eventbridge(), start=1)]


def _possible_names(prefix: str) -> list[str]:
    # The names are few and known, so that nothing has to be listed: a listing by prefix would also
    # find the rules of a stack whose name begins with this one's.
    return [
        f"{prefix}-{kind}-{number}"
        for kind in _SCHEDULED
        for number in range(1, _RULES_PER_SCHEDULE + 1)
    ]


def _rules(
    kind: RunKind, schedules: Schedules, request: SchedulesRequest, prefix: str
) -> list[ScheduleRule]:
    schedule = schedules.of_kind(kind)
    if schedule is None:
        return []
    return [
        ScheduleRule(
            name=name,
            expression=expression,
            function_arn=request.function_arn(kind),
            description=f"LCP Backup: {kind} at {schedule.text} (UTC)"[:512],
        )
        for name, expression in zip(
            rule_names(prefix, kind, schedule), schedule.eventbridge(), strict=True
        )
    ]
