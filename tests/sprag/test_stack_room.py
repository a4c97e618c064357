"""A call made with hardly any stack left either works, or raises before it has changed anything."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Lifecycle, Service, StartFailed, State, Supervisor
from sprag.testing import check_invariants
from sprag_supervisor.loop.pools import pool_of
from sprag_supervisor.tree.home import living

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag import Snapshot
    from sprag.testing import VirtualClock

pytestmark = [
    pytest.mark.usefixtures("clock"),
    pytest.mark.skipif(sys.gettrace() is not None, reason="what measures coverage needs room, too"),
]

SWEEP = range(1, 151)
ENOUGH = 12
"""So often in a row a call works only where there is more room than it will ever need."""


def frames_left() -> int:
    """Return how many more calls may be nested in the caller's."""
    try:
        return frames_left() + 1
    except RecursionError:
        return 0


def with_frames(left: int, call: Callable[[], object]) -> object:
    """Make *call* where *left* more calls may be nested, its own among them."""

    def descend(levels: int) -> object:
        return descend(levels - 1) if levels else call()

    return descend(frames_left() - left - 1)


class Plain(Service):
    """Does nothing."""


class Hooked(Service):
    """Has all the hooks, and holds one of everything."""

    def on_start(self) -> None:
        self.handle = self.listen("event", lambda _data: None)
        self.told = self.listen("sprag:crashed", lambda _data: None)
        self.timer = self.interval(lambda: None, 100)
        self.spawn(gevent.sleep, 10_000)
        self.add_cleanup(lambda: None)
        self.adopt(Plain(), name="below")

    def on_drain(self) -> None:
        pass

    def on_stop(self) -> None:
        pass


class Runs(Service):
    def run(self) -> None:
        gevent.sleep(10_000)


class Broken(Service):
    def on_start(self) -> None:
        self.spawn(gevent.sleep, 10_000)
        raise ValueError("broken")


class Touchy(Service):
    def on_start(self) -> None:
        self.listen("touch", self.hurt)

    def hurt(self, _data: object) -> None:
        raise ValueError("touched")


class Scene:
    """A tree, and what happens in it."""

    def __init__(self) -> None:
        self.root = Supervisor(name="root", max_restarts=1000)
        self.fresh = Supervisor(name="fresh")
        self.root.start()
        self.hooked = self.root.adopt(Hooked(), name="hooked")
        self.plain = self.root.adopt(Plain(), name="plain")
        self.runs = self.root.adopt(Runs(), name="runs")
        self.touchy = self.root.adopt(Touchy(), name="touchy")
        self.temporary = self.root.adopt(Plain(), name="temporary", restart="temporary")
        self.down = self.root.adopt(Hooked(), name="down")
        self.down.stop()
        self.idle = self.root.adopt(Plain(), name="idle")
        self.idle.stop()
        self.records: list[Lifecycle] = []
        assert self.root._tree_ is not None
        self.root._tree_.observers.append(self.records.append)


def services(picture: Snapshot) -> Iterator[tuple[object, ...]]:
    owned = picture.owned
    yield (
        picture.path,
        picture.state,
        picture.incarnation,
        picture.restarts,
        owned.greenlets,
        owned.timers,
        owned.listeners,
        owned.cleanups,
    )
    for child in picture.children:
        yield from services(child)


def looks(scene: Scene) -> list[tuple[object, ...]]:
    return [*services(scene.root.snapshot()), *services(scene.fresh.snapshot())]


CALLS: dict[str, Callable[[Scene], object]] = {
    "adopt": lambda scene: scene.root.adopt(Plain(), name="new"),
    "adopt with hooks": lambda scene: scene.root.adopt(Hooked(), name="new"),
    "adopt with run": lambda scene: scene.root.adopt(Runs(), name="new"),
    "adopt below": lambda scene: scene.plain.adopt(Plain(), name="new"),
    "adopt a broken one": lambda scene: scene.root.adopt(Broken(), name="new"),
    "start": lambda scene: scene.idle.start(),
    "start with hooks": lambda scene: scene.down.start(),
    "start a root": lambda scene: scene.fresh.start(),
    "stop": lambda scene: scene.plain.stop(),
    "stop what leaves": lambda scene: scene.temporary.stop(),
    "stop with hooks": lambda scene: scene.hooked.stop(),
    "stop a run": lambda scene: scene.runs.stop(timeout=1),
    "stop the root": lambda scene: scene.root.stop(),
    "finish": lambda scene: scene.plain.finish(),
    "finish what leaves": lambda scene: scene.temporary.finish(),
    "finish with hooks": lambda scene: scene.hooked.finish(),
    "wait": lambda scene: scene.plain.wait(0.5),
    "spawn": lambda scene: scene.plain.spawn(gevent.sleep, 10_000),
    "interval": lambda scene: scene.plain.interval(int, 100),
    "timeout": lambda scene: scene.plain.timeout(int, 100),
    "cancel a timer": lambda scene: scene.hooked.timer.cancel(),
    "listen": lambda scene: scene.plain.listen("event", print),
    "listen to a new event": lambda scene: scene.plain.listen("new", print),
    "listen to the tree": lambda scene: scene.plain.listen("sprag:started", print),
    "cancel a listener": lambda scene: scene.hooked.handle.cancel(),
    "cancel one of the tree's": lambda scene: scene.hooked.told.cancel(),
    "add a clean-up": lambda scene: scene.plain.add_cleanup(int),
    "emit": lambda scene: scene.plain.emit("event"),
    "emit to nobody": lambda scene: scene.plain.emit("nothing"),
    "emit to a touchy one": lambda scene: scene.plain.emit("touch"),
    "emit to oneself": lambda scene: scene.touchy.emit("touch"),
    "find": lambda scene: scene.plain.service("hooked/below"),
    "look": lambda scene: scene.root.snapshot(),
    "not_ready": lambda scene: scene.root.not_ready(),
    "log": lambda scene: scene.plain.log.info("here"),
    "call_from_thread": lambda scene: scene.plain.call_from_thread(int),
    "start_child": lambda scene: scene.root.start_child(Hooked(), name="new"),
    "terminate_child": lambda scene: scene.root.terminate_child("hooked"),
    "restart_child": lambda scene: scene.root.restart_child("down"),
    "delete_child": lambda scene: scene.root.delete_child("idle"),
    "delete_child with hooks": lambda scene: scene.root.delete_child("down"),
    "children": lambda scene: (scene.root.which_children(), scene.root.count_children()),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_works_or_raises_before_it_has_changed_anything(
    clock: VirtualClock, log: Any, name: str
) -> None:
    call = CALLS[name]
    scene = Scene()
    clock.settle()
    raised_plainly: type[BaseException] | None = None
    try:
        call(scene)
    except Exception as error:  # noqa: BLE001 - whatever it is with room enough
        raised_plainly = type(error)
    clock.settle()
    done = looks(scene)
    scene.root.stop()
    scene.fresh.stop()
    worked = 0
    for left in SWEEP:
        if worked == ENOUGH:
            break
        scene = Scene()
        clock.settle()
        before = looks(scene)
        del scene.records[:]
        raised: BaseException | None = None
        try:
            with_frames(left, lambda scene=scene: call(scene))  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - judged below
            raised = error
        clock.settle()
        where = f"{left} left, raised {type(raised)}"
        if raised is None or type(raised) is raised_plainly:
            worked += 1
            assert looks(scene) == done, where
        else:
            worked = 0
            assert isinstance(raised, RecursionError), where
            assert looks(scene) == before, where
            assert scene.records == [], where
        check_invariants(scene.root)
        scene.root.stop(timeout=2)
        scene.fresh.stop()
        clock.settle()
        assert scene.root.snapshot().state is State.STOPPED, where
        check_invariants(scene.root)
    assert worked == ENOUGH


@pytest.mark.parametrize("left", range(1, 13))
def test_a_timer_that_could_not_be_cancelled_goes_on(clock: VirtualClock, left: int) -> None:
    ticks: list[str] = []
    with Supervisor(children=[one := Plain()]):
        timer = one.interval(ticks.append, 1, "tick")
        with suppress(RecursionError):
            with_frames(left, timer.cancel)
        clock.advance(2)
        assert len(ticks) == (2 if timer.active else 0)


# -- services that answer each other without end -----------------------------------------


class Answers(Service):
    """Answers one event with others."""

    def __init__(self, hears: str, *says: str) -> None:
        self.hears = hears
        self.says = says

    def on_start(self) -> None:
        self.listen(self.hears, self.answer)
        self.spawn(gevent.sleep, 10_000)

    def answer(self, _data: object) -> None:
        for event in self.says:
            self.emit(event)


class Begins(Answers):
    """Begins the conversation, a second after each start."""

    def on_start(self) -> None:
        super().on_start()
        self.timeout(self.answer, 1, None)


@pytest.fixture
def root(clock: VirtualClock) -> Any:
    """Return the running root of a tree that ends with the test."""
    del clock
    root = Supervisor(name="root", max_restarts=3, max_seconds=100)
    root.start()
    yield root
    assert root.stop(timeout=1).stragglers == 0
    check_invariants(root)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_two_services_that_answer_each_other_are_one_crash(
    root: Supervisor, clock: VirtualClock, log: Any, times: int
) -> None:
    one = root.adopt(Answers("ping", *["pong"] * times), name="one")
    two = root.adopt(Answers("pong", *["ping"] * times), name="two")
    begins = root.adopt(Plain(), name="begins")
    begins.spawn(begins.emit, "ping")
    clock.settle()
    check_invariants(root)
    (record,) = log.at_least(logging.WARNING)
    assert record.sprag["step"] == "listener"
    assert len(record.getMessage().splitlines()) == 1
    text = logging.Formatter().format(record)
    assert 1 <= text.count("RecursionError: maximum recursion depth exceeded") <= 2
    assert len(text.splitlines()) < 80
    lives = [each.snapshot().incarnation for each in (one, two, begins)]
    assert sorted(lives) == [1, 1, 2]
    assert lives[2] == 1
    assert {each.snapshot().state for each in (one, two, begins)} == {State.RUNNING}
    assert root.snapshot().state is State.RUNNING


@pytest.mark.parametrize("says", [["me"], ["me", "me"], ["me", "other", "me"]])
def test_one_that_answers_itself_is_restarted_up_to_the_limit(
    root: Supervisor, clock: VirtualClock, log: Any, says: list[str]
) -> None:
    answers = root.adopt(Begins("me", *says))
    for lives in (1, 2, 3, 4):
        assert answers.snapshot().state is State.RUNNING
        assert answers.snapshot().incarnation == lives
        clock.advance(1)
        clock.settle()
        check_invariants(root)
    assert root.snapshot().state is State.FAILED
    messages = [record.getMessage() for record in log.at_least(logging.ERROR)]
    assert [message.split(" (")[0] for message in messages] == [
        *["root/Begins: service crashed"] * 4,
        "root: supervisor gave up",
    ]


def test_one_that_answers_itself_while_it_starts_cannot_be_started(
    root: Supervisor, clock: VirtualClock, log: Any
) -> None:
    class Early(Answers):
        def on_start(self) -> None:
            super().on_start()
            self.emit(self.hears)

    with pytest.raises(StartFailed, match="RecursionError"):
        root.adopt(Early("me", "me"))
    clock.settle()
    check_invariants(root)
    assert len(log.at_least(logging.ERROR)) == 1


def test_a_listener_without_room_to_be_called_is_not_to_blame(
    root: Supervisor, clock: VirtualClock
) -> None:
    heard: list[object] = []
    ears = root.adopt(Plain())
    ears.listen("event", lambda data: heard.append(data))
    refused = 0
    for left in range(1, 6):
        del heard[:]
        try:
            with_frames(left, lambda: ears.emit("event"))
        except RecursionError:
            refused += 1
            assert heard == []
        else:
            assert heard == [None]
        clock.settle()
        assert ears.snapshot().incarnation == 1
    assert refused in (2, 3)  # three in Python 3.11, where a call takes more room


def test_a_long_traceback_is_logged_without_its_middle(
    root: Supervisor, clock: VirtualClock, log: Any
) -> None:
    def there(levels: int) -> None:
        back(levels - 1)

    def back(levels: int) -> None:
        if not levels:
            raise ValueError("at the bottom")
        there(levels)

    def straight(levels: int) -> None:
        if not levels:
            raise ValueError("at the bottom")
        straight(levels - 1)

    child = root.adopt(Plain(), name="child")
    child.spawn(there, 300)
    clock.settle()
    child.spawn(straight, 300)
    clock.settle()
    winding, folded = log.at_least(logging.ERROR)
    text = logging.Formatter().format(winding)
    assert winding.sprag["frames_left_out"] == 600 - 60
    assert "frames_left_out=540" in text
    assert text.count("in there") + text.count("in back") == 60
    assert "in there\n    back(levels - 1)" in text.replace("\n        ", "\n    ")
    assert text.endswith("ValueError: at the bottom")
    text = logging.Formatter().format(folded)
    assert "frames_left_out" not in folded.sprag
    assert "[Previous line repeated 297 more times]" in text
    assert len(text.splitlines()) < 20


@pytest.mark.parametrize("kind", [Plain, Hooked, Runs])
def test_a_root_that_has_no_room_to_start_leaves_no_tree_behind(kind: type[Service]) -> None:
    with Supervisor():  # so that there is a pool
        pool = pool_of(gevent.get_hub())
        assert pool is not None
        before = pool.trees
        for left in SWEEP:
            root = kind()
            with suppress(RecursionError, StartFailed):
                with_frames(left, root.start)
            if root.snapshot().state is State.RUNNING:
                root.stop()
            tree = root._tree_
            assert tree is None or not tree.thread, left
            assert tree not in living, left
            assert pool.trees == before, left
