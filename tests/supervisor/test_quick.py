"""The quick way and the general way lead to the same: one rule, told on both.

`life/quick` lets a service end on the spot, where nothing in its end can block, and `adopt` starts
one more of many so, if it has nothing to do at its start. Whatever they do, the general way does,
too. So the same random stories are told with these as they are, never taken, and drawn; once the
tree rests, nobody can tell which it was.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import gevent
import pytest

from scripted import Crash, crash, spawn
from sprag import Backoff, DynamicSupervisor, Service, Supervisor
from sprag.exceptions import SpragError
from sprag.testing import check_invariants, virtual_time
from sprag_supervisor import Exit, Reason, State, path_of
from sprag_supervisor.life import adopting, quick
from sprag_supervisor.life.by_hand import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag import Snapshot
    from sprag.testing import VirtualClock
    from sprag_supervisor import Node

STORIES = 60
STEPS = 30


class Actor(Service):
    """Has a listener, a timer, or nothing; fails when it is told to."""

    fails_to_start = 0

    def __init__(self, name: str, holds: str) -> None:
        self.name = name
        self.holds = holds

    def on_start(self) -> None:
        if self.holds == "listener":
            self.listen(f"fail:{self.name}", self.fail)
            self.listen("all", lambda _data: None)
        elif self.holds == "timer":
            self.interval(int, 3600.0)
        if type(self).fails_to_start:
            type(self).fails_to_start -= 1
            raise Crash("at its start")

    def fail(self, _data: object = None) -> None:
        raise Crash(f"of {self.name}")


class Bare(Service):
    """Has nothing at all."""

    def __init__(self, name: str) -> None:
        self.name = name


class Nobody(Service):
    """Has not even a name."""


class Told(NamedTuple):
    """All that can be seen of a story when the tree rests."""

    events: dict[str, list[tuple[str, int, str | None]]]
    states: dict[str, tuple[str, int, int]]
    rulings: list[tuple[str, str, str, tuple[str, ...], int]]
    failures: dict[str, list[str]]
    listeners: int
    answers: list[str]


def never(*_: object, **__: object) -> bool:
    return False


def drawn(seed: int) -> Callable[..., bool]:
    real, draw = quick.is_quick, random.Random(seed)

    def is_quick(*args: Any, **kwargs: Any) -> bool:
        return real(*args, **kwargs) and draw.random() < 0.5

    return is_quick


def nobody(*_: object) -> int:
    return 0


def some(seed: int) -> Callable[..., int]:
    real, draw = quick.put_down, random.Random(-seed)

    def put_down(*args: Any) -> int:
        return real(*args) if draw.random() < 0.5 else 0

    return put_down


def sometimes(seed: int) -> Callable[[Node, Node], None]:
    real, draw = adopting._note_plain, random.Random(seed + 1)

    def note_plain(parent: Node, child: Node) -> None:
        if draw.random() < 0.5:
            real(parent, child)
        elif parent._supervision_ is not None:
            parent._supervision_.plain = None

    return note_plain


ACTIONS: list[Any] = ["restart", "stop", "escalate", "finish", Backoff(2.0, jitter=0.0)]


def _policy(draw: random.Random) -> dict[str, Any]:
    policy: dict[str, Any] = {"restart": draw.choice(["permanent", "transient", "temporary"])}
    if draw.random() < 0.2:
        policy["backoff"] = Backoff(initial=1.0, jitter=0.0)
    if draw.random() < 0.2:
        policy["on_failure"] = {Crash: draw.choice(ACTIONS)}
    return policy


def _actor(draw: random.Random, number: int) -> Service:
    name = f"a{number}"
    kind = draw.choice(["listener", "timer", "nothing", "bare"])
    return Bare(name) if kind == "bare" else Actor(name, kind)


def _tree(draw: random.Random) -> Supervisor:
    numbers = iter(range(100))
    below: list[Any] = []
    for number in range(draw.randint(1, 3)):
        children = [(_actor(draw, next(numbers)), _policy(draw)) for _ in range(draw.randint(1, 4))]
        strategy = draw.choice(["one_for_one", "one_for_one", "one_for_all", "rest_for_one"])
        limit = draw.randint(0, 4)
        below.append(Supervisor(children, name=f"s{number}", strategy=strategy, max_restarts=limit))
    many = DynamicSupervisor(name="many", max_restarts=3)
    return Supervisor([*below, many], name="top", max_restarts=2)


def _all(picture: Snapshot) -> list[Snapshot]:
    return [picture, *(each for child in picture.children for each in _all(child))]


def _tell(seed: int, *, watched: bool) -> Told:
    draw = random.Random(seed)
    answers: list[str] = []
    events: dict[str, list[tuple[str, int, str | None]]] = {}

    def note(answer: Callable[[], object]) -> None:
        try:
            told = answer()
        except SpragError as error:
            told = type(error).__name__
        answers.append(str(told))

    with virtual_time() as clock:
        Actor.fails_to_start = 0
        top = _tree(draw)
        if watched:
            tree_of(top).observers.append(
                lambda each: events.setdefault(each.path, []).append(
                    (each.event, each.incarnation, each.reason)
                )
            )
        note(top.start)
        for step in range(STEPS):
            _act(draw, top, clock, note, step)
        clock.advance(10.0)
        check_invariants(top)
        pictures = _all(top.snapshot())
        tree = top._tree_
        assert tree is not None
        told = Told(
            events,
            {each.path: (each.state.value, each.incarnation, each.restarts) for each in pictures},
            [(r.child, r.decision, r.reason.value, r.names, r.restarts) for r in tree.ledger],
            {each.path: [str(one) for one in each.failures] for each in pictures},
            top.emit("all") if top._state_.value == "running" else 0,
            answers,
        )
        report = top.stop()
        answers.append(f"{report.clean} {report.errors} {report.killed} {report.stragglers}")
        answers.extend(_last_words(each) for each in pictures if each.path.count("/") == 1)
    Actor.fails_to_start = 0  # nobody else's
    return told


def _last_words(picture: Snapshot) -> str:
    return f"{picture.path} {picture.class_name}"


def _act(
    draw: random.Random,
    top: Supervisor,
    clock: VirtualClock,
    note: Callable[[Callable[[], object]], None],
    step: int,
) -> None:
    everyone = [each.path.partition("/")[2] for each in _all(top.snapshot())[1:]]
    what = draw.choice(
        [
            "event",
            "event",
            "spawn",
            "spawn",
            "storm",
            "stop",
            "start",
            "finish",
            "new",
            "crowd",
            "time",
        ]
    )
    if not everyone or top._state_.value != "running":
        note(lambda: top.wait(0))
        return
    chosen = draw.choice(everyone)
    service = top.service(chosen)
    if draw.random() < 0.1:
        Actor.fails_to_start = 1
    if what == "event":
        note(lambda: top.emit(f"fail:{chosen.rpartition('/')[2]}"))
    elif what == "spawn":
        note(lambda: service.spawn(_raise) and "spawned")
    elif what == "storm":
        for path in everyone:
            note(partial(top.emit, f"fail:{path.rpartition('/')[2]}"))
            clock.settle()  # of two that fail in one turn, the quick one is heard of first
    elif what == "stop":
        note(lambda: service.stop().clean)
    elif what == "start":
        note(service.start)
    elif what == "finish":
        note(service.finish)
    elif what == "crowd":
        for _ in range(draw.randint(1, 4)):
            note(lambda: path_of(top.service("many").start_child(Nobody())))
    elif what == "new":
        made = _actor(draw, 100 + step)
        note(lambda: top.service("many").start_child(made, **_policy(draw)) and "started")
    else:
        clock.advance(draw.choice([0.5, 6.0]))
    clock.settle()


def _raise() -> None:
    raise Crash("in a greenlet")


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("seed", range(STORIES))
def test_whichever_way_services_end_it_comes_to_the_same(
    seed: int, watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_is = _tell(seed, watched=watched)
    with monkeypatch.context() as patch:
        patch.setattr(quick, "is_quick", never)
        patch.setattr(quick, "put_down", nobody)
        patch.setattr(adopting, "_note_plain", never)
        assert _tell(seed, watched=watched) == as_it_is
    with monkeypatch.context() as patch:
        patch.setattr(quick, "is_quick", drawn(seed))
        patch.setattr(quick, "put_down", some(seed))
        patch.setattr(adopting, "_note_plain", sometimes(seed))
        assert _tell(seed, watched=watched) == as_it_is


def test_the_stories_take_the_quick_way_often(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"crash": 0, "end": 0, "put_down": 0}
    for name in taken:
        real = getattr(quick, name)

        def counted(*args: Any, real: Any = real, name: str = name) -> Any:
            done = real(*args)
            taken[name] += bool(done)
            return done

        monkeypatch.setattr(quick, name, counted)
    for seed in range(10):
        _tell(seed, watched=False)
    assert min(taken.values()) > 10, taken


class Asking(Service):
    """Each may ask for something else."""

    def __init__(self, **policy: Any) -> None:
        self._policy_ = self._policy_.with_(policy)


def test_the_short_way_is_not_for_who_asks_for_more(clock: VirtualClock) -> None:
    with DynamicSupervisor() as many:
        several = [many.start_child(Asking()) for _ in range(3)]
        last = many.start_child(Asking(autostart=False))
        assert {each.snapshot().state.value for each in several} == {"running"}
        assert last.snapshot().state.value == "stopped"


class Named(Service):
    """Has a name, or none."""

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name


def test_on_the_short_way_names_are_as_on_the_general_one(clock: VirtualClock) -> None:
    with DynamicSupervisor() as many:
        first, *_ = [many.start_child(Named()) for _ in range(3)]
        many.start_child(Named("its own"))
        first.stop()
        many.start_child(Named())  # the name without a number is free again
        many.start_child(Named())
        names = [child.name for child in many.which_children()]
        assert names == ["Named-2", "Named-3", "its own", "Named", "Named-4"]


def test_the_short_way_sees_a_hook_that_came_later(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Service] = []

    def on_start(self: Service) -> None:
        started.append(self)

    with DynamicSupervisor() as many:
        for _ in range(2):
            many.start_child(Nobody())
        monkeypatch.setattr(Nobody, "on_start", on_start)
        last = many.start_child(Nobody())
        assert started == [last]


def test_the_short_way_is_not_for_the_hub(clock: VirtualClock) -> None:
    refused: list[str] = []
    with DynamicSupervisor() as many:
        many.start_child(Nobody())
        gevent.get_hub().loop.run_callback(lambda: refused.append(_refusal(many)))
        clock.settle()
        assert refused == ["CalledInHub"]


class Slow(Service):
    def on_start(self) -> None:
        gevent.sleep(1.0)


def test_the_short_way_waits_while_another_child_is_started(clock: VirtualClock) -> None:
    with DynamicSupervisor() as many:
        many.start_child(Nobody())
        slow = spawn(many.start_child, Slow())
        clock.settle()
        quick_one = spawn(many.start_child, Nobody())
        clock.settle()
        assert not quick_one.ready()
        clock.advance(1.0)
        assert slow.ready()
        assert [child.name for child in many.which_children()] == ["Nobody", "Slow", "Nobody-2"]


def test_the_short_way_is_for_its_own_thread_alone(clock: VirtualClock) -> None:
    with DynamicSupervisor() as many:
        many.start_child(Nobody())
        pool = gevent.get_hub().threadpool_class(1, hub=gevent.get_hub())
        try:
            assert pool.apply(_refusal, (many,)) == "WrongThread"
        finally:
            pool.kill()
        assert len(many.which_children()) == 1


def _refusal(many: DynamicSupervisor) -> str:
    try:
        many.start_child(Nobody())
    except SpragError as error:
        return type(error).__name__
    return "started"


def test_one_more_of_many_is_started_the_short_way_and_any_other_is_not(
    monkeypatch: pytest.MonkeyPatch, clock: VirtualClock
) -> None:
    general: list[Service] = []
    real = adopting._adopt

    def noted(parent: Any, child: Any, *more: Any) -> Any:
        general.append(child)
        return real(parent, child, *more)

    monkeypatch.setattr(adopting, "_adopt", noted)
    with DynamicSupervisor() as many:
        first, second, third = (many.start_child(Nobody()) for _ in range(3))
        assert (general, third._name_) == ([first], "Nobody-3")
        second.stop()
        again = many.start_child(second)  # it has lived
        others = [
            many.start_child(Nobody(), name="mine"),
            many.start_child(Nobody(), restart="temporary"),
            many.start_child(Bare("its own")),
            many.start_child(Actor("actor", "nothing")),
        ]
        last = many.start_child(Nobody())
        assert general == [first, again, *others]
        assert [each._name_ for each in (again, *others, last)] == [
            *("Nobody-4", "mine", "Nobody-5", "its own", "actor", "Nobody-6")
        ]


def test_what_was_cut_short_on_the_short_way_is_as_new(
    monkeypatch: pytest.MonkeyPatch, clock: VirtualClock
) -> None:
    interrupted: list[Service] = []

    def write(node: Service, name: str, value: object) -> None:
        """As a signal handler that raises in the midst of a class's own `__setattr__`."""
        if value is State.RUNNING and not interrupted:
            interrupted.append(node)
            raise KeyboardInterrupt
        object.__setattr__(node, name, value)

    with DynamicSupervisor() as many:
        many.start_child(Nobody())
        second = Nobody()
        monkeypatch.setattr(Nobody, "__setattr__", write)
        with pytest.raises(KeyboardInterrupt):
            many.start_child(second)
        assert interrupted == [second]
        assert len(many.which_children()) == 1
        assert many.start_child(second).snapshot().incarnation == 1


class Polite(Service):
    """Says goodbye, unless it is killed brutally."""

    goodbyes: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self.name = name

    def on_stop(self) -> None:
        self.goodbyes.append(self.name)


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.usefixtures("clock")
def test_who_is_killed_brutally_does_not_keep_its_siblings_from_saying_goodbye(
    kind: Callable[[], Any],
) -> None:
    Polite.goodbyes.clear()
    with kind() as top:
        top.adopt(Polite("a"))
        top.adopt(Polite("b"))
        top.adopt(Polite("killed"), shutdown="brutal_kill")
    assert sorted(Polite.goodbyes) == ["a", "b"]


@pytest.mark.parametrize("holds", ["nothing", "listener"])
def test_a_long_life_that_ends_with_its_parent_starts_the_row_of_delays_anew(
    clock: VirtualClock, holds: str
) -> None:
    actor = Actor("a", holds)
    backoff = Backoff(initial=1.0, jitter=0.0, reset_after=60.0)
    below = Supervisor([(actor, {"backoff": backoff})], name="below", max_restarts=9)
    with Supervisor([below]) as top:
        for _ in range(3):
            crash(actor)
            clock.advance(10.0)
        clock.advance(60.0)
        top.terminate_child("below")
        top.restart_child("below")
        crash(actor)
        clock.settle()
        assert actor.snapshot().next_try == pytest.approx(1.0)


def test_a_service_with_a_past_remembers_that_it_was_stopped_with_its_parent(
    clock: VirtualClock,
) -> None:
    actor = Actor("a", "nothing")
    with Supervisor([actor]):
        crash(actor)
        clock.settle()
    assert actor._history_ is not None
    assert actor._history_.exit == Exit(Reason.STOPPED, 2)
