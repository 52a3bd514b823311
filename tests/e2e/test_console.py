"""The console in real Chromium, against the deployed stack: what its users do, and what goes wrong.

Few tests with much in each: a window that is signed in, and a backup, cost more than looking.
"""

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser import Console
from tests.support.console_mishaps import (
    asked_for_the_password_once,
    what_cannot_be_sent_is_told,
    what_is_left_meanwhile_is_told,
)
from tests.support.deployed import Deployed
from tests.support.tars import Tar

MOST = 150_000
"""Bytes of the page and all its files, as they travel."""
HOSTILE_FILE = "<img src=x onerror=alert(1)>&quot;.txt"
HOSTILE_TABLE = "<b onclick=alert(1)>&amp;"
HOSTILE_REASON = "<script>document.title = 'hit'</script> \u202egpj.exe"
SHOWN_REASON = HOSTILE_REASON.replace("\u202e", "\u27e8U+202E\u27e9")


@pytest.fixture(scope="module")
def hostile(deployed: Deployed) -> Iterator[str]:
    """A backup of the site with names that are markup; its id."""
    file = deployed.stack.folder / "document_library" / HOSTILE_FILE
    file.write_text("what it says")
    table = f"`{deployed.stack.database.name}`.`{HOSTILE_TABLE}`"
    with deployed.stack.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (a INT PRIMARY KEY) ENGINE=InnoDB")
    made = deployed.stack.invoke("create", {"time": "2026-11-24T01:00:00Z"})["backup_id"]
    yield made
    # No other test shall restore this, nor meet what is in it.
    deployed.admin.call("DELETE", f"/backup/{made}/pin")
    deployed.admin.call("DELETE", f"/backup/{made}")
    file.unlink(missing_ok=True)
    with deployed.stack.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {table}")


def open_console(deployed: Deployed, chromium: Browser, role: str = "admin") -> Console:
    console = Console.open(chromium, deployed.described["api_url"])
    console.sign_in(deployed.stack.users[role])
    return console


def look_at_ended_runs(console: Console, deployed: Deployed) -> None:
    """What a run did last is not what it is at."""
    [ended] = deployed.admin.call("GET", "/backup/runs?state=succeeded&limit=1").json()["runs"]
    assert ended["step"]
    console.go("Runs")
    expect(console.page.locator("tbody tr").first).to_be_visible()
    expect(console.page.locator("main")).not_to_contain_text(ended["step"])


def browse(console: Console, tmp_path: Path) -> None:
    """What is hostile is text, wherever it is shown, and can be had like anything else."""
    page = console.page
    page.locator("button.folder", has_text="document_library").click()
    expect(page.get_by_role("rowheader", name=HOSTILE_FILE, exact=True)).to_be_visible()
    file = console.downloaded(f"Download {HOSTILE_FILE}", tmp_path)
    packed = subprocess.run(["tar", "xzOf", file], check=True, capture_output=True).stdout
    assert packed == b"what it says"
    page.get_by_role("button", name="Tables", exact=True).click()
    expect(page.get_by_role("rowheader", name=HOSTILE_TABLE, exact=True)).to_be_visible()
    console.downloaded(f"Download {HOSTILE_TABLE}", tmp_path)
    page.get_by_role("button", name="Pin…").click()
    page.get_by_label("Reason").fill(HOSTILE_REASON)
    page.get_by_role("button", name="Pin it").click()
    expect(page.locator(".notice.pin")).to_contain_text(SHOWN_REASON)
    console.looked_at("backup")
    page.get_by_role("button", name="Unpin").click()
    expect(page.locator(".notice.pin")).to_have_count(0)
    assert page.locator("main img, main b, main script, dialog script").count() == 0


def test_signing_in_says_what_is_wrong_and_all_of_the_console_is_small(
    deployed: Deployed, chromium: Browser
) -> None:
    console = Console.open(chromium, deployed.described["api_url"])
    page = console.page
    page.get_by_label("User").fill("nobody@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("User or password is wrong")
    assert page.get_by_label("User").input_value() == "nobody@example.com"
    console.looked_at("sign-in")
    console.sign_in(deployed.stack.users["admin"])
    assert 0 < console.transferred < MOST
    page.reload()
    page.get_by_role("heading", name="Overview").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert (
        page.evaluate("sessionStorage.length + localStorage.length + document.cookie.length") == 0
    )
    console.close()


def test_an_admin_backs_up_finds_downloads_and_restores(
    deployed: Deployed, chromium: Browser, hostile: str, tmp_path: Path
) -> None:
    console = open_console(deployed, chromium)
    page = console.page
    console.settled()
    console.looked_at("overview")
    asked: list[str] = []
    page.on("request", lambda it: asked.append(it.url) if it.method == "POST" else None)
    page.get_by_role("button", name="Back up now").dblclick()
    expect(page.get_by_text("It succeeded", exact=False)).to_be_visible()
    assert len(asked) == 1
    made = page.locator(".notice.good a").inner_text()
    whole = deployed.fingerprint()

    for view in ("Runs", "Schedules", "Backups"):
        console.go(view)
        console.looked_at(view.lower())
    look_at_ended_runs(console, deployed)
    console.go("Backups")
    page.get_by_label("Search").fill(hostile)
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody th a").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=hostile).wait_for()
    console.settled()

    browse(console, tmp_path)

    page.goto(f"{console.url}#/backups/{made}")
    page.get_by_role("button", name="Compare rows and files").click()
    expect(page.get_by_text("It succeeded", exact=False)).to_be_visible()

    deployed.destroy()
    page.goto(f"{console.url}#/backups/{made}")
    console.settled()
    card = page.locator(".card").filter(has=page.get_by_role("heading", name="Rows and files"))
    expect(card).to_contain_text("rows")
    page.get_by_role("button", name="Restore…").click()
    dialog = page.get_by_role("dialog")
    console.looked_at("restore")
    start = dialog.get_by_role("button", name="Replace the live data")
    name = deployed.admin.call("GET", "/backup/environment").json()["environment"]
    dialog.get_by_label("Type the environment's name").fill(f"{name}x")
    expect(start).to_be_disabled()
    dialog.get_by_label("Type the environment's name").fill(name)
    start.click()
    expect(page.get_by_text("restart Liferay", exact=False)).to_be_visible()
    console.looked_at("run")
    assert deployed.fingerprint().differences(whole) == []

    page.set_viewport_size({"width": 360, "height": 740})
    for view in ("Overview", "Backups", "Upload"):
        console.go(view)
        console.looked_at(f"{view.lower()}-narrow")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
    deployed.admin.call("DELETE", f"/backup/{made}")
    console.close()


def test_an_upload_goes_on_after_a_killed_tab_and_a_wrong_file_never_travels(
    deployed: Deployed, chromium: Browser, hostile: str, tmp_path: Path
) -> None:
    answer = deployed.admin.call(
        "GET", f"/backup/download/database/{hostile}", "--location", "--output", tmp_path / "d.tgz"
    )
    assert answer.status == 200
    library = tmp_path / "document_library"
    library.mkdir()
    (library / "random.bin").write_bytes(random.Random(3).randbytes(33 << 20))
    subprocess.run(["tar", "cf", "v.tar", "document_library"], cwd=tmp_path, check=True)
    (tmp_path / "w.tgz").write_bytes(b"PK\x03\x04 and more")

    console = open_console(deployed, chromium)
    page = console.page
    console.go("Upload")
    both_dropped_at_once(page)
    database, volume = page.locator("input[type=file]").all()
    database.set_input_files(tmp_path / "w.tgz")
    expect(page.get_by_text("A zip.")).to_be_visible()
    database.set_input_files(tmp_path / "v.tar")
    expect(page.get_by_text("put it on the other side", exact=False)).to_be_visible()
    expect(page.get_by_role("button", name="Send both")).to_be_disabled()
    console.looked_at("upload")
    database.set_input_files(tmp_path / "d.tgz")
    volume.set_input_files(tmp_path / "v.tar")
    what_cannot_be_sent_is_told(page, tmp_path / "v.tar")
    for chosen, file in zip(
        page.locator("input[type=file]").all(), ("d.tgz", "v.tar"), strict=True
    ):
        chosen.set_input_files(tmp_path / file)

    sent: list[str] = []
    killed = page

    def hold(route: Route) -> None:
        """Keeps the last part from arriving, for as long as the first tab lives."""
        if route.request.frame.page is not killed:
            route.continue_()

    console.context.on("request", lambda it: sent.append(it.url) if it.method == "PUT" else None)
    console.context.route(re.compile(r"partNumber=3\b"), hold)
    page.get_by_role("button", name="Send both").click()
    expect(page.locator("progress[aria-label=Files]")).to_have_js_property("value", 2 << 24)
    expect(page.locator("progress[aria-label=Database]")).to_have_js_property(
        "value", (tmp_path / "d.tgz").stat().st_size
    )
    page.close()
    sent.clear()

    console.page = page = console.context.new_page()
    console.watch(page)
    page.goto(f"{console.url}#/upload")
    page.get_by_label("User").wait_for()
    console.sign_in(deployed.stack.users["admin"], to="Upload a backup")
    expect(page.get_by_text("was begun in this browser", exact=False)).to_be_visible()
    database, volume = page.locator("input[type=file]").all()
    database.set_input_files(tmp_path / "d.tgz")
    volume.set_input_files(tmp_path / "v.tar")
    page.get_by_role("button", name="Go on sending").click()
    expect(page.get_by_text("are a backup now", exact=False)).to_be_visible()
    # (It may have arrived when its tab was closed.)
    assert all("partNumber=3" in it for it in sent)
    made = page.locator(".notice.good a").inner_text()
    assert deployed.admin.call("DELETE", f"/backup/{made}").status == 204
    console.close()


def both_dropped_at_once(page: Page) -> None:
    """On one side: each goes where it belongs, whatever its name; a drop that misses does nothing.

    Old tar files (without `ustar`) and dumps with a byte order mark are taken for what they are.
    """
    tar = bytearray(Tar().add("document_library/a", b"x").raw())
    tar[257:265] = bytes(8)
    tar[148:156] = b"%06o\0 " % (sum(tar[:148]) + sum(tar[156:512]) + 8 * ord(" "))
    dump = b"\xef\xbb\xbf-- MariaDB dump 10.19\n"
    files = [("dump.sql", list(dump)), ("files", list(tar))]
    drop = """(files) => {
      const dropped = new DataTransfer();
      for (const [name, bytes] of files) dropped.items.add(new File([new Uint8Array(bytes)], name));
      return dropped;
    }"""
    dropped = {"dataTransfer": page.evaluate_handle(drop, files)}
    page.locator("h1").dispatch_event("drop", dropped)
    expect(page.locator(".zone .badge")).to_have_count(0)
    page.locator(".zone").nth(1).dispatch_event("drop", dropped)
    for zone, name in zip(page.locator(".zone").all(), ("dump.sql", "files"), strict=True):
        expect(zone).to_contain_text(name)
        expect(zone.locator(".badge.good")).to_be_visible()
    expect(page.get_by_role("button", name="Send both")).to_be_enabled()


def test_a_viewer_sees_what_they_may_not_do_and_why(
    deployed: Deployed, chromium: Browser, hostile: str
) -> None:
    console = open_console(deployed, chromium, "viewer")
    page = console.page
    page.goto(f"{console.url}#/backups/{hostile}")
    console.settled()
    for name in ("Restore…", "Verify", "Compare rows and files", "Pin…", "Delete…"):
        greyed = page.get_by_role("button", name=name, exact=True)
        expect(greyed).to_have_attribute("aria-disabled", "true")
        expect(greyed).to_have_accessible_description(re.compile("You are a viewer"))
        greyed.click(force=True)
    assert page.get_by_role("dialog").count() == 0
    expect(page.get_by_role("button", name="Download database")).to_be_enabled()
    console.looked_at("backup-viewer")
    printed_as_a_page(page)
    console.go("Upload")
    expect(page.get_by_text("You are a viewer", exact=False)).to_be_visible()
    console.close()


def printed_as_a_page(page: Page) -> None:
    """What is said of the backup in dark ink, without what only a screen is good for."""
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("heading", name="Rows and files")).to_be_visible()
    for left_out in ("header", ".actions"):
        expect(page.locator(left_out).first).to_be_hidden()
    colours = "(it) => [getComputedStyle(it).color, getComputedStyle(it).backgroundColor]"
    for card in page.locator(".card").all():
        ink, paper = card.evaluate(colours)
        assert brightness(ink) < 0.4
        assert brightness(paper) > 0.8
    assert len(page.pdf()) > 10_000
    page.emulate_media(media="screen", color_scheme="light")


def brightness(colour: str) -> float:
    """0 to 1, of `rgb(...)`; what lets the paper through is as bright as that."""
    parts = [float(it) for it in re.findall(r"[\d.]+", colour)]
    is_clear = len(parts) > 3 and parts[3] == 0
    return 1.0 if is_clear else sum(parts[:3]) / 765


def test_what_goes_wrong_is_told_where_it_happened_and_nothing_typed_is_lost(
    deployed: Deployed, chromium: Browser, hostile: str
) -> None:
    console = open_console(deployed, chromium)
    page, context = console.page, console.context
    refusals: list[int] = [503, 429]

    def busy(route: Route) -> None:
        if not refusals:
            route.continue_()
            return
        headers = {"Retry-After": "1"}
        route.fulfill(status=refusals.pop(), headers=headers, json={"message": "busy"})

    # Busy: asked again by itself. Away: said so beside the button, and well once it is back.
    context.route("**/backup/list?*", busy)
    console.go("Backups")
    expect(page.get_by_role("link", name=hostile)).to_be_visible()
    assert refusals == []
    context.set_offline(True)
    page.get_by_role("button", name="Back up now").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    console.looked_at("away")
    context.set_offline(False)

    # Refused in the middle of something: the dialog stays, and is sent once there is a new token.
    refused = {"type": "urn:lcp-backup:problem:unauthenticated", "title": "Who are you?"}
    context.route("**/pin", lambda route: route.fulfill(status=401, json=refused))
    page.goto(f"{console.url}#/backups/{hostile}")
    page.get_by_role("button", name="Pin…").click()
    page.get_by_label("Reason").fill("typed by hand")
    page.get_by_role("button", name="Pin it").click()
    again = page.get_by_role("dialog", name="Sign in again")
    again.get_by_label("Password").wait_for()
    context.unroute("**/pin")
    again.get_by_label("Password").fill(deployed.stack.users["admin"].password)
    again.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator(".notice.pin")).to_contain_text("typed by hand")
    page.get_by_role("button", name="Unpin").click()
    expect(page.locator(".notice.pin")).to_have_count(0)

    what_is_left_meanwhile_is_told(page, hostile)
    console.go("Runs")
    asked_for_the_password_once(page)
    page.goto(f"{console.url}#/")

    # The end of a token is told before it comes.
    page.evaluate(
        """() => {
          const key = "lcp-backup-session";
          const session = JSON.parse(sessionStorage.getItem(key));
          session.expiresAt = new Date(Date.now() + 200_000).toISOString();
          sessionStorage.setItem(key, JSON.stringify(session));
        }"""
    )
    page.reload()
    expect(page.locator(".ending")).to_contain_text("ends in less than five minutes")
    console.looked_at("ends-soon")
    console.close()
