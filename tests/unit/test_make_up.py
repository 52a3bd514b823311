"""What `make up` prints can be typed as it stands."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import local.__main__ as commands
from local.stack import PROJECT

API = "http://127.0.0.1:4566/_aws/execute-api/3185d5e2"


class PretendedStack:
    """A stack that is up, and costs nothing."""

    def __init__(self) -> None:
        self.users = {"admin": SimpleNamespace(name="admin@example.com", password="x")}

    @classmethod
    def start(cls, *_: object, **__: object) -> "PretendedStack":
        return cls()

    def describe(self) -> dict[str, Any]:
        return {"api_url": API}

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_the_command_line_that_is_printed_is_there_without_an_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "Stack", PretendedStack)
    monkeypatch.setattr(commands, "_DESCRIPTION", tmp_path / "stack.json")
    monkeypatch.setattr("sys.argv", ["local", "up"])
    commands.main()
    [line] = [it for it in capsys.readouterr().out.splitlines() if it.startswith("command line: ")]
    command = line.removeprefix("command line: ")
    assert command.endswith(f" login {API}")
    done = subprocess.run(
        ["sh", "-c", f"{command} --help"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Usage: lcp-backup login" in done.stdout) == (0, True), done.stderr
