"""Hostile dumps on the whole road: refused or contained, and in nobody's way."""

import pytest

from tests.integration.attacks.corpus.all import ATTACKS
from tests.integration.attacks.corpus.attack import Attack
from tests.integration.attacks.road import Road


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda it: it.id)
def test_a_hostile_dump_is_refused_or_contained(road: Road, attack: Attack) -> None:
    if attack.only not in {None, road.world.server.flavour}:
        pytest.skip(f"{attack.only} only")
    outcome = road.attack(road.at_hand(attack.dump))
    assert not outcome.problems, f"{outcome}\n" + "\n".join(outcome.problems)
