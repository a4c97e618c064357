"""Recycling: a program that has lived long enough ends, and begins anew with its group."""

from __future__ import annotations

import logging
import signal
from itertools import chain, repeat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from scripted import spawn
from sprag import Backoff, Service, State, Supervisor
from sprag.exceptions import BadValue
from sprag.programs import Line, Port
from sprag.testing import FakeProgram
from sprag_supervisor.life import recycling

if TYPE_CHECKING:
    from sprag.testing import FakeProcess, VirtualClock

pytestmark = pytest.mark.usefixtures("no_bugs")

HOUR = 3600.0
LONGEST = HOUR * 1.1
"""Within this a life of an hour has ended."""


def aging(name: str = "web", **given: Any) -> FakeProgram:
    return FakeProgram(name, name=name, max_lifetime=HOUR, **given)


def recycled(service: Any) -> int:
    history = service._history_
    return 0 if history is None else history.recycled


def rulings(top: Any) -> list[tuple[str, str, str, int]]:
    return [
        (each.name, each.reason.value, each.decision, each.restarts) for each in top._tree_.ledger
    ]


def replicas_of(group: Any) -> list[Any]:
    return list(group._children_.values())


def process_of(replica: Any) -> FakeProcess:
    process: FakeProcess = replica._run_.child
    return process


def until_one_is_down(clock: VirtualClock, programs: list[Any]) -> Any:
    """Let time pass until one of *programs* is not ready any more; return it."""
    for _ in range(int(LONGEST) + 10):
        if lacking := [each for each in programs if not each.snapshot().is_ready]:
            assert len(lacking) == 1
            return lacking[0]
        clock.advance(1)
    raise AssertionError("all of them live on")


def in_the_midst(clock: VirtualClock, web: FakeProgram) -> FakeProcess:
    """Let time pass until *web* is being recycled, and does not end; return its process."""
    process = web.process
    process.deaf = True
    for _ in range(int(LONGEST) + 1):
        if web.snapshot().state is State.STOPPING:
            return process
        clock.advance(1)
    raise AssertionError("it lives on")


# -- the end of a life -------------------------------------------------------------------


def test_a_program_is_recycled_when_it_has_lived_long_enough_and_that_counts_nothing(
    clock: VirtualClock,
) -> None:
    web = aging()
    with Supervisor([web], name="top", max_restarts=0) as top:
        first = web.process
        clock.advance(HOUR * 0.9 - 1)
        assert web.process is first
        clock.advance(HOUR * 0.2 + 1)
        assert web.process is not first
        assert first.signals == [signal.SIGTERM]
        clock.advance(LONGEST * 3)
        assert recycled(web) >= 3
        assert web.snapshot().state is State.RUNNING
        assert web.snapshot().failures == ()
        assert set(rulings(top)) == {("web", "recycled", "restart", 0)}


def test_lives_of_programs_that_were_started_together_do_not_end_together(
    clock: VirtualClock,
) -> None:
    group = FakeProgram("web", name="web", replicas=20, max_lifetime=HOUR)
    with Supervisor([group], name="top"):
        clock.advance(HOUR)
        assert 0 < sum(recycled(each) for each in replicas_of(group)) < 20
        clock.advance(HOUR * 0.1 + 30)
        assert all(recycled(each) for each in replicas_of(group))


def test_it_has_its_time_to_stop_and_is_killed_after_that(clock: VirtualClock) -> None:
    web = aging(shutdown=10.0)
    with Supervisor([web], name="top"):
        first = web.process
        first.deaf = True
        clock.advance(LONGEST + 10)
        assert first.signals == [signal.SIGTERM, signal.SIGKILL]
        assert web.process is not first


def test_it_drains_before_as_at_any_stop(clock: VirtualClock) -> None:
    said: list[str] = []

    class Draining(FakeProgram):
        def on_drain(self) -> None:
            said.append(str(self.process.signals))

    with Supervisor([Draining("web", name="web", max_lifetime=HOUR)], name="top"):
        clock.advance(LONGEST)
        assert said == ["[]"]


def test_a_life_that_ends_in_another_way_begins_a_new_time(clock: VirtualClock) -> None:
    web = aging()
    with Supervisor([web], name="top"):
        clock.advance(HOUR * 0.8)
        web.process.exit(3)
        clock.advance(HOUR * 0.8)
        assert recycled(web) == 0
        clock.advance(HOUR * 0.4)
        assert recycled(web) == 1


def test_neither_a_backoff_nor_its_tries_are_used_up(clock: VirtualClock) -> None:
    web = aging(backoff=Backoff(60, maximum=600, jitter=0, tries=2, reset_after=HOUR * 10))
    with Supervisor([web], name="top") as top:
        web.process.exit(1)
        clock.advance(61)
        before = web.process
        clock.advance(LONGEST)
        assert web.process is not before
        assert web._history_ is not None
        assert web._history_.in_a_row == 1
        assert [each[2] for each in rulings(top)] == ["back_off", "restart"]


def test_a_transient_one_comes_back_and_a_temporary_one_ends(clock: VirtualClock) -> None:
    transient = aging("transient", restart="transient")
    temporary = aging("temporary", restart="temporary")
    with Supervisor([transient, temporary], name="top") as top:
        clock.advance(LONGEST)
        assert transient.snapshot().state is State.RUNNING
        assert [each.name for each in top.snapshot().children] == ["transient"]


def test_a_new_life_that_does_not_start_counts_as_any_failure(clock: VirtualClock) -> None:
    class Web(FakeProgram):
        def command(self) -> list[str]:
            if broken:
                raise OSError("no release there")
            return ["web"]

    broken: list[bool] = []
    web = Web("web", name="web", max_lifetime=HOUR)
    with Supervisor([web], name="top", max_restarts=2) as top:
        broken.append(True)
        clock.advance(LONGEST)
        assert top.snapshot().state is State.FAILED
        assert [each[1:3] for each in rulings(top)] == [
            ("recycled", "restart"),
            ("start_failed", "restart"),
            ("start_failed", "restart"),
            ("start_failed", "give_up"),
        ]


def test_a_root_is_recycled_by_nobody(clock: VirtualClock) -> None:
    with aging() as web:
        assert web.snapshot().owned.timers == 0
        clock.advance(LONGEST * 2)
        assert recycled(web) == 0
        assert web.snapshot().incarnation == 1


# -- its group ---------------------------------------------------------------------------


class Feeder(Service):
    pass


@pytest.mark.parametrize(
    ("strategy", "lives"),
    [
        ("one_for_one", {"before": 1, "web": 2, "after": 1}),
        ("rest_for_one", {"before": 1, "web": 2, "after": 2}),
        ("one_for_all", {"before": 2, "web": 2, "after": 2}),
    ],
)
def test_its_group_restarts_with_it_as_after_a_crash(
    clock: VirtualClock, strategy: Any, lives: dict[str, int]
) -> None:
    around = [(Feeder(), {"name": name}) for name in ("before", "after")]
    listed: list[Any] = [around[0], aging(), around[1]]
    with Supervisor(listed, name="top", strategy=strategy, max_restarts=0) as top:
        clock.advance(LONGEST)
        assert {each.name: each.incarnation for each in top.snapshot().children} == lives
        assert [each.names for each in top._tree_.ledger] == [  # type: ignore[union-attr]
            tuple(name for name, life in lives.items() if life == 2)
        ]


def test_its_end_does_not_hold_the_turn_of_its_parent(clock: VirtualClock) -> None:
    web = aging(shutdown=60.0)
    with Supervisor([web], name="top") as top:
        in_the_midst(clock, web)
        began = clock.now
        top.start_child(Service(), name="other")
        assert clock.now == began


# -- one at a time ------------------------------------------------------------------------


def test_replicas_are_recycled_one_at_a_time_each_when_the_last_is_ready_again(
    clock: VirtualClock,
) -> None:
    group = FakeProgram(
        "web", name="web", port=8000, replicas=3, max_lifetime=HOUR, ready=Port(every=1.0)
    )
    with Supervisor([group], name="top"):
        clock.advance(1)
        replicas = replicas_of(group)
        for each in replicas:
            process_of(each).complaint = "warming up"  # their next ones have it, too
        first = until_one_is_down(clock, replicas)
        for _ in range(40):
            clock.advance(60)
            assert [each for each in replicas if not each.snapshot().is_ready] == [first]
        assert not group.snapshot().is_ready
        process_of(first).complaint = None
        clock.advance(0.6)
        assert first.snapshot().is_ready
        clock.advance(1)
        second = until_one_is_down(clock, replicas)
        assert second is not first
        process_of(second).complaint = None
        clock.advance(2)
        third = until_one_is_down(clock, replicas)
        assert third not in (first, second)
        process_of(third).complaint = None
        clock.advance(2)
        assert group.snapshot().is_ready
        assert [recycled(each) for each in replicas] == [1, 1, 1]


def test_nobody_follows_one_that_does_not_come_up_again(clock: VirtualClock) -> None:
    class Replica(FakeProgram):
        def command(self) -> list[str]:
            if broken:
                raise OSError("no release there")
            return ["web"]

    broken: list[bool] = []
    group = Replica("web", name="web", replicas=3, max_lifetime=HOUR, backoff=Backoff(tries=3))
    with Supervisor([group], name="top"):
        broken.append(True)
        clock.advance(LONGEST * 3)
        states = [each.snapshot().state for each in replicas_of(group)]
        assert sorted(each.value for each in states) == ["failed", "running", "running"]
        broken.clear()
        failed = next(each for each in replicas_of(group) if not each.snapshot().is_ready)
        failed.start()
        clock.advance(5)
        assert sum(recycled(each) for each in replicas_of(group)) == 3


def test_who_was_stopped_by_hand_or_deleted_meanwhile_is_waited_for_by_nobody(
    clock: VirtualClock,
) -> None:
    one, other = aging("one", ready=Line("ready")), aging("other")
    with Supervisor([one, other], name="top") as top:
        one.process.say("ready")
        while not recycled(one):
            clock.advance(1)
        clock.advance(LONGEST)
        assert recycled(other) <= 1
        before = recycled(other)
        one.stop()
        clock.advance(LONGEST)
        assert recycled(other) > before
        top.delete_child("one")
        before = recycled(other)
        clock.advance(LONGEST)
        assert recycled(other) > before


# -- in the midst of it -------------------------------------------------------------------


def test_a_stop_in_the_midst_of_it_leaves_it_stopped(clock: VirtualClock) -> None:
    web = aging(shutdown=600.0)
    with Supervisor([web], name="top") as top:
        process = in_the_midst(clock, web)
        stopping = spawn(web.stop)
        clock.settle()
        process.exit(0)
        clock.advance(5)
        stopping.get(block=False)
        assert web.snapshot().state is State.STOPPED
        assert rulings(top) == []
        clock.advance(LONGEST)
        assert web.snapshot().state is State.STOPPED


def test_the_app_stops_in_the_midst_of_it_within_its_budget(clock: VirtualClock) -> None:
    web = aging(shutdown=600.0)
    with Supervisor([web], name="top") as top:
        in_the_midst(clock, web)
        began = clock.now
        top.stop(5.0)
        assert clock.now - began <= 5
        assert web.snapshot().state is State.STOPPED


def test_who_is_held_is_not_recycled_until_it_is_released(clock: VirtualClock) -> None:
    web = aging()
    with Supervisor([web], name="top") as top:
        web.hold_exits()
        clock.advance(LONGEST * 2)
        assert recycled(web) == 0
        web.release_exits()
        clock.advance(2)
        assert recycled(web) == 1
        assert rulings(top) == [("web", "recycled", "restart", 0)]


def test_one_that_is_held_in_the_midst_of_it_waits_for_its_release(clock: VirtualClock) -> None:
    web = aging(shutdown=600.0)
    with Supervisor([web], name="top") as top:
        process = in_the_midst(clock, web)
        web.hold_exits()
        process.exit(0)
        clock.advance(60)
        assert web.snapshot().state is State.RESTARTING
        web.release_exits()
        clock.advance(1)
        assert web.snapshot().state is State.RUNNING
        assert rulings(top) == [("web", "recycled", "restart", 0)]


def test_who_is_scaled_away_in_the_midst_of_it_goes(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = chain([1.1, 1.0, 0.9], repeat(1.0))  # the last replica's turn comes first

    def uniform(_least: float, _most: float) -> float:
        return next(drawn)

    monkeypatch.setattr(recycling, "_random", SimpleNamespace(uniform=uniform))
    group = FakeProgram("web", name="web", replicas=3, max_lifetime=HOUR)
    with Supervisor([group], name="top"):
        for each in replicas_of(group):
            process_of(each).deaf = True
        last = None
        while last is None:
            clock.advance(1)
            last = next(
                (one for one in replicas_of(group) if one.snapshot().state is State.STOPPING), None
            )
        group.scale(1)
        clock.advance(20)
        assert [each._name_ for each in replicas_of(group)] == ["1"]
        assert last._name_ == "3"
        assert replicas_of(group)[0].snapshot().state is State.RUNNING
        group.scale(3)
        clock.advance(LONGEST * 2)
        assert all(recycled(each) for each in replicas_of(group))


def test_an_end_of_its_own_in_the_midst_of_it_is_no_crash(clock: VirtualClock) -> None:
    web = aging(shutdown=600.0)
    with Supervisor([web], name="top", max_restarts=0) as top:
        process = in_the_midst(clock, web)
        process.die("SEGV")
        clock.advance(1)
        assert web.snapshot().state is State.RUNNING
        assert web.snapshot().failures == ()
        assert rulings(top) == [("web", "recycled", "restart", 0)]


def test_a_crash_of_its_group_in_the_midst_of_it_restarts_all_once(clock: VirtualClock) -> None:
    web, db = aging(shutdown=600.0), FakeProgram("db", name="db")
    with Supervisor([db, web], name="top", strategy="rest_for_one") as top:
        process = in_the_midst(clock, web)
        db.process.exit(3)
        clock.settle()
        process.exit(0)
        clock.advance(1)
        assert [each.incarnation for each in top.snapshot().children] == [2, 2]
        assert rulings(top) == [("db", "crashed", "restart", 1)]


def test_a_crash_of_another_in_the_midst_of_it_is_decided_at_once(clock: VirtualClock) -> None:
    web, db = aging(shutdown=600.0), FakeProgram("db", name="db")
    with Supervisor([db, web], name="top"):
        process = in_the_midst(clock, web)
        db.process.exit(3)
        clock.settle()
        assert db.snapshot().incarnation == 2
        process.exit(0)
        clock.advance(1)
        assert web.snapshot().incarnation == 2


def test_a_reload_in_the_midst_of_it_passes_it_by(clock: VirtualClock) -> None:
    class Reloading(FakeProgram):
        def on_reload(self) -> None:
            self.send_signal("HUP")

    web = Reloading("web", name="web", max_lifetime=HOUR, shutdown=600.0)
    with Supervisor([web], name="top") as top:
        process = in_the_midst(clock, web)
        assert top.reload_tree().skipped == 1
        process.exit(0)
        clock.advance(1)
        assert top.reload_tree().reloaded == 1


def test_a_restart_by_hand_in_the_midst_of_it_is_the_only_one(clock: VirtualClock) -> None:
    web = aging(shutdown=600.0)
    with Supervisor([web], name="top") as top:
        process = in_the_midst(clock, web)

        def by_hand() -> None:
            web.stop()
            web.start()

        restarting = spawn(by_hand)
        clock.settle()
        process.exit(0)
        clock.advance(5)
        restarting.get(block=False)
        assert (web.snapshot().state, web.snapshot().incarnation) == (State.RUNNING, 2)
        assert rulings(top) == []


# -- seen --------------------------------------------------------------------------------


def test_it_is_told_in_the_log_and_by_the_events(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sprag")
    heard: list[tuple[str, str | None]] = []

    class Listener(Service):
        def on_start(self) -> None:
            for event in ("stopped", "restarted", "crashed"):
                self.listen(f"sprag:{event}", lambda it: heard.append((it.event, it.reason)))

    with Supervisor([Listener(), aging()], name="top"):
        clock.advance(LONGEST)
        assert heard == [("stopped", "recycled"), ("restarted", None)]
    assert "service is recycled" in caplog.text


@pytest.mark.parametrize("given", [0, -1, float("inf"), float("nan"), "an hour", True])
def test_a_wrong_time_is_refused(given: Any) -> None:
    with pytest.raises(BadValue, match=r"a finite number of seconds, 0\.001 or more, or None"):
        FakeProgram("web", max_lifetime=given)


def test_what_a_service_calls_alike_hides_nothing(clock: VirtualClock) -> None:
    class Web(FakeProgram):
        recycled = due = max_lifetime = waits_for = None

    web = Web("web", name="web", max_lifetime=HOUR)
    with Supervisor([web], name="top"):
        clock.advance(LONGEST)
        assert web.snapshot().incarnation == 2
