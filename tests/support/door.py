"""Who is at the door: tokens and passwords, and the users of one process."""

import base64
import io
import json
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import jwt
import pytest
from aws_lambda_powertools import Logger
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from lcp_backup.errors import AwsError, Throttled
from lcp_backup_api.challenges import Challenge
from lcp_backup_api.refusals import LoginRefused, SignInExpired, Unauthenticated, WrongAnswer
from lcp_backup_api.user_pool import UserPool
from lcp_backup_api.users import Caller, Users
from tests.support.clock import SettableClock

CLIENT = "6fnt5mkq1client"


ISSUER = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Mine"


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


MASTER = "mAsTeR-0123456789-0123456789-0123456789"


PASSWORD = "Pass:wörd 1"


SESSION = "a-session-of-cognito-that-is-long-enough"


CODE = "271828"


def jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    public: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": kid, "alg": "RS256", "use": "sig"}


def claims(groups: Any = ("viewers",), **changed: Any) -> dict[str, Any]:
    """What Cognito writes into an access token; a claim changed to None is left out."""
    now = int(time.time())
    all_of_them = {
        "sub": "7d1f8d0e-93b0-4b1e-a5d5-1e1f4c6f2c11",
        "iss": ISSUER,
        "client_id": CLIENT,
        "token_use": "access",
        "username": "ann@acme.com",
        "cognito:groups": groups,
        "iat": now,
        "exp": now + 3600,
        **changed,
    }
    return {name: value for name, value in all_of_them.items() if value is not None}


def token(key: Any = KEY, *, alg: str = "RS256", kid: Any = "k1", **changed: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changed), key, algorithm=alg, headers=headers)


def by_hand(header: bytes, payload: dict[str, Any], signature: bytes = b"sig") -> str:
    """A token that no library would make."""
    texts = (header, json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(it).rstrip(b"=").decode() for it in texts)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


class Pool(UserPool):
    """A user pool that counts what it is asked."""

    def __init__(self) -> None:
        self.client_id = CLIENT
        self.issuer = ISSUER
        self.keys = [jwk(KEY, "k1")]
        self.unreachable = False
        self.groups: Any = ["admins"]
        self.keys_asked = 0
        self.logins_asked: list[str] = []
        self.answers_asked: list[tuple[str, str, str]] = []
        self.challenge: Challenge | None = None

    def log_in(self, name: str, password: str) -> str:
        self.logins_asked.append(name)
        if name == "busy":
            raise Throttled("the user pool is asked too often now")
        if password != PASSWORD:
            raise LoginRefused("NotAuthorizedException")
        return token(username=name, groups=self.groups)

    def begin(self, name: str, password: str) -> str | Challenge:
        issued = self.log_in(name, password)
        return self.challenge or issued

    def answer(self, name: str, session: str, user: str, answer: str) -> str | Challenge:
        self.answers_asked.append((name, session, user))
        if session != SESSION:
            raise SignInExpired
        if answer != CODE:
            raise WrongAnswer
        return token(username=user, groups=self.groups)

    def fetch_keys(self) -> list[dict[str, Any]]:
        self.keys_asked += 1
        if self.unreachable:
            raise AwsError("the user pool's keys could not be read")
        return self.keys


@dataclass
class Secret:
    """The master token's place; `failing` means that Secrets Manager does not answer."""

    value: str | None = MASTER
    failing: bool = False
    asked: int = 0

    def __call__(self) -> SecretStr | None:
        self.asked += 1
        if self.failing:
            raise AwsError("AWS refused to read the secret")
        return None if self.value is None else SecretStr(self.value)


@dataclass
class Door:
    """The users of one process, and all that is around them."""

    clock: SettableClock
    pool: Pool = field(default_factory=Pool)
    secret: Secret = field(default_factory=Secret)
    written: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        # A name of its own: a logger is kept by name, with the stream it was first given.
        log = Logger(service=f"users-{uuid4()}", level="DEBUG", stream=self.written)
        self.users = Users(self.pool, self.secret, log, self.clock)

    def refuses(
        self, authorization: str | None, dxpcloud: str | None = None, source: str | None = None
    ) -> str:
        """The sentence that the caller gets."""
        with pytest.raises(Unauthenticated) as caught:
            self.users.identify(authorization, dxpcloud, source)
        return str(caught.value)

    def admits(
        self, authorization: str | None, dxpcloud: str | None = None, source: str | None = None
    ) -> Caller:
        return self.users.identify(authorization, dxpcloud, source)

    def holds_off(self, authorization: str, source: str | None = None) -> None:
        with pytest.raises(Throttled):
            self.users.identify(authorization, None, source)

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written.getvalue().splitlines()]
