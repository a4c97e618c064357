"""The leak check: silent when all is gone, and clear about what is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import gevent
import gevent.event
import pytest

from sprag.testing import LeakCheck, _leaks, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_UNTIL_EOF = "import sys; sys.stdin.read()"


@pytest.fixture(params=["virtual", "real"])
def loop(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Run the test on a virtual loop, and on gevent's own."""
    if request.param == "real":
        yield gevent.get_hub().loop
    else:
        with virtual_time():
            yield gevent.get_hub().loop


def spawn(function: Callable[..., object], *args: object) -> Any:
    return cast("Any", gevent.spawn(function, *args))


def leftovers(check: LeakCheck) -> str:
    """Return what *check* complains of."""
    with pytest.raises(AssertionError) as caught:
        check.assert_no_leaks()
    return str(caught.value)


@pytest.mark.usefixtures("loop")
def test_nothing_left_is_fine() -> None:
    with LeakCheck():
        gevent.joinall([spawn(gevent.sleep, 0) for _ in range(10)])


@pytest.mark.usefixtures("loop")
def test_what_was_there_before_is_fine() -> None:
    sleeper = spawn(gevent.sleep, 1000)
    gevent.sleep(0)
    with LeakCheck():
        pass
    sleeper.kill()


@pytest.mark.usefixtures("loop")
def test_what_is_about_to_end_may_do_so() -> None:
    with LeakCheck():
        sleeper = spawn(gevent.sleep, 1000)
        gevent.sleep(0)
        sleeper.kill(block=False)
        spawn(gevent.sleep, 0)


@pytest.mark.usefixtures("loop")
def test_a_waiting_greenlet_is_named_with_its_stack() -> None:
    event = gevent.event.Event()

    def wait_for_godot() -> None:
        event.wait()

    with LeakCheck() as check:
        greenlet = spawn(wait_for_godot)
        message = leftovers(check)
        assert message.startswith("1 thing was left behind:\n- greenlet <Greenlet")
        assert "in wait_for_godot\n    event.wait()" in message
        greenlet.kill()


@pytest.mark.usefixtures("loop")
def test_a_raw_greenlet_counts_too() -> None:
    with LeakCheck() as check:
        event = gevent.event.Event()
        gevent.spawn_raw(event.wait)
        gevent.spawn_raw(lambda: event.wait())
        gevent.sleep(0)
        message = leftovers(check)
        assert message.startswith("2 things were left behind:")
        assert "waiting in compiled code" in message
        assert "gevent.spawn_raw(lambda: event.wait())" in message
        event.set()


def test_a_greenlet_that_has_not_begun_is_named() -> None:
    with virtual_time(), LeakCheck() as check:
        later = cast("Any", gevent.spawn_later(1000, print, "later"))
        message = leftovers(check)
        assert "not begun yet" in message
        assert "- timer <VirtualTimer" in message
        later.kill()


def test_a_greenlet_never_started_is_no_leak() -> None:
    with LeakCheck():
        kept = gevent.Greenlet(print)
    assert not kept.started


def test_a_virtual_timer_is_named() -> None:
    with virtual_time() as clock, LeakCheck() as check:
        timer = gevent.get_hub().loop.timer(5)
        timer.start(print, "hello")
        clock.advance(1)
        message = leftovers(check)
        assert message.startswith("1 thing was left behind:\n- timer <VirtualTimer")
        assert "due at 5.0 s" in message
        assert "hello" in message
        timer.close()


def test_a_timer_that_repeats_since_before_is_fine() -> None:
    with virtual_time() as clock:
        timer = gevent.get_hub().loop.timer(1, 1)
        timer.start(lambda: None)
        with LeakCheck():
            clock.advance(10)
        timer.close()


def test_a_real_timer_is_counted() -> None:
    with LeakCheck() as check:
        timer = gevent.get_hub().loop.timer(1000)
        timer.start(print)
        assert "- 1 active timer(s) or other watcher(s) of <loop" in leftovers(check)
        timer.close()


def test_another_watcher_is_counted(loop: Any) -> None:
    with LeakCheck() as check:
        watcher = loop.async_()
        watcher.start(print)
        assert "- 1 active timer(s) or other watcher(s)" in leftovers(check)
        watcher.close()


def test_a_timer_that_does_not_keep_the_loop_alive_is_no_leak(loop: Any) -> None:
    with LeakCheck():
        timer = loop.timer(1000, ref=False)
        timer.start(print)
    timer.close()


def test_a_queued_callback_is_no_leak_and_hides_none(loop: Any) -> None:
    loop.run_callback(lambda: None)
    with LeakCheck() as check:
        watcher = loop.async_()
        watcher.start(print)
        assert "- 1 active" in leftovers(check)
        watcher.close()
        loop.run_callback(lambda: None)


@pytest.mark.usefixtures("loop")
def test_an_open_descriptor_is_named() -> None:
    with LeakCheck() as check:
        left, right = socket.socketpair()
        message = leftovers(check)
        assert message.startswith("2 things were left behind:")
        assert f"- descriptor {left.fileno()} -> socket:[" in message
        left.close()
        right.close()


def test_what_another_thread_is_about_to_close_is_no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """sprag's own that watch the loop open files now and then, and may be anywhere in that."""
    given: list[float] = []
    with LeakCheck():
        opened = os.open(os.devnull, os.O_RDONLY)

        def runs_meanwhile(seconds: float) -> None:
            given.append(seconds)
            if seconds:
                os.close(opened)

        monkeypatch.setattr(_leaks, "sleep_thread", runs_meanwhile)
    assert len(given) == 2


def test_a_descriptor_that_now_means_something_else_is_named() -> None:
    first = os.open(os.devnull, os.O_RDONLY)
    with LeakCheck() as check:
        os.close(first)
        second = os.open("/", os.O_RDONLY)
        assert second == first
        assert f"- descriptor {second} -> /" in leftovers(check)
        os.close(second)


@pytest.mark.slow
def test_a_running_child_process_is_named() -> None:
    with LeakCheck() as check:
        child = subprocess.Popen([sys.executable, "-c", _UNTIL_EOF], stdin=subprocess.PIPE)
        message = leftovers(check)
        assert f"- child process {child.pid}: {sys.executable} -c {_UNTIL_EOF}" in message
        child.communicate()


@pytest.mark.slow
def test_a_dead_child_process_is_named_and_not_reaped() -> None:
    with LeakCheck() as check:
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})
        # Wait until it is dead without taking its status.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert "dead but not waited for" in leftovers(check)
        assert os.waitpid(pid, 0) == (pid, 0)


@pytest.mark.usefixtures("loop")
def test_all_leftovers_are_listed() -> None:
    with LeakCheck() as check:
        event = gevent.event.Event()
        waiting = [spawn(event.wait) for _ in range(3)]
        assert leftovers(check).startswith("3 things were left behind:")
        gevent.killall(waiting)


@pytest.mark.usefixtures("loop")
def test_a_failing_block_keeps_its_own_error() -> None:
    sleeper: Any = None

    def fail() -> None:
        msg = "mine"
        raise ValueError(msg)

    def leave_and_fail() -> None:
        nonlocal sleeper
        with LeakCheck():
            sleeper = spawn(gevent.sleep, 1000)
            gevent.sleep(0)
            fail()

    with pytest.raises(ValueError, match="mine"):
        leave_and_fail()
    assert sleeper is not None
    sleeper.kill()


def test_idle_greenlets_of_the_engine_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with virtual_time(), LeakCheck() as check:
        event = gevent.event.Event()
        idle = spawn(event.wait)
        gevent.sleep(0)
        monkeypatch.setattr(_leaks, "idle_greenlets", lambda: [idle])
        check.assert_no_leaks()
        monkeypatch.undo()
        leftovers(check)
        idle.kill()


def test_checking_before_the_block_is_refused() -> None:
    with pytest.raises(RuntimeError, match="enter the block first"):
        LeakCheck().assert_no_leaks()


def test_a_virtual_block_within_the_check_leaves_nothing() -> None:
    with LeakCheck():
        for _ in range(3):
            with virtual_time() as clock:
                spawn(gevent.sleep, 5)
                clock.advance(5)
