"""One deployed stack for all end-to-end tests: the real template on the emulator, real servers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.stack import Stack, stop

NEVER = "0 0 1 1 *"
"""A schedule that does not fire while tests run (but on New Year's night)."""


class Deployed:
    """The stack under test, with the few things every test does to it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.described: dict[str, Any] = stack.describe()
        self.s3 = stack.client("s3")

    def keys(self, below: str = "") -> list[str]:
        """Every key below the environment's prefix."""
        prefix = f"{self.described['prefix']}/{below}"
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.described["bucket"], Prefix=prefix
        )
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def manifests(self) -> list[dict[str, Any]]:
        """What is published, oldest first."""
        found = []
        for key in self.keys("backups/"):
            if key.endswith("/manifest.json"):
                answer = self.s3.get_object(Bucket=self.described["bucket"], Key=key)
                found.append(json.loads(answer["Body"].read()))
        return found

    def rules(self, stack_name: str = "lcp-backup") -> dict[str, str]:
        """The stack's rules with their expressions."""
        rules = self.stack.client("events").list_rules(NamePrefix=stack_name)["Rules"]
        return {rule["Name"]: rule["ScheduleExpression"] for rule in rules}


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    state = tmp_path_factory.mktemp("stack") / "state"
    try:
        stack = Stack.start(state)
        stack.build()
        stack.deploy({"LCP_BACKUP_CREATE_SCHEDULE": NEVER, "LCP_PROJECT_ID": "acme"})
        stack.add_users()
        yield Deployed(stack)
    finally:
        stop(state)
