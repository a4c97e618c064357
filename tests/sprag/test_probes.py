"""Probes: a service that is not well is restarted, and one that is only slow to be asked is not."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Backoff, Service, State, Supervisor
from sprag.exceptions import BadValue, NotRunning, ProbeFailed
from sprag.testing import check_invariants
from sprag_supervisor import clock as engine_clock

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")


class Patient(Service, backoff=Backoff(initial=30, jitter=0)):
    """Is asked, and answers in turn as it was told to; then it is well.

    Answers are what it returns, an exception that it raises, or seconds that it takes.
    """

    def __init__(self, clock: VirtualClock, *answers: Any, **options: Any) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.options = options
        self.asked: list[float] = []
        self.ended: list[float] = []

    def on_start(self) -> None:
        self.handle = self.probe(self.are_you_well, **self.options)

    def are_you_well(self) -> object:
        self.asked.append(self.clock.now)
        answer = self.answers.pop(0) if self.answers else True
        try:
            if isinstance(answer, BaseException):
                raise answer
            if type(answer) is float:
                gevent.sleep(answer)
            return answer
        finally:
            self.ended.append(self.clock.now)


NAME = "Patient.are_you_well"


def failure_of(service: Service) -> tuple[str, str]:
    last = service.snapshot().last_failure
    assert last is not None
    return last.type, last.message


# -- well and not well ---------------------------------------------------------------------


def test_it_is_asked_every_so_many_seconds(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock)]):
        clock.advance(16)
        assert patient.asked == [5, 10, 15]
        assert (patient.handle.ticks, patient.handle.failed) == (3, 0)


@pytest.mark.parametrize("answer", [None, True, 0, "", [], "no"])
def test_only_false_is_no(clock: VirtualClock, answer: object) -> None:
    with Supervisor([patient := Patient(clock, *[answer] * 10)]):
        clock.advance(60)
        assert patient.handle.failed == 0


def test_three_failures_in_a_row_are_a_crash(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock, False, ValueError("odd"), OSError("gone"))]) as top:
        clock.advance(10)
        handle = patient.handle
        assert (handle.failed, handle.last) == (2, "ValueError: odd")
        clock.advance(5)
        assert patient.snapshot().state is State.RESTARTING
        assert failure_of(patient) == (
            "ProbeFailed",
            "the probe Patient.are_you_well has failed 3 times in a row, the last: OSError: gone",
        )
        failure = patient.snapshot().last_failure
        assert failure is not None
        assert failure.cause is not None
        assert (failure.cause.type, failure.cause.message) == ("OSError", "gone")
        assert "in are_you_well" in failure.format()
        assert not handle.active
        check_invariants(top)
        clock.advance(30)
        assert patient.snapshot().state is State.RUNNING


def test_a_good_answer_forgets_the_failures_before_it(clock: VirtualClock) -> None:
    answers = [False, False, True, False, OSError(), None] * 5
    with Supervisor([patient := Patient(clock, *answers)]):
        clock.advance(5 * len(answers))
        assert patient.answers == []
        assert patient.snapshot().restarts == 0


def test_one_failure_may_be_enough(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock, False, failures=1)]):
        clock.advance(5)
        assert failure_of(patient) == (
            "ProbeFailed",
            "the probe Patient.are_you_well has failed: it said False",
        )


def test_on_failure_may_say_what_it_means(clock: VirtualClock) -> None:
    with Supervisor() as top:
        patient = top.adopt(
            Patient(clock, False, failures=1), on_failure={ProbeFailed: "stop"}, backoff=None
        )
        clock.advance(60)
        assert patient.snapshot().state is State.FAILED


def test_a_coroutine_is_no_answer(clock: VirtualClock) -> None:
    async def well() -> bool:
        return True

    with Supervisor([service := Service()], max_restarts=1):
        service.probe(lambda: well(), failures=1)
        clock.advance(5)
        failure = service.snapshot().last_failure
        assert failure is not None
        assert failure.cause is not None
        assert "a coroutine never runs by itself" in failure.cause.message


# -- too slow -------------------------------------------------------------------------------


def test_one_that_takes_too_long_is_killed_and_has_failed(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock, 60.0, 60.0, 1.5, True)]):
        clock.advance(12)
        assert (patient.asked, patient.ended) == ([5, 10], [7, 12])
        assert (patient.handle.failed, patient.handle.last) == (2, "no answer within 2 s")
        clock.advance(5)
        assert patient.handle.failed == 0
        assert patient.snapshot().restarts == 0


def test_three_that_take_too_long_are_a_crash_without_a_cause(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock, 60.0, 60.0, 60.0)]):
        clock.advance(17)
        assert failure_of(patient) == (
            "ProbeFailed",
            f"the probe {NAME} has failed 3 times in a row, the last: no answer within 2 s",
        )
        failure = patient.snapshot().last_failure
        assert failure is not None
        assert failure.cause is None


def test_there_are_never_two_at_once(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock, 12.0, timeout=20)]):
        clock.advance(20)
        assert patient.asked == [5, 17, 20]
        assert patient.handle.missed == 1


def test_one_that_swallows_its_kill_fails_each_round_until_the_service_crashes(
    clock: VirtualClock,
) -> None:
    def stubborn() -> bool:
        begun.append(clock.now)
        while clock.now < 60:
            try:
                gevent.sleep(60 - clock.now)
            except gevent.GreenletExit:
                kills.append(clock.now)
        return True

    begun: list[float] = []
    kills: list[float] = []
    with Supervisor() as top:
        service = top.adopt(Service(), shutdown=1)
        handle = service.probe(stubborn)
        clock.advance(16)
        assert (begun, kills) == ([5], [7, 12])
        assert handle.failed == 2
        clock.advance(3)
        assert failure_of(service)[0] == "ProbeFailed"
        assert [each.step for each in service.snapshot().stragglers] == ["probe"]
        clock.advance(60)
        assert len(begun) == 1
        assert service.snapshot().state is State.RUNNING


def test_what_it_raises_when_it_is_killed_does_not_count_twice(clock: VirtualClock) -> None:
    def bitter() -> None:
        try:
            gevent.sleep(60)
        finally:
            raise OSError("not now")

    with Supervisor([service := Service()]):
        handle = service.probe(bitter)
        clock.advance(9)
        assert (handle.failed, handle.last) == (1, "no answer within 2 s")


def test_a_limit_that_comes_late_is_none(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop was held, or the process stopped: what is asked has not had its time."""
    skipped = 0.0
    now = engine_clock.now
    monkeypatch.setattr(engine_clock, "now", lambda: now() + skipped)
    with Supervisor([patient := Patient(clock, 3.0, 60.0, 60.0)]):
        clock.advance(6)
        skipped = 100.0
        clock.advance(3)
        assert patient.ended == [8]
        assert patient.handle.failed == 0
        clock.advance(2)
        assert patient.ended == [8, 10]
        assert patient.handle.failed == 1  # now it is a limit again


# -- when it is asked -----------------------------------------------------------------------


def test_it_is_not_asked_before_it_is_ready_and_then_for_as_long_as_it_runs(
    clock: VirtualClock,
) -> None:
    class Warm(Patient):
        def on_start(self) -> None:
            super().on_start()
            self.set_ready(False, "warming up")

    with Supervisor([warm := Warm(clock)]):
        clock.advance(12)
        assert warm.asked == []
        warm.set_ready()
        clock.advance(4)
        assert warm.asked == [15]
        warm.set_ready(False, "the database is away")
        clock.advance(5)
        assert warm.asked == [15, 20]


def test_it_is_not_asked_while_it_starts(clock: VirtualClock) -> None:
    class Slow(Patient):
        def on_start(self) -> None:
            super().on_start()
            gevent.sleep(7)

    with Supervisor([slow := Slow(clock)]):
        clock.advance(4)
        assert slow.asked == [10]


def test_a_service_that_goes_down_is_not_asked(clock: VirtualClock) -> None:
    class Leaving(Patient, shutdown="infinity"):
        def on_drain(self) -> None:
            gevent.sleep(20)

        def on_stop(self) -> None:
            gevent.sleep(20)

    with Supervisor([leaving := Leaving(clock, False, False, 60.0)]):
        clock.advance(16)
        report = leaving.stop()
        assert report.is_clean
        assert leaving.asked == [5, 10, 15]  # the last one fails when nobody cares any more
        assert leaving.snapshot().last_failure is None


def test_a_stop_ends_it_where_it_blocks(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock, 60.0, timeout=100)]):
        clock.advance(6)
        assert patient.stop().is_clean
        assert patient.ended == [6]
        clock.advance(100)
        assert patient.asked == [5]


def test_each_life_is_asked_anew(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock, False, False)]):
        clock.advance(11)
        patient.spawn(int, "x")
        clock.advance(40)
        assert patient.snapshot().incarnation == 2
        assert patient.handle.failed == 2  # its answers are those of the first life
        assert patient.asked == [46, 51]


def test_one_that_is_held_is_not_asked_nor_judged(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock, False, False, 60.0)]) as top:
        clock.advance(16)
        top.hold_exits()
        clock.advance(60)
        assert patient.ended == [5, 10, 17]  # killed at its limit, and no failure
        assert patient.handle.failed == 2
        top.release_exits()
        clock.advance(5)
        assert len(patient.asked) == 4
        assert patient.handle.failed == 0
        check_invariants(top)


def test_a_probe_that_is_cancelled_asks_no_more(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock)]):
        clock.advance(5)
        patient.handle.cancel()
        clock.advance(60)
        assert patient.asked == [5]
        assert patient.snapshot().owned.timers == 0


def test_a_probe_may_cancel_itself(clock: VirtualClock) -> None:
    def fine() -> bool:
        handle.cancel()
        return False

    with Supervisor([service := Service()]):
        handle = service.probe(fine, failures=1)
        clock.advance(60)
        assert handle.ticks == 1
        assert service.snapshot().restarts == 0


# -- what is no answer ------------------------------------------------------------------------


def test_a_kill_from_elsewhere_is_neither_good_nor_bad(clock: VirtualClock) -> None:
    with Supervisor([patient := Patient(clock, False, gevent.GreenletExit(), False, True)]):
        clock.advance(15)
        assert patient.handle.failed == 2


def test_a_system_exit_ends_the_app(clock: VirtualClock) -> None:
    top = Supervisor([Patient(clock, SystemExit(7))])
    with top:
        clock.advance(5)
        exit_ = top.wait(1)
        assert exit_ is not None
        assert exit_.code == 7


def test_a_timeout_of_its_own_is_a_failure(clock: VirtualClock) -> None:
    def asks() -> None:
        with gevent.Timeout(1):
            gevent.sleep(10)

    with Supervisor([service := Service()]):
        handle = service.probe(asks)
        clock.advance(7)
        assert (handle.failed, handle.last) == (1, "Timeout: 1 second")


def test_what_fails_without_end_keeps_nothing(clock: VirtualClock) -> None:
    class Large(Exception):
        def __str__(self) -> str:
            return "x" * 1_000_000

    with Supervisor([patient := Patient(clock, Large())]):
        clock.advance(5)
        assert len(patient.handle.last) < 300


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "args", "options"),
    [
        ("fn", (None,), {}),
        ("fn", (True,), {}),
        ("every", (print,), {"every": 0}),
        ("every", (print,), {"every": "5"}),
        ("every", (print,), {"every": 1e-320}),
        ("every", (print,), {"every": float("inf")}),
        ("timeout", (print,), {"timeout": -1}),
        ("timeout", (print,), {"timeout": None}),
        ("timeout", (print,), {"timeout": float("nan")}),
        ("failures", (print,), {"failures": 0}),
        ("failures", (print,), {"failures": 1.5}),
        ("failures", (print,), {"failures": True}),
    ],
)
def test_bad_arguments_are_refused(
    running: Service, argument: str, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(BadValue) as caught:
        running.probe(*args, **options)
    assert caught.value.argument == argument
    assert running.snapshot().owned.timers == 0


def test_it_takes_a_service_that_runs() -> None:
    with pytest.raises(NotRunning, match="in __init__: do it in on_start"):
        Service().probe(print)


def test_the_error_says_it_all_and_can_be_pickled() -> None:
    error = ProbeFailed("Db.ping", 3, "it said False")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == "the probe Db.ping has failed 3 times in a row, the last: it said False"
    assert (again.probe, again.failures, again.last) == ("Db.ping", 3, "it said False")
