"""The program: all commands there are."""

from __future__ import annotations

from lcp_backup_cli import act, look, move, runs, send, who
from lcp_backup_cli.commands import app

COMMANDS = (who, look, runs, act, move, send)
"""The modules whose functions are commands; importing them registers these."""


def main() -> None:
    """The console script."""
    app()
