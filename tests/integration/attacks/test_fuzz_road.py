"""What the intake lets through of a few thousand statements out of a grammar is contained."""

from collections.abc import Iterable
from itertools import batched
from typing import Final

from tests.integration.attacks import grammar
from tests.integration.attacks.corpus.attack import HEAD
from tests.integration.attacks.fuzzing import ENOUGH, MOST_DUMPS, Finding, drawn, told
from tests.integration.attacks.grammar import Hostile
from tests.support.road import Road, refused_at_intake

_AT_ONCE: Final = 10
_MOST_RESTORED: Final = 100


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
    print(f"{len(allowed)} of {MOST_DUMPS * 20} statements were taken in, {len(chosen)} restored")
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
        if len(findings) >= ENOUGH:
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
