"""What supervisors have decided, of a whole app: asked for, and in the stream of its events."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest

from controlled import check
from sprag import Backoff, DynamicSupervisor, Service, Supervisor
from sprag.control import decisions, events, forwarding, gathering, steps
from sprag.control.desk import Desk
from sprag.control.http import Refused, Request
from sprag.control.routes import answer
from sprag_supervisor import Lifecycle
from sprag_supervisor.facts import memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")

TEN_SECONDS = Backoff(initial=10.0, factor=1.0, jitter=0.0)


class Idle(Service):
    pass


class Fails(Service):
    def on_start(self) -> None:
        self.timeout(self.boom, 1)

    def boom(self) -> None:
        raise ValueError("x")


def told(root: Supervisor, target: str = "/v1/decisions") -> dict[str, Any]:
    path, _, query = target.partition("?")
    given = dict(pair.split("=") for pair in query.split("&")) if query else {}
    body = cast("dict[str, Any]", answer(Desk(root), Request("GET", path, given), bool).body)
    check("decisions", json.loads(json.dumps(body)))
    return body


def test_decisions_of_all_supervisors_are_told_with_numbers_that_rise(clock: VirtualClock) -> None:
    below = Supervisor(children=[(Fails(), {"name": "a"})], name="below", max_restarts=9)
    with Supervisor(children=[below, (Fails(), {"name": "b"})], name="top", max_restarts=9) as top:
        clock.advance(2.5)
        found = told(top)
        assert [each["seq"] for each in found["decisions"]] == [1, 2, 3, 4]
        assert {each["path"] for each in found["decisions"]} == {"top/below/a", "top/b"}
        assert (found["first"], found["last"], found["count"]) == (1, 4, 4)
        first = found["decisions"][0]
        assert first["kind"] == "crashed"
        assert first["error"]["message"] == "x"
        assert first["action"] == "restart"
        assert first["with"] == []
        assert first["limit"] == {"used": 1, "of": 9, "window": 5.0}
        assert first["rule"] == {
            "restart": "permanent",
            "strategy": "one_for_one",
            "on_failure": None,
            "backoff": None,
        }
        assert [each["seq"] for each in told(top, "/v1/decisions?since=3")["decisions"]] == [4]
        assert [each["seq"] for each in told(top, "/v1/decisions?limit=1")["decisions"]] == [4]
        assert told(top, "/v1/decisions?since=4")["decisions"] == []


def test_those_of_one_supervisor_are_told_and_those_about_it(clock: VirtualClock) -> None:
    below = Supervisor(children=[(Fails(), {"name": "a"})], name="below", max_restarts=0)
    children: list[Any] = [below, (Fails(), {"name": "b", "restart": "temporary"})]
    with Supervisor(children=children, name="top") as top:
        clock.advance(1.5)
        assert [
            (each["path"], each["action"])
            for each in told(top, "/v1/decisions?supervisor=below")["decisions"]
        ] == [("top/below/a", "give_up"), ("top/below", "restart")]
        # Who has left the tree is known as long as somebody has decided about it.
        assert told(top, "/v1/decisions/b")["decisions"][0]["action"] == "keep"
        with pytest.raises(Refused, match="no service 'nobody'"):
            told(top, "/v1/decisions/nobody")


def test_the_next_try_is_told_until_it_is_made_and_who_waits_for_it(clock: VirtualClock) -> None:
    children: list[Any] = [
        (Fails(), {"name": "a", "backoff": TEN_SECONDS}),
        (Idle(), {"name": "b"}),
    ]
    with Supervisor(children=children, strategy="one_for_all", name="top") as top:
        clock.advance(4)
        (decision,) = told(top)["decisions"]
        assert decision["action"] == "back_off"
        assert decision["delay"] == 10.0
        assert decision["next_try"] == 7.0
        assert decision["with"] == ["top/b"]
        assert decision["with_count"] == 1
        assert decision["rule"]["backoff"]["initial"] == 10.0
        clock.advance(7.5)
        (decision,) = told(top)["decisions"]
        assert decision["next_try"] is None


def test_what_on_failure_has_said_is_part_of_the_rule(clock: VirtualClock) -> None:
    child = Fails(), {"name": "a", "on_failure": {ValueError: TEN_SECONDS}}
    with Supervisor(children=[child], name="top", max_restarts=float("inf")) as top:
        clock.advance(1.5)
        (decision,) = told(top)["decisions"]
        assert decision["rule"]["on_failure"] == "Backoff(10, maximum=30)"
        assert decision["rule"]["backoff"]["initial"] == 10.0
        assert decision["limit"] == {"used": 1, "of": None, "window": 5.0}


def test_numbers_go_on_when_the_oldest_are_forgotten(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_KEPT_RULINGS", 3)
    monkeypatch.setattr(memory, "_BYTES_OF_RULINGS", 1500)
    with Supervisor(children=[Fails()], name="top", max_restarts=99) as top:
        clock.advance(5.5)
        found = told(top)
        assert [each["seq"] for each in found["decisions"]] == [3, 4, 5]
        assert (found["first"], found["last"]) == (3, 5)


@pytest.mark.parametrize("query", ["since=x", "since=-1", "limit=1001"])
def test_a_number_that_is_none_is_refused(query: str) -> None:
    with (
        Supervisor(name="top") as top,
        pytest.raises(Refused, match="is not accepted: use a whole number"),
    ):
        told(top, f"/v1/decisions?{query}")


def test_of_a_parent_and_its_workers_the_latest_come_last() -> None:
    mine = {"decisions": [{"at": "2", "seq": 1}], "count": 1, "last": 1}
    other = {"decisions": [{"at": "1", "seq": 9}, {"at": "3", "seq": 10}], "count": 2}
    found = decisions.merged(mine, [other], 2)
    assert [each["at"] for each in found["decisions"]] == ["2", "3"]
    assert found["count"] == 3


def _itself(child: object) -> object:
    return child


def test_a_parent_asks_its_workers_too_but_not_for_what_came_since_a_number(
    monkeypatch: pytest.MonkeyPatch, clock: VirtualClock
) -> None:
    asked: list[dict[str, str]] = []

    def ask_all(_beginning: str, _desk: Desk, request: Request, _more: Any) -> Any:
        asked.append(dict(request.query))
        others: list[dict[str, Any]] = [
            {"decisions": [{"at": "9999", "path": "top/worker-1/a"}], "count": 1},
            {"restarts_per_minute": [7], "lives": {"top/worker-1/a": []}, "more": 0},
        ]
        return lambda: [others["history" in request.path]]

    monkeypatch.setattr(gathering, "slot_of", _itself)
    monkeypatch.setattr(gathering, "_asked", ask_all)
    with Supervisor(children=[(Fails(), {"name": "b"})], name="top") as top:
        clock.advance(1.5)
        desk = Desk(top)

        def whole(target: str, **query: str) -> Any:
            return answer(desk, Request("GET", target, query), bool).body

        found = whole("/v1/decisions", limit="2")
        assert [each["path"] for each in found["decisions"]] == ["top/b", "top/worker-1/a"]
        assert found["count"] == 2
        assert whole("/v1/decisions/top")["count"] == 2
        assert whole("/v1/decisions", since="0")["count"] == 1
        assert whole("/v1/decisions", supervisor="b")["count"] == 1
        assert whole("/v1/history", seconds="60")["restarts_per_minute"] == [8]
        assert len(asked) == 3


def test_a_worker_is_asked_as_soon_as_it_listens_ready_or_not(tmp_path: Path) -> None:
    place = tmp_path / "1.sock"
    slot: Any = SimpleNamespace(control=place)
    assert not forwarding.listens(slot)
    place.touch()
    assert forwarding.listens(slot)
    slot.control = None
    assert not forwarding.listens(slot)


# -- in the stream of events ---------------------------------------------------------------


class Stream:
    """What one client of the events is told, taken as far as it goes without waiting."""

    def __init__(self, root: Supervisor, *, everything: bool = True) -> None:
        query = {"all": "1"} if everything else {}
        body = events.answer(Desk(root), Request("GET", "/v1/events", query), bool).body
        self._lines: list[dict[str, Any]] = []
        self._body = cast("Iterator[bytes]", body)
        self._reader: Any = gevent.spawn(self._read)
        gevent.sleep(0)

    def _read(self) -> None:
        for piece in self._body:
            for line in piece.splitlines():
                event = json.loads(line)
                check("event", event)
                self._lines.append(event)

    def take(self) -> list[dict[str, Any]]:
        taken, self._lines = self._lines, []
        return [each for each in taken if each["event"] not in ("snapshot", "live")]

    def close(self) -> None:
        self._reader.kill()


@pytest.fixture
def top() -> Iterator[Supervisor]:
    with Supervisor(name="top", max_restarts=99) as top:
        yield top


def test_a_decision_is_told_between_the_crash_and_the_restart(
    clock: VirtualClock, top: Supervisor
) -> None:
    stream = Stream(top)
    top.start_child(Fails(), name="a", backoff=TEN_SECONDS)
    clock.advance(2)
    found = stream.take()
    assert [each["event"] for each in found] == ["started", "crashed", "ruling"]
    ruling = found[-1]
    assert (ruling["path"], ruling["action"], ruling["seq"]) == ("top/a", "back_off", 1)
    assert ruling["next_try"] == 10.0
    assert found[1]["down_because"] == {"by": "crashed", "with": None}
    assert found[1]["state"] == "restarting"
    clock.advance(9.5)
    assert [each["event"] for each in stream.take()] == ["restarted"]
    stream.close()
    assert top._tree_ is not None
    assert "enter" not in vars(top._tree_.ledger)  # nobody pays for it any more


def test_who_asks_for_no_more_is_told_no_more(clock: VirtualClock, top: Supervisor) -> None:
    stream = Stream(top, everything=False)
    top.start_child(Fails(), name="a", restart="temporary")
    clock.advance(2)
    assert [each["event"] for each in stream.take()] == ["started", "crashed"]
    stream.close()


class Slow(Service, shutdown=20.0):
    def on_start(self) -> None:
        gevent.sleep(5)

    def on_stop(self) -> None:
        gevent.sleep(5)


def test_who_takes_long_to_start_and_to_stop_is_told_once_each(
    clock: VirtualClock, top: Supervisor
) -> None:
    stream = Stream(top)
    slow = Slow()
    gevent.spawn(top.start_child, slow, name="slow")
    clock.advance(1)
    (starting,) = stream.take()
    assert (starting["event"], starting["path"]) == ("starting", "top/slow")
    clock.advance(5)
    assert [each["event"] for each in stream.take()] == ["started"]
    gevent.spawn(slow.stop)
    clock.advance(1)
    (stopping,) = stream.take()
    assert (stopping["event"], stopping["path"]) == ("stopping", "top/slow")
    clock.advance(5)
    (stopped,) = stream.take()
    assert stopped["event"] == "stopped"
    assert stopped["down_because"] == {"by": "code", "with": None}
    stream.close()


def test_who_leaves_the_tree_is_told_and_who_stays_is_not(
    clock: VirtualClock, top: Supervisor
) -> None:
    pool = DynamicSupervisor()
    top.start_child(pool, name="pool")
    kept = top.start_child(Idle(), name="kept")
    kept.stop()
    stream = Stream(top)
    pool.start_child(Fails(), name="a", restart="temporary")
    clock.advance(2)
    assert [each["event"] for each in stream.take()] == ["started", "crashed", "ruling", "left"]
    pool.start_child(Idle(), name="b")
    pool.stop()
    clock.advance(1)
    found = [(each["event"], each["path"]) for each in stream.take()]
    assert found[-1] == ("left", "top/pool/b")
    assert ("left", "top/pool") not in found
    top.delete_child("kept")
    clock.advance(1)
    assert [(each["event"], each["path"]) for each in stream.take()] == [("left", "top/kept")]
    stream.close()


def test_of_more_than_can_be_watched_the_oldest_is_looked_at_first(
    monkeypatch: pytest.MonkeyPatch, top: Supervisor
) -> None:
    monkeypatch.setattr(steps, "MOST", 1)
    watched = steps.Steps(top)

    def stopped(name: str) -> list[dict[str, Any]]:
        said = "stopped", f"top/{name}", 1, "shutdown", "stopped", None, None, 0, 0.0
        return list(watched.note(Lifecycle(*said)))

    assert stopped("a") == []
    assert [each["path"] for each in stopped("b")] == ["top/a"]
