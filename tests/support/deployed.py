"""The real template on the emulator, with the few things that every test does to it."""

import json
import secrets
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from local import site
from local.api import Api
from local.stack import STACK_NAME, DeploymentFailed, Stack, User

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

    def change(self, variables: dict[str, str], *, stack_name: str = STACK_NAME) -> None:
        """What `sam deploy` does for a new stack or over one, in a tenth of its processor time.

        The same template and CloudFormation's own calls; that the command itself works is seen by
        the first deployment. Raises DeploymentFailed.
        """
        client = self.stack.client("cloudformation")
        try:
            client.describe_stacks(StackName=stack_name)
            kind = "UPDATE"
        except ClientError:
            kind = "CREATE"
        parameters = self.stack.parameters(variables)
        waiting = {"Delay": 1, "MaxAttempts": 120}
        try:
            change = client.create_change_set(
                StackName=stack_name,
                ChangeSetName=f"change-{secrets.token_hex(4)}",
                ChangeSetType=kind,
                TemplateURL=self._packaged_url,
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in parameters.items()
                ],
                Capabilities=["CAPABILITY_IAM"],
            )
            name = {"StackName": stack_name, "ChangeSetName": change["Id"]}
            client.get_waiter("change_set_create_complete").wait(**name, WaiterConfig=waiting)
            client.execute_change_set(**name)
            waiter = client.get_waiter(f"stack_{kind.lower()}_complete")
            waiter.wait(StackName=stack_name, WaiterConfig=waiting)
        except (ClientError, WaiterError) as error:
            raise DeploymentFailed(self.stack.reasons(stack_name) or str(error)) from None

    @cached_property
    def _packaged_url(self) -> str:
        """Where the template lies with its code packaged: it is too large to be sent along."""
        body = self.stack.package().encode()
        key = "packaged.template"
        self.s3.put_object(Bucket=self.described["bucket"], Key=key, Body=body)
        where = {"Bucket": self.described["bucket"], "Key": key}
        return str(self.s3.generate_presigned_url("get_object", where))

    def rules(self, stack_name: str = "lcp-backup") -> dict[str, str]:
        """The stack's rules with their expressions."""
        rules = self.stack.client("events").list_rules(NamePrefix=stack_name)["Rules"]
        return {rule["Name"]: rule["ScheduleExpression"] for rule in rules}
