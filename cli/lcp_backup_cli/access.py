"""Where the service is and who calls it: from the environment, or from a profile."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.profiles import Profiles, expires_at

_TOKEN = re.compile("[!-~]+")
_BEHIND = re.compile(r"(?:/(?:backup|console)(?:/.*)?|/+)$")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class Access:
    """An address with a credential for it."""

    url: str
    authorization: str = field(repr=False)
    """The value of the header; None is never sent anywhere else than to `url`."""
    source: str
    """Where it was found, for people: `the environment` or `profile NAME`."""
    user: str = ""
    token_expires_at: datetime | None = None

    @property
    def how_to_go_on(self) -> str:
        """What to do when the credential is not taken."""
        if self.source == "the environment":
            return "Set LCP_BACKUP_TOKEN, or LCP_BACKUP_USER and LCP_BACKUP_PASSWORD, anew."
        name = self.source.removeprefix("profile ")
        return f"Run: lcp-backup login {self.url} --profile {name}"

    @property
    def has_run_out(self) -> bool:
        """Whether the token says of itself that its time is over."""
        return self.token_expires_at is not None and self.token_expires_at <= datetime.now(UTC)


def find(profile: str | None, profiles: Profiles) -> Access:
    """What a command works with; raises CliError.

    A profile that is named counts. Otherwise LCP_BACKUP_URL does, with a credential from the
    environment too: a token of one deployment is never sent to another. Otherwise the profile in
    LCP_BACKUP_PROFILE, or the current one, unless a token in the environment says that another
    deployment was meant.
    """
    url = os.environ.get("LCP_BACKUP_URL")
    if profile is None and url:
        return _from_environment(checked_url(url))
    profile = profile or os.environ.get("LCP_BACKUP_PROFILE") or None
    if profile is None and os.environ.get("LCP_BACKUP_TOKEN"):
        raise CliError(
            "LCP_BACKUP_TOKEN is set, and no LCP_BACKUP_URL beside it",
            "Set LCP_BACKUP_URL as well, or name a profile: --profile NAME.",
            exit_code=Exit.WHO,
            code="no-url",
        )
    found = profiles.get(profile)
    assert found.token is not None
    return by_token(found.url, found.token, f"profile {found.name}", found.user)


def by_token(url: str, token: str, source: str, user: str = "") -> Access:
    """With a token; raises CliError for what cannot be one."""
    if not _TOKEN.fullmatch(token):
        # It is not quoted: it may be one with a line break in the middle.
        raise CliError(
            f"the token of {source} holds blanks or other characters that no token has",
            "Copy it again, whole and in one line.",
            exit_code=Exit.WHO,
            code="malformed-token",
        )
    return Access(url, f"Bearer {token}", source, user, expires_at(token))


def by_password(url: str, user: str, password: str, source: str) -> Access:
    """With a name and password."""
    if ":" in user:
        raise CliError(f"the name {user} has a colon, which no user of the pool has")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Access(url, f"Basic {pair}", source, user)


def nobody(url: str) -> Access:
    """Without any, for who is about to log in."""
    return Access(url, "", "this login")


def checked_url(url: str) -> str:
    """The address without what may stand behind it; raises CliError.

    The console's address and that of a call are taken as well: with them as they are, a login
    would be refused as if name and password were wrong.
    Over plain HTTP a credential is sent to this machine only.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.port != 0 and re.fullmatch(r"[!-~]+", url)
    except ValueError:  # A bracket without the other, or a port that is none.
        parts, named = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not named or parts.query:
        raise CliError(
            f"{url or 'an empty text'} is no address of the service",
            "It is the stack's output ApiUrl, such as https://abc.execute-api.eu-central-1.amazonaws.com",
            exit_code=Exit.USAGE,
            code="invalid-url",
        )
    if parts.username or parts.password:
        raise CliError(
            "the address holds a name or password, which would lie in your shell's history",
            "Leave them out: lcp-backup login asks for them.",
            exit_code=Exit.USAGE,
            code="invalid-url",
        )
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise CliError(
            f"http://{parts.hostname} would send your credential unencrypted",
            "Use https://.",
            exit_code=Exit.USAGE,
            code="invalid-url",
        )
    return parts._replace(path=_BEHIND.sub("", parts.path), fragment="").geturl()


def _from_environment(url: str) -> Access:
    token = os.environ.get("LCP_BACKUP_TOKEN", "").strip()
    user, password = os.environ.get("LCP_BACKUP_USER"), os.environ.get("LCP_BACKUP_PASSWORD")
    if token:
        return by_token(url, token, "the environment")
    if user and password:
        return by_password(url, user, password, "the environment")
    raise CliError(
        "LCP_BACKUP_URL is set, and no credential beside it",
        "Set LCP_BACKUP_TOKEN, or LCP_BACKUP_USER and LCP_BACKUP_PASSWORD, as well.",
        exit_code=Exit.WHO,
        code="not-logged-in",
    )
