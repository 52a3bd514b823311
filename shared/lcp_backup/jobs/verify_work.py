"""What the functions of one verification leave to each other, below the run's id."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Final, Literal

from pydantic import AwareDatetime

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.work import REQUEST, RunWork
from lcp_backup.database.endpoint import Flavour
from lcp_backup.document import Document, read_document
from lcp_backup.errors import LoadFailed
from lcp_backup.jobs.failure import describe
from lcp_backup.jobs.stored_backup import published
from lcp_backup.jobs.verified import verdict_of
from lcp_backup.jobs.verify_fan_out import SharedVerify
from lcp_backup.model import Manifest, RunError
from lcp_backup.verification import Difference, Report, Verdict

_SERVER: Final = "server"
_BEGAN: Final = "load-began"
_PROVED: Final = "proved"
_REPORTED: Final = "reported"
_READ: Final = "read-"
_BAD: Final = "bad-"


class ProvedDatabase(Document):
    """What was found out about the database; figures as in Verification."""

    format: Literal[1] = 1
    tables: int
    rows: int
    tables_counted: int
    statements: int
    read_bytes: int
    load_seconds: float


class Reported(Document):
    """Whether rows and files agree."""

    format: Literal[1] = 1
    report: Report
    listed: tuple[Difference, ...]


class ReadPortion(Document):
    """What was read of a portion, all as the index says."""

    format: Literal[1] = 1
    sha256: str
    """Of the last block of its slice: so it is of this plan."""
    members: int
    read_bytes: int
    began_at: AwareDatetime
    ended_at: AwareDatetime


class VerifyWork:
    """The objects of one verification; raises StorageError, UnknownFormat."""

    def __init__(self, work: RunWork) -> None:
        self.run_work = work

    @cached_property
    def shared(self) -> SharedVerify:
        """What was asked for; raises ObjectNotFound."""
        found = self.run_work.get(REQUEST)
        return read_document(SharedVerify, found, f"request of run {self.run_work.run_id}")

    def manifest(self, catalog: Catalog) -> Manifest:
        """The backup; raises NotFound when it was deleted, also when another has its id."""
        return published(catalog, self.shared.backup_id, self.shared.backup_run_id)

    # --- the database -----------------------------------------------------------

    @property
    def server(self) -> str | None:
        """What the database is loaded into; None before that is known."""
        found = self.run_work.find(_SERVER)
        return None if found is None else found.decode()

    def put_server(self, text: str | None) -> None:
        """Says what the database is loaded into."""
        self.run_work.put(_SERVER, (text or "").encode())

    @property
    def flavour(self) -> Flavour | None:
        """That of the server, once it is known."""
        server = self.server
        return Flavour(server.partition(" ")[0]) if server else None

    @property
    def load_began_at(self) -> datetime | None:
        """When several functions began to load it; None where they did not."""
        found = self.run_work.find(_BEGAN)
        return None if found is None else datetime.fromisoformat(found.decode())

    def put_load_began(self, now: datetime) -> None:
        """Says that several functions begin to load it."""
        self.run_work.put(_BEGAN, now.isoformat().encode())

    def proved(self) -> ProvedDatabase | None:
        """None where nobody has said that the database was proved."""
        found = self.run_work.find(_PROVED)
        return None if found is None else read_document(ProvedDatabase, found, _PROVED)

    def put_proved(self, proved: ProvedDatabase) -> None:
        """Says that the database was proved."""
        self.run_work.put(_PROVED, proved.model_dump_json().encode())

    def reported(self) -> Reported | None:
        """None where there was nothing to compare it with, or no room to."""
        found = self.run_work.find(_REPORTED)
        return None if found is None else read_document(Reported, found, _REPORTED)

    def put_reported(self, report: Report, listed: Sequence[Difference]) -> None:
        """Leaves what is kept beside the manifest only when all is proved."""
        reported = Reported(report=report, listed=tuple(listed))
        self.run_work.put(_REPORTED, reported.model_dump_json().encode())

    # --- the volume -------------------------------------------------------------

    def read(self, number: int) -> ReadPortion | None:
        """None where nobody has said that this portion was read, as it was planned."""
        found = self.run_work.find(f"{_READ}{number}")
        if found is None:
            return None
        read = read_document(ReadPortion, found, f"portion {number}")
        return read if read.sha256 == self.shared.slices[number].sha256 else None

    def put_read(self, number: int, read: ReadPortion) -> None:
        """Says that a portion was read."""
        self.run_work.put(f"{_READ}{number}", read.model_dump_json().encode())

    # --- what is wrong ----------------------------------------------------------

    def found_bad(self) -> RunError | None:
        """The first that was found bad: the database, or else of the portions in their order."""
        names = sorted(name for name in self.run_work.names() if name.startswith(_BAD))
        return RunError.model_validate_json(self.run_work.get(names[0])) if names else None

    def put_bad(self, part: str, reason: RunError) -> None:
        """Says that a part of the backup is bad, which nobody takes back."""
        self.run_work.put(f"{_BAD}{part}", reason.model_dump_json().encode())

    @contextmanager
    def judged(
        self,
        part: str,
        manifest: Manifest,
        flavour: Callable[[], Flavour | None] = lambda: None,
        check_still_there: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """Leaves a word when the backup is found bad, which no later attempt takes back.

        Arguments: `flavour` is the server's; `check_still_there` raises where a server refused
        something for want of what others have loaded, and not for what the backup holds.
        """
        try:
            yield
        except BaseException as error:
            if verdict_of(error, manifest, flavour()) is Verdict.BAD:
                if isinstance(error, LoadFailed):
                    check_still_there()
                self.put_bad(part, describe(error, self.run_work.run_id))
            raise
