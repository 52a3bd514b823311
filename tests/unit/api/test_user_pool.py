"""The user pool's edge: what Cognito's answers mean, and where its keys lie."""

import io
import json
import urllib.error
from collections.abc import Iterator
from email.message import Message
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from lcp_backup.errors import AwsError, Throttled
from lcp_backup_api import user_pool as edge
from lcp_backup_api.challenges import Challenge
from lcp_backup_api.refusals import (
    ChallengeUnsupported,
    LoginRefused,
    PasswordRefused,
    SignInExpired,
    WrongAnswer,
)
from lcp_backup_api.user_pool import UserPool, cognito_client

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient

POOL = "us-west-2_AbCdEfGhI"
PASSWORD = "hunter2000"


@pytest.fixture
def client(aws: None) -> "CognitoIdentityProviderClient":  # noqa: ARG001 -- its credentials
    return cognito_client(POOL)


@pytest.fixture
def pool(client: "CognitoIdentityProviderClient") -> UserPool:
    return UserPool(client, POOL, "client")


@pytest.fixture
def cognito(client: "CognitoIdentityProviderClient") -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def refuse(cognito: Stubber, code: str, message: str = "") -> None:
    cognito.add_client_error("initiate_auth", code, message)


def test_a_login_asks_for_the_users_access_token(pool: UserPool, cognito: Stubber) -> None:
    cognito.add_response(
        "initiate_auth",
        {"AuthenticationResult": {"AccessToken": "a.b.c"}},
        {
            "ClientId": "client",
            "AuthFlow": "USER_PASSWORD_AUTH",
            "AuthParameters": {"USERNAME": "ann", "PASSWORD": PASSWORD},
        },
    )
    assert pool.log_in("ann", PASSWORD) == "a.b.c"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("NotAuthorizedException", "Incorrect username or password."),
        ("NotAuthorizedException", "User is disabled."),
        ("NotAuthorizedException", "Password attempts exceeded"),
        ("UserNotFoundException", "User does not exist."),
        ("UserNotConfirmedException", "User is not confirmed."),
        ("PasswordResetRequiredException", "Password reset required for the user"),
        ("UserLambdaValidationException", "PreAuthentication failed with error no"),
        ("InvalidParameterException", f"Value {{PASSWORD={PASSWORD}}} at 'authParameters' failed"),
    ],
)
def test_what_lies_in_the_user_refuses_the_login_and_quotes_nothing(
    pool: UserPool, cognito: Stubber, code: str, message: str
) -> None:
    refuse(cognito, code, message)
    with pytest.raises(LoginRefused) as caught:
        pool.log_in("ann", PASSWORD)
    assert str(caught.value) == code


@pytest.mark.parametrize("challenge", ["NEW_PASSWORD_REQUIRED", "SOFTWARE_TOKEN_MFA", "SMS_MFA"])
def test_a_challenge_refuses_the_login_and_is_named(
    pool: UserPool, cognito: Stubber, challenge: str
) -> None:
    cognito.add_response("initiate_auth", {"ChallengeName": challenge, "Session": "s" * 20})
    with pytest.raises(LoginRefused, match=challenge):
        pool.log_in("ann", PASSWORD)


@pytest.mark.parametrize("challenge", ["SOFTWARE_TOKEN_MFA", "MFA_SETUP", "EMAIL_OTP"])
def test_where_a_second_factor_is_required_the_log_sends_the_user_to_access_tokens(
    pool: UserPool, cognito: Stubber, challenge: str
) -> None:
    cognito.add_response("initiate_auth", {"ChallengeName": challenge, "Session": "s" * 20})
    with pytest.raises(LoginRefused, match="second factor.*access token"):
        pool.log_in("ann", PASSWORD)


@pytest.mark.parametrize("code", ["TooManyRequestsException", "LimitExceededException"])
def test_a_throttled_pool_is_told_apart(pool: UserPool, cognito: Stubber, code: str) -> None:
    refuse(cognito, code)
    with pytest.raises(Throttled):
        pool.log_in("ann", PASSWORD)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidParameterException", "USER_PASSWORD_AUTH flow not enabled for this client"),
        (
            "NotAuthorizedException",
            "Client x is configured with secret but SECRET_HASH was not received",
        ),
        ("NotAuthorizedException", "Unable to verify secret hash for client x"),
        ("ResourceNotFoundException", "User pool client x does not exist."),
        ("InternalErrorException", ""),
    ],
)
def test_what_the_operator_has_to_mend_is_not_the_callers_fault(
    pool: UserPool, cognito: Stubber, code: str, message: str
) -> None:
    refuse(cognito, code, message)
    with pytest.raises(AwsError):
        pool.log_in("ann", PASSWORD)


def test_an_unreachable_pool_is_not_the_callers_fault(
    pool: UserPool, client: "CognitoIdentityProviderClient"
) -> None:
    def break_off(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://cognito")

    client.meta.events.register("before-send.cognito-idp.InitiateAuth", break_off)
    with pytest.raises(AwsError, match="interface endpoint"):
        pool.log_in("ann", PASSWORD)


# --- challenges -----------------------------------------------------------------

SESSION = "s" * 20
TOKEN = {"AuthenticationResult": {"AccessToken": "a.b.c"}}


def ask(cognito: Stubber, name: str, **parameters: str) -> None:
    """The pool answers the next login by this challenge."""
    told = {"ChallengeName": name, "Session": SESSION, "ChallengeParameters": parameters}
    cognito.add_response("initiate_auth", told)


@pytest.mark.parametrize(
    ("asked", "parameters", "challenge"),
    [
        ("SOFTWARE_TOKEN_MFA", {"USER_ID_FOR_SRP": "7d1f"}, {"user": "7d1f"}),
        ("SMS_MFA", {"CODE_DELIVERY_DESTINATION": "+*12"}, {"user": "ann", "sent_to": "+*12"}),
        ("EMAIL_OTP", {"CODE_DELIVERY_DESTINATION": "a***"}, {"user": "ann", "sent_to": "a***"}),
        (
            "SELECT_MFA_TYPE",
            {"MFAS_CAN_CHOOSE": '["SMS_MFA","SOFTWARE_TOKEN_MFA"]'},
            {"user": "ann", "choices": ("SMS_MFA", "SOFTWARE_TOKEN_MFA")},
        ),
        ("NEW_PASSWORD_REQUIRED", {"requiredAttributes": "[]"}, {"user": "ann"}),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_what_the_pool_asks_beside_the_password_is_handed_on(
    pool: UserPool,
    cognito: Stubber,
    asked: str,
    parameters: dict[str, str],
    challenge: dict[str, Any],
) -> None:
    ask(cognito, asked, **parameters)
    found = pool.begin("ann", PASSWORD)
    assert found == Challenge(asked, SESSION, **challenge)
    assert SESSION not in repr(found)


@pytest.mark.parametrize(
    ("asked", "parameters", "told"),
    [
        ("DEVICE_SRP_AUTH", {}, "DEVICE_SRP_AUTH"),
        ("CUSTOM_CHALLENGE", {}, "CUSTOM_CHALLENGE"),
        ("MFA_SETUP", {"MFAS_CAN_SETUP": '["SMS_MFA"]'}, "no app"),
        ("MFA_SETUP", {"MFAS_CAN_SETUP": '"EMAIL_OTP"'}, "no app"),
        ("NEW_PASSWORD_REQUIRED", {"requiredAttributes": '["userAttributes.name"]'}, "Attributes"),
    ],
)
def test_what_no_code_password_or_choice_answers_is_named(
    pool: UserPool, cognito: Stubber, asked: str, parameters: dict[str, str], told: str
) -> None:
    ask(cognito, asked, **parameters)
    with pytest.raises(ChallengeUnsupported, match=told):
        pool.begin("ann", PASSWORD)


@pytest.mark.parametrize(
    ("name", "sent_as"),
    [
        ("NEW_PASSWORD_REQUIRED", "NEW_PASSWORD"),
        ("SOFTWARE_TOKEN_MFA", "SOFTWARE_TOKEN_MFA_CODE"),
        ("SMS_MFA", "SMS_MFA_CODE"),
        ("EMAIL_OTP", "EMAIL_OTP_CODE"),
        ("SELECT_MFA_TYPE", "ANSWER"),
    ],
)
def test_an_answer_is_sent_as_cognito_calls_it(
    pool: UserPool, cognito: Stubber, name: str, sent_as: str
) -> None:
    sent = {
        "ClientId": "client",
        "ChallengeName": name,
        "Session": SESSION,
        "ChallengeResponses": {"USERNAME": "ann", sent_as: "314159"},
    }
    cognito.add_response("respond_to_auth_challenge", TOKEN, sent)
    assert pool.answer(name, SESSION, "ann", "314159") == "a.b.c"


def test_a_user_without_a_second_factor_gets_the_secret_for_an_app_and_its_code_lets_them_in(
    pool: UserPool, cognito: Stubber
) -> None:
    ask(cognito, "MFA_SETUP", MFAS_CAN_SETUP='["SMS_MFA","SOFTWARE_TOKEN_MFA"]')
    begun = {"SecretCode": "JBSWY3DPEHPK3PXP", "Session": "t" * 20}
    cognito.add_response("associate_software_token", begun, {"Session": SESSION})
    found = pool.begin("ann", PASSWORD)
    assert found == Challenge("MFA_SETUP", "t" * 20, "ann", secret="JBSWY3DPEHPK3PXP")
    assert "JBSWY3DPEHPK3PXP" not in repr(found)

    verified = {"Status": "SUCCESS", "Session": "u" * 20}
    sent = {"Session": "t" * 20, "UserCode": "314159"}
    cognito.add_response("verify_software_token", verified, sent)
    cognito.add_response(
        "respond_to_auth_challenge",
        TOKEN,
        {
            "ClientId": "client",
            "ChallengeName": "MFA_SETUP",
            "Session": "u" * 20,
            "ChallengeResponses": {"USERNAME": "ann"},
        },
    )
    assert pool.answer("MFA_SETUP", "t" * 20, "ann", "314159") == "a.b.c"


def test_an_answer_may_lead_to_the_next_challenge(pool: UserPool, cognito: Stubber) -> None:
    told = {"ChallengeName": "SMS_MFA", "Session": "t" * 20, "ChallengeParameters": {}}
    cognito.add_response("respond_to_auth_challenge", told)
    assert pool.answer("SELECT_MFA_TYPE", SESSION, "ann", "SMS_MFA") == Challenge(
        "SMS_MFA", "t" * 20, "ann"
    )


@pytest.mark.parametrize(
    ("code", "message", "error", "told"),
    [
        ("CodeMismatchException", "Invalid code", WrongAnswer, "not the right one"),
        ("InvalidPasswordException", "Password not long enough", PasswordRefused, "long enough"),
        ("PasswordHistoryPolicyViolationException", "used before", PasswordRefused, "before"),
        ("NotAuthorizedException", "Invalid session for the user.", SignInExpired, "over"),
        ("ExpiredCodeException", "expired", SignInExpired, "over"),
        ("InvalidParameterException", f"{PASSWORD} failed", SignInExpired, "over"),
        ("TooManyRequestsException", "", Throttled, "too often"),
        ("LimitExceededException", "", Throttled, "too often"),
        ("InternalErrorException", PASSWORD, AwsError, "InternalErrorException"),
    ],
)
def test_a_refused_answer_tells_whether_to_answer_again_or_to_begin_again(
    pool: UserPool, cognito: Stubber, code: str, message: str, error: type[Exception], told: str
) -> None:
    cognito.add_client_error("respond_to_auth_challenge", code, message)
    with pytest.raises(error, match=told) as caught:
        pool.answer("NEW_PASSWORD_REQUIRED", SESSION, "ann", PASSWORD)
    assert PASSWORD not in str(caught.value)


def test_a_wrong_first_code_of_an_app_may_be_given_again(pool: UserPool, cognito: Stubber) -> None:
    cognito.add_client_error("verify_software_token", "EnableSoftwareTokenMFAException", "Code")
    with pytest.raises(WrongAnswer):
        pool.answer("MFA_SETUP", SESSION, "ann", "000000")


# --- keys ---------------------------------------------------------------------


class Web:
    """Stands in for the network: answers every address with one thing."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, url: str, timeout: float) -> io.BytesIO:
        assert timeout < 10
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return io.BytesIO(self.answer)


def test_the_keys_lie_where_aws_says(pool: UserPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the pool's own region, whatever the function's.

    Source: https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html
    """
    web = Web(b'{"keys": [{"kid": "k1"}]}')
    monkeypatch.setattr(edge, "urlopen", web)
    assert pool.fetch_keys() == [{"kid": "k1"}]
    assert web.asked == [
        "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_AbCdEfGhI/.well-known/jwks.json"
    ]
    assert pool.issuer == "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_AbCdEfGhI"


@pytest.mark.usefixtures("aws")
def test_an_emulators_keys_lie_at_its_endpoint_and_its_issuer_is_awss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    web = Web(b'{"keys": []}')
    monkeypatch.setattr(edge, "urlopen", web)
    pool = UserPool(cognito_client(POOL), POOL, "client")
    pool.fetch_keys()
    assert web.asked == [f"http://127.0.0.1:4566/{POOL}/.well-known/jwks.json"]
    assert pool.issuer == f"https://cognito-idp.us-west-2.amazonaws.com/{POOL}"


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": ["k1"]}',
        b"\xff",
        json.dumps({"keys": None}).encode(),
        urllib.error.HTTPError("", 503, "", Message(), io.BytesIO()),
        urllib.error.URLError("no route"),
        TimeoutError(),
        IncompleteRead(b""),
    ],
    ids=ascii,
)
def test_keys_that_do_not_come_are_an_error_of_aws(
    pool: UserPool, monkeypatch: pytest.MonkeyPatch, answer: bytes | Exception
) -> None:
    monkeypatch.setattr(edge, "urlopen", Web(answer))
    with pytest.raises(AwsError, match="keys could not be read"):
        pool.fetch_keys()
