"""What nobody of us has written into the engine: rubbish under our keys, of any form and size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from gevent import sleep
from gevent.lock import BoundedSemaphore

from sprag import App, Cluster, Service, Sharded, Singleton
from sprag.cluster import memory
from sprag.cluster.exceptions import EngineAway
from sprag.cluster.plain_data import kept_in
from sprag.cluster.records import record_of
from sprag.cluster.rows import Row, row_of
from sprag.control import routes
from sprag.control.desk import desk_of
from sprag.control.http import Request
from sprag.exceptions import BadValue
from sprag.testing import as_nodes
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

TTL = 4.0
DEEP = b'{"owner": null, "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
NESTED = b'{"owner": null, "x": ' + b"[" * 700 + b"]" * 700 + b"}"
RUBBISH: list[bytes] = [
    b"",
    b"\xff\xfe\x00",
    b"[]",
    b'"text"',
    b"null",
    DEEP,
    NESTED,
    b'{"owner": ""}',
    b'{"owner": "a/b/../c", "where": "\\u001b[31mred", "epoch": -5}',
    b'{"owner": {"a": 1}, "where": [], "epoch": "x", "tried": [1], "ttl": "1", "schema": []}',
    b'{"owner": "x", "epoch": ' + b"9" * 4000 + b', "ttl": 1e400}',
    b'{"owner": "\\ud800", "where": "\\ud800", "ttl": -1, "beat": true}',
    json.dumps({"owner": None, "much": "x" * 65_490}).encode(),
]


class Billing(Service):
    def run(self) -> None:
        while True:
            sleep(100)


class Shard(Service):
    def __init__(self, number: int) -> None:
        self.number = number


def make_app() -> App:
    return App(
        name="shop",
        cluster=Cluster("memory://", ttl=TTL),
        providers={"billing": Singleton(Billing()), "carts": Sharded(Shard, partitions=3)},
    )


def status_of(app: App) -> str:
    request = Request("GET", "/v1/service/billing", {}, by=0)
    body: Any = routes.answer(desk_of(app), request, bool).body
    return str(body["status"])


@pytest.mark.parametrize("rubbish", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_in_rows_and_records_keeps_nobody_from_what_is_his(
    clock: VirtualClock, rubbish: bytes
) -> None:
    first, second = make_app(), make_app()
    with as_nodes(first, second) as nodes:
        for name in ("rows/billing", "rows/carts/0", "nodes/evil", "nodes/", "nodes/a/b", "rows/"):
            assert nodes.engine.cas(f"sprag/shop/{name}", None, rubbish).value
        for name in ("sharded/carts/nodes/evil", "sharded/carts/nodes/a/b", "topics/x", "//", "é"):
            assert nodes.engine.cas(f"sprag/shop/{name}", None, rubbish).value
        for topic in ("broadcast", "asks"):
            nodes.engine.publish(f"sprag/shop/topics/{topic}", rubbish)
        with first, second:
            clock.advance(4 * TTL)
            if len(rubbish) > 60_000:  # with what we have to add it is too large
                assert "bytes in one value" in status_of(first)
            else:
                assert (first.service("billing").lease is None) != (
                    second.service("billing").lease is None
                )
                assert first.service("carts").owner(1).node is not None
            request = Request("GET", "/v1/nodes", {}, by=0)
            told: Any = routes.answer(desk_of(first), request, bool).body
            assert {"node-1", "node-2"} <= {each["name"] for each in told["nodes"]}
            first.broadcast("hello", 1)
            clock.advance(1)
            assert tree_of(first).cluster.sent == 1


@pytest.mark.parametrize("rubbish", [*RUBBISH, NESTED.replace(b"[", b'{"a":').replace(b"]", b"}")])
def test_whatever_is_read_can_be_written_again(rubbish: bytes) -> None:
    row = row_of(rubbish)
    again = row_of(row.taken("me", "here", 5).as_bytes())
    assert (again.owner, again.epoch) == ("me", max(row.epoch + 1, 5))
    assert record_of(record_of(rubbish).renewed(7).as_bytes()).beat == 7
    assert "x" not in kept_in(NESTED)


def test_of_a_hundred_that_have_given_up_the_row_has_room_for_what_they_say() -> None:
    row = Row()
    for number in range(100):
        row = row.given_up(f"{number:016}", "x" * 10_000, was_well=False)
    assert len(row.as_bytes()) < memory.LARGEST / 2


def test_who_claims_leaves_a_way_to_the_engine_for_the_lease(clock: VirtualClock) -> None:
    app = make_app()
    with as_nodes(app) as nodes, app:
        clock.advance(TTL)
        room = tree_of(app).cluster.room
        assert isinstance(room, BoundedSemaphore)
        while room.locked() is False:
            room.acquire()
        clock.advance(3 * TTL)
        keeper = tree_of(app).cluster.keeper
        assert keeper.why_not() == ""  # the lease waits for no claim
        for _ in range(6):
            room.release()
        assert nodes.of(app) is not None


@pytest.mark.parametrize("url", ["redis://[::1", "redis//db", "", "//db", 3])
def test_a_url_that_is_none_is_refused_at_once(url: Any) -> None:
    with pytest.raises(BadValue, match="where the engine is"):
        Cluster(url)


def test_a_start_without_the_engine_says_where_it_should_be(clock: VirtualClock) -> None:
    app = make_app()
    with as_nodes(app) as nodes:
        nodes.of(app).refuse()
        with pytest.raises(Exception, match=r"the engine at .* is away") as caught:
            app.start()
    cause = caught.value.__cause__
    assert isinstance(cause, EngineAway)
    assert not cause.engine.startswith("sprag/")
