"""Everything this service raises on purpose, in families by what the caller can do about it.

No class here knows HTTP, S3 or a database driver: library errors are mapped at the edge that owns
the library. Every message is one sentence or two that name the thing and the way out,
and never holds a secret.
"""


class BackupError(Exception):
    """Base of every error this service raises on purpose."""


# --- the caller has to change something ---------------------------------------


class SettingsError(BackupError):
    """A variable holds a value that is not allowed; names the variable, the value and what is."""

    def __init__(self, variable: str, value: str | None, allowed: str) -> None:
        self.variable = variable
        self.value = value
        self.allowed = allowed
        shown = "is not set" if value is None else f"is {value!r}"
        super().__init__(f"{variable} {shown}: {allowed}")


class InvalidCron(BackupError):
    """A cron expression is not valid, or never fires."""


class InvalidRequest(BackupError):
    """An event, id or parameter cannot be understood or is not allowed."""


class NotFound(BackupError):
    """A backup or run that was asked for does not exist."""


class UnknownFormat(BackupError):
    """A manifest, index or record was written by a version of the service this one cannot read."""


# --- who is calling -----------------------------------------------------------


class Unauthenticated(BackupError):
    """The credentials are missing or wrong. One sentence for all cases: it tells nobody which."""

    def __init__(self) -> None:
        super().__init__(
            "credentials are missing or wrong: use basic authentication, or"
            " 'dxpcloud-authorization: Bearer' with an access token of the user pool"
        )


class LoginRefused(BackupError):
    """The user pool took no name and password; says why, for the log and never for the caller."""


class Forbidden(BackupError):
    """The caller is known and may not do this."""


# --- come back later ----------------------------------------------------------


class Throttled(BackupError):
    """The user pool was asked too often and answers no more for a while."""


class Conflict(BackupError):
    """Another run holds what this one needs; the same call may succeed later."""


class LeaseHeld(Conflict):
    """The right to write is held by another run, which the message names."""

    def __init__(
        self, message: str, *, kind: str | None = None, backup_id: str | None = None
    ) -> None:
        self.kind = kind
        self.backup_id = backup_id
        super().__init__(message)


class LeaseLost(Conflict):
    """This run's right to write was taken over; it stopped before changing anything more."""


class OutOfTime(Conflict):
    """The run stopped cleanly because the function's time was about to end."""


# --- AWS --------------------------------------------------------------


class StorageError(BackupError):
    """S3 refused or kept failing after all retries."""


class ObjectNotFound(StorageError):
    """No object lies at the key."""


class PreconditionFailed(StorageError):
    """A conditional write lost: the object exists already, or is no longer what it was."""


class AwsError(BackupError):
    """An AWS service other than S3 refused or kept failing after all retries."""


# --- an archive ---------------------------------------------------------------


class ArchiveError(BackupError):
    """An archive cannot be used."""


class ArchiveDamaged(ArchiveError):
    """An archive or index is not what was written; names the segment or the offset in bytes."""


class ArchiveRefused(ArchiveError):
    """An archive holds something this service will not restore (outside paths, devices, a bomb)."""


# --- the database -------------------------------------------------------------


class DatabaseError(BackupError):
    """The database could not be dumped or loaded."""


class DatabaseUnreachable(DatabaseError):
    """The server, the login or the database named by the settings does not answer as expected."""


class AccountRefused(DatabaseError):
    """The account that loads a dump, or the one that owns its stored code, cannot be had."""


class DumpFailed(DatabaseError):
    """The dump program failed or its output is not whole; nothing was published."""


class TableChangedDuringDump(DumpFailed):
    """DDL ran while the dump was reading (MySQL error 1412); the whole dump may be tried again."""


class FlavourMismatch(DatabaseError):
    """Dump program and server are of different flavours, and the dump could not be restored."""


class LoadFailed(DatabaseError):
    """A statement of the dump failed; names it by its number and head, never by row data."""


class RestoredInPart(LoadFailed):
    """The dump's tables are live, but the server refused some of its views, routines or events."""


# --- the volume ---------------------------------------------------------------


class VolumeError(BackupError):
    """The document library folder cannot be read, written or replaced."""
