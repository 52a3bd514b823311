"""Hostile dumps on the whole road: refused or contained, and in nobody's way."""

import pytest

from tests.integration.attacks.corpus.all import ATTACKS
from tests.integration.attacks.corpus.attack import HEAD, Attack
from tests.support.road import Road


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda it: it.id)
def test_a_hostile_dump_is_refused_or_contained(road: Road, attack: Attack) -> None:
    outcome = road.attack(road.at_hand(attack.dump))
    assert not outcome.problems, f"{outcome}\n" + "\n".join(outcome.problems)


HONEST = {
    "a view without backquotes": b"CREATE VIEW v AS SELECT id FROM t;\n",
    "a view among rows": b"CREATE VIEW v AS SELECT id FROM t;\nINSERT INTO `t` VALUES (2,'b');\n",
    "a view behind a comment": b"CREATE /* x */ VIEW `v` AS SELECT `id` FROM `t`;\n",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_stored_code_comes_back_however_it_is_written(road: Road, name: str) -> None:
    """What was taken in is not left out in silence."""
    seen: list[object] = []
    road.begin()
    try:
        road.restore(road.take_in(HEAD + HONEST[name]))
        seen += road.world.say("SELECT MIN(id) FROM lportal.v")
    finally:
        assert road.honest_restore() == []
    assert seen == [(1,)]
