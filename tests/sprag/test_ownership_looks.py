"""Whose an exception of a bare greenlet is: theirs who look at it, or its service's crash."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import Greenlet, GreenletExit, event, local, pool

from sprag import Service, Supervisor, own_greenlets

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock


bare: Any = gevent  # what a greenlet returns is known to nobody here
Pool: Any = pool.Pool
Group: Any = pool.Group
AsyncResult: Any = event.AsyncResult


class Failed(Exception):
    """What the greenlets of these tests raise."""


def fail(*_: object) -> None:
    raise Failed("no line")


def fail_later(seconds: float = 1) -> None:
    gevent.sleep(seconds or 1)
    raise Failed("no line")


def handle(call: Callable[..., object], *args: object, **kwargs: object) -> None:
    """Do what the documentation recommends: call, and handle the exception."""
    try:
        call(*args, **kwargs)
    except Failed:
        return
    pytest.fail("was not raised to the one who called")


def linked(link: str, to: Callable[[Any], object]) -> None:
    getattr(bare.spawn(fail), link)(to)
    gevent.sleep(1)


def collects_what_is_ready() -> None:
    greenlet = bare.spawn(fail)
    gevent.sleep(0)
    handle(greenlet.get)


def joins_then_gets() -> None:
    greenlet = bare.spawn(fail_later)
    greenlet.join()
    handle(greenlet.get)


def waits_for_an_async_result(link: str) -> None:
    result = AsyncResult()
    getattr(bare.spawn(fail_later), link)(result)
    handle(result.get)


def joins_a_group(group: Any) -> None:
    group.spawn(fail_later, 1)
    group.spawn(gevent.sleep, 5)
    handle(group.join, raise_error=True)


def iterates(look: Callable[[Any], object], busy: float = 0) -> None:
    for greenlet in bare.iwait([bare.spawn(fail_later) for _ in range(3)]):
        gevent.sleep(busy)
        look(greenlet)


def links_before_the_start() -> None:
    greenlet = bare.Greenlet(fail)
    greenlet.link(id)
    greenlet.start()
    gevent.sleep(1)


def kills(exception: object, *, when_it_runs: bool) -> None:
    greenlet = bare.spawn(gevent.sleep, 10)
    gevent.sleep(1 if when_it_runs else 0)
    greenlet.kill(exception)


def kills_what_has_not_begun(exception: object) -> None:
    bare.spawn(gevent.sleep, 10).kill(exception)


def kills_all() -> None:
    greenlets = [bare.spawn(gevent.sleep, 10) for _ in range(2)]
    gevent.sleep(0)
    bare.killall(greenlets, Failed)


THEIRS: dict[str, Callable[[], object]] = {
    "get": lambda: handle(bare.spawn(fail).get),
    "get later": lambda: handle(bare.spawn(fail_later).get),
    "get with time to spare": lambda: handle(bare.spawn(fail_later).get, timeout=5),
    "get, just after its death": collects_what_is_ready,
    "join, then get": joins_then_gets,
    "joinall(raise_error), several at once": lambda: handle(
        bare.joinall, [bare.spawn(fail) for _ in range(3)], raise_error=True
    ),
    "Pool.map": lambda: handle(Pool(2).map, fail_later, range(5)),
    "Group.map": lambda: handle(Group().map, fail, range(5)),
    "Pool.map_async": lambda: handle(Pool(2).map_async(fail, range(5)).get),
    "Pool.imap": lambda: handle(lambda: list(Pool(2).imap(fail, range(5)))),
    "Pool.imap_unordered": lambda: handle(lambda: list(Pool(2).imap_unordered(fail, range(5)))),
    "Pool.imap over what fails": lambda: handle(lambda: list(Pool(2).imap(int, map(fail, "a")))),
    "Pool.apply": lambda: handle(Pool(2).apply, fail),
    "Pool.spawn, get": lambda: handle(Pool(2).spawn(fail).get),
    "Pool.apply_async, get": lambda: handle(Pool(2).apply_async(fail).get),
    "Pool.join(raise_error)": lambda: joins_a_group(Pool(5)),
    "Group.join(raise_error)": lambda: joins_a_group(Group()),
    "AsyncResult by link": lambda: waits_for_an_async_result("link"),
    "AsyncResult by rawlink": lambda: waits_for_an_async_result("rawlink"),
    "link": lambda: linked("link", id),
    "rawlink": lambda: linked("rawlink", id),
    "link_exception": lambda: linked("link_exception", id),
    "a link made before the start": links_before_the_start,
    "iwait, get": lambda: iterates(lambda each: handle(each.get)),
    "iwait, exception": lambda: iterates(lambda each: each.exception),
    "iwait, busy with an earlier one": lambda: iterates(lambda each: handle(each.get), busy=3),
    "kill(instance)": lambda: kills(Failed("enough"), when_it_runs=True),
    "kill(type)": lambda: kills(Failed, when_it_runs=True),
    "kill(triple)": lambda: kills((Failed, Failed("enough"), None), when_it_runs=True),
    "kill(triple without an instance)": lambda: kills((Failed, None, None), when_it_runs=True),
    "kill, just begun": lambda: kills(Failed, when_it_runs=False),
    "kill, not begun": lambda: kills_what_has_not_begun(Failed),
    "kill with no exception at all, not begun": lambda: kills_what_has_not_begun("now"),
    "killall": kills_all,
    "spawn_later, get": lambda: handle(bare.spawn_later(1, fail).get),
}


def waits_too_short() -> None:
    with bare.Timeout(0.5, False):
        bare.spawn(fail_later).get()


def unlinks() -> None:
    greenlet = bare.Greenlet(fail)
    callback = id
    greenlet.link(callback)
    greenlet.start()
    greenlet.unlink(callback)


def raises_when_killed() -> None:
    def body() -> None:
        try:
            gevent.sleep(10)
        except GreenletExit:
            raise Failed("cannot close") from None

    greenlet = bare.spawn(body)
    gevent.sleep(0)
    greenlet.kill()


def keeps_something_for_itself() -> None:
    kept = local.local()

    def body() -> None:
        kept.seen = True
        fail()

    bare.spawn(body)


def runs_out_of_time() -> None:
    def body() -> None:
        with bare.Timeout(1):
            gevent.sleep(5)

    bare.spawn(body)


def left_the_wait_early() -> None:
    soon, late = bare.spawn(fail_later, 1), bare.spawn(fail_later, 3)
    handle(bare.joinall, [soon, late], raise_error=True)


class Subclass(Greenlet):  # type: ignore[type-arg]
    def _run(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        fail()


CRASHES: dict[str, Callable[[], object]] = {
    "nobody": lambda: bare.spawn(fail),
    "join": lambda: bare.spawn(fail_later).join(),
    "joinall": lambda: bare.joinall([bare.spawn(fail_later)]),
    "wait": lambda: bare.wait([bare.spawn(fail_later)]),
    "Pool.spawn": lambda: Pool(2).spawn(fail),
    "Pool.join": lambda: (some := Pool(2), some.spawn(fail), some.join()),
    "Pool.apply_async with a callback for results": lambda: Pool(2).apply_async(
        fail, callback=print
    ),
    "link_value": lambda: linked("link_value", print),
    "get that timed out": waits_too_short,
    "a link that was taken back": unlinks,
    "unlink_all": lambda: bare.spawn(fail).unlink_all(),
    "raised while being killed": raises_when_killed,
    "a thread-local was used": keeps_something_for_itself,
    "Timeout of its own": runs_out_of_time,
    "a wait that was left early": left_the_wait_early,
    "spawn_later": lambda: bare.spawn_later(1, fail),
    "a subclass": lambda: Subclass.spawn(),
    "of a greenlet of a greenlet": lambda: bare.spawn(bare.spawn, fail),
    "spawned by a spawned one": lambda: bare.spawn(lambda: bare.spawn(fail_later)),
}


class Host(Service, restart="temporary"):
    def __init__(self, scene: Callable[[], object]) -> None:
        self.scene = scene

    def run(self) -> None:
        self.scene()
        gevent.sleep(100)


@pytest.fixture
def crashes(clock: VirtualClock, log: Any) -> Callable[[Callable[[], object]], list[str]]:
    """Play a scene in a service; return what has crashed it."""

    def play(scene: Callable[[], object]) -> list[str]:
        with own_greenlets(), Supervisor([Host(scene)], name="top"):
            clock.advance(20)
        crashes = [each for each in log.at_least(40) if each.sprag["event"] == "service crashed"]
        return [each.getMessage() for each in crashes]

    return play


@pytest.mark.parametrize("scene", THEIRS.values(), ids=THEIRS)
def test_an_exception_that_somebody_looks_at_is_theirs(crashes: Any, scene: Any) -> None:
    assert crashes(scene) == []


@pytest.mark.parametrize("scene", CRASHES.values(), ids=CRASHES)
def test_one_that_nobody_looks_at_is_the_services_crash(
    crashes: Any, scene: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert crashes(scene) == ["top/Host: service crashed (step='greenlet')"]
    assert capfd.readouterr() == ("", "")  # once, and not by gevent


def test_what_was_raised_to_somebody_is_printed_by_nobody(
    crashes: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert crashes(lambda: handle(bare.spawn(fail).get)) == []
    assert capfd.readouterr() == ("", "")


def test_what_is_merely_linked_is_printed_by_gevent_as_always(
    crashes: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert crashes(lambda: linked("rawlink", id)) == []
    assert "failed with Failed" in capfd.readouterr().err


def test_a_greenlet_looks_the_same_from_outside(crashes: Any) -> None:
    seen: list[Any] = []

    def scene() -> None:
        greenlet = bare.spawn(gevent.sleep, 3)
        seen.extend([greenlet.has_links(), repr(greenlet).partition(": ")[2]])
        greenlet.kill()
        seen.extend(name in vars(greenlet) for name in ("_run", "_maybe_kill_before_start"))

    crashes(scene)
    assert seen == [False, "sleep(3)>", False, False]


def test_the_log_shows_the_users_part_of_the_traceback(crashes: Any, log: Any) -> None:
    crashes(lambda: bare.spawn(fail))
    traceback = log.at_least(40)[0].exc_info[2]
    assert traceback.tb_frame.f_code is fail.__code__


def test_sys_exit_in_a_bare_greenlet_stops_the_app_unless_somebody_waits_for_it(
    clock: VirtualClock,
) -> None:
    def waits() -> None:
        with pytest.raises(SystemExit):
            bare.spawn(sys.exit, 3).get()

    for scene, is_up in ((waits, True), (lambda: bare.spawn(sys.exit, 3), False)):
        with own_greenlets(), Supervisor([Host(scene)]) as top:
            clock.advance(1)
            assert (top.snapshot().state.value == "running") is is_up


def test_a_killers_exception_is_no_crash_of_a_managed_greenlet_either(crashes: Any) -> None:
    class Killed(Service, restart="temporary"):
        def on_start(self) -> None:
            for exception in (Failed("enough"), Failed):
                greenlet = self.spawn(gevent.sleep, 10)
                gevent.sleep(1)
                greenlet.kill(exception)
                handle(greenlet.get)

    def scene() -> None:
        with Supervisor([Killed()]) as top:
            gevent.sleep(1)
            assert top.which_children()

    assert crashes(scene) == []


def test_self_spawn_crashes_its_service_whoever_waits(crashes: Any) -> None:
    class Waiting(Host):
        def run(self) -> None:
            handle(self.spawn(fail).get)

    def scene() -> None:
        with Supervisor([Waiting(print)]):
            gevent.sleep(1)

    assert len(crashes(scene)) == 1
