"""With no parser of ours before it, the server itself refuses what reaches out of the site."""

import time
from itertools import groupby

import pytest

from tests.integration.attacks.corpus.all import ATTACKS
from tests.integration.attacks.corpus.attack import Attack
from tests.integration.attacks.direct import HONEST, Login, execute, when_sent
from tests.support.fingerprint import differences
from tests.support.rds_like import MASTER
from tests.support.road import Road
from tests.support.world import World

_BY_KIND = {
    kind: list(them)
    for kind, them in groupby(sorted(ATTACKS, key=lambda it: it.kind), lambda it: it.kind)
}
_ONLY_THE_POLICY = ("DATA DIRECTORY", "DISCARD TABLESPACE", "XA", "a compressed schema option")
"""What the rights on a schema include: where its tables' files lie (in any folder that the server
may write to, unless it is told otherwise, as RDS is), to break its own tables, to hold them by a
prepared transaction, which a restore waits for and then works around, and the schema's own default
for encryption. No right takes that away; `test_dumps` holds what the policy makes of it."""
_LATER = {"event", "event without a block"}
_IN_THE_WAY = _BY_KIND.pop("in the way")


@pytest.fixture
def honest_upload(road: Road) -> str:
    road.begin()
    return road.take_in(HONEST)


def test_statements_of_a_dump_never_travel_over_the_masters_connection(
    road: Road, honest_upload: str
) -> None:
    with when_sent(lambda _: None) as sent:
        road.restore(honest_upload)
    assert sent
    # (What the service keeps for later it may write down itself, as a value.)
    spoken = [(user, sql[:80]) for user, sql in sent if not sql.startswith(b"INSERT INTO")]
    assert [it for it in spoken if it[0] in {MASTER, "root"}] == []


@pytest.mark.parametrize("kind", _BY_KIND)
def test_the_server_contains(road: Road, honest_upload: str, kind: str) -> None:
    """Nothing outside of the site's schemas changes, whoever sends the statements."""
    found: list[str] = []

    def act(login: Login) -> None:
        for attack in _BY_KIND[kind]:
            if attack.name.startswith(_ONLY_THE_POLICY):
                continue
            if attack.only in {None, road.world.server.flavour}:
                execute(login, road.at_hand(attack.dump if attack.bare else attack.sql), road.world)
                found.extend(_changed(road.world, attack, login))

    with road.watched() as outcome, when_sent(act):
        outcome.reached = "live"
        road.restore(honest_upload)
    assert not found, f"{len(found)} got through:\n" + "\n".join(found)
    # (That the load itself fails is no wonder: its schema was played with.)
    assert not [it for it in outcome.problems if "no kind of ours" not in it]


def _changed(world: World, attack: Attack, login: Login) -> list[str]:
    if attack.kind in _LATER:
        time.sleep(0.01)
    changed = differences(world.clean, world.read.fingerprint())
    if changed:
        world.rebuild_foreign()
    return [f"{attack.id} (as {login.user} in {login.schema}): {it[:200]}" for it in changed]


@pytest.mark.parametrize("dies", [False, True], ids=["ends", "dies"])
@pytest.mark.parametrize("attack", _IN_THE_WAY, ids=lambda it: it.name)
def test_nothing_in_the_loaders_reach_is_in_the_way_of_the_next_restore(
    road: Road, honest_upload: str, attack: Attack, *, dies: bool
) -> None:
    done: list[str] = []

    def act(login: Login) -> None:
        done.extend(execute(login, attack.sql, road.world))

    with road.watched() as outcome, when_sent(act, dies=dies):
        outcome.reached = "live"
        road.restore(honest_upload)
    problems = [it for it in outcome.problems if "no kind of ours" not in it]
    problems += road.honest_restore()
    assert not problems, f"{done} {outcome}\n" + "\n".join(problems)
