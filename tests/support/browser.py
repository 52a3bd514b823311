"""A real browser at the console, which notes whatever a careful reader of its log would find."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped] # no types
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Response,
    expect,
    sync_playwright,
)

from local.stack import PROJECT, User

SCREENS = PROJECT / ".local" / "screens"
CHROMIUM = "/usr/bin/chromium"
PATIENCE = 60_000
"""Milliseconds after which something that should appear is given up."""
_SERIOUS = {"serious", "critical"}


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium; Playwright's own download is not used."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # Tests run as root, for whom Chromium has no sandbox; and where no graphics card is.
        arguments = ["--no-sandbox", "--disable-gpu"]
        with playwright.chromium.launch(executable_path=CHROMIUM, args=arguments) as found:
            yield found


@dataclass
class Console:
    """The console in one window: signed in or not, and what went wrong in it."""

    context: BrowserContext
    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    transferred: int = 0

    @classmethod
    def open(cls, browser: Browser, url: str, **settings: Any) -> "Console":
        """A window of its own, with the console in it."""
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(PATIENCE)
        # Where there is a route, Chromium keeps no cache: a reload that the emulator answers with
        # 304 does not end. What the function answers then, tests/unit/api/test_console.py knows.
        context.route("**/console", lambda route: route.continue_())
        found = cls(context, context.new_page(), f"{url}/console")
        found.watch(found.page)
        found.page.goto(found.url)
        return found

    def watch(self, page: Page) -> None:
        """Notes errors of scripts, violations of the policy, and how large its own files travel.

        That a call was refused is no fault: the page tells it, and tests look at that.
        """
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda it: self._heard(it.type, it.text))
        page.on("response", self._received)

    def _heard(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not text.startswith("Failed to load resource"):
            self.faults.append(text)

    def _received(self, response: Response) -> None:
        if "/console" in response.url:
            self.transferred += int(response.headers.get("content-length", 0))

    def sign_in(self, user: User, *, to: str = "Overview") -> None:
        """By name and password, up to the view with this heading."""
        self.page.get_by_label("User").fill(user.name)
        self.page.get_by_label("Password").fill(user.password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.page.get_by_role("heading", name=to).wait_for()

    def go(self, view: str) -> None:
        """Follows a link of the navigation, and waits until its view has loaded."""
        self.page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
        self.page.get_by_role("heading", name=view, level=1).wait_for()
        self.settled()

    def settled(self) -> None:
        """Waits until nothing on the page loads any more."""
        expect(self.page.locator("main .loading")).to_have_count(0)

    def looked_at(self, name: str) -> None:
        """A picture of the view, and what axe-core finds in it in light and in dark."""
        SCREENS.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            self.page.screenshot(path=SCREENS / f"{name}-{scheme}.png", full_page=True)
            found = Axe().run(self.page).response["violations"]
            serious = [
                (it["id"], it["nodes"][0]["html"][:200]) for it in found if it["impact"] in _SERIOUS
            ]
            assert not serious, (name, scheme, serious)
        self.page.emulate_media(color_scheme="light")

    def downloaded(self, button: str, into: Path) -> Path:
        """What a button of this name downloads."""
        with self.page.expect_download() as begun:
            self.page.get_by_role("button", name=button, exact=True).click()
        into.mkdir(exist_ok=True)
        file = into / begun.value.suggested_filename
        begun.value.save_as(file)
        return file

    def close(self) -> None:
        """Closes the window; everything that went wrong in it fails the test."""
        self.context.close()
        assert not self.faults
