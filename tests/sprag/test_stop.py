"""A stop: its order, its limits, what it kills, what it leaves behind, what it reports.

The sentences of the design's section on stopping, one after another.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import gevent
import gevent.event
import pytest
from gevent import GreenletExit, Timeout

from sprag import Backoff, Service, SpragError, StartFailed, State, StopReport, Supervisor
from sprag_supervisor import Outcome, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")

GRACE = 0.1  # what is killed at a limit gets this long to die
LATE = 0.6  # and a whole tree no longer than this past its deadline


class Plain(Service):
    """Does nothing."""


class Parent(Service, max_restarts=1000):
    """Never gives up."""


def spawn(function: Callable[..., object], *args: object) -> Any:
    """Start a plain greenlet, of nobody's."""
    return cast("Any", gevent.spawn(function, *args))


def boom(message: str = "boom") -> None:
    raise ValueError(message)


def started(service: Service) -> Any:
    service.start()
    return service


class Stubborn:
    """Something that swallows every kill until the test lets it go."""

    def __init__(self) -> None:
        self.gate = gevent.event.Event()
        self.kills = 0

    def hang(self, *_args: object) -> None:
        while not self.gate.is_set():
            try:
                self.gate.wait()
            except GreenletExit:
                self.kills += 1


@pytest.fixture
def stubborn(clock: VirtualClock) -> Iterator[Stubborn]:
    """Return something that will not die, until the test has ended."""
    stubborn = Stubborn()
    yield stubborn
    stubborn.gate.set()
    clock.settle()


def entries_of(report: StopReport) -> list[tuple[str, str, str]]:
    return [(entry.path, entry.outcome.name.lower(), entry.step) for entry in report.entries]


def counts_of(report: StopReport) -> tuple[int, int, int, int]:
    return report.clean, report.errors, report.killed, report.stragglers


class Told(Service):
    """Notes its steps in a journal and may take its time in each."""

    def __init__(self, name: str, journal: list[Any], *below: Service, **seconds: float) -> None:
        self.name = name
        self.journal = journal
        self.below = below
        self.seconds = seconds

    def note(self, step: str) -> None:
        self.journal.append(f"{self.name} {step}")
        if seconds := self.seconds.get(step):
            gevent.sleep(seconds)

    def on_start(self) -> None:
        for child in self.below:
            self.adopt(child)
        self.add_cleanup(self.note, "clean1")
        self.spawn(self.live)
        self.add_cleanup(self.note, "clean2")

    def live(self) -> None:
        try:
            gevent.sleep(1e6)
        finally:
            self.note("end")

    def on_drain(self) -> None:
        self.note("drain")

    def on_stop(self) -> None:
        self.note("stop")


# -- the order -------------------------------------------------------------------------


def test_all_drain_parents_first_and_then_children_stop_in_reverse_each_as_a_whole(
    clock: VirtualClock,
) -> None:
    journal: list[str] = []
    tree = Told(
        "root",
        journal,
        Told("a", journal, Told("a1", journal), Told("a2", journal)),
        Told("b", journal),
    )
    started(tree)
    clock.settle()
    report = tree.stop()

    def own(name: str) -> list[str]:
        return [f"{name} stop", f"{name} end", f"{name} clean2", f"{name} clean1"]

    assert journal == [
        *("root drain", "b drain", "a drain", "a2 drain", "a1 drain"),
        *own("b"),
        *own("a2"),
        *own("a1"),
        *own("a"),
        *own("root"),
    ]
    assert counts_of(report) == (5, 0, 0, 0)
    assert report.entries == ()
    assert report.is_clean


def test_children_stop_one_after_another(clock: VirtualClock) -> None:
    journal: list[str] = []
    children = [Told(name, journal, stop=1.0) for name in "abc"]
    root = started(Told("root", journal, *children))
    clock.settle()
    report = root.stop()
    assert clock.now == 3.0
    assert report.seconds == 3.0
    assert [line for line in journal if line.endswith("stop")] == [
        "c stop",
        "b stop",
        "a stop",
        "root stop",
    ]


def test_what_was_adopted_later_stops_earlier_wherever_it_came_from() -> None:
    journal: list[str] = []
    root = started(Told("root", journal, Told("first", journal)))
    root.adopt(Told("second", journal))
    root.stop()
    stops = [line for line in journal if line.endswith("stop")]
    assert stops == ["second stop", "first stop", "root stop"]


def test_who_ends_holds_of_its_listeners_those_only_that_are_still_called() -> None:
    root = started(Parent())
    child = root.adopt(Plain())
    for event in ("busy", "idle", "idle"):
        child.listen(event, gevent.sleep)
    emitter = spawn(root.emit, "busy", 3.0)
    gevent.sleep(1.0)
    stopping = spawn(child.stop)
    gevent.sleep(1.0)
    assert child.snapshot().owned.listeners == 1
    stopping.get()
    assert emitter.get() == 1


# -- a service's own limit -------------------------------------------------------------


def test_a_services_own_steps_share_its_shutdown_seconds(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Slow(Told, shutdown=5.0):
        pass

    slow = started(Slow("slow", journal, drain=2.0, stop=2.0, end=2.0))
    clock.settle()
    report = slow.stop()
    # 2 + 2 and then 1 of the 2 seconds that the greenlet wants
    assert clock.now == pytest.approx(5.0, abs=LATE)
    assert entries_of(report)[0] == ("slow", "killed", "greenlet")
    assert counts_of(report) == (0, 0, 1, 0)
    assert journal[-2:] == ["slow clean2", "slow clean1"]


def test_the_children_do_not_use_up_their_parents_seconds(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Quick(Told, shutdown=3.0):
        pass

    children = [Told(f"child{n}", journal, stop=4.0) for n in range(3)]
    root = started(Quick("root", journal, *children, drain=1.0, stop=1.0, clean1=0.9))
    clock.settle()
    report = root.stop()
    assert clock.now == pytest.approx(1.0 + 12.0 + 1.0 + 0.9)
    assert report.is_clean


@pytest.mark.parametrize("step", ["drain", "stop", "clean2"])
def test_a_step_that_blocks_too_long_is_killed_and_the_stop_goes_on(
    clock: VirtualClock, step: str
) -> None:
    journal: list[str] = []

    class Slow(Told, shutdown=2.0):
        pass

    slow = started(Slow("slow", journal, **{step: 1000.0}))
    clock.settle()
    report = slow.stop()
    assert clock.now == pytest.approx(2.0, abs=LATE)
    assert [line.split()[1] for line in journal] == ["drain", "stop", "end", "clean2", "clean1"]
    name = {"drain": "on_drain", "stop": "on_stop", "clean2": "clean-up"}[step]
    assert ("slow", "killed", name) in entries_of(report)
    assert counts_of(report) == (0, 0, 1, 0)
    assert slow.snapshot().state is State.STOPPED


def test_no_limit_means_none(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Patient(Told, shutdown="infinity"):
        pass

    patient = started(Patient("p", journal, drain=1e5, stop=1e5, end=1e5, clean1=1e5, clean2=1e5))
    clock.settle()
    assert patient.stop().is_clean
    assert clock.now == pytest.approx(5e5)


def test_a_brutal_kill_skips_the_hooks_but_not_the_clean_ups(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Brutal(Told, shutdown="brutal_kill"):
        pass

    brutal = started(Brutal("b", journal, Told("child", journal, stop=2.0)))
    clock.settle()
    report = brutal.stop()
    assert [line for line in journal if line.startswith("b ")] == ["b end", "b clean2", "b clean1"]
    assert "child stop" in journal  # its own policy applies to it
    assert counts_of(report) == (2, 0, 0, 0)
    assert clock.now == 2.0


def test_a_brutal_kill_waits_for_nothing_that_blocks(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Brutal(Told, shutdown="brutal_kill"):
        pass

    brutal = started(Brutal("b", journal, end=1000.0, clean1=1000.0, clean2=1000.0))
    clock.settle()
    report = brutal.stop()
    assert clock.now == pytest.approx(0.0, abs=LATE)
    assert [line.split()[1] for line in journal] == ["end", "clean2", "clean1"]
    assert report.killed == 1


# -- the caller's limit ----------------------------------------------------------------


def test_the_timeout_is_a_deadline_for_the_whole_subtree(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Patient(Told, shutdown="infinity"):
        pass

    children = [Patient(f"child{n}", journal, stop=3.0) for n in range(4)]
    root = started(Patient("root", journal, *children))
    clock.settle()
    report = root.stop(7)
    # A fifth for each, and the root takes nothing of its own.
    assert clock.now == pytest.approx(5.6, abs=LATE)
    assert report.seconds == pytest.approx(clock.now)
    assert [e[:2] for e in entries_of(report)] == [
        (f"root/child{n}", "killed") for n in (3, 2, 1, 0)
    ]
    assert counts_of(report) == (1, 0, 4, 0)
    # Everything was asked, and cleaned up, all the same.
    assert [line for line in journal if line.endswith("clean1")] == [
        *(f"child{n} clean1" for n in (3, 2, 1, 0)),
        "root clean1",
    ]


def test_the_timeout_does_not_lengthen_a_services_own_limit(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Short(Told, shutdown=1.0):
        pass

    short = started(Short("short", journal, stop=1000.0))
    clock.settle()
    short.stop(500)
    assert clock.now == pytest.approx(1.0, abs=LATE)


@pytest.mark.parametrize("timeout", [0, 0.5, 5])
@pytest.mark.parametrize("width", [1, 5, 50])
def test_a_stop_ends_soon_after_its_deadline_however_stubborn_the_tree(
    clock: VirtualClock, stubborn: Stubborn, timeout: float, width: int
) -> None:
    class Wall(Service, shutdown="infinity"):
        def on_start(self) -> None:
            self.spawn(stubborn.hang)
            self.add_cleanup(stubborn.hang)

        def on_drain(self) -> None:
            stubborn.hang()

        def on_stop(self) -> None:
            stubborn.hang()

    root = started(Wall())
    for _ in range(width):
        root.adopt(Wall()).adopt(Wall())
    clock.settle()
    report = root.stop(timeout)
    assert timeout <= clock.now <= timeout + LATE
    assert report.stragglers == 2 * width + 1
    assert len(report.entries) == 4 * (2 * width + 1)


def test_after_the_deadline_each_clean_up_is_begun_and_killed_where_it_first_blocks(
    clock: VirtualClock,
) -> None:
    journal: list[str] = []

    def clean(name: str) -> None:
        journal.append(f"{name} begins")
        try:
            gevent.sleep(10)
        except GreenletExit:
            journal.append(f"{name} is killed")
            raise
        journal.append(f"{name} ends")

    service = started(Plain())
    service.add_cleanup(journal.append, "the last does not block")
    for name in "abc":
        service.add_cleanup(clean, name)
    report = service.stop(0)
    assert journal == [
        *("c begins", "c is killed"),
        *("b begins", "b is killed"),
        *("a begins", "a is killed"),
        "the last does not block",
    ]
    assert entries_of(report) == [("Plain", "killed", "clean-up")] * 3
    assert clock.now == 0.0


def test_a_stop_within_no_time_is_clean_if_nothing_blocks(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Prompt(Service):
        def on_start(self) -> None:
            self.spawn(gevent.sleep, 1000)
            self.interval(boom, 1000)
            self.add_cleanup(journal.append, "clean")

        def on_drain(self) -> None:
            journal.append("drain")

        def on_stop(self) -> None:
            journal.append("stop")

    prompt = started(Prompt())
    clock.settle()
    report = prompt.stop(0)
    assert journal == ["drain", "stop", "clean"]
    assert report.is_clean
    assert clock.now == 0.0


# -- stragglers ------------------------------------------------------------------------


def tick(service: Service, fn: Callable[..., object]) -> object:
    return service.interval(fn, 1, immediate=True)


def fire(service: Service, fn: Callable[..., object]) -> object:
    return service.timeout(fn, 0)


@pytest.mark.parametrize(
    ("step", "arrange"),
    [
        ("greenlet", Service.spawn),
        ("timer", tick),
        ("timer", fire),
        ("clean-up", Service.add_cleanup),
    ],
)
def test_what_swallows_its_kill_is_left_behind_and_named(
    clock: VirtualClock,
    stubborn: Stubborn,
    log: Any,
    step: str,
    arrange: Callable[[Service, Callable[..., object]], object],
) -> None:
    root = started(Parent())
    child = root.adopt(Plain(), name="wall", shutdown=2.0)
    arrange(child, stubborn.hang)
    clock.settle()
    report = child.stop()
    assert clock.now == pytest.approx(2.0 + GRACE)
    (entry,) = report.entries
    assert (entry.path, entry.incarnation) == ("Parent/wall", 1)
    assert (entry.outcome, entry.step) == (Outcome.STRAGGLER, step)
    assert "in hang\n    self.gate.wait()" in entry.detail
    assert counts_of(report) == (0, 0, 0, 1)
    (record,) = log.at_least(logging.ERROR)
    assert record.getMessage() == f"Parent/wall: straggler left behind (step={step!r})"
    assert record.sprag["service"] == "Parent/wall"
    assert record.sprag["step"] == step
    assert "in hang" in record.sprag["stack"]
    assert child.snapshot().state is State.STOPPED
    assert child.snapshot().owned.greenlets == 0
    root.stop()


@pytest.mark.parametrize("hook", ["on_drain", "on_stop"])
def test_a_hook_that_swallows_its_kill_is_left_behind_and_named(
    clock: VirtualClock, stubborn: Stubborn, hook: str
) -> None:
    wall_class = type("Wall", (Service,), {hook: stubborn.hang}, shutdown=2.0)
    wall = started(wall_class())
    report = wall.stop()
    (entry,) = report.entries
    assert (entry.path, entry.outcome, entry.step) == ("Wall", Outcome.STRAGGLER, hook)
    assert "in hang" in entry.detail
    assert clock.now == pytest.approx(2.0 + GRACE, abs=LATE)


def test_an_on_start_that_swallows_its_kill_is_left_behind_and_named(
    clock: VirtualClock, stubborn: Stubborn, log: Any
) -> None:
    class Wall(Service, shutdown=2.0):
        def on_start(self) -> None:
            stubborn.hang()

    wall = Wall()
    starting = spawn(wall.start)
    clock.settle()
    report = wall.stop()
    assert entries_of(report) == [("Wall", "straggler", "on_start")]
    assert starting.ready()
    assert isinstance(starting.exception, StartFailed)
    assert any(r.sprag["event"] == "straggler left behind" for r in log.records)
    assert clock.now == pytest.approx(2.0, abs=LATE)


def test_an_on_start_whose_finally_blocks_gets_its_time_and_dies_at_the_limit(
    clock: VirtualClock,
) -> None:
    journal: list[float] = []

    class Slow(Service, shutdown=2.0):
        def on_start(self) -> None:
            try:
                gevent.sleep(1000)
            finally:
                try:
                    gevent.sleep(self.seconds)
                finally:
                    journal.append(clock.now)

        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

    for seconds, outcome in ((1.5, []), (1000, [])):
        slow = Slow(seconds)
        spawn(slow.start)
        clock.settle()
        report = slow.stop()
        assert entries_of(report) == outcome
    assert journal == [1.5, pytest.approx(3.5, abs=LATE)]


@pytest.mark.parametrize("timeout", [1.0, 0.0])
def test_a_nearer_deadline_reaches_a_child_whose_start_is_being_aborted(
    clock: VirtualClock, stubborn: Stubborn, timeout: float
) -> None:
    class Slow(Service, shutdown="infinity"):
        def on_start(self) -> None:
            stubborn.hang()

    root = started(Parent())
    starting = spawn(root.adopt, Slow())
    clock.settle()
    first = spawn(root.stop)
    clock.advance(10)
    assert not first.ready()
    report = root.stop(timeout)
    assert clock.now == pytest.approx(10.0 + timeout, abs=LATE)
    assert entries_of(report) == [("Parent/Slow", "straggler", "on_start")]
    with pytest.raises(StartFailed):
        starting.get()


def test_a_straggler_does_not_keep_the_others_from_stopping(
    clock: VirtualClock, stubborn: Stubborn
) -> None:
    journal: list[str] = []
    root = started(Told("root", journal))
    wall = root.adopt(Plain(), name="wall", shutdown=1.0)
    wall.spawn(stubborn.hang)
    root.adopt(Told("late", journal))
    clock.settle()
    report = root.stop()
    assert counts_of(report) == (2, 0, 0, 1)
    assert "late stop" in journal
    assert "root stop" in journal


def test_a_straggler_that_ends_later_harms_nobody(
    clock: VirtualClock, stubborn: Stubborn, log: Any
) -> None:
    def hang_and_crash() -> None:
        stubborn.hang()
        boom("late")

    root = started(Parent())
    wall = root.adopt(Plain(), shutdown=1.0)
    wall.spawn(hang_and_crash)
    clock.settle()
    wall.stop()
    wall.start()
    stubborn.gate.set()
    clock.settle()
    assert wall.snapshot().state is State.RUNNING
    assert wall.snapshot().incarnation == 2
    assert wall.snapshot().failures == ()
    late = [r for r in log.records if r.exc_info and "late" in str(r.exc_info[1])]
    assert [r.levelno for r in late] == [logging.WARNING]
    root.stop()


def test_one_kill_at_the_beginning_and_one_at_the_limit(
    clock: VirtualClock, stubborn: Stubborn
) -> None:
    service = started(Plain())
    service.spawn(stubborn.hang)
    clock.settle()
    stopping = spawn(service.stop, 2)
    clock.advance(1.9)
    assert stubborn.kills == 1
    clock.advance(1)
    assert stubborn.kills == 2
    assert stopping.get().stragglers == 1


def test_a_finally_that_blocks_gets_its_time_and_is_not_cut_in_half(clock: VirtualClock) -> None:
    """gevent-traps 4."""
    journal: list[tuple[str, float]] = []

    def live() -> None:
        try:
            gevent.sleep(1e6)
        finally:
            try:
                gevent.sleep(3)
                journal.append(("flushed", clock.now))
            except GreenletExit:
                journal.append(("cut", clock.now))
                raise

    service = started(Plain())
    service.spawn(live)
    clock.settle()
    stops = [spawn(service.stop) for _ in range(3)]
    clock.advance(1)
    stops += [spawn(service.stop, 4) for _ in range(3)]
    gevent.joinall(stops)
    assert journal == [("flushed", 3.0)]
    assert all(stop.get().is_clean for stop in stops)

    del journal[:]
    service.start()
    service.spawn(live)
    clock.settle()
    report = service.stop(2)
    assert journal == [("cut", 5.0)]
    assert entries_of(report) == [("Plain", "killed", "greenlet")]


def test_a_greenlet_that_was_never_switched_to_is_no_straggler(clock: VirtualClock) -> None:
    root = started(Plain())
    child = root.adopt(Plain())
    spawned: list[Any] = []
    # In the turn of the loop in which the stop begins: it is killed before it has begun.
    spawn(lambda: spawned.append(child.spawn(boom)))
    report = root.stop()
    assert report.is_clean
    (greenlet,) = spawned
    assert greenlet.dead
    assert isinstance(greenlet.value, GreenletExit)
    assert clock.now == 0.0


def test_a_hundred_greenlets_are_killed_together(clock: VirtualClock) -> None:
    """gevent-traps 7."""

    def live() -> None:
        try:
            gevent.sleep(1e6)
        finally:
            gevent.sleep(1)

    service = started(Plain())
    for _ in range(100):
        service.spawn(live)
    clock.settle()
    assert service.stop().is_clean
    assert clock.now == 1.0


def test_what_is_spawned_by_what_is_being_killed_is_refused(clock: VirtualClock) -> None:
    refused: list[str] = []

    def live() -> None:
        try:
            gevent.sleep(1e6)
        finally:
            try:
                service.spawn(boom)
            except SpragError as error:
                refused.append(type(error).__name__)

    service = started(Plain())
    service.spawn(live)
    clock.settle()
    assert service.stop().is_clean
    assert refused == ["NotRunning"]


# -- errors while stopping -------------------------------------------------------------


def test_one_failing_release_never_prevents_the_others(clock: VirtualClock, log: Any) -> None:
    journal: list[str] = []

    class Broken(Service):
        def on_start(self) -> None:
            for n in range(3):
                self.add_cleanup(journal.append, f"clean {n}")
                self.add_cleanup(boom, f"clean-up {n}")
            self.spawn(self.live)

        def live(self) -> None:
            try:
                gevent.sleep(1e6)
            finally:
                boom("finally")

        def on_drain(self) -> None:
            boom("drain")

        def on_stop(self) -> None:
            boom("stop")

    class OfChildren(Service):
        def on_stop(self) -> None:
            journal.append("parent stops")

    root = started(OfChildren())
    child = root.adopt(Broken())
    root.adopt(Broken())
    clock.settle()
    report = root.stop()
    assert journal == [*("clean 2", "clean 1", "clean 0") * 2, "parent stops"]
    steps = ["on_drain", "on_stop", "greenlet", "clean-up", "clean-up", "clean-up"]
    assert entries_of(report) == [
        *[("OfChildren/Broken-2", "error", step) for step in steps],
        *[("OfChildren/Broken", "error", step) for step in steps],
    ]
    assert counts_of(report) == (1, 2, 0, 0)
    assert [entry.detail for entry in report.entries[:4]] == [
        "ValueError: drain",
        "ValueError: stop",
        "ValueError: finally",
        "ValueError: clean-up 2",
    ]
    logged = log.at_least(logging.ERROR)
    assert len(logged) == 12
    assert {r.sprag["event"] for r in logged} == {"service raised while stopping"}
    assert {r.exc_info[0] for r in logged} == {ValueError}
    assert child.snapshot().incarnation == 1


def test_an_error_while_stopping_is_never_a_restart(clock: VirtualClock) -> None:
    """gevent-traps 5."""

    def live() -> None:
        try:
            gevent.sleep(1e6)
        finally:
            boom()

    root = started(Parent())
    child = root.adopt(Plain())
    child.spawn(live)
    clock.settle()
    report = child.stop()
    assert counts_of(report) == (0, 1, 0, 0)
    clock.advance(100)
    picture = child.snapshot()
    assert (picture.state, picture.incarnation, picture.restarts) == (State.STOPPED, 1, 0)
    root.stop()


def test_a_ctrl_c_in_a_clean_up_is_the_programs_and_the_stop_goes_on(clock: VirtualClock) -> None:
    journal: list[str] = []

    def leave() -> None:
        raise KeyboardInterrupt

    service = started(Plain())
    service.add_cleanup(journal.append, "first")
    service.add_cleanup(leave)
    service.add_cleanup(journal.append, "last")
    service.add_cleanup(gevent.sleep, 1)
    with pytest.raises(KeyboardInterrupt):
        service.stop()
    clock.advance(2)
    assert journal == ["last", "first"]
    assert service.snapshot().state is State.STOPPED


@pytest.mark.parametrize("error", [ValueError, Timeout])
def test_whatever_leaves_a_clean_up_the_stop_goes_on(
    clock: VirtualClock, error: type[BaseException]
) -> None:
    journal: list[str] = []

    def leave() -> None:
        raise error

    service = started(Plain())
    service.add_cleanup(journal.append, "first")
    service.add_cleanup(leave)
    service.add_cleanup(journal.append, "last")
    report = service.stop()
    assert journal == ["last", "first"]
    assert counts_of(report) == (0, 1, 0, 0)
    clock.settle()


def test_a_crash_while_the_drain_lasts_is_a_stop_error(clock: VirtualClock) -> None:
    class Draining(Service):
        def on_drain(self) -> None:
            gevent.sleep(2)

    root = started(Parent())
    child = root.adopt(Draining())
    child.timeout(boom, 1)
    report = child.stop()
    assert entries_of(report) == [("Parent/Draining", "error", "timer")]
    assert child.snapshot().state is State.STOPPED
    clock.advance(10)
    assert child.snapshot().incarnation == 1
    root.stop()


def test_a_finish_while_the_drain_lasts_changes_nothing(clock: VirtualClock) -> None:
    class Body(Service):
        def run(self) -> None:
            gevent.sleep(1)

        def on_drain(self) -> None:
            gevent.sleep(2)

    root = started(Parent())
    child = root.adopt(Body())
    assert child.stop().is_clean
    clock.advance(10)
    assert (child.snapshot().state, child.snapshot().incarnation) == (State.STOPPED, 1)
    root.stop()


def test_the_report_can_be_read_by_people() -> None:
    service = started(Plain())
    service.add_cleanup(boom)
    report = service.stop()
    assert repr(report.entries[0]).startswith("StopEntry(path='Plain', incarnation=1, ")


# -- several stops, and from inside ----------------------------------------------------


def test_what_the_end_of_a_root_was_like_that_nobody_has_stopped_is_kept() -> None:
    class Job(Service, restart="temporary", significant=True):
        pass

    class Slow(Service, shutdown=1.0):
        def on_stop(self) -> None:
            gevent.sleep(1000)

    job, slow = Job(), Slow()
    root = started(Supervisor([slow, job], auto_shutdown="any_significant", name="root"))
    job.finish()
    gevent.sleep(5.0)
    assert root.snapshot().state is State.FINISHED
    report = tree_of(root).report
    assert entries_of(report) == [("root/Slow", "killed", "on_stop")]
    assert counts_of(report) == (1, 0, 1, 0)


def test_several_stops_at_once_join_one(clock: VirtualClock) -> None:
    journal: list[str] = []
    service = started(Told("s", journal, stop=3.0))
    clock.settle()
    stops = [spawn(service.stop) for _ in range(5)]
    gevent.joinall(stops)
    assert journal.count("s stop") == 1
    assert clock.now == 3.0
    reports = [stop.get() for stop in stops]
    assert all(report == reports[0] for report in reports)
    assert counts_of(reports[0]) == (1, 0, 0, 0)


def test_a_later_stop_may_bring_the_deadline_nearer_but_not_push_it_away(
    clock: VirtualClock,
) -> None:
    journal: list[str] = []

    class Patient(Told, shutdown="infinity"):
        pass

    service = started(Patient("p", journal, stop=1e6))
    clock.settle()
    first = spawn(service.stop)
    clock.advance(10)
    second = spawn(service.stop, 5)
    third = spawn(service.stop, 500)
    gevent.joinall([first, second, third])
    assert clock.now == pytest.approx(15.0, abs=LATE)
    assert first.get().killed == second.get().killed == third.get().killed == 1


def test_a_nearer_deadline_reaches_the_child_that_is_stopping(clock: VirtualClock) -> None:
    class Patient(Told, shutdown="infinity"):
        pass

    journal: list[str] = []
    root = started(Patient("root", journal, Patient("child", journal, stop=1e6)))
    clock.settle()
    first = spawn(root.stop)
    clock.advance(10)
    second = spawn(root.stop, 5)
    gevent.joinall([first, second])
    assert clock.now == pytest.approx(15.0, abs=LATE)
    assert entries_of(first.get()) == [("root/child", "killed", "on_stop")]


def test_a_parents_stop_joins_its_childs(clock: VirtualClock) -> None:
    journal: list[str] = []
    root = started(Told("root", journal, Told("child", journal, stop=3.0)))
    child = root.service("child")
    clock.settle()
    of_child = spawn(child.stop)
    clock.advance(1)
    report = root.stop()
    assert clock.now == 3.0
    assert journal.count("child stop") == 1
    assert of_child.get().is_clean
    assert counts_of(report) == (2, 0, 0, 0)


def test_a_stop_joins_a_crash_that_is_being_cleared_up(clock: VirtualClock) -> None:
    journal: list[str] = []
    root = started(Parent())
    child = root.adopt(Told("child", journal, stop=3.0))
    child.spawn(boom)
    clock.advance(1)
    report = child.stop()
    assert clock.now == 3.0
    assert report.is_clean
    clock.advance(100)
    assert (child.snapshot().state, child.snapshot().incarnation) == (State.STOPPED, 1)
    root.stop()


def test_a_stop_cancels_a_restart_that_waits(clock: VirtualClock) -> None:
    root = started(Parent())
    child = root.adopt(Plain(), backoff=Backoff(initial=10, jitter=0))
    child.spawn(boom)
    clock.advance(1)
    assert child.snapshot().state is State.RESTARTING
    assert child.snapshot().next_try == 9.0
    child.stop()
    assert child.snapshot().state is State.STOPPED
    clock.advance(100)
    assert child.snapshot().incarnation == 1
    root.stop()


def test_a_parents_stop_cancels_a_restart_that_waits(clock: VirtualClock) -> None:
    root = started(Parent())
    child = root.adopt(Plain(), backoff=Backoff(initial=10, jitter=0))
    child.spawn(boom)
    clock.advance(1)
    root.stop()
    assert child.snapshot().state is State.STOPPED
    clock.advance(100)
    assert child.snapshot().incarnation == 1


@pytest.mark.parametrize("where", ["greenlet", "timer", "listener", "run", "child"])
def test_a_stop_from_inside_is_asked_for_and_not_waited_for(
    clock: VirtualClock, where: str
) -> None:
    """gevent-traps 6."""
    reports: list[StopReport] = []
    later: list[str] = []

    class Quitter(Service):
        def quit(self, _data: object = None) -> None:
            reports.append(self.stop())
            later.append("went on")
            try:
                gevent.sleep(1000)
            except GreenletExit:
                later.append("killed")
                raise

        def run(self) -> None:
            if where == "run":
                self.quit()
            gevent.sleep(1000)

    root = started(Parent())
    quitter = root.adopt(Quitter())
    if where == "greenlet":
        quitter.spawn(quitter.quit)
    elif where == "timer":
        quitter.timeout(quitter.quit, 0)
    elif where == "listener":

        def stop(_data: object) -> None:
            reports.append(quitter.stop())

        quitter.listen("event", stop)
        root.emit("event")
    elif where == "child":
        quitter.adopt(Plain()).spawn(quitter.quit)
    clock.settle()
    assert [report.is_pending for report in reports] == [True]
    assert later == ([] if where == "listener" else ["went on", "killed"])
    assert quitter.snapshot().state is State.STOPPED
    assert clock.now == 0.0
    root.stop()


@pytest.mark.parametrize("hook", ["on_drain", "on_stop"])
def test_a_stop_in_a_stop_hook_is_pending_too(clock: VirtualClock, hook: str) -> None:
    reports: list[StopReport] = []

    def stop_again(self: Service) -> None:
        reports.append(self.stop())

    service = started(type("Again", (Service,), {hook: stop_again})())
    report = service.stop()
    assert report.is_clean
    assert [each.is_pending for each in reports] == [True]
    clock.settle()


def test_a_child_that_stops_its_sibling_waits_for_it(clock: VirtualClock) -> None:
    journal: list[str] = []
    root = started(Told("root", journal, Told("a", journal, stop=2.0), Told("b", journal)))
    a, b = root.service("a"), root.service("b")
    clock.settle()
    report = b.spawn(a.stop).get()
    assert not report.is_pending
    assert report.is_clean
    assert clock.now == 2.0
    root.stop()


def test_what_does_not_run_is_not_stopped(clock: VirtualClock) -> None:
    root = started(Parent())
    child = root.adopt(Plain(), restart="transient")
    assert Plain().stop() == StopReport()
    child.finish()
    clock.settle()
    assert child.stop() == StopReport()
    assert child.snapshot().state is State.FINISHED
    root.stop()
    assert root.stop() == StopReport()


def test_the_waiting_for_a_stop_may_be_given_up_but_not_the_stop(clock: VirtualClock) -> None:
    journal: list[str] = []
    service = started(Told("s", journal, stop=3.0))
    clock.settle()
    with pytest.raises(Timeout), Timeout(1):
        service.stop()
    assert clock.now == 1.0
    killed = spawn(service.stop)
    clock.settle()
    killed.kill()
    clock.advance(2)
    assert service.snapshot().state is State.STOPPED
    assert journal.count("s stop") == 1
    assert journal[-1] == "s clean1"


# -- what a stop means -----------------------------------------------------------------


def test_a_stopped_tree_can_be_started_again(clock: VirtualClock) -> None:
    journal: list[str] = []

    class Root(Service):
        def on_start(self) -> None:
            self.adopt(Told("child", journal))

    root = started(Root())
    clock.settle()
    for life in (2, 3):
        root.stop()
        root.start()
        clock.settle()
        assert root.snapshot().incarnation == life
        assert [child.name for child in root.snapshot().children] == ["child"]
    root.stop()


def test_children_stopped_with_their_supervisor_come_back_with_it() -> None:
    supervisor = Supervisor(children=[(Plain(), {"name": "a"}), (Plain(), {"name": "b"})])
    for _ in range(3):
        supervisor.start()
        assert [child.name for child in supervisor.snapshot().children] == ["a", "b"]
        assert supervisor.stop().clean == 3


def test_a_deep_tree_stops_without_recursion(clock: VirtualClock) -> None:
    """gevent-traps 28."""
    root = node = started(Plain())
    for _ in range(3000):
        node = node.adopt(Plain())
    node.spawn(gevent.sleep, 1e6)
    clock.settle()
    assert root.stop().clean == 3001


def test_a_wide_tree_reports_everybody() -> None:
    root = started(Plain())
    for n in range(500):
        child = root.adopt(Plain())
        if n % 5 == 0:
            child.add_cleanup(boom)
    report = root.stop()
    assert counts_of(report) == (401, 100, 0, 0)
    assert len(report.entries) == 100
