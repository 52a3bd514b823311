"""Which links are safe, and how names are shown."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lcp_backup.volume.names import link_stays_inside, printable


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a", "b"),
        ("a", "./b//c/"),
        ("a", "nowhere/at/all"),
        ("x/a", "../b"),
        ("x/y/a", "../../b"),
        ("x/y/a", "../.."),
        ("a", "..."),
    ],
)
def test_a_link_within_the_folder_is_taken(name: str, target: str) -> None:
    assert link_stays_inside(name, target)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a", "/etc/passwd"),
        ("a", "/"),
        ("a", ""),
        ("a", ".."),
        ("a", "../b"),
        ("x/a", "../../b"),
        ("x/a", "./.././../b"),
        ("x/a", "b/../../.."),
        ("x/y/a", "link/.."),
    ],
)
def test_a_link_that_leads_out_or_might_is_not_taken(name: str, target: str) -> None:
    assert not link_stays_inside(name, target)


components = st.sampled_from(["..", ".", "a", "b", "c"])


@given(
    links=st.dictionaries(
        st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "d/e/b", "d/e/c"]),
        st.lists(components, min_size=1, max_size=4).map("/".join),
        min_size=1,
    )
)
def test_no_chain_of_taken_links_leads_out(
    links: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("links") / "folder"
    (folder / "d" / "e").mkdir(parents=True)
    for name, target in links.items():
        if link_stays_inside(name, target):
            (folder / name).symlink_to(target)

    for name in links:
        landed = Path(os.path.realpath(folder / name))
        assert landed == folder or folder in landed.parents


def test_a_name_that_is_no_text_can_be_shown() -> None:
    assert printable(os.fsdecode(b"caf\xe9 \xc3\xa9")) == "caf\\xe9 é"
