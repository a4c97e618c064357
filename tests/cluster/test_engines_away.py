"""Servers that go, stand still or cannot be reached: who asks hears of it in time."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, cast

import gevent
import pytest
from gevent.event import Event

from places import SLOW
from relay import Relay
from sprag.cluster.engines import open_engine
from sprag.cluster.exceptions import EngineAway

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from servers import Server
    from sprag.cluster.engine import Engine

pytestmark = pytest.mark.slow

IN_TIME: Final = 1.0
"""Seconds that a verb has in these tests."""


@pytest.fixture(params=SLOW)
def relay(
    request: pytest.FixtureRequest, started: Callable[[str], Server]
) -> Iterator[tuple[Relay, Server]]:
    server = started(request.param)
    with Relay(server.port) as found:
        yield found, server
    started(request.param)


@contextmanager
def opened(relay: Relay, server: Server, app: str = "away") -> Generator[Engine]:
    engine = open_engine(server.url_at(relay.port), app=app, timeout=IN_TIME)
    try:
        yield engine
    finally:
        engine.close()
        gevent.sleep(0)


VERBS: Final[dict[str, Callable[[Engine], Any]]] = {
    "get": lambda engine: engine.get("sprag/away/a"),
    "scan": lambda engine: engine.scan("sprag/away/"),
    "cas": lambda engine: engine.cas("sprag/away/b", b"x", b"x"),
    "publish": lambda engine: engine.publish("sprag/away/topics/a", b"x"),
    "read": lambda engine: engine.read("sprag/away/topics/a", None),
    "warnings": lambda engine: engine.warnings(),
}


@contextmanager
def held_at_most(seconds: float) -> Generator[None]:
    """Nobody holds the loop longer."""
    longest = 0.0

    def beat() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            gevent.sleep(0.005)
            longest = max(longest, time.monotonic() - before)

    beats = cast("Any", gevent.spawn(beat))
    try:
        yield
        gevent.sleep(0.01)
    finally:
        beats.kill()
    assert longest < seconds


def is_away(engine: Engine, *verbs: str) -> None:
    """What is asked, all at once, fails in time; other greenlets run on meanwhile."""
    begun = time.monotonic()
    with held_at_most(IN_TIME / 2):
        asking: list[Any] = [gevent.spawn(VERBS[verb], engine) for verb in verbs or VERBS]
        gevent.joinall(asking)
    assert {type(each.exception) for each in asking} == {EngineAway}
    assert time.monotonic() - begun < IN_TIME + 0.5


def test_whoever_asks_in_a_network_that_is_cut_hears_of_it_in_time(
    relay: tuple[Relay, Server],
) -> None:
    found, _server = relay
    with opened(*relay) as engine:
        for verb in VERBS.values():
            verb(engine)
        found.cut()
        is_away(engine, "get")  # on a connection that was there
        is_away(engine)  # on new ones
        found.heal()
        for verb in VERBS.values():
            verb(engine)


@pytest.mark.parametrize("way", ["to_server", "to_client"])
def test_a_network_that_is_cut_one_way_is_cut(relay: tuple[Relay, Server], way: str) -> None:
    found, _server = relay
    with opened(*relay) as engine:
        engine.get("sprag/away/a")
        setattr(found, way, False)
        is_away(engine, "get")
        is_away(engine, "get")
        found.heal()
        engine.get("sprag/away/a")


def test_a_swap_whose_answer_is_lost_may_have_been_made(relay: tuple[Relay, Server]) -> None:
    found, _server = relay
    with opened(*relay, app="lost") as engine:
        assert engine.cas("sprag/lost/a", None, b"1").value
        found.lose_answers()
        with pytest.raises(EngineAway):
            engine.cas("sprag/lost/a", b"1", b"2")
        found.heal()
        assert engine.get("sprag/lost/a").value == b"2"
        assert engine.cas("sprag/lost/a", b"2", None).value


def test_a_slow_network_is_slow_and_no_more(relay: tuple[Relay, Server]) -> None:
    found, _server = relay
    with opened(*relay) as engine:
        VERBS["get"](engine)
        found.delay = 0.1
        with held_at_most(0.5):
            for verb in VERBS.values():
                verb(engine)
        found.delay = 2.0
        is_away(engine, "get")


def test_a_server_that_stands_still_is_away_until_it_goes_on(
    relay: tuple[Relay, Server],
) -> None:
    _found, server = relay
    with opened(*relay) as engine:
        VERBS["get"](engine)
        server.pause()
        try:
            is_away(engine)
        finally:
            server.go_on()
        VERBS["get"](engine)


def test_who_waits_for_news_is_woken_once_the_engine_can_be_reached_again(
    relay: tuple[Relay, Server],
) -> None:
    found, server = relay
    with opened(*relay) as engine, open_directly(server) as other:
        woken = Event()
        engine.hint("sprag/away/", woken.set)
        assert woken.wait(10)
        found.cut()
        is_away(engine, "get")
        woken.clear()
        other.cas("sprag/away/c", None, b"1")
        assert not woken.wait(0.1)
        found.heal()
        assert woken.wait(10)
        woken.clear()
        other.cas("sprag/away/c", b"1", None)
        assert woken.wait(10)


@contextmanager
def open_directly(server: Server) -> Generator[Engine]:
    engine = open_engine(server.url, app="away", timeout=10.0)
    try:
        yield engine
    finally:
        engine.close()
        gevent.sleep(0)


def test_a_server_that_was_started_anew_is_asked_at_once(relay: tuple[Relay, Server]) -> None:
    _found, server = relay
    with open_directly(server) as engine:
        engine.cas("sprag/away/d", None, b"1")
        woken = Event()
        engine.hint("sprag/away/", woken.set)
        assert woken.wait(10)
        server.stop()
        server.start()  # nobody has asked meanwhile: what is broken is not asked over
        assert engine.cas("sprag/away/d", b"1", None).value
        woken.clear()
        assert woken.wait(10)
        server.kill()
        begun = time.monotonic()
        with pytest.raises(EngineAway):
            engine.get("sprag/away/d")
        assert time.monotonic() - begun < 5
        server.start()
        assert engine.get("sprag/away/d").value is None


def test_many_that_ask_an_engine_that_is_away_all_hear_of_it_in_time(
    relay: tuple[Relay, Server],
) -> None:
    found, _server = relay
    with opened(*relay) as engine:
        found.cut()
        begun = time.monotonic()
        asking: list[Any] = [gevent.spawn(engine.get, f"sprag/away/{n}") for n in range(40)]
        gevent.joinall(asking)
        assert time.monotonic() - begun < IN_TIME + 1
        assert all(isinstance(each.exception, EngineAway) for each in asking)


def test_who_is_interrupted_while_he_asks_spoils_nobodys_answer(
    relay: tuple[Relay, Server],
) -> None:
    found, _server = relay
    with opened(*relay) as engine:
        for letter in "xy":
            engine.cas(f"sprag/away/{letter}", engine.get(f"sprag/away/{letter}").value, b"x")
        found.delay = 0.1
        asking = cast("Any", gevent.spawn(engine.get, "sprag/away/x"))
        gevent.sleep(0.05)
        asking.kill()
        with suppress(gevent.Timeout), gevent.Timeout(0.05):
            engine.get("sprag/away/x")
        found.delay = 0
        assert engine.cas("sprag/away/y", b"x", b"y").value
        assert engine.get("sprag/away/y").value == b"y"
