"""What a list and a detail tell of a backup beside its manifest."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from lcp_backup.catalog import Catalog
from lcp_backup.model import BackupType, Run, RunKind, RunState, VolumeSource
from lcp_backup.verification import Verdict, Verification
from tests.support.api_client import Client
from tests.support.backups import a_manifest, publish
from tests.support.clock import SettableClock

DAY = timedelta(days=1)


def entries(call: Client, query: str = "") -> dict[str, dict[str, Any]]:
    listed = call("GET", f"/backup/list{query}").json()["backups"]
    return {it["backupId"]: it for it in listed}


def of(call: Client, backup_id: str) -> dict[str, Any]:
    detail: dict[str, Any] = call("GET", f"/backup/{backup_id}").json()
    return detail


# --- how long it stays ----------------------------------------------------------


def test_a_backup_is_kept_until_its_retention_ends_but_the_newest_and_pinned_ones_stay(
    with_settings: Callable[..., Client], catalog: Catalog, clock: SettableClock
) -> None:
    call = with_settings(LCP_BACKUP_RETENTION_PERIOD="7")
    old, pinned, new = (publish(catalog, clock() + number * DAY) for number in range(3))
    call("PUT", f"/backup/{pinned}/pin", body={"reason": "an audit"})
    wanted = {new: None, pinned: None, old: "2026-11-30T00:15:00Z"}
    assert {name: it["keptUntil"] for name, it in entries(call).items()} == wanted
    assert {name: of(call, name)["keptUntil"] for name in wanted} == wanted
    # The newest is known as such on no page that it is not on, and the oldest is not taken for it.
    assert entries(call, f"?limit=1&next={pinned}")[old]["keptUntil"] == wanted[old]


# --- what changed -----------------------------------------------------------------


def grown(catalog: Catalog, clock: SettableClock, day: int, **facts: Any) -> str:
    manifest = a_manifest(clock() + day * DAY)
    volume = manifest.volume_facts.model_copy(update={"files": day, "bytes": 1000 * day})
    database = manifest.database.model_copy(update={"raw_size": 500 * day})
    manifest = manifest.model_copy(update={"volume_facts": volume, "database": database, **facts})
    catalog.backups.publish(manifest)
    return manifest.id


def test_what_changed_is_told_against_the_backup_of_the_site_before(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    first = grown(catalog, clock, 1)
    upload = grown(catalog, clock, 2, type=BackupType.UPLOADED)
    third = grown(catalog, clock, 3)
    change = {"since": first, "files": 2, "fileBytes": 2000, "tables": 0, "sqlBytes": 1000}
    listed = entries(call)
    assert listed[third]["change"] == change
    assert listed[third]["wholeSize"] == 4500
    assert (listed[upload]["change"], listed[first]["change"]) == (None, None)
    assert [of(call, it)["change"] for it in (third, upload, first)] == [change, None, None]


def test_the_last_of_a_page_is_compared_with_the_first_of_the_next(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    made = [grown(catalog, clock, day) for day in (1, 2, 3)]
    page = call("GET", "/backup/list?limit=2").json()
    assert [it["change"]["since"] for it in page["backups"]] == [made[1], made[0]]
    assert [it["backupId"] for it in page["backups"]] == [made[2], made[1]]
    rest = call("GET", f"/backup/list?limit=2&next={page['next']}").json()
    assert [it["backupId"] for it in rest["backups"]] == [made[0]]
    assert rest["next"] is None


def test_an_increment_is_told_from_a_backup_that_is_stored_whole(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    whole = grown(catalog, clock, 1)
    source = VolumeSource(backup_id=whole, size=1, etag="e", file_size=1, live_size=1)
    increment = grown(catalog, clock, 2, sources=(source,))
    listed = entries(call)
    assert (listed[whole]["storedWhole"], listed[increment]["storedWhole"]) == (True, False)


# --- how long a restore takes -------------------------------------------------------


def ran(catalog: Catalog, clock: SettableClock, kind: RunKind, seconds: int, **changed: Any) -> str:
    """A run that loaded 500 bytes of SQL and 500 of files."""
    clock.pass_by(timedelta(hours=1))
    run = Run(
        id=catalog.runs.new_id(kind),
        kind=kind,
        state=RunState.SUCCEEDED,
        started_at=clock(),
        updated_at=clock(),
        finished_at=clock() + timedelta(seconds=seconds),
        progress={"database": 500, "volume": 500},
    ).model_copy(update=changed)
    catalog.runs.write(run)
    return run.id


def test_where_nothing_was_restored_nothing_is_estimated(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    assert of(call, grown(catalog, clock, 1))["restoreEstimate"] is None


def test_a_restore_is_estimated_by_the_rates_of_the_last_whole_ones(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    backup_id = grown(catalog, clock, 2)  # 1,000 bytes of SQL and 2,000 of files
    verified = ran(catalog, clock, RunKind.VERIFY, 7)
    assert of(call, backup_id)["restoreEstimate"] == {
        "seconds": 21.0,
        "basis": "verifications",
        "runId": verified,
    }
    ran(catalog, clock, RunKind.RESTORE, 10)
    ran(catalog, clock, RunKind.RESTORE, 1000)
    last = ran(catalog, clock, RunKind.RESTORE, 20)
    ran(catalog, clock, RunKind.RESTORE, 1, result={"whole": False})
    ran(catalog, clock, RunKind.RESTORE, 1, progress={})
    ran(catalog, clock, RunKind.RESTORE, 1, state=RunState.FAILED)
    assert of(call, backup_id)["restoreEstimate"] == {
        "seconds": 60.0,
        "basis": "restores",
        "runId": last,
    }


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_backup_that_was_proved_itself_needs_no_other_to_tell(
    call: Client, catalog: Catalog, clock: SettableClock, verdict: Verdict
) -> None:
    backup_id = grown(catalog, clock, 1)
    ran(catalog, clock, RunKind.RESTORE, 10)
    known = catalog.backups.get(backup_id)
    catalog.verifications.keep(
        Verification(
            backup_id=backup_id,
            backup_run_id=known.run_id,
            run_id="20261123T001500-verify-0a1b2c3d",
            verdict=verdict,
            started_at=clock(),
            finished_at=clock() + timedelta(seconds=42),
            load_seconds=5,
            read_seconds=30,
        )
    )
    told = of(call, backup_id)["restoreEstimate"]
    if verdict is Verdict.VERIFIED:
        assert (told["seconds"], told["basis"]) == (30.0, "verification")
    else:
        assert told["basis"] == "restores"
