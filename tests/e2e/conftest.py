"""One deployed stack for all end-to-end tests: the real template on the emulator, real servers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local import site
from local.api import Api
from local.stack import Stack, User, stop

NEVER = "0 0 1 1 *"
"""A schedule that does not fire while tests run (but on New Year's night)."""


class Deployed:
    """The stack under test, with the few things every test does to it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.described: dict[str, Any] = stack.describe()
        self.s3 = stack.client("s3")
        self.admin = self.as_user(stack.users["admin"])
        self.viewer = self.as_user(stack.users["viewer"])

    def as_user(self, user: User) -> Api:
        """The API, called by this user's name and password."""
        return Api(self.described["api_url"], user)

    def tokens(self, user: User, *, client_id: str | None = None) -> dict[str, str]:
        """What the user pool gives out at a login: AccessToken, IdToken."""
        answer: dict[str, Any] = self.stack.client("cognito-idp").initiate_auth(
            ClientId=client_id or self.described["user_pool_client_id"],
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": user.name, "PASSWORD": user.password},
        )
        tokens: dict[str, str] = answer["AuthenticationResult"]
        return tokens

    def fingerprint(self) -> site.Fingerprint:
        """What the site holds now."""
        with self.stack.database.connect() as connection:
            return site.fingerprint(connection, self.stack.database.name, self.stack.folder)

    def destroy(self) -> None:
        """Does to the site what a bad night does."""
        with self.stack.database.connect() as connection:
            site.destroy(connection, self.stack.database.name, self.stack.folder)

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
