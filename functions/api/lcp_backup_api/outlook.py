"""What is asked of a backup and stands in no manifest: how long it stays, what it changed, how long
its restore takes."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Final, Literal

from lcp_backup.catalog import Catalog
from lcp_backup.catalog.pins import Pin
from lcp_backup.errors import UnknownFormat
from lcp_backup.model import BackupType, Manifest, Run, RunKind, RunState
from lcp_backup.verification import Verdict, Verification

_RUNS: Final = 8
"""How many of the last runs an estimate is made from."""


def whole_size(manifest: Manifest) -> int:
    """Bytes that a restore brings back: the SQL and the content of all files."""
    return manifest.database.raw_size + manifest.volume_facts.bytes


def newest_id(catalog: Catalog) -> str | None:
    """The backup that never expires, as cleanup has it: one that cannot be read does not count.

    None when there is none.
    """
    for backup_id in catalog.backups.ids():
        with suppress(UnknownFormat):
            if catalog.backups.find(backup_id) is not None:
                return backup_id
    return None


def kept_until(manifest: Manifest, retention_days: int) -> datetime:
    """When the retention of a backup ends, if it is neither pinned nor the newest."""
    return manifest.slot + timedelta(days=retention_days)


@dataclass(frozen=True)
class Change:
    """How much more (or less, then it is negative) there is than in the backup before."""

    since: str
    files: int
    file_bytes: int
    tables: int
    sql_bytes: int


def changes(manifests: Iterable[Manifest]) -> Mapping[str, Change]:
    """What changed in each backup, newest first, against the next; without the last, by their ids.

    Uploaded ones may be of other sites: nothing is compared with them.
    """
    of_the_site = (it for it in manifests if it.type is not BackupType.UPLOADED)
    return {new.id: _change(old, new) for new, old in pairwise(of_the_site)}


def _change(old: Manifest, new: Manifest) -> Change:
    return Change(
        since=old.id,
        files=new.volume_facts.files - old.volume_facts.files,
        file_bytes=new.volume_facts.bytes - old.volume_facts.bytes,
        tables=new.database_facts.tables - old.database_facts.tables,
        sql_bytes=new.database.raw_size - old.database.raw_size,
    )


@dataclass(frozen=True)
class Beside:
    """What is told of a backup beside its manifest; None is what there is not, or nobody knows."""

    pin: Pin | None = None
    """While it is pinned."""
    verification: Verification | None = None
    kept_until: datetime | None = None
    """None for one that does not expire."""
    change: Change | None = None


def beside(
    catalog: Catalog,
    manifests: Sequence[Manifest],
    older: Sequence[Manifest],
    retention_days: int,
) -> dict[str, Beside]:
    """What there is beside some backups, newest first, by their ids; read side by side.

    Arguments: `older` is what follows them in the order of backups, as far as it is known: with
    the first of these that is of the site, the last of them is compared.
    Raises UnknownFormat, StorageError.
    """
    verified = catalog.verifications.find_all(manifests)
    pins = catalog.pins.of_all(manifests)
    newest = newest_id(catalog) if manifests else None
    changed = changes([*manifests, *older])
    return {
        it.id: Beside(
            pin=pins.get(it.id),
            verification=verified.get(it.id),
            kept_until=None if it.id in {newest, *pins} else kept_until(it, retention_days),
            change=changed.get(it.id),
        )
        for it in manifests
    }


@dataclass(frozen=True)
class Estimate:
    """How long a restore of the whole will take, and what tells."""

    seconds: float
    basis: Literal["verification", "restores", "verifications"]
    run_id: str
    """The last run that was measured."""


def estimate(
    catalog: Catalog, manifest: Manifest, verification: Verification | None
) -> Estimate | None:
    """By the verification of this very backup, or else by the last restores or verifications.

    None where nothing was ever restored. Raises StorageError, UnknownFormat.
    """
    if verification is not None and verification.verdict is Verdict.VERIFIED:
        # What a proof does beside a restore (comparing rows and files, asking) does not count.
        took = verification.restore_seconds or verification.seconds
        return Estimate(took, "verification", verification.run_id)
    page = catalog.page(
        _RUNS, kinds=(RunKind.RESTORE, RunKind.VERIFY), states=(RunState.SUCCEEDED,)
    )
    runs = [it for it in page.records if isinstance(it, Run) and _is_measure(it)]
    restores = [it for it in runs if it.kind is RunKind.RESTORE]
    if not runs:
        return None
    measured = restores or runs
    seconds_per_byte = median(_took(run) / sum(run.progress.values()) for run in measured)
    return Estimate(
        seconds_per_byte * whole_size(manifest),
        "restores" if restores else "verifications",
        measured[0].id,
    )


def _is_measure(run: Run) -> bool:
    """Whether a run read a whole backup."""
    return sum(run.progress.values()) > 0 and run.result.get("whole", True) is True


def _took(run: Run) -> float:
    assert run.finished_at is not None
    return (run.finished_at - run.started_at).total_seconds()
