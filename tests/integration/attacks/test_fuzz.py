"""Whatever is sent, nothing but the site changes: a few thousand statements out of a grammar.

Hypothesis draws the dumps, the same ones every time. A finding does not end a test: all are
collected, and told with the seed of their dump. (`grammar.dump(seed)` makes it again.)
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import batched
from typing import Any, Final

import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from pymysql.connections import Connection

from tests.integration.attacks import grammar
from tests.integration.attacks.corpus.attack import HEAD
from tests.integration.attacks.direct import HONEST, Login, execute, when_sent
from tests.integration.attacks.fingerprint import differences
from tests.integration.attacks.grammar import DUMPS, Hostile
from tests.integration.attacks.road import Road, refused_at_intake
from tests.integration.attacks.servers import MASTER

_DUMPS: Final = 150
"""Of 20 statements each."""
_ENOUGH: Final = 25
"""Findings after which a test need not look for more."""
_TABLES: Final = HEAD[HEAD.index(b"DROP TABLE") :]
_AT_ONCE: Final = 10

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


@pytest.mark.timeout(1800)
def test_what_the_intake_lets_through_is_contained(road: Road) -> None:
    """On the whole road: the intake judges each statement; a real restore loads what is left."""
    allowed: list[tuple[int, Hostile]] = []
    findings: list[Finding] = []

    def judge(seed: int) -> bool:
        for it in grammar.dump(seed):
            refusal = refused_at_intake(HEAD + road.at_hand(it.sql) + b";\n")
            if refusal is None:
                allowed.append((seed, it))
        return False

    drawn(judge)
    print(f"{len(allowed)} statements of {_DUMPS * 20} were taken in")
    for batch in batched(_different(allowed), _AT_ONCE, strict=False):
        statements = [road.at_hand(it.sql) for _, it in batch]
        with _errors_ignored(statements):
            outcome = road.attack(HEAD + b";\n".join([*statements, b""]))
        if _serious(outcome.problems):
            for seed, it in batch:
                alone = road.attack(HEAD + road.at_hand(it.sql) + b";\n")
                findings += [Finding(seed, it, what) for what in _serious(alone.problems)[:1]]
            if not findings or findings[-1].seed not in {seed for seed, _ in batch}:
                together = Hostile("together", b";\n".join(statements))
                findings.append(Finding(batch[0][0], together, str(outcome.problems)))
        if len(findings) >= _ENOUGH:
            break
    assert not findings, told(findings)


def _serious(problems: list[str]) -> list[str]:
    # Errors that were ignored for the others' sake make the load fail in ways that mean nothing.
    return [it for it in problems if "no kind of ours" not in it]


def _different(allowed: list[tuple[int, Hostile]]) -> list[tuple[int, Hostile]]:
    """Each statement once, by its kind: so that a batch holds what goes together."""
    once = {it.sql: (seed, it) for seed, it in allowed}
    return sorted(once.values(), key=lambda pair: pair[1].kind)


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


@contextmanager
def _errors_ignored(statements: list[bytes]) -> Iterator[None]:
    """The server's refusals of a dump's own statements do not keep the next from being sent."""
    real = Connection.query
    verbs = (b"CREATE", b"ALTER", b"INSERT", b"REPLACE", b"SET", b"DROP", b"/*", b"LOAD")
    own = set(statements)

    def query(self: Any, sql: Any, unbuffered: bool = False) -> Any:
        try:
            return real(self, sql, unbuffered)
        except (pymysql.ProgrammingError, pymysql.OperationalError, pymysql.DataError) as error:
            raw = sql.encode("utf-8", "surrogateescape") if isinstance(sql, str) else bytes(sql)
            user = self.user.decode() if isinstance(self.user, bytes) else self.user
            ours = user in {MASTER, "root"} and raw not in own
            lost = error.args and isinstance(error.args[0], int) and error.args[0] // 1000 == 2
            if ours or lost or not raw.lstrip().upper().startswith(verbs):
                raise
            return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "query", query)
        yield
