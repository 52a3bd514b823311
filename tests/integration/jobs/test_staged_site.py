"""A site that is staged and never swapped in: it was proof, and nothing of it stays."""

from typing import Any

import pytest

from lcp_backup.aws.bus import EventBus
from lcp_backup.database.staged_schema import Accounts
from lcp_backup.jobs.active_run import ActiveRun, RunTiming
from lcp_backup.jobs.staged_site import SiteStaging, StagedSite
from lcp_backup.jobs.stored_backup import StoredBackup
from lcp_backup.jobs.stored_run import NewRun
from lcp_backup.model import RunKind
from lcp_backup.requests import RestoreRequest
from lcp_backup.settings import Settings
from lcp_backup.telemetry import Telemetry, new_logger
from tests.support.job_site import BACKUP_ID, JobSite


class _NoBus(EventBus):
    def __init__(self) -> None: ...

    def publish(self, detail_type: str, detail: dict[str, Any]) -> None: ...


def stage(site: JobSite, run: ActiveRun, backup: StoredBackup, **fields: Any) -> StagedSite:
    return SiteStaging(
        run,
        RestoreRequest.read({"backup_id": BACKUP_ID, **fields}),
        backup,
        Settings.from_env(site.env),
        catalog=site.catalog,
        live=site.server.endpoint(site.name, user="lcp", password="site"),
        accounts=Accounts(),
    ).stage()


@pytest.mark.parametrize("strategy", ["PREPARE_AND_SWAP", "OVERWRITE"])
def test_a_site_that_is_thrown_away_was_read_to_its_end_and_leaves_the_live_one(
    mariadb_site: JobSite, strategy: str
) -> None:
    mariadb_site.create()
    with mariadb_site.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {mariadb_site.name}.Image_")
    (mariadb_site.folder / "document_library" / "large.bin").unlink()
    live, beside = mariadb_site.fingerprint(), set(mariadb_site.folder.parent.iterdir())
    mariadb_site.env["LCP_BACKUP_RESTORE_STRATEGY"] = strategy
    telemetry = Telemetry(new_logger("INFO"), _NoBus(), project="acme", environment="prd")
    stored = NewRun(mariadb_site.catalog, RunKind.RESTORE, BACKUP_ID)
    with ActiveRun(stored, telemetry, RunTiming()) as run:
        backup = StoredBackup(mariadb_site.catalog, mariadb_site.manifest())
        staged = stage(mariadb_site, run, backup)
        assert backup.read_bytes > 24 << 20
        if strategy == "PREPARE_AND_SWAP":
            assert len(mariadb_site.schemas()) > 1, "it lies beside the live one"
        staged.discard()
        staged.discard()
        assert live.differences(mariadb_site.fingerprint()) == []
        assert mariadb_site.schemas() == {mariadb_site.name}
        assert set(mariadb_site.folder.parent.iterdir()) == beside
        with stage(mariadb_site, run, backup, paths=["document_library/large.bin"]) as staged:
            staged.swap()
    assert (mariadb_site.folder / "document_library" / "large.bin").stat().st_size == 24 << 20
