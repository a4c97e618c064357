"""Ready is the tree in which everything runs that should, and says nothing else of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
import pytest

from scripted import spawn
from sprag import Backoff, DynamicSupervisor, Ignore, Service, State, Supervisor
from sprag.control.health import READY, health
from sprag.exceptions import BadValue, NotRunning, StartTimeout
from sprag.testing import RunningTree, check_invariants, record_events
from sprag_supervisor import Lack

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


class Plain(Service):
    pass


class Slow(Service):
    def on_start(self) -> None:
        gevent.sleep(10)


class Absent(Service):
    def on_start(self) -> None:
        raise Ignore


class Once(Service, restart="transient"):
    def run(self) -> None:
        """Finish at once."""


def boom() -> None:
    raise ValueError


def test_a_tree_is_ready_when_its_slowest_service_has_started(clock: VirtualClock) -> None:
    top = Supervisor([Plain(), Slow()], name="top")
    assert top.not_ready() == {"top": Lack(State.NEW, "")}
    starting = spawn(top.start)
    clock.advance(9)
    assert top.not_ready() == dict.fromkeys(("top", "top/Slow"), Lack(State.STARTING, ""))
    clock.advance(1)
    starting.get()
    assert top.not_ready() == {}
    top.stop()


def test_stopped_ignored_and_finished_services_do_not_matter(clock: VirtualClock) -> None:
    with Supervisor([Plain(), Absent(), Once()], name="top") as top:
        clock.settle()
        top.terminate_child("Plain")
        assert top.not_ready() == {}


def test_waiting_for_a_restart_and_failed_are_not_ready(clock: VirtualClock) -> None:
    class Stays(Service, on_failure={ValueError: "stop"}):
        pass

    with Supervisor(name="top") as top:
        waits = top.adopt(Plain(), backoff=Backoff(initial=5, jitter=0))
        stays = top.adopt(Stays())
        waits.spawn(boom)
        stays.spawn(boom)
        clock.settle()
        assert top.not_ready() == {
            "top/Plain": Lack(State.RESTARTING, "ValueError"),
            "top/Stays": Lack(State.FAILED, "ValueError"),
        }
        clock.advance(5)
        assert waits.not_ready() == {}


def test_the_answer_about_a_large_tree_lets_others_run() -> None:
    """With the real clock: a walk that holds the loop for long holds it for everybody."""
    top = DynamicSupervisor(name="top")
    with top:
        for number in range(100_000):
            top.start_child(Service(), name=str(number))
        turns = 0

        def others() -> None:
            nonlocal turns
            while True:
                gevent.sleep(0.0001)
                turns += 1

        other = gevent.Greenlet(others)
        other.start()
        gevent.sleep(0.001)
        before = turns
        assert health(READY, top) == (200, {"ready": True})
        assert turns > before
        other.kill()


# -- what a service says of itself -----------------------------------------------------------


class Warm(Service):
    """Starts at once, and is ready when it says so."""

    def on_start(self) -> None:
        self.set_ready(False, "warming up")


def test_a_service_that_is_started_and_not_ready_holds_up_nobody(clock: VirtualClock) -> None:
    warm = Warm()
    with Supervisor([warm, Plain()], name="top") as top:
        assert top.count_children().active == 2
        assert top.not_ready() == {"top/Warm": Lack(State.RUNNING, "warming up")}
        assert not warm.snapshot().is_ready
        warm.set_ready()
        assert top.not_ready() == {}
        assert warm.snapshot().is_ready


def test_what_a_service_says_of_its_readiness_goes_with_its_life(clock: VirtualClock) -> None:
    later = Plain()
    with Supervisor([later], name="top", max_restarts=9) as top:
        later.set_ready(False)
        assert top.not_ready() == {"top/Plain": Lack(State.RUNNING, "")}
        later.spawn(boom)
        clock.settle()
        assert top.not_ready() == {}


def test_who_does_not_become_ready_in_its_start_timeout_crashes(clock: VirtualClock) -> None:
    warm = Warm()
    with Supervisor([(warm, {"start_timeout": 3.0})], name="top") as top:
        clock.advance(2.9)
        assert warm.snapshot().incarnation == 1
        clock.advance(0.2)
        assert warm.snapshot().incarnation == 2
        failure = warm.snapshot().last_failure
        assert failure is not None
        assert str(failure) == "StartTimeout: not ready within 3 s (start_timeout): warming up"
        check_invariants(top)
        warm.set_ready()
        clock.advance(10)
        assert warm.snapshot().incarnation == 2


def test_the_time_to_become_ready_counts_from_the_start(clock: VirtualClock) -> None:
    class SlowlyWarm(Service, start_timeout=3.0):
        def on_start(self) -> None:
            gevent.sleep(2)
            self.set_ready(False)

    slowly = SlowlyWarm()
    with Supervisor([slowly], name="top"):
        clock.advance(0.9)
        assert slowly.snapshot().incarnation == 1
        clock.advance(0.2)
        assert slowly.snapshot().state is State.STARTING
        assert slowly.snapshot().incarnation == 2


def test_who_has_been_ready_may_be_unready_for_as_long_as_it_likes(clock: VirtualClock) -> None:
    with Supervisor([(Warm(), {"start_timeout": 3.0})], name="top") as top:
        warm = top.service("Warm", Warm)
        warm.set_ready()
        warm.set_ready(False, "the database is away")
        clock.advance(100)
        assert warm.snapshot().incarnation == 1
        assert top.not_ready() == {"top/Warm": Lack(State.RUNNING, "the database is away")}


def test_a_stop_before_the_first_ready_leaves_no_timer(clock: VirtualClock) -> None:
    warm = Warm()
    with Supervisor([(warm, {"start_timeout": 3.0})], name="top") as top:
        top.terminate_child("Warm")
        clock.advance(10)
        assert warm.snapshot().state is State.STOPPED
        assert top.not_ready() == {}


def test_readiness_is_told_as_an_event_when_it_changes(clock: VirtualClock) -> None:
    warm = Warm()
    top = Supervisor([warm], name="top")
    with record_events(top) as events, top:
        warm.set_ready()
        warm.set_ready()
        warm.set_ready(False, "busy")
        told = [(one.event, one.reason) for one in events if one.path == "top/Warm"]
        assert told == [("started", None), ("ready", None), ("unready", "busy")]


def test_listeners_hear_of_readiness(clock: VirtualClock) -> None:
    heard: list[str | None] = []

    class Ears(Service):
        def on_start(self) -> None:
            self.listen("sprag:unready", lambda record: heard.append(record.reason))

    warm = Warm()
    with Supervisor([Ears(), warm], name="top"):
        warm.set_ready()
        warm.set_ready(False, "busy")
        clock.settle()
    assert heard == ["busy"]


def test_what_is_no_readiness_is_refused(clock: VirtualClock) -> None:
    given: list[tuple[object, object]] = [("no", ""), (0, ""), (False, 3), (True, "well")]
    with Plain() as plain:
        for ready, reason in given:
            with pytest.raises(BadValue):
                plain.set_ready(ready, reason)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        with pytest.raises(BadValue):
            plain.set_status(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        assert plain.not_ready() == {}
    with pytest.raises(NotRunning):
        plain.set_ready()
    with pytest.raises(NotRunning):
        plain.set_status("off")


def test_a_status_stands_in_the_picture_until_the_life_is_over(clock: VirtualClock) -> None:
    plain = Plain()
    with Supervisor([plain], name="top"):
        plain.set_status("3 of 10 files")
        assert plain.snapshot().status == "3 of 10 files"
        plain.set_status("")
        assert plain.snapshot().status is None
        plain.set_status("x" * 1000)
        assert len(plain.snapshot().status or "") < 250
        plain.spawn(boom)
        clock.settle()
        assert plain.snapshot().status is None


def test_a_users_own_word_of_the_same_name_hides_ours_and_breaks_nothing(
    clock: VirtualClock,
) -> None:
    class Own(Service):
        set_ready = set_status = "mine"  # type: ignore[assignment]

    with RunningTree(Supervisor([Own()], name="top")) as tree:
        tree.unready("Own", "by hand")
        assert tree.root.not_ready() == {"top/Own": Lack(State.RUNNING, "by hand")}
        Service.set_ready(tree.service("Own"))
        assert tree.root.not_ready() == {}


def test_a_start_timeout_says_what_it_has_waited_for() -> None:
    assert str(StartTimeout(3)) == "on_start did not return within 3 s (start_timeout)"
    assert str(StartTimeout(3, "")) == "not ready within 3 s (start_timeout)"
