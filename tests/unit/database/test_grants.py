"""What an account sees of a schema, by the words of the server."""

import pytest

from lcp_backup.database import grants
from lcp_backup.database.grants import unseen

ALL = {"tables": "SELECT", "triggers": "TRIGGER", "routines": "EXECUTE"}


def lacking(monkeypatch: pytest.MonkeyPatch, *said: str, schema: str = "a_b") -> set[str]:
    monkeypatch.setattr(grants, "execute", lambda *_: [(f"{it} TO `u`@`%`",) for it in said])
    return set(unseen(None, schema))  # type: ignore[arg-type] # it is not asked


@pytest.mark.parametrize(
    "on", ["*.*", "`a_b`.*", "`a\\_b`.*", "`a%`.*", "`A\\_B`.*", "`___`.*", "`%`.*"]
)
def test_a_right_on_the_schema_or_on_more_counts(monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    assert lacking(monkeypatch, f"GRANT ALL PRIVILEGES ON {on}") == set()
    assert lacking(monkeypatch, f"GRANT SELECT, EXECUTE ON {on}") == {"triggers"}
    assert lacking(monkeypatch, f"GRANT TRIGGER ON {on}", f"GRANT SELECT ON {on}") == (
        set() if on == "*.*" else {"routines"}
    )


@pytest.mark.parametrize(
    "on", ["`a_b`.`t`", "`axb`.*", "`a\\%`.*", "`a_`.*", "`a``b`.*", "PROCEDURE `a_b`.`p`"]
)
def test_a_right_on_something_else_or_on_a_part_does_not(
    monkeypatch: pytest.MonkeyPatch, on: str
) -> None:
    assert lacking(monkeypatch, f"GRANT SELECT, TRIGGER, EXECUTE ON {on}") == set(ALL)
    assert lacking(monkeypatch, "GRANT `seeing`@`%`", "GRANT USAGE ON *.*") == set(ALL)


def test_a_name_is_taken_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(monkeypatch, "GRANT ALL PRIVILEGES ON `a``.b`.*", schema="a`.b") == set()
    assert lacking(monkeypatch, "GRANT ALL PRIVILEGES ON `a.b`.*", schema="axb") == set(ALL)
