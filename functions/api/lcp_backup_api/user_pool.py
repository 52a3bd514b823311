"""The user pool: logins by password, what it asks beside it, and the keys that sign its tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lcp_backup.errors import AwsError, Throttled
from lcp_backup_api.challenges import ANSWERED_AS, MFA_SETUP, Challenge, challenge_in
from lcp_backup_api.refusals import (
    LoginRefused,
    PasswordRefused,
    SignInExpired,
    WrongAnswer,
)

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_cognito_idp.type_defs import (
        InitiateAuthResponseTypeDef,
        RespondToAuthChallengeResponseTypeDef,
    )

_KEYS_TIMEOUT = 5  # seconds
_THROTTLING = {"TooManyRequestsException", "LimitExceededException", "ThrottlingException"}
_REFUSING = {
    "NotAuthorizedException",
    "UserNotFoundException",
    "UserNotConfirmedException",
    "PasswordResetRequiredException",
    "InvalidParameterException",
    "UserLambdaValidationException",
}
"""Errors of a login that depend on what the caller sent or who they are, never on AWS."""
_WRONG_CODE = {"CodeMismatchException", "EnableSoftwareTokenMFAException"}
_UNFIT_PASSWORD = {"InvalidPasswordException", "PasswordHistoryPolicyViolationException"}
_MISCONFIGURED = re.compile("flow not enabled|SECRET_HASH|secret hash")
"""In the same errors, what only the app client's owner can change. Were the words to change, a
login would be refused with its code in the log: closed, not open."""


def cognito_client(user_pool_id: str) -> CognitoIdentityProviderClient:
    """A client for the pool's own region, which its id begins with."""
    # Few attempts: whoever logs in waits, and a throttled pool is not to be asked even more often.
    config = Config(
        retries={"mode": "standard", "max_attempts": 2}, connect_timeout=5, read_timeout=10
    )
    region = user_pool_id.partition("_")[0]
    return boto3.client("cognito-idp", region_name=region, config=config)


class UserPool:
    """A Cognito user pool, as far as one of its app clients may ask it without any AWS right."""

    def __init__(
        self, client: CognitoIdentityProviderClient, user_pool_id: str, client_id: str
    ) -> None:
        region = user_pool_id.partition("_")[0]
        self.client_id = client_id
        self.issuer = f"https://cognito-idp.{region}.amazonaws.com/{user_pool_id}"
        """What the pool's tokens name as their issuer, also when an emulator stands in for AWS."""
        self._client = client
        # Not the issuer's address: the client's endpoint is the one that is reached from here, be
        # it AWS's own, an interface endpoint of a VPC or an emulator.
        self._keys_url = f"{client.meta.endpoint_url}/{user_pool_id}/.well-known/jwks.json"

    def log_in(self, name: str, password: str) -> str:
        """An access token for the user; not verified here.

        Raises LoginRefused for whatever lies in the name, the password or the user's state;
        Throttled; AwsError when the pool or its app client is not set up for this.
        """
        answer = self._ask(name, password)
        if challenge := answer.get("ChallengeName"):
            if "MFA" in challenge or "OTP" in challenge:
                raise LoginRefused(
                    f"{challenge}: this user needs a second factor, for which a basic credential"
                    " has no place; an access token has to be used"
                )
            raise LoginRefused(f"the user has to answer {challenge} first")
        return answer["AuthenticationResult"]["AccessToken"]

    def begin(self, name: str, password: str) -> str | Challenge:
        """As `log_in`, for somebody who can be asked for more; raises ChallengeUnsupported too."""
        return self._outcome(self._ask(name, password), name)

    def answer(self, name: str, session: str, user: str, answer: str) -> str | Challenge:
        """An access token for the answer to a challenge, or the next challenge.

        Arguments: the challenge's own `name`, `session` and `user`, and what was answered.
        Raises WrongAnswer and PasswordRefused, after which it may be answered again; SignInExpired,
        ChallengeUnsupported, Throttled, AwsError.
        """
        responses = {"USERNAME": user}
        with _errors(_refused_answer, "check an answer"):
            if name == MFA_SETUP:
                verified = self._client.verify_software_token(Session=session, UserCode=answer)
                session = verified["Session"]
            else:
                responses[ANSWERED_AS[name]] = answer
            told = self._client.respond_to_auth_challenge(
                ClientId=self.client_id,
                ChallengeName=name,  # type: ignore[arg-type] # one of those
                Session=session,
                ChallengeResponses=responses,
            )
        return self._outcome(told, user)

    def _ask(self, name: str, password: str) -> InitiateAuthResponseTypeDef:
        with _errors(_refused_login, "check a login"):
            return self._client.initiate_auth(
                ClientId=self.client_id,
                AuthFlow="USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": name, "PASSWORD": password},
            )

    def _outcome(
        self, answer: InitiateAuthResponseTypeDef | RespondToAuthChallengeResponseTypeDef, user: str
    ) -> str | Challenge:
        if not answer.get("ChallengeName"):
            return answer["AuthenticationResult"]["AccessToken"]
        challenge = challenge_in(answer, user)
        if challenge.name != MFA_SETUP:
            return challenge
        with _errors(_refused_answer, "begin to set up a second factor"):
            begun = self._client.associate_software_token(Session=challenge.session)
        return replace(challenge, session=begun["Session"], secret=begun["SecretCode"])

    def fetch_keys(self) -> list[dict[str, Any]]:
        """The public keys that the pool signs with now, as a JWK each; raises AwsError."""
        try:
            with urlopen(self._keys_url, timeout=_KEYS_TIMEOUT) as answer:  # noqa: S310 -- boto3's own endpoint, http only for an emulator
                keys = json.load(answer)["keys"]
        except HTTPError as error:
            error.close()
            problem = f"HTTP {error.code}"
        except (OSError, HTTPException) as error:
            problem = type(error).__name__
        except (ValueError, LookupError, TypeError):
            problem = "the answer is no key set"
        else:
            if isinstance(keys, list) and all(isinstance(key, dict) for key in keys):
                return keys
            problem = "the answer is no key set"
        raise AwsError(f"the user pool's keys could not be read from {self._keys_url} ({problem})")


@contextmanager
def _errors(refused: Callable[[str, str], Exception | None], action: str) -> Iterator[None]:
    """Maps the client's errors; `refused` those that depend on the caller, by code and message.

    What Cognito said goes no further: a refused parameter is quoted there, password and all.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        said = error.response.get("Error", {}).get("Message", "")
        if code in _THROTTLING:
            raise Throttled("the user pool is asked too often now; try again in a minute") from None
        raise refused(code, said) or AwsError(f"Cognito refused to {action}: {code}") from None
    except BotoCoreError as error:
        raise AwsError(
            f"Cognito could not be reached to {action} ({type(error).__name__}); in a VPC"
            " without NAT the service needs an interface endpoint"
        ) from None


def _refused_login(code: str, said: str) -> Exception | None:
    if code not in _REFUSING:
        return None
    if not _MISCONFIGURED.search(said):
        return LoginRefused(code)
    return AwsError(
        "the app client of the user pool does not allow a login by password: it must have no"
        " secret, and ALLOW_USER_PASSWORD_AUTH"
    )


def _refused_answer(code: str, said: str) -> Exception | None:
    if code in _WRONG_CODE:
        return WrongAnswer()
    if code in _UNFIT_PASSWORD:
        # These two name the pool's rule, and no value.
        return PasswordRefused(said)
    return SignInExpired() if code in {*_REFUSING, "ExpiredCodeException"} else None
