"""The program: all commands there are."""

from __future__ import annotations

from lcp_backup_cli import act, contents, doctor, look, move, parameters, runs, send, who
from lcp_backup_cli.commands import app

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = (who, look, contents, runs, act, move, send, parameters, doctor)
"""The modules whose functions are commands; importing them registers these."""


def main() -> None:
    """The console script."""
    app()
