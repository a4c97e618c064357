"""What engines' clients make of servers that are away, late, or say what none should; on fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.event import Event

from fake_etcd import FakeEtcd
from fake_postgres import FakePostgres
from fake_redis import FakeRedis
from places import FAKES
from servers import free_port
from sprag.cluster.engines import hints, limits, open_engine, postgres
from sprag.cluster.engines import postgres_sql as sql
from sprag.cluster.exceptions import BadEngine, EngineAway
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from fake_server import FakeServer
    from sprag.cluster.engine import Engine


@pytest.fixture(params=list(FAKES))
def server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    with FAKES[request.param]() as server:
        yield server
    gevent.sleep(0)


@pytest.fixture
def opened() -> Generator[Callable[..., Engine]]:
    """Open engines, which are closed at the end."""
    found: list[Engine] = []

    def one(url: str, timeout: float = 5.0) -> Engine:
        found.append(open_engine(url, app="shop", timeout=timeout))
        return found[-1]

    yield one
    for each in found:
        each.close()
    gevent.sleep(0)


@pytest.fixture
def engine(server: FakeServer, opened: Callable[..., Engine]) -> Engine:
    return opened(server.url)


# -- the way there ---------------------------------------------------------------------------


def test_one_that_does_not_answer_in_time_is_away_until_it_does(
    server: FakeServer, engine: Any
) -> None:
    assert engine.get("a").value is None
    server.goes_on.clear()
    engine._lines.timeout = 0.05
    with pytest.raises(EngineAway, match=r"127.0.0.1.* no answer within 0.05 s"):
        engine.get("a")
    server.goes_on.set()
    engine._lines.timeout = 5.0
    assert engine.get("a").value is None


def test_a_timeout_of_the_callers_own_is_his(server: FakeServer, engine: Engine) -> None:
    assert engine.get("a").value is None
    server.goes_on.clear()
    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.01) as mine:
        engine.get("a")
    assert caught.value is mine
    server.goes_on.set()
    assert engine.get("a").value is None


def test_a_connection_that_was_closed_meanwhile_is_replaced(
    server: FakeServer, engine: Engine
) -> None:
    assert engine.cas("a", None, b"1").value
    server.cut()
    gevent.sleep(0.001)
    assert engine.get("a").value == b"1"


def test_one_that_closes_while_it_is_asked_is_away(server: FakeServer, engine: Engine) -> None:
    assert engine.cas("a", None, b"1").value
    server.answers = [b""]
    with pytest.raises(EngineAway, match=r"127\.0\.0\.1"):
        engine.get("a")
    assert engine.get("a").value == b"1"


def test_who_asks_in_a_forked_child_has_connections_of_his_own(engine: Any) -> None:
    assert engine.get("a").value is None
    (mine,) = engine._lines._idle
    engine._lines._pid = 0
    assert engine.get("a").value is None
    assert mine not in engine._lines._idle
    mine.close()


def test_of_many_questions_at_once_few_have_a_connection_and_fewer_keep_it(engine: Any) -> None:
    asking: list[Any] = [gevent.spawn(engine.get, "a") for _ in range(20)]
    gevent.joinall(asking, raise_error=True)
    assert len(engine._lines._idle) == 2


def test_who_is_gone_is_said_with_the_place_and_without_the_password() -> None:
    for scheme in ("redis", "etcd", "postgres"):
        url = f"{scheme}://user:secret1@127.0.0.1:{free_port()}/3"
        engine = open_engine(url, app="shop", timeout=5.0)
        with pytest.raises(EngineAway, match=rf"{scheme}://127.0.0.1:\d+") as caught:
            engine.get("a")
        assert "refused" in str(caught.value)
        assert "secret1" not in str(caught.value)


def test_who_waits_for_news_is_woken_when_he_listens_again(
    server: FakeServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "PAUSE", 0.001)
    woken, other = Event(), Event()
    engine.hint("sprag/shop/a", woken.set)
    engine.hint("sprag/shop/b", other.set)
    assert woken.wait(5)
    gevent.sleep(0)
    woken.clear()
    other.clear()
    engine.cas("sprag/shop/a", None, b"1")
    assert woken.wait(5)
    assert not other.is_set()
    server.cut()
    assert other.wait(5)
    woken.clear()
    server.answers = [b""]  # it is noticed by who asks, too
    with pytest.raises(EngineAway):
        engine.get("a")
    assert woken.wait(5)


def test_nobody_is_woken_by_one_that_is_away(server: FakeServer, engine: Engine) -> None:
    server.stop()
    woken = Event()
    hint = engine.hint("a", woken.set)
    gevent.sleep(0.01)
    hint.cancel()
    assert not woken.is_set()


# -- what no server says ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("fake redis", b"?what\r\n"),
        ("fake redis", b":x\r\n"),
        ("fake postgres", b"?\0\0\0\4"),
        ("fake etcd", b"no HTTP\r\n\r\n"),
        ("fake etcd", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwhat"),
        ("fake etcd", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"),
        ("fake etcd", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        ("fake etcd", b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"responses": 3}'),
        ("fake etcd", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>"),
        ("fake etcd", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n[]"),
    ],
)
def test_whoever_answers_in_another_language_is_away(
    kind: str, said: bytes, opened: Callable[..., Engine]
) -> None:
    with FAKES[kind]() as server:
        engine: Any = opened(server.url)
        assert engine.get("a").value is None
        server.answers = [said]
        engine._lines.timeout = 0.1
        with pytest.raises(EngineAway) as caught:
            engine.get("a")
        assert "Expecting value" not in str(caught.value)
        engine._lines.timeout = 5.0
        assert engine.get("a").value is None


def test_what_a_server_refuses_is_said_in_its_words(server: FakeServer, engine: Engine) -> None:
    assert engine.get("a").value is None
    server.refuses = {"": "53100 could not extend file: No space left on device"}
    with pytest.raises(EngineAway, match="No space left on device"):
        engine.get("a")
    server.refuses.clear()
    assert engine.get("a").value is None


# -- Redis ------------------------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[FakeRedis]:
    with FakeRedis() as server:
        yield server


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"redis_version": "6.0.16"}, r"is version 6.0.16: use 6.2 or later"),
        ({"redis_version": "odd"}, r"is version odd"),
        ({"role": "slave", "master_host": "db", "master_port": "1"}, r"is a replica of db:1"),
        ({"cluster_enabled": "1"}, r"Redis Cluster"),
        ({"maxmemory_policy": "allkeys-lru"}, r"evict .*allkeys-lru.*noeviction"),
    ],
)
def test_a_redis_that_cannot_be_used_says_why(
    redis: FakeRedis, opened: Callable[..., Engine], said: dict[str, str], error: str
) -> None:
    redis.info |= said
    with pytest.raises(BadEngine, match=error):
        opened(redis.url).warnings()


def test_nothing_is_tried_again_behind_our_back(redis: FakeRedis) -> None:
    engine: Any = open_engine(f"{redis.url}?retry_on_timeout=true", app="shop")
    assert engine._made(**engine._given).retry._retries == 0


def test_a_redis_that_may_forget_says_so(redis: FakeRedis, opened: Callable[..., Engine]) -> None:
    engine = opened(redis.url)
    redis.info |= {"aof_enabled": "0", "connected_slaves": "2"}
    forgets, replicas = engine.warnings()
    assert "set appendonly yes" in forgets
    assert "may have missed all of them; set min-replicas-to-write 1" in replicas
    redis.info |= {"aof_enabled": "1", "min_slaves_good_slaves": "2"}
    assert engine.warnings() == ()


def test_a_redis_that_has_forgotten_its_scripts_is_given_them_again(
    redis: FakeRedis, opened: Callable[..., Engine]
) -> None:
    engine = opened(redis.url)
    assert engine.get("a").value is None
    redis.scripts.clear()
    assert engine.get("a").value is None


def test_a_redis_that_was_started_anew_promoted_or_emptied_is_another(
    redis: FakeRedis, opened: Callable[..., Engine]
) -> None:
    engine = opened(redis.url)
    seen = [engine.get("a").identity]
    redis.replication = "q" * 40
    seen.append(engine.get("a").identity)
    redis.store("sprag/shop").values.clear()
    seen.append(engine.get("a").identity)
    redis.info["run_id"] = "s" * 40
    redis.cut()
    gevent.sleep(0.001)
    seen.append(engine.get("a").identity)
    assert len(set(seen)) == 4


# -- etcd -------------------------------------------------------------------------------------


@pytest.fixture
def etcd_server() -> Iterator[FakeEtcd]:
    with FakeEtcd() as server:
        yield server


@pytest.mark.parametrize(
    "url", ["etcd://host:port", "etcd://host?tls=1", "etcds://host?ca=/nowhere", "etcd://a,b:x"]
)
def test_a_url_of_etcd_that_is_wrong_is_refused_with_what_is_right(url: str) -> None:
    with pytest.raises(BadValue, match="etcd"):
        open_engine(url, app="shop")


def test_an_etcd_that_is_full_is_refused(
    etcd_server: FakeEtcd, opened: Callable[..., Engine]
) -> None:
    etcd_server.alarms = ["NOSPACE"]
    with pytest.raises(BadEngine, match=r"NOSPACE.*--auto-compaction-retention"):
        opened(etcd_server.url).warnings()


def test_an_etcd_that_was_put_back_is_another_and_is_told_so(
    etcd_server: FakeEtcd, opened: Callable[..., Engine]
) -> None:
    engine = opened(etcd_server.url)
    engine.cas("a", None, b"1")
    before = engine.get("a").identity
    etcd_server.revision -= 2
    with pytest.raises(EngineAway, match="put back to what it was"):
        engine.get("a")
    assert engine.get("a").identity != before


def test_an_etcd_is_told_who_asks_and_again_when_that_has_had_its_time(
    etcd_server: FakeEtcd, opened: Callable[..., Engine]
) -> None:
    etcd_server.password = "secret1"
    place = f"127.0.0.1:{etcd_server.port}"
    engine = opened(f"etcd://root:secret1@{place}")
    assert engine.get("a").value is None
    etcd_server.token = "second"
    assert engine.get("a").value is None
    with pytest.raises(EngineAway, match="authentication failed"):
        opened(f"etcd://root:other1@{place}").get("a")
    with pytest.raises(EngineAway, match="invalid auth token"):
        opened(f"etcd://{place}").get("a")


def test_of_several_etcds_the_one_that_answers_is_asked_first_from_then_on(
    etcd_server: FakeEtcd, opened: Callable[..., Engine]
) -> None:
    with FakeEtcd() as silent:
        silent.goes_on.clear()
        places = [free_port(), silent.port, etcd_server.port]
        url = ",".join(f"127.0.0.1:{port}" for port in places)
        engine: Any = opened(f"etcd://{url}", 1.0)
        assert engine.get("a").value is None
        assert engine._access.servers[0] == ("127.0.0.1", etcd_server.port)
        silent.goes_on.set()
    etcd_server.stop()
    engine.close()
    with pytest.raises(EngineAway):
        engine.get("a")


def test_who_watches_an_etcd_that_will_not_have_it_tries_again(
    etcd_server: FakeEtcd, opened: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "PAUSE", 0.001)
    woken = Event()
    opened(etcd_server.url).hint("a", woken.set)
    news: list[Any] = [{"result": {"canceled": True}}, {"error": "no leader"}, [], {"result": 3}]
    for said in news:
        assert woken.wait(5)
        woken.clear()
        etcd_server.tell(said)
    assert woken.wait(5)


def test_what_an_etcd_keeps_too_much_of_is_dropped_by_who_publishes(
    etcd_server: FakeEtcd, opened: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_EVENTS", 3)
    engine, other = opened(etcd_server.url), opened(etcd_server.url)
    cursor = engine.read("t", None).value.cursor
    for number in range(3):
        engine.publish("t", b"a%d" % number)
        other.publish("t", b"b%d" % number)
    page = other.read("t", cursor).value
    assert (page.messages, page.missed) == ((b"b1", b"a2", b"b2"), 3)


# -- PostgreSQL -------------------------------------------------------------------------------


@pytest.fixture
def pg() -> Iterator[FakePostgres]:
    with FakePostgres() as server:
        yield server


def test_a_postgres_that_may_forget_says_so(
    pg: FakePostgres, opened: Callable[..., Engine]
) -> None:
    engine = opened(pg.url)
    pg.settings = ["160004", "off", "", "2"]
    forgets, standbys = engine.warnings()
    assert "set fsync on" in forgets
    assert "set synchronous_standby_names" in standbys
    pg.settings = ["160004", "on", "first 1 (a)", "2"]
    assert engine.warnings() == ()
    pg.settings[0] = "110022"
    with pytest.raises(BadEngine, match="is version 11: use 12 or later"):
        engine.warnings()


def test_a_standby_of_postgres_is_refused(pg: FakePostgres, opened: Callable[..., Engine]) -> None:
    pg.is_standby = True
    engine = opened(pg.url)
    with pytest.raises(BadEngine, match="is a standby, or read-only"):
        engine.warnings()
    with pytest.raises(EngineAway, match="standby"):
        engine.get("a")
    pg.stop()
    with pytest.raises(EngineAway):  # it is none now, but away
        engine.warnings()


def test_who_may_not_make_the_tables_of_postgres_is_told_what_to_do(
    pg: FakePostgres, opened: Callable[..., Engine]
) -> None:
    pg.refuses = {"create table": "42501 permission denied for schema public"}
    engine = opened(pg.url)
    with pytest.raises(BadEngine, match=r"permission denied.*sprag cluster init --print"):
        engine.warnings()
    pg.has_tables = True
    assert engine.warnings() == ()


def test_a_postgres_that_was_put_back_is_another_and_is_told_so(
    pg: FakePostgres, opened: Callable[..., Engine]
) -> None:
    engine = opened(pg.url)
    engine.cas("a", None, b"1")
    before = engine.get("a").identity
    pg.height -= 10
    with pytest.raises(EngineAway, match="put back to what it was"):
        engine.get("a")
    after = engine.get("a").identity
    assert after != before
    pg.timeline = "00000002"
    assert engine.get("a").identity not in {before, after}


def test_of_several_postgres_one_that_is_gone_silent_or_a_standby_is_passed_over(
    pg: FakePostgres, opened: Callable[..., Engine]
) -> None:
    with FakePostgres() as standby, FakePostgres() as silent:
        standby.is_standby = True
        silent.goes_on.clear()
        ports = [free_port(), silent.port, standby.port, pg.port]
        places = ",".join(f"localhost:{port}" for port in ports)
        engine = opened(f"postgres://sprag@{places}/shop", 1.5)
        assert engine.get("a").value is None
        silent.goes_on.set()


def test_behind_a_pooler_news_come_by_looking(
    pg: FakePostgres, opened: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_LOOKS", 0.001)
    pg.is_pooled = True
    engine, woken, other = opened(pg.url), Event(), Event()
    (warned,) = engine.warnings()
    assert "behind a pooler" in warned
    engine.hint("a", woken.set)
    engine.hint("b", other.set)
    for old, new in ((None, b"1"), (b"1", b"2"), (b"2", None)):
        assert woken.wait(5)
        woken.clear()
        other.clear()
        engine.cas("a", old, new)
    assert woken.wait(5)
    assert not other.is_set()
    assert not [each for each in pg.asked if each.startswith(("listen", sql.SESSION[:20]))]


def test_an_app_of_a_long_or_odd_name_is_heard_in_postgres_as_well(
    pg: FakePostgres, opened: Callable[..., Engine]
) -> None:
    for app in ("s" * 100, 'a"b'):
        woken = Event()
        engine = open_engine(pg.url, app=app)
        engine.hint("a", woken.set)
        assert woken.wait(5)
        gevent.sleep(0)
        woken.clear()
        engine.cas("a", None, b"1")
        assert woken.wait(5)
        engine.close()
