"""What is Redis' own among engines: what it may lose, who it is afterwards, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from places import on
from servers import Redis, until
from sprag.cluster.engines.redis import RedisEngine
from sprag.cluster.exceptions import BadEngine, EngineAway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.cluster.engine import Engine

pytestmark = pytest.mark.slow


@pytest.fixture
def make() -> Iterator[Callable[..., Redis]]:
    """Make servers with options."""
    made: list[Redis] = []

    def one(*options: str) -> Redis:
        made.append(Redis(*options))
        made[-1].start()
        return made[-1]

    yield one
    for each in made:
        each.close()


def identity(engine: Engine) -> str:
    return engine.get("a").identity


def test_one_that_was_started_anew_is_another_and_has_kept_everything(
    make: Callable[..., Redis],
) -> None:
    server = make()
    with on(server, "redis") as place:
        engine = place.open()
        topic = f"{place.prefix}topics/a"
        cursor = engine.read(topic, None).value.cursor
        engine.publish(topic, b"1")
        before = engine.cas(f"{place.prefix}a", None, b"1").identity
        server.kill()
        with pytest.raises(EngineAway, match="redis://127"):
            engine.get("a")
        server.start()
        answer = engine.get(f"{place.prefix}a")
        assert answer.value == b"1"
        assert answer.identity != before
        engine.publish(topic, b"2")
        page = engine.read(topic, cursor).value
        assert (page.messages, page.missed) == ((b"1", b"2"), 0)


def test_one_that_was_emptied_is_another(make: Callable[..., Redis]) -> None:
    with on(make(), "redis") as place:
        engine, server = place.open(), place.server
        assert isinstance(server, Redis)
        before = identity(engine)
        assert identity(place.open()) == before
        server.say("FLUSHALL")
        after = identity(engine)
        assert after != before
        assert identity(place.open()) == after


def test_what_is_published_after_it_has_forgotten_is_read(
    make: Callable[..., Redis],
) -> None:
    server = make("--appendonly", "no", "--dbfilename", "dump.rdb")
    with on(server, "redis") as place:
        engine, topic = place.open(), f"{place.prefix}topics/a"
        cursor = engine.read(topic, None).value.cursor
        for number in range(5):
            engine.publish(topic, b"%d" % number)
        server.say("SAVE")
        for number in range(5, 9):
            engine.publish(topic, b"%d" % number)
        cursor = engine.read(topic, cursor).value.cursor
        server.kill()
        server.start()
        engine.publish(topic, b"new")
        page = engine.read(topic, cursor).value
        assert (page.messages, page.missed) == ((b"new",), 0)
        server.say("FLUSHALL")
        page = engine.read(topic, page.cursor).value
        assert (page.messages, page.missed) == ((), 0)
        engine.publish(topic, b"newer")
        assert engine.read(topic, page.cursor).value.messages == (b"newer",)


def test_what_is_older_than_a_day_is_dropped(
    make: Callable[..., Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    with on(make(), "redis") as place:
        engine, topic = place.open(), f"{place.prefix}topics/a"
        cursor = engine.read(topic, None).value.cursor
        engine.publish(topic, b"1")
        engine.publish(topic, b"2")
        monkeypatch.setattr("sprag.cluster.engines.limits.DAY", -2000)  # older than in a moment
        engine.publish(topic, b"3")
        page = engine.read(topic, cursor).value
        assert (page.messages, page.missed) == ((), 3)
        assert engine.read(topic, page.cursor).value.missed == 0


def test_a_replica_is_refused_and_one_that_is_promoted_is_another(
    make: Callable[..., Redis],
) -> None:
    first, second = make(), make()
    with on(first, "redis") as there, on(second, "redis") as here:
        here.app = there.app
        old, new = there.open(), here.open()
        before = old.cas(f"{there.prefix}a", None, b"1").identity
        second.say("REPLICAOF", "127.0.0.1", str(first.port))
        until(lambda: "master_link_status:up" in second.say("INFO", "replication"), "it follows")
        with pytest.raises(EngineAway, match="replica"):
            new.get(f"{here.prefix}a")
        with pytest.raises(BadEngine, match="is a replica of 127"):
            new.warnings()
        (warned,) = old.warnings()
        assert "min-replicas-to-write 1" in warned
        first.say("CONFIG", "SET", "min-replicas-to-write", "1")
        until(lambda: "min_slaves_good_slaves:1" in first.say("INFO", "replication"), "it sees it")
        assert old.warnings() == ()
        second.say("REPLICAOF", "NO", "ONE")
        answer = new.get(f"{here.prefix}a")
        assert answer.value == b"1"
        assert answer.identity != before
        first.say("REPLICAOF", "127.0.0.1", str(second.port))
        first.say("REPLICAOF", "NO", "ONE")
        assert identity(old) not in {before, answer.identity}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--maxmemory-policy", "allkeys-lru"], "maxmemory-policy allkeys-lru.*noeviction"),
        (["--cluster-enabled", "yes"], "Redis Cluster"),
    ],
)
def test_one_whose_rules_are_broken_is_refused(
    make: Callable[..., Redis], options: list[str], says: str
) -> None:
    with on(make(*options), "redis") as place, pytest.raises(BadEngine, match=says):
        place.open().warnings()


def test_one_that_forgets_is_warned_of(make: Callable[..., Redis]) -> None:
    with on(make("--appendonly", "no"), "redis") as place:
        (warned,) = place.open().warnings()
        assert "set appendonly yes" in warned


def test_one_that_takes_no_more_is_away(make: Callable[..., Redis]) -> None:
    server = make("--maxmemory", "3mb")
    with on(server, "redis") as place:
        engine = place.open()
        with pytest.raises(EngineAway, match="maxmemory"):
            for number in range(100):
                engine.cas(f"{place.prefix}{number}", None, b"x" * 60_000)
        assert engine.get("a").value is None


def test_its_password_is_asked_for_and_not_told(make: Callable[..., Redis]) -> None:
    server = make("--requirepass", "secret1")
    url = f"redis://:{{}}@127.0.0.1:{server.port}"
    right = RedisEngine(url.format("secret1"), app="shop", timeout=5.0)
    assert right.get("a").value is None
    right.close()
    for wrong in ("other1", ""):
        engine = RedisEngine(url.format(wrong), app="shop", timeout=5.0)
        with pytest.raises(EngineAway) as caught:
            engine.get("a")
        assert "other1" not in str(caught.value)
        engine.close()


def test_scripts_that_redis_has_forgotten_are_given_to_it_again(make: Callable[..., Redis]) -> None:
    server = make()
    with on(server, "redis") as place:
        engine = place.open()
        assert engine.get("a").value is None
        server.say("SCRIPT", "FLUSH")
        assert engine.get("a").value is None
