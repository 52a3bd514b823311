"""The whole stack: an account, a database, a site, and the real template built and deployed."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError

from local import emulator, mariadb, site
from local.database import Database

PROJECT = Path(__file__).resolve().parent.parent
STACK_NAME = "lcp-backup"
_DELETED_WITHIN = 3600
"""Seconds. On AWS a function in a VPC gives its network interfaces back slowly."""
_SECRETS = {
    "LCP_MASTER_USER_PASSWORD",
    "LCP_PROJECT_MASTER_TOKEN",
    "LCP_LOADER_USER_PASSWORD",
    "LCP_SITE_USER_PASSWORD",
    "LCP_BACKUP_VERIFY_USER_PASSWORD",
}


@dataclass(frozen=True)
class User:
    """Somebody in the stack's user pool."""

    name: str
    password: str


class Stack:
    """One stack, all that it keeps on this machine below `state`; several may live side by side.

    Args:
        endpoint_url: of the emulator; None for the AWS account that the AWS tools' own settings
            name.
        folder: the site's, as its functions see it.
    """

    def __init__(
        self, state: Path, endpoint_url: str | None, database: Database, folder: Path
    ) -> None:
        self.state = state
        self.endpoint_url = endpoint_url
        self.database = database
        self.folder = folder
        self.token = secrets.token_hex(16)
        self.users: dict[str, User] = {}
        self.secret_prefix = ""
        """How the names of the secrets begin that deployments make."""
        self._secret_arns: dict[str, str] = {}

    @classmethod
    def start(
        cls, state: Path, *, database_url: str | None = None, folder: str | None = None
    ) -> "Stack":
        """Starts the emulator, and a private database and sample site where none is given."""
        stop(state)
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(parents=True)
        # Passwords and tokens of the stack lie in there.
        state.chmod(0o700)
        endpoint = emulator.start(state)
        if database_url:
            database = Database.parse(database_url)
        else:
            password = secrets.token_urlsafe(12)
            port = mariadb.start(state, password)
            database = Database(
                "127.0.0.1",
                port,
                mariadb.MASTER_USER,
                password,
                os.environ.get("LCP_DBNAME") or "lportal",
            )
            with database.connect() as connection:
                site.fill_database(connection, database.name)
        with database.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            flavour = "mariadb" if "MariaDB" in cursor.fetchall()[0][0] else "mysql"
        place = Path(folder).resolve() if folder else state / "site" / "data"
        if not folder:
            site.fill_folder(place)
        known = Database(**{**vars(database), "flavour": flavour})
        return cls(state, endpoint, known, place)

    def client(self, service: str) -> Any:
        """A boto3 client of the account."""
        make: Callable[..., Any] = boto3.client
        if self.endpoint_url is None:
            return make(service)
        return make(
            service,
            endpoint_url=self.endpoint_url,
            region_name=emulator.REGION,
            aws_access_key_id=emulator.CREDENTIALS["access_key_id"],
            aws_secret_access_key=emulator.CREDENTIALS["secret_access_key"],
        )

    def build(self) -> None:
        """`sam build` of the real template."""
        self._sam(
            "build",
            f"--build-dir={self.state / 'build'}",
            "--cached",
            f"--cache-dir={PROJECT / '.local' / 'build-cache'}",
            f"--template={PROJECT / 'template.yaml'}",
        )

    def deploy(self, variables: Mapping[str, str], *, stack_name: str = STACK_NAME) -> None:
        """`sam deploy`, new or over the one there is.

        `variables` are LCP_* variables, which become the parameters of their names. Raises
        DeploymentFailed with the reasons that CloudFormation gives.
        """
        parameters = self.parameters(variables)
        try:
            self._sam_deploy(parameters, stack_name)
        except SystemExit as error:
            raise DeploymentFailed(self.reasons(stack_name) or str(error)) from None

    def parameters(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The template's parameters for this site and these variables; secrets by their ARNs."""
        given = {
            "LCP_DATABASE_SERVICE": f"{self.database.host}:{self.database.port}",
            "LCP_DBNAME": self.database.name,
            "LCP_MASTER_USER_NAME": self.database.user,
            "LCP_MASTER_USER_PASSWORD": self.database.password,
            "LCP_PROJECT_MASTER_TOKEN": self.token,
            "LCP_BACKUP_FOLDER": str(self.folder),
            **variables,
        }
        self.token = given["LCP_PROJECT_MASTER_TOKEN"]
        parameters = {} if self.endpoint_url is None else {"EndpointUrl": self.endpoint_url}
        for variable, value in given.items():
            # A command line is no place for a secret, so the deployment gets its ARN.
            parameters[parameter_of(variable)] = (
                self._secret(variable, value) if variable in _SECRETS else value
            )
        return parameters

    def package(self) -> str:
        """`sam package` of what was built: the template, its code in the account's bucket."""
        packaged = self.state / "packaged.yaml"
        self._sam(
            "package",
            f"--template-file={self.state / 'build' / 'template.yaml'}",
            f"--output-template-file={packaged}",
            "--resolve-s3",
        )
        return packaged.read_text()

    def add_users(self, *, stack_name: str = STACK_NAME) -> None:
        """Puts an admin and a viewer into the deployed stack's user pool."""
        pool = self.client("cognito-idp")
        pool_id = self._outputs(stack_name)["UserPoolId"]
        for role in ("admin", "viewer"):
            # The pool asks for lower case, upper case and a digit.
            user = User(f"{role}@example.com", f"aA1-{secrets.token_urlsafe(12)}")
            pool.admin_create_user(UserPoolId=pool_id, Username=user.name, MessageAction="SUPPRESS")
            pool.admin_set_user_password(
                UserPoolId=pool_id, Username=user.name, Password=user.password, Permanent=True
            )
            pool.admin_add_user_to_group(
                UserPoolId=pool_id, Username=user.name, GroupName=f"{role}s"
            )
            self.users[role] = user

    def _sam_deploy(self, parameters: Mapping[str, str], stack_name: str) -> None:
        self._sam(
            "deploy",
            f"--template-file={self.state / 'build' / 'template.yaml'}",
            f"--stack-name={stack_name}",
            "--resolve-s3",
            "--capabilities=CAPABILITY_IAM",
            "--no-confirm-changeset",
            "--no-fail-on-empty-changeset",
            "--no-progressbar",
            "--parameter-overrides",
            *(f"{name}={_quoted(value)}" for name, value in parameters.items()),
        )

    def reasons(self, stack_name: str = STACK_NAME) -> str:
        """What CloudFormation says of all that failed in a stack."""
        try:
            pages = self.client("cloudformation").get_paginator("describe_stack_events")
            events = [
                event
                for page in pages.paginate(StackName=stack_name)
                for event in page["StackEvents"]
            ]
        except ClientError:
            return ""  # it was refused before there was a stack
        return "\n".join(
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in events
            if event["ResourceStatus"].endswith("_FAILED") and event.get("ResourceStatusReason")
        )

    def delete(self, *, stack_name: str = STACK_NAME) -> None:
        """Deletes a stack and waits; `sam delete` asks for a field that the emulator has not."""
        client = self.client("cloudformation")
        client.delete_stack(StackName=stack_name)
        client.get_waiter("stack_delete_complete").wait(
            StackName=stack_name, WaiterConfig={"Delay": 1, "MaxAttempts": _DELETED_WITHIN}
        )

    def kept_by_deletion(self, *, stack_name: str = STACK_NAME) -> list[tuple[str, str]]:
        """Type and name of what a stack would leave behind: its bucket and its user pool."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return [
            (resource["ResourceType"], resource["PhysicalResourceId"])
            for page in pages.paginate(StackName=stack_name)
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] in {"AWS::S3::Bucket", "AWS::Cognito::UserPool"}
            # It has none before it is made, and a first deployment that failed has deleted it.
            and resource.get("PhysicalResourceId")
            and resource["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def delete_secrets(self) -> None:
        """Deletes the secrets that deployments made under this prefix, with no way back."""
        assert self.secret_prefix, "without one, they are not told from others"
        client = self.client("secretsmanager")
        for page in client.get_paginator("list_secrets").paginate():
            for found in page["SecretList"]:
                if found["Name"].startswith(self.secret_prefix):
                    client.delete_secret(SecretId=found["ARN"], ForceDeleteWithoutRecovery=True)
        self._secret_arns.clear()

    def describe(self, *, stack_name: str = STACK_NAME) -> dict[str, Any]:
        """What a client needs to know, as `.local/stack.json` holds it."""
        outputs = self._outputs(stack_name)
        return {
            "endpoint_url": self.endpoint_url,
            "region": emulator.REGION,
            "credentials": emulator.CREDENTIALS,
            "stack_name": stack_name,
            "api_url": self._api_url(outputs["ApiUrl"]),
            "bucket": outputs["BucketName"],
            "prefix": outputs["Prefix"],
            "functions": {
                "create": outputs["CreateFunctionName"],
                "restore": outputs["RestoreFunctionName"],
                "cleanup": outputs["CleanupFunctionName"],
                "schedules": outputs["SchedulesFunctionName"],
                "upload": outputs["UploadFunctionName"],
                "assemble": outputs["AssembleFunctionName"],
                "verify": outputs["VerifyFunctionName"],
                "watch": outputs["WatchFunctionName"],
                "api": outputs["ApiFunctionName"],
            },
            # Of what several functions do, where the stack has it.
            "workers": {name: it for name, it in outputs.items() if "Worker" in name},
            "machines": {name: it for name, it in outputs.items() if "Machine" in name},
            "user_pool_id": outputs["UserPoolId"],
            "user_pool_client_id": outputs["UserPoolClientId"],
            "database": vars(self.database),
            "folder": str(self.folder),
            "users": {role: vars(user) for role, user in self.users.items()},
            "master_token": self.token,
        }

    def _outputs(self, stack_name: str) -> dict[str, str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
        return {entry["OutputKey"]: entry["OutputValue"] for entry in stack["Outputs"]}

    def _api_url(self, deployed: str) -> str:
        # The emulator calls the API http://<id>.execute-api.localhost:<port>. curl knows such names
        # by itself, other programs need a resolver that does; this other way in needs none.
        if self.endpoint_url is None:
            return deployed
        api_id = (urlsplit(deployed).hostname or "").partition(".")[0]
        return f"{self.endpoint_url}/_aws/execute-api/{api_id}"

    def write_description(self, path: Path) -> None:
        """Writes what `describe` says as JSON, for its owner's eyes only: secrets are in it."""
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(self.describe(), indent=2) + "\n")

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        """Invokes one of the stack's functions and waits; raises FunctionError when it fails."""
        name = self.describe()["functions"][function]
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
        payload = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            raise FunctionError(payload.get("errorType", ""), payload.get("errorMessage", ""))
        return payload

    def _secret(self, variable: str, value: str) -> str:
        if value.startswith("arn:"):
            return value
        client = self.client("secretsmanager")
        if variable not in self._secret_arns:
            created = client.create_secret(
                Name=f"{self.secret_prefix}{variable}-{secrets.token_hex(4)}", SecretString=value
            )
            self._secret_arns[variable] = created["ARN"]
        else:
            client.put_secret_value(SecretId=self._secret_arns[variable], SecretString=value)
        return self._secret_arns[variable]

    def _sam(self, *arguments: str) -> None:
        tools = Path(sys.executable).parent
        settings = dict(os.environ)
        if self.endpoint_url is not None:
            settings = {k: v for k, v in settings.items() if not k.startswith(("AWS_", "SAM_"))}
            settings |= {
                "AWS_ENDPOINT_URL": self.endpoint_url,
                "AWS_DEFAULT_REGION": emulator.REGION,
                "AWS_ACCESS_KEY_ID": emulator.CREDENTIALS["access_key_id"],
                "AWS_SECRET_ACCESS_KEY": emulator.CREDENTIALS["secret_access_key"],
            }
        done = subprocess.run(
            [str(tools / "sam"), *arguments],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={
                **settings,
                # `sam build` takes the interpreter of the template's runtime from PATH.
                "PATH": f"{tools}:{settings.get('PATH', '')}",
                "SAM_CLI_TELEMETRY": "0",
            },
        )
        (self.state / f"sam-{arguments[0]}.log").write_text(done.stdout)
        if done.returncode:
            raise SystemExit(f"sam {arguments[0]} failed:\n{done.stdout[-4000:]}")


class DeploymentFailed(SystemExit):
    """The stack could not be created or updated, for the reasons in the message."""


class FunctionError(Exception):
    """A function raised; `kind` is the error's class."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {message}")


def stop(state: Path) -> None:
    """Stops what a stack with this state started, and nothing else."""
    emulator.stop(state)
    mariadb.stop(state)


def parameter_of(variable: str) -> str:
    """The template's parameter of an LCP_* variable: LCP_BACKUP_FOLDER is BackupFolder."""
    return "".join(word.capitalize() for word in variable.removeprefix("LCP_").split("_"))


def variables_from(env: Mapping[str, str]) -> dict[str, str]:
    """The LCP_* variables of an environment that the template has a parameter for.

    Others are named on standard error and left out.
    """
    parameters = template_parameters()
    found: dict[str, str] = {}
    for name, value in env.items():
        if not name.startswith("LCP_") or name.startswith("LCP_TEST_"):
            continue
        if parameter_of(name) in parameters:
            found[name] = value
        else:
            print(f"{name} is no variable of this service and was left out", file=sys.stderr)
    return found


def template_parameters() -> set[str]:
    """The names of the template's parameters."""
    text = (PROJECT / "template.yaml").read_text()
    section = text.partition("\nParameters:\n")[2]
    return set(re.findall(r"^  (\w+):$", re.split(r"\n\n\w", section)[0], re.MULTILINE))


def _quoted(value: str) -> str:
    """A value as SAM's `Key="value"` takes it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
