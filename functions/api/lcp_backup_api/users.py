"""Who is calling: from the two headers of a request to a caller with a role.

| header | credential |
|---|---|
| `dxpcloud-authorization: Bearer` | an access token of the user pool |
| `Authorization: Bearer` | an access token of the user pool, or the project master token |
| `Authorization: Basic` | name and password of a user of the pool |

The members of one group of the pool are viewers, those of another are admins, and so is who has the
master token; a user in neither group is known and may do nothing, since a pool may serve others
too. A request has one credential: where `dxpcloud-authorization` is there, it alone decides, as
`Authorization` may belong to a proxy in front. A wrong one is never made good by the other.

An access token is good until it expires: that a user was disabled, or left the group, counts from
the next token on, and for a name and password after a minute at most.

Guessing is slowed down: after 20 wrong master tokens, or 20 wrong logins, of one address within a
minute, that address is answered Throttled until the minute is over, and nothing it sends of that
kind is compared. (What has the form of a user's token, such as an expired one, is no guess.) Each
process counts for itself, and forgets who came long ago when many come: whoever has many addresses,
or meets many processes, may guess more often. What protects the master token is its length.
"""

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from hashlib import sha256
from threading import Lock
from typing import Any, Literal

import jwt
from aws_lambda_powertools import Logger
from pydantic import SecretStr

from lcp_backup.errors import AwsError, Throttled
from lcp_backup.setting_values import MASTER_TOKEN_LENGTH
from lcp_backup_api.challenges import Challenge
from lcp_backup_api.credentials import (
    MAX_NAME,
    Refused,
    check_form,
    is_text,
    looks_like_jwt,
    name_and_password,
    parse,
)
from lcp_backup_api.guesses import Guesses
from lcp_backup_api.refusals import (
    LoginRefused,
    NotAMember,
    SignInExpired,
    Unauthenticated,
    WrongAnswer,
)
from lcp_backup_api.user_pool import UserPool

MASTER_TOKEN_NAME = "project master token"  # noqa: S105 -- how its holder is named in logs

_LEEWAY = timedelta(seconds=10)
"""How far Cognito's clock and this one may differ."""
_LOGIN_KEPT = timedelta(seconds=60)
"""How long a right name and password is not asked for again: scripts send it with every call, and
Cognito allows an account 120 logins a second in a region."""
_LOGINS_KEPT = 256
_MASTER_TOKEN_KEPT = timedelta(minutes=5)
"""How long a rotated master token may still be the old one."""
_KEYS_KEPT = timedelta(minutes=1)
"""How long an unknown key id is believed to be unknown: made-up ones must not reach Cognito."""

_JWT = re.compile(r"[A-Za-z0-9_-]{1,1024}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{1,1024}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}(@[A-Za-z0-9.-]{1,63})?")

type How = Literal["basic", "access token", "master token"]


@dataclass(frozen=True)
class Groups:
    """The names of the pool's groups that may use this service."""

    viewers: str = "viewers"
    admins: str = "admins"


class Role(IntEnum):
    """What a caller may do; a higher one may do all that a lower one may."""

    VIEWER = 1
    """List and download."""
    ADMIN = 2
    """Upload, create, restore and delete as well."""


@dataclass(frozen=True)
class Caller:
    """Somebody whose credential was checked."""

    name: str
    """The pool's name for the user (an id where users log in by e-mail), for logs and records."""
    role: Role
    how: How


@dataclass(frozen=True)
class SignedIn:
    """Somebody who was let in, and the access token that says so from now on."""

    caller: Caller
    token: str = field(repr=False)


class Users:
    """Tells who is calling; made once per process, may be used by several threads."""

    def __init__(
        self,
        pool: UserPool,
        master_token: Callable[[], SecretStr | None],
        log: Logger,
        clock: Callable[[], datetime],
        groups: Groups = Groups(),
    ) -> None:
        """`master_token` looks the token up, afresh each time it is called (None: there is none);
        it may raise AwsError. One that is too short is never taken. `clock` answers the time in
        UTC.
        """
        self._pool = pool
        self._look_up_master_token = master_token
        self._log = log
        self._clock = clock
        self._groups = groups
        self._lock = Lock()
        self._wrong_tokens = Guesses()
        self._wrong_logins = Guesses()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._keys_read_at: datetime | None = None
        self._master_token: tuple[datetime, SecretStr | None] | None = None
        self._logins: dict[bytes, tuple[datetime, Caller]] = {}
        # What is kept of a login is of no use outside this process.
        self._login_key = secrets.token_bytes(32)

    def identify(
        self,
        authorization: str | None,
        dxpcloud_authorization: str | None,
        source: str | None = None,
    ) -> Caller:
        """The caller that the values of the two headers prove; None is a header that is not there.

        `source` is the address that the call came from (None: not known; all such are one source).

        Raises Unauthenticated, the same for whatever is wrong; a refused credential leaves one line
        in the log. Raises NotAMember for a user in neither group. Raises Throttled and AwsError
        when it cannot be found out now: nobody is let in then, and nobody is told that their
        password is wrong.
        """
        header, value, check = "Authorization", authorization, self._by_authorization
        if dxpcloud_authorization is not None:
            header, value = "dxpcloud-authorization", dxpcloud_authorization
            check = self._by_dxpcloud_authorization
        if value is not None:
            try:
                return check(value, source or "")
            except Refused as refused:
                self._log.warning("a credential was refused", header=header, reason=str(refused))
            except (NotAMember, Throttled) as refused:
                self._log.warning("a caller was refused", header=header, reason=str(refused))
                raise
        raise Unauthenticated

    def sign_in(self, name: str, password: str, source: str | None) -> SignedIn | Challenge:
        """Lets somebody in by name and password, or answers what the user pool asks beside them.

        Raises as `identify`, and ChallengeUnsupported; a refusal leaves one line in the log.
        """
        try:
            outcome = self._checked(name, password, source or "", self._pool.begin)
        except Refused as refused:
            self._log.warning("a sign-in was refused", reason=str(refused))
            raise Unauthenticated from None
        return self._signed_in(outcome)

    def answer_challenge(
        self, asked: Challenge, answer: str, source: str | None
    ) -> SignedIn | Challenge:
        """As `sign_in`, for the answer to a challenge; of that, `name`, `session`, `user` count.

        Raises WrongAnswer, PasswordRefused, SignInExpired, ChallengeUnsupported, Throttled,
        NotAMember, AwsError. Wrong answers are counted together with wrong passwords.
        """
        self._check_guesses(source or "")
        if not is_text(asked.session + asked.user + answer):
            raise WrongAnswer
        try:
            outcome = self._pool.answer(asked.name, asked.session, asked.user, answer)
        except (WrongAnswer, SignInExpired) as refused:
            self._wrong_logins.add(source or "", self._clock())
            self._log.warning("an answer was refused", challenge=asked.name, reason=refused.code)
            raise
        return self._signed_in(outcome)

    def _signed_in(self, outcome: str | Challenge) -> SignedIn | Challenge:
        if isinstance(outcome, Challenge):
            return outcome
        try:
            return SignedIn(self._by_access_token(outcome), outcome)
        except Refused as refused:
            raise AwsError(f"the user pool gave out {refused}") from None

    def _by_dxpcloud_authorization(self, header: str, source: str) -> Caller:  # noqa: ARG002 -- no secret to guess here
        scheme, value = parse(header)
        if scheme != "bearer":
            raise Refused("the scheme is not Bearer")
        return self._by_access_token(value)

    def _by_authorization(self, header: str, source: str) -> Caller:
        scheme, value = parse(header)
        if scheme == "basic":
            return self._by_password(*name_and_password(value), source)
        if scheme != "bearer":
            raise Refused("the scheme is neither Basic nor Bearer")
        try:
            # First: a user's token must be good also while Secrets Manager does not answer.
            return self._by_access_token(value)
        except Refused:
            if not self._is_master_token(value, source, is_guess=not looks_like_jwt(value)):
                raise
        return Caller(MASTER_TOKEN_NAME, Role.ADMIN, "master token")

    def _by_password(self, name: str, password: str, source: str) -> Caller:
        key = hmac.digest(self._login_key, f"{name}\0{password}".encode(), "sha256")
        now = self._clock()
        with self._lock:
            kept_until, caller = self._logins.get(key, (now, None))
        if caller is not None and now < kept_until:
            return caller
        token = self._checked(name, password, source, self._pool.log_in)
        caller = self._caller(self._verified(token), "basic")
        with self._lock:
            if len(self._logins) >= _LOGINS_KEPT:
                del self._logins[next(iter(self._logins))]
            self._logins[key] = (now + _LOGIN_KEPT, caller)
        return caller

    def _checked[T](self, name: str, password: str, source: str, ask: Callable[[str, str], T]) -> T:
        """What the pool says to a name and password; raises Refused, Throttled, AwsError."""
        check_form(name, password)
        self._check_guesses(source)
        try:
            return ask(name, password)
        except LoginRefused as refused:
            self._wrong_logins.add(source, self._clock())
            shown = name if _NAME.fullmatch(name) else "(not shown)"
            raise Refused(f"login of {shown}: {refused}") from None

    def _check_guesses(self, source: str) -> None:
        if self._wrong_logins.are_too_many(source, self._clock()):
            raise Throttled("too many wrong logins came from this address; try again in a minute")

    def _by_access_token(self, token: str) -> Caller:
        return self._caller(self._verified(token), "access token")

    def _caller(self, claims: dict[str, Any], how: How) -> Caller:
        name, groups = claims["username"], claims.get("cognito:groups", [])
        # In a text every substring of a name would be found.
        if not isinstance(name, str) or not isinstance(groups, list):
            raise Refused("a token whose claims are not those of an access token")
        if self._groups.admins in groups:
            return Caller(name, Role.ADMIN, how)
        if self._groups.viewers in groups:
            return Caller(name, Role.VIEWER, how)
        raise NotAMember(
            f"{name[:MAX_NAME]} is in neither of the user pool's groups {self._groups.viewers!r}"
            f" and {self._groups.admins!r}, and only their members may use this service"
        )

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims of an access token of the pool for its app client."""
        # The form first: what is parsed before the signature is checked stays small and flat.
        if not _JWT.fullmatch(token):
            raise Refused("no token of the user pool")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(jwt.get_unverified_header(token).get("kid", "")),
                algorithms=["RS256"],
                issuer=self._pool.issuer,
                leeway=_LEEWAY,
                # Cognito's access tokens have no audience; the client is in a claim of its own.
                options={
                    "require": ["exp", "iat", "iss", "token_use", "client_id", "username"],
                    "verify_aud": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise Refused(f"a token that does not hold ({type(error).__name__})") from None
        if claims["token_use"] != "access":  # noqa: S105 -- the kind of a token, no secret
            raise Refused("a token of the user pool that is no access token")
        if claims["client_id"] != self._pool.client_id:
            raise Refused("a token of another client of the user pool")
        return claims

    def _key(self, kid: str) -> jwt.PyJWK:
        with self._lock:
            now = self._clock()
            recent = self._keys_read_at is not None and now < self._keys_read_at + _KEYS_KEPT
            if kid not in self._keys and not recent:
                # A failure is not remembered: the next call tries again, and no good token is
                # refused because Cognito did not answer once.
                self._keys = _usable(self._pool.fetch_keys())
                self._keys_read_at = now
            key = self._keys.get(kid)
        if key is None:
            raise Refused("a token signed by a key that the user pool does not have")
        return key

    def _is_master_token(self, token: str, source: str, *, is_guess: bool) -> bool:
        now = self._clock()
        if is_guess and self._wrong_tokens.are_too_many(source, now):
            raise Throttled("too many wrong tokens came from this address; try again in a minute")
        with self._lock:
            if self._master_token is None or now >= self._master_token[0]:
                self._master_token = (now + _MASTER_TOKEN_KEPT, self._usable_master_token())
            wanted = self._master_token[1]
        if wanted is None:
            return False
        # Hashed, so that the time tells not even the length.
        hashes = (sha256(it.encode()).digest() for it in (token, wanted.get_secret_value()))
        if hmac.compare_digest(*hashes):
            return True
        if is_guess:
            self._wrong_tokens.add(source, now)
        return False

    def _usable_master_token(self) -> SecretStr | None:
        looked_up = self._look_up_master_token()
        if looked_up is None:
            return None
        # A secret made by `echo` ends in a line break, which no header can carry.
        text = looked_up.get_secret_value().strip()
        if len(text) >= MASTER_TOKEN_LENGTH:
            return SecretStr(text)
        self._log.error(
            "nobody can sign in with the project master token: it is shorter than"
            f" {MASTER_TOKEN_LENGTH} characters; put a longer one into its secret"
        )
        return None


def _usable(keys: list[dict[str, Any]]) -> dict[str, jwt.PyJWK]:
    try:
        return {
            key["kid"]: jwt.PyJWK(key, algorithm="RS256")
            for key in keys
            if key.get("kty") == "RSA" and isinstance(key.get("kid"), str)
        }
    except jwt.PyJWTError as error:
        raise AwsError(
            f"the user pool's keys cannot be understood ({type(error).__name__})"
        ) from error
