"""`on_failure` and `needs`: what sprag adds to OTP's restart types and strategies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from gevent import GreenletExit

from sprag import Service, State, Supervisor
from sprag.exceptions import BadPolicy
from sprag.testing import VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator


class ConfigError(Exception):
    """Escalated."""


class Conflict(Exception):
    """Stopped for good."""


class Flaky(OSError):
    """A subclass of what is restarted."""


RULES: dict[type[BaseException], Any] = {
    ConfigError: "escalate",
    Conflict: "stop",
    OSError: "restart",
}


class Judged(Service, on_failure=RULES):
    """Crashes as told."""

    def die(self, error: BaseException) -> None:
        def body() -> None:
            raise error

        self.spawn(body)


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock:
        yield clock


def test_stop_leaves_a_permanent_service_failed(clock: VirtualClock) -> None:
    with Supervisor() as top:
        child = top.adopt(Judged())
        child.die(Conflict("taken"))
        clock.settle()
        picture = child.snapshot()
        assert picture.state is State.FAILED
        assert picture.restarts == 0
        assert top.snapshot().state is State.RUNNING


def test_why_a_crash_restarts_nobody_is_in_the_ledger(clock: VirtualClock) -> None:
    with Supervisor() as top:
        top.adopt(Judged(), name="stopped").die(Conflict("taken"))
        top.adopt(Service(), name="temporary", restart="temporary").spawn(divmod, 1, 0)
        clock.settle()
        tree = top._tree_
        assert tree is not None
        told = [(each.child, each.decision, each.failure) for each in tree.ledger]
    assert [(child, decision) for child, decision, _failure in told] == [
        ("Supervisor/stopped", "keep"),
        ("Supervisor/temporary", "keep"),
    ]
    assert [each and each.message for *_, each in told] == [
        "taken",
        "integer division or modulo by zero",
    ]


@pytest.mark.parametrize("restart", ["transient", "temporary", "permanent"])
def test_restart_wins_over_every_restart_type_and_holds_for_subclasses(
    clock: VirtualClock, restart: str
) -> None:
    with Supervisor() as top:
        child = top.adopt(Judged(), restart=restart)
        child.die(Flaky("gone"))
        clock.settle()
        assert child.snapshot().state is State.RUNNING
        assert child.snapshot().incarnation == 2


def test_escalate_makes_the_parent_give_up_at_once_with_the_crash_as_its_cause(
    clock: VirtualClock,
) -> None:
    with Supervisor() as root:
        middle = root.adopt(Supervisor(), restart="temporary")
        other = middle.adopt(Judged())
        child = middle.adopt(Judged())
        child.die(ConfigError("no such key"))
        clock.settle()
        ending = middle.wait(0)
        assert ending is not None
        assert ending.failure is not None
        assert ending.failure.type == "Escalated"
        assert ending.failure.cause is not None
        assert ending.failure.cause.message == "no such key"
        assert other.snapshot().state is State.STOPPED
        assert root.snapshot().state is State.RUNNING


def test_the_nearest_class_decides() -> None:
    class Picky(Service, on_failure={Exception: "stop", Flaky: "restart"}):
        pass

    policy = Picky().snapshot().policy
    assert policy.action_for(Flaky()) == "restart"
    assert policy.action_for(OSError()) == "stop"
    assert policy.action_for(KeyboardInterrupt()) is None


def test_a_restart_that_fails_is_judged_by_what_on_start_raised(clock: VirtualClock) -> None:
    class Once(Service, on_failure={Conflict: "stop"}):
        lives = 0

        def on_start(self) -> None:
            Once.lives += 1
            if Once.lives > 1:
                raise Conflict("taken by another")
            self.timeout(self.crash, 1)

        def crash(self) -> None:
            raise RuntimeError

    with Supervisor() as top:
        child = top.adopt(Once())
        clock.advance(1)
        assert child.snapshot().state is State.FAILED
        assert Once.lives == 2


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ValueError": "stop"}, "exception classes"),
        ({ValueError: "stpo"}, "did you mean 'stop'"),
        ({int: "stop"}, "exception classes"),
        ([ValueError], r"on_failure=\[<class 'ValueError'>\] .* actions by exception classes, as"),
        ("stop", "on_failure='stop' .* use actions by exception classes"),
        (len, "on_failure=<built-in function len> .* use actions by exception classes"),
        (None, "on_failure=None .* use actions by exception classes"),
        ({SystemExit: "stop"}, "SystemExit'> .* of failures as its keys: SystemExit ends the app"),
        ({KeyboardInterrupt: "stop"}, "of failures as its keys"),
        ({GreenletExit: "restart"}, "of failures as its keys"),
        ({type("Gone", (SystemExit,), {}): "stop"}, "of failures as its keys"),
    ],
)
def test_wrong_rules_are_refused_when_the_class_is_made(given: Any, text: str) -> None:
    with pytest.raises(BadPolicy, match=text):
        type("Wrong", (Service,), {}, on_failure=given)


def test_needs_makes_rest_for_one_precise(clock: VirtualClock) -> None:
    with Supervisor(strategy="rest_for_one") as top:
        base = top.adopt(Judged(), name="db")
        cache = top.adopt(Judged(), name="cache", needs=())
        store = top.adopt(Judged(), name="store", needs=("db",))
        index = top.adopt(Judged(), name="index", needs=("store",))
        plain = top.adopt(Judged(), name="plain")
        base.die(Flaky())
        clock.settle()
        lives = {one: one.snapshot().incarnation for one in (base, cache, store, index, plain)}
        assert lives == {base: 2, cache: 1, store: 2, index: 2, plain: 2}


def test_a_need_must_be_adopted_before(clock: VirtualClock) -> None:
    assert clock.now == 0
    with Supervisor(strategy="rest_for_one") as top:
        top.adopt(Judged(), name="db")
        with pytest.raises(BadPolicy, match="adopted before"):
            top.adopt(Judged(), needs=("cache",))
