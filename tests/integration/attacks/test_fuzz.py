"""Whatever is sent, nothing but the site changes: a few thousand statements out of a grammar.

Hypothesis draws the dumps, the same ones every time. A finding does not end a test: all are
collected, and told with the seed of their dump. (`grammar.dump(seed)` makes it again.)
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import batched
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings

from tests.integration.attacks import grammar
from tests.integration.attacks.conftest import Worlds
from tests.integration.attacks.corpus.attack import HEAD
from tests.integration.attacks.direct import HONEST, Login, execute, when_sent
from tests.integration.attacks.fingerprint import differences
from tests.integration.attacks.grammar import DUMPS, Hostile
from tests.integration.attacks.road import Road, refused_at_intake

_DUMPS: Final = 150
"""Of 20 statements each."""
_ENOUGH: Final = 25
"""Findings after which a test need not look for more."""
_TABLES: Final = HEAD[HEAD.index(b"DROP TABLE") :]
_AT_ONCE: Final = 10
_MOST_RESTORED: Final = 100

reproducible = settings(
    max_examples=_DUMPS,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Finding:
    """A statement that reached out of the site."""

    seed: int
    statement: Hostile
    what: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.statement}\n    {self.what[:200]}"


def told(findings: list[Finding]) -> str:
    """All findings, counted by their kinds."""
    kinds = Counter(it.statement.kind for it in findings)
    return f"{len(findings)} got through, {dict(kinds)}:\n" + "\n".join(map(str, findings))


def drawn(act: Callable[[int], bool]) -> None:
    """Hands seeds to `act` until it has had enough."""
    done = False

    @reproducible
    @given(DUMPS)
    def each(seed: int) -> None:
        nonlocal done
        done = done or act(seed)

    each()


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
            return len(findings) >= _ENOUGH

        drawn(send)

    with road.watched() as outcome, when_sent(act):
        outcome.reached = "live"
        road.restore(backup_id)
    print(f"{said[True]} statements were executed, {said[False]} refused")
    assert not findings, told(findings)
    assert not [it for it in outcome.problems if "no kind of ours" not in it]


def test_what_the_intake_lets_through_is_contained(road: Road) -> None:
    """On the whole road: the intake judges each statement; a real restore loads what is left."""
    allowed: dict[bytes, tuple[int, Hostile]] = {}

    def judge(seed: int) -> bool:
        for it in grammar.dump(seed):
            if refused_at_intake(_a_dump(road, [it])) is None:
                allowed.setdefault(it.sql, (seed, it))
        return False

    drawn(judge)
    chosen = _of_every_kind(allowed.values(), _MOST_RESTORED)
    print(f"{len(allowed)} of {_DUMPS * 20} statements were taken in, {len(chosen)} restored")
    assert chosen
    findings: list[Finding] = []
    for batch in batched(chosen, _AT_ONCE, strict=False):
        outcome = road.attack(_a_dump(road, [it for _, it in batch]))
        if outcome.reached == "live" and not outcome.problems:
            continue
        # One that the server refuses keeps the others from being tried: each by itself, then.
        for seed, it in batch:
            alone = road.attack(_a_dump(road, [it]))
            findings += [Finding(seed, it, what) for what in alone.problems[:1]]
        if outcome.problems and not findings:
            together = Hostile("together", b";\n".join(it.sql for _, it in batch))
            findings.append(Finding(batch[0][0], together, str(outcome.problems)))
        if len(findings) >= _ENOUGH:
            break
    assert not findings, told(findings)


def _a_dump(road: Road, statements: Iterable[Hostile]) -> bytes:
    return HEAD + b";\n".join([*(road.at_hand(it.sql) for it in statements), b""])


def _of_every_kind(found: Iterable[tuple[int, Hostile]], most: int) -> list[tuple[int, Hostile]]:
    """So many at most, of each kind about as many, those of a kind side by side."""
    by_kind: dict[str, list[tuple[int, Hostile]]] = {}
    for seed, it in found:
        by_kind.setdefault(it.kind, []).append((seed, it))
    share = max(1, most // max(1, len(by_kind)))
    return [pair for kind in sorted(by_kind) for pair in by_kind[kind][:share]]


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
