"""A service: made, started, run, ended, restarted; and what leaves its callables."""

from __future__ import annotations

import contextvars
import gc
import logging
import weakref
from typing import TYPE_CHECKING, Any, cast

import gevent
import gevent.event
import pytest
from gevent import GreenletExit, Timeout

from sprag import (
    Backoff,
    Exit,
    Ignore,
    Service,
    StartFailed,
    State,
    StopReport,
    Supervisor,
    current_service,
)
from sprag.exceptions import (
    AlreadyAdopted,
    AlreadyPresent,
    AlreadyStarted,
    BadPolicy,
    BadValue,
    ChildRestarting,
    NotRunning,
    StartAborted,
    StartTimeout,
    UnknownService,
)
from sprag.services.finding import name_of_app
from sprag_supervisor import Lifecycle, Reason, path_of, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


class Plain(Service):
    """Does nothing."""


class Parent(Service):
    """Never gives up."""

    def __init__(self) -> None:
        self._policy_ = self._policy_.with_({"max_restarts": 1000})


def spawn(function: Callable[..., object], *args: object) -> Any:
    """Start a plain greenlet, of nobody's."""
    return cast("Any", gevent.spawn(function, *args))


def boom(message: str = "boom") -> None:
    raise ValueError(message)


def listen_and_emit(service: Service, fn: Callable[[], object]) -> None:
    service.listen("event", lambda _data: fn())
    service.emit("event")


def started(service: Service) -> Any:
    service.start()
    return service


def observe(service: Service) -> list[tuple[str, str]]:
    """Return the growing list of what happens in the tree of *service*: (event, path)."""
    seen: list[tuple[str, str]] = []

    def note(record: Lifecycle) -> None:
        seen.append((record.event, record.path))

    assert service._tree_ is not None
    service._tree_.observers.append(note)
    return seen


# -- making one ------------------------------------------------------------------------


def test_a_subclass_need_not_call_super_init() -> None:
    class Mailer(Service):
        def __init__(self, host: str, port: int = 25) -> None:
            self.address = (host, port)

    mailer = Mailer("localhost", port=26)
    mailer.start()
    assert mailer.address == ("localhost", 26)
    assert mailer.snapshot().state is State.RUNNING
    mailer.stop()


def test_wrong_constructor_arguments_are_a_type_error() -> None:
    class Mailer(Service):
        def __init__(self, host: str) -> None:
            self.host = host

    with pytest.raises(TypeError):
        Mailer()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError):
        Plain("unexpected")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError):
        Plain(nonsense=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("keyword", "value", "accepted"),
    [
        ("restart", "permanant", "'permanent', 'transient', 'temporary'"),
        ("restart", None, "'permanent'"),
        ("shutdown", "brutal", "'brutal_kill', 'infinity'"),
        ("shutdown", -1, "0 or more"),
        ("shutdown", None, "0 or more"),
        ("start_timeout", -0.5, "0.001 or more, or None"),
        ("start_timeout", "soon", "0.001 or more, or None"),
        ("backoff", 3, "Backoff"),
        ("significant", "yes", "True or False"),
        ("strategy", "one_for_two", "'one_for_one', 'one_for_all', 'rest_for_one'"),
        ("max_restarts", -1, "0 or more"),
        ("max_restarts", 1.5, "whole number"),
        ("max_restarts", True, "whole number"),
        ("max_seconds", 0, "0.001 or more"),
        ("max_seconds", float("nan"), "0.001 or more"),
        ("auto_shutdown", "always", "'never', 'any_significant', 'all_significant'"),
    ],
)
def test_a_wrong_policy_value_raises_when_the_class_is_made(
    keyword: str, value: object, accepted: str
) -> None:
    with pytest.raises(BadPolicy, match=keyword) as caught:
        type("Wrong", (Service,), {}, **{keyword: value})
    assert accepted in str(caught.value)
    assert caught.value.keyword == keyword
    assert caught.value.given is value or caught.value.given != caught.value.given


def test_a_misspelt_keyword_raises_and_lists_the_choices() -> None:
    with pytest.raises(BadPolicy, match="unknown policy keyword 'restrat'") as caught:
        type("Wrong", (Service,), {}, restrat="transient")
    assert "did you mean 'restart'?" in str(caught.value)
    assert "'max_seconds'" in str(caught.value)


def test_a_significant_permanent_service_makes_no_sense() -> None:
    with pytest.raises(BadPolicy, match="significant"):
        type("Wrong", (Service,), {}, significant=True)


def test_policy_is_inherited_and_overridden_keyword_by_keyword() -> None:
    class Base(Service, restart="transient", shutdown=1.0):
        pass

    class Derived(Base, shutdown="infinity"):
        pass

    policy = Derived().snapshot().policy
    assert policy.restart == "transient"
    assert policy.shutdown == "infinity"
    assert Base().snapshot().policy.shutdown == 1.0


def test_what_adopt_is_given_wins_over_the_class_and_survives_restarts(
    clock: VirtualClock,
) -> None:
    class Child(Service, restart="permanent", shutdown=1.0):
        pass

    root = started(Parent())
    child = root.adopt(Child(), shutdown=2.0, max_restarts=7)
    for _ in range(2):
        policy = child.snapshot().policy
        assert (policy.restart, policy.shutdown, policy.max_restarts) == ("permanent", 2.0, 7)
        child.spawn(boom)
        clock.settle()
    assert child.snapshot().incarnation == 3
    root.stop()


def test_adopt_refuses_wrong_policy_and_leaves_no_child() -> None:
    root = started(Plain())
    with pytest.raises(BadPolicy, match="restart"):
        root.adopt(Plain(), restart="sometimes")
    with pytest.raises(BadPolicy, match="unknown policy keyword"):
        root.adopt(Plain(), colour="red")
    with pytest.raises(BadPolicy, match="significant"):
        root.adopt(Plain(), restart="transient", significant=True)
    assert root.snapshot().children == ()
    root.stop()


def test_the_users_names_stay_theirs(clock: VirtualClock) -> None:
    class Mine(Service):
        def __init__(self) -> None:
            self.state = "mine"
            self._state = "mine too"
            self.children = ["a", "b"]
            self.name = "mine"
            self.parent = self.tree = self.policy = self.path = self.incarnation = "all mine"
            self._node = self._name = self._children = self._parent = "and these"

    root = started(Parent())
    mine = root.adopt(Mine())
    mine.adopt(Plain())
    assert (mine.state, mine._state, mine.children) == ("mine", "mine too", ["a", "b"])
    mine.spawn(boom)
    clock.settle()
    assert mine.snapshot().state is State.RUNNING
    assert mine.snapshot().incarnation == 2
    assert mine.state == "mine"
    assert mine.name == "mine"
    root.stop()


def test_a_service_may_have_slots_and_no_dict() -> None:
    class Small(Service):
        __slots__ = ("size",)

        def __init__(self) -> None:
            self.size = 3

    small = started(Small())
    assert not hasattr(small, "__dict__")
    assert small.size == 3
    small.stop()


# -- a restart is the same object in its first state -----------------------------------


def test_a_restarted_service_is_the_same_object_in_its_first_state(clock: VirtualClock) -> None:
    made: list[tuple[object, ...]] = []
    options = {"deep": True}

    class Store(Service):
        def __init__(self, size: int, *, options: dict[str, bool]) -> None:
            made.append((self, size, options))
            self.size = size
            self.items: list[int] = []

        def on_start(self) -> None:
            self.opened = len(made)

    root = started(Parent())
    store = root.adopt(Store(3, options=options))
    store.items.append(1)
    store.leftover = "broken"
    del store.size
    store.spawn(boom)
    clock.settle()
    assert [(each[0] is store, *each[1:]) for each in made] == [(True, 3, options)] * 2
    assert made[1][2] is options
    assert vars(store) == {"size": 3, "items": [], "opened": 2}
    root.stop()


def test_a_restart_clears_the_users_slots_private_ones_too(clock: VirtualClock) -> None:
    class Base(Service):
        __slots__ = ("__secret", "plain")

        def set_both(self) -> None:
            self.__secret = self.plain = "old"

        def secret(self) -> object:
            return getattr(self, "_Base__secret", "unset")

    class _Derived(Base):
        __slots__ = "__more"  # noqa: PLC0205 - a single name is allowed

        def set_more(self) -> None:
            self.__more = "old"

        def more(self) -> object:
            return getattr(self, "_Derived__more", "unset")

    root = started(Parent())
    child = root.adopt(_Derived())
    child.set_both()
    child.set_more()
    assert (child.secret(), child.plain, child.more()) == ("old", "old", "old")
    child.spawn(boom)
    clock.settle()
    assert child.snapshot().incarnation == 2
    assert (child.secret(), child.more()) == ("unset", "unset")
    assert not hasattr(child, "plain")
    root.stop()


def test_a_deliberate_start_also_begins_in_the_first_state() -> None:
    class Counter(Service):
        def __init__(self) -> None:
            self.count = 0

    counter = started(Counter())
    counter.count = 5
    counter.stop()
    assert counter.count == 5  # what a stopped service has come to can still be read
    counter.start()
    assert counter.count == 0
    counter.stop()


def test_children_adopted_in_on_start_are_adopted_anew(clock: VirtualClock) -> None:
    class Pair(Service):
        def on_start(self) -> None:
            self.left = self.adopt(Plain(), name="left")
            self.right = self.adopt(Plain(), name="right")

    root = started(Parent())
    pair = root.adopt(Pair())
    left = pair.left
    pair.spawn(boom)
    clock.settle()
    assert pair.left is not left
    assert left.snapshot().state is State.STOPPED
    assert [child.name for child in pair.snapshot().children] == ["left", "right"]
    root.stop()


def test_children_adopted_by_hand_do_not_come_back_with_their_parent(clock: VirtualClock) -> None:
    root = started(Parent())
    parent = root.adopt(Parent())
    child = parent.adopt(Plain())
    parent.spawn(boom)
    clock.settle()
    assert parent.snapshot().children == ()
    root.adopt(child)  # it is free again
    root.stop()


def test_a_start_by_hand_resets_nothing_the_first_time() -> None:
    service = Plain()
    service.note = "set before the start"  # type: ignore[attr-defined]
    service.start()
    assert service.note == "set before the start"  # type: ignore[attr-defined]
    service.stop()


# -- names -----------------------------------------------------------------------------


def test_children_are_called_after_their_class_with_numbers_from_two() -> None:
    root = started(Plain())
    for _ in range(3):
        root.adopt(Plain())
    assert [child.name for child in root.snapshot().children] == ["Plain", "Plain-2", "Plain-3"]
    root.stop()


def test_the_attribute_name_is_the_default_name() -> None:
    class Mailer(Service):
        name = "mailer"

    class Named(Service):
        def __init__(self, name: str) -> None:
            self.name = name

    root = started(Plain())
    for child in (Mailer(), Mailer(), Named("blue"), Named("blue"), Named("a/b"), Named("")):
        root.adopt(child)
    names = [child.name for child in root.snapshot().children]
    assert names == ["mailer", "mailer-2", "blue", "blue-2", "Named", "Named-2"]
    root.stop()


def test_a_number_is_not_given_twice() -> None:
    root = started(Plain())
    root.adopt(Plain())
    second = root.adopt(Plain(), restart="temporary")
    second.stop()
    root.adopt(Plain())
    assert [child.name for child in root.snapshot().children] == ["Plain", "Plain-3"]
    root.stop()


def test_an_explicit_name_that_is_taken_is_an_error() -> None:
    root = started(Plain())
    first = root.adopt(Plain(), name="worker")
    with pytest.raises(AlreadyStarted, match="Plain/worker is already started"):
        root.adopt(Plain(), name="worker")
    first.stop()
    with pytest.raises(AlreadyPresent, match=r"Plain/worker is already there \(stopped\)"):
        root.adopt(Plain(), name="worker")
    root.stop()


@pytest.mark.parametrize("name", ["", "a/b", 3])
def test_a_name_is_a_text_without_slash(name: Any) -> None:
    root = started(Plain())
    with pytest.raises(BadValue, match="name="):
        root.adopt(Plain(), name=name)
    root.stop()


def test_one_object_has_one_place_in_one_tree() -> None:
    root, other = started(Plain()), started(Plain())
    child = root.adopt(Plain())
    with pytest.raises(AlreadyAdopted, match="Plain/Plain"):
        other.adopt(child)
    with pytest.raises(AlreadyAdopted):
        root.adopt(child)
    with pytest.raises(AlreadyAdopted):
        root.adopt(root)
    with pytest.raises(AlreadyAdopted):
        root.adopt(other)
    with pytest.raises(BadValue, match="child="):
        root.adopt("Plain")
    root.stop()
    other.stop()


# -- NotRunning ------------------------------------------------------------------------

ACQUIRE: dict[str, Callable[[Service], object]] = {
    "start a timer": lambda service: service.interval(boom, 1),
    "start a timer ": lambda service: service.timeout(boom, 1),
    "spawn a greenlet": lambda service: service.spawn(boom),
    "listen": lambda service: service.listen("event", print),
    "adopt a child": lambda service: service.adopt(Plain()),
    "add a clean-up": lambda service: service.add_cleanup(boom),
    "finish": lambda service: service.finish(),
}

REMEDIES = {
    State.NEW: "start it first, with start() or by adopting it (in __init__: do it in on_start)",
    State.STOPPING: "do it before the stop begins, for instance in on_start",
    State.RESTARTING: "wait until it is running again",
    State.STOPPED: "start it again first",
    State.FINISHED: "start it again first",
    State.FAILED: "start it again first",
}


def bring_to(state: State, clock: VirtualClock) -> tuple[Service, Callable[[], object]]:
    """Return a service in *state*, and what ends the tree it is in."""
    if state is State.NEW:
        return Plain(), lambda: None
    gate = gevent.event.Event()

    class Child(Service, restart="transient", backoff=Backoff(initial=30.0, jitter=0)):
        def on_stop(self) -> None:
            if state is State.STOPPING:
                gate.wait()

    if state is State.FAILED:
        child = started(Child())
        child.spawn(boom)
        clock.settle()
        return child, lambda: None
    root = started(Parent())
    child = root.adopt(Child())
    if state is State.STOPPING:
        root.spawn(child.stop)
    elif state is State.RESTARTING:
        child.spawn(boom)
    elif state is State.STOPPED:
        child.stop()
    else:
        child.finish()
    clock.settle()

    def end() -> None:
        gate.set()
        root.stop()

    return child, end


@pytest.mark.parametrize("state", REMEDIES)
def test_acquiring_something_needs_a_running_service(clock: VirtualClock, state: State) -> None:
    service, end = bring_to(state, clock)
    assert service.snapshot().state is state
    for action, acquire in ACQUIRE.items():
        with pytest.raises(NotRunning) as caught:
            acquire(service)
        error = caught.value
        assert (error.state, error.action) == (state.value, action.strip())
        assert error.remedy == REMEDIES[state]
        assert str(error).endswith(f" is {state.value}: cannot {action.strip()}; {REMEDIES[state]}")
    end()


def test_acquiring_something_in_on_stop_is_too_late() -> None:
    errors: list[NotRunning] = []

    class Late(Service):
        def on_stop(self) -> None:
            for acquire in ACQUIRE.values():
                try:
                    acquire(self)
                except NotRunning as error:
                    errors.append(error)

    service = started(Late())
    report = service.stop()
    assert report.is_clean
    assert [error.state for error in errors] == ["stopping"] * len(ACQUIRE)


def test_a_service_that_was_never_in_a_tree_knows_nobody() -> None:
    service = Plain()
    with pytest.raises(NotRunning, match="cannot emit"):
        service.emit("event")
    with pytest.raises(NotRunning, match="cannot look up a service"):
        service.service("other")
    with pytest.raises(NotRunning, match="cannot wait for its end"):
        service.wait()


@pytest.mark.parametrize("method", ["interval", "timeout"])
def test_a_timer_needs_something_callable(method: str) -> None:
    service = started(Plain())
    with pytest.raises(BadValue, match="fn="):
        getattr(service, method)("not callable", 1)
    service.stop()


def test_what_is_given_to_run_must_be_callable() -> None:
    service = started(Plain())
    with pytest.raises(BadValue, match="fn="):
        service.spawn(3)
    with pytest.raises(BadValue, match="fn="):
        service.listen("event", None)
    with pytest.raises(BadValue, match="fn="):
        service.add_cleanup("close")
    service.stop()


# -- hooks and the body ----------------------------------------------------------------


def test_the_hooks_run_in_order_children_inside_their_parents() -> None:
    journal: list[str] = []

    class Told(Service):
        def __init__(self, name: str, *below: Told) -> None:
            self.name = name
            self.below = below

        def on_start(self) -> None:
            journal.append(f"{self.name} starts")
            for child in self.below:
                self.adopt(child)
            self.add_cleanup(journal.append, f"{self.name} is clean")
            journal.append(f"{self.name} has started")

        def run(self) -> None:
            journal.append(f"{self.name} runs")
            gevent.sleep(1000)

        def on_drain(self) -> None:
            journal.append(f"{self.name} drains")

        def on_stop(self) -> None:
            journal.append(f"{self.name} stops")

    root = started(Told("a", Told("b"), Told("c")))
    gevent.sleep(0)
    root.stop()
    assert journal == [
        *("a starts", "b starts", "b has started", "c starts", "c has started", "a has started"),
        *("b runs", "c runs", "a runs"),
        *("a drains", "c drains", "b drains"),
        *("c stops", "c is clean"),
        *("b stops", "b is clean"),
        *("a stops", "a is clean"),
    ]


def test_the_greenlets_still_live_in_on_stop() -> None:
    class Worker(Service):
        def on_start(self) -> None:
            self.worker = self.spawn(gevent.sleep, 1000)
            self.ticks = self.interval(print, 1000)
            self.ears = self.listen("event", print)

        def on_stop(self) -> None:
            self.seen = (self.worker.ready(), self.ticks.active, self.ears.active)

    worker = started(Worker())
    worker.stop()
    assert worker.seen == (False, True, True)
    assert (worker.worker.ready(), worker.ticks.active, worker.ears.active) == (True, False, False)


def test_on_stop_runs_after_a_crash_too_but_not_after_a_failed_start(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Fragile(Service, restart="temporary"):
        def __init__(self, *, fails: bool) -> None:
            self.fails = fails

        def on_start(self) -> None:
            self.add_cleanup(journal.append, "clean")
            if self.fails:
                raise ValueError

        def on_drain(self) -> None:
            journal.append("drain")

        def on_stop(self) -> None:
            journal.append("stop")

    root = started(Parent())
    with pytest.raises(StartFailed):
        root.adopt(Fragile(fails=True))
    assert journal == ["clean"]
    del journal[:]
    child = root.adopt(Fragile(fails=False))
    child.spawn(boom)
    clock.settle()
    assert "stop" in journal
    assert journal[-1] == "clean"
    root.stop()


def test_returning_from_run_is_a_clean_end(clock: VirtualClock) -> None:
    class Job(Service, restart="transient"):
        def run(self) -> None:
            gevent.sleep(3)

    root = started(Parent())
    job = root.adopt(Job())
    assert job.wait(2.9) is None
    clock.advance(0.1)
    assert job.snapshot().state is State.FINISHED
    assert job.wait() == Exit(Reason.FINISHED, 1)
    root.stop()


def test_raising_in_run_is_a_crash(clock: VirtualClock) -> None:
    class Job(Service, restart="temporary"):
        def run(self) -> None:
            boom("in run")

    root = started(Parent())
    seen = observe(root)
    job = root.adopt(Job())
    clock.settle()
    assert seen == [("started", "Parent/Job"), ("crashed", "Parent/Job")]
    ended = job.wait()
    assert ended is not None
    assert (ended.reason, str(ended.failure)) == (Reason.CRASHED, "ValueError: in run")
    assert not ended.is_clean
    root.stop()


def test_a_body_that_is_killed_by_hand_is_finished(clock: VirtualClock) -> None:
    class Job(Service, restart="transient"):
        def run(self) -> None:
            self.body = gevent.getcurrent()
            gevent.sleep(1000)

    job = started(Job())
    clock.settle()
    job.body.kill()
    assert job.snapshot().state is State.FINISHED


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("restart", "state", "kept"),
    [
        ("permanent", State.RUNNING, True),
        ("transient", State.FINISHED, True),
        ("temporary", State.FINISHED, False),
    ],
)
def test_finish_is_a_clean_end_and_the_restart_type_applies(
    clock: VirtualClock, restart: str, state: State, *, kept: bool, inside: bool
) -> None:
    root = started(Parent())
    child = root.adopt(Plain(), restart=restart)
    if inside:
        child.spawn(child.finish)
    else:
        child.finish()
    clock.settle()
    assert child.snapshot().state is state
    assert child.snapshot().restarts == (1 if restart == "permanent" else 0)
    assert bool(root.snapshot().children) is kept
    assert child.snapshot().failures == ()
    root.stop()


def test_finish_in_on_start_ends_the_service_when_it_has_come_up(clock: VirtualClock) -> None:
    class Once(Service, restart="transient"):
        def on_start(self) -> None:
            self.finish()
            self.state_then = self.snapshot().state

    root = started(Parent())
    seen = observe(root)
    once = root.adopt(Once())
    clock.settle()
    assert once.state_then is State.STARTING
    assert seen == [("started", "Parent/Once"), ("finished", "Parent/Once")]
    root.stop()


def test_a_root_that_finishes_is_finished(clock: VirtualClock) -> None:
    root = started(Plain())
    root.finish()
    clock.settle()
    assert root.snapshot().state is State.FINISHED
    with pytest.raises(NotRunning, match="finished"):
        root.finish()


# -- start, stop, wait -----------------------------------------------------------------


def test_starting_twice_is_an_error() -> None:
    service = started(Plain())
    with pytest.raises(AlreadyStarted):
        service.start()
    child = service.adopt(Plain())
    with pytest.raises(AlreadyStarted, match="Plain/Plain"):
        child.start()
    service.stop()


def test_a_start_that_fails_says_what_and_where(clock: VirtualClock) -> None:
    class Bad(Service):
        def on_start(self) -> None:
            boom("no database")

    class Middle(Service):
        def on_start(self) -> None:
            self.adopt(Bad(), name="bad")

    class Top(Service):
        def on_start(self) -> None:
            self.adopt(Middle())

    top = Top()
    with pytest.raises(StartFailed) as caught:
        top.start()
    assert str(caught.value) == "Top/Middle/bad failed to start: ValueError: no database"
    assert isinstance(caught.value.__cause__, ValueError)
    assert top.snapshot().state is State.FAILED
    assert top.snapshot().children == ()
    ended = top.wait(0)
    assert ended is not None
    assert ended.reason is Reason.START_FAILED
    clock.settle()


def test_a_failed_root_can_be_started_again() -> None:
    class Moody(Service):
        tries = 0

        def on_start(self) -> None:
            type(self).tries += 1
            if self.tries == 1:
                boom()

    moody = Moody()
    with pytest.raises(StartFailed):
        moody.start()
    moody.start()
    assert moody.snapshot().state is State.RUNNING
    moody.stop()


def test_ignore_leaves_a_service_out_without_failure() -> None:
    class Optional(Service):
        def on_start(self) -> None:
            raise Ignore("not configured")

    root = started(Plain())
    child = root.adopt(Optional())
    assert child.snapshot().state is State.STOPPED
    assert child.wait() == Exit(Reason.IGNORED, 1)
    lone = started(Optional())
    assert lone.snapshot().state is State.STOPPED
    root.stop()


def test_start_timeout_limits_on_start(clock: VirtualClock) -> None:
    class Slow(Service, start_timeout=2.0):
        def on_start(self) -> None:
            self.add_cleanup(cleaned.append, clock.now)
            gevent.sleep(1000)

    cleaned: list[float] = []
    slow = Slow()
    with pytest.raises(StartFailed, match=r"within 2 s \(start_timeout\)") as caught:
        slow.start()
    assert isinstance(caught.value.__cause__, StartTimeout)
    assert clock.now == 2.0
    assert len(cleaned) == 1


def test_a_stop_during_a_blocking_on_start_aborts_it(clock: VirtualClock) -> None:
    class Slow(Service):
        def on_start(self) -> None:
            self.add_cleanup(cleaned.append, 1)
            gevent.sleep(1000)

    cleaned: list[int] = []
    slow = Slow()
    starting = spawn(slow.start)
    clock.advance(1)
    report = slow.stop()
    assert isinstance(report, StopReport)
    assert not report.is_pending
    assert cleaned == [1]
    assert slow.snapshot().state is State.STOPPED
    with pytest.raises(StartFailed, match="aborted") as caught:
        starting.get()
    assert isinstance(caught.value.__cause__, StartAborted)
    assert clock.now == 1.0


def test_a_crash_of_something_owned_aborts_on_start(clock: VirtualClock) -> None:
    class Early(Service):
        def on_start(self) -> None:
            self.spawn(boom, "early")
            gevent.sleep(1000)

    early = Early()
    with pytest.raises(StartFailed, match="ValueError: early"):
        early.start()
    assert clock.now == 0.0
    assert early.snapshot().state is State.FAILED


def test_a_kill_of_the_starter_aborts_the_start(clock: VirtualClock) -> None:
    class Slow(Service):
        def on_start(self) -> None:
            gevent.sleep(1000)

    slow = Slow()
    starting = spawn(slow.start)
    clock.advance(1)
    starting.kill()
    assert isinstance(starting.value, GreenletExit)
    assert slow.snapshot().state is State.FAILED

    other = Slow()
    with pytest.raises(Timeout), Timeout(3):
        other.start()
    assert clock.now == 4.0
    assert other.snapshot().state is State.FAILED


def test_stopping_something_that_never_started_does_nothing() -> None:
    service = Plain()
    assert service.stop() == StopReport()
    assert service.snapshot().state is State.NEW


def test_stopping_twice_is_harmless() -> None:
    service = started(Plain())
    assert service.stop().clean == 1
    assert service.stop().clean == 0
    assert service.snapshot().state is State.STOPPED


def test_a_stopped_child_stays_stopped_until_it_is_started(clock: VirtualClock) -> None:
    root = started(Parent())
    child = root.adopt(Plain())
    child.stop()
    clock.advance(3600)
    assert child.snapshot().state is State.STOPPED
    child.start()
    assert child.snapshot().state is State.RUNNING
    assert child.snapshot().incarnation == 2
    assert child.snapshot().restarts == 0  # by hand does not count
    root.stop()


def test_a_child_below_a_stopped_parent_cannot_be_started_by_itself() -> None:
    root = started(Parent())
    middle = root.adopt(Plain())
    child = middle.adopt(Plain())
    middle.stop()
    assert child.snapshot().state is State.STOPPED
    child.start()  # free again: the root of a tree of its own
    assert child.snapshot().path == "Plain"
    child.stop()
    root.stop()


def test_a_child_that_waits_for_its_restart_cannot_be_started(clock: VirtualClock) -> None:
    child, end = bring_to(State.RESTARTING, clock)
    with pytest.raises(ChildRestarting):
        child.start()
    end()


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5"])
def test_a_wrong_stop_timeout_is_an_error(timeout: Any) -> None:
    service = started(Plain())
    with pytest.raises(BadValue, match="timeout="):
        service.stop(timeout)
    assert service.stop(0).is_clean


def test_wait_returns_how_it_ended(clock: VirtualClock) -> None:
    root = started(Parent())
    child = root.adopt(Plain())
    waiting = [spawn(child.wait) for _ in range(3)]
    clock.settle()
    assert not any(greenlet.ready() for greenlet in waiting)
    assert child.wait(5) is None
    assert child.wait(0) is None
    assert clock.now == 5.0
    child.stop()
    gevent.joinall(waiting)
    assert [greenlet.get() for greenlet in waiting] == [Exit(Reason.STOPPED, 1)] * 3
    assert child.wait() == Exit(Reason.STOPPED, 1)
    root.stop()


@pytest.mark.parametrize("waited", [False, True])
@pytest.mark.parametrize(
    "reason", ["finished", "stopped", "ignored", "shutdown", "finished, then stopped", "crashed"]
)
def test_how_it_ended_is_one_truth_whether_or_not_somebody_waited_before(
    clock: VirtualClock, reason: str, *, waited: bool
) -> None:
    class Optional(Service):
        def on_start(self) -> None:
            if self._incarnation_ == 2 and reason == "ignored":
                raise Ignore

    root = started(Parent())
    child = Supervisor(name="child", auto_shutdown="any_significant")
    policy: dict[str, Any] = {"restart": "transient"}
    if reason == "ignored":
        child = cast("Any", Optional())
        policy = {}
    if reason == "finished, then stopped":
        policy = {"backoff": Backoff(initial=10.0)}
    root.adopt(child, **policy)
    if waited:
        assert child.wait(0) is None
    if reason in ("finished", "finished, then stopped"):
        child.finish()
    elif reason == "shutdown":
        child.adopt(Plain(), restart="transient", significant=True).finish()
    elif reason == "crashed":
        child.spawn(boom)
        clock.advance(0.0)
    if reason == "ignored":
        child.finish()
    clock.settle()
    if reason in ("stopped", "finished, then stopped", "crashed"):
        child.stop()
    ended = child.wait(0)
    assert ended is not None
    wanted = {"finished, then stopped": "finished", "crashed": "stopped"}.get(reason, reason)
    assert ended.reason.value == wanted
    assert ended.incarnation == (2 if reason in ("ignored", "crashed") else 1)
    root.stop()


def test_wait_goes_on_over_restarts(clock: VirtualClock) -> None:
    root = started(Parent())
    child = root.adopt(Plain())
    waiting = spawn(child.wait)
    for _ in range(3):
        child.spawn(boom)
        clock.advance(1)
    assert not waiting.ready()
    child.stop()
    assert waiting.get() == Exit(Reason.STOPPED, 4)
    root.stop()


def test_a_waiter_may_be_killed(clock: VirtualClock) -> None:
    root = started(Plain())
    waiting = spawn(root.wait)
    clock.settle()
    waiting.kill()
    with pytest.raises(Timeout), Timeout(1):
        root.wait()
    root.stop()


def test_stop_from_inside_is_carried_out_later(clock: VirtualClock) -> None:
    reports: list[tuple[StopReport, State]] = []

    class Quitter(Service):
        def run(self) -> None:
            reports.append((self.stop(), self.snapshot().state))
            gevent.sleep(1000)

    quitter = started(Quitter())
    clock.settle()
    assert quitter.snapshot().state is State.STOPPED
    assert reports == [(StopReport(is_pending=True), State.RUNNING)]


def test_a_child_may_stop_its_root(clock: VirtualClock) -> None:
    root = started(Parent())
    child = root.adopt(Plain())
    reports = child.spawn(root.stop)
    clock.settle()
    assert reports.get().is_pending
    assert root.snapshot().state is State.STOPPED
    assert child.snapshot().state is State.STOPPED


def test_stop_in_on_start_makes_the_start_fail(clock: VirtualClock) -> None:
    class Shy(Service):
        def on_start(self) -> None:
            self.stop()
            gevent.sleep(1000)

    shy = Shy()
    with pytest.raises(StartFailed, match="aborted"):
        shy.start()
    assert shy.snapshot().state is State.STOPPED
    assert clock.now == 0.0


# -- what leaves a managed callable ----------------------------------------------------

LEAVE: dict[str, Callable[[Service, Callable[[], object]], object]] = {
    "greenlet": lambda service, fn: service.spawn(fn),
    "timer": lambda service, fn: service.timeout(fn, 0),
    "interval": lambda service, fn: service.interval(fn, 1, immediate=True),
    "listener": listen_and_emit,
}


@pytest.mark.parametrize("way", LEAVE)
def test_an_exception_is_a_crash_wherever_it_leaves(clock: VirtualClock, way: str) -> None:
    root = started(Parent())
    child = root.adopt(Plain(), restart="transient")
    LEAVE[way](child, boom)
    clock.settle()
    picture = child.snapshot()
    assert (picture.state, picture.incarnation, picture.restarts) == (State.RUNNING, 2, 1)
    assert str(picture.last_failure) == "ValueError: boom"
    root.stop()


@pytest.mark.parametrize("way", LEAVE)
@pytest.mark.parametrize(("given", "code"), [(3, 3), (None, 0), ("a message", 1)])
def test_system_exit_stops_the_tree_with_its_code(
    clock: VirtualClock, way: str, given: object, code: int
) -> None:
    def leave() -> None:
        raise SystemExit(given)

    root = started(Parent())
    sibling = root.adopt(Plain())
    LEAVE[way](root.adopt(Plain()), leave)
    ended = root.wait(5)
    assert ended is not None
    assert (ended.reason, ended.code) == (Reason.STOPPED, code)
    assert sibling.snapshot().state is State.STOPPED
    assert clock.now == 0.0


def test_system_exit_in_on_start_stops_the_tree(clock: VirtualClock) -> None:
    class Quits(Service):
        def on_start(self) -> None:
            raise SystemExit(7)

    root = started(Parent())
    with pytest.raises(StartFailed, match="SystemExit"):
        root.adopt(Quits())
    ended = root.wait(5)
    assert ended is not None
    assert ended.code == 7
    clock.settle()


def test_system_exit_in_on_stop_gives_the_code_and_the_stop_goes_on(clock: VirtualClock) -> None:
    class Quits(Service):
        def on_stop(self) -> None:
            raise SystemExit(7)

    root = started(Parent())
    child = root.adopt(Quits())
    child.stop()
    ended = root.wait(5)
    assert ended is not None
    assert ended.code == 7
    clock.settle()


@pytest.mark.parametrize("way", LEAVE)
def test_keyboard_interrupt_is_the_programs_not_the_services(clock: VirtualClock, way: str) -> None:
    def leave() -> None:
        raise KeyboardInterrupt

    root = started(Parent())
    child = root.adopt(Plain())
    if way == "listener":
        # In the emitter's greenlet: this one.
        with pytest.raises(KeyboardInterrupt):
            LEAVE[way](child, leave)
    else:
        with pytest.raises(KeyboardInterrupt):
            LEAVE[way](child, leave)
            clock.settle()
    clock.settle()
    assert child.snapshot().state is State.RUNNING
    assert child.snapshot().incarnation == 1
    root.stop()


def test_keyboard_interrupt_in_on_start_reaches_the_main_greenlet(clock: VirtualClock) -> None:
    class Interrupted(Service):
        def on_start(self) -> None:
            raise KeyboardInterrupt

    service = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        service.start()
    assert service.snapshot().state is State.FAILED
    clock.settle()


@pytest.mark.parametrize("way", [way for way in LEAVE if way != "listener"])
def test_a_timeout_that_escapes_is_a_crash(clock: VirtualClock, way: str) -> None:
    def leave() -> None:
        with Timeout(1):
            gevent.sleep(1000)

    root = started(Parent())
    child = root.adopt(Plain())
    LEAVE[way](child, leave)
    clock.advance(1)
    assert child.snapshot().incarnation == 2
    assert str(child.snapshot().last_failure).startswith("gevent.timeout.Timeout: 1 second")
    root.stop()


def test_a_timeout_in_run_or_on_start_is_a_crash_or_a_failed_start(clock: VirtualClock) -> None:
    class Impatient(Service, restart="temporary"):
        def run(self) -> None:
            with Timeout(1):
                gevent.sleep(1000)

    class Never(Service):
        def on_start(self) -> None:
            with Timeout(1):
                gevent.sleep(1000)

    root = started(Parent())
    impatient = root.adopt(Impatient())
    clock.advance(1)
    assert impatient.snapshot().state is State.FAILED
    with pytest.raises(StartFailed, match="Timeout: 1 second"):
        root.adopt(Never())
    root.stop()


@pytest.mark.parametrize("blocks", [0.0, 0.1])
def test_a_timeout_forgotten_in_a_hook_hits_nobody_else(
    clock: VirtualClock, capfd: pytest.CaptureFixture[str], blocks: float
) -> None:
    """Hooks share greenlets; the timer of one must not fire in another (gevent-traps 23)."""

    class Forgetful(Service):
        def on_start(self) -> None:
            Timeout(1).start()
            if blocks:
                gevent.sleep(blocks)

    class Victim(Service):
        def on_start(self) -> None:
            gevent.sleep(2)

    root = started(Parent())
    root.adopt(Victim())  # so that there is a greenlet to share
    root.adopt(Forgetful())
    root.adopt(Victim())
    clock.advance(5)
    root.adopt(Forgetful())
    clock.advance(0.5)  # so that the greenlet is idle when it fires
    clock.advance(5)
    assert {child.state for child in root.snapshot().children} == {State.RUNNING}
    assert {child.incarnation for child in root.snapshot().children} == {1}
    root.stop()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("blocks", [0.0, 0.1])
def test_a_timeout_forgotten_in_a_tick_hits_nobody_else(clock: VirtualClock, blocks: float) -> None:
    def forget() -> None:
        Timeout(1).start()
        if blocks:
            gevent.sleep(blocks)

    root = started(Parent())
    forgetful, victim = root.adopt(Plain()), root.adopt(Plain())
    victim.timeout(int, 0)  # so that there is a greenlet to share
    clock.settle()
    forgetful.timeout(forget, 0)
    clock.advance(0.5)
    victim.timeout(gevent.sleep, 0, 2)
    clock.advance(5)
    assert victim.snapshot().incarnation == 1
    root.stop()


def test_greenlet_exit_is_a_quiet_end(clock: VirtualClock, log: Any) -> None:
    def leave() -> None:
        raise GreenletExit

    root = started(Parent())
    child = root.adopt(Plain())
    for way, arrange in LEAVE.items():
        if way != "listener":
            arrange(child, leave)
    clock.settle()
    killed = child.spawn(gevent.sleep, 1000)
    clock.settle()
    killed.kill()
    picture = child.snapshot()
    assert (picture.state, picture.incarnation) == (State.RUNNING, 1)
    assert picture.owned.greenlets == 0
    assert log.at_least(logging.WARNING) == []
    root.stop()


def test_a_greenlet_killed_before_it_began_is_forgotten(clock: VirtualClock) -> None:
    service = started(Plain())
    greenlet = service.spawn(boom)
    greenlet.kill()
    clock.settle()
    assert service.snapshot().owned.greenlets == 0
    assert service.snapshot().state is State.RUNNING
    service.stop()


# -- spawn() gives a plain greenlet ----------------------------------------------------


def test_spawn_returns_results_like_a_plain_greenlet(clock: VirtualClock) -> None:
    def add(left: int, *, right: int) -> int:
        return left + right

    service = started(Plain())
    greenlet = service.spawn(add, 1, right=2)
    assert isinstance(greenlet, gevent.Greenlet)
    assert greenlet.get() == 3
    plain = spawn(lambda: add(1, right=2))
    plain.join()
    ended = cast("Any", greenlet)
    assert (ended.value, ended.exception, ended.exc_info) == (3, None, plain.exc_info)
    assert greenlet.successful()
    assert greenlet.ready()
    assert gevent.joinall([service.spawn(add, 1, right=1)], raise_error=True)[0].value == 2
    clock.settle()
    assert service.snapshot().owned.greenlets == 0
    service.stop()


def test_a_crashed_greenlet_raises_like_a_plain_one_and_prints_nothing(
    clock: VirtualClock, capfd: pytest.CaptureFixture[str]
) -> None:
    root = started(Parent())
    child = root.adopt(Plain())
    linked: list[tuple[str, object]] = []
    greenlet: Any = child.spawn(boom, "seen")

    def note(kind: str) -> Callable[[object], None]:
        return lambda source: linked.append((kind, source))

    greenlet.link(note("link"))
    greenlet.link_exception(note("exception"))
    greenlet.link_value(note("value"))
    with pytest.raises(ValueError, match="seen") as caught:
        greenlet.get()
    clock.settle()
    assert linked == [("link", greenlet), ("exception", greenlet)]
    assert greenlet.exception is caught.value
    assert greenlet.exc_info[:2] == (ValueError, caught.value)
    assert greenlet.exc_info[2] is not None
    assert greenlet.value is None
    assert not greenlet.successful()
    assert greenlet.ready()
    assert greenlet.dead
    with pytest.raises(ValueError, match="again"):
        gevent.joinall([child.spawn(boom, "again")], raise_error=True)
    with pytest.raises(ValueError, match="third"):
        child.spawn(boom, "third").get(block=True, timeout=5)
    clock.settle()
    root.stop()
    assert capfd.readouterr() == ("", "")


def test_what_was_linked_after_the_crash_is_called_too(clock: VirtualClock) -> None:
    root = started(Parent())
    child = root.adopt(Plain())
    greenlet: Any = child.spawn(boom)
    clock.settle()
    linked: list[object] = []
    greenlet.link_exception(linked.append)
    greenlet.link_value(linked.append)
    clock.settle()
    assert linked == [greenlet]
    root.stop()


def test_system_exit_is_raised_to_who_asks_for_the_result(clock: VirtualClock) -> None:
    def leave() -> None:
        raise SystemExit(3)

    root = started(Parent())
    greenlet = root.spawn(leave)
    with pytest.raises(SystemExit):
        greenlet.get()
    assert root.wait(1) is not None
    clock.settle()


# -- the current service and other context ---------------------------------------------


def where_the_current_service_is_seen(clock: VirtualClock) -> None:
    seen: dict[str, object] = {}

    def note(where: str) -> None:
        seen[where] = current_service()

    class Aware(Service):
        def on_start(self) -> None:
            note("on_start")
            self.spawn(note, "greenlet")
            self.timeout(note, 0, "timeout")
            self.interval(note, 1, "interval", immediate=True)
            self.listen("event", lambda _data: note("listener"))
            self.add_cleanup(note, "clean-up")

        def on_ready(self) -> None:
            note("on_ready")

        def run(self) -> None:
            note("run")
            gevent.sleep(1000)

        def on_drain(self) -> None:
            note("on_drain")

        def on_stop(self) -> None:
            note("on_stop")

    root = started(Parent())
    aware = root.adopt(Aware())
    emitter = root.adopt(Plain())
    emitter.spawn(emitter.emit, "event")
    clock.settle()
    root.stop()
    places = ("on_start", "greenlet", "timeout", "interval", "listener", "clean-up", "run")
    assert seen == dict.fromkeys((*places, "on_ready", "on_drain", "on_stop"), aware)
    assert current_service() is None


def test_the_current_service_is_seen_wherever_its_code_runs(clock: VirtualClock) -> None:
    where_the_current_service_is_seen(clock)
    # Where nothing else is set, as outside of pytest, no context is kept for later hooks.
    contextvars.Context().run(where_the_current_service_is_seen, clock)


def test_a_greenlet_spawned_for_another_service_is_that_services(clock: VirtualClock) -> None:
    root = started(Parent())
    one, other = root.adopt(Plain()), root.adopt(Plain())
    seen = one.spawn(lambda: other.spawn(current_service).get())
    assert seen.get() is other
    clock.settle()
    root.stop()


def test_context_variables_pass_into_what_a_service_starts(clock: VirtualClock) -> None:
    seen: dict[str, str] = {}

    def note(where: str) -> None:
        seen[where] = REQUEST.get()

    class Aware(Service):
        def on_start(self) -> None:
            note("on_start")

    def work(service: Service) -> None:
        REQUEST.set("r-17")
        service.adopt(Aware())
        service.spawn(note, "greenlet")
        service.timeout(note, 0, "timeout")
        service.interval(note, 1, "interval", immediate=True)
        service.listen("event", lambda _data: note("listener"))
        service.emit("event")

    root = started(Parent())
    root.spawn(work, root).get()
    clock.settle()
    places = ("on_start", "greenlet", "timeout", "interval", "listener")
    assert seen == dict.fromkeys(places, "r-17")
    assert REQUEST.get() == "none"
    root.stop()


def test_any_service_is_a_block(clock: VirtualClock) -> None:
    with pytest.raises(KeyError), Plain() as service:
        assert service.snapshot().state is State.RUNNING
        raise KeyError
    assert service.snapshot().state is State.STOPPED


def test_run_sees_what_on_start_has_put_into_its_context(clock: VirtualClock) -> None:
    seen: list[object] = []

    class Aware(Service):
        def on_start(self) -> None:
            REQUEST.set(f"life {self.snapshot().incarnation}")

        def run(self) -> None:
            seen.extend((REQUEST.get(), current_service()))
            gevent.sleep(100)

    with Supervisor() as top:
        aware = top.adopt(Aware())
        clock.settle()
        aware.spawn(boom)
        clock.settle()
        assert seen == ["life 1", aware, "life 2", aware]
    assert REQUEST.get() == "none"


def test_one_tick_does_not_see_what_the_one_before_has_set(clock: VirtualClock) -> None:
    seen: list[str] = []

    def tick() -> None:
        seen.append(REQUEST.get())
        REQUEST.set("dirty")

    service = started(Plain())
    service.interval(tick, 1)
    clock.advance(3)
    assert seen == ["none"] * 3
    service.stop()


def test_a_restarted_on_start_runs_in_a_fresh_context(clock: VirtualClock) -> None:
    seen: list[tuple[str, object]] = []

    class Aware(Service):
        def on_start(self) -> None:
            seen.append((REQUEST.get(), current_service()))

    root = started(Parent())

    def adopt() -> Aware:
        REQUEST.set("r-17")
        return cast("Aware", root.adopt(Aware()))

    aware = root.spawn(adopt).get()
    aware.spawn(boom)
    clock.settle()
    assert seen == [("r-17", aware), ("none", aware)]
    root.stop()


# -- a crash: logged once, remembered without its traceback ----------------------------


@pytest.mark.parametrize("way", LEAVE)
def test_a_crash_is_logged_exactly_once_with_path_and_traceback(
    clock: VirtualClock, log: Any, capfd: pytest.CaptureFixture[str], way: str
) -> None:
    root = started(Parent())
    child = root.adopt(Plain(), name="fragile")
    LEAVE[way](child, boom)
    clock.settle()
    root.stop()
    (record,) = log.at_least(logging.ERROR)
    assert record.getMessage().startswith("Parent/fragile: service crashed (step=")
    assert record.sprag["event"] == "service crashed"
    assert record.name == "sprag"
    assert record.sprag["service"] == "Parent/fragile"
    assert record.sprag["incarnation"] == 1
    assert record.exc_info[0] is ValueError
    assert "in boom" in logging.Formatter().formatException(record.exc_info)
    assert capfd.readouterr() == ("", "")


def test_a_failed_start_is_logged_once_by_the_innermost(log: Any) -> None:
    class Bad(Service):
        def on_start(self) -> None:
            boom()

    class Middle(Service):
        def on_start(self) -> None:
            self.adopt(Bad())

    with pytest.raises(StartFailed):
        started(Middle())
    (record,) = log.at_least(logging.ERROR)
    assert record.sprag["service"] == "Middle/Bad"
    assert record.exc_info[0] is ValueError


def test_a_crash_in_the_restarted_on_start_is_logged_each_time(
    clock: VirtualClock, log: Any
) -> None:
    class Dead(Service):
        lives = 0

        def on_start(self) -> None:
            type(self).lives += 1
            if self.lives > 1:
                boom("still dead")

    class Careful(Service, max_restarts=2):
        pass

    root = started(Careful())
    child = root.adopt(Dead())
    child.spawn(boom)
    clock.settle()
    assert root.snapshot().state is State.FAILED
    events = [record.sprag["event"] for record in log.at_least(logging.ERROR)]
    assert events == [
        "service crashed",
        "service failed to start",
        "service failed to start",
        "supervisor gave up",
    ]
    assert [r.sprag["incarnation"] for r in log.at_least(logging.ERROR)] == [1, 2, 3, 1]


def test_the_log_of_a_service_carries_path_and_incarnation(clock: VirtualClock, log: Any) -> None:
    class Talks(Service):
        def on_start(self) -> None:
            self.log.info("hello", answer=42)

    root = started(Parent())
    child = root.adopt(Talks(), name="talks")
    child.spawn(boom)
    clock.settle()
    child.log.warning("bye")
    records = [record for record in log.records if record.name == "sprag.service"]
    hello = {"event": "hello", "service": "Parent/talks", "answer": 42}
    assert [(r.getMessage(), r.sprag) for r in records] == [
        ("Parent/talks: hello (answer=42)", {**hello, "incarnation": 1}),
        ("Parent/talks: hello (answer=42)", {**hello, "incarnation": 2}),
        ("Parent/talks: bye", {"event": "bye", "service": "Parent/talks", "incarnation": 2}),
    ]
    assert {r.msg for r in records} == {"%s: hello (answer=%.300r)", "%s: bye"}
    root.stop()


def test_the_fields_that_a_service_logs_are_part_of_the_text(log: Any) -> None:
    talks = started(Plain())
    talks.log.warning("%d of %d", 1, 2)
    talks.log.warning("100% sure", **{"100%": "a\nb"})
    talks.log.warning("long", html="x" * 1000, stack="one\ntwo")
    talks.log.unbind("service").warning("nobody's")
    counted, sure, long, unbound = [record.getMessage() for record in log.records]
    assert counted == "Plain: 1 of 2"
    assert sure == r"Plain: 100% sure (100%='a\nb')"
    assert long == f"Plain: long (html='{'x' * 299})"
    assert unbound == "nobody's"
    talks.stop()


def test_the_crash_history_is_bounded_and_readable(clock: VirtualClock) -> None:
    root = started(Parent())
    child = root.adopt(Plain())
    for number in range(25):
        child.spawn(boom, f"number {number}")
        clock.advance(1)
    failures = child.snapshot().failures
    assert [failure.message for failure in failures] == [f"number {n}" for n in range(15, 25)]
    assert [failure.incarnation for failure in failures] == list(range(16, 26))
    assert [failure.at for failure in failures] == [clock.wall - n for n in range(10, 0, -1)]
    text = failures[-1].format()
    assert text.startswith("Traceback (most recent call last):\n")
    assert "in boom\n    raise ValueError(message)\n" in text
    assert text.endswith("ValueError: number 24\n")
    root.stop()


def test_the_crash_history_keeps_causes(clock: VirtualClock) -> None:
    def wrap() -> None:
        try:
            boom("inner")
        except ValueError as error:
            raise RuntimeError("outer") from error

    root = started(Parent())
    child = root.adopt(Plain())
    child.spawn(wrap)
    clock.settle()
    failure = child.snapshot().last_failure
    assert str(failure) == "RuntimeError: outer"
    assert str(failure.cause) == "ValueError: inner"
    assert "direct cause" in failure.format()
    root.stop()


@pytest.mark.parametrize("way", LEAVE)
def test_a_crash_pins_nothing_of_the_user(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """gevent-traps 24."""
    monkeypatch.setattr(logging.getLogger("sprag"), "propagate", False)  # pytest keeps records

    class Big:
        pass

    alive: list[weakref.ref[Big]] = []

    def crash() -> None:
        big = Big()
        alive.append(weakref.ref(big))
        raise ValueError(repr(big))

    root = started(Parent())
    child = root.adopt(Plain())
    LEAVE[way](child, crash)
    clock.settle()
    gc.collect()
    assert child.snapshot().incarnation == 2
    assert [each() for each in alive] == [None]
    root.stop()


def test_an_exception_that_cannot_be_printed_is_a_crash_like_any_other(
    clock: VirtualClock,
) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    def crash() -> None:
        raise Unprintable

    root = started(Parent())
    child = root.adopt(Plain())
    child.spawn(crash)
    clock.settle()
    assert child.snapshot().incarnation == 2
    assert "ZeroDivisionError" in child.snapshot().last_failure.message
    root.stop()


def test_two_crashes_at_once_are_one_restart(clock: VirtualClock, log: Any) -> None:
    root = started(Parent())
    child = root.adopt(Plain())
    child.spawn(boom, "first")
    child.spawn(boom, "second")
    clock.settle()
    assert child.snapshot().restarts == 1
    assert str(child.snapshot().last_failure) == "ValueError: first"
    assert len([r for r in log.records if r.sprag["event"] == "service crashed"]) == 1
    root.stop()


# -- finding others --------------------------------------------------------------------


def test_a_service_is_found_by_its_path() -> None:
    root = started(Parent())
    fleet = root.adopt(Plain(), name="fleet")
    courier = fleet.adopt(Plain(), name="courier")
    for asking in (root, fleet, courier):
        assert asking.service("fleet") is fleet
        assert asking.service("fleet/courier") is courier
    root.stop()


def test_in_a_worker_the_app_is_meant_by_its_own_name_as_in_a_process_that_is_alone() -> None:
    root = started(Parent())
    fleet = root.adopt(Plain(), name="fleet")
    courier = fleet.adopt(Plain(), name="courier")
    tree = tree_of(root)
    root._name_, tree.also_called = "main/worker-2", ("shop", "main")  # as its host calls it
    for path in ("/fleet/courier", "shop/fleet/courier", "main/fleet/courier", path_of(courier)):
        assert courier.service(path) is courier
    assert courier.service("shop") is courier.service(path_of(root)) is root
    assert name_of_app(root) == "shop"
    with pytest.raises(UnknownService):
        courier.service("main/worker-1/fleet/courier")
    other = root.adopt(Plain(), name="shop")  # a name is a child's before it is the app's
    assert courier.service("shop") is other
    root.stop()


@pytest.mark.parametrize("name", ["feet", "fleet/curier", "fleet/courier/deeper", "", "/"])
def test_a_name_that_nobody_has_is_an_error_that_helps(name: str) -> None:
    root = started(Parent())
    fleet = root.adopt(Plain(), name="fleet")
    fleet.adopt(Plain(), name="courier")
    with pytest.raises(UnknownService) as caught:
        root.service(name)
    assert isinstance(caught.value, LookupError)
    assert "'fleet'" in str(caught.value)
    root.stop()


def test_repr_names_class_path_state_and_incarnation(clock: VirtualClock) -> None:
    root = Supervisor(name="shop")
    assert repr(root) == "<Supervisor 'Supervisor' new #0>" or "new" in repr(root)
    root.start()
    child = root.adopt(Plain(), name="courier")
    assert repr(child) == "<Plain 'shop/courier' running #1>"
    child.spawn(boom)
    clock.settle()
    assert repr(child) == "<Plain 'shop/courier' running #2>"
    root.stop()
    assert repr(root) == "<Supervisor 'shop' stopped #1>"
