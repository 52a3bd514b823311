"""Where the program starts: as its console script, or by `python -m lcp_backup_cli`."""

from __future__ import annotations

import signal


def main() -> None:
    """Runs it. Ctrl-C while the modules are still being imported ends it without a traceback."""
    is_to_end_it = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_to_end_it:  # and not ignored, as it is in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import typer.main  # noqa: PLC0415 -- this is what takes the time

    from lcp_backup_cli.app import app  # noqa: PLC0415
    from lcp_backup_cli.program import NAME  # noqa: PLC0415

    program = typer.main.get_command(app)
    if is_to_end_it:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    program(prog_name=NAME)


if __name__ == "__main__":
    main()
