"""The template, deployed on the embedded stack for as long as something is measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.stack import Stack, stop


@contextmanager
def deployed(state: Path) -> Iterator[Stack]:
    """A stack of its own with its users and a sample site, whose schedules do not fire."""
    try:
        stack = Stack.start(state)
        stack.build()
        stack.deploy({"LCP_BACKUP_CREATE_SCHEDULE": "0 0 1 1 *", "LCP_PROJECT_ID": "acme"})
        stack.add_users()
        yield stack
    finally:
        stop(state)
