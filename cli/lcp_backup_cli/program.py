"""The program as a whole: its commands in the order of somebody's day, and wrong command lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.terminal import Terminal

NAME = "lcp-backup"
SECTIONS: Mapping[str, Sequence[str]] = {
    "Log in": ("login", "whoami", "logout"),
    "Look": ("list", "show", "ls", "tables", "runs", "run", "schedules", "usage"),
    "Make and restore": (
        "create",
        "restore",
        "verify",
        "report",
        "pin",
        "unpin",
        "delete",
        "pause",
        "resume",
    ),
    "Move": ("download", "upload", "pack", "dump"),
    "Set up and check": ("parameters", "doctor"),
}
"""Every command stands in one of these; a test holds that."""


class Program(TyperGroup):
    """Lists its commands by sections, and tells what is wrong with a command line as errors are."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 -- typer's
        """In the order of the sections."""
        return [name for section in SECTIONS.values() for name in section if name in self.commands]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 -- typer's
        """A list under each section's name."""
        widest = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(it.ljust(widest), self.commands[it].get_short_help_str(200)) for it in names]
                )

    def main(  # type: ignore[override] # what typer names one by one is handed on
        self, args: Sequence[str] | None = None, **options: Any
    ) -> Any:
        """Runs it; with `--json`, what is wrong with the command line is the one document."""
        given = sys.argv[1:] if args is None else list(args)
        if not given:
            return super().main(args=given, **options)  # typer shows the help
        try:
            done = super().main(args=given, **{**options, "standalone_mode": False})
        except typer.Abort:
            sys.exit(Exit.INTERRUPTED)
        except Exception as error:
            # Its class is private to typer, but for one below it.
            if not hasattr(error, "format_message"):
                raise
            called = self.commands.get(given[0])
            name = NAME if called is None else f"{NAME} {given[0]}"
            _refuse(given, _in_words(error, called), name)
        sys.exit(done if isinstance(done, int) else Exit.DONE)


def _in_words(error: Any, called: Any) -> str:
    """What is wrong with a command line; typer leaves out what an option wants."""
    told = str(error.format_message())
    if option := getattr(error, "option_name", None):
        for wanted in getattr(called, "params", ()):
            if option in wanted.opts and not wanted.is_flag:
                value = f"a value, {wanted.metavar}" if wanted.metavar else "a value"
                return f"{option} wants {value}: {(wanted.help or '').rstrip('.')}"
    wanted = getattr(error, "param", None)
    if (least := getattr(wanted, "min", None)) is not None:
        most = getattr(wanted, "max", None)
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        return f"{told.partition(': ')[0]}: it has to be a whole number {span}"
    # What pydantic puts in front of a reason says nothing to somebody at a terminal.
    return told.replace("Value error, ", "").replace("Input should", "it has to")


def _refuse(given: Sequence[str], message: str, command: str) -> None:
    terminal = Terminal(as_json="--json" in given)
    sentence = message[:1].lower() + message[1:].rstrip(".") if message else "it is not understood"
    told = CliError(
        sentence, f"{command} --help says what there is.", exit_code=Exit.USAGE, code="usage"
    )
    try:
        terminal.fail(told)
    except BrokenPipeError:
        # Whoever read has gone. Without stderr, Python does not complain of stdout at the end.
        sys.stderr.close()
    sys.exit(Exit.USAGE)
