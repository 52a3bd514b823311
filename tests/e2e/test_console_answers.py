"""The console where the API answers what a test makes up."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser import Console
from tests.support.deployed import Deployed


def test_whatever_the_pool_asks_is_asked_and_its_own_page_is_gone_to(
    deployed: Deployed, chromium: Browser
) -> None:
    console = Console.open(chromium, deployed.described["api_url"])
    page, context = console.page, console.context
    admin = deployed.stack.users["admin"]
    token = deployed.tokens(admin)["AccessToken"]
    challenge: dict[str, Any] = {
        "session": "s" * 20,
        "user": "ann",
        "sent_to": None,
        "choices": [],
        "secret": None,
    }
    answers = [
        {"signed_in": None, "challenge": {**challenge, "name": "NEW_PASSWORD_REQUIRED"}},
        {"signed_in": None, "challenge": {**challenge, "name": "MFA_SETUP", "secret": "JBSWY3DP"}},
        {
            "signed_in": {
                "token": token,
                "expires_at": "2099-01-01T00:00:00Z",
                "name": admin.name,
                "role": "admin",
            },
            "challenge": None,
        },
    ]
    asked: list[Any] = []

    def pool(route: Route) -> None:
        if route.request.method == "GET":
            route.fulfill(json={"sso": {"domain": "acme.auth.example.com", "client_id": "abc"}})
            return
        asked.append(route.request.post_data_json)
        route.fulfill(json=answers.pop(0))

    context.route("**/backup/login", pool)
    context.route("**/backup/login/challenge", pool)
    page.reload()
    page.get_by_label("User").fill("ann")
    page.get_by_label("Password").fill("temporary")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_label("New password").fill("mine")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("JBSWY3DP")).to_be_visible()
    console.looked_at("challenge")
    page.get_by_label("Code").fill("123456")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("heading", name="Overview").wait_for()
    assert [it.get("answer", it.get("password")) for it in asked] == ["temporary", "mine", "123456"]

    # The pool's own page is only gone to: it is elsewhere.
    gone: list[str] = []

    def elsewhere(route: Route) -> None:
        gone.append(route.request.url)
        route.fulfill(body="the pool's page")

    context.route("https://acme.auth.example.com/**", elsewhere)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with your organisation").click()
    expect(page.get_by_text("the pool's page")).to_be_visible()
    query = parse_qs(urlsplit(gone[0]).query)
    assert query["response_type"] == ["code"]
    assert query["redirect_uri"] == [console.url]
    assert query["code_challenge_method"] == ["S256"]
    # What comes back and was not asked for signs nobody in.
    page.goto(f"{console.url}?code=stolen&state=made-up")
    expect(page.get_by_role("alert")).to_contain_text("not the one that was begun here")
    assert page.url == console.url
    console.close()


ABOUT: dict[str, Any] = {"project": "acme", "environment": "prd", "retention_days": 30}
FAILED: dict[str, Any] = {
    "state": "failed",
    "error": {"code": "dump-failed", "message": "the disk is full"},
}
A_DAY_BEHIND = """
const Real = Date;
const off = -86_400_000;
Date = class extends Real {
  constructor(...given) { given.length ? super(...given) : super(Real.now() + off); }
  static now() { return Real.now() + off; }
};
"""


def says(page: Page, verdict: str, *sentences: str) -> None:
    expect(page.locator(".verdict h2")).to_have_text(verdict)
    for sentence in sentences:
        expect(page.locator("main")).to_contain_text(sentence)


def tells_of_none(page: Page, overview: Callable[..., None], backup: Any, good: Any) -> None:
    """One that cannot be read is neither passed over nor taken for the last one."""
    unreadable = {**dict.fromkeys(backup), "status": "unreadable", "error": "it is damaged"}
    unreadable["backupId"] = "acme-prd-202611240015"
    overview([unreadable, good], [])
    says(page, "This site is not safe", "acme-prd-202611240015 cannot be read: it is damaged")
    expect(page.locator("main")).not_to_contain_text("There is no backup of this site")
    overview([unreadable], [])
    said = ("cannot be read: it is damaged", "There is no backup of this site")
    says(page, "This site is not safe", *said)
    overview([], [])
    says(page, "This site is not safe", "There is no backup of this site", "Make one now")


def test_the_overview_says_what_is_wrong_and_what_to_do(
    deployed: Deployed, chromium: Browser
) -> None:
    console = Console.open(chromium, deployed.described["api_url"])
    console.sign_in(deployed.stack.users["admin"])
    page, context = console.page, console.context
    now = datetime.now(UTC)

    def at(hours: float) -> str:
        return (now + timedelta(hours=hours)).isoformat()

    daily: dict[str, Any] = {
        "cron": "0 1 * * *",
        "eventbridge": [],
        "rules": [],
        "words": "At 01:00",
        "next": [at(24 * day + 1) for day in range(10)],
    }
    backup = {
        "backupId": "acme-prd-202611230015",
        "runId": "20261123T001500-create-0a1b2c3d",
        "type": "Auto",
        "startedAt": at(-30),
        "createdAt": at(-30),
        "size": 1,
        "warnings": 0,
        "verification": None,
        "pinned": None,
    }
    proof: dict[str, Any] = {"verifiedAt": at(-1), "seconds": 1, "tables": 1, "rows": 1, "files": 1}
    run: dict[str, Any] = {
        "id": "20261123T001500-create-0a1b2c3d",
        "progress": {},
        "step": "",
        "result": {},
        "started_at": at(-2),
        "finished_at": at(-2),
        "backup_id": None,
        "warnings": [],
    }
    told: dict[str, Any] = {}

    def answering(name: str) -> Callable[[Route], None]:
        date = format_datetime(now, usegmt=True)
        return lambda route: route.fulfill(json=told[name], headers={"Date": date})

    for path in ("list?*", "runs?*", "schedules", "environment"):
        context.route(
            f"**/backup/{path}",
            answering(path.removesuffix("?*")),
        )

    def overview(
        backups: list[Any], runs: list[Any], *, paused: Any = None, source: str | None = None
    ) -> None:
        create, restore = (daily, None) if source is None else (None, daily)
        schedules = {"create": create, "restore": restore, "cleanup": daily, "verify": None}
        told.update(
            list={"backups": backups, "next": None},
            runs={"runs": runs, "next": None},
            schedules={**schedules, "restores_paused": paused},
            environment={**ABOUT, "time_limit_seconds": 900, "restores_from": source},
        )
        page.reload()

    good = {**proof, "verdict": "verified", "error": None}
    overview([{**backup, "createdAt": at(-3), "verification": good}], [])
    says(page, "This site is safe")
    overview([{**backup, "verification": good}], [{**run, "kind": "create", **FAILED}])
    says(page, "This site is not safe", "A backup is overdue", "the disk is full")
    console.looked_at("overview-bad")
    # What somebody uploaded since is no backup of this site.
    uploaded = {**backup, "type": "Uploaded", "createdAt": at(-1)}
    overview([uploaded, {**backup, "verification": good}], [])
    says(page, "This site is not safe", "A backup is overdue")
    bad = {**proof, "verdict": "bad", "error": "segment 3 is damaged"}
    overview([{**backup, "createdAt": at(-3), "verification": bad}], [])
    says(page, "This site is not safe", "segment 3 is damaged", "Make a new backup")
    tells_of_none(page, overview, backup, {**backup, "createdAt": at(-3), "verification": good})
    restored = {**run, "kind": "restore", "state": "succeeded", "error": None}
    restored |= {"backup_id": now.strftime("acme-prd-%Y%m%d0000")}
    pause = {"by": "ann", "reason": "the source is down", "since": at(-1)}
    overview([], [restored], paused=pause, source="acme/prd")
    says(page, "The replica needs a look", "the source is down", "Behind its source by")
    expect(page.get_by_role("button", name="Let scheduled restores start again")).to_be_visible()
    console.looked_at("overview-recovery")

    # A reason that is being typed outlasts what the page learns meanwhile, and so does its focus.
    overview([], [restored], source="acme/prd")
    page.get_by_label("Reason").fill("the source")
    told["runs"]["runs"] = [{**restored, "backup_id": "acme-prd-202001010000"}]
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    says(page, "The replica is ready", "acme-prd-202001010000")
    page.keyboard.type(" is gone")
    assert page.get_by_label("Reason").input_value() == "the source is gone"

    # A clock that is a day behind makes no overdue backup a fresh one.
    page.add_init_script(A_DAY_BEHIND)
    overview([{**backup, "verification": good}], [])
    says(page, "This site is not safe", "A backup is overdue", "was made 1 d")
    console.close()


def test_a_browser_that_keeps_nothing_is_told_why_it_cannot_go_to_the_pools_page(
    deployed: Deployed, chromium: Browser
) -> None:
    console = Console.open(chromium, deployed.described["api_url"])
    page = console.page
    page.add_init_script(
        """Object.defineProperty(window, "sessionStorage", {
          get() { throw new DOMException("denied", "SecurityError"); },
        });"""
    )
    sso = {"sso": {"domain": "acme.auth.example.com", "client_id": "abc"}}
    page.route("**/backup/login", lambda route: route.fulfill(json=sso))
    page.reload()
    page.get_by_role("button", name="Sign in with your organisation").click()
    expect(page.get_by_role("alert")).to_contain_text("This browser keeps nothing")
    console.close()
