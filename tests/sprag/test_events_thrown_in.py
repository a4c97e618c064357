"""What leaves a listener: whose it is, the emitter's or the listener's, or both may be meant."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, cast

import gevent
import gevent.event
import gevent.lock
import gevent.queue
import gevent.socket
import pytest
from gevent import GreenletExit, Timeout

from sprag import Service, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")


class Plain(Service):
    """Does nothing."""


class Parent(Service, max_restarts=1000):
    """Never gives up."""


class Mine(Exception):
    """Somebody's own."""


class Bare(BaseException):
    """No Exception, as some libraries have them."""


@pytest.fixture
def root(clock: VirtualClock) -> Any:
    """Return the running root of a tree that ends with the test."""
    del clock  # it must be there first
    root = Parent()
    root.start()
    yield root
    root.stop()


def lives(service: Service) -> int:
    return service.snapshot().incarnation


def wait_for_ever(_data: object = None) -> None:
    gevent.event.Event().wait()


def sleep_long(_data: object = None) -> None:
    gevent.sleep(1000)


def take(_data: object = None) -> None:
    gevent.queue.Queue().get()


def acquire(_data: object = None) -> None:
    gevent.lock.Semaphore(0).acquire()


def collect(_data: object = None) -> None:
    gevent.event.AsyncResult().get()


WAYS_TO_WAIT = [wait_for_ever, sleep_long, take, acquire, collect]


@pytest.mark.parametrize("wait", WAYS_TO_WAIT)
@pytest.mark.parametrize("thrown", [Mine("out"), Mine, TimeoutError("too late"), Bare("out")])
def test_what_a_timeout_raises_in_its_place_reaches_the_emitter(
    root: Parent, clock: VirtualClock, wait: Callable[[object], None], thrown: Any
) -> None:
    ears = root.adopt(Plain())
    ears.listen("event", wait)
    kind = thrown if isinstance(thrown, type) else type(thrown)
    with pytest.raises(kind), Timeout(2, thrown):
        root.emit("event")
    assert clock.now == 2.0
    clock.settle()
    assert lives(ears) == 2  # it may have been a timeout of its own: both hear of it
    assert ears.snapshot().failures[-1].type.endswith(kind.__name__)


@pytest.mark.parametrize("wait", WAYS_TO_WAIT)
def test_the_exception_of_a_kill_reaches_the_emitter(
    root: Parent, clock: VirtualClock, wait: Callable[[object], None]
) -> None:
    heard: list[BaseException] = []

    def emits() -> None:
        try:
            root.emit("event")
        except Mine as error:
            heard.append(error)

    root.adopt(Plain()).listen("event", wait)
    emitter = root.spawn(emits)
    clock.settle()
    error = Mine("stop that")
    emitter.kill(error, block=False)
    clock.settle()
    assert heard == [error]
    assert lives(root) == 1


def test_a_quiet_timeout_of_the_emitter_stays_quiet(root: Parent, clock: VirtualClock) -> None:
    ears = root.adopt(Plain())
    ears.listen("event", sleep_long)
    with Timeout(2, cast("Any", False)):
        root.emit("event")
    clock.settle()
    assert clock.now == 2.0
    assert lives(ears) == 1


def test_a_timeout_passes_through_nested_listeners_to_the_one_who_set_it(
    root: Parent, clock: VirtualClock
) -> None:
    heard: list[str] = []

    def relay(_data: object) -> None:
        with Timeout(2) as own:
            try:
                root.emit("inner")
            except Timeout as timeout:
                if timeout is not own:
                    raise
                heard.append("relay")

    one, two = root.adopt(Plain()), root.adopt(Plain())
    one.listen("outer", relay)
    two.listen("inner", sleep_long)
    with Timeout(10):
        root.emit("outer")
    assert heard == ["relay"]
    with pytest.raises(Timeout), Timeout(1):
        root.emit("outer")
    clock.settle()
    assert (lives(one), lives(two), clock.now) == (1, 1, 3.0)


def test_a_timeout_that_leaves_the_listener_who_set_it_is_that_listeners_alone(
    root: Parent, clock: VirtualClock
) -> None:
    def relay(_data: object) -> None:
        with Timeout(2):
            root.emit("inner")

    one, two = root.adopt(Plain()), root.adopt(Plain())
    one.listen("outer", relay)
    two.listen("inner", sleep_long)
    root.emit("outer")
    clock.settle()
    assert (lives(one), lives(two)) == (2, 1)


def own_socket_timeout(_data: object) -> None:
    here, there = gevent.socket.socketpair()
    with here, there:
        here.settimeout(0.01)
        here.recv(1)


def test_of_a_listeners_own_socket_timeout_both_hear(root: Parent, clock: VirtualClock) -> None:
    ears = root.adopt(Plain())
    ears.listen("event", own_socket_timeout)
    with pytest.raises(socket.timeout):
        root.emit("event")
    clock.settle()
    assert lives(ears) == 2


def group_of_bare(_data: object = None) -> None:
    raise BaseExceptionGroup("several", [Bare(), ValueError()])


def with_what(error: BaseException) -> Callable[[object], None]:
    def listener(_data: object) -> None:
        raise error

    return listener


def other_greenlets(_data: object) -> None:
    gevent.spawn(group_of_bare).get()


def unclosed_timeout(_data: object) -> None:
    raise Timeout(5)


def wrapped(_data: object) -> None:
    try:
        gevent.sleep(1000)
    except Mine as error:
        raise ValueError("cannot") from error


@pytest.mark.parametrize(
    "listener",
    [
        with_what(Bare("own")),
        with_what(Mine("own")),
        with_what(GeneratorExit()),
        with_what(RecursionError("own")),
        group_of_bare,
        with_what(ExceptionGroup("several", [ValueError(), Mine()])),
        unclosed_timeout,
    ],
)
def test_whatever_a_listener_raises_itself_is_its_own_crash(
    root: Parent, clock: VirtualClock, listener: Callable[[object], None]
) -> None:
    seen: list[object] = []
    ears, other = root.adopt(Plain(), name="ears"), root.adopt(Plain(), name="other")
    ears.listen("event", listener)
    other.listen("event", seen.append)
    emitter = root.spawn(root.emit, "event", 1)
    clock.settle()
    assert emitter.value == 2
    assert seen == [1]
    assert (lives(ears), lives(other), lives(root)) == (2, 1, 1)


def test_a_kill_that_a_listener_turns_into_something_else_is_its_own(
    root: Parent, clock: VirtualClock
) -> None:
    ears = root.adopt(Plain())
    ears.listen("event", wrapped)
    with Timeout(1, Mine()):
        assert root.emit("event") == 1
    clock.settle()
    assert lives(ears) == 2
    assert ears.snapshot().failures[-1].type == "ValueError"


def test_a_listener_that_ends_itself_does_not_end_the_emitter(
    root: Parent, clock: VirtualClock
) -> None:
    ears = root.adopt(Plain())
    ears.listen("event", with_what(GreenletExit()))
    assert root.emit("event") == 1
    assert root.emit("event") == 1  # it goes on listening
    clock.settle()
    assert lives(ears) == 1


def test_a_keyboard_interrupt_is_the_programs(root: Parent, clock: VirtualClock) -> None:
    ears = root.adopt(Plain())
    ears.listen("event", with_what(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        root.emit("event")
    clock.settle()
    assert lives(ears) == 1


def test_system_exit_of_a_listener_asks_the_app_to_stop(clock: VirtualClock) -> None:
    root = Parent()
    root.start()
    root.listen("event", with_what(SystemExit(7)))
    assert root.emit("event") == 1
    assert root._tree_ is not None
    assert root._tree_.exit_code == 7
    clock.settle()
    assert root.snapshot().state is State.STOPPED


@pytest.mark.parametrize("place", ["timer", "on_start", "run", "on_stop"])
def test_it_holds_wherever_the_emitter_runs(root: Parent, clock: VirtualClock, place: str) -> None:
    heard: list[str] = []

    class Emitter(Service):
        def on_start(self) -> None:
            if place == "on_start":
                self.say()
            elif place == "timer":
                self.timeout(self.say, 1)
            elif place == "run":
                self.spawn(self.say)

        def on_stop(self) -> None:
            if place == "on_stop":
                self.say()

        def say(self) -> None:
            try:
                with Timeout(2, Mine()):
                    self.emit("event")
            except Mine:
                heard.append(place)

    ears = root.adopt(Plain())
    ears.listen("event", sleep_long)
    emitter = root.adopt(Emitter())
    clock.advance(5)
    emitter.stop()
    clock.settle()
    assert heard == [place]
    assert lives(emitter) == 1


def test_what_is_thrown_in_while_a_listener_adopts_reaches_the_emitter(
    root: Parent, clock: VirtualClock
) -> None:
    class Slow(Service):
        def on_start(self) -> None:
            gevent.sleep(1000)

    ears = root.adopt(Plain())
    ears.listen("event", lambda _data: ears.adopt(Slow()))
    with pytest.raises(Mine), Timeout(2, Mine()):
        root.emit("event")
    clock.settle()
    assert clock.now == 2.0
