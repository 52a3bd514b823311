"""How a run's failure is told: in its record, and in the log."""

from typing import Final

from aws_lambda_powertools import Logger

from lcp_backup.errors import code_of, told
from lcp_backup.model import RunError

DIED: Final = "died"
"""The code of a run's end of which no error told."""


def describe(error: BaseException, run_id: str) -> RunError:
    """What a run record says of an error: public sentences, and where the log says the rest.

    Every viewer reads records, so what AWS, a server or a program said is in the log alone.
    """
    return RunError(code=code_of(error), message=told(error, f"run {run_id}"))


def log_failure(log: Logger, text: str, run_id: str, error: BaseException) -> None:
    # Under the run's id, by which its record leads here.
    log.error(text, run_id=run_id, error=code_of(error), reason=str(error), exc_info=error)
