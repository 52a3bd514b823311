"""Everything this service raises on purpose, in families by what the caller can do about it.

No class here knows HTTP, S3 or a database driver: library errors are mapped at the edge that owns
the library. Every message is one sentence or two that name the thing and the way out,
and never holds a secret.

An error speaks to two readers. `str(error)` is for the operators, who read the log: it may quote
AWS, the database server or a program. `public` is for everybody else: callers of the API, readers
of run records, and whatever listens on the event bus. What AWS or a server says names accounts,
roles, buckets, hosts and users, so a message is public only where its class says so.
"""

import re
from typing import ClassVar, Final

_NEVER_PUBLIC: Final = re.compile(
    r"arn:aws|s3://|\.amazonaws\.com|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\baccount\b\D{0,20}\d{12}\b",
    re.IGNORECASE,
)
"""What no public sentence holds, whoever wrote it: the last net below the classes' own promise."""
_LONGEST_PUBLIC: Final = 1000
"""Characters; a caller's own words come back cut."""


class BackupError(Exception):
    """Base of every error this service raises on purpose."""

    code: ClassVar[str] = "failed"
    """What the kind of error is called in records, events and problems. It never changes, while a
    class's name may; docs/errors.md lists all of them."""
    sentence: ClassVar[str] = "the service could not do it"
    """What the public is told where the message is not for it."""
    message_is_public: ClassVar[bool] = False
    """Whether messages hold only what the caller sent or may read; a class has to say so."""
    undone: bool = False
    """Of a swap of the database that failed: whether what is live is as it was all the same."""

    def __init__(self, message: str = "", *, public: str | None = None) -> None:
        """`message` is for the log; `public` is told instead of it, or of the class's sentence."""
        super().__init__(message)
        self._public = public

    @property
    def public(self) -> str:
        """What anybody may be told; names no account, role, bucket, key, host or user of ours."""
        text = self._text_for_public()
        return self.sentence if _NEVER_PUBLIC.search(text) else text[:_LONGEST_PUBLIC]

    @property
    def is_explained_by_log(self) -> bool:
        """Whether only the log tells the cause."""
        withheld = _NEVER_PUBLIC.search(self._text_for_public()) is not None
        return withheld or not self.message_is_public

    def _text_for_public(self) -> str:
        if self._public is not None:
            return self._public
        return str(self) if self.message_is_public else self.sentence


UNEXPECTED: Final = "unexpected"
"""The code of what nobody raised on purpose."""


def code_of(error: BaseException) -> str:
    """The stable code of an error of any class."""
    return error.code if isinstance(error, BackupError) else UNEXPECTED


def told(error: BaseException, trace: str) -> str:
    """What somebody without the log is told of an error; `trace` is what finds the rest there."""
    if not isinstance(error, BackupError):
        return f"something unexpected happened; see the log, {trace}"
    if error.is_explained_by_log:
        return f"{error.public}; see the log, {trace}"
    return error.public


# --- the caller has to change something ---------------------------------------


class SettingsError(BackupError):
    """A variable holds a value that is not allowed; names the variable, the value and what is."""

    code = "invalid-settings"
    sentence = "a variable of the service is not set to what it has to be"

    def __init__(self, variable: str, value: str | None, allowed: str) -> None:
        self.variable = variable
        self.value = value
        self.allowed = allowed
        shown = "is not set" if value is None else f"is {value!r}"
        super().__init__(
            f"{variable} {shown}: {allowed}", public=f"{variable} is not set to what it has to be"
        )


class InvalidCron(BackupError):
    """A cron expression is not valid, or never fires."""

    code = "invalid-cron"
    sentence = "the cron expression is not allowed"
    message_is_public = True


class InvalidRequest(BackupError):
    """An event, id or parameter cannot be understood or is not allowed."""

    code = "invalid-request"
    sentence = "the request cannot be understood or is not allowed"
    message_is_public = True


class NotFound(BackupError):
    """A backup or run that was asked for does not exist."""

    code = "not-found"
    sentence = "there is no such backup, run or upload"
    message_is_public = True


class UnknownFormat(BackupError):
    """A manifest, index or record was written by a version of the service this one cannot read."""

    code = "unknown-format"
    sentence = "a stored document was written by another version of the service"
    message_is_public = True


# --- come back later ----------------------------------------------------------


class Throttled(BackupError):
    """Too many attempts, at the user pool or from one address; nothing is answered for a while."""

    code = "throttled"
    sentence = "there were too many attempts; try again in a minute"
    message_is_public = True


class Conflict(BackupError):
    """Another run holds what this one needs; the same call may succeed later."""

    code = "conflict"
    sentence = "something else is under way; try again later"
    message_is_public = True


class LeaseHeld(Conflict):
    """The right to write is held by another run, which the message names."""

    code = "lease-held"

    def __init__(
        self,
        message: str,
        *,
        kind: str | None = None,
        run_id: str | None = None,
        backup_id: str | None = None,
    ) -> None:
        self.kind = kind
        self.run_id = run_id
        self.backup_id = backup_id
        super().__init__(message)


class Pinned(Conflict):
    """The backup is pinned and was not deleted; says by whom and why, and how to unpin it."""

    code = "pinned"


class RunIsOver(Conflict):
    """The run that was asked for has ended, so a late delivery of its event does nothing."""

    code = "run-is-over"


class LeaseLost(Conflict):
    """This run's right to write was taken over; it stopped before changing anything more."""

    code = "lease-lost"


class OutOfTime(Conflict):
    """The run stopped cleanly because the function's time was about to end."""

    code = "out-of-time"


class TaskFailed(BackupError):
    """The task of ECS that was to do it ended without a word of its own; nothing was changed."""

    code = "task-failed"
    sentence = "the task that was to do it did not come to its end, so nothing was changed"


class StoredInPart(OutOfTime):
    """A create's time ended; what it stored is kept, and the next run goes on from there."""

    code = "stored-in-part"


class StagedInPart(OutOfTime):
    """A restore's time ended; what it unpacked is kept, and the next one goes on from there."""

    code = "staged-in-part"


class DownloadNotReady(BackupError):
    """What a download asks for is being assembled; names the run that does it."""

    code = "download-not-ready"
    sentence = "what was asked for is being assembled; call again"
    message_is_public = True

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"run {run_id} is assembling it; GET /backup/runs/{run_id} says how it goes, and the"
            " same call as this one answers the archive when it is there (curl --retry 10 waits)"
        )


class DownloadFailed(BackupError):
    """What a download asks for could not be assembled; says why, and by which run."""

    code = "download-failed"
    sentence = "what was asked for could not be assembled"
    message_is_public = True

    def __init__(self, run_id: str, reason: str) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} could not assemble it: {reason}")


class BackupDamaged(BackupError):
    """What is stored of a backup is gone, or is not what was written; says what."""

    code = "backup-damaged"
    sentence = "what is stored of the backup is gone, or is not what was written"
    message_is_public = True


# --- AWS --------------------------------------------------------------


class StorageError(BackupError):
    """S3 refused or kept failing after all retries."""

    code = "storage-failed"
    sentence = "S3 did not do what was asked of it"


class ObjectNotFound(StorageError):
    """No object lies at the key."""

    code = "object-not-found"


class PreconditionFailed(StorageError):
    """A conditional write lost: the object exists already, or is no longer what it was."""

    code = "precondition-failed"


class StorageBusy(StorageError):
    """S3 did not decide on a conditional write, for other requests for the object were under way.

    Nobody is known to have been first, so it may be sent again.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html (409)
    """

    code = "storage-busy"


class AwsError(BackupError):
    """An AWS service other than S3 refused or kept failing after all retries."""

    code = "aws-failed"
    sentence = "an AWS service did not do what was asked of it"


# --- an archive ---------------------------------------------------------------


class ArchiveError(BackupError):
    """An archive cannot be used."""

    code = "archive-unusable"
    sentence = "the archive cannot be used"
    message_is_public = True


class ArchiveDamaged(ArchiveError):
    """An archive or index is not what was written; names the segment or the offset in bytes."""

    code = "archive-damaged"


class ArchiveRefused(ArchiveError):
    """An archive holds something this service will not restore (outside paths, devices, a bomb)."""

    code = "archive-refused"


# --- the database -------------------------------------------------------------


class DatabaseError(BackupError):
    """The database could not be dumped or loaded."""

    code = "database-failed"
    sentence = "the database could not be dumped or loaded"


class DatabaseUnreachable(DatabaseError):
    """The server, the login or the database named by the settings does not answer as expected."""

    code = "database-unreachable"
    sentence = "the database, or its login, does not answer as expected"


class AccountRefused(DatabaseError):
    """The account that loads a dump, or the one that owns its stored code, cannot be had."""

    code = "database-account-refused"
    sentence = "the database accounts that a restore needs cannot be had"


class DumpFailed(DatabaseError):
    """The dump program failed or its output is not whole; nothing was published."""

    code = "dump-failed"
    sentence = "the dump failed or is not whole, so nothing was published"


class DatabaseTooLarge(DatabaseError):
    """The database is more than one function can dump in its time, and there is no dump task."""

    code = "database-too-large"
    sentence = "the database is too large to be dumped by one function"
    message_is_public = True


class TableChangedDuringDump(DumpFailed):
    """DDL ran while the dump was reading (MySQL error 1412); the whole dump may be tried again."""

    code = "table-changed-during-dump"
    sentence = "a table was altered while it was dumped"


class FlavourMismatch(DatabaseError):
    """Dump program and server are of different flavours, and the dump could not be restored."""

    code = "flavour-mismatch"
    sentence = "the dump program does not fit the server"
    message_is_public = True


class LoadFailed(DatabaseError):
    """A statement of the dump failed; names it by its number and head, never by row data."""

    code = "load-failed"
    sentence = "the dump could not be loaded"


class ServerGaveUp(LoadFailed):
    """The server went away, is full or locked, or lost what was loaded: no fault of the dump's."""

    code = "server-gave-up"
    sentence = "the database server could not go on, so the dump was not loaded"


class RestoredInPart(LoadFailed):
    """The dump's tables are live, but the server refused some of its views, routines or events."""

    code = "restored-in-part"
    sentence = "the dump's tables are live, but not all of its views, triggers, routines and events"


# --- the volume ---------------------------------------------------------------


class VolumeError(BackupError):
    """The document library folder cannot be read, written or replaced."""

    code = "volume-failed"
    sentence = "the document library folder cannot be read, written or replaced"
    message_is_public = True


class VolumeIncomplete(VolumeError):
    """The folder does not hold what a backup of it must hold; nothing was published."""

    code = "volume-incomplete"
