"""The user pool: logins by password, and the keys that tokens are signed with."""

from __future__ import annotations

import json
import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lcp_backup.errors import AwsError, Throttled
from lcp_backup_api.refusals import LoginRefused

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient

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
"""Errors of InitiateAuth that depend on what the caller sent or who he is, never on AWS."""
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
        try:
            answer = self._client.initiate_auth(
                ClientId=self.client_id,
                AuthFlow="USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": name, "PASSWORD": password},
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            said = error.response.get("Error", {}).get("Message", "")
            if code in _THROTTLING:
                raise Throttled(
                    "the user pool is asked too often now; try again in a minute"
                ) from error
            if code in _REFUSING and not _MISCONFIGURED.search(said):
                # Without what Cognito said: a refused parameter is quoted there, password and all.
                raise LoginRefused(code) from None
            if code in _REFUSING:
                raise AwsError(
                    f"the app client {self.client_id} of the user pool does not allow a login by"
                    " password: it must have no secret, and ALLOW_USER_PASSWORD_AUTH"
                ) from None
            raise AwsError(f"Cognito refused to check a login: {code}") from None
        except BotoCoreError as error:
            raise AwsError(
                f"Cognito could not be reached to check a login ({type(error).__name__}); in a VPC"
                " without NAT the service needs an interface endpoint"
            ) from None
        if challenge := answer.get("ChallengeName"):
            if "MFA" in challenge or "OTP" in challenge:
                raise LoginRefused(
                    f"{challenge}: this user needs a second factor, for which a basic credential"
                    " has no place; an access token has to be used"
                )
            raise LoginRefused(f"the user has to answer {challenge} first")
        return answer["AuthenticationResult"]["AccessToken"]

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
