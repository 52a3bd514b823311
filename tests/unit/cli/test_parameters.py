"""A Liferay Cloud backup service's LCP.json becomes parameters, and no secret leaves it."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from lcp_backup_cli.parameters import NOTES, PARAMETERS, SECRET_ARN, SECRETS
from local.stack import parameter_of, template_parameters
from tests.support.command_line import CommandLine

_SEED = {
    "id": "backup",
    "image": "liferaycloud/backup:3.2.1",
    "env": {
        "LCP_BACKUP_CREATE_SCHEDULE": "0 0,12 * * *",
        "LCP_BACKUP_FOLDER": "/opt/liferay/data",
        "LCP_MASTER_USER_PASSWORD": "very secret",
        "LCP_DBNAME": "lportal",
    },
    "environments": {
        "prd": {"env": {"LCP_BACKUP_RETENTION_PERIOD": 14, "LCP_DBNAME": "the portal"}},
        "infra": {"deploy": False},
    },
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "LCP.json"
    found.write_text(json.dumps(_SEED))
    return found


def test_each_counterpart_is_a_parameter_of_the_template() -> None:
    assert {*PARAMETERS.values(), *SECRETS.values()} <= template_parameters()
    for variable, parameter in {**PARAMETERS, **SECRETS}.items():
        assert parameter == parameter_of(variable)


def test_every_variable_of_the_original_is_known() -> None:
    page = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    original = {
        *("LCP_BACKUP_CREATE_SCHEDULE", "LCP_BACKUP_FOLDER", "LCP_BACKUP_RESTORE_SCHEDULE"),
        *("LCP_BACKUP_RETENTION_PERIOD", "LCP_DATABASE_SERVICE", "LCP_DBNAME"),
        *("LCP_MASTER_USER_NAME", "LCP_MASTER_USER_PASSWORD", "LCP_BACKUP_CLEANUP_SCHEDULE"),
    }
    assert original <= {*PARAMETERS, *SECRETS, *NOTES}
    assert {*PARAMETERS, *SECRETS, *NOTES} <= set(re.findall(r"`(LCP_\w+)`", page))


def test_an_environments_variables_count_above_those_of_all(lcp: CommandLine, file: Path) -> None:
    told = lcp("parameters", file, "--environment", "prd", "--json").json()
    assert told["parameters"] == {
        "BackupCreateSchedule": "0 0,12 * * *",
        "BackupRetentionPeriod": "14",
        "Dbname": "the portal",
        "EnvironmentId": "prd",
        "MasterUserPassword": f"{SECRET_ARN}LCP_MASTER_USER_PASSWORD",
    }
    assert lcp("parameters", file, "--json").json()["parameters"]["Dbname"] == "lportal"


def test_all_forms_say_the_same_and_none_tells_a_secret(lcp: CommandLine, file: Path) -> None:
    command = ("parameters", file, "--environment", "prd")
    expected = lcp(*command, "--json").json()["parameters"]
    quoted = [f'{name}="{value}"' for name, value in expected.items()]
    samconfig = tomllib.loads(lcp(*command).out)["default"]["deploy"]["parameters"]
    assert samconfig["parameter_overrides"] == quoted
    assert shlex.split(lcp(*command, "--format", "overrides").out) == quoted
    env = shlex.split(lcp(*command, "--format", "env").out)
    assert "LCP_DBNAME=the portal" in env
    for form in ("samconfig", "overrides", "env"):
        said = lcp(*command, "--format", form, "--debug")
        assert "very secret" not in said.out + said.err
        assert "LCP_BACKUP_FOLDER=/opt/liferay/data: on AWS it must lie" in said.err


def test_what_has_no_counterpart_is_told_without_its_value_which_may_be_a_secret(
    lcp: CommandLine, file: Path
) -> None:
    env = {"LCP_BACKUP_X": "https://ann:hidden-value@example.com", "MY_TOKEN": "hidden-value"}
    file.write_text(json.dumps({"env": env}))
    said = lcp("parameters", file)
    assert "LCP_BACKUP_X: this service has no such setting" in said.err
    assert "MY_TOKEN: this service has no such setting" in said.err
    assert "hidden-value" not in said.out + said.err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is no JSON"),
        ('{"env": 7}', "env is no object"),
        ("{}", "has no environment prd"),
        ('{"environments": {"prd": {}}}', "holds no variables"),
    ],
)
def test_what_is_no_lcp_json_is_told(
    lcp: CommandLine, file: Path, content: str, sentence: str
) -> None:
    file.write_text(content)
    said = lcp("parameters", file, "--environment", "prd")
    if "environment prd" in sentence or content == "{":
        assert (said.code, sentence in said.err) == (2, True)
    else:
        assert lcp("parameters", file).code == 2
    assert lcp("parameters", file.with_name("none")).code == 2
