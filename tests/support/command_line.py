"""The command line, called as its console script is: in this process, or as one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lcp_backup_cli.app import app

_CLI = Path(__file__).parents[2] / "cli"


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """The documents on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class CommandLine:
    """`lcp-backup` of a user whose files lie below `home`."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def profiles(self) -> Path:
        """The file with the profiles."""
        return self.home / "config" / "lcp-backup" / "profiles.json"

    @property
    def environment(self) -> dict[str, str]:
        """The variables it runs with; none of this process's own counts."""
        return {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "TZ": "Europe/Berlin",
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            **self.env,
        }

    def __call__(self, *arguments: str | Path, stdin: str = "") -> Said:
        """In this process, which is quicker."""
        with pytest.MonkeyPatch.context() as patch:
            for name in [it for it in os.environ if it.startswith("LCP_BACKUP_")]:
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            time.tzset()
            done = CliRunner().invoke(app, [str(it) for it in arguments], input=stdin)
        time.tzset()
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Said(done.exit_code, done.stdout, done.stderr)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """As a process of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            env={**self.environment, "PYTHONPATH": str(_CLI)},
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def command(self, *arguments: str | Path) -> list[str]:
        """What starts it."""
        return [sys.executable, "-m", "lcp_backup_cli", *(str(it) for it in arguments)]

    def logged_in(self, url: str, token: str) -> None:
        """A profile that is there already."""
        self.profiles.parent.mkdir(parents=True, exist_ok=True)
        profile = {"url": url, "user": "ann", "token": token}
        content = {"format": 1, "current": "default", "profiles": {"default": profile}}
        self.profiles.write_text(json.dumps(content))
