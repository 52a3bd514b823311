"""Whatever is sent, nothing but the site changes: a few thousand statements out of a grammar."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from tests.integration.attacks import grammar
from tests.integration.attacks.corpus.attack import HEAD
from tests.integration.attacks.direct import HONEST, Login, execute, when_sent
from tests.integration.attacks.fuzzing import ENOUGH, Finding, drawn, told
from tests.integration.attacks.grammar import Hostile
from tests.support.fingerprint import differences
from tests.support.road import Road
from tests.support.world import Worlds

_TABLES: Final = HEAD[HEAD.index(b"DROP TABLE") :]


def test_the_server_contains_whatever_is_sent(road: Road) -> None:
    """Sent by the service's own login, with no policy before it."""
    findings: list[Finding] = []
    world = road.world
    road.begin()
    backup_id = road.take_in(HONEST)
    said: Counter[bool] = Counter()

    def act(login: Login) -> None:
        def send(seed: int) -> bool:
            hostile = grammar.dump(seed)
            text = b";\n".join([_TABLES, *(road.at_hand(it.sql) for it in hostile), b""])
            said.update(it.startswith("done") for it in execute(login, text, world))
            if differences(world.clean, world.read.fingerprint()):
                world.rebuild_foreign()
                findings.extend(_apart(road, login, seed, hostile))
            return len(findings) >= ENOUGH

        drawn(send)

    with road.watched() as outcome, when_sent(act):
        outcome.reached = "live"
        road.restore(backup_id)
    print(f"{said[True]} statements were executed, {said[False]} refused")
    assert not findings, told(findings)
    assert not [it for it in outcome.problems if "no kind of ours" not in it]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """Servers of this module's own: what is tried here may leave files in a schema's folder."""
    made = Worlds(tmp_path_factory)
    yield made
    made.close()


def _apart(road: Road, login: Login, seed: int, hostile: list[Hostile]) -> Iterator[Finding]:
    """Which of a dump's statements it was."""
    world = road.world
    before: list[bytes] = []
    for it in hostile:
        if it.kind == "session":
            before.append(it.sql)
            continue
        execute(login, b";\n".join([_TABLES, *before, road.at_hand(it.sql), b""]), world)
        if changed := differences(world.clean, world.read.fingerprint()):
            world.rebuild_foreign()
            yield Finding(seed, it, "; ".join(changed))
