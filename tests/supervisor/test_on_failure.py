"""`on_failure` and `needs`: what sprag adds to OTP's restart types and strategies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import GreenletExit

from sprag import Backoff, ExitApp, Service, StartFailed, State, Supervisor
from sprag.exceptions import BadPolicy
from sprag.testing import VirtualClock, record_events, virtual_time

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
        ({ValueError: "exit"}, r"use sprag.Backoff\(...\), sprag.ExitApp\(code\), 'restart'"),
        ({ValueError: ExitApp}, r"use sprag.Backoff\(...\), sprag.ExitApp\(code\), 'restart'"),
        ({ValueError: 78}, r"on_failure=78 .* use sprag.Backoff\(...\), sprag.ExitApp\(code\)"),
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


# -- finish, a backoff, the end of the app --------------------------------


class Closed(ConnectionError):
    """The other side has gone away, which is no failure."""


class Limited(Exception):
    """The other side wants to be left alone for a while."""


class Refused(Exception):
    """Nothing in this process will help."""


class Ruled(
    Judged, on_failure={Closed: "finish", Limited: Backoff(60.0, maximum=60.0, jitter=0.0)}
):
    """Knows the words that come with something to do."""


@pytest.mark.parametrize(
    ("restart", "state", "life"),
    [("permanent", "running", 2), ("transient", "finished", 1), ("temporary", "finished", 1)],
)
def test_an_exception_that_finishes_is_as_finish(
    clock: VirtualClock, restart: str, state: str, life: int
) -> None:
    with Supervisor() as top, record_events(top) as records:
        child = top.adopt(Ruled(), restart=restart)
        child.die(Closed("bye"))
        clock.settle()
        assert (child.snapshot().state.value, child.snapshot().incarnation) == (state, life)
        ends = [(each.event, each.reason) for each in records if each.reason]
        assert ends == [("finished", "finished")]
        assert (child in [each.service for each in top.which_children()]) is (
            restart != "temporary"
        )


def test_how_it_finished_is_remembered_and_told_without_a_traceback(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sprag")
    with Supervisor() as top:
        child = top.adopt(Ruled(), restart="transient")
        child.die(Closed("bye"))
        clock.settle()
        ending = child.wait(0)
        assert ending is not None
        assert ending.is_clean
        assert ending.failure is not None
        assert ending.failure.message == "bye"
        tree = top._tree_
        assert tree is not None
        assert [(each.decision, each.reason.value) for each in tree.ledger] == [
            ("keep", "finished")
        ]
    (said,) = [each for each in caplog.records if "finished" in each.getMessage()]
    assert said.levelno == logging.INFO
    assert said.exc_info is None
    assert "bye" in said.getMessage()


def test_a_significant_child_that_finishes_on_an_exception_ends_its_supervisor(
    clock: VirtualClock,
) -> None:
    with Supervisor() as root:
        middle = root.adopt(Supervisor(auto_shutdown="any_significant"), restart="transient")
        middle.adopt(Ruled(), restart="transient", significant=True).die(Closed())
        clock.settle()
        assert middle.snapshot().state is State.FINISHED


def test_a_significant_child_whose_restart_finishes_ends_its_supervisor(
    clock: VirtualClock,
) -> None:
    class Once(Ruled, restart="transient", significant=True):
        lives = 0

        def on_start(self) -> None:
            Once.lives += 1
            if Once.lives > 1:
                raise Closed

    with Supervisor() as root:
        middle = root.adopt(Supervisor(auto_shutdown="any_significant"), restart="transient")
        middle.adopt(Once()).die(RuntimeError())
        clock.settle()
        assert middle.snapshot().state is State.FINISHED


def test_finishing_goes_through_the_stop_hooks_and_children_as_any_end(
    clock: VirtualClock,
) -> None:
    said: list[str] = []

    class Polite(Ruled, restart="transient"):
        def on_start(self) -> None:
            self.child = self.adopt(Service())

        def on_stop(self) -> None:
            said.append(self.child.snapshot().state.value)

    with Supervisor() as top:
        child = top.adopt(Polite())
        child.die(Closed())
        clock.settle()
        assert child.snapshot().state is State.FINISHED
        assert said == ["stopped"]


@pytest.mark.parametrize(("restart", "state"), [("permanent", "failed"), ("transient", "finished")])
def test_a_restart_whose_on_start_finishes_comes_to_a_clean_end(
    clock: VirtualClock, restart: str, state: str
) -> None:
    class Once(Ruled):
        lives = 0

        def on_start(self) -> None:
            Once.lives += 1
            if Once.lives > 1:
                raise Closed
            self.timeout(self.crash, 1)

        def crash(self) -> None:
            raise RuntimeError

    root = Supervisor()
    with root:
        middle = root.adopt(Supervisor(max_restarts=2), restart="temporary")
        child = middle.adopt(Once(), restart=restart)
        clock.advance(1)
        if restart == "permanent":  # it comes back, and back, until that is too often
            assert middle.snapshot().state.value == state
            assert Once.lives == 3
        else:
            assert child.snapshot().state.value == state
            assert Once.lives == 2


def test_a_first_start_that_would_finish_has_failed_for_who_asked(clock: VirtualClock) -> None:
    class Never(Ruled):
        def on_start(self) -> None:
            raise Closed("bye")

    assert clock.now == 0
    with Supervisor() as top, pytest.raises(StartFailed, match="bye"):
        top.adopt(Never())


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_a_backoff_restarts_later_whatever_the_restart_type(
    clock: VirtualClock, restart: str
) -> None:
    with Supervisor() as top:
        child = top.adopt(Ruled(), restart=restart)
        for _ in range(2):
            child.die(Limited())
            clock.settle()
            assert child.snapshot().state is State.RESTARTING
            assert child.snapshot().next_try == 60.0
            clock.advance(60.0)
            assert child.snapshot().state is State.RUNNING
        tree = top._tree_
        assert tree is not None
        assert [(each.decision, each.delay) for each in tree.ledger] == [("back_off", 60.0)] * 2


def test_another_exception_does_not_wait_for_that_backoff(clock: VirtualClock) -> None:
    with Supervisor() as top:
        child = top.adopt(Ruled())
        child.die(Flaky())
        clock.settle()
        assert child.snapshot().incarnation == 2


class Paced(
    Judged, on_failure={Limited: Backoff(1.0, maximum=100.0, jitter=0.0, reset_after=50.0)}
):
    """Its delays grow."""


@pytest.mark.parametrize(
    ("seconds", "between", "delay"),
    [
        (10.0, Limited, 2.0),
        (50.0, Limited, 1.0),
        (10.0, Flaky, 2.0),
        (50.0, Flaky, 1.0),
    ],
)
def test_a_long_life_starts_the_delays_of_on_failure_anew_whatever_it_ends_of(
    clock: VirtualClock, seconds: float, between: type[Exception], delay: float
) -> None:
    with Supervisor(max_restarts=10) as top:
        child = top.adopt(Paced())
        child.die(Limited())
        clock.advance(1.0)
        clock.advance(seconds)
        child.die(between())
        clock.settle()
        if between is Flaky:
            assert child.snapshot().state is State.RUNNING
            child.die(Limited())
            clock.settle()
        assert child.snapshot().next_try == delay


def test_a_backoff_of_on_failure_counts_toward_the_limit(clock: VirtualClock) -> None:
    with Supervisor() as root:
        middle = root.adopt(Supervisor(max_restarts=1, max_seconds=1000.0), restart="temporary")
        child = middle.adopt(Ruled())
        child.die(Limited())
        clock.advance(60.0)
        child.die(Limited())
        clock.settle()
        ending = middle.wait(0)
        assert ending is not None
        assert ending.failure is not None
        assert "its backoff had waited 60.0 s in all" in ending.failure.message


@pytest.mark.parametrize("below", [0, 1, 2])
def test_exit_app_stops_the_root_wherever_it_is_raised(
    clock: VirtualClock, below: int, caplog: pytest.LogCaptureFixture
) -> None:
    top = Supervisor()
    with top:
        place: Service = top
        for _ in range(below):
            place = place.adopt(Supervisor())
        child = place.adopt(Judged(), on_failure={Refused: ExitApp(78)}, restart="temporary")
        child.die(Refused("no licence"))
        clock.settle()
        ending = top.wait(0)
        assert ending is not None
        assert ending.is_clean
        assert ending.code == 78
        tree = top._tree_
        assert tree is not None
        told = [(each.decision, each.failure and each.failure.message) for each in tree.ledger]
        assert told == [("exit", "no licence")]
        written = next(iter(tree.ledger))  # that restarts nobody
        assert (written.restarts, written.delay) == (0, 0.0)
        assert (written.names, written.covered_count) == (("Judged",), 1)
        failed = child.wait(0)
        assert failed is not None
        assert failed.failure is not None
        assert failed.code is None  # it is the app's
        assert child.snapshot().state is State.FAILED
    said = [each.getMessage() for each in caplog.records]
    assert any("service crashed" in each for each in said)
    assert any("asked the app to exit (code=78)" in each for each in said)


def test_exit_app_of_the_root_itself_is_the_code_of_its_end(clock: VirtualClock) -> None:
    root = Judged()
    root._policy_ = root._policy_.with_({"on_failure": {Refused: ExitApp(3)}})
    with root:
        root.die(Refused())
        clock.settle()
        ending = root.wait(0)
        assert ending is not None
        assert ending.code == 3


class Refuses(Service, on_failure={Refused: ExitApp(78)}):
    """Cannot start."""

    lives = 0

    def on_start(self) -> None:
        Refuses.lives += 1
        if Refuses.lives > 1:
            raise Refused("no licence")
        self.timeout(self.crash, 1)

    def crash(self) -> None:
        raise RuntimeError


def test_exit_app_is_asked_in_a_first_start_as_well(clock: VirtualClock) -> None:
    Refuses.lives = 1
    top = Supervisor([Refuses()])
    with pytest.raises(StartFailed, match="asked to stop"):
        top.start()
    clock.settle()
    tree = top._tree_
    assert tree is not None
    assert tree.exit_code == 78
    assert top.snapshot().state is State.STOPPED


def test_exit_app_is_asked_in_a_restart_and_nobody_is_started_after_it(
    clock: VirtualClock,
) -> None:
    Refuses.lives = 0
    after = Service()
    with Supervisor([Refuses(), after], strategy="one_for_all") as top:
        clock.advance(1)
        ending = top.wait(0)
        assert ending is not None
        assert ending.code == 78
        assert after.snapshot().incarnation == 1


def test_exit_app_while_the_parent_still_starts_cuts_that_short(clock: VirtualClock) -> None:
    class Slow(Service):
        def on_start(self) -> None:
            self.adopt(Judged(), on_failure={Refused: ExitApp(5)}).die(Refused())
            gevent.sleep(1000)

    top = Supervisor([Slow()])
    with pytest.raises(StartFailed):
        top.start()
    tree = top._tree_
    assert tree is not None
    assert tree.exit_code == 5
    assert clock.now < 10


@pytest.mark.parametrize("code", [-1, 256, 1.5, "78", None, True])
def test_an_exit_code_is_a_number_that_a_process_can_end_with(code: Any) -> None:
    with pytest.raises(BadPolicy, match="a whole number, 0 to 255"):
        ExitApp(code)


def test_of_a_group_the_gravest_answer_counts_and_that_it_finishes_only_if_all_do() -> None:
    long = Backoff(1.0)
    rules: dict[type[BaseException], Any] = {
        KeyError: ExitApp(1),
        ValueError: "escalate",
        TypeError: "stop",
        Limited: long,
        OSError: "restart",
        Closed: "finish",
    }
    policy = Judged()._policy_.with_({"on_failure": rules})

    def said(*kinds: type[Exception]) -> object:
        return policy.action_for(ExceptionGroup("several", [each() for each in kinds]))

    gravest = list(rules)
    for place, kind in enumerate(gravest):
        assert said(*reversed(gravest[place:])) == rules[kind]  # type: ignore[arg-type]
    assert said(Closed, Closed) == "finish"
    assert said(Closed, IndexError) is None
    assert said(OSError, IndexError) == "restart"


# -- needs --------------------------------


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
        with pytest.raises(StartFailed, match="adopt that before"):
            top.adopt(Judged(), needs=("cache",))
