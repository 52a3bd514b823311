"""Connections side by side: what they do is done, and no failure is lost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from lcp_backup.database.connection_pool import ConnectionPool
from lcp_backup.errors import DatabaseUnreachable, LoadFailed, OutOfTime


@dataclass
class Hand:
    """A connection as the pool knows it."""

    thread_id: int
    killed: threading.Event = field(default_factory=threading.Event)


class Hands:
    """Opens connections and kills them."""

    def __init__(self) -> None:
        self.opened: list[Hand] = []
        self.closed: list[Hand] = []
        self.stop: Exception | None = None

    @contextmanager
    def connect(self) -> Iterator[Hand]:
        hand = Hand(len(self.opened))
        self.opened.append(hand)
        try:
            yield hand
        finally:
            self.closed.append(hand)

    def kill(self, thread_id: int) -> None:
        next(it for it in self.opened if it.thread_id == thread_id).killed.set()

    def check(self) -> None:
        if self.stop is not None:
            raise self.stop


@pytest.fixture
def hands() -> Hands:
    return Hands()


def pool_of(hands: Hands, size: int) -> ConnectionPool[Hand]:
    return ConnectionPool(size, hands.connect, hands.kill, hands.check)


def test_every_task_is_done_once_the_pool_is_drained(hands: Hands) -> None:
    done: list[int] = []
    with pool_of(hands, 3) as pool:
        for number in range(100):
            pool.put(lambda _, number=number: done.append(number))  # type: ignore[misc]
        pool.drain()
        assert sorted(done) == list(range(100))
    assert len(hands.closed) == 3
    assert not any(hand.killed.is_set() for hand in hands.opened)


def test_tasks_run_at_the_same_time(hands: Hands) -> None:
    together = threading.Barrier(3, timeout=30)

    def meet(_: Hand) -> None:
        together.wait()

    with pool_of(hands, 3) as pool:
        for _ in range(3):
            pool.put(meet)
        pool.drain()


def endless(hand: Hand) -> None:
    """What a server does until the connection is killed."""
    assert hand.killed.wait(30)


def test_no_connection_is_opened_for_nothing(hands: Hands) -> None:
    with pool_of(hands, 3) as pool:
        pool.drain()
    assert hands.opened == []


def test_the_first_failure_reaches_who_waits_and_ends_the_others(hands: Hands) -> None:
    def fail(_: Hand) -> None:
        raise LoadFailed("no")

    with pytest.raises(LoadFailed, match="no"), pool_of(hands, 2) as pool:
        pool.put(endless)
        pool.put(fail)
        pool.drain()
    assert len(hands.closed) == 2


def test_a_failure_is_met_also_by_who_only_hands_out(hands: Hands) -> None:
    def fail(_: Hand) -> None:
        raise LoadFailed("no")

    with pytest.raises(LoadFailed, match="no"), pool_of(hands, 1) as pool:
        while True:
            pool.put(fail)


def test_a_connection_that_cannot_be_had_is_a_failure(hands: Hands) -> None:
    @contextmanager
    def refused() -> Iterator[Hand]:
        raise LoadFailed("too many connections")
        yield Hand(0)

    with (
        pytest.raises(LoadFailed, match="too many"),
        ConnectionPool(2, refused, hands.kill, hands.check) as pool,
    ):
        pool.put(lambda _: None)
        pool.drain()


def test_a_run_whose_time_ends_kills_what_the_server_still_does(hands: Hands) -> None:
    begun = threading.Event()

    def begin(hand: Hand) -> None:
        begun.set()
        endless(hand)

    with pytest.raises(OutOfTime), pool_of(hands, 1) as pool:
        pool.put(begin)
        assert begun.wait(30)
        hands.stop = OutOfTime("over")
        pool.drain()
    assert hands.opened[0].killed.is_set()
    assert len(hands.closed) == 1


class FullServer(Hands):
    """A server that gives so many connections, and no more."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = threading.Semaphore(room)

    @contextmanager
    def connect(self) -> Iterator[Hand]:
        if not self._room.acquire(blocking=False):
            raise DatabaseUnreachable("too many connections")
        with super().connect() as hand:
            yield hand


@pytest.mark.parametrize("room", [1, 2])
def test_a_server_that_has_fewer_connections_left_is_worked_with_over_those(room: int) -> None:
    hands = FullServer(room)
    done: list[int] = []
    with pool_of(hands, 5) as pool:
        for number in range(40):
            pool.put(lambda _, number=number: done.append(number))  # type: ignore[misc]
        pool.drain()
    assert sorted(done) == list(range(40))
    assert len(hands.opened) == room


def test_a_server_that_gives_no_connection_at_all_is_told_of() -> None:
    with pytest.raises(DatabaseUnreachable), pool_of(FullServer(0), 3) as pool:
        pool.put(lambda _: None)
        pool.drain()
