"""Broadcasts: heard in all trees that share an engine, a moment later, at most once."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from gevent import GreenletExit, sleep
from gevent.event import Event

from sprag import Service, Supervisor
from sprag.cluster import mail, member
from sprag.cluster.exceptions import EngineAway
from sprag.exceptions import BadValue, NotRunning
from sprag.testing import as_workers
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


class Ears(Service):
    """Keeps what it hears."""

    def __init__(self, event: str = "news", seconds: float = 0.0) -> None:
        self.event = event
        self.seconds = seconds
        self.heard: list[Any] = []

    def on_start(self) -> None:
        self.listen(self.event, self.hear)

    def hear(self, data: Any) -> None:
        if self.seconds:
            sleep(self.seconds)
        self.heard.append(data)


def test_all_hear_it_who_says_it_too_and_not_before_the_next_turn(clock: VirtualClock) -> None:
    first, second = Ears(), Ears()
    tops = Supervisor([first], name="first"), Supervisor([second], name="second")
    with as_workers(*tops), tops[0], tops[1]:
        for number in range(300):
            assert first.broadcast("news", number) is None  # type: ignore[func-returns-value]
        assert first.heard == []
        clock.settle()
        assert first.heard == second.heard == list(range(300))
        second.broadcast("news", {"a": [1, 2.5, None, True, "ä"], "b": (1,)})
        clock.settle()
        assert first.heard[-1] == {"a": [1, 2.5, None, True, "ä"], "b": [1]}


def test_what_somebody_else_has_published_keeps_nobody_from_hearing_the_rest(
    clock: VirtualClock,
) -> None:
    ears = Ears()
    with Supervisor([ears], name="shop") as top:
        ears.broadcast("news", 1)
        clock.settle()
        mine = member.member_of(tree_of(top))
        deep = b"[" * 60_000
        for wrong in (deep, b"[]", b'"news"', b"{}", b'{"event": []}', b'{"event": "news"}'):
            mine.engine.publish("sprag/shop/topics/broadcast", wrong)
        ears.broadcast("news", 2)
        clock.settle()
        assert ears.heard == [1, 2]
        assert mine.missed == 6


class Noting:
    """An engine that notes what is published, and can be asked only so often."""

    def __init__(self, engine: Any, answers: float = math.inf) -> None:
        self._engine = engine
        self.published: list[bytes] = []
        self.answers = answers

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._engine, verb)

    def publish(self, topic: str, data: bytes) -> Any:
        if len(self.published) >= self.answers:
            raise EngineAway("nowhere", "it is a test")
        self.published.append(data)
        return self._engine.publish(topic, data)


def noting(top: Service, answers: float = math.inf) -> tuple[member.Member, Noting]:
    mine: Any = member.member_of(tree_of(top))
    mine.engine = Noting(mine.engine, answers)
    return mine, mine.engine


def test_what_waits_is_sent_in_one_message_and_heard_one_by_one(clock: VirtualClock) -> None:
    ears = Ears()
    with Supervisor([ears]) as top:
        mine, engine = noting(top)
        said = [*range(300), "two\nlines", "\u2028"]
        for each in said:
            ears.broadcast("news", each)
        clock.settle()
        assert ears.heard == said
        assert len(engine.published) == 1
        assert mine.counts() == {"sent": 302, "dropped": 0, "missed": 0, "waiting": 0}


def test_no_message_is_larger_than_an_engine_takes(clock: VirtualClock) -> None:
    ears = Ears()
    with Supervisor([ears]) as top:
        mine, engine = noting(top)
        said = ["a" * 59_000, *["b" * 20_000] * 4, 1]
        for each in said:
            ears.broadcast("news", each)
        clock.settle()
        assert ears.heard == said
        assert [len(each) // 10_000 for each in engine.published] == [5, 4, 4]
        assert mine._size == 0


def test_each_broadcast_of_a_message_that_cannot_be_sent_counts(clock: VirtualClock) -> None:
    ears = Ears()
    with Supervisor([ears]) as top:
        mine, _ = noting(top, answers=1)
        for each in ("a" * 59_000, *range(5)):
            ears.broadcast("news", each)
        clock.settle()
        assert mine.counts() == {"sent": 6, "dropped": 0, "missed": 0, "waiting": 0}
        for each in range(7):
            ears.broadcast("news", each)
        clock.settle()
        assert mine.counts() == {"sent": 6, "dropped": 7, "missed": 0, "waiting": 0}


def test_alone_it_works_as_well(clock: VirtualClock) -> None:
    ears = Ears()
    with Supervisor([ears]):
        ears.broadcast("news")
        ears.broadcast("other", 1)
        assert ears.heard == []
        clock.settle()
        assert ears.heard == [None]


def test_each_has_a_copy_of_its_own(clock: VirtualClock) -> None:
    first, second = Ears(), Ears()
    with Supervisor([first, second]):
        given = [1]
        first.broadcast("news", given)
        given.append(2)
        clock.settle()
        first.heard[0].append(3)
        assert second.heard == [[1]]


def test_one_that_blocks_holds_up_itself_alone_and_its_end_ends_that(clock: VirtualClock) -> None:
    slow, quick = Ears(seconds=10), Ears()
    with Supervisor([slow, quick]) as top:
        for number in range(3):
            quick.broadcast("news", number)
        clock.settle()
        assert (slow.heard, quick.heard) == ([], [0, 1, 2])
        clock.advance(15)
        assert slow.heard == [0]
        report = top.terminate_child(slow.snapshot().name)
        assert report.clean
        quick.broadcast("news", 3)
        clock.settle()
        assert quick.heard == [0, 1, 2, 3]


def test_what_a_listener_raises_is_its_own_crash(clock: VirtualClock) -> None:
    class Bad(Ears):
        def hear(self, data: Any) -> None:
            super().hear(data)
            raise ValueError(data)

    bad, good = Bad(), Ears()
    with Supervisor([bad, good]):
        good.broadcast("news", 1)
        clock.settle()
        assert (bad._incarnation_, bad.heard) == (2, [])
        assert good.heard == [1]
        good.broadcast("news", 2)
        clock.settle()
        assert bad._incarnation_ == 3


def test_what_a_listener_has_left_behind_holds_up_no_later_life(clock: VirtualClock) -> None:
    over = Event()

    class Stubborn(Ears):
        def hear(self, data: Any) -> None:
            while data == "stay" and not over.is_set():
                with suppress(GreenletExit):
                    over.wait()
            self.heard.append(data)

    ears = Stubborn()
    with Supervisor([ears]) as top:
        ears.broadcast("news", "stay")
        clock.settle()
        assert not top.terminate_child("Stubborn").is_clean
        top.restart_child("Stubborn")
        ears.broadcast("news", 1)
        clock.settle()
        assert ears.heard == [1]
        over.set()
        clock.settle()
        ears.broadcast("news", 2)
        clock.settle()
        assert [each for each in ears.heard if each != "stay"] == [1, 2]


def test_who_falls_behind_misses_the_oldest_and_that_is_told(
    clock: VirtualClock, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "MOST", 5)
    slow = Ears(seconds=1)
    with Supervisor([slow]) as top:
        for number in range(20):
            slow.broadcast("news", number)
        clock.advance(30)
        assert slow.heard == [15, 16, 17, 18, 19]
        found = tree_of(top).cluster
        assert (found.sent, found.missed) == (20, 15)
    assert [each.sprag["missed"] for each in log.records if "lost" in each.msg] == [15]


def test_of_too_many_at_once_the_latest_are_dropped(
    clock: VirtualClock, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "MOST", 5)
    ears = Ears()
    with Supervisor([ears]) as top:
        for number in range(20):
            ears.broadcast("news", number)
        clock.settle()
        assert ears.heard == [0, 1, 2, 3, 4]
        assert tree_of(top).cluster.dropped == 15
    assert [each.sprag["dropped"] for each in log.records if "lost" in each.msg] == [15]


def test_what_json_cannot_hold_is_refused_where_it_is_said(clock: VirtualClock) -> None:
    ears = Ears()
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    with Supervisor([ears]):
        for wrong in (object(), {1: 2}, [math.nan], {"a": {1}}, b"x", endless, deep, "x" * 60_001):
            with pytest.raises(BadValue, match=r"data|JSON"):
                ears.broadcast("news", wrong)
        for name in ("sprag:started", 3):
            with pytest.raises(BadValue, match="event"):
                ears.broadcast(name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        clock.settle()
        assert ears.heard == []
    with pytest.raises(NotRunning):
        Ears().broadcast("news")


def test_last_words_are_heard_by_the_others(clock: VirtualClock) -> None:
    class Polite(Service):
        def on_stop(self) -> None:
            self.broadcast("news", "bye")

    ears = Ears()
    first, second = Supervisor([Polite()], name="first"), Supervisor([ears], name="second")
    with as_workers(first, second), second:
        with first:
            pass
        clock.settle()
        assert ears.heard == ["bye"]


def test_a_listener_may_stop_all_and_broadcast_again(clock: VirtualClock) -> None:
    class Ender(Ears):
        def hear(self, data: Any) -> None:
            super().hear(data)
            if data < 3:
                self.broadcast("news", data + 1)
            else:
                self.service("Ender").stop()

    ender = Ender()
    with Supervisor([ender]):
        ender.broadcast("news", 0)
        clock.settle()
        assert ender.heard == [0, 1, 2, 3]
        assert ender.snapshot().state.value == "stopped"
