"""docs/configuration.md against the template and the settings: it names all there is, no more."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode.cfn_yaml import load

from lcp_backup.settings import Settings

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "configuration.md").read_text()
ALIASES = {field.alias: name for name, field in Settings.model_fields.items() if field.alias}
WITHOUT_PARAMETER = "Variables without a parameter"
OF_BUILDS = "Variables of builds, tests and scripts"
READ_ELSEWHERE = [
    *PROJECT.glob("layers/*/*.py"),
    *PROJECT.glob("layers/*/Makefile"),
    PROJECT / "shared" / "Makefile",
    PROJECT / "docs" / "upload.sh",
    PROJECT / "tests" / "conftest.py",
]
"""Files that read variables which are no setting of the service."""


def tables() -> dict[str, list[list[str]]]:
    """The cells of each section's table, without their code marks."""
    found = {}
    for section in PAGE.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("|")][2:]
        found[title] = [
            [cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines
        ]
    return found


TABLES = tables()
DRAWN = {"LCP_BACKUP_CREATE_SCHEDULE", "LCP_BACKUP_VERIFY_SCHEDULE"}
"""Schedules that are drawn once per stack where none is given."""
PARAMETERS = [
    row
    for title, rows in TABLES.items()
    if title not in {WITHOUT_PARAMETER, OF_BUILDS}
    for row in rows
]


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    read: dict[str, Any] = load(str(PROJECT / "template.yaml"))
    return read


def refs(value: Any) -> Iterator[str]:
    """The names that are referred to by Ref, anywhere in a value."""
    if isinstance(value, dict):
        if "Ref" in value:
            yield str(value["Ref"])
        for one in value.values():
            yield from refs(one)
    elif isinstance(value, list):
        for one in value:
            yield from refs(one)


def given_variables(template: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each variable that a function has, or that is checked at a deployment, with its value."""
    functions = [template["Globals"]["Function"]["Environment"]["Variables"]]
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        functions.append(properties.get("Environment", {}).get("Variables", {}))
    functions.append(template["Resources"]["Schedules"]["Properties"]["Variables"])
    prefix = template["Resources"]["Prefix"]["Properties"]["Value"]
    for variables in functions:
        for name, value in variables.items():
            yield name, prefix if value == {"Fn::GetAtt": ["Prefix", "Value"]} else value


def test_every_parameter_stands_in_its_group_once(template: dict[str, Any]) -> None:
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    groups = {
        group["Label"]["default"]: list(group["Parameters"])
        for group in interface["ParameterGroups"]
    }
    written = {title: [row[0] for row in TABLES[title]] for title in groups}
    assert {title: sorted(names) for title, names in written.items()} == {
        title: sorted(names) for title, names in groups.items()
    }
    assert sorted(row[0] for row in PARAMETERS) == sorted(template["Parameters"])
    assert [*groups, WITHOUT_PARAMETER, OF_BUILDS] == list(TABLES)


def test_every_parameters_default_is_the_templates(template: dict[str, Any]) -> None:
    assert {row[0]: row[2] for row in PARAMETERS} == {
        name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()
    }


def test_a_parameter_stands_beside_the_variable_that_the_template_gives_its_value(
    template: dict[str, Any],
) -> None:
    given = {
        (name, parameter)
        for name, value in given_variables(template)
        for parameter in refs(value)
        if parameter in template["Parameters"]
    }
    assert {(row[1], row[0]) for row in PARAMETERS if row[1]} == given


def test_every_setting_stands_there_once() -> None:
    written = [row[1] for row in PARAMETERS if row[1].startswith("LCP_")]
    written += [row[0] for row in TABLES[WITHOUT_PARAMETER]]
    assert sorted(written) == sorted(ALIASES)


@pytest.mark.parametrize(
    ("variable", "default"),
    [(row[1], row[2]) for row in PARAMETERS if row[1] in ALIASES]
    + [(row[0], row[1]) for row in TABLES[WITHOUT_PARAMETER]],
)
def test_a_variables_default_means_what_its_absence_means(variable: str, default: str) -> None:
    if variable == "LCP_FILE_SYSTEM_MOUNT_PATH":
        default = ""  # functions without a file system get no path: test_template.py
    field = ALIASES[variable]
    given = getattr(Settings.from_env({variable: default}), field)
    absent = getattr(Settings.from_env({}), field)
    assert given == absent
    if default == "":
        assert absent in (None, False, ())
    else:
        assert absent is not None or variable in DRAWN


def test_variables_that_are_no_setting_are_those_that_something_else_reads() -> None:
    read = {
        name
        for path in READ_ELSEWHERE
        for name in re.findall(r"\bLCP_[A-Z_]*[A-Z]\b", path.read_text())
    }
    assert sorted(row[0] for row in TABLES[OF_BUILDS]) == sorted(read - set(ALIASES))


@pytest.mark.parametrize("page", sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")]))
def test_no_page_names_a_variable_that_does_not_exist(page: Path, template: dict[str, Any]) -> None:
    known = {*ALIASES, *(row[0] for row in TABLES[OF_BUILDS])}
    # deploy-check takes variables for all parameters, those that no function gets included.
    known |= {
        "LCP" + re.sub(r"([A-Z])", r"_\1", parameter).upper()
        for parameter in template["Parameters"]
    }
    # The command line's own; and what its example of another service's file has, and we have not.
    program = "".join(it.read_text() for it in PROJECT.glob("cli/lcp_backup_cli/*.py"))
    known |= {*re.findall(r"\bLCP_[A-Z_]*[A-Z]\b", program), "LCP_HAPROXY_TIMEOUT"}
    assert set(re.findall(r"\bLCP_[A-Z_]*[A-Z]\b", page.read_text())) <= known
