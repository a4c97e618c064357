"""Crons: on time by the wall clock, never twice at once, and not lost where the process lives."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

import gevent
import pytest

from sprag import Backoff, Service, State, Supervisor
from sprag.exceptions import BadValue, NotRunning, WrongThread
from sprag.testing import RunningTree, check_invariants
from sprag_supervisor import clock as engine_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.owned.crons import CronHandle, Dues
    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
"""When the virtual clock begins."""
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
BACKOFF = Backoff(initial=600, maximum=600, jitter=0)


@pytest.fixture
def service(clock: VirtualClock) -> Iterator[Service]:
    """Return a running service that ends with the test."""
    del clock  # it must be there first
    with Supervisor([service := Service()]):
        yield service


class Runs:
    """A function for crons that notes when it was called, as the wall clock shows it."""

    def __init__(self, clock: VirtualClock, *busy: float) -> None:
        self._clock = clock
        self._busy = list(busy)
        self._running = 0
        self.most = 0
        self.at: list[str] = []

    def __call__(self, *args: object) -> None:
        moment = datetime.fromtimestamp(self._clock.wall, UTC)
        self.at.append(" ".join([moment.strftime("%d %H:%M:%S"), *map(str, args)]))
        self._running += 1
        self.most = max(self.most, self._running)
        if self._busy:
            gevent.sleep(self._busy.pop(0))
        self._running -= 1


# -- on time ---------------------------------------------------------------------------


def test_a_cron_runs_at_its_times_of_the_day(service: Service, clock: VirtualClock) -> None:
    runs = Runs(clock)
    handle = service.cron("5 3 * * *", runs, "a", 2)
    assert handle.next_run == MIDNIGHT + timedelta(hours=3, minutes=5)
    clock.advance(3 * HOUR + 5 * MINUTE - 1)
    assert runs.at == []
    clock.advance(2 * DAY + 1)
    assert runs.at == ["01 03:05:00 a 2", "02 03:05:00 a 2", "03 03:05:00 a 2"]
    assert (handle.ticks, handle.missed, handle.running) == (3, 0, False)
    assert service.snapshot().owned.timers == 1


def test_a_zone_has_its_own_times_of_the_day(service: Service, clock: VirtualClock) -> None:
    runs = Runs(clock)
    handle = service.cron("5 3 * * *", runs, tz="Australia/Lord_Howe")
    clock.advance(DAY)
    assert runs.at == ["01 16:05:00"]
    following = handle.next_run
    assert following is not None
    assert following.isoformat() == "2026-01-03T03:05:00+11:00"
    assert (handle.expression, handle.tz) == ("5 3 * * *", "Australia/Lord_Howe")


@pytest.mark.parametrize(
    ("tz", "begin", "runs_at"),
    [
        ("Europe/Rome", datetime(2026, 3, 28, 12, tzinfo=UTC), ["29 01:00:00", "30 00:30:00"]),
        ("Europe/Rome", datetime(2026, 10, 24, 12, tzinfo=UTC), ["25 00:30:00", "26 01:30:00"]),
        (
            "Australia/Lord_Howe",
            datetime(2026, 10, 3, 12, tzinfo=UTC),
            ["03 15:30:00", "04 15:30:00"],
        ),
    ],
)
def test_when_the_clocks_are_changed_it_runs_once_that_night(
    service: Service, clock: VirtualClock, tz: str, begin: datetime, runs_at: list[str]
) -> None:
    clock.set_wall(begin)
    runs = Runs(clock)
    handle = service.cron("30 2 * * *", runs, tz=tz)
    clock.advance(2 * DAY)
    assert runs.at == runs_at
    assert handle.missed == 0


def test_it_is_never_early_where_the_wall_clock_goes_slower_than_the_loop(
    service: Service, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_clock, "wall", lambda: clock.wall - clock.now * 0.0005)
    seen: list[float] = []
    service.cron("* * * * *", lambda: seen.append(round(engine_clock.wall(), 6) % MINUTE))
    clock.advance(DAY)
    assert len(seen) == 1439
    assert max(seen) < 0.001


def test_a_leap_day_four_years_from_now_is_waited_for(
    service: Service, clock: VirtualClock
) -> None:
    runs = Runs(clock)
    clock.set_wall(datetime(2024, 2, 29, 12, 30, tzinfo=UTC))
    handle = service.cron("0 12 29 2 *", runs)
    clock.advance(DAY)
    assert runs.at == []
    assert handle.next_run == datetime(2028, 2, 29, 12, tzinfo=UTC)
    clock.set_wall(datetime(2028, 2, 29, 11, 58, 30, tzinfo=UTC))
    clock.advance(2 * MINUTE)
    assert runs.at == ["29 12:00:00"]


# -- never two at once -----------------------------------------------------------------


def test_two_calls_never_overlap_and_missed_ones_become_one(
    service: Service, clock: VirtualClock
) -> None:
    runs = Runs(clock, 3.5 * MINUTE)
    handle = service.cron("* * * * *", runs)
    clock.advance(2 * MINUTE)
    assert handle.running
    assert handle.next_run == MIDNIGHT + timedelta(minutes=2)  # it has passed, and is due
    clock.advance(4 * MINUTE)
    assert runs.at == ["01 00:01:00", "01 00:04:30", "01 00:05:00", "01 00:06:00"]
    assert (handle.ticks, handle.missed, runs.most) == (4, 2, 1)


def test_what_is_to_be_skipped_is_skipped_after_a_long_call(
    service: Service, clock: VirtualClock
) -> None:
    runs = Runs(clock, 3 * HOUR)
    handle = service.cron("0 1,3 * * *", runs, missed="skip")
    clock.advance(DAY)
    assert runs.at == ["01 01:00:00"]
    assert (handle.ticks, handle.missed) == (1, 1)
    clock.advance(1.5 * HOUR)
    assert runs.at == ["01 01:00:00", "02 01:00:00"]


def test_within_its_minute_nothing_is_missed(service: Service, clock: VirtualClock) -> None:
    runs = Runs(clock, 61, 61)
    handle = service.cron("* * * * *", runs, missed="skip")
    clock.advance(4 * MINUTE)
    assert runs.at == ["01 00:01:00", "01 00:02:01", "01 00:03:02", "01 00:04:00"]
    assert handle.missed == 0


# -- suspended, and clocks that are set --------------------------------------------------


def test_a_process_that_was_suspended_makes_up_for_it_once(
    service: Service, clock: VirtualClock
) -> None:
    once, skip = Runs(clock), Runs(clock)
    handles = [service.cron("0 * * * *", once), service.cron("0 * * * *", skip, missed="skip")]
    clock.advance(30 * MINUTE)
    clock.set_wall(clock.wall + 3 * HOUR)  # no time has passed for who was stopped
    clock.advance(MINUTE)
    assert once.at == ["01 03:31:00"]
    assert skip.at == []
    assert [handle.missed for handle in handles] == [2, 3]
    clock.advance(HOUR)
    assert once.at[1:] == skip.at == ["01 04:00:00"]


def test_a_suspend_of_seconds_is_no_reason_to_skip(service: Service, clock: VirtualClock) -> None:
    runs = Runs(clock)
    handle = service.cron("0 1 * * *", runs, missed="skip")
    clock.advance(HOUR - 1)
    clock.set_wall(clock.wall + 20)
    clock.advance(MINUTE)
    assert runs.at == ["01 01:00:20"]
    assert handle.missed == 0


def test_a_clock_that_is_set_is_looked_at_within_a_minute(
    service: Service, clock: VirtualClock
) -> None:
    runs = Runs(clock)
    service.cron("0 0 1 7 *", runs)
    clock.advance(90)
    clock.set_wall(datetime(2026, 6, 30, 23, 59, 50, tzinfo=UTC))
    clock.advance(30)
    assert runs.at == ["01 00:00:20"]  # 12 looks later than it was due
    clock.advance(DAY)
    assert len(runs.at) == 1


def test_a_clock_that_is_set_back_repeats_nothing(service: Service, clock: VirtualClock) -> None:
    runs = Runs(clock)
    handle = service.cron("*/30 * * * *", runs)
    clock.advance(65 * MINUTE)
    clock.set_wall(MIDNIGHT + timedelta(minutes=5))
    clock.advance(86 * MINUTE)
    assert runs.at == ["01 00:30:00", "01 01:00:00", "01 01:30:00"]
    assert handle.missed == 0


def test_a_clock_that_was_wrong_by_years_is_not_waited_for(
    service: Service, clock: VirtualClock
) -> None:
    runs = Runs(clock)
    clock.set_wall(datetime(2038, 1, 19, tzinfo=UTC))
    handle = service.cron("0 * * * *", runs)
    clock.advance(HOUR)
    clock.set_wall(MIDNIGHT)
    clock.advance(HOUR)
    assert runs.at == ["19 01:00:00", "01 01:00:00"]
    assert handle.missed == 0


# -- restarts ----------------------------------------------------------------------------


class Nightly(Service, backoff=BACKOFF):
    """Crashes when it is told to, and is away for ten minutes then."""

    runs: ClassVar[Any]
    handle: CronHandle

    def __init__(self, missed: Any = "once") -> None:
        self.missed = missed

    def on_start(self) -> None:
        self.handle = self.cron("5 3 * * *", type(self).runs, missed=self.missed)

    def crash(self) -> None:
        self.spawn(self._boom)

    def _boom(self) -> None:
        raise ValueError("boom")


@pytest.fixture
def nightly(clock: VirtualClock) -> Iterator[Nightly]:
    Nightly.runs = Runs(clock)
    nightly = Nightly()
    with Supervisor([nightly], name="top", max_restarts=100) as top:
        clock.advance(3 * HOUR)
        yield nightly
        check_invariants(top)


def test_what_is_due_during_a_restart_is_made_up_for_by_the_next_life(
    nightly: Nightly, clock: VirtualClock
) -> None:
    nightly.crash()
    clock.advance(HOUR)
    assert nightly.runs.at == ["01 03:10:00"]
    assert (nightly.handle.ticks, nightly.handle.missed) == (1, 0)
    clock.advance(DAY)
    assert nightly.runs.at[1:] == ["02 03:05:00"]


def test_or_skipped(clock: VirtualClock) -> None:
    Nightly.runs = Runs(clock)
    with Supervisor([nightly := Nightly(missed="skip")]):
        clock.advance(3 * HOUR)
        nightly.crash()
        clock.advance(HOUR)
        assert nightly.runs.at == []
        assert nightly.handle.missed == 1
        clock.advance(DAY)
        assert nightly.runs.at == ["02 03:05:00"]


def test_starts_that_fail_before_the_cron_is_set_lose_nothing(
    nightly: Nightly, clock: VirtualClock
) -> None:
    with RunningTree(Supervisor([other := Nightly()], name="other", max_restarts=100)) as tree:
        other.crash()
        tree.fail_next_start("Nightly", times=3)
        clock.advance(3 * HOUR)
        assert tree.state("Nightly") is State.RUNNING
    assert len(nightly.runs.at) == 2


def test_a_start_that_fails_after_some_of_the_crons_are_set_loses_none(
    clock: VirtualClock,
) -> None:
    fails = [False, True, True, False]

    class Two(Service, backoff=BACKOFF):
        def on_start(self) -> None:
            self.cron("1 * * * *", first)
            if fails.pop(0):
                raise OSError("the database is away")
            self.cron("2 * * * *", second)

    first, second = Runs(clock), Runs(clock)
    with Supervisor([two := Two()]):
        two.spawn(int, "x")
        clock.advance(HOUR)
    assert first.at == second.at == ["01 00:30:00"]


def test_a_call_that_ends_in_a_crash_is_not_made_again(clock: VirtualClock) -> None:
    class Fragile(Service):
        def on_start(self) -> None:
            self.cron("5 3 * * *", self.work)

        def work(self) -> None:
            seen.append(self._incarnation_)
            raise ValueError("boom")

    seen: list[int] = []
    with Supervisor([fragile := Fragile()], max_restarts=1):
        clock.advance(DAY)
        assert seen == [1]
        assert fragile.snapshot().restarts == 1
        last = fragile.snapshot().last_failure
        assert last is not None
        assert last.message == "boom"
        clock.advance(DAY)
        assert seen == [1, 2]


def test_a_call_that_is_cut_short_by_a_restart_is_not_made_again(clock: VirtualClock) -> None:
    Nightly.runs = Runs(clock, HOUR)
    with Supervisor([nightly := Nightly()]):
        clock.advance(3 * HOUR + 10 * MINUTE)
        assert nightly.handle.running
        nightly.crash()
        clock.advance(HOUR)
        assert nightly.snapshot().incarnation == 2
        assert nightly.runs.at == ["01 03:05:00"]


def test_siblings_that_are_restarted_with_it_lose_nothing(clock: VirtualClock) -> None:
    Nightly.runs = Runs(clock)
    frail = Nightly("skip")
    with Supervisor([frail, Nightly()], strategy="one_for_all"):
        clock.advance(3 * HOUR)
        frail.crash()
        clock.advance(HOUR)
        assert Nightly.runs.at == ["01 03:10:00"]


def test_children_that_are_restarted_with_their_parent_lose_nothing(clock: VirtualClock) -> None:
    Nightly.runs = Runs(clock)
    parent = Supervisor([Nightly()], name="parent")
    with Supervisor(name="top") as top:
        top.adopt(parent, backoff=BACKOFF)
        clock.advance(3 * HOUR)
        parent.spawn(int, "x")
        clock.advance(HOUR)
        assert parent.snapshot().incarnation == 2
        assert Nightly.runs.at == ["01 03:10:00"]


def test_what_passes_while_it_is_stopped_by_hand_was_not_wanted(
    nightly: Nightly, clock: VirtualClock
) -> None:
    nightly.stop()
    clock.advance(HOUR)
    nightly.start()
    clock.advance(HOUR)
    assert nightly.runs.at == []
    assert nightly.handle.missed == 0


def test_a_restart_by_hand_within_a_minute_loses_nothing(
    nightly: Nightly, clock: VirtualClock
) -> None:
    clock.advance(5 * MINUTE - 1)
    nightly.stop()
    clock.advance(10)
    nightly.start()
    clock.advance(HOUR)
    assert nightly.runs.at == ["01 03:05:09"]


def test_crons_that_are_alike_are_taken_over_one_by_one(clock: VirtualClock) -> None:
    class Shops(Service, backoff=BACKOFF):
        def on_start(self) -> None:
            for shop in ("a", "b", "c"):
                self.cron("5 3 * * *", runs, shop)

    runs = Runs(clock)
    with Supervisor([shops := Shops()]):
        clock.advance(3 * HOUR)
        shops.spawn(int, "x")
        clock.advance(HOUR)
    assert runs.at == ["01 03:10:00 a", "01 03:10:00 b", "01 03:10:00 c"]


def left_by(service: Service) -> Dues:
    history = service._history_
    assert history is not None
    dues: Dues = history.dues
    return dues


def test_what_a_life_leaves_is_bounded_and_its_own(clock: VirtualClock) -> None:
    class Many(Service):
        number = 1000

        def on_start(self) -> None:
            for _ in range(self.number):
                self.cron("5 3 * * *", runs)

    runs = Runs(clock)
    with Supervisor([many := Many()], max_restarts=100):
        for _ in range(5):
            many.spawn(int, "x")
            clock.settle()
            assert left_by(many).count == 0  # the next life has taken all
        Many.number = 0
        many.spawn(int, "x")
        clock.settle()
        assert left_by(many).count == 100
        assert sum(len(each) for each in left_by(many).until.values()) == 100


def test_a_cancelled_one_leaves_nothing(nightly: Nightly, clock: VirtualClock) -> None:
    nightly.handle.cancel()
    nightly.handle.cancel()
    assert not nightly.handle.active
    assert nightly.handle.next_run is None
    nightly.crash()
    clock.advance(HOUR)
    assert nightly.runs.at == []


# -- the end -----------------------------------------------------------------------------


def test_a_stopped_service_calls_no_more(service: Service, clock: VirtualClock) -> None:
    runs = Runs(clock)
    handle = service.cron("* * * * *", runs)
    service.stop()
    assert not handle.active
    clock.advance(DAY)
    assert runs.at == []


def test_a_service_that_goes_down_begins_no_call(clock: VirtualClock) -> None:
    class Slow(Service, shutdown="infinity"):
        def on_start(self) -> None:
            self.cron("* * * * *", runs)

        def on_stop(self) -> None:
            gevent.sleep(5 * MINUTE)

    runs = Runs(clock)
    with Supervisor([slow := Slow()]):
        clock.advance(90)
        slow.stop()
        assert clock.now == 90 + 5 * MINUTE
    assert runs.at == ["01 00:01:00"]


def test_a_call_under_way_is_ended_with_its_service(clock: VirtualClock) -> None:
    ended: list[bool] = []

    def work() -> None:
        try:
            gevent.sleep(DAY)
        finally:
            ended.append(True)

    with Supervisor([service := Service()]):
        service.cron("0 1 * * *", work)
        clock.advance(2 * HOUR)
        assert service.stop().is_clean
        assert ended == [True]


def test_a_call_may_cancel_its_cron(service: Service, clock: VirtualClock) -> None:
    runs = Runs(clock)

    def work() -> None:
        runs()
        handle.cancel()

    handle = service.cron("* * * * *", work)
    clock.advance(HOUR)
    assert runs.at == ["01 00:01:00"]
    assert service.snapshot().owned.timers == 0


# -- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "args", "options"),
    [
        ("expression", ("5 3 * *", print), {}),
        ("expression", (print, "5 3 * * *"), {}),
        ("fn", ("5 3 * * *", None), {}),
        ("fn", ("5 3 * * *", "work"), {}),
        ("tz", ("5 3 * * *", print), {"tz": "Europe/Roma"}),
        ("missed", ("5 3 * * *", print), {"missed": "twice"}),
        ("missed", ("5 3 * * *", print), {"missed": True}),
        ("missed", ("5 3 * * *", print), {"missed": None}),
    ],
)
def test_bad_arguments_are_refused_and_leave_nothing(
    service: Service, argument: str, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(BadValue) as caught:
        service.cron(*args, **options)
    assert caught.value.argument == argument
    assert service.snapshot().owned.timers == 0


def test_it_takes_a_service_that_runs() -> None:
    with pytest.raises(NotRunning, match="in __init__: do it in on_start"):
        Service().cron("5 3 * * *", print)


def test_it_is_for_the_trees_own_thread(service: Service) -> None:
    def in_a_thread() -> object:
        with pytest.raises(WrongThread):
            service.cron("5 3 * * *", print)
        with pytest.raises(WrongThread):
            handle.cancel()
        return True

    handle = service.cron("5 3 * * *", print)
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(in_a_thread()))
    thread.start()
    thread.join()
    assert done == [True]


def test_it_may_be_set_from_the_hub(service: Service, clock: VirtualClock) -> None:
    runs = Runs(clock)
    gevent.get_hub().loop.run_callback(service.cron, "* * * * *", runs)
    clock.advance(MINUTE)
    assert runs.at == ["01 00:01:00"]


def test_a_users_own_word_of_the_same_name_hides_ours_and_breaks_nothing(
    clock: VirtualClock,
) -> None:
    class Own(Service):
        cron = "mine"  # type: ignore[assignment]

        def probe(self) -> str:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
            return "mine, too"

    runs = Runs(clock)
    with Supervisor([own := Own()], max_restarts=5):
        assert own.probe() == "mine, too"
        Service.cron(own, "* * * * *", runs)
        Service.probe(own, runs, every=MINUTE)
        clock.advance(MINUTE)
        assert len(runs.at) == 2
        own.spawn(int, "x")
        clock.settle()
        assert own.snapshot().state is State.RUNNING


def test_times_are_told_in_the_zone_that_was_asked_for(service: Service) -> None:
    rome = ZoneInfo("Europe/Rome")
    handle = service.cron("5 3 * * *", print, tz=rome)
    assert handle.next_run == datetime(2026, 1, 1, 3, 5, tzinfo=rome)
