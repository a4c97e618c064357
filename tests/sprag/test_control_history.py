"""How services have fared, from before anybody looked; and what else is followed or narrowed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest

from controlled import check
from sprag import Backoff, Service, Supervisor
from sprag.control import history
from sprag.control.desk import Desk
from sprag.control.history import Mark, Now, lifeline
from sprag.control.http import Answer, Refused, Request
from sprag.control.log_ring import Line
from sprag.control.routes import answer
from sprag.control.top import followed
from sprag_supervisor import State
from sprag_supervisor.facts import memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")

TEN_SECONDS = Backoff(initial=10.0, factor=1.0, jitter=0.0)


class Idle(Service):
    pass


class Fails(Service):
    """Crashes after twenty seconds."""

    def on_start(self) -> None:
        self.timeout(self.boom, 20)

    def boom(self) -> None:
        raise ValueError("x")


def request(target: str) -> Request:
    path, _, query = target.partition("?")
    return Request("GET", path, dict(pair.split("=") for pair in query.split("&") if pair))


def told(root: Supervisor, target: str = "/v1/history") -> dict[str, Any]:
    desk = Desk(root)
    desk.opened_at = root.snapshot().started_at or 0.0
    body = cast("dict[str, Any]", answer(desk, request(target), bool).body)
    check("history", json.loads(json.dumps(body)))
    return body


def test_lives_are_told_from_what_was_decided_and_only_of_those_to_whom_something_happened(
    clock: VirtualClock,
) -> None:
    children: list[Any] = [
        (Fails(), {"name": "a", "backoff": TEN_SECONDS}),
        (Idle(), {"name": "b"}),
    ]
    group = Supervisor(children=children, strategy="one_for_all", name="group")
    with Supervisor(children=[group, Idle()], name="top") as top:
        clock.advance(25)
        assert told(top, "/v1/history?seconds=60")["lives"] == {
            "top/group/a": [[35, 55, "running", "crashed"], [55, None, "restarting", None]],
            "top/group/b": [[35, 55, "running", "group"], [55, None, "restarting", None]],
        }
        clock.advance(10)
        found = told(top, "/v1/history?seconds=60")
        assert found["lives"]["top/group/a"] == [
            [25, 45, "running", "crashed"],
            [45, 55, "restarting", None],
            [55, None, "running", None],
        ]
        assert found["restarts_per_minute"] == [1]
        assert found["complete_from"] is None
        assert told(top, "/v1/history?seconds=90")["restarts_per_minute"] == [0, 1]
        assert told(top, "/v1/history?seconds=10")["lives"]["top/group/a"] == [
            [5.0, None, "running", None]
        ]
        assert told(top, "/v1/history?path=Idle")["lives"] == {}


def test_a_stop_and_a_start_by_hand_are_seen_as_far_as_the_service_tells(
    clock: VirtualClock,
) -> None:
    children = [(Idle(), {"name": name}) for name in "ab"]
    with Supervisor(children=children, name="top") as top:
        clock.advance(100)
        for each in (top.service("a"), top.service("b")):
            each.stop()
        clock.advance(10)
        top.service("b").start()
        clock.advance(5)
        found = told(top, "/v1/history?seconds=60")["lives"]
        assert found["top/a"] == [[0, 45, "running", "stopped"], [45, None, "stopped", None]]
        assert found["top/b"] == [[55, None, "running", None]]


def test_what_the_ledger_has_forgotten_is_not_told_and_that_is_said(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_KEPT_RULINGS", 2)
    monkeypatch.setattr(history, "_LIVES", 3)
    with Supervisor(children=[Fails(), Idle()], name="top", strategy="one_for_all") as top:
        clock.advance(90)
        found = told(top, "/v1/history?seconds=300")
        assert found["complete_from"] is not None
        assert len(found["lives"]["top/Fails"]) == 3
        monkeypatch.setattr(history, "MOST", 1)
        assert told(top)["more"] == 1


def test_pieces_of_a_life_that_stays_down_that_has_left_and_that_somebody_has_begun_again() -> None:
    failed = [Mark(10.0, "crashed", None, 1)]
    assert lifeline(failed, 0.0, Now(State.FAILED, 10.0, "crashed", 1)) == [
        (0.0, 10.0, "running", "crashed"),
        (10.0, None, "failed", None),
    ]
    assert lifeline(failed, 0.0, None) == [(0.0, 10.0, "running", "crashed")]
    assert lifeline(failed, 0.0, Now(State.RUNNING, 30.0, None, 2))[1:] == [
        (10.0, 30.0, "unknown", None),
        (30.0, None, "running", None),
    ]
    slow = [Mark(10.0, "crashed", 12.0, 1)]
    assert lifeline(slow, 0.0, Now(State.RUNNING, 17.0, None, 2))[1:] == [
        (10.0, 12.0, "restarting", None),
        (12.0, 17.0, "starting", None),
        (17.0, None, "running", None),
    ]
    assert lifeline(slow, 0.0, Now(State.STARTING, None, None, 2))[1:] == [
        (10.0, None, "starting", None)
    ]
    assert lifeline(slow, 0.0, Now(State.STOPPED, 20.0, "stopped", 2))[2:] == [
        (12.0, 20.0, "running", "stopped"),
        (20.0, None, "stopped", None),
    ]


def test_of_a_parent_and_its_workers_lives_are_put_together_and_restarts_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine: dict[str, Any] = {"restarts_per_minute": [1, 0], "lives": {"a": []}, "more": 0}
    other: dict[str, Any] = {"restarts_per_minute": [1, 2], "lives": {"b": [], "c": []}, "more": 1}
    monkeypatch.setattr(history, "MOST", 2)
    assert history.merged(mine, [other]) == {
        "restarts_per_minute": [2, 2],
        "lives": {"a": [], "b": []},
        "more": 2,
    }


def test_top_is_told_again_and_again_until_the_app_ends_or_the_client_leaves() -> None:
    with Supervisor(children=[Idle()], name="top") as top:
        desk = Desk(top)
        told = answer(desk, request("/v1/top?seconds=1&follow=1"), bool)
        assert told.is_stream
        lines = cast("Iterator[bytes]", told.body)
        for _ in range(3):
            line = json.loads(next(lines))
            check("top", line)
            assert line["seconds"] >= 1.0
            assert line["greenlets"] == 0
        for farewell in desk.farewells:
            farewell()
        assert list(lines) == []
        assert not desk.farewells
        gone = followed(desk, lambda: Answer([b'{"a": 1}', b"\n"]), lambda: True)
        assert list(cast("Iterator[bytes]", gone.body)) == [b'{"a": 1}\n']


def test_logs_are_narrowed_to_a_level_and_to_a_path_in_the_query() -> None:
    with Supervisor(children=[(Idle(), {"name": "a"})], name="top") as top:
        desk = Desk(top)
        for number, (level, service) in enumerate(
            [("info", "top/a"), ("warning", "top/a"), ("error", "top"), ("notice", "top")]
        ):
            line = Line(float(number), level, "sprag", f"{number}", service, 1, {}, 400)
            desk.ring._lines.append(line)

        def events(target: str) -> list[str]:
            lines = b"".join(cast("Iterator[bytes]", answer(desk, request(target), bool).body))
            records = [json.loads(line) for line in lines.splitlines()]
            return [each["event"] for each in records if each["kind"] == "record"]

        assert events("/v1/logs?level=warning") == ["1", "2"]
        assert events("/v1/logs?path=a") == ["0", "1"]
        assert events("/v1/logs?level=info") == ["0", "1", "2", "3"]
        with pytest.raises(Refused, match="use debug, info, warning, error, critical"):
            events("/v1/logs?level=loud")
    gevent.sleep(0)
