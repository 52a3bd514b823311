"""What is left out: patterns mean what they mean in a .gitignore."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from lcp_backup.errors import InvalidRequest
from lcp_backup.exclusion import GENERATED, LeftOut, PathPatterns, matches_table

COMPONENT = st.text("ab.", min_size=1, max_size=5).filter(lambda it: it.strip("."))
PATTERN_COMPONENT = st.one_of(
    st.text("ab.*?", min_size=1, max_size=6),
    st.sampled_from(["**", "*", "[ab]", "[!a]b", "a[a-b]", "[!-a]", "[!]a]"]),
)
PATTERNS = st.lists(
    st.tuples(
        st.sampled_from(["", "", "", "!"]),
        st.sampled_from(["", "/"]),
        st.lists(PATTERN_COMPONENT, min_size=1, max_size=5).map("/".join),
        st.sampled_from(["", "/"]),
    )
    .map("".join)
    # (Of `a/**/`, which is of folders only in git, pathspec makes `a/**`.)
    .filter(lambda it: not it.endswith("/**/")),
    min_size=1,
    max_size=3,
)


@given(PATTERNS, st.lists(COMPONENT, min_size=1, max_size=5).map("/".join))
@example(["a/**"], "a/b")
@example(["**/a"], "b/a")
@example(["a/**/b"], "a/b")
@example(["!a", "a"], "a")
@example(["[!-a]"], "b")
@example(["[!]a]"], "b")
@example(["*a*b*a"], "abba")
@example(["a*ab"], "aab")
@example(["**/a/**/a/b"], "a/a/a/b")
@example(["**/a/*b/**/a"], "a/a/ab/b/a")
@example(["a/**/**/b"], "a/b")
def test_a_files_patterns_mean_what_they_mean_in_a_gitignore(
    patterns: list[str], name: str
) -> None:
    # (Not whether a folder above is left out: for a walk that does not enter it, that is no
    # question, and the two differ in what a later pattern can take back.)
    takes_back = [pattern.startswith("!") for pattern in patterns]
    if any(takes_back[1:]) or (takes_back[0] and "/" in name):
        patterns = patterns[:1]
    expected = GitIgnoreSpec.from_lines(patterns).match_file(name)
    assert PathPatterns(patterns).cover(name, folder=False) == expected


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*a" * 60 + "b", "a" * 4000),
        ("*[ab]?" * 60 + "x", "ab" * 2000),
        ("**/a/" * 60 + "b", "a/" * 2000 + "a"),
        ("**/*a*a*/" * 60 + "b", "aaa/" * 1000 + "a"),
        ("*a*a*a*/" * 60 + "**", "aaaa/" * 59 + "b/" + "aaaa/" * 59),
    ],
    ids=["stars", "stars-and-signs", "folders", "folders-of-stars", "many-components"],
)
def test_a_pattern_of_many_stars_is_decided_at_once(pattern: str, name: str) -> None:
    # A power of the name's length for every star: the Earth would not last that long.
    assert not PathPatterns([pattern]).match(name, folder=False)
    with_a_start = f"start-{name}"
    assert not PathPatterns([f"start-{pattern}"]).match(with_a_start, folder=True)


def test_what_lies_in_a_folder_that_is_left_out_cannot_be_taken_back() -> None:
    patterns = PathPatterns(["logs/", "!logs/keep"])
    assert patterns.cover("logs/keep", folder=False)
    assert patterns.match("logs", folder=True)
    assert not patterns.match("logs", folder=False)
    again = PathPatterns(["*.tmp", "!kept.tmp"])
    assert (again.match("a/b.tmp", folder=False), again.match("a/kept.tmp", folder=False)) == (
        True,
        False,
    )


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("document_library/20097/0/adaptive/uuid/1/2/3/4/", True),
        ("document_library/20097/0/document_preview/20123/1/1.1.png", True),
        ("document_library/20097/0/document_thumbnail/20123/1/1.png", True),
        ("document_library/20097/0/1234.jpg/1.0", False),
        ("document_library/20097/20123/adaptive/1.0", False),
        ("adaptive/x", False),
    ],
)
def test_what_liferay_generates_is_told_from_documents(name: str, left_out: bool) -> None:
    assert PathPatterns(GENERATED).cover(name, folder=False) is left_out


def test_tables_match_in_any_case() -> None:
    assert matches_table(["audit_*"], "Audit_AuditEvent")
    assert matches_table(["Audit_AuditEven?"], "audit_auditevent")
    assert not matches_table(["Audit"], "Audit_AuditEvent")
    assert not matches_table([], "User_")


def test_a_table_without_its_rows_cannot_be_asked_for_by_name() -> None:
    left_out = LeftOut(tables=("Audit_AuditEvent",))
    left_out.check_tables(["User_"])
    with pytest.raises(InvalidRequest, match="rows of table Audit_AuditEvent are not in this"):
        left_out.check_tables(["User_", "Audit_AuditEvent"])
