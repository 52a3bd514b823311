"""The `LCP.json` of a Liferay Cloud `backup` service, as parameters of the template."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lcp_backup_cli.commands import Session, command
from lcp_backup_cli.errors import CliError, Exit

SECRET_ARN = "arn:aws:secretsmanager:REGION:ACCOUNT:secret:"  # noqa: S105 -- no secret
"""How the ARN begins that stands in the place of a secret; the rest is to be filled in."""

PARAMETERS = {
    "LCP_BACKUP_CREATE_SCHEDULE": "BackupCreateSchedule",
    "LCP_BACKUP_CLEANUP_SCHEDULE": "BackupCleanupSchedule",
    "LCP_BACKUP_RESTORE_SCHEDULE": "BackupRestoreSchedule",
    "LCP_BACKUP_RETENTION_PERIOD": "BackupRetentionPeriod",
    "LCP_BACKUP_RESTORE_STRATEGY": "BackupRestoreStrategy",
    "LCP_DBNAME": "Dbname",
    "LCP_MASTER_USER_NAME": "MasterUserName",
    "LCP_DEBUG_LOG": "DebugLog",
    "LCP_PROJECT_ID": "ProjectId",
    "LCP_ENVIRONMENT_ID": "EnvironmentId",
    "LCP_DATABASE_SERVICE": "DatabaseService",
}
"""What means the same in both, by the variable."""
SECRETS = {
    "LCP_MASTER_USER_PASSWORD": "MasterUserPassword",
    "LCP_PROJECT_MASTER_TOKEN": "ProjectMasterToken",
}
"""What is never written out, by the variable."""
NOTES = {
    "LCP_BACKUP_FOLDER": "on AWS it must lie at or below FileSystemMountPath (/mnt/liferay): set"
    " BackupFolder to where the file system's folder is",
    "LCP_DATABASE_SERVICE": "it was the id of a Liferay Cloud service: write the id of the RDS"
    " instance or cluster, or host:port",
    "LCP_BACKUP_CREATE_SCHEDULE": "the hour is UTC",
    "LCP_BACKUP_RESTORE_SCHEDULE": "EnvironmentType has to be production, and"
    " BackupRestoreSourceBucket and BackupRestoreSourcePrefix name what is restored",
}
"""What has to be known of a variable, beside its value."""


class Format(StrEnum):
    """What the parameters are written as."""

    SAMCONFIG = "samconfig"
    OVERRIDES = "overrides"
    ENV = "env"


@dataclass
class Translated:
    """Parameters with their values, and a line for whatever is not one to one."""

    parameters: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@command("lcp-backup parameters LCP.json --environment prd --format samconfig", calls=False)
def parameters(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="LCP.json", help="Of the backup service.")],
    environment: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its variables override those of all environments."),
    ] = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            metavar="|".join(Format),
            help="For samconfig.toml, for sam deploy, or as LCP_*.",
        ),
    ] = Format.SAMCONFIG,
) -> None:
    """Turn the LCP.json of a Liferay Cloud backup service into the template's parameters.

    Each variable that has no counterpart is named. Passwords and tokens are not written: put each
    into Secrets Manager, and write its ARN in the place that is shown.
    """
    found = translated(variables_of(file, environment), environment)
    session.terminal.document(
        {
            "parameters": found.parameters,
            "variables": found.variables,
            "notes": found.notes,
        }
    )
    if not session.terminal.as_json:
        session.terminal.say(written(found, form))
    for note in found.notes:
        session.terminal.tell(note)


def variables_of(file: Path, environment: str | None) -> dict[str, str]:
    """The variables of an environment; raises CliError for what is no LCP.json."""
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        raise CliError(
            f"{file} cannot be read: {error.strerror}",
            "Give the LCP.json of the backup service.",
            exit_code=Exit.USAGE,
        ) from None
    except UnicodeDecodeError:
        raise CliError(
            f"{file} is no JSON: it is not in UTF-8",
            "Give the LCP.json of the backup service.",
            exit_code=Exit.USAGE,
        ) from None
    except ValueError as error:
        raise CliError(
            f"{file} is no JSON: {error}", "Correct it there.", exit_code=Exit.USAGE
        ) from None
    environments = _object(content, "environments") if isinstance(content, dict) else {}
    if environment is not None and environment not in environments:
        known = ", ".join(sorted(environments)) or "none"
        raise CliError(
            f"{file} has no environment {environment}; it has {known}",
            "Name one of these, or leave --environment out.",
            exit_code=Exit.USAGE,
        )
    chosen = _object(environments, environment) if environment is not None else {}
    given = {**_object(content, "env"), **_object(chosen, "env")}
    if not given:
        raise CliError(
            f"{file} holds no variables",
            "Give the LCP.json of the backup service, which has them below env.",
            exit_code=Exit.USAGE,
        )
    return {name: _text(value) for name, value in given.items()}


def translated(variables: dict[str, str], environment: str | None) -> Translated:
    """The parameters that say what the variables say."""
    found = Translated()
    if environment is not None and "LCP_ENVIRONMENT_ID" not in variables:
        variables = {"LCP_ENVIRONMENT_ID": environment, **variables}
    for name, value in sorted(variables.items()):
        if name in SECRETS:
            found.parameters[SECRETS[name]] = found.variables[name] = f"{SECRET_ARN}{name}"
            found.notes.append(
                f"{name}: put the value into a secret of Secrets Manager, and its ARN here"
            )
        elif name in PARAMETERS:
            found.parameters[PARAMETERS[name]] = found.variables[name] = value
            if name in NOTES:
                found.notes.append(f"{name}: {NOTES[name]}")
        elif name in NOTES:
            found.notes.append(f"{name}={value}: {NOTES[name]}")
        else:
            # Without its value: that may be a secret, whatever the name.
            found.notes.append(f"{name}: this service has no such setting; left out")
    return found


def written(found: Translated, form: Format) -> str:
    """In the form that a tool reads."""
    if form is Format.ENV:
        return "\n".join(f"{name}={shlex.quote(it)}" for name, it in found.variables.items())
    if form is Format.OVERRIDES:
        return " ".join(
            shlex.quote(f"{name}={_quoted(value)}") for name, value in found.parameters.items()
        )
    lines = [f"    {json.dumps(f'{k}={_quoted(v)}')}," for k, v in found.parameters.items()]
    return "\n".join(["[default.deploy.parameters]", "parameter_overrides = [", *lines, "]"])


def _quoted(value: str) -> str:
    """As SAM takes a value with blanks."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _object(content: Any, name: str) -> dict[str, Any]:
    found = content.get(name, {}) if isinstance(content, dict) else {}
    if not isinstance(found, dict):
        raise CliError(f"{name} is no object in this LCP.json", exit_code=Exit.USAGE)
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)
