"""What the backups take and cost, and what the environment is set to."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lcp_backup.aws.s3 import ObjectStore
from lcp_backup.catalog import Catalog
from lcp_backup.catalog.keys import Keys
from lcp_backup.catalog.retired import Retired
from lcp_backup.catalog.usage import StoredBytes
from lcp_backup_api import usage
from tests.support.api_client import Client
from tests.support.backups import publish
from tests.support.clock import SettableClock

BELOW = "acme/prd"


def test_each_backup_tells_what_it_takes_page_by_page(
    call: Client, catalog: Catalog, clock: SettableClock
) -> None:
    old, new = (publish(catalog, clock() + timedelta(days=number)) for number in range(2))
    call("PUT", f"/backup/{old}/pin", body={"reason": "an audit"})
    page = call("GET", "/backup/usage?limit=1", by="bob").json()
    assert page["backups"] == [
        {
            "backup_id": new,
            "type": "Auto",
            "created_at": "2026-11-24T00:15:30Z",
            "seconds": 0.0,
            "stored_bytes": 200,
            "whole_bytes": 1001,
            "pinned": False,
        }
    ]
    rest = call("GET", f"/backup/usage?limit=1&next={page['next']}").json()
    assert [(it["backup_id"], it["pinned"]) for it in rest["backups"]] == [(old, True)]
    assert (rest["next"], rest["live"], rest["month"]) == (None, None, None)


def test_everything_that_lies_there_counts_once_and_where_it_belongs(
    call: Client, catalog: Catalog, store: ObjectStore, clock: SettableClock
) -> None:
    published = publish(catalog, clock())
    retired, dead = "acme-prd-202611200015", "acme-prd-202611210015"
    store.put(f"{BELOW}/backups/{retired}/volume.tgz", bytes(3000))
    catalog.backups.mark_retired(retired, Retired(since=clock()))
    store.put(f"{BELOW}/backups/{dead}/volume.tgz", bytes(500))
    store.put(f"{BELOW}/downloads/x.tgz", bytes(70))
    store.put(f"{BELOW}/uploads/20261123T001500-upload-0a1b2c3d/volume", bytes(9))
    store.put(f"{BELOW}2/backups/{published}/volume.tgz", bytes(10_000))  # another environment's
    live = call("GET", "/backup/usage").json()["live"]
    of_it = sum(it.size for it in store.entries(f"{BELOW}/backups/{published}/"))
    assert live == {
        "total_bytes": of_it + 3579,
        "backups_bytes": of_it,
        "retired_bytes": 3000,
        "unfinished_bytes": 500,
        "downloads_bytes": 70,
        "uploads_bytes": 9,
        "complete": True,
    }


def test_what_is_too_much_to_count_is_told_to_be_more(
    store: ObjectStore, catalog: Catalog, clock: SettableClock
) -> None:
    publish(catalog, clock())
    counted = StoredBytes(store, Keys(BELOW))
    assert counted.count(5).is_complete
    few = counted.count(4)
    assert not few.is_complete
    assert 0 < few.total < counted.count().total


def test_a_month_costs_the_list_price_of_binary_gigabytes(
    call: Client, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "_GB", 1000)
    store.put(f"{BELOW}/downloads/x.tgz", bytes(2000))
    month = call("GET", "/backup/usage").json()["month"]
    assert (month["usd"], month["usd_per_gb"], month["region"]) == (0.046, 0.023, "us-east-1")


def test_the_price_is_the_one_that_the_page_on_costs_has() -> None:
    page = (Path(__file__).parents[3] / "docs" / "cost.md").read_text()
    assert f"S3 Standard: {usage.USD_PER_GB_MONTH} a GB-month" in page
    assert usage.PRICE_SOURCE in page
    assert f"list prices of {usage.PRICE_REGION}" in page


def test_the_environment_tells_what_headings_and_plots_need(
    call: Client, with_settings: Callable[..., Client]
) -> None:
    assert call("GET", "/backup/environment", by="bob").json() == {
        "project": "acme",
        "environment": "prd",
        "type": "development",
        "retention_days": 30,
        "keep": None,
        "time_limit_seconds": 900,
        "restores_from": None,
    }
    follower = with_settings(
        LCP_ENVIRONMENT_TYPE="production",
        LCP_BACKUP_RESTORE_SCHEDULE="0 3 * * *",
        LCP_BACKUP_RESTORE_SOURCE_BUCKET="another-bucket",
        LCP_BACKUP_RESTORE_SOURCE_PREFIX="acme/live",
        LCP_BACKUP_KEEP="hourly:24,daily:7",
        LCP_FUNCTION_TIMEOUT="600",
    )
    told = follower("GET", "/backup/environment").json()
    assert told["restores_from"] == "acme/live"
    assert told["keep"] == {"hourly": 24, "daily": 7}
    assert told["time_limit_seconds"] == 600
    assert "another-bucket" not in str(told)
