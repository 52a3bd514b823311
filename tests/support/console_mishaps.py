"""What may happen while a page of the console stands open, and that the page tells it."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route, expect


def what_cannot_be_sent_is_told(page: Page, volume: Path) -> None:
    """A file that was changed since; and an upload that the service does not give up is kept."""

    def change(route: Route) -> None:
        os.utime(volume, (1, volume.stat().st_atime + 60))
        route.abort()

    page.route(re.compile(r"partNumber=3\b"), change)
    page.get_by_role("button", name="Send both").click()
    expect(page.get_by_role("alert")).to_contain_text("A file has changed since you chose it")
    page.unroute(re.compile(r"partNumber=3\b"))

    def refuse(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fulfill(status=503, json={"title": "Not now"})
        else:
            route.continue_()

    page.route("**/backup/upload/*", refuse)
    page.get_by_role("button", name="Give it up").click()
    expect(page.get_by_text("Not now")).to_be_visible()
    page.unroute("**/backup/upload/*")
    page.get_by_role("button", name="Give it up").click()
    expect(page.get_by_text("drop it here", exact=False)).to_have_count(2)


HELD: dict[str, Any] = {
    "id": "r-create-1",
    "kind": "create",
    "state": "failed",
    "started_at": "2026-11-24T01:00:01Z",
    "finished_at": "2026-11-24T01:00:02Z",
    "backup_id": None,
    "progress": {},
    "step": "",
    "result": {},
    "warnings": [],
    "error": {
        "code": "lease-held",
        "message": "restore run 20261124T010000-restore-0a1b2c3d holds the right to write",
    },
}
"""Of two runs that were asked for in the same moment, the one that came too late."""


def what_is_left_meanwhile_is_told(page: Page, backup_id: str) -> None:
    """The outcome of a dialog that was left; and that a backup is gone."""
    held: list[Route] = []
    page.route("**/pin", lambda route: held.append(route))  # noqa: PLW0108 -- a method has no place for its mark
    page.get_by_role("button", name="Pin…").click()
    page.get_by_label("Reason").fill("typed by hand")
    with page.expect_request("**/pin"):
        page.get_by_role("button", name="Pin it").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    held.pop().fulfill(status=409, json={"title": "Another run is writing", "run_id": "r-create-1"})
    expect(page.get_by_role("dialog")).to_contain_text("Another run is writing")
    page.route("**/backup/runs/r-create-1", lambda route: route.fulfill(json=HELD))
    page.get_by_role("link", name="Look at the run").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("This run changed nothing", exact=False)).to_be_visible()
    holder = page.get_by_role("link", name="Look at the run")
    expect(holder).to_have_attribute("href", "#/runs/20261124T010000-restore-0a1b2c3d")
    page.unroute("**/pin")
    page.go_back()

    # What is no answer of the service is no success, whatever its status.
    page.route("**/pin", lambda route: route.fulfill(body="<p>Welcome to our network"))
    page.get_by_role("button", name="Pin…").click()
    page.get_by_label("Reason").fill("typed by hand")
    page.get_by_role("button", name="Pin it").click()
    expect(page.get_by_role("dialog")).to_contain_text("Something other than the service")
    page.keyboard.press("Escape")
    page.unroute("**/pin")

    pages: dict[str | None, list[str]] = {None: ["First_"], "First_": ["Last_"]}
    page.route("**/tables?*", lambda route: route.fulfill(json=_tables(pages, route.request.url)))
    page.get_by_role("button", name="Tables", exact=True).click()
    expect(page.get_by_text("2 tables and views")).to_be_visible()
    page.get_by_label("Choose Last_").check()
    gone = {"title": "There is no such thing", "detail": "it was deleted"}
    page.route(f"**/backup/{backup_id}", lambda route: route.fulfill(status=404, json=gone))
    page.get_by_role("button", name="Restore them…").click()
    expect(page.get_by_role("alert")).to_contain_text("it was deleted")
    page.unroute(f"**/backup/{backup_id}")


def _tables(pages: dict[str | None, list[str]], url: str) -> dict[str, Any]:
    after = parse_qs(urlsplit(url).query).get("next", [None])[0]
    names = pages[after]
    found = [
        {"name": it, "kind": "table", "size": 1, "sql_size": 1, "has_triggers": False}
        for it in names
    ]
    more = names[-1] if names[-1] in pages else None
    return {"tables": found, "routines": None, "events": None, "next": more}


def asked_for_the_password_once(page: Page) -> None:
    """Who leaves that dialog is not asked again by a page that only keeps itself current."""
    refused = {"type": "urn:lcp-backup:problem:unauthenticated", "title": "Who are you?"}
    page.route("**/backup/runs?*", lambda route: route.fulfill(status=401, json=refused))
    look = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(look)
    expect(page.get_by_role("dialog", name="Sign in again")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alert")).to_contain_text("not signed in any more")
    with page.expect_response("**/backup/runs?*"):
        page.evaluate(look)
    page.wait_for_timeout(200)
    assert page.get_by_role("dialog").count() == 0
    page.unroute("**/backup/runs?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)
