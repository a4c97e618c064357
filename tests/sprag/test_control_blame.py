"""``/v1/blame``: where the time of a start went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from controlled import aside, ask, check, served
from scripted import crash, spawn
from sprag import App, Service, Supervisor
from sprag.control.start_times import MOST, Start, StartTimes, critical, own_seconds
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from pathlib import Path

    from sprag.testing import VirtualClock


class Takes(Service):
    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self.seconds = seconds

    def on_start(self) -> None:
        gevent.sleep(self.seconds)


def timed(clock: VirtualClock, top: Service, seconds: float = 60.0) -> StartTimes:
    times = StartTimes(top)
    tree_of(top).observers.append(times)
    starting = spawn(top.start)
    clock.advance(seconds)
    starting.get()
    return times


def told(times: StartTimes) -> dict[str, tuple[float, float, bool]]:
    """Return the seconds of each, those of its own, and whether it is on the critical path."""
    own = own_seconds(times.starts)
    marked = set[Start]() if times.whole is None else critical(times.starts, times.whole)
    return {
        each.path: (round(each.seconds, 3), round(own[each], 3), each in marked)
        for each in times.starts
    }


def test_one_after_another_all_are_on_the_path_and_a_parent_s_time_is_its_children_s(
    clock: VirtualClock,
) -> None:
    fleet = Supervisor([Takes("b", 2), Takes("c", 3)], name="fleet")
    top = Supervisor([Takes("a", 1), fleet], name="top")
    assert told(timed(clock, top)) == {
        "top": (6, 0, True),
        "top/a": (1, 1, True),
        "top/fleet": (5, 0, True),
        "top/fleet/b": (2, 2, True),
        "top/fleet/c": (3, 3, True),
    }
    top.stop()


def test_side_by_side_the_path_goes_back_from_who_was_up_last(clock: VirtualClock) -> None:
    a, b, c = Takes("a", 1), Takes("b", 4), Takes("c", 5)
    children = [(a, {"needs": ()}), (b, {"needs": ()}), (c, {"needs": {"a": "started"}})]
    top = Supervisor(children, name="top")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert told(timed(clock, top)) == {
        "top": (6, 0, True),
        "top/a": (1, 1, True),
        "top/b": (4, 4, False),
        "top/c": (5, 5, True),
    }
    top.stop()


def test_what_starts_once_the_app_is_up_is_not_told(clock: VirtualClock) -> None:
    top = Supervisor([a := Takes("a", 1)], name="top")
    times = timed(clock, top)
    observers = tree_of(top).observers
    assert times not in observers
    crash(a)
    clock.advance(5)
    spawn(top.adopt, Takes("later", 1))
    clock.advance(5)
    assert set(told(times)) == {"top", "top/a"}
    top.stop()


def test_one_that_comes_up_after_the_app_because_it_is_retried_is_not_told(
    clock: VirtualClock,
) -> None:
    class Fails(Takes, retry_start=True):
        tries = 0

        def on_start(self) -> None:
            super().on_start()
            Fails.tries += 1
            if Fails.tries == 1:
                raise ConnectionError

    top = Supervisor([Fails("a", 1), Takes("b", 2)], name="top")
    times = timed(clock, top)
    assert set(told(times)) == {"top", "top/b"}
    top.stop()


def test_the_longest_are_kept_and_the_others_counted(clock: VirtualClock) -> None:
    quick: list[Service] = [Takes(f"quick{number}", 0.0) for number in range(5)]
    slow: list[Service] = [Takes(f"slow{number}", 0.01 + number / 1e6) for number in range(1010)]
    top = Supervisor([*quick, *slow], name="top")
    times = timed(clock, top)
    assert (len(times.starts), times.left_out) == (MOST + 1, 15)
    assert "top/slow9" not in told(times)
    assert "top/slow10" in told(times)
    top.stop()


def test_gaps_and_children_that_overlap_are_a_parent_s_own_once() -> None:
    top, a, b = Start(10, 0, "t", 1), Start(4, 1, "t/a", 1), Start(4, 3, "t/b", 1)
    again = Start(1, 8, "t/a", 2)
    assert own_seconds([top, a, b, again])[top] == pytest.approx(3.0)
    assert critical([top, a, b, again], top) == {top, again, b}


def test_the_answer_keeps_to_the_schema(tmp_path: Path) -> None:
    app = App(name="shop", providers={"a": Takes("a", 0.02), "b": Service()})

    def get(path: Path) -> Any:
        status, answer = aside(ask, path, "GET", "/v1/blame")
        assert status == 200
        check("blame", answer)
        return answer

    with served(app, tmp_path) as path:
        answer = get(path)
        assert answer["up"] is True
        assert answer["seconds"] >= 0.02
        assert [(each["path"], each["critical"]) for each in answer["starts"]] == [
            ("shop", True),
            ("shop/a", True),
        ]
        assert answer["starts"][0]["began"] == 0
        assert answer["more"] == 1


def test_before_the_app_is_up_it_tells_of_those_that_are(tmp_path: Path) -> None:
    found: list[Any] = []

    class Asks(Service):
        def on_start(self) -> None:
            found.append(aside(ask, next(tmp_path.rglob("*.sock")), "GET", "/v1/blame")[1])

    with served(App(name="shop", providers={"a": Takes("a", 0.02), "b": Asks()}), tmp_path):
        (answer,) = found
        check("blame", answer)
        assert (answer["up"], answer["seconds"]) == (False, None)
        assert [(each["path"], each["critical"]) for each in answer["starts"]] == [
            ("shop/a", False)
        ]
