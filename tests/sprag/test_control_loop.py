"""How late the loop is, and who holds it: told by a native thread, also while it is held."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest

from controlled import Connection, aside, ask, check, served
from sprag import Service, Supervisor
from sprag._holder import places_of
from sprag.control import loop_watch
from sprag.control.desk import Desk
from sprag.control.http import Refused, Request
from sprag.control.loop import answer
from sprag.control.loop_watch import PERIOD, Loop, Reader

if TYPE_CHECKING:
    from pathlib import Path


class Hog(Service):
    """Holds the loop for as long as it is told to."""

    def on_start(self) -> None:
        self.listen("hold", self.hold)

    def hold(self, until: Any) -> None:
        while not until():
            pass


def test_a_loop_that_turns_has_no_lag_and_one_that_does_not_has_a_holder() -> None:
    loop = Loop(100.0)
    frame = sys._getframe()
    loop.turns(100.0 + PERIOD)
    loop.look(100.06, 1000.0, frame)
    assert loop.told(100.06, 1000.0)["lag"] == 0.0
    assert loop.told(100.06, 1000.0)["held"] is None
    loop.look(100.5, 1000.5, frame)
    loop.look(101.05, 1001.0, frame)
    told = loop.told(101.05, 1001.0)
    assert (told["lag"], told["worst"], told["busy"]) == (0.95, 0.95, 1.0)
    assert told["held"]["seconds"] == 1.0
    assert told["held"]["at"] == "1970-01-01T00:16:40.050+00:00"
    assert told["held"]["path"] is None
    last = told["held"]["stack"][-1]
    assert last["function"] == frame.f_code.co_name
    assert last["source"] == "loop.look(101.05, 1001.0, frame)"
    assert told["held"]["line"] == f"{last['file']}:{last['line']} in {last['function']}"
    loop.turns(101.1)
    loop.look(101.12, 1001.1, None)
    told = loop.told(101.12, 1001.1)
    assert told["held"] is None
    assert told["last"]["seconds"] == 1.0
    assert (told["lag"], told["worst"], told["busy"]) == (0.0, 1.0, 0.75)
    assert told["lags"] == [0.0, 1.0]
    check("loop", {"app": "a", "pid": 1, "schema": 1, **told})
    for second in range(102, 170):
        loop.turns(float(second))
        loop.turns(second + 0.05)
    told = loop.told(169.06, 1.0)
    assert told["worst"] < 1.0  # of the last minute
    assert len(told["lags"]) == 60


def test_a_loop_at_which_nobody_has_looked_is_neither_busy_nor_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_watch, "_STATM", "/nowhere")
    told = Loop(1.0).told(1.0, 1.0)
    assert told["busy"] is None
    assert told["rss"] is None


def test_a_client_that_takes_nothing_is_given_up_and_one_that_has_gone_too() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    slow = Reader(writing, 0.0, {})
    now = time.monotonic()
    for number in range(100):
        slow.tell(now + number, {"text": "x" * 10_000})
    assert slow.is_over
    slow.close()
    slow.tell(now, {})  # what was given back is not written to
    os.close(reading)
    reading, writing = os.pipe()
    os.close(reading)
    gone = Reader(writing, 1.0, {"app": "a"})
    gone.tell(now, {})
    assert gone.is_over
    gone.close()


def test_lines_are_told_as_often_as_was_asked_for() -> None:
    reading, writing = os.pipe()
    reader = Reader(writing, 1.0, {"app": "a"})
    for now in (1.0, 1.5, 2.0, 2.1):
        reader.tell(now, {"at": now})
    assert os.read(reading, 1000).decode().splitlines() == [
        '{"app": "a", "at": 1.0}',
        '{"app": "a", "at": 2.0}',
    ]
    reader.close()
    os.close(reading)


def test_the_watch_goes_on_for_a_while_for_who_asks_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_watch, "PERIOD", 0.001)
    watch = loop_watch.LoopWatch()
    with watch.watching() as first:
        pass
    with watch.watching() as second:
        assert second is first
    monkeypatch.setattr(loop_watch, "LINGERS", 0.0)
    while watch.loop is not None:
        gevent.sleep(0.001)
    watch.close()  # harmless
    with watch.watching() as third:
        assert third is not first
    watch.close()


def test_a_frame_amid_an_instruction_of_no_line_is_at_the_first_of_its_code() -> None:
    code = test_who_has_no_connection_cannot_follow.__code__
    frame: Any = SimpleNamespace(f_code=code, f_lineno=None, f_back=None)
    (place,) = places_of(frame)
    assert place.line == code.co_firstlineno


def test_a_look_that_fails_is_left_out_and_the_next_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_watch, "PERIOD", 0.001)
    watch, looks = loop_watch.LoopWatch(), iter([ZeroDivisionError(), None, None])
    seen: list[object] = []

    def look(*_: object) -> None:
        if error := next(looks, None):
            raise error
        seen.append(1)

    with watch.watching() as loop:
        monkeypatch.setattr(loop, "look", look)
        while not seen:
            gevent.sleep(0.001)
    watch.close()


def test_who_has_no_connection_cannot_follow() -> None:
    with Supervisor(name="top") as top, pytest.raises(Refused, match="over the control socket"):
        answer(Desk(top), Request("GET", "/v1/loop", {"follow": "1"}), bool)


def test_while_a_service_holds_the_loop_it_is_told_who_and_where(tmp_path: Path) -> None:
    """In real time: what is shown is that a thread tells of it."""
    top = Supervisor(children=[(Hog(), {"name": "hog"})], name="top")
    seen: list[dict[str, Any]] = []

    def follow(path: Path) -> None:
        with closing(Connection(path)) as connection:
            connection.request("GET", "/v1/loop?follow=1&seconds=0.1")
            response = connection.getresponse()
            while not (seen and seen[-1]["held"]):
                seen.append(json.loads(response.readline()))

    with served(top, tmp_path) as path:
        status, told = aside(ask, path, "GET", "/v1/loop?seconds=0.1")
        assert status == 200
        check("loop", told)
        assert told["held"] is None
        follower = cast("Any", gevent.spawn(aside, follow, path))
        while not seen:
            gevent.sleep(0.02)
        until = time.monotonic() + 10
        top.emit("hold", lambda: seen[-1]["held"] or time.monotonic() > until)
        follower.get()
        held = cast("dict[str, Any]", seen[-1]["held"])
        check("loop", seen[-1])
        assert held["path"] == "top/hog"
        assert "test_control_loop.py" in held["line"]
        gevent.sleep(0.01)
