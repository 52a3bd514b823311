"""Links between the pages lead to a file, and to a heading that is in it."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")])


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        to = (page.parent / name) if name else page
        assert to.is_file(), target
        assert not anchor or anchor in anchors(to), target


def test_every_page_is_in_the_readmes_table() -> None:
    linked = set(re.findall(r"\]\(([^)\s]+)\)", (PROJECT / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in PROJECT.glob("docs/*.md")} <= linked
