"""The program: all commands there are."""

from __future__ import annotations

from lcp_backup_cli import (
    act,
    contents,
    doctor,
    dump,
    look,
    move,
    parameters,
    runs,
    send,
    usage,
    who,
)
from lcp_backup_cli.commands import app

__all__ = ["COMMANDS", "app"]

COMMANDS = (who, look, contents, runs, usage, act, move, send, dump, parameters, doctor)
"""The modules whose functions are commands; importing them registers these."""
