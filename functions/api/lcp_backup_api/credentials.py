"""The form of a credential: what can be told of one before anybody is asked whether it is right."""

import base64
import re
from typing import Final

import jwt

MAX_NAME: Final = 128  # characters; Cognito's UsernameType
MAX_PASSWORD: Final = 256  # characters; Cognito's PasswordType
_MAX_HEADER = 10_240
"""Bytes; API Gateway passes no more in all headers together. More is refused unread.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
"""
_CREDENTIAL = re.compile(r"(?P<scheme>[A-Za-z]+) +(?P<value>[!-~]+) *")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and half a character, which JSON can spell and nobody can send on."""


class Refused(Exception):
    """Why a credential is not taken, in words for the log, which hold nothing secret.

    Whoever asks turns it into Unauthenticated, which tells nobody why.
    """


def check_form(name: str, password: str) -> None:
    """Raises Refused for what Cognito would call a wrong parameter, and not a wrong login."""
    if not 0 < len(name) <= MAX_NAME or not 0 < len(password) <= MAX_PASSWORD:
        raise Refused("the name or the password is empty or too long")
    if not is_text(name + password):
        raise Refused("the name or the password holds control characters")


def is_text(sent: str) -> bool:
    """Whether what somebody sent can be handed on: it holds no control characters."""
    return _NO_TEXT.search(sent) is None


def looks_like_jwt(value: str) -> bool:
    """Whether this is a user's token, perhaps an old one, and nobody's guess at the master token.

    A client that goes on with an expired one must learn that, and not that it guesses too often.
    """
    try:
        header = jwt.get_unverified_header(value)
    except jwt.PyJWTError:
        return False
    return "alg" in header


def parse(header: str) -> tuple[str, str]:
    """Scheme (lower case) and value of a credential (RFC 9110, 11.4)."""
    if len(header) > _MAX_HEADER:
        raise Refused("the header is too long")
    if (found := _CREDENTIAL.fullmatch(header)) is None:
        raise Refused("the header is malformed")
    return found["scheme"].lower(), found["value"]


def name_and_password(value: str) -> tuple[str, str]:
    """Source: RFC 7617, section 2, with the charset UTF-8 that the challenge names."""
    try:
        text = base64.b64decode(value, validate=True).decode()
    except ValueError:
        raise Refused("the basic credential is no UTF-8 in base64") from None
    # Without a colon the password is empty, and so refused.
    name, _, password = text.partition(":")
    return name, password
