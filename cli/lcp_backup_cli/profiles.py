"""Profiles: where the service is, and the token for it; never a password."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from platformdirs import user_config_path

from lcp_backup_cli.errors import CliError, Exit

_FORMAT = 1
_SERVICE = "lcp-backup"
"""Under which a keyring keeps the tokens."""


@dataclass(frozen=True)
class Profile:
    """One deployment, as one user of it sees it."""

    name: str
    url: str
    user: str
    token: str | None = None
    """None: the keyring has it."""


class _Keyring(Protocol):
    def get_password(self, service: str, name: str) -> str | None: ...

    def set_password(self, service: str, name: str, password: str) -> None: ...

    def delete_password(self, service: str, name: str) -> None: ...


class Profiles:
    """The profiles of this user of this machine, in one file with mode 0600."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or user_config_path(_SERVICE) / "profiles.json"
        self._keyring = _keyring()

    def names(self) -> list[str]:
        """All there are."""
        return sorted(self._read()["profiles"])

    @property
    def current(self) -> str:
        """The name of the profile that counts when none is named: the last one logged in to."""
        return str(self._read()["current"])

    def get(self, name: str | None) -> Profile:
        """A profile with its token, by its name or the current one; raises CliError."""
        known = self._read()
        name = name or str(known["current"])
        found = known["profiles"].get(name)
        if found is None:
            others = ", ".join(sorted(known["profiles"]))
            raise CliError(
                f"there is no profile {name}, only {others}" if others else "you are not logged in",
                "Run: lcp-backup login URL" + (f" --profile {name}" if name != "default" else ""),
                exit_code=Exit.WHO,
                code="not-logged-in",
            )
        profile = Profile(name, found["url"], found["user"], found.get("token"))
        if profile.token is None and self._keyring is not None:
            profile = replace(profile, token=self._keyring.get_password(_SERVICE, name))
        if not profile.token:
            raise CliError(
                f"the profile {name} has no token: the keyring does not give it out",
                f"Run: lcp-backup login {profile.url} --profile {name}",
                exit_code=Exit.WHO,
                code="not-logged-in",
            )
        return profile

    def put(self, profile: Profile) -> str:
        """Keeps a profile, in place of one of its name, and makes it the current one.

        Answers where the token is: `keyring` or `file`.
        """
        known = self._read()
        where = "file"
        kept = asdict(profile)
        if self._keyring is not None and profile.token:
            # A locked or broken keyring: the file is there for that.
            with suppress(Exception):
                self._keyring.set_password(_SERVICE, profile.name, profile.token)
                kept["token"] = None
                where = "keyring"
        known["profiles"][kept.pop("name")] = kept
        known["current"] = profile.name
        self._write(known)
        return where

    def remove(self, name: str | None) -> str:
        """Forgets a profile and its token; answers its name. Raises CliError if there is none."""
        known = self._read()
        name = name or str(known["current"])
        if known["profiles"].pop(name, None) is None:
            others = ", ".join(sorted(known["profiles"]))
            raise CliError(
                f"there is no profile {name}" + (f", only {others}" if others else ""),
                "Name it with --profile NAME." if others else "There is nothing to forget.",
                exit_code=Exit.WHO,
                code="not-logged-in",
            )
        if self._keyring is not None:
            with suppress(Exception):
                self._keyring.delete_password(_SERVICE, name)
        if known["current"] == name:
            known["current"] = next(iter(sorted(known["profiles"])), "default")
        self._write(known)
        return name

    def _read(self) -> dict[str, Any]:
        try:
            known: dict[str, Any] = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {"format": _FORMAT, "current": "default", "profiles": {}}
        except (OSError, ValueError) as error:
            raise CliError(
                f"{self._path} cannot be read: {error}", "Delete it, and log in again."
            ) from None
        if known.get("format") != _FORMAT:
            raise CliError(
                f"{self._path} was written by another version of this program",
                "Update this program, or delete the file and log in again.",
            )
        return known

    def _write(self, known: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # mkstemp makes it with mode 0600; the old file or the new one is there, whole.
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".profiles-")
            with os.fdopen(handle, "w") as file:
                json.dump(known, file, indent=1)
            Path(name).replace(self._path)
        except OSError as error:
            raise CliError(f"{self._path} cannot be written: {error.strerror}") from None


def expires_at(token: str) -> datetime | None:
    """When an access token runs out, as it says itself; None for what says nothing.

    The signature is not checked: that is the service's business.
    """
    claim = _claims(token).get("exp")
    return datetime.fromtimestamp(claim, UTC) if isinstance(claim, int) else None


def _claims(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _keyring() -> _Keyring | None:
    """The keyring where one is installed and has somewhere to keep things."""
    try:
        keyring: Any = import_module("keyring")
        usable = keyring.get_keyring().priority >= 1
    except Exception:  # noqa: BLE001 -- whatever is wrong with it, the file does as well
        return None
    found: _Keyring = keyring
    return found if usable else None
