"""A stop's time is shared out among those whose steps are still to come, and told afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import Idle, Journal, Scripted, spawn
from sprag import DynamicSupervisor, Service, Supervisor
from sprag_supervisor import Exit
from sprag_supervisor.life import sharing

if TYPE_CHECKING:
    from sprag import StopReport
    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("no_bugs")

HANGS = 1e6


def slow(name: str, takes: float = HANGS, **policy: Any) -> Scripted:
    return Scripted(name, Journal(), stop_takes=takes, **policy)


def took(report: StopReport) -> dict[str, Any]:
    return {path.rpartition("/")[2]: pytest.approx(seconds) for path, seconds in report.slowest}


def test_each_has_its_part_of_a_time_that_is_too_short_for_all(clock: VirtualClock) -> None:
    children = [slow("a", shutdown=2.0), slow("b", shutdown=6.0), slow("c", shutdown=4.0)]
    with Supervisor(children) as top:
        report = top.stop(6.0)
    assert took(report) == {"a": 1.0, "b": 3.0, "c": 2.0}
    assert report.seconds == pytest.approx(6.0)
    assert report.killed == 3


def test_what_one_does_not_use_goes_to_those_after_it(clock: VirtualClock) -> None:
    with Supervisor([slow("a"), slow("b"), slow("c", 0.0), slow("d", 1.0)]) as top:
        report = top.stop(9.0)
    assert took(report) == {"a": 4.0, "b": 4.0, "d": 1.0}


def test_who_has_enough_time_keeps_its_own_limit(clock: VirtualClock) -> None:
    with Supervisor([slow("a"), slow("b")]) as top:
        assert took(top.stop(10.0)) == {"a": 5.0, "b": 5.0}


def test_infinity_asks_for_all_that_is_left(clock: VirtualClock) -> None:
    with Supervisor([slow("a", shutdown="infinity"), slow("b", shutdown=5.0)]) as top:
        assert took(top.stop(10.0)) == {"a": pytest.approx(20 / 3), "b": pytest.approx(10 / 3)}


def test_a_service_shares_with_all_that_come_after_it_at_whatever_depth(
    clock: VirtualClock,
) -> None:
    below = Supervisor([slow("b"), Supervisor([slow("c")], name="deep")], name="below")
    with Supervisor([slow("a"), below]) as top:
        assert took(top.stop(9.0)) == {"a": 3.0, "b": 3.0, "c": 3.0}


def test_all_that_lies_below_those_that_come_after_it_counts(clock: VirtualClock) -> None:
    below = Supervisor([slow("b"), Supervisor([slow("c")], name="deep")], name="below")
    with Supervisor([below, slow("a")]) as top:
        assert took(top.stop(9.0)) == {"a": 3.0, "b": 3.0, "c": 3.0}


def test_children_that_end_together_count_once_with_the_longest(clock: VirtualClock) -> None:
    pool = DynamicSupervisor(name="pool")
    with Supervisor([slow("a"), pool]) as top:
        for name, seconds in (("b", 5.0), ("c", 5.0), ("d", 1.0)):
            pool.start_child(slow(name, shutdown=seconds), name=name)
        assert took(top.stop(5.0)) == {
            "a": 2.5,
            "b": 2.5,
            "c": 2.5,
            "d": pytest.approx(5 / 6),
        }


def test_who_cannot_block_asks_for_nothing(clock: VirtualClock) -> None:
    idle = [Idle(f"idle {number}") for number in range(50)]
    with Supervisor([*idle, slow("a")]) as top:
        assert took(top.stop(4.0)) == {"a": 4.0}


def test_children_that_end_by_their_needs_count_as_long_as_the_longest_way(
    clock: VirtualClock,
) -> None:
    needs: list[Any] = [(), (), ("b",)]
    children: list[Any] = [
        (slow(name), {"needs": those}) for name, those in zip("abc", needs, strict=True)
    ]
    with Supervisor([Supervisor(children, name="below"), slow("z")]) as top:
        report = top.stop(7.5)  # for z, and then for c and b, with a beside them
        assert took(report) == {"z": 2.5, "c": 2.5, "b": 2.5, "a": 5.0}


def test_who_is_down_already_asks_for_nothing(clock: VirtualClock) -> None:
    with Supervisor([slow("down", 0.0), slow("a"), slow("b")]) as top:
        top.terminate_child("down")
        assert took(top.stop(8.0)) == {"a": 4.0, "b": 4.0}


def test_the_own_steps_of_those_above_come_after_it_as_well(clock: VirtualClock) -> None:
    def adopts(service: Scripted) -> None:
        service.adopt(slow("below"))

    with Supervisor([slow("above", in_on_start=adopts)]) as top:
        assert took(top.stop(5.0)) == {"below": 2.5, "above": 2.5}


def test_for_the_end_of_who_takes_no_time_nobody_is_counted(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    of_all = sharing._of_all

    def noted(child: Any, infinity: float) -> float:
        asked.append(child)
        return of_all(child, infinity)

    monkeypatch.setattr(sharing, "_of_all", noted)
    groups = [Supervisor([Idle("idle")], name=f"group {number}") for number in range(3)]
    with Supervisor(groups) as top:
        top.stop(4.0)
    assert asked == []
    with Supervisor([*groups, slow("a", 1.0)]) as top:
        assert took(top.stop(4.0)) == {"a": 1.0}
    assert asked == groups


def test_greenlets_that_do_not_die_have_their_part_only(clock: VirtualClock) -> None:
    deaf = Scripted("deaf", Journal(), works=50.0, deaf=True)
    with Supervisor([slow("a"), deaf]) as top:
        gevent.sleep(0)
        report = top.stop(4.0)
    assert report.stragglers == 1
    assert took(report) == {"a": pytest.approx(1.9, abs=0.05), "deaf": pytest.approx(2.1, abs=0.05)}
    clock.advance(50.0)


def test_what_draining_has_used_is_asked_for_no_more(clock: VirtualClock) -> None:
    a = Scripted("a", Journal(), drain_takes=3.0, stop_takes=HANGS, shutdown=5.0)
    with Supervisor([a, slow("b", shutdown=4.0)]) as top:
        report = top.stop(9.0)
    assert took(report) == {"a": 5.0, "b": 4.0}


def test_who_is_stopped_within_a_nearer_time_shares_that_with_its_own(clock: VirtualClock) -> None:
    below = Supervisor([slow("b"), slow("c")], name="below")
    with Supervisor([slow("a"), below, slow("z", 1.0)]) as top:
        spawn(top.stop, 30.0)
        clock.settle()
        report = below.stop(2.0)
        assert took(report) == {"b": 1.0, "c": 1.0}


def test_a_stop_without_a_limit_shares_nothing(clock: VirtualClock) -> None:
    with Supervisor([slow("a"), slow("b", shutdown=7.0)]) as top:
        assert took(top.stop()) == {"a": 5.0, "b": 7.0}


def test_a_stop_without_time_gives_nobody_any(clock: VirtualClock) -> None:
    with Supervisor([slow("a"), slow("b")]) as top:
        report = top.stop(0)
    assert report.killed == 2
    assert report.slowest == ()


def test_a_report_names_the_slowest_hundred(clock: VirtualClock) -> None:
    with DynamicSupervisor() as top:
        for number in range(300):
            top.start_child(slow(str(number), number / 100), name=str(number))
        report = top.stop()
    assert len(report.slowest) == 100
    times = took(report)
    assert next(iter(times)) == "299"
    assert list(times)[-1] == "200"
    assert times["299"] == 2.99


def test_who_takes_no_time_is_not_named(clock: VirtualClock) -> None:
    class Polite(Service):
        def on_stop(self) -> None:
            pass

    with Supervisor([Polite()]) as top:
        assert top.stop().slowest == ()
    assert isinstance(top.wait(), Exit)
