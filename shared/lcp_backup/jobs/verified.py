"""What a verification found out: how it is judged, kept beside the manifest, and told."""

from dataclasses import dataclass

from lcp_backup.catalog import Catalog
from lcp_backup.database.endpoint import Flavour
from lcp_backup.database.scratch import Proved
from lcp_backup.errors import ArchiveError, LoadFailed, NotFound, ServerGaveUp, UnknownFormat
from lcp_backup.jobs.active_run import ActiveRun
from lcp_backup.jobs.consistency import check_is_there
from lcp_backup.model import Manifest, Notice, RunError
from lcp_backup.telemetry import Telemetry
from lcp_backup.verification import Report, Verdict, Verification


@dataclass(frozen=True)
class VerifyResult:
    """What a verification answers that found nothing wrong."""

    backup_id: str
    run_id: str
    verdict: Verdict | None
    """None while workers are at work on it."""
    tables: int = 0
    rows: int = 0
    files: int = 0
    read_bytes: int = 0


def verdict_of(error: BaseException, manifest: Manifest, flavour: Flavour | None) -> Verdict:
    """Whether an error tells that the backup is bad, or only that it could not be tried.

    Arguments: `flavour` is the server's that it was loaded into, if it came to that.
    """
    if isinstance(error, ServerGaveUp):
        return Verdict.COULD_NOT_VERIFY
    if isinstance(error, LoadFailed):
        # A dump of MySQL may be whole, and nothing for MariaDB.
        same = flavour is None or flavour == manifest.database_facts.flavour
        return Verdict.BAD if same else Verdict.COULD_NOT_VERIFY
    is_bad = isinstance(error, ArchiveError | UnknownFormat)
    return Verdict.BAD if is_bad else Verdict.COULD_NOT_VERIFY


def left_behind(proved: Proved) -> tuple[Notice, ...]:
    """What an operator has to drop by hand."""
    return tuple(
        Notice(
            code="left-behind",
            subject=schema,
            detail="this schema of the run could not be dropped: drop it by hand",
        )
        for schema in proved.left_behind
    )


def verification_of(
    manifest: Manifest,
    run: ActiveRun,
    verdict: Verdict,
    **found: Report | RunError | float | str | None,
) -> Verification:
    """What a run, that ends now, has found out of a backup: other fields as in Verification."""
    return Verification.model_validate(
        {
            "backup_id": manifest.id,
            "backup_run_id": manifest.run_id,
            "run_id": run.id,
            "verdict": verdict,
            "started_at": run.started_at,
            "finished_at": run.now(),
            **found,
        }
    )


def keep_verification(catalog: Catalog, manifest: Manifest, verification: Verification) -> None:
    """Keeps it, unless it tells nothing and an earlier one told something.

    Raises NotFound when the backup is gone: nothing may be kept below its id then.
    """
    check_is_there(catalog, manifest)
    verifications = catalog.verifications
    if verification.verdict is Verdict.COULD_NOT_VERIFY:
        before = verifications.find(manifest)
        if before is not None and before.verdict is not Verdict.COULD_NOT_VERIFY:
            return
    verifications.keep(verification)
    try:
        check_is_there(catalog, manifest)
    except NotFound:
        verifications.forget(manifest.id)
        raise


def set_result(run: ActiveRun, verification: Verification) -> None:
    """What the record says of a run that succeeds."""
    run.set_result(
        verdict=verification.verdict,
        tables=verification.tables,
        rows=verification.rows,
        files=verification.files,
        read_bytes=verification.read_bytes,
    )


def tell_verified(telemetry: Telemetry, verification: Verification) -> None:
    """Metrics and event of one that found nothing wrong."""
    telemetry.count(
        VerifySuccess=1,
        VerifySeconds=verification.seconds,
        VerifyReadBytes=verification.read_bytes,
    )
    telemetry.announce(
        "Backup Verified", {"backupId": verification.backup_id, "runId": verification.run_id}
    )
