"""Callers against a real user pool: logins checked and tokens signed by MiniStack's Cognito."""

import base64
import hmac
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import pytest
from aws_lambda_powertools import Logger
from pydantic import SecretStr

from lcp_backup.catalog import utc_now
from lcp_backup.errors import AwsError
from lcp_backup_api.challenges import Challenge
from lcp_backup_api.refusals import NotAMember, Unauthenticated, WrongAnswer
from lcp_backup_api.user_pool import UserPool, cognito_client
from lcp_backup_api.users import Caller, Role, SignedIn, Users
from local import emulator

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_cognito_idp.type_defs import AuthenticationResultTypeTypeDef

PASSWORD = "Correct-Horse:9 ß"


@dataclass(frozen=True)
class TestPool:
    """A user pool with an app client, as the template makes them."""

    __test__ = False

    id: str
    client_id: str
    cognito: "CognitoIdentityProviderClient"

    def add(self, name: str, *groups: str, permanent: bool = True) -> None:
        """A user of that name with PASSWORD, which has to be changed unless it is permanent."""
        self.cognito.admin_create_user(UserPoolId=self.id, Username=name, MessageAction="SUPPRESS")
        self.cognito.admin_set_user_password(
            UserPoolId=self.id, Username=name, Password=PASSWORD, Permanent=permanent
        )
        for group in groups:
            self.cognito.admin_add_user_to_group(UserPoolId=self.id, Username=name, GroupName=group)

    def tokens(self, name: str) -> "AuthenticationResultTypeTypeDef":
        return self.cognito.initiate_auth(
            ClientId=self.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": name, "PASSWORD": PASSWORD},
        )["AuthenticationResult"]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private MiniStack; this process's clients lead to it, and have no credentials for it."""
    state: Path = tmp_path_factory.mktemp("ministack")
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                environment.delenv(name)
        # Its signing key lies here, and would else be shared by every MiniStack of the machine.
        environment.setenv("STATE_DIR", str(state))
        address = emulator.start(state)
        environment.setenv("AWS_ENDPOINT_URL", address)
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        environment.setenv("AWS_CONFIG_FILE", os.devnull)
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        try:
            yield address
        finally:
            emulator.stop(state)


def make_pool(endpoint: str) -> TestPool:
    cognito = boto3.client(
        "cognito-idp",
        region_name=emulator.REGION,
        endpoint_url=endpoint,
        aws_access_key_id=emulator.CREDENTIALS["access_key_id"],
        aws_secret_access_key=emulator.CREDENTIALS["secret_access_key"],
    )
    pool_id = cognito.create_user_pool(PoolName="backups")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool_id,
        ClientName="api",
        GenerateSecret=False,
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        PreventUserExistenceErrors="ENABLED",
    )["UserPoolClient"]
    for group in ("admins", "viewers", "readers"):
        cognito.create_group(UserPoolId=pool_id, GroupName=group)
    pool = TestPool(pool_id, client["ClientId"], cognito)
    pool.add("ann@acme.com", "readers", "admins")
    pool.add("bob@acme.com", "viewers")
    pool.add("eve@acme.com", "readers")
    return pool


@pytest.fixture(scope="module")
def pool(endpoint: str) -> TestPool:
    return make_pool(endpoint)


@pytest.fixture
def users(pool: TestPool) -> Users:
    """As the api function makes them: without any right in AWS."""
    user_pool = UserPool(cognito_client(pool.id), pool.id, pool.client_id)
    log = Logger(service=f"users-{uuid4()}")
    return Users(user_pool, lambda: SecretStr("master-token-0123456789-0123456789"), log, utc_now)


def basic(name: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_a_login_by_password_finds_the_users_role_without_any_right_in_aws(users: Users) -> None:
    assert users.identify(basic("ann@acme.com"), None) == Caller(
        "ann@acme.com", Role.ADMIN, "basic"
    )
    assert users.identify(basic("bob@acme.com"), None) == Caller(
        "bob@acme.com", Role.VIEWER, "basic"
    )


@pytest.mark.parametrize("header", ["authorization", "dxpcloud_authorization"])
def test_a_users_access_token_is_taken(users: Users, pool: TestPool, header: str) -> None:
    headers: dict[str, str | None] = {"authorization": None, "dxpcloud_authorization": None}
    for name, role in [("ann@acme.com", Role.ADMIN), ("bob@acme.com", Role.VIEWER)]:
        headers[header] = f"Bearer {pool.tokens(name)['AccessToken']}"
        assert users.identify(**headers) == Caller(name, role, "access token")


def test_a_user_of_the_pool_in_neither_group_may_do_nothing(users: Users, pool: TestPool) -> None:
    for header in (
        basic("eve@acme.com"),
        f"Bearer {pool.tokens('eve@acme.com')['AccessToken']}",
    ):
        with pytest.raises(NotAMember):
            users.identify(header, None)


def test_only_the_access_token_of_a_login_is_taken(users: Users, pool: TestPool) -> None:
    tokens = pool.tokens("ann@acme.com")
    for token in (tokens["IdToken"], tokens["RefreshToken"]):
        with pytest.raises(Unauthenticated):
            users.identify(f"Bearer {token}", None)


def test_another_pools_user_is_nobody_here(users: Users, pool: TestPool, endpoint: str) -> None:
    token = make_pool(endpoint).tokens("ann@acme.com")["AccessToken"]
    assert users.identify(f"Bearer {pool.tokens('ann@acme.com')['AccessToken']}", None)
    with pytest.raises(Unauthenticated):
        users.identify(f"Bearer {token}", None)


def test_wrong_unknown_disabled_and_unfinished_users_get_one_answer(
    users: Users, pool: TestPool
) -> None:
    pool.add("disabled@acme.com")
    pool.cognito.admin_disable_user(UserPoolId=pool.id, Username="disabled@acme.com")
    pool.add("new@acme.com", permanent=False)
    answers = set()
    for header in (
        basic("ann@acme.com", "wrong"),
        basic("nobody@acme.com"),
        basic("disabled@acme.com"),
        basic("new@acme.com"),
        basic("ann@acme.com' OR '1'='1"),
        basic("änn"),
    ):
        with pytest.raises(Unauthenticated) as caught:
            users.identify(header, None)
        answers.add(str(caught.value))
    assert len(answers) == 1


def test_a_temporary_password_is_changed_and_the_new_one_is_good(
    users: Users, pool: TestPool
) -> None:
    pool.add("temp@acme.com", "viewers", permanent=False)
    asked = users.sign_in("temp@acme.com", PASSWORD, None)
    assert isinstance(asked, Challenge)
    assert asked.name == "NEW_PASSWORD_REQUIRED"
    entry = users.answer_challenge(asked, "Another-Horse:9", None)
    assert isinstance(entry, SignedIn)
    assert entry.caller == Caller("temp@acme.com", Role.VIEWER, "access token")
    assert users.identify(basic("temp@acme.com", "Another-Horse:9"), None).role is Role.VIEWER


def test_a_user_with_an_app_for_codes_signs_in_by_one_and_not_by_a_wrong_one(
    users: Users, pool: TestPool
) -> None:
    pool.add("totp@acme.com", "admins")
    token = pool.tokens("totp@acme.com")["AccessToken"]
    secret = pool.cognito.associate_software_token(AccessToken=token)["SecretCode"]
    pool.cognito.verify_software_token(AccessToken=token, UserCode=code_of(secret))
    pool.cognito.set_user_pool_mfa_config(
        UserPoolId=pool.id,
        SoftwareTokenMfaConfiguration={"Enabled": True},
        MfaConfiguration="OPTIONAL",
    )
    asked = users.sign_in("totp@acme.com", PASSWORD, None)
    assert isinstance(asked, Challenge)
    assert asked.name == "SOFTWARE_TOKEN_MFA"
    with pytest.raises(WrongAnswer):
        users.answer_challenge(asked, f"{(int(code_of(secret)) + 500_000) % 10**6:06d}", None)
    entry = users.answer_challenge(asked, code_of(secret), None)
    assert isinstance(entry, SignedIn)
    assert users.identify(f"Bearer {entry.token}", None).role is Role.ADMIN
    # A basic credential has no place for a code.
    with pytest.raises(Unauthenticated):
        users.identify(basic("totp@acme.com"), None)


def code_of(secret: str) -> str:
    """What an app shows now (RFC 6238)."""
    digest = hmac.digest(base64.b32decode(secret), int(time.time() // 30).to_bytes(8), "sha1")
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4]) & 0x7FFFFFFF) % 10**6:06d}"


def test_a_pool_that_is_not_there_is_not_the_callers_fault(pool: TestPool) -> None:
    missing = f"{emulator.REGION}_nowhere"
    log = Logger(service=f"users-{uuid4()}")
    user_pool = UserPool(cognito_client(missing), missing, "nobody")
    users = Users(user_pool, lambda: None, log, utc_now)
    with pytest.raises(AwsError):
        users.identify(basic("ann@acme.com"), None)
    with pytest.raises(AwsError, match="HTTP 4"):
        users.identify(f"Bearer {pool.tokens('ann@acme.com')['AccessToken']}", None)
