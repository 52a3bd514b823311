"""What a user pool may ask of somebody whose password was right."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lcp_backup_api.refusals import ChallengeUnsupported

MFA_SETUP: Final = "MFA_SETUP"
_APP: Final = "SOFTWARE_TOKEN_MFA"
ANSWERED_AS: Final[Mapping[str, str]] = {
    "NEW_PASSWORD_REQUIRED": "NEW_PASSWORD",
    _APP: "SOFTWARE_TOKEN_MFA_CODE",
    "SMS_MFA": "SMS_MFA_CODE",
    "EMAIL_OTP": "EMAIL_OTP_CODE",
    "SELECT_MFA_TYPE": "ANSWER",
}
"""Every challenge that has one answer, and what Cognito calls this. (MFA_SETUP has a call of its
own.)

Source: https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_RespondToAuthChallenge.html
"""


@dataclass(frozen=True)
class Challenge:
    """One thing that the pool asks; what proves who is asked is in no log and no `repr`."""

    name: str
    """Cognito's name for it: one of ANSWERED_AS, or MFA_SETUP."""
    session: str = field(repr=False)
    """By which an answer is known to belong to the password; good for a few minutes."""
    user: str
    """Whom the pool takes them for; goes back with the answer."""
    sent_to: str | None = None
    """Where a code was sent, as the pool shows it."""
    choices: tuple[str, ...] = ()
    """Of which the answer to SELECT_MFA_TYPE is one."""
    secret: str | None = field(default=None, repr=False)
    """For an app that makes codes (RFC 6238, in base32); with MFA_SETUP, once it is known."""


def challenge_in(answer: Mapping[str, Any], user: str) -> Challenge:
    """The challenge of Cognito's answer.

    Arguments: `user` is whom it was asked for; Cognito may go on under another name of theirs.
    Raises ChallengeUnsupported for what cannot be answered by one code, password or choice.
    """
    name = str(answer["ChallengeName"])
    told = answer.get("ChallengeParameters", {})
    user = told.get("USER_ID_FOR_SRP") or user
    if name not in ANSWERED_AS and name != MFA_SETUP:
        raise ChallengeUnsupported(f"the user pool asks {user} for {name}")
    if name == MFA_SETUP and _APP not in _listed(told.get("MFAS_CAN_SETUP", f'["{_APP}"]')):
        raise ChallengeUnsupported(f"{user} has to set up a second factor that is no app")
    if required := _listed(told.get("requiredAttributes", "[]")):
        raise ChallengeUnsupported(f"{user} has to give {', '.join(required)} with a new password")
    return Challenge(
        name,
        str(answer["Session"]),
        user,
        told.get("CODE_DELIVERY_DESTINATION"),
        _listed(told.get("MFAS_CAN_CHOOSE", "[]")),
    )


def _listed(told: str) -> tuple[str, ...]:
    """Cognito writes lists as JSON into a text, and one of one name perhaps as that name."""
    found = json.loads(told)
    return tuple(found) if isinstance(found, list) else (str(found),)
