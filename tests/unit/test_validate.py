"""The check of the transformed template sees what only a set parameter brings about."""

import json
from typing import Any

import pytest

pytest.importorskip("cloudformation_validate")

from local import validate
from local.stack import PROJECT, template_parameters


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return validate.transformed(PROJECT / "template.yaml")


def test_every_parameter_has_a_value() -> None:
    assert set(validate.EVERY_PARAMETER) == template_parameters()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"aws:kms"', '"aws:kmz"'),  # with KmsKeyArn
        ('"EndpointType"', '"EndpointTpye"'),  # with DomainName
        ('"LocalMountPath"', '"LocalMountPaht"'),  # with a file system
    ],
)
def test_a_mistake_in_an_optional_resource_is_found(
    template: dict[str, Any], right: str, wrong: str
) -> None:
    text = json.dumps(template)
    assert right in text
    found = validate.problems(json.loads(text.replace(right, wrong)), validate.EVERY_PARAMETER)
    assert any(wrong.strip('"') in problem for problem in found), found


def test_a_value_that_aws_would_refuse_is_found(template: dict[str, Any]) -> None:
    wrong = validate.EVERY_PARAMETER | {"SecurityGroupIds": "group-1"}
    assert any("group-1" in problem for problem in validate.problems(template, wrong))
