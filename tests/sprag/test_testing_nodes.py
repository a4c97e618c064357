"""`as_nodes`, `FaultyEngine` and `ForgetfulEngine` of the testing kit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from gevent import sleep

from sprag import App, Cluster, Service, Singleton
from sprag.cluster.exceptions import EngineAway
from sprag.testing import FaultyEngine, ForgetfulEngine, LeakCheck, as_nodes, virtual_time
from sprag_supervisor.exceptions import AlreadyStarted, BadValue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock


class Billing(Service):
    def run(self) -> None:
        while True:
            sleep(1)


def make_app(**policy: Any) -> App:
    return App(name="shop", providers={"billing": Singleton(Billing)}, **policy)


def owners(*apps: App) -> list[int]:
    return [at for at, app in enumerate(apps) if app.service("billing").lease is not None]


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock, LeakCheck():
        yield clock


def test_nodes_know_the_engine_at_once_and_a_cut_one_loses_what_it_ran(
    clock: VirtualClock,
) -> None:
    first, second = make_app(), make_app()
    with as_nodes(first, second) as nodes, first, second:
        clock.advance(0.1)
        assert owners(first, second) == [0]
        nodes.of(first).cut()
        clock.advance(10 + 1.5)
        assert owners(first, second) == [1]


def test_who_is_killed_says_nothing(clock: VirtualClock) -> None:
    first, second = make_app(), make_app()
    with as_nodes(first, second, ttl=4) as nodes, first, second:
        clock.advance(0.1)
        nodes.kill(first)
        clock.advance(3.8)
        assert owners(second) == []
        clock.advance(1.7)
        assert owners(second) == [0]


def test_what_an_app_says_of_its_cluster_holds_and_is_put_back(clock: VirtualClock) -> None:
    said = Cluster("postgres://db/shop", ttl=3, node="mine", required=False)
    app = make_app(cluster=said)
    with as_nodes(app) as nodes:
        assert app._cluster_ is not None
        assert app._cluster_ is not said
        assert (app._cluster_.ttl, app._cluster_.node, app._cluster_.required) == (3, "mine", False)
        with app:
            clock.advance(0.1)
            assert owners(app) == [0]
        assert b"mine" in nodes.engine.scan("sprag/shop/rows/").value["sprag/shop/rows/billing"]
    assert app._cluster_ is said


def test_a_node_that_was_stopped_is_one_of_them_again_when_it_is_started(
    clock: VirtualClock,
) -> None:
    first, second = make_app(cluster=Cluster("memory://", ttl=4)), make_app()
    with as_nodes(first, second), first, second:
        clock.advance(0.1)
        for app in first, second:
            app.stop()
            app.start()
        clock.advance(0.1)
        assert owners(first, second) == [0]


def test_a_request_may_be_carried_out_without_an_answer(clock: VirtualClock) -> None:
    engine = ForgetfulEngine()
    way = FaultyEngine(engine, timeout=2)
    way.cut(requests=False)
    with pytest.raises(EngineAway, match="no answer within 2 s"):
        way.cas("key", None, b"1")
    assert clock.now == 2
    assert engine.get("key").value == b"1"
    way.heal()
    way.cut()
    with pytest.raises(EngineAway):
        way.cas("key", b"1", b"2")
    assert engine.get("key").value == b"1"
    way.heal()
    way.lose()
    with pytest.raises(EngineAway):
        way.cas("key", b"1", b"2")
    assert way.get("key").value == b"2"
    way.refuse()
    before = clock.now
    with pytest.raises(EngineAway, match="refused"):
        way.get("key")
    assert clock.now == before


def test_a_slow_request_arrives_after_its_caller_has_gone(clock: VirtualClock) -> None:
    engine = ForgetfulEngine()
    way = FaultyEngine(engine, timeout=1)
    way.delay(requests=0.25, answers=0.5)
    assert way.cas("key", None, b"1").value
    assert clock.now == 0.75
    way.delay(requests=3)
    with pytest.raises(EngineAway):
        way.cas("key", b"1", b"2")
    assert clock.now == 1.75
    clock.advance(1.9)
    assert engine.get("key").value == b"1"
    clock.advance(0.2)
    assert engine.get("key").value == b"2"
    way.delay(requests=3)
    with pytest.raises(EngineAway):
        way.cas("key", b"2", b"3")
    way.forget()
    clock.advance(10)
    assert engine.get("key").value == b"2"


def test_hints_come_as_late_as_answers_or_not_at_all(clock: VirtualClock) -> None:
    engine = ForgetfulEngine()
    way = FaultyEngine(engine)
    woken: list[float] = []
    hint = way.hint("ke", lambda: woken.append(clock.now))
    way.delay(answers=0.5)
    engine.cas("key", None, b"1")
    clock.advance(1)
    assert woken == [0.5]
    way.cut()
    engine.cas("key", b"1", b"2")
    clock.advance(1)
    assert woken == [0.5]
    hint.cancel()


def test_an_engine_that_was_reverted_has_another_identity_and_one_that_was_emptied_has_not(
    clock: VirtualClock,
) -> None:
    engine = ForgetfulEngine()
    engine.cas("key", None, b"1")
    engine.publish("topic", b"one")
    engine.save()
    engine.cas("key", b"1", b"2")
    engine.publish("topic", b"two")
    before = engine.get("key").identity
    engine.revert()
    answer = engine.get("key")
    assert answer.value == b"1"
    assert answer.identity != before
    assert engine.read("topic", "0").value.messages == (b"one",)
    engine.empty()
    assert engine.get("key").value is None
    assert engine.get("key").identity == answer.identity
    clock.advance(1.5)
    assert engine.get("key").now == 1500


def test_what_fails_in_the_engine_is_raised_to_whoever_has_asked(clock: VirtualClock) -> None:
    way = FaultyEngine(ForgetfulEngine())
    with pytest.raises(Exception, match="takes no more bytes"):
        way.cas("key", None, b"x" * 100_000)


def test_bad_input_is_told(clock: VirtualClock) -> None:
    app, other = make_app(), make_app()
    with as_nodes(app) as nodes:
        with pytest.raises(BadValue, match="one of the apps given to as_nodes"):
            nodes.of(other)
        with app, pytest.raises(AlreadyStarted):
            nodes.join(app)
    with pytest.raises(BadValue, match="an App, the root of a tree"), as_nodes(Billing()):  # type: ignore[arg-type]
        pass
    with pytest.raises(BadValue, match="seconds"), as_nodes(app, ttl=0):
        pass
    with pytest.raises(BadValue, match=r"0\.001 or more"):
        FaultyEngine(ForgetfulEngine(), timeout=0)
    with pytest.raises(BadValue, match="0 or more"):
        FaultyEngine(ForgetfulEngine()).delay(requests=-1)
    with pytest.raises(BadValue):
        FaultyEngine(ForgetfulEngine()).lose(1.5)  # type: ignore[arg-type]
