"""What is PostgreSQL's own among engines: what it may lose, who it is afterwards, and poolers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import gevent
import psycopg
import pytest
from click.testing import CliRunner
from gevent.event import Event

from places import on
from servers import PgBouncer, Postgres, free_port, until
from sprag.cluster.engines.postgres import PostgresEngine
from sprag.cluster.exceptions import BadEngine, EngineAway
from sprag_cli.commands.cluster import cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.cluster.engine import Engine

pytestmark = pytest.mark.slow


@pytest.fixture
def make() -> Iterator[Callable[..., Postgres]]:
    """Make servers with options."""
    made: list[Postgres] = []

    def one(*options: str, of: Postgres | None = None) -> Postgres:
        server = Postgres(*options)
        if of is None:
            server.start()
        else:
            server.follow(of)
        made.append(server)
        return server

    yield one
    for each in made:
        each.close()


@pytest.fixture
def server(started: Callable[[str], Postgres]) -> Postgres:
    return started("postgres")


def identity(engine: Engine) -> str:
    return engine.get("a").identity


def test_one_that_was_started_anew_is_the_same_as_it_forgets_nothing(server: Postgres) -> None:
    with on(server, "postgres") as place:
        engine, topic = place.open(), f"{place.prefix}topics/a"
        cursor = engine.read(topic, None).value.cursor
        engine.publish(topic, b"1")
        before = engine.cas(f"{place.prefix}a", None, b"1").identity
        for end in (server.stop, server.kill):
            end()
            with pytest.raises(EngineAway, match=r"postgres://127.0.0.1:\d+/postgres is away"):
                engine.get("a")
            server.start()
            answer = engine.get(f"{place.prefix}a")
            assert (answer.value, answer.identity) == (b"1", before)
        assert engine.read(topic, cursor).value.messages == (b"1",)


def test_a_standby_is_refused_and_one_that_is_promoted_is_another(
    make: Callable[..., Postgres],
) -> None:
    first = make()
    with on(first, "postgres") as there:
        old = there.open()
        before = old.cas(f"{there.prefix}a", None, b"1").identity
        second = make(of=first)
        until(old.warnings, "the standby is connected")
        (warned,) = old.warnings()
        assert "synchronous_standby_names" in warned
        with on(second, "postgres") as here:
            new = here.open()
            with pytest.raises(BadEngine, match=r"is a standby.*postgres://a,b"):
                new.warnings()
            with pytest.raises(EngineAway, match="standby"):
                new.get(f"{there.prefix}a")
            here.app = there.app
            new = here.open()
            both = PostgresEngine(
                f"postgres://sprag@127.0.0.1:{second.port},127.0.0.1:{first.port}/postgres",
                app=there.app,
                timeout=10.0,
            )
            assert both.get(f"{there.prefix}a").identity == before
            first.kill()
            with pytest.raises(EngineAway):
                both.get(f"{there.prefix}a")
            assert second.say("select pg_promote()") == [(True,)]
            answer = both.get(f"{there.prefix}a")
            assert answer.value == b"1"
            assert answer.identity != before
            assert new.get(f"{there.prefix}a").identity == answer.identity
            both.close()


def test_one_that_was_emptied_is_another(server: Postgres) -> None:
    with on(server, "postgres") as place:
        engine = place.open()
        before = identity(engine)
        assert identity(place.open()) == before
        server.say("drop table sprag_rows, sprag_topics, sprag_events")
        with pytest.raises(EngineAway, match="sprag_rows"):
            engine.get("a")
        after = identity(engine)  # the tables are made anew
        assert after != before
        assert identity(place.open()) == after


def test_one_that_was_put_back_to_what_it_was_is_another(make: Callable[..., Postgres]) -> None:
    server = make()
    with on(server, "postgres") as place:
        engine, other = place.open(), place.open()
        topic = f"{place.prefix}topics/a"
        before = engine.cas(f"{place.prefix}a", None, b"1").identity
        server.stop()
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


def test_what_is_older_than_a_day_is_dropped(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on(server, "postgres") as place:
        engine, topic = place.open(), f"{place.prefix}topics/a"
        cursor = engine.read(topic, None).value.cursor
        engine.publish(topic, b"1")
        engine.publish(topic, b"2")
        monkeypatch.setattr("sprag.cluster.engines.limits.DAY", 0)
        engine.publish(topic, b"3")
        page = engine.read(topic, cursor).value
        assert (page.messages, page.missed) == ((b"3",), 2)
        assert engine.read(topic, page.cursor).value.missed == 0


def test_what_commits_late_is_read_all_the_same(server: Postgres) -> None:
    with on(server, "postgres") as place:
        engine, topic = place.open(), f"{place.prefix}topics/a"
        engine.publish(topic, b"0")
        cursor = engine.read(topic, None).value.cursor
        with psycopg.connect(server.url) as slow:
            slow.execute(
                "update sprag_topics set last = last + 1, number = number + 1 where app = %s",
                [place.app],
            )
            publishing = cast("Any", gevent.spawn(place.open().publish, topic, b"2"))
            gevent.sleep(0.1)
            assert engine.read(topic, cursor).value.messages == ()  # not before what came first
            slow.execute(
                "insert into sprag_events select app, topic, last, number, '1' from sprag_topics"
                " where app = %s",
                [place.app],
            )
        publishing.join()
        assert engine.read(topic, cursor).value.messages == (b"1", b"2")


def test_many_that_come_first_make_the_tables_once(make: Callable[..., Postgres]) -> None:
    with on(make(), "postgres") as place:
        asking: list[Any] = [
            gevent.spawn(place.open().cas, f"{place.prefix}a", None, b"1") for _ in range(20)
        ]
        gevent.joinall(asking, raise_error=True)


def test_who_may_not_make_the_tables_is_told_what_to_do(make: Callable[..., Postgres]) -> None:
    server = make()
    server.say("create role shop login")
    engine = PostgresEngine(server.url.replace("sprag@", "shop@"), app="shop", timeout=10.0)
    with pytest.raises(BadEngine, match="sprag cluster init --print"):
        engine.warnings()
    with pytest.raises(EngineAway, match="permission denied"):
        engine.get("a")
    for _ in range(2):  # a second time it does no harm
        printed = CliRunner().invoke(cluster, ["init", "--print"])
        server.say(cast("Any", printed.stdout))
    server.say("grant all on sprag_rows, sprag_topics, sprag_events to shop")
    assert engine.warnings() == ()
    assert engine.cas("a", None, b"1").value
    engine.close()


def test_one_that_may_forget_is_warned_of(make: Callable[..., Postgres]) -> None:
    with on(make("-cfsync=off"), "postgres") as place:
        (warned,) = place.open().warnings()
        assert "set fsync on" in warned


def test_a_writer_waits_for_the_disk_whatever_the_server_says(
    make: Callable[..., Postgres],
) -> None:
    server = make("-csynchronous_commit=off", "-cdefault_transaction_isolation=serializable")
    with on(server, "postgres") as place:
        engine = place.open()
        for number in range(3):
            assert engine.cas(f"{place.prefix}a/{number}", None, b"1").value
            server.kill()
            server.start()
            assert engine.get(f"{place.prefix}a/{number}").value == b"1"


def test_of_several_hosts_one_that_does_not_answer_does_not_cost_all_the_time(
    server: Postgres,
) -> None:
    nobody = free_port()
    engine = PostgresEngine(
        f"postgres://sprag@192.0.2.1:5432,127.0.0.1:{nobody},localhost:{server.port}/postgres",
        app="shop",
        timeout=4.0,
    )
    assert engine.get("a").value is None
    engine.close()


def test_behind_a_pooler_nobody_listens_and_news_come_all_the_same(
    server: Postgres,
) -> None:
    pooler = PgBouncer(server)
    pooler.start()
    try:
        with on(pooler, "postgres") as place:
            engine, other = place.open(), place.open()
            (warned,) = engine.warnings()
            assert "behind a pooler" in warned
            woken, others = Event(), Event()
            engine.hint(f"{place.prefix}a", woken.set)
            engine.hint(f"{place.prefix}b", others.set)
            assert woken.wait(10)
            woken.clear()
            others.clear()
            listening = "select count(*) from pg_stat_activity where query ilike 'listen%'"
            assert server.say(listening) == [(0,)]
            for old, new in ((None, b"1"), (b"1", b"2"), (b"2", None)):
                assert other.cas(f"{place.prefix}a", old, new).value
                assert woken.wait(10)
                woken.clear()
            assert not others.is_set()
            other.publish(f"{place.prefix}a/topic", b"1")
            assert woken.wait(10)
            pooler.kill()
            with pytest.raises(EngineAway):
                engine.get("a")
            pooler.start()
            assert engine.get(f"{place.prefix}a").value is None
    finally:
        pooler.close()


def test_who_is_interrupted_leaves_nothing_behind_in_the_server(server: Postgres) -> None:
    with on(server, "postgres") as place:
        engine = place.open()
        engine.cas(f"{place.prefix}a", None, b"1")
        with psycopg.connect(server.url) as holding:
            holding.execute("select from sprag_rows where app = %s for update", [place.app])
            with pytest.raises(gevent.Timeout), gevent.Timeout(0.2):
                engine.cas(f"{place.prefix}a", b"1", b"2")
        assert engine.cas(f"{place.prefix}b", None, b"1").value
        mine = """select count(*) from pg_stat_activity
          where state = 'active' and pid <> pg_backend_pid() and backend_type = 'client backend'"""
        until(lambda: server.say(mine) == [(0,)], "nobody waits")
