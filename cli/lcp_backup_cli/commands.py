"""How a function becomes a command: with the options that all have, and errors as sentences."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, get_type_hints

import typer

from lcp_backup_cli import VERSION, access
from lcp_backup_cli.client import Client
from lcp_backup_cli.errors import CliError, Exit
from lcp_backup_cli.profiles import Profiles
from lcp_backup_cli.program import NAME, Program
from lcp_backup_cli.terminal import Terminal

app = typer.Typer(
    name=NAME,
    cls=Program,
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMON = {
    "profile": Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="The profile to use; LCP_BACKUP_PROFILE names one too.",
        ),
    ],
    "as_json": Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")
    ],
    "debug": Annotated[
        bool, typer.Option("--debug", help="Show calls and, if it fails, a traceback.")
    ],
}
_UNUSED = {"profile": Annotated[str | None, typer.Option("--profile", hidden=True)]}
_IDS = {
    "backup": re.compile(r"[A-Za-z0-9_]+-[A-Za-z0-9_]+-[0-9]{12}"),
    "run": re.compile(r"[0-9]{8}T[0-9]{6}-[a-z]+-[0-9a-f]{8}"),
}
_SUCH_AS = {"backup": "acme-prd-202611230015", "run": "20261123T001500-create-0a1b2c3d"}
_DEFAULTS = {"profile": None, "as_json": False, "debug": False}


@app.callback()
def program(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Backups of a Liferay DXP site on AWS: look, make, move and restore them."""
    if version:
        print(f"{NAME} {VERSION}")
        raise typer.Exit


@dataclass
class Session:
    """What a command works with."""

    profile: str | None
    terminal: Terminal
    until_the_end: ExitStack
    """What is closed when the command ends."""
    profiles: Profiles = field(default_factory=Profiles)

    @cached_property
    def client(self) -> Client:
        """The API, by the environment or the profile; raises CliError."""
        return self.client_for(access.find(self.profile, self.profiles))

    def client_for(self, given: access.Access) -> Client:
        """The API, by another credential than the one that is kept."""
        return self.until_the_end.enter_context(closing(Client(given, self.terminal.note)))

    def backup_id(self, wanted: str) -> str:
        """The id, or that of the newest backup for `latest`; raises CliError."""
        if wanted != "latest":
            return an_id(wanted)
        for backup in self.client.pages("/backup/list", "backups", 1, {}):
            return str(backup["backupId"])
        raise CliError(
            "there is no backup yet, so there is no latest one",
            "Make one: lcp-backup create --wait. In a disaster-recovery environment, name the"
            " source's backup by its id.",
            exit_code=Exit.NOT_FOUND,
            code="not-found",
        )


def an_id(text: str, kind: str = "backup") -> str:
    """What somebody typed as an id, which becomes a part of an address; raises CliError."""
    if text == "latest":
        # A minute later it is another one: what is deleted or let go is named.
        raise CliError(
            f"'latest' is not a {kind}'s id, and this command wants the id itself",
            "lcp-backup list shows them.",
            exit_code=Exit.USAGE,
            code="usage",
        )
    if _IDS[kind].fullmatch(text) is None:
        listed = "list" if kind == "backup" else "runs"
        raise CliError(
            f"{text!r} is not a {kind}'s id, such as {_SUCH_AS[kind]}",
            f"lcp-backup {listed} shows them.",
            exit_code=Exit.USAGE,
            code="usage",
        )
    return text


def workers_option(of: str, when: str = "") -> Any:
    """The option `--workers`, in the same words wherever there is one."""
    at_work = f"At most so many functions are at work on the {of}"
    return typer.Option(
        "--workers", metavar="N", min=1, max=64, help=f"{at_work}{when and f', {when}'}."
    )


def command(
    example: str, name: str | None = None, *, calls: bool = True
) -> Callable[[Callable[..., None]], Any]:
    """Makes a function of a session and of its own options a command of the program.

    Its docstring is the help, which ends with the example. One that `calls` no service offers no
    profile; it takes one all the same, as earlier versions did.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            profile, as_json, debug = (given.pop(key) for key in _DEFAULTS)
            terminal = Terminal(as_json=as_json, debug=debug)
            try:
                with ExitStack() as until_the_end:
                    function(Session(profile, terminal, until_the_end), **given)
            except CliError as error:
                _fail(terminal, error, error)
            except KeyboardInterrupt:
                raise typer.Exit(Exit.INTERRUPTED) from None
            except BrokenPipeError:
                # Whoever read has read enough, as `head` does.
                sys.stderr.close()
                raise typer.Exit(Exit.FAILED) from None
            except OSError as error:
                why = error.strerror or str(error)
                named = f"{error.filename}: {why}" if error.filename else why
                _fail(terminal, CliError(named), error)
            except (typer.Exit, typer.Abort):
                raise
            except Exception as error:  # noqa: BLE001 -- told as a sentence, with a traceback when asked
                told = CliError(
                    f"this program has a fault ({type(error).__name__})",
                    "Run it again with --debug, and report what it shows.",
                    code="unexpected",
                )
                _fail(terminal, told, error)

        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        own = [
            it.replace(annotation=hints[it.name], kind=inspect.Parameter.KEYWORD_ONLY) for it in own
        ]
        common = [
            inspect.Parameter(
                key,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=annotation,
                default=_DEFAULTS[key],
            )
            for key, annotation in (_COMMON if calls else {**_COMMON, **_UNUSED}).items()
        ]
        parameters = [*own, *common]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # Python's own way
        run.__annotations__ = {it.name: it.annotation for it in parameters}
        text = f"{inspect.cleandoc(function.__doc__ or '')}\n\n\b\nExample:\n  {example}"
        app.command(name or function.__name__, help=text)(run)
        return function

    return register


def _fail(terminal: Terminal, told: CliError, error: BaseException) -> None:
    if terminal.debug:
        # Without the values of variables: a password may be among them.
        traceback.print_exception(error, file=sys.stderr)
    terminal.fail(told)
    raise typer.Exit(told.exit_code) from None
