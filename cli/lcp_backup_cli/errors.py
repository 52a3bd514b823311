"""What is raised on purpose: one sentence, the way out, and an exit code for scripts."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How the program ends. docs/cli.md lists them; they never change."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """typer's own, for a command line that is not understood."""
    WHO = 3
    FORBIDDEN = 4
    NOT_FOUND = 5
    REFUSED = 6
    BUSY = 7
    LATER = 8
    FILES = 9
    SITE = 10
    INTERRUPTED = 130


EXIT_BY_CODE = {
    "invalid-request": Exit.REFUSED,
    "invalid-settings": Exit.FAILED,
    "invalid-cron": Exit.FAILED,
    "not-found": Exit.NOT_FOUND,
    "unknown-format": Exit.FAILED,
    "unauthenticated": Exit.WHO,
    "login-refused": Exit.WHO,
    "wrong-answer": Exit.WHO,
    "sign-in-expired": Exit.WHO,
    "password-refused": Exit.REFUSED,
    "challenge-unsupported": Exit.FORBIDDEN,
    "forbidden": Exit.FORBIDDEN,
    "not-a-member": Exit.FORBIDDEN,
    "from-another-site": Exit.FORBIDDEN,
    "throttled": Exit.LATER,
    "lease-held": Exit.BUSY,
    "lease-lost": Exit.BUSY,
    "run-is-over": Exit.BUSY,
    "out-of-time": Exit.BUSY,
    "stored-in-part": Exit.BUSY,
    "staged-in-part": Exit.BUSY,
    "conflict": Exit.BUSY,
    "pinned": Exit.REFUSED,
    "download-not-ready": Exit.LATER,
    "download-failed": Exit.FAILED,
    "storage-failed": Exit.LATER,
    "object-not-found": Exit.LATER,
    "precondition-failed": Exit.LATER,
    "storage-busy": Exit.LATER,
    "task-failed": Exit.LATER,
    "aws-failed": Exit.LATER,
    "archive-damaged": Exit.FILES,
    "archive-refused": Exit.FILES,
    "archive-unusable": Exit.FILES,
    "backup-damaged": Exit.FILES,
    "database-unreachable": Exit.SITE,
    "database-account-refused": Exit.SITE,
    "dump-failed": Exit.SITE,
    "database-too-large": Exit.SITE,
    "table-changed-during-dump": Exit.SITE,
    "flavour-mismatch": Exit.SITE,
    "load-failed": Exit.SITE,
    "server-gave-up": Exit.SITE,
    "restored-in-part": Exit.SITE,
    "database-failed": Exit.SITE,
    "volume-incomplete": Exit.SITE,
    "volume-failed": Exit.SITE,
    "malformed-body": Exit.REFUSED,
    "no-such-path": Exit.NOT_FOUND,
    "method-not-allowed": Exit.REFUSED,
    "too-large": Exit.REFUSED,
    "unsupported-media-type": Exit.REFUSED,
    "died": Exit.FAILED,
    "failed": Exit.FAILED,
    "unexpected": Exit.FAILED,
}
"""By the service's error codes. A code of a later version ends with FAILED."""


class CliError(Exception):
    """Ends the command.

    Args:
        sentence: what happened, naming the thing at hand; never a secret.
        way_out: what to do about it; may be empty.
        exit_code: what the program ends with.
        code: the service's error code, or one of this program's own.
        status: of the HTTP answer that said so.
        run_id: the run that it is about.
        retry_after: after how many seconds the service wants to be asked again.
    """

    def __init__(
        self,
        sentence: str,
        way_out: str = "",
        *,
        exit_code: Exit = Exit.FAILED,
        code: str = "failed",
        status: int | None = None,
        run_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.way_out = way_out
        self.exit_code = exit_code
        self.code = code
        self.status = status
        self.run_id = run_id
        self.retry_after = retry_after

    def as_document(self) -> dict[str, object]:
        """What `--json` prints of it."""
        return {
            "error": {
                "code": self.code,
                "message": self.sentence,
                "action": self.way_out,
                "exit_code": int(self.exit_code),
                "status": self.status,
                "run_id": self.run_id,
            }
        }


def unreachable(host: str, why: str) -> CliError:
    """Nothing answers there, or the line is cut, after all retries."""
    return CliError(
        f"{host} cannot be reached: {why}",
        "Check the address and the network, then run the same command again.",
        exit_code=Exit.LATER,
        code="unreachable",
    )
