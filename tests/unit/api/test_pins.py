"""Pins over HTTP."""

from datetime import timedelta

import pytest

from lcp_backup.catalog import Catalog
from lcp_backup.model import Manifest
from tests.support.api_client import Client, Lines
from tests.support.backups import publish
from tests.support.clock import SettableClock

ID = "acme-prd-202611230015"
PIN = f"/backup/{ID}/pin"


def test_a_pinned_backup_is_shown_with_who_and_why_and_is_not_deleted(
    call: Client, catalog: Catalog, clock: SettableClock, lines: Lines
) -> None:
    publish(catalog, clock())
    clock.pass_by(timedelta(hours=1))
    other = publish(catalog, clock())
    answer = call("PUT", PIN, body={"reason": " an audit "})
    assert answer.status == 200
    pin = answer.json()
    assert (pin["by"], pin["reason"]) == ("ann", "an audit")
    assert call("PUT", PIN, body={"reason": "an audit"}).json() == pin
    listed = call("GET", "/backup/list", by="bob").json()["backups"]
    assert [(it["backupId"], it["pinned"]) for it in listed] == [(other, None), (ID, pin)]
    assert call("GET", f"/backup/{ID}", by="bob").json()["pinned"] == pin
    refused = call("DELETE", f"/backup/{ID}")
    assert (refused.status, refused.json()["type"]) == (409, "urn:lcp-backup:problem:pinned")
    assert "cannot be deleted before it is unpinned" in refused.json()["detail"]
    assert "DELETE /backup/{id}/pin" in refused.json()["action"]
    assert call("DELETE", PIN).status == 204
    assert call("DELETE", PIN).status == 204
    assert call("GET", f"/backup/{ID}").json()["pinned"] is None
    assert call("DELETE", f"/backup/{ID}").status == 204
    assert {"pin", "unpin", "delete"} == {line["action"] for line in lines.audits}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_only_admins_pin_and_unpin_and_only_what_there_is(
    call: Client, catalog: Catalog, clock: SettableClock, method: str
) -> None:
    body = {"reason": "an audit"} if method == "PUT" else None
    assert call(method, PIN, body=body).status == 404
    publish(catalog, clock())
    assert call(method, PIN, by="bob", body=body).status == 403
    assert catalog.pins.ids() == frozenset()


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": " "}, {"reason": "x" * 501}])
def test_a_pin_needs_a_reason_of_no_more_than_500_characters(
    call: Client, catalog: Catalog, clock: SettableClock, body: dict[str, str] | None
) -> None:
    publish(catalog, clock())
    answer = call("PUT", PIN, body=body)
    assert answer.status == 400
    assert catalog.pins.ids() == frozenset()


def test_a_pin_that_comes_too_late_for_a_backup_is_no_success(
    call: Client, catalog: Catalog, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(catalog, clock())
    pin = catalog.pins.pin

    def after_it_was_forgotten(manifest: Manifest, by: str, reason: str) -> object:
        catalog.backups.unpublish(ID)
        return pin(manifest, by, reason)

    monkeypatch.setattr(catalog.pins, "pin", after_it_was_forgotten)
    assert call("PUT", PIN, body={"reason": "an audit"}).status == 404
