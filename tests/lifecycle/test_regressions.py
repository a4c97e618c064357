"""Stories that the machine has found, each as short as it can be told."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import GreenletExit

from lifecycle.machine import LifecycleMachine
from lifecycle.model import Spec, Unclear
from lifecycle.scripted import Stage, make, policy_of
from scripted import spawn
from sprag import Service, StartFailed, State
from sprag.exceptions import NotRunning
from sprag.testing import LeakCheck, VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock, LeakCheck():
        yield clock


def planned(name: str, *children: Spec, **plan: Any) -> Spec:
    return Spec(name, children=children, **plan)


def call(fn: Callable[..., object], clock: VirtualClock, *args: Any) -> Any:
    """Begin a call that may block; an error of sprag's becomes the greenlet's value."""

    def body() -> object:
        try:
            return fn(*args)
        except (NotRunning, StartFailed) as error:
            return error

    greenlet = spawn(body)
    clock.settle()
    return greenlet


def added(parent: Service, spec: Spec, stage: Stage) -> Service:
    return parent.adopt(make(spec, stage), name=spec.name, **policy_of(spec))


def test_a_failed_start_keeps_its_path_when_a_temporary_service_on_the_way_has_left(
    clock: VirtualClock,
) -> None:
    slow = planned("slow", start_takes=1.0)
    root = make(planned("top", planned("brief", slow, restart="temporary")), Stage())
    starting = call(root.start, clock)
    call(root.service("brief").stop, clock)
    assert isinstance(starting.value, StartFailed)
    assert starting.value.path == "top/brief"


class Tidy(Service):
    """Its on_start, when it is called off, takes a second to tidy up."""

    def on_start(self) -> None:
        try:
            gevent.sleep(10)
        except GreenletExit:
            gevent.sleep(1)
            raise


def test_nobody_is_adopted_by_a_service_whose_start_is_called_off(clock: VirtualClock) -> None:
    root, stage = Tidy(), Stage()
    starting = call(root.start, clock)
    stopping = call(root.stop, clock)
    late = call(added, clock, root, planned("late"), stage)
    assert isinstance(late.value, NotRunning)
    assert not stage.log
    clock.advance(1)
    assert isinstance(starting.value, StartFailed)
    assert stopping.ready()


def test_a_child_that_waits_to_be_started_stays_down_when_its_parent_stops_meanwhile(
    clock: VirtualClock,
) -> None:
    child = planned("child", restart="transient", stop_takes=1.0)
    root = make(planned("top", child), Stage())
    root.start()
    service = root.service("child")
    service.finish()
    clock.settle()
    starting = call(service.start, clock)
    stopping = call(root.stop, clock)
    clock.advance(1)
    assert isinstance(starting.value, NotRunning)
    assert service.snapshot().state is State.STOPPED
    assert stopping.ready()


def test_a_temporary_child_that_waits_to_be_started_and_leaves_is_not_started(
    clock: VirtualClock,
) -> None:
    root = make(planned("top", planned("child", restart="temporary", stop_takes=1.0)), Stage())
    root.start()
    service = root.service("child")
    service.finish()
    clock.settle()
    starting = call(service.start, clock)
    clock.advance(1)
    assert isinstance(starting.value, NotRunning)
    assert not root.snapshot().children
    root.stop()


def test_on_stop_begins_even_past_the_deadline(clock: VirtualClock) -> None:
    """A poke that came too early made the end skip a hook that had no greenlet yet."""
    swallower = planned("deaf", restart="transient", is_stubborn=True)
    root = make(planned("top", stop_takes=0.0), Stage())
    root.start()
    added(root, planned("inner", planned("idle"), swallower), root.stage)
    root.finish()
    clock.settle()
    report = call(root.stop, clock, 0.0)
    clock.advance(1)
    assert report.value.stragglers == 1
    assert (0.1, "on_stop", "top") in root.stage.log["ends below nobody"]
    root.stage.is_over = True
    gevent.killall(root.stage.stubborn)


def test_the_undoing_of_a_child_is_no_time_of_the_on_start_that_adopts_it(
    clock: VirtualClock,
) -> None:
    """An on_start was given up as a straggler while a child below took its legal time."""
    patient = planned("patient", stop_takes=20.0, shutdown=30.0)
    slow = planned("slow", start_takes=math.inf)
    root = make(planned("top", planned("middle", patient, slow), shutdown=5.0), Stage())
    starting = call(root.start, clock)
    stopping = call(root.stop, clock)
    clock.advance(20)
    assert stopping.value.stragglers == 0
    assert isinstance(starting.value, StartFailed)


def test_a_deadline_reaches_a_start_that_is_being_undone(clock: VirtualClock) -> None:
    """The kill that calls a nested start off brought no deadline with it."""
    patient = planned("patient", stop_takes=20.0, shutdown=math.inf)
    slow = planned("slow", start_takes=math.inf)
    root = make(planned("top", planned("middle", patient, slow)), Stage())
    starting = call(root.start, clock)
    stopping = call(root.stop, clock, 2.0)
    clock.advance(2)
    assert stopping.ready()
    assert isinstance(starting.value, StartFailed)


def test_a_stop_does_not_wait_for_the_next_life(clock: VirtualClock) -> None:
    """Who had stopped a service that somebody else started again waited for that start too."""
    root = make(planned("top", planned("child", stop_takes=1.0, start_takes=10.0)), Stage())
    call(root.start, clock)
    clock.advance(10)
    child = root.service("child")
    child.finish()
    call(child.start, clock)
    stopping = call(child.stop, clock)
    clock.advance(1)
    assert child.snapshot().state is State.STARTING
    assert stopping.ready()
    root.stop()


def test_a_start_waits_for_the_stop_that_cuts_an_earlier_start_short() -> None:
    """The model refused it, as a start of what is on its way up; it is on its way down."""
    state = LifecycleMachine()
    slow = Spec(children=(Spec(start_takes=0.5),), is_stubborn=True)
    state.build(spec=Spec(max_restarts=9, children=(Spec(), slow, Spec())), waits=True)
    try:
        state.crash_and_more(number=0, other=0, then="stop it", way="greenlet")
        for crashes in (3, 7):
            for _ in range(crashes):
                state.crash_a_greenlet(number=0)
            state.crash_at_an_edge(number=0, off=-0.001953125)
        state.start(number=0)
        state.stop_from_inside(inner=0, number=11)
        state.start(number=11)
        state.model_and_sprag_agree()
    finally:
        state.teardown()


def test_a_start_by_hand_forgets_what_was_tried_before() -> None:
    """The model kept the row of tries."""
    state = LifecycleMachine()
    patient = Spec(backoff=(1.0, 4.0, 60.0))
    state.build(spec=Spec(max_restarts=9, children=(patient,)), waits=True)
    try:
        state.crash_a_greenlet(number=1)
        state.stop(number=1, timeout=None)
        state.start(number=1)
        state.crash_a_greenlet(number=1)
        state.model_and_sprag_agree()
    finally:
        state.teardown()


def test_a_wait_that_begins_at_no_even_moment_ends_at_its_nanosecond() -> None:
    """The model's sum was a little more than that, and it took the next one."""
    state = LifecycleMachine()
    patient = Spec(backoff=(1.0, 4.0, 60.0))
    spec = Spec(strategy="one_for_all", max_restarts=9, children=(patient, Spec()))
    state.build(spec=spec, waits=False)
    try:
        state.stop(number=1, timeout=None)
        state.advance(seconds=15.0)
        state.adopt(number=0, spec=Spec(backoff=(0.125, 1.0, 3.0), drain_takes=0.5))
        state.crash_a_greenlet(number=0)
        state.stop(number=1, timeout=1.0)
        state.advance(seconds=1.0)
        state.crash_at_an_edge(number=0, off=-0.001953125)
        state.model_and_sprag_agree()
    finally:
        state.teardown()


def test_which_of_two_killed_at_the_same_moment_is_down_and_heard_of_first_is_open() -> None:
    """In the model the first to be killed; in sprag the parent of the other restarted that."""
    state = LifecycleMachine()
    killed = Spec(shutdown=0.0, is_stubborn=True)
    last = Spec(shutdown=0.0, stop_takes=0.0, is_stubborn=True)
    siblings = Spec(children=(killed,)), Spec(), last
    spec = Spec(strategy="one_for_all", max_restarts=9, children=siblings)
    state.build(spec=spec, waits=True)
    try:
        state.crash_a_greenlet(number=1)
        state.crash_a_greenlet(number=1)
        with pytest.raises(Unclear):
            state.advance(seconds=0.25)
    finally:
        state.teardown()


def test_a_nanosecond_by_which_a_part_of_a_time_is_rounded_is_no_difference() -> None:
    """Half of what a third had left: as a float it was a little more than that nanosecond."""
    state = LifecycleMachine()
    pair = Spec(), Spec(has_run=True)
    state.build(spec=Spec(strategy="one_for_all", max_restarts=9, children=pair), waits=True)
    try:
        state.adopt(number=1, spec=Spec(drain_takes=0.5, stop_takes=0.5))
        state.stop(number=0, timeout=None)
        state.stop(number=0, timeout=1.0)
        state.advance(seconds=1.0)
        state.model_and_sprag_agree()
    finally:
        state.teardown()


def test_whether_an_end_or_the_next_try_of_a_sibling_is_heard_first_at_one_moment_is_open() -> None:
    """The model tried again first, and who had been stopped by hand meanwhile stayed out."""
    state = LifecycleMachine()
    siblings = Spec(), Spec(start_takes=0.5), Spec()
    state.build(spec=Spec(strategy="one_for_all", max_restarts=9, children=siblings), waits=True)
    try:
        state.finish(number=0, way="outside")
        state.advance(seconds=0.25)
        state.advance(seconds=0.25)
        state.stop(number=0, timeout=None)
        state.break_starts(number=2, faults=["raise"])
        state.adopt(number=0, spec=Spec(start_takes=0.5, stop_takes=0.0))
        state.finish(number=0, way="outside")
        with pytest.raises(Unclear):
            state.advance(seconds=0.25)
    finally:
        state.teardown()


def test_whether_a_child_ends_or_its_parents_start_fails_first_at_one_moment_is_open() -> None:
    """The model let it end, and called off its restart; sprag took down what was ending."""
    state = LifecycleMachine()
    slow = Spec(backoff=(0.125, 1.0, 3.0), start_takes=0.5, stop_takes=0.0)
    siblings = Spec(restart="temporary", stop_takes=0.0), Spec(children=(slow,))
    state.build(spec=Spec(max_restarts=9, children=siblings), waits=True)
    try:
        state.crash_a_greenlet(number=0)
        state.break_starts(number=0, faults=["raise"])
        state.finish(number=11, way="outside")
        state.start(number=0)
        state.advance(seconds=0.25)
        state.advance(seconds=0.25)
        state.crash_a_greenlet(number=0)
        state.finish(number=1, way="outside")
        with pytest.raises(Unclear):
            state.advance(seconds=0.25)
    finally:
        state.teardown()


def test_whether_a_start_is_over_for_who_has_waited_for_the_same_moment_is_open() -> None:
    """The model started the root again; sprag said that it was starting."""
    state = LifecycleMachine()
    state.build(spec=Spec(children=(Spec(),), stop_takes=0.5), waits=True)
    try:
        state.crash_a_greenlet(number=11)
        state.start(number=0)
        state.start(number=0)
        state.break_starts(number=11, faults=["raise"])
        with pytest.raises(Unclear):
            state.advance(seconds=1.0)
    finally:
        state.teardown()


def test_who_drains_below_one_that_ends_with_its_group_waits_for_nobody() -> None:
    """The model let it wait for one that drains no more."""
    state = LifecycleMachine()
    below = Spec(), Spec(drain_takes=0.0), Spec(stop_takes=0.5)
    siblings = Spec(), Spec(), Spec(children=below, drain_takes=0.0)
    spec = Spec(strategy="one_for_all", max_restarts=9, children=siblings)
    state.build(spec=spec, waits=True)
    try:
        state.crash_and_more(number=0, other=0, then="stop parent", way="greenlet")
        state.model_and_sprag_agree()
    finally:
        state.teardown()


def test_whether_a_group_or_a_stop_hears_first_that_one_has_drained_is_open() -> None:
    """The model had its parent stop first; sprag's group had it wait, and that was called off."""
    state = LifecycleMachine()
    group = Spec(strategy="one_for_all", children=(Spec(), Spec(), Spec(drain_takes=0.5)))
    below = Spec(), Spec(stop_takes=0.0), Spec(drain_takes=0.0, has_run=True)
    siblings = Spec(), group, Spec(children=below, drain_takes=0.0)
    state.build(spec=Spec(max_restarts=9, children=siblings), waits=True)
    try:
        state.crash_and_more(number=11, other=0, then="stop it", way="greenlet")
        state.crash_a_greenlet(number=8)
        with pytest.raises(Unclear):
            state.advance(seconds=1.0)
    finally:
        state.teardown()


def test_whether_a_child_has_crashed_before_its_parents_start_is_called_off_is_open() -> None:
    """The model had the parent fail first; in sprag the child waited to come back."""
    state = LifecycleMachine()
    siblings = Spec(start_takes=0.5, stop_takes=0.5), Spec(), Spec(start_takes=0.5)
    spec = Spec(strategy="one_for_all", max_restarts=9, children=siblings)
    state.build(spec=spec, waits=True)
    try:
        state.stop_from_inside(inner=0, number=11)
        state.advance(seconds=0.75)
        state.start(number=0)
        state.advance(seconds=0.75)
        state.crash_a_greenlet(number=0)
        with pytest.raises(Unclear):
            state.stop(number=11, timeout=0.0)
    finally:
        state.teardown()


def test_whether_who_finishes_as_it_comes_up_is_down_when_its_group_stops_is_open() -> None:
    """In the model it had finished; in sprag it had not, and waited for its restart."""
    state = LifecycleMachine()
    siblings = Spec(start_takes=0.5), Spec(restart="transient", start_takes=0.5, has_run=True)
    spec = Spec(strategy="one_for_all", max_restarts=9, children=siblings)
    state.build(spec=spec, waits=True)
    try:
        state.finish(number=1, way="outside")
        state.start(number=0)
        state.crash_and_more(number=0, other=0, then="start", way="greenlet")
        state.advance(seconds=0.5)
        state.finish(number=0, way="outside")
        with pytest.raises(Unclear):
            state.advance(seconds=0.25)
    finally:
        state.teardown()


def test_who_comes_up_below_one_that_lets_others_drain_drains_with_the_stop_of_all() -> None:
    """The model let it wait for one that has no on_drain itself."""
    state = LifecycleMachine()
    slow = Spec(children=(Spec(drain_takes=0.5),))
    state.build(spec=Spec(max_restarts=9, children=(Spec(children=(Spec(), slow)),)), waits=True)
    try:
        state.finish(number=0, way="outside")
        state.adopt(number=0, spec=Spec(drain_takes=0.0))
        state.stop_from_inside(inner=0, number=11)
        state.model_and_sprag_agree()
        assert [what for _, what, _ in state.model.log["ends below n3"]] == ["on_drain"]
    finally:
        state.teardown()


def test_whose_run_has_not_begun_needs_no_part_of_the_time_of_a_stop_for_it() -> None:
    """The model left it half of the time, and its child less."""
    state = LifecycleMachine()
    below = Spec(), Spec(stop_takes=2.0), Spec(start_takes=0.5)
    siblings = Spec(), Spec(children=below, has_run=True)
    state.build(spec=Spec(max_restarts=9, children=siblings), waits=True)
    try:
        state.crash_in_run(number=0)
        state.advance(seconds=2.25)
        state.stop(number=1, timeout=1.0)
        state.advance(seconds=1.0)
        state.model_and_sprag_agree()
    finally:
        state.teardown()


def test_whether_who_was_waited_for_restarts_before_the_stop_that_has_waited_too_is_open() -> None:
    """Both had waited for one drain. In the model it was restarted first, and drained again."""
    state = LifecycleMachine()
    siblings = Spec(), Spec()
    spec = Spec(strategy="one_for_all", max_restarts=9, children=siblings)
    state.build(spec=spec, waits=True)
    try:
        for _ in range(9):
            state.crash_in_run(number=0)
        state.adopt(number=0, spec=Spec())
        state.adopt(number=0, spec=Spec())
        below = Spec(), Spec(drain_takes=0.5)
        state.adopt(number=1, spec=Spec(children=below, has_run=True))
        for _ in range(3):
            state.crash_in_run(number=0)
        with pytest.raises(Unclear):
            state.advance(seconds=1.0)
    finally:
        state.teardown()


def test_who_is_stopped_by_hand_while_it_drains_has_its_children_drain_after_that() -> None:
    """The model had them begin at once, and so did sprag, but where one had begun before."""
    state = LifecycleMachine()
    below = Spec(), Spec(drain_takes=0.0), Spec(drain_takes=0.5)
    siblings = Spec(children=below, drain_takes=0.5), Spec()
    state.build(spec=Spec(max_restarts=9, children=siblings), waits=True)
    try:
        state.stop(number=1, timeout=None)
        state.finish(number=3, way="outside")
        state.finish(number=11, way="outside")
        state.crash_a_timer(number=0)
        state.stop(number=0, timeout=None)
        state.model_and_sprag_agree()
    finally:
        state.teardown()
