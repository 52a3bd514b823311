"""The console's first view, on the embedded stack: what the page itself takes until it stands."""

from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect, sync_playwright

from bench.embedded import deployed
from bench.lines import Line, Measured
from bench.rounds import need
from local.stack import User

OWN: Final = Line("console, seconds of its own until the first view stands", at_most=1)
LINES: Final = (OWN,)

_CHROMIUM: Final = "chromium"
_PATIENCE: Final = 60_000
"""Milliseconds: on a busy machine the emulator takes its time to answer."""
_TIMED: Final = """() => {
  const whole = performance.now();
  const spans = performance
    .getEntries()
    .filter((it) => it.entryType === "resource" || it.entryType === "navigation")
    .map((it) => [it.fetchStart, it.responseEnd])
    .sort((one, other) => one[0] - other[0]);
  let waited = 0;
  let end = 0;
  for (const [from, to] of spans) {
    waited += Math.max(0, to - Math.max(from, end));
    end = Math.max(end, to);
  }
  return [whole / 1000, waited / 1000];
}"""
"""Seconds from the start of the navigation until now, and how many of them some answer was awaited
(the emulator's, here)."""


def first_view(work: Path, rounds: int) -> list[Measured]:
    """Seconds from opening the page, signed in, to the whole overview, without waiting for answers.

    Raises ProgramMissing without Chromium.
    """
    need(_CHROMIUM)
    with deployed(work / "state") as stack:
        stack.invoke("create", {"time": "2026-11-20T00:00:00Z"})
        taken = _looked_at(stack.describe()["api_url"], stack.users["admin"], rounds)
    wholes = sorted(whole for whole, _ in taken)
    detail = f"with the emulator's answers: {wholes[len(wholes) // 2]:.2f} s"
    return [Measured(OWN, tuple(whole - waited for whole, waited in taken), detail)]


def _looked_at(url: str, user: User, rounds: int) -> list[tuple[float, float]]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            channel=_CHROMIUM, executable_path=f"/usr/bin/{_CHROMIUM}", args=["--no-sandbox"]
        ) as browser,
    ):
        page = browser.new_page()
        # Each time as for somebody who comes for the first time.
        page.context.route("**/console", lambda route: route.continue_())
        page.goto(f"{url}/console")
        page.get_by_label("User").fill(user.name)
        page.get_by_label("Password").fill(user.password)
        page.get_by_role("button", name="Sign in", exact=True).click()
        _stands(page)
        taken = []
        for _ in range(rounds):
            page.reload()
            _stands(page)
            whole, waited = page.evaluate(_TIMED)
            taken.append((float(whole), float(waited)))
        return taken


def _stands(page: Page) -> None:
    page.get_by_role("heading", name="Overview").wait_for()
    expect(page.locator("main .loading")).to_have_count(0, timeout=_PATIENCE)
