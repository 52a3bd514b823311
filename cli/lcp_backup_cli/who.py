"""Where and who: login, whoami, logout."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import Annotated

import typer

from lcp_backup_cli import access, words
from lcp_backup_cli.challenges import answered
from lcp_backup_cli.commands import Session, command
from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.profiles import Profile, expires_at


@command("lcp-backup login https://abc123.execute-api.eu-central-1.amazonaws.com --profile prd")
def login(
    session: Session,
    url: Annotated[str, typer.Argument(metavar="URL", help="The stack's output ApiUrl.")],
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name; without it, you are asked.")
    ] = None,
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read a token from stdin instead.")
    ] = False,
) -> None:
    """Log in, and keep a token for the commands that follow.

    If the user pool wants more, such as a second factor, you are asked for it. The password is
    never stored. A token of the user pool runs out, after an hour as the template sets it up; then
    log in again. LCP_BACKUP_USER and LCP_BACKUP_PASSWORD are used if they are set.
    """
    url = access.checked_url(url)
    terminal = session.terminal
    if token_stdin:
        token = sys.stdin.readline().strip()
        if not token:
            raise CliError(
                "stdin held no token",
                "Send it: lcp-backup login URL --token-stdin < FILE",
                exit_code=Exit.USAGE,
            )
    else:
        token = _token(session, url, user)
    name = session.profile or "default"
    who = session.client_for(access.by_token(url, token, f"profile {name}")).get("/backup/whoami")
    kept = session.profiles.put(Profile(name, url, str(who["name"]), token))
    until = expires_at(token)
    terminal.document(
        {**who, "url": url, "profile": name, "token_in": kept, "expires_at": _iso(until)}
    )
    place = "in the keyring" if kept == "keyring" else "in a file that only you can read"
    terminal.say(f"You are {who['name']} ({who['role']}) at {url}.")
    terminal.say(
        f"The token of profile {name} is {place}"
        + (f" and works until {until.astimezone():%H:%M}." if until else ".")
    )


@command("lcp-backup whoami --json")
def whoami(session: Session) -> None:
    """Show the profile, the address, and who you are to the service."""
    client = session.client
    who = client.get("/backup/whoami")
    until = client.access.token_expires_at
    source = client.access.source
    session.terminal.document(
        {**who, "url": client.access.url, "from": source, "expires_at": _iso(until)}
    )
    session.terminal.say(f"{who['name']} ({who['role']}) at {client.access.url}")
    session.terminal.say(
        f"by the {words.credential(who['by'])} of {source}"
        + (f", which works until {words.local(_iso(until))}" if until else "")
    )
    if others := [name for name in session.profiles.names() if f"profile {name}" != source]:
        session.terminal.say(f"other profiles: {', '.join(others)}")


@command("lcp-backup logout --profile prd")
def logout(session: Session) -> None:
    """Forget a profile and its token."""
    name = session.profiles.remove(session.profile)
    session.terminal.document({"profile": name})
    session.terminal.say(f"The profile {name} and its token are gone.")


def _token(session: Session, url: str, user: str | None) -> str:
    otherwise = "Set LCP_BACKUP_USER and LCP_BACKUP_PASSWORD, or use --token-stdin."
    user = user or os.environ.get("LCP_BACKUP_USER") or session.terminal.ask("User: ", otherwise)
    if not user.strip():
        raise CliError("no name was typed", otherwise, exit_code=Exit.USAGE)
    password = os.environ.get("LCP_BACKUP_PASSWORD") or session.terminal.ask(
        f"Password of {user}: ", otherwise, hidden=True
    )
    if not password:
        raise CliError("no password was typed", otherwise, exit_code=Exit.USAGE)
    client = session.client_for(access.nobody(url))
    try:
        told = client.sign_in("/backup/login", {"user": user, "password": password})
    except CliError as error:
        if error.code != "unauthenticated":
            raise
        raise CliError(
            f"{client.host} does not take the name {user} with this password",
            "Type both again.",
            exit_code=Exit.WHO,
            code="unauthenticated",
            status=401,
        ) from None
    while (challenge := told["challenge"]) is not None:
        told = answered(session, client, challenge)
    return str(told["signed_in"]["token"])


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
