"""A path means one place in a volume, however it is spelled and whatever bytes its name has."""

import pytest

from lcp_backup.errors import InvalidRequest
from lcp_backup.volume.paths import checked_paths, path_text

NO_TEXT = "r\udce9sum\udce9"


@pytest.mark.parametrize(
    "path",
    ["", "/etc", "..", "a/../../b", ".", ".lcp-restore/x", "a\0", "base64:", "base64:a", "base64:_",
     "base64:Lg", "base64:Li4vZXRj", "base64:L2V0Yw", "base64:YQBi", "base64:\udce9"],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidRequest):
        checked_paths([path])


def test_paths_are_taken_as_people_write_them() -> None:
    assert checked_paths(["./b/", "a//c", "b"]) == ("a/c", "b")


def test_a_path_that_lies_in_another_selects_nothing_more() -> None:
    assert checked_paths(["a/b/c", "ab", "a/b", "a-b/c"]) == ("a-b/c", "a/b", "ab")


@pytest.mark.parametrize(
    "name", ["a/b", "é/ü", f"a/{NO_TEXT}", "base64:YQ/b", "a/base64:YQ", "\udcff"]
)
def test_every_name_has_a_text_that_means_it(name: str) -> None:
    text = path_text(name)
    text.encode()
    assert checked_paths([text]) == (name,)


def test_both_alphabets_of_base64_are_taken() -> None:
    assert checked_paths(["base64:__8_Pz8"]) == checked_paths(["base64://8/Pz8="])
    assert checked_paths(["base64:YQ"]) == ("a",)
