"""What is etcd's own among engines: who it is after it has lost something, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from places import on
from servers import Etcd, free_port
from sprag.cluster.engines.etcd import EtcdEngine
from sprag.cluster.exceptions import BadEngine, EngineAway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow


@pytest.fixture
def make() -> Iterator[Callable[..., Etcd]]:
    """Make servers with options."""
    made: list[Etcd] = []

    def one(*options: str) -> Etcd:
        made.append(Etcd(*options))
        made[-1].start()
        return made[-1]

    yield one
    for each in made:
        each.close()


def say(server: Etcd, what: str, given: dict[str, Any]) -> None:
    url = f"http://127.0.0.1:{server.port}/v3/{what}"
    with urlopen(Request(url, json.dumps(given).encode()), timeout=10):
        pass


def test_one_that_was_started_anew_is_the_same_and_one_that_was_put_back_is_another(
    make: Callable[..., Etcd],
) -> None:
    server = make()
    with on(server, "etcd") as place:
        engine, other, topic = place.open(), place.open(), f"{place.prefix}topics/a"
        before = engine.cas(f"{place.prefix}a", None, b"1").identity
        server.kill()
        with pytest.raises(EngineAway, match="etcd://127"):
            engine.get("a")
        server.keep()
        server.start()
        assert engine.cas(f"{place.prefix}a", b"1", b"2").identity == before
        engine.publish(topic, b"1")
        cursor = engine.read(topic, None).value.cursor
        server.stop()
        server.put_back()
        server.start()
        with pytest.raises(EngineAway, match="put back"):
            engine.get(f"{place.prefix}a")
        answer = engine.get(f"{place.prefix}a")
        assert answer.value == b"1"
        assert answer.identity != before
        assert other.get(f"{place.prefix}a").identity == answer.identity
        engine.publish(topic, b"new")
        assert engine.read(topic, cursor).value.messages == (b"new",)


def test_one_that_was_emptied_is_another(make: Callable[..., Etcd]) -> None:
    server = make()
    with on(server, "etcd") as place:
        engine = place.open()
        before = engine.get("a").identity
        say(server, "kv/deleterange", {"key": "AA==", "range_end": "AA=="})
        after = engine.get("a").identity
        assert after != before
        assert place.open().get("a").identity == after


def test_what_is_older_than_a_day_is_dropped(
    make: Callable[..., Etcd], monkeypatch: pytest.MonkeyPatch
) -> None:
    with on(make(), "etcd") as place:
        engine, topic = place.open(), f"{place.prefix}topics/a"
        cursor = engine.read(topic, None).value.cursor
        engine.publish(topic, b"1")
        engine.publish(topic, b"2")
        monkeypatch.setattr("sprag.cluster.engines.limits.DAY", 0)
        engine.publish(topic, b"3")
        page = engine.read(topic, cursor).value
        assert (page.messages, page.missed) == ((b"3",), 2)


def test_one_that_is_full_is_refused(make: Callable[..., Etcd]) -> None:
    with on(make("--quota-backend-bytes=100000"), "etcd") as place:
        engine = place.open()
        with pytest.raises(EngineAway, match="space"):
            for number in range(100):
                engine.cas(f"{place.prefix}{number}", None, b"x" * 60_000)
        with pytest.raises(BadEngine, match=r"NOSPACE.*--auto-compaction-retention"):
            engine.warnings()


def test_its_password_is_asked_for_and_not_told_and_a_token_that_is_over_is_made_anew(
    make: Callable[..., Etcd],
) -> None:
    server = make("--auth-token-ttl=1")
    say(server, "auth/user/add", {"name": "root", "password": "secret1"})
    say(server, "auth/role/add", {"name": "root"})
    say(server, "auth/user/grant", {"user": "root", "role": "root"})
    say(server, "auth/enable", {})
    url = f"etcd://root:{{}}@127.0.0.1:{server.port}"
    right = EtcdEngine(url.format("secret1"), app="shop", timeout=5.0)
    assert right.get("a").value is None
    line = right._lines._idle[0]
    line._headers["Authorization"] = "over.1"
    assert right.get("a").value is None
    right.close()
    for wrong in (url.format("other1"), f"etcd://127.0.0.1:{server.port}"):
        engine = EtcdEngine(wrong, app="shop", timeout=5.0)
        with pytest.raises(EngineAway) as caught:
            engine.get("a")
        assert "other1" not in str(caught.value)
        engine.close()


def test_of_several_one_that_does_not_answer_does_not_cost_all_the_time(
    started: Callable[[str], Etcd],
) -> None:
    server = started("etcd")
    places = f"192.0.2.1:2379,127.0.0.1:{free_port()},127.0.0.1:{server.port}"
    engine = EtcdEngine(f"etcd://{places}", app="shop", timeout=4.0)
    assert engine.get("a").value is None
    engine.close()
    assert engine.get("a").value is None  # the one that has answered is asked first
    engine.close()
