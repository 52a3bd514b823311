"""What a user pool asks beside name and password, put to who sits at the terminal."""

from __future__ import annotations

from typing import Any

from lcp_backup_cli.client import Client
from lcp_backup_cli.commands import Session
from lcp_backup_cli.errors import CliError, Exit

_ATTEMPTS = 3
_WITHOUT_TERMINAL = (
    "This user is asked for more than a password: log in at a terminal, or use --token-stdin."
)
_TRIED_AGAIN = {"wrong-answer", "password-refused"}
"""Refusals after which the same challenge may be answered again."""


def answered(session: Session, client: Client, challenge: dict[str, Any]) -> dict[str, Any]:
    """What the service says to the answer: signed in, or the next challenge. Raises CliError."""
    if challenge["name"] == "MFA_SETUP":
        session.terminal.tell(
            "This user needs a second factor. Add this key to an app that makes codes (for"
            f" example Aegis, FreeOTP or 1Password): {challenge['secret']}"
        )
    for attempt in range(1, _ATTEMPTS + 1):
        body = {name: challenge[name] for name in ("name", "session", "user")}
        body["answer"] = _asked(session, challenge)
        try:
            told: dict[str, Any] = client.sign_in("/backup/login/challenge", body)
        except CliError as error:
            if error.code not in _TRIED_AGAIN or attempt == _ATTEMPTS:
                raise
            session.terminal.tell(f"{error.sentence}. Once more:")
        else:
            return told
    raise AssertionError


def _asked(session: Session, challenge: dict[str, Any]) -> str:
    def ask(question: str, *, hidden: bool = False) -> str:
        return session.terminal.ask(question, _WITHOUT_TERMINAL, hidden=hidden).strip()

    match challenge["name"]:
        case "NEW_PASSWORD_REQUIRED":
            session.terminal.tell("The password is a temporary one: choose your own.")
            while True:
                chosen = ask("New password: ", hidden=True)
                if chosen == ask("The same again: ", hidden=True):
                    return _typed(chosen)
                session.terminal.tell("These were two different ones.")
        case "SELECT_MFA_TYPE":
            return _typed(ask(f"Second factor ({' or '.join(challenge['choices'])}): "))
        case "SMS_MFA" | "EMAIL_OTP":
            return _typed(ask(f"Code that was sent to {challenge['sent_to'] or 'you'}: "))
        case "SOFTWARE_TOKEN_MFA":
            return _typed(ask("Code of your app: "))
        case "MFA_SETUP":
            return _typed(ask("Code that the app shows now: "))
    raise CliError(
        f"the user pool asks for {challenge['name']}, which this program does not know",
        "Update it, or use --token-stdin.",
        exit_code=Exit.WHO,
    )


def _typed(text: str) -> str:
    if not text:
        raise CliError("nothing was typed", "Log in again.", exit_code=Exit.USAGE)
    return text
