"""One line of the log for every call that changes or hands out something: who, what, from where."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aws_lambda_powertools import Logger
from fastapi import Request

from lcp_backup.errors import BackupError
from lcp_backup_api.users import Caller

_AGENT_KEPT: Final = 120
"""Characters of a user agent that are logged."""


@contextmanager
def audited(
    log: Logger, request: Request, caller: Caller, action: str, **subject: object
) -> Iterator[dict[str, object]]:
    """Around such a call: logs it once, with its outcome, whether it succeeds or not.

    What the block learns later (a run's id) it adds to the dictionary that it is given. No header
    but the user agent, and nothing of a body, is logged.
    """
    outcome = "done"
    try:
        yield subject
    except BackupError as error:
        outcome = error.code
        raise
    except BaseException:
        outcome = "failed"
        raise
    finally:
        log.info(
            "audit",
            action=action,
            caller=caller.name,
            role=caller.role.name.lower(),
            by=caller.how,
            source_ip=request.client.host if request.client else None,
            user_agent=request.headers.get("user-agent", "")[:_AGENT_KEPT],
            outcome=outcome,
            extra=subject,
        )
