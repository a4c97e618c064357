"""Stories that together reach every function of the engine. Each stands an error anywhere in it."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
import random
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import gevent
from gevent import GreenletExit
from gevent.event import Event

from scripted import Crash, Idle, Journal, Scripted, ScriptedBody, crash, spawn
from sprag import Backoff, DynamicSupervisor, ExitApp, Service, Supervisor, Worker, WorkerPool
from sprag_supervisor import (
    Lifetime,
    Policy,
    Reason,
    adopt_all,
    exceptions,
    hold_exits,
    not_ready,
    order_children,
    picture,
    pictures,
    recycle_after,
    release_exits,
    renew,
    restart_child,
    still_drain,
    tree_of,
)
from sprag_supervisor.escaping import plain, plain_lines
from sprag_supervisor.facts import memory as _memory
from sprag_supervisor.facts.crash import remember
from sprag_supervisor.facts.folding import said_of
from sprag_supervisor.life import guard as _guard
from sprag_supervisor.loop import pace as _pace
from sprag_supervisor.loop import pool as _pool
from sprag_supervisor.loop import pools as _pools
from sprag_supervisor.process import at_exit as _at_exit
from sprag_supervisor.tree import home as _belonging
from sprag_supervisor.tree import log as _log
from sprag_supervisor.tree import stragglers as _stragglers
from sprag_supervisor.tree.holdings import held_by, holdings_of
from sprag_supervisor.tree.names import called

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.world import World

ONE_SECOND: Final = Backoff(initial=1.0, jitter=0.0)


class Polite(Scripted):
    """Calls the hooks it overrides, as polite people do."""

    def on_start(self) -> None:
        Service.on_start(self)
        super().on_start()

    def on_drain(self) -> None:
        Service.on_drain(self)
        super().on_drain()

    def on_stop(self) -> None:
        Service.on_stop(self)
        super().on_stop()


def _scripted(
    name: str,
    *,
    in_on_start: Callable[[Scripted], object] | None = None,
    in_on_stop: Callable[[Scripted], object] | None = None,
    **orders: Any,
) -> Scripted:
    return Scripted(name, Journal(), in_on_start=in_on_start, in_on_stop=in_on_stop, **orders)


def _held(service: Scripted) -> None:
    """Acquire one of everything."""
    service.listen("order", service.say)
    service.interval(int, 1.0)
    service.timeout(int, 1.5)
    service.spawn(gevent.sleep, 60)
    holdings_of(service).add_greenlet(spawn(int))
    service.add_cleanup(int)


def a_life(world: World) -> None:
    top = world.top([Polite("a", Journal(), in_on_start=_held), Idle("b")])
    a = top.service("a")
    world.do(top.emit, "order", "beer")
    world.advance(3.0)
    world.go(a.wait, 5.0)
    world.go(a.wait)
    killed = world.do(a.spawn, gevent.sleep, 60)
    world.settle()
    if killed is not None:
        world.do(killed.kill, Crash("the killer's"), block=False)
    world.settle()
    world.do(a.snapshot)
    world.do(top.not_ready)
    world.do(lambda: list(pictures(top)))
    world.do(picture, a)
    world.do(copy.copy, a)
    world.do(repr, a)
    world.do(a.stop)
    world.do(a.spawn, int)
    world.do(a.start)
    world.do(top.stop, 10.0)


def quick_crashes(world: World) -> None:
    top = world.top([Idle("a"), Idle("b")])
    for name in "aab":
        world.do(crash, top.service(name))
        world.settle()


def crashes_with_hooks(world: World) -> None:
    top = world.top([Polite("a", Journal(), in_on_start=_held), Polite("b", Journal())])
    world.go(top.service("a").wait)
    for name in "aab":
        world.do(crash, top.service(name))
        world.advance(0.5)


def a_listener_and_a_timer_crash(world: World) -> None:
    def fail(*_: object) -> None:
        raise Crash("at work")

    top = world.top([_scripted("a", in_on_start=lambda a: a.listen("order", fail)), Idle("b")])
    world.do(top.emit, "order")
    world.settle()
    world.do(top.service("b").timeout, fail, 1.0)
    world.do(top.service("b").spawn, fail)
    world.advance(2.0)


def crashes_that_come_too_fast(world: World) -> None:
    """Each after the first waits for a turn of its own; one is killed while it does."""

    def fail_after(go: Event) -> None:
        go.wait()
        raise Crash

    def fail(_data: object) -> None:
        raise Crash

    with mock.patch.object(_pool, "HOLD", -1.0), mock.patch.object(_pace, "HOLD", -1.0):
        top = world.top([Idle(name) for name in "abcd"], max_restarts=9)
        go, greenlets = Event(), list[Any]()
        for child in top.snapshot().children:
            greenlets.append(world.do(top.service(child.name).spawn, fail_after, go))
            world.do(top.service(child.name).listen, "order", fail)
        world.settle()
        world.do(go.set)
        gevent.sleep(0)
        if greenlets[2] is not None:
            world.do(greenlets[2].kill, block=False)
        world.advance(1.0)
        world.go(top.emit, "order")
        world.advance(1.0)


def groups(world: World) -> None:
    def depends(name: str, *needs: str) -> Any:
        return _scripted(name, stop_takes=0.1), {"needs": needs or None}

    one_for_all = Supervisor(
        [_scripted(name) for name in "abc"], name="all", strategy="one_for_all"
    )
    rest = Supervisor(
        [depends("a"), depends("b", "a"), depends("c", "b"), depends("d", "a")],
        name="rest",
        strategy="rest_for_one",
    )
    top = world.top([one_for_all, rest])
    world.do(crash, top.service("all/b"))
    world.advance(1.0)
    world.do(crash, top.service("rest/b"))
    world.settle()
    world.go(top.service("rest/c").stop)
    world.advance(1.0)


def a_group_whose_restart_fails(world: World) -> None:
    top = world.top(
        [_scripted("a"), (_scripted("b"), {"backoff": ONE_SECOND}), _scripted("c")],
        strategy="one_for_all",
        max_restarts=10,
    )
    top.service("c").script.fail_starts = 1
    world.do(crash, top.service("b"))
    world.settle()
    world.advance(1.5)
    world.do(crash, top.service("a"))
    world.do(crash, top.service("c"))
    world.advance(2.0)


def waiting_for_a_restart(world: World) -> None:
    top = world.top(
        [(_scripted("a"), {"backoff": ONE_SECOND}), (Idle("b"), {"backoff": ONE_SECOND})]
    )
    a, b = top.service("a"), top.service("b")
    world.do(crash, a)
    world.do(crash, b)
    world.settle()
    world.do(top.snapshot)
    world.advance(2.0)
    a.script.fail_starts = 1
    world.do(crash, a)
    world.advance(1.5)
    world.do(a.stop)
    world.do(b.stop)


def giving_up(world: World) -> None:
    inner = Supervisor([Idle("a"), _scripted("b")], name="inner", max_restarts=1)
    top = world.top([inner, Idle("beside")], max_restarts=1)
    for _ in range(6):
        if inner._children_:
            world.do(crash, next(iter(inner._children_.values())))
        world.settle()
    world.go(top.wait, 1.0)


def escalating(world: World) -> None:
    class Fatal(Crash):
        pass

    rules: Any = {"on_failure": {Fatal: "escalate", Crash: "stop"}}
    inner = Supervisor([(Idle("a"), rules), (_scripted("b"), rules)], name="inner")
    world.top([inner])
    world.do(crash, inner._children_["b"], Crash("enough"))  # type: ignore[index]
    world.settle()
    world.do(crash, inner._children_["a"], Fatal("too much"))  # type: ignore[index]
    world.settle()


def exceptions_that_say_more(world: World) -> None:
    """What `on_failure` maps to an end without a crash, to a delay, to the end of the app."""
    rules: Any = {"on_failure": {Crash: "finish", OSError: Backoff(1.0), KeyError: ExitApp(7)}}
    here = [(Idle("a"), rules), (Idle("b"), {"restart": "transient", **rules}), Idle("d")]
    top = world.top(here, max_restarts=9)
    world.do(crash, top.service("b"), Crash("gone"))
    for error in (Crash("gone"), OSError("busy"), ValueError("else"), OSError("busy")):
        world.do(crash, top.service("a"), error)
        world.advance(2.0)
    group = ExceptionGroup("two", [OSError("busy"), Crash("gone")])
    world.do(crash, top.service("a"), group)
    world.do(crash, top.service("d"), ValueError("else"))
    world.settle()


def hearts(world: World) -> None:
    """Some beat, some do not, some are not ready for it, one is late with the whole loop."""
    top = world.top(
        [(Idle("a"), {"heartbeat": 4.0}), (Idle("b"), {"heartbeat": 1.0}), Idle("c")],
        max_restarts=9,
    )
    a, b = top.service("a"), top.service("b")
    for _ in range(12):
        world.do(b.spawn, gevent.sleep, random.random() * 90)
    world.do(b.timeout, gevent.sleep, 0.0, 9.0)
    world.do(a.beat)
    world.do(top.service("c").beat)
    late = top.adopt(_scripted("late", in_on_start=lambda me: me.set_ready(False)), heartbeat=1.0)
    for _ in range(4):
        world.advance(1.0)
        world.do(a.beat)
    world.do(late.set_ready)
    world.do(late.set_ready)
    tree = top._tree_
    heart: Any = tree and tree.heartbeats.get(id(a))
    if heart is not None:
        heart._looked -= 5.0
    world.advance(3.0)
    world.do(top.adopt, Idle("unwell", heartbeat=-1.0))


def an_exception_that_ends_the_app(world: World) -> None:
    rules: Any = {"on_failure": {KeyError: ExitApp(7)}}
    inner = Supervisor([(Idle("a"), rules)], name="inner")
    world.top([inner, Idle("b")])
    world.do(crash, inner._children_["a"], KeyError("no licence"))  # type: ignore[index]
    world.settle()


def starts_that_fail(world: World) -> None:
    top = world.top([Idle("a")])

    def adopts(inner: Scripted) -> Callable[[Scripted], object]:
        return lambda outer: outer.adopt(inner)

    world.do(top.adopt, _scripted("b", fail_starts=1, works=9.0))
    world.do(top.adopt, _scripted("c", ignore_starts=1))
    world.do(top.adopt, _scripted("d", in_on_start=adopts(_scripted("e", fail_starts=1))))
    world.do(top.adopt, _scripted("f", in_on_start=adopts(_scripted("g"))))
    world.do(top.adopt, Idle("h"), name="a")
    world.do(top.adopt, Idle("h"), name="a/b")
    world.do(top.adopt, Idle("i", needs=("nobody",)))
    world.do(top.adopt, Idle("j", restart="transient", significant=True))
    world.do(Supervisor([_scripted("k", fail_starts=1)]).start)
    world.do(top.service, "nobody")
    world.do(top.adopt, Idle("a"))
    world.do(top.adopt, Idle("a"))


def starts_that_take_too_long(world: World) -> None:
    top = world.top([Idle("a")])
    world.go(top.adopt, _scripted("b", start_takes=5.0, start_timeout=1.0))
    world.advance(2.0)
    deaf = _scripted("c", start_takes=50.0, start_timeout=1.0, deaf=True, shutdown=0.5)
    world.go(top.adopt, deaf)
    world.advance(5.0)
    world.go(top.adopt, _scripted("d", start_takes=5.0))
    world.settle()
    world.go(top.service("d").wait, 2.0)
    world.go(top.service("d").stop)
    world.advance(1.0)
    world.go(top.adopt, _scripted("e", in_on_start=lambda e: e.spawn(_fail), start_takes=5.0))
    world.advance(1.0)
    quits = _scripted("f", in_on_start=lambda f: f.finish(), start_takes=1.0, restart="transient")
    world.go(top.adopt, quits)
    world.advance(3.0)

    def impatient() -> None:
        with gevent.Timeout(0.5), contextlib.suppress(gevent.Timeout):
            top.adopt(_scripted("g", start_takes=5.0))

    world.go(impatient)
    world.advance(1.0)
    outer = _scripted("h", in_on_start=lambda h: h.adopt(_scripted("i", start_takes=5.0)))
    world.go(top.adopt, outer)
    world.advance(1.0)
    world.go(outer.stop)
    world.advance(1.0)


def _fail() -> None:
    raise Crash("at once")


def stops_that_take_too_long(world: World) -> None:
    slow = _scripted("slow", stop_takes=5.0, drain_takes=5.0, cleanup_takes=5.0, shutdown=0.5)
    deaf = _scripted(
        "deaf", works=50.0, stop_takes=50.0, cleanup_takes=5.0, deaf=True, shutdown=0.5
    )
    loud = _scripted("loud", drain_raises=True, stop_raises=True, cleanup_raises=True)
    brutal = _scripted("brutal", works=9.0, shutdown="brutal_kill")
    patient = _scripted("patient", stop_takes=1.0, shutdown="infinity")
    listens = _scripted("listens", shutdown=0.5, deaf=True)
    ticks = _scripted("ticks", shutdown=0.5, deaf=True)
    top = world.top([slow, deaf, loud, brutal, patient, listens, ticks])
    world.do(ticks.timeout, ticks._wait, 0.1, 50.0)

    def hears(_data: object) -> None:
        listens._wait(50.0)

    world.do(listens.listen, "order", hears)
    world.go(top.emit, "order")
    world.do(deaf.timeout, deaf._wait, 0.1, 50.0)
    world.advance(0.2)
    world.go(top.stop)
    world.advance(0.1)
    world.go(top.stop, 1.0)
    world.advance(5.0)
    world.do(top.start)
    world.do(top.snapshot)


def draining(world: World) -> None:
    """Everybody drains, at several depths; some are wanted down meanwhile, or crash."""

    def adopts(*children: Scripted) -> Callable[[Scripted], object]:
        return lambda service: [service.adopt(child) for child in children]

    fed = _scripted("fed", drain_takes=1.0)
    feeds = _scripted("feeds", in_on_start=adopts(fed, _scripted("too")), drain_takes=1.0)
    fails, hurried = _scripted("fails", drain_raises=True), _scripted("hurried", drain_takes=2.0)
    idle, two = Idle("idle"), Idle("two")
    below = Supervisor([hurried, fails, idle], name="below", max_restarts=1)
    pool = DynamicSupervisor(name="pool")
    group = Supervisor([_scripted("one", drain_takes=0.5), two], strategy="one_for_all")
    calm = Supervisor([_scripted("slow", drain_takes=4.0)], name="calm")
    needed = (_scripted("needed", drain_takes=0.5), {"needs": ()})
    link, needs = (Idle("link"), {"needs": ("needed",)}), _scripted("needs", drain_takes=0.5)
    in_order = Supervisor([needed, link, (needs, {"needs": ("link",)})], name="in order")
    top = world.top([feeds, below, pool, group, calm, in_order])
    world.do(pool.start_child, _scripted("pooled", drain_takes=1.0, stop_takes=0.5))
    world.go(pool.start_child, _scripted("late", start_takes=0.1))
    world.settle()
    world.do(pool.snapshot)
    world.do(idle.task, gevent.sleep, 0.1)
    world.advance(0.2)
    world.do(two.task, gevent.sleep, 0.3)
    world.go(top.stop)
    world.advance(0.2)
    world.do(top.snapshot)
    world.do(lambda: list(still_drain(top)))
    world.do(feeds.spawn, gevent.sleep, 0.1)
    world.do(crash, feeds)
    world.go(fed.stop)
    world.do(crash, two)
    world.do(crash, idle)
    world.advance(0.2)
    world.do(crash, idle)
    world.go(hurried.stop, 1.0)
    world.advance(0.2)
    world.go(top.stop, 3.0)
    world.advance(9.0)


def many_stragglers(world: World) -> None:
    def deaf(service: Scripted) -> None:
        for _ in range(22):
            service.spawn(service._wait, 3.0)

    top = world.top([])
    child = _scripted("a", in_on_start=deaf, deaf=True, shutdown=0.1, restart="temporary")
    world.do(top.adopt, child)
    world.settle()
    world.go(child.stop)
    world.advance(1.0)
    world.do(_stragglers.stragglers_of, top)
    world.advance(9.0)


def children_that_come_and_go(world: World) -> None:
    pool = DynamicSupervisor(max_children=4, name="pool", max_restarts=9)
    top = world.top([pool])
    for name, takes in (("a", 0.0), ("b", 1.0), ("c", 0.0)):
        world.do(pool.start_child, _scripted(name, stop_takes=takes), name=name)
    world.do(pool.adopt, Idle("d", restart="temporary"))
    world.do(pool.adopt, Idle("e"))
    for name in ("a", "d"):
        world.do(crash, top.service(f"pool/{name}"))
        world.settle()
    world.do(pool.terminate_child, "c")
    world.go(pool.start_child, _scripted("late", start_takes=5.0))
    world.settle()
    world.go(top.stop, 3.0)
    world.advance(0.5)


def management(world: World) -> None:
    top = world.top([_scripted("a"), Idle("b")])
    a = top.service("a")
    for call in (
        lambda: top.start_child(a),
        lambda: top.restart_child("a"),
        lambda: top.delete_child("a"),
        lambda: top.terminate_child("a"),
        top.snapshot,
        lambda: top.start_child(a),
        lambda: top.restart_child("a"),
        lambda: top.terminate_child("a"),
        lambda: top.delete_child("a"),
        lambda: top.delete_child("a"),
        lambda: top.start_child(Idle("b"), name="b"),
        lambda: top.get_childspec("b"),
        lambda: top.which_children(),
        lambda: top.count_children(),
        lambda: top.start(),
        lambda: top.service("b").start(),
    ):
        world.do(call)


def significant_children(world: World) -> None:
    def supervisor(name: str, auto: Any) -> Supervisor:
        policy = {"significant": True, "restart": "transient"}
        children = [(Idle("a"), policy), (_scripted("b"), policy)]
        return Supervisor(children, name=name, auto_shutdown=auto, restart="transient")

    any_of, all_of = supervisor("any", "any_significant"), supervisor("all", "all_significant")
    top = world.top([any_of, all_of])
    world.do(top.service("any/b").finish)
    world.settle()
    world.do(top.service("all/a").finish)
    world.settle()
    world.do(top.service("all/b").finish)
    world.settle()


def ends_from_inside(world: World) -> None:
    def body(ends: Callable[[Any], object], name: str, **policy: Any) -> ScriptedBody:
        return ScriptedBody(name, Journal(), body=ends, **policy)

    def exits(_service: object) -> None:
        raise SystemExit("enough")

    def interrupts(_service: object) -> None:
        raise KeyboardInterrupt

    def killed(_service: object) -> None:
        raise GreenletExit

    top = world.top(
        [
            body(lambda one: one.stop(), "stops"),
            body(lambda one: one.finish(), "finishes", restart="transient"),
            body(int_of, "returns", restart="temporary"),
            body(killed, "killed", restart="transient"),
        ]
    )
    world.settle()
    world.do(top.adopt, body(interrupts, "interrupts", restart="temporary"))
    world.settle()
    world.do(top.adopt, body(exits, "exits"))
    world.settle()


def int_of(_service: object) -> int:
    return 0


def a_busy_parent(world: World) -> None:
    top = world.top([_scripted("a"), Idle("b")])
    a = top.service("a")
    first = world.go(top.adopt, _scripted("c", start_takes=1.0))
    world.settle()
    second = world.go(top.adopt, Idle("d"))
    world.go(top.adopt, Idle("e"))
    world.go(a.start)
    world.settle()
    second.kill(block=False)
    world.do(crash, a)
    world.settle()
    world.advance(2.0)
    first.kill(block=False)
    world.do(top.adopt, _scripted("f", in_on_start=lambda f: world.do(top.adopt, Idle("g"))))
    world.do(top.adopt, _scripted("h", in_on_start=lambda h: world.do(h.stop)))


def stops_that_wait_for_each_other(world: World) -> None:
    left: Scripted = _scripted("left")
    right: Scripted = _scripted("right", in_on_stop=lambda _: world.do(left.stop), stop_takes=0.5)
    left.script.in_on_stop = lambda _: world.do(right.stop)
    top = world.top([left, right])
    world.go(left.stop)
    world.go(right.stop)
    world.advance(1.0)
    world.do(left.start)
    world.go(left.stop)
    world.go(left.start)
    world.advance(1.0)
    del top


def errors_of_all_kinds(world: World) -> None:
    top = world.top([Idle("a", restart="temporary")], max_restarts=99)

    class Broken(Exception):
        def __str__(self) -> str:
            raise Crash("no text")

    def chained() -> Exception:
        try:
            try:
                raise OSError("first")
            except OSError as first:
                raise ValueError("second") from first
        except ValueError:
            try:
                raise Broken
            except Broken as third:
                third.add_note("a note")
                return third

    group = ExceptionGroup("many", [OSError("one"), ExceptionGroup("few", [chained()])])
    for number, error in enumerate((chained(), group, exceptions.Ignore())):
        child = world.do(top.adopt, Idle(f"child {number}", restart="transient"))
        if child is not None:
            world.do(crash, child, error)
            world.settle()
            for failure in child.snapshot().failures:
                world.do(failure.format)
            world.do(crash, child)
            world.do(_guard.report_crash, child, 1, "late", Crash("of an earlier life"))
            world.do(child.stop)
            world.do(
                _guard.report_crash,
                child,
                child._incarnation_,
                "late",
                Crash("of one that is down"),
            )
    tree = top._tree_
    assert tree is not None
    world.do(lambda: [one for one in tree.ledger if one.concerns("top/a")])
    for each in _all_errors():
        world.do(pickle.loads, pickle.dumps(each))


def _all_errors() -> list[BaseException]:
    made: list[BaseException] = []
    for name in exceptions.__all__:
        cls: Any = getattr(exceptions, name)
        if cls is exceptions.StartTimeout:
            made.append(cls(1.0, "warming up"))
            continue
        for arguments in (
            ("a", "b", "c"),
            ("a", "b"),
            ("a", "b", 3, 4.0, "e"),
            ("a", 1),
            (1.0,),
            ("a",),
            (),
        ):
            try:
                made.append(cls(*arguments))
                break
            except TypeError:
                continue
    made.append(exceptions.UnknownChild("top", "ab", ["abc"]))
    made.append(exceptions.BadPolicy("restrat", 1, "restart", is_known=False))
    return made


def policies(world: World) -> None:
    many: Any = (
        {"restart": "no"},
        {"shutdown": "brutal"},
        {"shutdown": -1},
        {"backoff": 3},
        {"significant": 3},
        {"max_restarts": True},
        {"max_seconds": 0},
        {"on_failure": {3: "stop"}},
        {"needs": "db"},
        {"significant": True},
        {"start_timeout": 1.0},
    )
    for keywords in many:
        world.do(Policy, **keywords)
    world.do(lambda: Backoff(factor=float("inf")))
    world.do(lambda: Backoff(factor=1e300).delay(9, random.Random(1)))
    world.do(lambda: Policy().with_({"restrat": 1}))
    world.do(lambda: type("Bad", (Service,), {"on_start": _generator}))


def _generator(_self: object) -> Any:
    yield


def slots(world: World) -> None:
    class Slotted(Service):
        __slots__ = ("items", "never")

        def on_start(self) -> None:
            self.items = [1]

    top = world.top([Slotted()])
    world.do(crash, top.service("Slotted"))
    world.settle()


def elsewhere(world: World) -> None:
    top = world.top([Idle("a")])
    tree = top._tree_
    assert tree is not None
    here, tree.thread = tree.thread, 1
    try:
        world.do(lambda: top.adopt(Idle("b")))
        world.do(top.emit, "order")
    finally:
        tree.thread = here
    outcome: list[object] = []
    world.clock._loop.run_callback(lambda: outcome.append(world.do(top.start_child, Idle("c"))))
    world.settle()
    world.do(_belonging.must_be_able_to_wait, top, "wait")


def the_pool_at_rest(world: World) -> None:
    top = world.top([])
    for number in range(12):
        world.do(top.adopt, _scripted(f"child {number}", works=0.1))
    for child in top.snapshot().children:
        world.do(top.service(child.name).timeout, gevent.sleep, 0.2, 0.1)
    world.advance(5.0)
    world.do(_pools.idle_greenlets)
    world.do(_log.listening, 10)


def a_killed_hook(world: World) -> None:
    top = world.top([])
    world.do(top.adopt, _scripted("a", in_on_start=lambda _: _kill_oneself()))
    world.do(top.adopt, _scripted("b", in_on_start=lambda _: _interrupt()))
    one = world.do(top.adopt, _scripted("c"))
    if one is not None:
        greenlet = world.do(one.spawn, gevent.sleep, 5)
        if greenlet is not None:
            greenlet.kill(block=False)
            world.settle()
            world.do(lambda: (greenlet.successful(), greenlet.exception, greenlet.exc_info))
            world.do(greenlet.get)
        greenlet = world.do(one.spawn, _fail)
        world.settle()
        if greenlet is not None:
            world.do(lambda: (greenlet.successful(), greenlet.exception, greenlet.exc_info))
            world.do(greenlet.get)


def _kill_oneself() -> None:
    raise GreenletExit


def _interrupt() -> None:
    raise KeyboardInterrupt


def an_observer_that_fails(world: World) -> None:
    top = world.top([Idle("a")])
    tree = top._tree_
    assert tree is not None

    def fail(_record: object) -> None:
        raise Crash("observing")

    tree.observers.append(fail)
    world.do(crash, top.service("a"))
    world.settle()


def the_end_of_the_program(world: World) -> None:
    world.top([_scripted("a", stop_takes=0.5)])
    world.do(_at_exit._stop_all)


class Eager(Scripted):
    """One that is told when all are up."""

    def on_ready(self) -> None:
        self.say("ready")


def when_all_are_up(world: World) -> None:
    top = world.top([Eager("a", Journal()), Supervisor([Eager("b", Journal())], name="inner")])
    world.settle()
    world.do(crash, top.service("a"))
    world.settle()


def a_start_after_a_stop_that_is_pending(world: World) -> None:
    top = world.top([_scripted("a", stop_takes=0.5), Idle("b")])
    for name in "ab":
        one = top.service(name)
        world.do(one.spawn, one.stop)
        world.go(one.start)
        world.advance(2.0)


def a_crash_while_stopping(world: World) -> None:
    top = world.top([_scripted("a", stop_takes=1.0)])
    a = top.service("a")
    world.go(a.stop)
    world.advance(0.3)
    world.do(crash, a)
    world.advance(2.0)


def significant_children_of_a_group(world: World) -> None:
    policy = {"significant": True, "restart": "transient"}
    top = world.top(
        [(Idle("a"), policy), (_scripted("b"), policy), Idle("c")],
        strategy="one_for_all",
        auto_shutdown="all_significant",
    )
    world.do(crash, top.service("c"))
    world.do(top.service("a").finish)
    world.settle()


def what_a_group_means(world: World) -> None:
    rules: Any = {"on_failure": {OSError: "stop", ValueError: "restart"}}
    top = world.top([(Idle("a"), rules), Idle("b")])
    group = ExceptionGroup("two", [ValueError("v"), ExceptionGroup("one", [OSError("o")])])
    world.do(crash, top.service("a"), group)
    world.do(crash, top.service("b"), group)
    world.settle()
    world.do(crash, top.service("b"), BaseExceptionGroup("kills", [GreenletExit()]))
    world.do(crash, top.service("b"), BaseExceptionGroup("exits", [SystemExit(3), Crash("too")]))
    world.settle()


def nobody_watches(world: World) -> None:
    """Who has no hooks and holds nothing comes and goes without further ado."""
    many = DynamicSupervisor(name="many", max_restarts=100)
    world.keep(many)
    world.do(many.start)
    for _ in range(3):
        world.do(many.start_child, Service())
    told = world.do(many.start_child, _scripted("told", in_on_start=lambda me: me.timeout(int, 9)))
    world.do(crash, told)
    world.settle()
    below = Supervisor([Service(), _scripted("a"), Service()])
    world.do(many.start_child, below)
    world.settle()
    world.do(many.terminate_child, below)
    world.do(many.stop)


def memories_that_fade(world: World) -> None:
    memories, busy, quiet = _memory.Memories(), _memory.History(), _memory.History()
    failure = remember(Crash("again"), 1)
    for _ in range(90):
        world.do(memories.add, busy, failure)
    for _ in range(10):
        world.do(memories.add, quiet, failure._replace(size=1_000_000))
    world.do(memories.leave, busy)
    world.do(memories.join, busy)
    for _ in range(150):
        world.do(memories.add, quiet, failure)
    ledger = _memory.Ledger()
    large = failure._replace(size=2_000_000)
    for name in ("a", "b"):
        ruling = _memory.Ruling(
            0.0, "top", name, 1, Reason.CRASHED, large, "restart", (name,), Policy(), 1, 0.0, 1
        )
        world.do(ledger.enter, ruling)


def says_of_itself(world: World) -> None:
    warm = _scripted("warm", in_on_start=lambda me: me.set_ready(False, "warming up"))
    late = _scripted("late", in_on_start=lambda me: me.set_ready(False))
    top = world.top([warm, (late, {"start_timeout": 2.0})], max_restarts=9)
    world.do(warm.set_status, "1 of 2")
    world.do(lambda: list(not_ready(top)))
    world.do(warm.set_ready)
    world.advance(1.0)
    world.do(late.set_ready)
    world.do(crash, late)
    world.advance(5.0)
    world.do(lambda: picture(warm).is_ready)
    below = top.snapshot().children
    world.do(lambda: (len(below), below[0], below[:1], list(below), repr(below)))
    world.do(lambda: below == top.snapshot().children)
    world.do(below.__reduce__)
    slow = _scripted("slow")
    world.do(lambda: top.adopt(slow, backoff=ONE_SECOND))
    world.do(crash, slow)
    world.settle()
    world.do(lambda: list(not_ready(top)))


def looking_back(world: World) -> None:
    top = world.top([(Idle("a\x1b"), {"backoff": ONE_SECOND})])
    child = top.service("a\x1b")
    tree = top._tree_
    assert tree is not None
    heard: list[int] = []

    def hear(number: int, _ruling: object) -> None:
        heard.append(number)

    world.do(tree.ledger.follow, hear)
    world.do(crash, child)
    world.advance(2.0)
    world.do(lambda: (tree.ledger.last, dict(tree.ledger.numbered())))
    world.do(tree.ledger.leave, hear)
    supervision = top._supervision_
    if supervision is not None and supervision.window is not None:
        world.do(supervision.window.since, 0.0)
    for failure in child.snapshot().failures:
        world.do(repr, failure)
    for ruling in tree.ledger:
        world.do(ruling.covered, 9)
        world.do(ruling.in_brief)
        world.do(getattr, ruling, "child")
    world.do(held_by, child)
    world.do(tree.pool.under_way)
    history = child._history_
    if history is not None and history.memories:
        world.do(history.forget, history.memories[0])
    world.do(lambda: child.snapshot().last_failure)
    world.do(ONE_SECOND.least, 3)
    world.do(plain, child._name_)
    world.do(plain_lines, "two\nlines")
    world.do(said_of, 1, 2)
    world.do(lambda: Supervisor([Idle]))
    world.do(called, Idle)
    world.do(top.adopt, Service)
    world.do(_log.configured, logging.ERROR)
    logger = logging.getLogger("sprag")
    onlooker = _log.Onlooker()
    logger.addHandler(onlooker)
    world.do(lambda: onlooker.handle(logger.makeRecord("sprag", 10, "", 1, "seen", (), None)))
    logger.removeHandler(onlooker)
    report = world.do(top.stop)
    if report is not None:
        world.do(lambda: (repr(report), report.is_clean))
        ended = world.do(top.wait)
        world.do(lambda: ended is not None and ended.is_clean)


def held(world: World) -> None:
    job = Idle("job", restart="temporary", on_failure={Crash: "escalate"})
    fleet = Supervisor(
        [_scripted(name, backoff=ONE_SECOND) for name in "abc"],
        name="fleet",
        strategy="one_for_all",
    )
    top = world.top([fleet, Supervisor([job], name="jobs"), Idle("quick")], max_restarts=10)
    a, b, quick = (top.service(path) for path in ("fleet/a", "fleet/b", "quick"))
    world.do(hold_exits, b)
    world.do(hold_exits, top.service("jobs"), 5.0)
    world.do(hold_exits, quick, 60.0, 1000)
    for each in (b, quick, job):
        world.do(crash, each)
    world.settle()
    world.do(crash, a)
    world.settle()
    world.do(hold_exits, top.service("fleet/c"), 2.0)
    world.do(lambda: list(not_ready(top)))
    world.do(lambda: [hold.concerns("top/quick") for hold in top._tree_.ledger.holds])  # type: ignore[union-attr]
    world.do(lambda: top.snapshot().is_ready)
    world.do(restart_child, a, now=True)
    world.do(restart_child, quick, now=True)
    world.advance(3.0)
    for path in ("top/fleet/b", "top/quick", "top/nobody"):
        world.do(release_exits, tree_of(top), path)
        world.settle()
    world.do(hold_exits, b, 50.0)
    world.advance(3.0)


class Warming(Polite):
    """Is not ready at first."""

    def on_start(self) -> None:
        super().on_start()
        self.set_ready(False, "warming up")


def needs(world: World) -> None:
    def part(name: str, *wanted: str, **policy: Any) -> Any:
        return _scripted(name, start_takes=0.5, stop_takes=0.5), {"needs": wanted, **policy}

    db = Warming("db", Journal())
    once = ScriptedBody("once", Journal(), body=int_of, restart="transient")
    side_by_side = Supervisor(
        [
            part("api", "db", "spare"),
            (db, {"needs": ()}),
            (Idle("first"), {"needs": None}),
            part("spare", autostart=False),
            part("later", autostart=False),
            (once, {"needs": ()}),
            (Idle("after"), {"needs": {"once": "finished"}, "backoff": ONE_SECOND}),
        ],
        name="side",
        strategy="rest_for_one",
    )
    top = world.top([side_by_side], max_restarts=10)
    world.advance(1.0)
    world.do(lambda: list(not_ready(top)))
    world.do(db.set_ready)
    world.advance(1.0)
    for name in ("db", "api", "after"):
        world.do(crash, top.service(f"side/{name}"))
        world.settle()
    world.do(top.service("side/db").stop)
    world.do(crash, top.service("side/api"))
    world.advance(2.0)
    world.go(lambda: side_by_side.adopt(Idle("late"), needs=("later",)))
    world.go(lambda: side_by_side.adopt(Idle("never"), needs=("nobody",)))
    world.go(lambda: side_by_side.adopt(Idle("idle"), autostart=False))
    world.advance(2.0)
    bad = Supervisor([part("x"), part("y"), part("z", "x")], name="bad")
    bad._static_[1][0].script.fail_starts = 1  # type: ignore[attr-defined]
    world.go(lambda: top.adopt(bad))
    world.advance(2.0)
    world.go(lambda: bad.stop(0.7))
    world.advance(2.0)
    nested = Supervisor([part("m"), part("n", "m")], name="nested")
    asks = _scripted("asks", in_on_stop=lambda _: chain.start())
    chain = Supervisor(
        [part("x"), (nested, {"needs": ("x",)}), (asks, {"needs": ()}), (Idle("z"), {})],
        name="chain",
    )
    world.go(lambda: top.adopt(chain))
    world.advance(3.0)
    world.do(crash, chain._children_["x"])  # type: ignore[index]
    world.advance(0.2)
    world.go(lambda: chain.stop(0.7))
    world.advance(2.0)
    world.do(lambda: Supervisor([part("x", "y"), part("y", "x")]))
    cut_short = Supervisor([part("x"), part("y", "x")], name="cut")
    world.go(lambda: top.adopt(cut_short))
    world.advance(0.2)
    world.go(cut_short.stop)
    world.advance(2.0)


def tries(world: World) -> None:
    twice = Backoff(initial=0.5, jitter=0.0, tries=2)
    bad = _scripted("bad", fail_starts=2)
    group = Supervisor(
        [(Idle("a"), {"backoff": twice}), (_scripted("b", fail_starts=1), {"retry_start": True})],
        name="group",
        strategy="one_for_all",
    )
    top = world.top(
        [
            (bad, {"retry_start": True}),
            (_scripted("never", fail_starts=9), {"retry_start": True, "backoff": twice}),
            (_scripted("gone", fail_starts=9, restart="temporary"), {"retry_start": True}),
            group,
        ],
        max_restarts=10,
    )
    world.advance(3.0)
    for _ in range(4):
        for child in tuple((group._children_ or {}).values()):
            world.do(crash, child)
        world.advance(0.7)
    world.do(top.snapshot)


class Packing(Worker):
    """Takes so many seconds, or crashes."""

    def handle(self, item: float) -> None:
        gevent.sleep(abs(item))
        if item < 0:
            raise Crash(item)


def work_for_others(world: World) -> None:
    pool = WorkerPool(Packing, size=2, retries=0, shutdown=3.0)
    top = world.top([Scripted("a", Journal(), shutdown=2.0), (pool, {"name": "pool"})])
    a = top.service("a")
    for seconds in (1.0, 5.0, 60.0):
        world.do(a.task, gevent.sleep, seconds)
    for seconds in (1.0, -1.0, 60.0, 60.0, 60.0):
        world.do(pool.submit, seconds)
    world.advance(2.5)
    world.do(lambda: (top.snapshot(), pool.snapshot().items))
    world.do(pool.stop)
    world.do(a.stop)


class Reads(Idle):
    """Reads its configuration again, as it is told to."""

    def __init__(self, name: str, reads: Callable[[], object], **policy: Any) -> None:
        super().__init__(name, **policy)
        self._reads = reads

    def on_reload(self) -> None:
        Service.on_reload(self)
        self._reads()


def reloads(world: World) -> None:
    """Some read at once, some slowly, or not at all; others ask meanwhile, or end."""
    slow = Reads("slow", lambda: gevent.sleep(2.0))
    inner = Supervisor([Reads("below", int), slow, Idle("idle")], name="inner")
    asks = Reads("asks", lambda: inner.reload_tree())
    ends = Reads("ends", lambda: crash(ends), backoff=ONE_SECOND)
    stops = Reads("stops", lambda: stops.stop())
    top = world.top([Reads("fails", _fail), ends, stops, inner, asks], max_restarts=99)
    world.do(top.reload_tree, dry_run=True)
    world.go(top.reload_tree, 3.0)
    world.settle()
    world.go(inner.reload_tree, 1.0)
    world.go(inner.reload_tree, None)
    world.advance(1.0)
    world.do(stops.start)
    world.advance(9.0)
    world.go(top.reload_tree, 1.0)
    world.settle()
    world.do(slow.stop)
    world.advance(5.0)

    def impatient() -> None:
        with gevent.Timeout(0.5), contextlib.suppress(gevent.Timeout):
            inner.reload_tree()

    world.do(slow.start)
    world.go(impatient)
    world.advance(1.0)
    world.do(top.reload_tree, -1.0)
    world.do(Idle("alone").reload_tree)
    world.go(top.reload_tree, None)
    world.settle()
    world.go(top.stop)
    world.advance(9.0)
    world.do(inner.reload_tree)


def declared_anew(world: World) -> None:
    """One is given other arguments and policy, another one another place; one waits for that."""
    first, second = Idle("first"), Idle("second")
    top = world.top([first, second], max_restarts=99)
    world.do(renew, first, Idle("first"), {"restart": "transient"})
    world.do(renew, second, Idle("second"), {"restart": "wrongly"})
    new = Idle("new")
    world.do(renew, new, Idle("newer"), {})
    world.go(top.adopt, _scripted("third", start_takes=1.0))
    world.settle()
    world.go(order_children, top, ["second", "first"])
    world.advance(2.0)
    crash(first)
    world.settle()
    world.do(order_children, top, ["nobody", "first"])
    world.go(top.stop)
    world.advance(9.0)


def lives_that_are_long_enough(world: World) -> None:
    """Several are recycled; one does not get ready again, one is held, one stopped in the midst."""

    def aging(name: str, *, then: Callable[[Any], object] = id, **orders: Any) -> Scripted:
        def on_start(me: Any) -> None:
            then(me)
            recycle_after(me, 10.0)

        return _scripted(name, in_on_start=on_start, **orders)

    def warms_up(service: Any) -> None:
        service.set_ready(service._incarnation_ == 1)

    top = world.top(
        [
            aging("a"),
            Idle("b"),
            aging("c", then=warms_up, stop_takes=1.0),
            aging("d", restart="temporary"),
        ],
        strategy="rest_for_one",
        max_restarts=0,
    )
    world.do(recycle_after, top, 1.0)
    world.do(hold_exits, top.service("a"))
    world.advance(12.0)
    c = top.service("c")
    world.advance(3.0)
    world.do(release_exits, top._tree_, "top/a")
    world.advance(2.0)
    world.do(c.set_ready)
    world.advance(30.0)
    world.go(c.stop)
    world.advance(30.0)
    lifetime: Any = Lifetime(top.service("a"), 5.0)
    world.do(lifetime.release)
    world.do(lifetime.release)


def several_that_come_to_one_that_runs(world: World) -> None:
    """Side by side; one fails, one has a name that is taken, and the parent ends in the midst."""
    top = world.top([Idle("x")])

    def slow(name: str, **orders: Any) -> Scripted:
        return _scripted(name, start_takes=1.0, **orders)

    def fails(_me: object) -> None:
        raise Crash("no room")

    def come(*children: Scripted) -> None:
        listed = [(each, each.name, {"needs": ()}) for each in children]
        adopt_all(top, listed, by_needs=True, leave_out=lambda _child, _error: None)

    world.go(come, slow("a"), slow("b", in_on_start=fails), slow("x"))
    world.advance(3.0)
    world.go(come, slow("c"), slow("d"))
    world.advance(0.5)
    world.go(top.stop)
    world.advance(5.0)


STORIES: Final[dict[str, Callable[[World], None]]] = {
    story.__name__.replace("_", " "): story
    for story in (
        a_life,
        quick_crashes,
        crashes_with_hooks,
        a_listener_and_a_timer_crash,
        crashes_that_come_too_fast,
        groups,
        a_group_whose_restart_fails,
        waiting_for_a_restart,
        giving_up,
        escalating,
        starts_that_fail,
        starts_that_take_too_long,
        stops_that_take_too_long,
        draining,
        many_stragglers,
        children_that_come_and_go,
        management,
        significant_children,
        ends_from_inside,
        a_busy_parent,
        stops_that_wait_for_each_other,
        errors_of_all_kinds,
        policies,
        slots,
        elsewhere,
        the_pool_at_rest,
        a_killed_hook,
        an_observer_that_fails,
        the_end_of_the_program,
        when_all_are_up,
        a_crash_while_stopping,
        a_start_after_a_stop_that_is_pending,
        significant_children_of_a_group,
        what_a_group_means,
        exceptions_that_say_more,
        hearts,
        an_exception_that_ends_the_app,
        nobody_watches,
        memories_that_fade,
        looking_back,
        says_of_itself,
        held,
        needs,
        tries,
        work_for_others,
        reloads,
        declared_anew,
        lives_that_are_long_enough,
        several_that_come_to_one_that_runs,
    )
}
