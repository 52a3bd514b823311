"""What roles of a deployed stack allow, and what the emulator's IAM was asked for by them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from local.emulator import ALLOWED
from tests.support.deployed import Deployed


@dataclass(frozen=True)
class Permission:
    """One action on one resource (a pattern) that a statement allows."""

    function: str
    statement: str
    action: str
    resource: str

    def covers(self, action: str, resource: str) -> bool:
        return fnmatchcase(action.lower(), self.action.lower()) and fnmatchcase(
            resource, self.resource
        )


class Roles:
    """Roles of a deployed stack.

    Args:
        names: whose each role is, by the role's name.
    """

    def __init__(self, deployed: Deployed, names: Mapping[str, str]) -> None:
        self._deployed = deployed
        self._iam = deployed.stack.client("iam")
        self.names = names

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Function and statement, of every inline policy and every one that is attached."""
        for role, function in self.names.items():
            for name in self._iam.list_role_policies(RoleName=role)["PolicyNames"]:
                document = self._iam.get_role_policy(RoleName=role, PolicyName=name)
                for statement in document["PolicyDocument"]["Statement"]:
                    yield function, statement
        for function, arn in self.attached():
            version = self._iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            document = self._iam.get_policy_version(PolicyArn=arn, VersionId=version)
            for statement in document["PolicyVersion"]["Document"]["Statement"]:
                yield function, statement

    def attached(self) -> set[tuple[str, str]]:
        """Function and ARN of a managed policy."""
        return {
            (function, policy["PolicyArn"])
            for role, function in self.names.items()
            for policy in self._iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        }

    def permissions(self) -> set[Permission]:
        """All that is allowed, one action and one resource each."""
        return {
            Permission(function, statement.get("Sid", "?"), action, resource)
            for function, statement in self.documents()
            if statement["Effect"] == "Allow"
            for action in _as_list(statement["Action"])
            for resource in _as_list(statement["Resource"])
        }

    def asked(self) -> set[tuple[str, str, str]]:
        """Function, action and resource that IAM has allowed so far."""
        found = set()
        for line in (self._deployed.stack.state / ALLOWED).read_text().splitlines():
            decision = json.loads(line)
            role = re.search(r":assumed-role/([^/]+)/", decision["principal"])
            if role and role[1] in self.names:
                found.add((self.names[role[1]], decision["action"], decision["resource"]))
        return found

    def unused(self) -> set[Permission]:
        """What is allowed and nobody asked for."""
        asked = self.asked()
        return {
            permission
            for permission in self.permissions()
            if not any(
                function == permission.function and permission.covers(action, resource)
                for function, action, resource in asked
            )
        }


def _as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def excuses(known: tuple[str, str, str], permission: Permission) -> bool:
    """Whether these patterns, of function, action and resource, fit the permission."""
    has = (permission.function, permission.action, permission.resource)
    return all(fnmatchcase(field, pattern) for field, pattern in zip(has, known, strict=True))
