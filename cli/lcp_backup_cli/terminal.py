"""What people and programs get to see: tables, bars and sentences, or one JSON document."""

from __future__ import annotations

import getpass
import io
import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from lcp_backup_cli.errors import CliError, Exit

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""Control characters, but for the line feed."""
_GAP = "  "
"""Between two columns."""


class Terminal:
    """Results go to stdout, all else to stderr.

    With `as_json` stdout gets one JSON document, or one a line of what is followed, and nothing
    else. Colours and bars are for terminals; NO_COLOR turns colours off, which rich sees to.
    """

    def __init__(self, *, as_json: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.debug = debug
        self._has_lines = False
        for stream in (sys.stdout, sys.stderr):
            # A terminal that is not in UTF-8 has no bars and no umlauts: that ends no command.
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
        self._out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line of the result, for people."""
        if not self.as_json:
            self._out.print(Text(visible(text)), soft_wrap=True)

    def tell(self, text: str) -> None:
        """A line beside the result: what is being done."""
        self.err.print(Text(visible(text)))

    def note(self, text: str) -> None:
        """A line of the debug log."""
        if self.debug:
            self.err.print(Text(f"debug: {text}", style="dim"))

    def document(self, content: Any) -> None:
        """The result, for programs; nothing without `--json`."""
        if self.as_json:
            # What follows lines is a line too.
            indent = None if self._has_lines else 2
            print(json.dumps(content, ensure_ascii=not _takes_all(), indent=indent))

    def line(self, content: Any) -> None:
        """One document of several, in a line of its own; nothing without `--json`."""
        if self.as_json:
            self._has_lines = True
            print(json.dumps(content, ensure_ascii=not _takes_all()), flush=True)

    def table(self, columns: list[str], rows: Iterable[Iterable[str | Text]]) -> None:
        """A table; columns whose name begins with `>` are figures."""
        if self.as_json:
            return
        named = [column.removeprefix(">") for column in columns]
        right = [column.startswith(">") for column in columns]
        cells = [[Text(visible(it)) if isinstance(it, str) else it for it in row] for row in rows]
        if not self._out.is_terminal:
            # In a pipe there is no width to fit.
            _print_plain(named, right, cells)
            return
        widest, longest_words = _widths([Text(it) for it in named], cells)
        gaps = len(_GAP) * (len(named) - 1)
        # An id that is broken into lines cannot be copied: rather the terminal breaks the rows.
        fits = sum(longest_words) + gaps <= self._out.width
        table = Table(
            box=None,
            pad_edge=False,
            padding=(0, len(_GAP), 0, 0),
            header_style="bold",
            width=None if fits else sum(widest) + gaps,
        )
        for name, is_right, least in zip(named, right, longest_words, strict=True):
            table.add_column(name, justify="right" if is_right else "left", min_width=least)
        for row in cells:
            table.add_row(*row)
        self._out.print(table, crop=False)

    def fail(self, error: CliError) -> None:
        """The end: one sentence and the way out."""
        self.document(error.as_document())
        text = Text.assemble(("error: ", "bold red"), visible(error.sentence))
        if error.way_out:
            dot = "" if error.sentence.endswith((".", "?")) else "."
            text.append(visible(f"{dot} {error.way_out}"))
        self.err.print(text)

    def bars(self) -> Progress:
        """Bars of bytes, with rate and time left, for terminals; elsewhere they show nothing."""
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            TimeElapsedColumn(),
            console=self.err,
            disable=not self.err.is_terminal,
        )

    def confirm(self, expected: str, question: str, given: str | None, otherwise: str) -> None:
        """Goes on when `expected` is typed, or was given; raises CliError otherwise.

        `otherwise` is the option that answers without a question.
        """
        if given is None:
            given = self.ask(question, f"Give {otherwise} to do it without a question.")
        if given.strip() != expected:
            raise CliError(
                f"{given.strip()!r} is not {expected!r}, so nothing was done",
                f"Run the same command again with {otherwise}, if that is what you want.",
                exit_code=Exit.REFUSED,
                code="not-confirmed",
            )

    def ask(self, question: str, otherwise: str, *, hidden: bool = False) -> str:
        """What somebody at the terminal types; raises CliError where nobody can.

        What is hidden is so from before the question is shown: fast fingers wait for nothing else.
        """
        if not sys.stdin.isatty():
            raise CliError(
                "nobody can be asked: this is no terminal", otherwise, exit_code=Exit.USAGE
            )
        try:
            if hidden:
                return getpass.getpass(question)
            self.err.print(Text(question), end="")
            self.err.file.flush()
            return input()
        except EOFError:
            self.err.print()
            return ""
        except KeyboardInterrupt:
            # What follows begins on a line of its own.
            self.err.print()
            raise


def _takes_all() -> bool:
    """Whether stdout has all characters; where it has not, JSON has escapes for them."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def visible(text: str) -> str:
    """A text without what a terminal would obey: names of files are anybody's."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _widths(named: list[Text], rows: list[list[Text]]) -> tuple[list[int], list[int]]:
    """Of each column: how wide it is in one line, and its longest word."""
    columns = list(zip(named, *rows, strict=True))
    return (
        [max(cell_len(it.plain) for it in column) for column in columns],
        [
            max(cell_len(word) for it in column for word in it.plain.split(" "))
            for column in columns
        ],
    )


def _print_plain(named: list[str], right: list[bool], rows: list[list[Text]]) -> None:
    texts = [named, *([it.plain for it in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        padded = [
            " " * (width - cell_len(it)) + it if is_right else it + " " * (width - cell_len(it))
            for it, width, is_right in zip(row, widths, right, strict=True)
        ]
        print(_GAP.join(padded).rstrip())
