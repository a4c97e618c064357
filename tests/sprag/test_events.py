"""The bus of a tree: who is called, in what order, in whose greenlet, and whose crash it is."""

from __future__ import annotations

import dataclasses
import enum
import gc
import logging
import weakref
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
import pytest
from gevent import GreenletExit, Timeout

from sprag import Backoff, Lifecycle, Service, State, Supervisor, current_service
from sprag.exceptions import BadValue, NotRunning
from sprag_supervisor import Outcome

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")


class Plain(Service):
    """Does nothing."""


class Parent(Service, max_restarts=1000):
    """Never gives up."""


def boom(_data: object = None) -> None:
    raise ValueError("boom")


@pytest.fixture
def root(clock: VirtualClock) -> Any:
    """Return the running root of a tree that ends with the test."""
    del clock  # it must be there first
    root = Parent()
    root.start()
    yield root
    root.stop()


# -- emitting --------------------------------------------------------------------------


def test_emit_calls_the_listeners_in_order_of_subscription_before_it_returns(
    root: Parent,
) -> None:
    calls: list[tuple[str, object]] = []
    one, two = root.adopt(Plain()), root.adopt(Plain())
    two.listen("order", lambda data: calls.append(("two", data)))
    one.listen("order", lambda data: calls.append(("one", data)))
    two.listen("order", lambda data: calls.append(("two again", data)))
    one.emit("order", 17)
    assert calls == [("two", 17), ("one", 17), ("two again", 17)]


def test_the_data_defaults_to_none_and_is_passed_as_it_is(root: Parent) -> None:
    seen: list[object] = []
    root.listen("event", seen.append)
    data = {"a": [1]}
    root.emit("event")
    root.emit("event", data)
    assert seen == [None, data]
    assert seen[1] is data


def test_listeners_run_in_the_emitters_greenlet(root: Parent) -> None:
    seen: list[object] = []
    root.listen("event", lambda _data: seen.append(gevent.getcurrent()))
    root.emit("event")
    greenlet = root.spawn(root.emit, "event")
    greenlet.join()
    assert seen == [gevent.getcurrent(), greenlet]


def test_an_event_nobody_listens_to_is_no_error(root: Parent) -> None:
    root.emit("nothing", 1)


def test_emit_returns_how_many_have_heard_it(root: Parent) -> None:
    assert root.emit("event") == 0
    handles = [root.listen("event", lambda _data: None) for _ in range(3)]
    assert root.emit("event") == 3
    handles[1].cancel()
    assert root.emit("event") == 2
    root.listen("other", lambda _data: late.cancel())
    late = root.listen("other", lambda _data: None)
    assert root.emit("other") == 1  # cancelled by the first, before its turn
    root.listen("broken", boom)
    assert root.emit("broken") == 1  # it has heard, and crashed of it


def test_that_nobody_listens_is_logged_at_debug_level_only(root: Parent, log: Any) -> None:
    root.emit("ordr")
    (record,) = log.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == "Parent: nobody listens to the event (name='ordr')"
    logging.getLogger("sprag").setLevel(logging.INFO)
    root.emit("ordr")
    assert len(log.records) == 1


def test_a_log_handler_may_emit_what_nobody_hears(root: Parent, log: Any) -> None:
    class Forwards(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            root.emit("logged", record)

    handler = Forwards()
    logging.getLogger("sprag").addHandler(handler)
    root.emit("ordr")
    logging.getLogger("sprag").removeHandler(handler)
    assert [record.sprag["name"] for record in log.records] == ["ordr"]


class Text(str, enum.Enum):  # noqa: UP042 - its hash is that of its name
    PAID = "order:paid"
    SENT = "order:sent"


class Modern(enum.StrEnum):
    PAID = "order:paid"


class Number(enum.Enum):
    PAID = "order:paid"


class Own(str):
    __slots__ = ()


@pytest.mark.parametrize("name", [Text.PAID, Modern.PAID, Own("order:paid"), "order:paid"])
@pytest.mark.parametrize("emitted", [Text.PAID, Modern.PAID, Own("order:paid"), "order:paid"])
def test_a_text_by_any_type_is_the_same_event(root: Parent, name: str, emitted: str) -> None:
    handle = root.listen(name, boom)
    assert root.emit(Text.SENT) == 0
    handle.cancel()
    seen: list[object] = []
    root.listen(name, seen.append)
    assert root.emit(emitted, 1) == 1
    assert seen == [1]


@pytest.mark.parametrize("event", [Number.PAID, 5, None, b"order", ["order"], ("a", "b"), boom])
def test_what_is_no_text_names_no_event(root: Parent, event: Any) -> None:
    with pytest.raises(BadValue, match=r"event=.* is not accepted: use a str"):
        root.emit(event)
    with pytest.raises(BadValue, match=r"event=.* is not accepted: use a str"):
        root.listen(event, boom)
    assert root.snapshot().owned.listeners == 0


def test_a_service_that_has_left_its_tree_cannot_emit(root: Parent) -> None:
    leaver = root.adopt(Plain(), name="leaver", restart="temporary")
    leaver.stop()
    with pytest.raises(NotRunning, match="it has left its tree: adopt it again first"):
        leaver.emit("event")
    with pytest.raises(NotRunning, match="it has left its tree: adopt it again first"):
        leaver.service("leaver")
    with pytest.raises(NotRunning, match="start it first"):
        Plain().emit("event")


def test_the_same_function_may_listen_twice(root: Parent) -> None:
    seen: list[object] = []
    first = root.listen("event", seen.append)
    root.listen("event", seen.append)
    root.emit("event", 1)
    first.cancel()
    root.emit("event", 2)
    assert seen == [1, 1, 2]


def test_a_listener_may_emit(root: Parent) -> None:
    seen: list[object] = []

    def relay(data: int) -> None:
        seen.append(f"relay {data}")
        if data:
            root.emit("event", data - 1)
        seen.append(f"relayed {data}")

    root.listen("event", relay)
    root.emit("event", 2)
    assert seen == ["relay 2", "relay 1", "relay 0", "relayed 0", "relayed 1", "relayed 2"]


def test_two_trees_do_not_meet(root: Parent) -> None:
    seen: list[object] = []
    other = Parent()
    other.start()
    other.listen("event", seen.append)
    root.emit("event", 1)
    assert seen == []
    other.emit("event", 2)
    assert seen == [2]
    other.stop()


def test_emit_works_until_the_very_end(root: Parent) -> None:
    seen: list[object] = []

    class Talks(Service):
        def on_stop(self) -> None:
            self.emit("bye", 1)

    root.listen("bye", seen.append)
    child = root.adopt(Talks())
    child.stop()
    assert seen == [1]
    child.emit("bye", 2)  # from the grave: it still has its place in the tree
    assert seen == [1, 2]


# -- coming and going ------------------------------------------------------------------


def test_a_cancelled_listener_hears_nothing_more(root: Parent) -> None:
    seen: list[object] = []
    handle = root.listen("event", seen.append)
    assert handle.active
    root.emit("event", 1)
    handle.cancel()
    handle.cancel()
    root.emit("event", 2)
    assert seen == [1]
    assert not handle.active
    assert root.snapshot().owned.listeners == 0


def test_listeners_that_come_during_an_emit_hear_the_next_one(root: Parent) -> None:
    seen: list[object] = []

    def first(data: object) -> None:
        seen.append(f"first {data}")
        if data == 1:
            root.listen("event", lambda data: seen.append(f"late {data}"))

    root.listen("event", first)
    root.emit("event", 1)
    assert seen == ["first 1"]
    root.emit("event", 2)
    assert seen == ["first 1", "first 2", "late 2"]


def test_listeners_that_go_during_an_emit_are_not_called(root: Parent) -> None:
    seen: list[object] = []
    handles: list[Any] = []

    def first(_data: object) -> None:
        for handle in handles:
            handle.cancel()
        seen.append("first")

    root.listen("event", first)
    handles.append(root.listen("event", lambda _data: seen.append("second")))
    root.emit("event")
    assert seen == ["first"]


def test_a_listener_may_cancel_itself(root: Parent) -> None:
    seen: list[object] = []

    def once(data: object) -> None:
        handle.cancel()
        seen.append(data)

    handle = root.listen("event", once)
    root.emit("event", 1)
    root.emit("event", 2)
    assert seen == [1]
    assert root.snapshot().owned.listeners == 0


def test_a_stopped_service_hears_nothing(root: Parent) -> None:
    seen: list[object] = []
    child = root.adopt(Plain())
    child.listen("event", seen.append)
    child.stop()
    root.emit("event")
    assert seen == []


def test_a_restarted_service_listens_once(root: Parent, clock: VirtualClock) -> None:
    seen: list[object] = []

    class Ears(Service):
        def on_start(self) -> None:
            self.listen("event", seen.append)

    ears = root.adopt(Ears())
    ears.spawn(boom)
    clock.settle()
    root.emit("event", 1)
    assert seen == [1]


def test_a_bound_method_is_kept_alive(root: Parent) -> None:
    seen: list[object] = []

    class Handler:
        def handle(self, data: object) -> None:
            seen.append(data)

    handler = Handler()
    reference = weakref.ref(handler)
    handle = root.listen("event", handler.handle)
    del handler
    gc.collect()
    root.emit("event", 1)
    assert seen == [1]
    handle.cancel()
    del handle
    gc.collect()
    assert reference() is None


# -- whose crash it is -----------------------------------------------------------------


def test_an_exception_crashes_the_listeners_service_not_the_emitter(
    root: Parent, clock: VirtualClock
) -> None:
    seen: list[object] = []
    emitter, ears, other = (root.adopt(Plain(), name=name) for name in ("emitter", "ears", "other"))
    ears.listen("event", boom)
    other.listen("event", seen.append)
    emitter.emit("event", 1)
    clock.settle()
    assert seen == [1]  # those after it are called all the same
    assert ears.snapshot().incarnation == 2
    assert str(ears.snapshot().last_failure) == "ValueError: boom"
    assert emitter.snapshot().incarnation == other.snapshot().incarnation == 1


def test_an_emitter_may_crash_itself_by_its_own_listener(root: Parent, clock: VirtualClock) -> None:
    child = root.adopt(Plain())
    child.listen("event", boom)
    child.spawn(child.emit, "event")
    clock.settle()
    assert child.snapshot().restarts == 1


def test_the_kill_of_an_emitter_passes_through_its_listeners(
    root: Parent, clock: VirtualClock
) -> None:
    ears = root.adopt(Plain())
    passed: list[object] = []

    def slow(_data: object) -> None:
        try:
            gevent.sleep(1000)
        except GreenletExit as exit_:
            passed.append(exit_)
            raise

    ears.listen("event", slow)
    emitter = root.spawn(root.emit, "event")
    clock.settle()
    emitter.kill()
    assert len(passed) == 1
    assert isinstance(emitter.value, GreenletExit)
    clock.settle()
    assert ears.snapshot().incarnation == 1


def test_a_timeout_of_the_emitters_own_passes_through(root: Parent, clock: VirtualClock) -> None:
    ears = root.adopt(Plain())
    ears.listen("event", lambda _data: gevent.sleep(1000))
    with pytest.raises(Timeout), Timeout(2):
        root.emit("event")
    assert clock.now == 2.0
    clock.settle()
    assert ears.snapshot().incarnation == 1


def test_a_timeout_that_a_listener_leaks_is_the_listeners_crash(
    root: Parent, clock: VirtualClock
) -> None:
    def leaky(_data: object) -> None:
        with Timeout(1):
            gevent.sleep(1000)

    ears = root.adopt(Plain())
    ears.listen("event", leaky)
    with Timeout(5):
        root.emit("event")
    assert clock.now == 1.0
    clock.settle()
    assert ears.snapshot().incarnation == 2
    assert "Timeout" in str(ears.snapshot().last_failure)


def test_a_crashing_listener_is_logged_once_for_its_service(root: Parent, log: Any) -> None:
    ears = root.adopt(Plain(), name="ears")
    ears.listen("event", boom)
    root.emit("event")
    (record,) = log.at_least(logging.ERROR)
    assert record.getMessage() == "Parent/ears: service crashed (step='listener')"


# -- a listener that blocks ------------------------------------------------------------


def test_a_blocking_listener_holds_its_emitter(root: Parent, clock: VirtualClock) -> None:
    ears = root.adopt(Plain())
    ears.listen("event", lambda _data: gevent.sleep(3))
    root.emit("event")
    assert clock.now == 3.0


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_listener_under_way_is_waited_for_when_its_service_stops(
    root: Parent, clock: VirtualClock, *, cancelled: bool
) -> None:
    ended: list[float] = []

    def slow(_data: object) -> None:
        gevent.sleep(3)
        ended.append(clock.now)

    ears = root.adopt(Plain())
    handle = ears.listen("event", slow)
    ears.add_cleanup(lambda: ended.append(-clock.now))
    root.spawn(root.emit, "event")
    clock.advance(1)
    if cancelled:
        handle.cancel()
    report = ears.stop()
    assert ended == [3.0, -3.0]  # the clean-up came after it
    assert report.is_clean
    assert clock.now == 3.0


def test_a_listener_that_outlives_its_service_is_a_straggler(
    root: Parent, clock: VirtualClock, log: Any
) -> None:
    def endless(_data: object) -> None:
        gevent.sleep(1000)

    ears = root.adopt(Plain(), name="ears", shutdown=2.0)
    ears.listen("event", endless)
    emitter = root.spawn(root.emit, "event")
    clock.settle()
    report = ears.stop()
    assert clock.now == pytest.approx(2.1)
    (entry,) = report.entries
    assert (entry.path, entry.outcome, entry.step) == ("Parent/ears", Outcome.STRAGGLER, "listener")
    assert "in endless" in entry.detail
    assert "'event'" in entry.detail
    assert report.stragglers == 1
    (record,) = log.at_least(logging.ERROR)
    assert record.sprag["service"] == "Parent/ears"
    assert not emitter.ready()  # it is not ours to kill


def test_a_listener_that_crashes_late_does_no_harm(root: Parent, clock: VirtualClock) -> None:
    def late(_data: object) -> None:
        gevent.sleep(100)
        boom()

    ears = root.adopt(Plain(), shutdown=1.0)
    ears.listen("event", late)
    root.spawn(root.emit, "event")
    clock.settle()
    ears.stop()
    ears.start()
    clock.advance(200)
    assert ears.snapshot().state is State.RUNNING
    assert ears.snapshot().incarnation == 2
    assert ears.snapshot().failures == ()


# -- what happens in the tree ----------------------------------------------------------

WORDS = ("started", "crashed", "restarted", "stopped", "finished", "gave_up")


class Auditor(Service):
    """Notes all that happens in its tree."""

    def __init__(self) -> None:
        self.records: list[Lifecycle] = []

    def on_start(self) -> None:
        for word in WORDS:
            self.listen(f"sprag:{word}", self.records.append)

    def seen(self) -> list[tuple[str, str]]:
        return [(record.event, record.path) for record in self.records]


def test_lifecycle_events_are_told_with_a_frozen_record(root: Parent, clock: VirtualClock) -> None:
    auditor = root.adopt(Auditor())
    clock.settle()
    assert auditor.seen() == [("started", "Parent/Auditor")]
    del auditor.records[:]

    child = root.adopt(Plain(), restart="transient")
    clock.advance(5)
    child.spawn(boom)
    clock.settle()
    child.finish()
    clock.settle()
    child.start()
    child.stop()
    clock.settle()
    events = ["started", "crashed", "restarted", "finished", "started", "stopped"]
    assert auditor.seen() == [(event, "Parent/Plain") for event in events]
    crashed = auditor.records[1]
    assert dataclasses.asdict(crashed) == {
        "event": "crashed",
        "path": "Parent/Plain",
        "incarnation": 1,
        "context": "child_terminated",
        "reason": "crashed",
        "exception": "ValueError",
        "message": "boom",
        "restarts": 0,
        "time": clock.wall,
        "seconds": 0.0,
    }
    assert [record.incarnation for record in auditor.records] == [1, 1, 2, 2, 3, 3]
    assert [record.restarts for record in auditor.records] == [0, 0, 1, 1, 1, 1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        crashed.path = "elsewhere"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_giving_up_and_failed_starts_are_told(root: Parent, clock: VirtualClock) -> None:
    class Dead(Service):
        lives = 0

        def on_start(self) -> None:
            type(self).lives += 1
            if self.lives > 1:
                boom()

    auditor = root.adopt(Auditor())
    clock.settle()
    del auditor.records[:]
    boss = root.adopt(Supervisor(name="boss", max_restarts=1), restart="temporary")
    boss.adopt(Dead()).spawn(boom)
    clock.settle()
    assert auditor.seen() == [
        ("started", "Parent/boss"),
        ("started", "Parent/boss/Dead"),
        ("crashed", "Parent/boss/Dead"),
        ("crashed", "Parent/boss/Dead"),
        ("gave_up", "Parent/boss"),
    ]
    assert [record.context for record in auditor.records[2:]] == [
        "child_terminated",
        "start_error",
        "shutdown",
    ]
    assert auditor.records[-1].exception is not None
    assert auditor.records[-1].exception.endswith("MaxRestartsExceeded")


class Patient(Service, backoff=Backoff(initial=10.0)):
    """Waits before it is restarted."""


@pytest.mark.parametrize("who", ["child", "parent"])
def test_a_stop_during_the_backoff_is_told_and_is_no_second_end(
    root: Parent, clock: VirtualClock, who: str
) -> None:
    auditor = root.adopt(Auditor())
    boss = root.adopt(Supervisor(name="boss"))
    child = boss.adopt(Patient())
    child.spawn(boom)
    clock.settle()
    del auditor.records[:]
    (child if who == "child" else boss).stop()
    clock.settle()
    told = auditor.records[0]
    assert (told.event, told.path) == ("stopped", "Parent/boss/Patient")
    assert (told.context, told.reason) == ("restart_cancelled", "stopped")
    assert told.incarnation == 1, "of the life that had its end when it crashed"
    assert [record.path for record in auditor.records[1:]] == (["Parent/boss"] * (who == "parent"))


def test_only_what_was_asked_for_is_told(root: Parent, clock: VirtualClock) -> None:
    seen: list[Lifecycle] = []
    root.listen("sprag:crashed", seen.append)
    child = root.adopt(Plain())
    child.spawn(boom)
    clock.settle()
    assert [record.event for record in seen] == ["crashed"]


def test_no_record_is_made_while_nobody_listens(
    root: Parent, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = root._tree_
    assert tree is not None
    assert tree.observers == []
    handles = [root.listen("sprag:crashed", boom), root.listen("sprag:started", boom)]
    assert len(tree.observers) == 1
    for handle in handles:
        handle.cancel()
        handle.cancel()
    assert tree.observers == []
    monkeypatch.setattr("sprag_supervisor.tree.living.Lifecycle", boom)
    root.adopt(Plain()).stop()
    clock.settle()


def test_a_stop_ends_the_observation_too(root: Parent) -> None:
    auditor = root.adopt(Auditor())
    tree = root._tree_
    assert tree is not None
    assert len(tree.observers) == 1
    auditor.stop()
    assert tree.observers == []


def test_a_slow_listener_holds_up_nobody_but_itself(root: Parent, clock: VirtualClock) -> None:
    slow: list[tuple[float, str]] = []

    def note_slowly(record: Lifecycle) -> None:
        gevent.sleep(10)
        slow.append((clock.now, record.path))

    auditor = root.adopt(Auditor())
    root.adopt(Plain(), name="slow").listen("sprag:started", note_slowly)
    clock.settle()
    for name in ("a", "b", "c"):
        root.adopt(Plain(), name=name)
        clock.settle()
    assert clock.now == 0.0
    assert [path for _event, path in auditor.seen()][-3:] == ["Parent/a", "Parent/b", "Parent/c"]
    clock.advance(100)
    assert slow == [(10.0, "Parent/a"), (20.0, "Parent/b"), (30.0, "Parent/c")]


def test_a_slow_listener_ends_with_its_service(root: Parent, clock: VirtualClock) -> None:
    killed: list[float] = []

    def endless(_record: Lifecycle) -> None:
        try:
            gevent.sleep(1000)
        finally:
            killed.append(clock.now)

    ears = root.adopt(Plain())
    ears.listen("sprag:started", endless)
    root.adopt(Plain())
    root.adopt(Plain())
    clock.advance(1)
    assert ears.snapshot().owned.greenlets == 1
    assert ears.stop().is_clean
    assert killed == [1.0]
    assert clock.now == 1.0


def test_a_listener_that_swallows_its_kill_is_a_straggler(
    root: Parent, clock: VirtualClock
) -> None:
    gate = gevent.event.Event()

    def stubborn(_record: Lifecycle) -> None:
        while not gate.is_set():
            try:
                gate.wait()
            except GreenletExit:
                continue

    ears = root.adopt(Plain(), name="ears", shutdown=1.0)
    ears.listen("sprag:started", stubborn)
    root.adopt(Plain())
    clock.settle()
    (entry,) = ears.stop().entries
    assert (entry.path, entry.outcome, entry.step) == ("Parent/ears", Outcome.STRAGGLER, "listener")
    assert "in stubborn" in entry.detail
    gate.set()
    clock.settle()


def test_a_listener_of_lifecycle_events_may_crash_and_is_restarted(
    root: Parent, clock: VirtualClock, log: Any
) -> None:
    class Touchy(Service):
        def on_start(self) -> None:
            self.listen("sprag:stopped", boom)

    touchy = root.adopt(Touchy())
    child = root.adopt(Plain())
    child.stop()
    clock.settle()
    assert touchy.snapshot().incarnation == 2
    (record,) = log.at_least(logging.ERROR)
    assert (record.sprag["service"], record.sprag["step"]) == ("Parent/Touchy", "listener")


def test_a_listener_may_act_on_the_tree(root: Parent, clock: VirtualClock) -> None:
    class Replacer(Service):
        def on_start(self) -> None:
            self.listen("sprag:stopped", self.replace)

        def replace(self, record: Lifecycle) -> None:
            if record.path.endswith("/first"):
                self.adopt(Plain(), name="second")

    replacer = root.adopt(Replacer())
    root.adopt(Plain(), name="first").stop()
    clock.settle()
    assert [child.name for child in replacer.snapshot().children] == ["second"]


def test_those_who_stop_after_it_are_told_to_an_auditor_that_stops_last(
    clock: VirtualClock,
) -> None:
    root = Parent()
    root.start()
    auditor = root.adopt(Auditor())
    for name in ("a", "b"):
        root.adopt(Plain(), name=name)
    clock.settle()
    del auditor.records[:]
    root.stop()
    assert auditor.seen() == [("stopped", "Parent/b"), ("stopped", "Parent/a")]


def test_an_auditor_that_is_late_at_the_stop_is_cut_short(clock: VirtualClock) -> None:
    root = Parent()
    root.start()
    ears = root.adopt(Plain())
    ears.listen("sprag:stopped", lambda _record: gevent.sleep(1000))
    root.adopt(Plain())
    clock.settle()
    assert root.stop().is_clean
    assert clock.now == 0.0


def test_a_listener_hears_with_the_context_it_subscribed_in(
    root: Parent, clock: VirtualClock
) -> None:
    seen: list[object] = []
    child = root.adopt(Plain())
    child.listen("sprag:started", lambda _record: seen.append(current_service()))
    root.adopt(Plain())
    clock.settle()
    assert set(seen) == {child}


def test_greenlet_exit_in_a_lifecycle_listener_is_quiet(root: Parent, clock: VirtualClock) -> None:
    seen: list[str] = []

    def leave(record: Lifecycle) -> None:
        seen.append(record.path)
        raise GreenletExit

    child = root.adopt(Plain())
    child.listen("sprag:stopped", leave)
    for name in ("a", "b"):
        root.adopt(Plain(), name=name).stop()
    clock.settle()
    assert seen == ["Parent/a", "Parent/b"]
    assert child.snapshot().incarnation == 1


@pytest.mark.parametrize("event", ["sprag:crash", "sprag:", "sprag:Started"])
def test_a_misspelt_lifecycle_event_is_an_error(root: Parent, event: str) -> None:
    with pytest.raises(BadValue, match="'sprag:crashed'"):
        root.listen(event, boom)
    assert root.snapshot().owned.listeners == 0


def test_a_stopped_service_cannot_listen(clock: VirtualClock) -> None:
    service = Plain()
    service.start()
    service.stop()
    for event in ("event", "sprag:started"):
        with pytest.raises(NotRunning, match="cannot listen"):
            service.listen(event, boom)
    clock.settle()


@pytest.mark.parametrize("listens", [False, True])
def test_nobody_but_sprag_tells_what_happens_in_the_tree(root: Parent, *, listens: bool) -> None:
    seen: list[object] = []
    if listens:
        root.listen("sprag:gave_up", seen.append)
    for event in ("sprag:gave_up", "sprag:made up"):
        with pytest.raises(BadValue, match="told by sprag alone"):
            root.emit(event, "rehearsal")
    assert seen == []


@pytest.mark.parametrize("times", [1, 5])
def test_a_root_that_is_started_again_is_observed_again(clock: VirtualClock, times: int) -> None:
    root = Auditor()
    for _ in range(times):
        root.start()
        clock.settle()
        assert root.seen() == [("started", "Auditor")]
        tree: Any = root._tree_
        assert len(tree.observers) == 1
        root.stop()
        assert tree.observers == []
