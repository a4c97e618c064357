"""The parent of workers in virtual time: who boots, who takes whose place, who is given up."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from sprag.exceptions import NotRunning, StartFailed
from sprag.programs import out_of_memory
from sprag.testing import fake_programs, virtual_time
from sprag.workers import fleet as fleets
from sprag.workers import watching
from sprag.workers.exceptions import GenerationFailed
from sprag.workers.parent import Workers
from sprag.workers.plan import Plan
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Generator

    import pytest

    from sprag.testing import FakeProcess, FakePrograms
    from sprag.testing import VirtualClock as Clock


def plan(count: int = 2, **given: Any) -> Plan:
    rest: dict[str, Any] = {"watchdog": 30.0, "shutdown": 30.0, **given}
    return Plan(name="shop", count=count, words=("sprag", "run"), cwd=Path.cwd(), **rest)


class Play:
    """The workers of one test, whose processes do what it says."""

    def __init__(self, clock: Clock, programs: FakePrograms, root: Workers) -> None:
        self.clock = clock
        self.programs = programs
        self.root = root
        self.has_failed: Exception | None = None
        self.held: list[FakeProcess] = []

    def __getitem__(self, number: int) -> FakeProcess:
        """Return the latest process of a slot."""
        return self.programs[f"shop/worker-{number}"]

    def says(self, process: FakeProcess, **said: str) -> None:
        run: Any = process._run
        run._heard(said)
        self.settle()

    def ready(self, *numbers: int) -> None:
        for number in numbers:
            self.says(self[number], READY="1")

    def settle(self) -> None:
        for _ in range(20):
            gevent.sleep(0)

    def start(self) -> Any:
        greenlet: Any = gevent.Greenlet(self._start)
        greenlet.start()
        self.settle()
        return greenlet

    def _start(self) -> None:
        try:
            self.root.start()
        except StartFailed as error:
            self.has_failed = error

    def up(self) -> None:
        self.start()
        for number in range(1, self.root.fleet.plan.count + 1):
            self.ready(number)
        assert self.root.not_ready() == {}

    def passes(self, seconds: float) -> None:
        """Let time pass, in which all but who is held show that they live."""
        for _ in range(round(seconds)):
            for slot in self.root.slots:
                for each in slot.processes:
                    if each.child not in self.held:
                        each._heard({"WATCHDOG": "1"})
            self.clock.advance(1)
            self.settle()

    def reload(self) -> Any:
        asked: Any = gevent.Greenlet(self._reload)
        asked.start()
        self.settle()
        return asked

    def _reload(self) -> str:
        try:
            self.root.replacing.ask(None, "test").wait()
        except (GenerationFailed, NotRunning) as error:
            return str(error)
        return "done"

    def alive(self) -> list[str]:
        """Return the processes there are: slot and generation, and what they were told."""
        return [
            f"{slot.number}.{each.generation}"
            for slot in self.root.slots
            for each in slot.processes
            if each.child is not None and each.child.is_alive
        ]

    def states(self) -> list[str]:
        return [slot.snapshot().state.value for slot in self.root.slots]

    def fails_for_ever(self, *numbers: int) -> int:
        """Let workers end as soon as they begin; return how often until the app has given up."""
        for times in range(1, 12):
            for number in numbers:
                self[number].exit(1)
                self.settle()
            if self.root.snapshot().state.value == "failed":
                return times
            self.passes(16)
        return 0


@contextmanager
def play(monkeypatch: pytest.MonkeyPatch, given: Plan, cores: int = 2) -> Generator[Play]:
    monkeypatch.setattr(fleets, "cores", lambda: cores)
    with virtual_time() as clock, fake_programs() as programs:
        played = Play(clock, programs, Workers(given))
        try:
            yield played
        finally:
            played.root.stop()


def test_no_more_boot_at_once_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    with play(monkeypatch, plan(4), cores=2) as played:
        started = played.start()
        assert played.alive() == ["1.1", "2.1"]
        assert set(dict(played.root.not_ready())) >= {"shop/worker-1", "shop/worker-3"}
        played.ready(2)
        assert played.alive() == ["1.1", "2.1", "3.1"]
        played.ready(1, 3, 4)
        assert started.ready()
        assert played.root.not_ready() == {}
        assert played.root.snapshot().status == "4 workers, generation 1"
        assert played[3].env["SPRAG_WORKER_PATH"] == "shop/worker-3"
        assert played[3].env["SPRAG_GENERATION"] == "1"


def test_a_first_generation_that_does_not_come_up_is_no_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with play(monkeypatch, plan(2)) as played:
        played.start()
        played.ready(1)
        first = played[1]
        played.says(played[2], X_SPRAG_ERROR="app.py:3: SyntaxError: invalid syntax")
        played[2].exit(3)
        played.settle()
        assert "app.py:3: SyntaxError" in str(played.has_failed)
        assert "has exited with 3 before it was ready" in str(played.has_failed)
        assert not first.is_alive


def test_a_command_line_that_is_wrong_is_told_by_its_exit_code_and_in_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with play(monkeypatch, plan(2)) as played:
        started = played.start()
        played.says(played[2], X_SPRAG_ERROR="'app:apq': app has no 'apq'")
        played[2].exit(2)
        played.settle()
        assert started.ready()
        assert played.root.fleet.misuse == "'app:apq': app has no 'apq'"
        assert tree_of(played.root).exit_code == 2
        assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []
        assert not played[1].is_alive


def test_a_worker_that_dies_is_restarted_and_the_others_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with play(monkeypatch, plan(2)) as played:
        played.up()
        other = played[2]
        for _ in range(20):
            played[1].die("KILL")
            played.passes(16)
            played.ready(1)
        assert other.is_alive
        assert played.states() == ["running", "running"]
        assert played.root.snapshot().state.value == "running"


def test_a_worker_that_gives_up_is_remembered_with_what_it_says_of_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with play(monkeypatch, plan(2)) as played:
        played.up()
        pid = played[1].pid
        played.says(played[1], X_SPRAG_ERROR="app.py:7: MaxRestartsExceeded: it gave up")
        played[1].exit(1)
        played.settle()
        remembered = played.root.slots[0].snapshot().last_failure
        assert remembered is not None
        assert remembered.message == (
            f"shop/worker-1 (pid {pid}) has exited with code 1: "
            "app.py:7: MaxRestartsExceeded: it gave up"
        )


def test_it_gives_up_when_none_serves_and_each_has_failed_often_in_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with play(monkeypatch, plan(2)) as played:
        played.up()
        assert played.fails_for_ever(1, 2) == 5


def test_it_does_not_give_up_while_one_serves_and_one_that_was_stopped_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with play(monkeypatch, plan(2)) as played:
        played.up()
        assert played.fails_for_ever(1) == 0
        played.root.slots[1].stop()
        assert played.fails_for_ever(1) == 1


def test_a_generation_takes_the_slots_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with play(monkeypatch, plan(3)) as played:
        played.up()
        told: list[str] = []

        @contextmanager
        def reloading() -> Generator[None]:
            told.append("RELOADING=1")
            yield
            told.append("READY=1")

        played.root._says_reloading_ = reloading
        old = {number: played[number] for number in (1, 2, 3)}
        old[1].deaf = True
        asked = played.reload()
        assert told == ["RELOADING=1"]
        assert played.alive() == ["1.1", "1.2", "2.1", "3.1"]  # never more than one too many
        assert played.root.not_ready() == {}
        played.ready(1)
        assert old[1].signals == [signal.SIGTERM]  # a slot's end, not the whole's
        assert played.alive() == ["1.1", "1.2", "2.1", "3.1"]  # it drains
        old[1].exit(0)
        played.settle()
        assert played.alive() == ["1.2", "2.1", "2.2", "3.1"]
        played.ready(2)
        played.ready(3)
        assert asked.get() == "done"
        assert played.alive() == ["1.2", "2.2", "3.2"]
        assert told == ["RELOADING=1", "READY=1"]
        assert played.root.snapshot().status == "3 workers, generation 2"
        assert sum(slot.snapshot().restarts for slot in played.root.slots) == 0


def test_a_generation_that_fails_leaves_the_old_one_and_suspends_what_is_not_urgent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with play(monkeypatch, plan(2, max_lifetime=100.0)) as played:
        played.up()
        asked = played.reload()
        played.says(played[1], X_SPRAG_ERROR="app.py:7: NameError: name 'x'")
        played[1].exit(3)
        played.settle()
        assert "app.py:7: NameError" in asked.get()
        assert played.alive() == ["1.1", "2.1"]
        assert "generation 2 failed; 1 cannot be restarted" in str(played.root.snapshot().status)
        (told,) = tree_of(played.root).ledger.replacements
        assert (told.path, told.what, told.generation) == ("shop", "failed", 2)
        assert "app.py:7: NameError" in (told.failure or "")
        assert told.concerns("shop/worker-2")
        played.passes(120)
        assert played.alive() == ["1.1", "2.1"]  # not even for its age
        asked = played.reload()
        played.ready(1)
        played.ready(2)
        assert asked.get() == "done"
        assert played.root.snapshot().status == "2 workers, generation 3"
        assert [each.what for each in tree_of(played.root).ledger.replacements] == [
            "failed",
            "replaced",
        ]


def test_a_worker_that_is_replaced_is_told_of_where_its_parent_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with play(monkeypatch, plan(2)) as played:
        played.up()
        played.root.replacing.ask((2,), "it is too large")
        played.settle()
        played.ready(2)
        (told,) = tree_of(played.root).ledger.replacements
        assert (told.path, told.what, told.failure) == ("shop/worker-2", "replaced", None)
        assert told.because == "it is too large"
        assert [told.concerns(each) for each in ("shop", "shop/worker-1")] == [True, False]


def test_one_that_is_too_old_and_cannot_be_replaced_stays_and_is_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with play(monkeypatch, plan(2, max_lifetime=100.0)) as played:
        played.up()
        old = played[1], played[2]
        played.passes(115)
        one = next(number for number in (1, 2) if played[number] is not old[number - 1])
        played.says(played[one], X_SPRAG_ERROR="app.py:7: NameError: name 'x'")
        played[one].exit(3)
        played.passes(60)
        assert played.alive() == ["1.1", "2.1"]
        assert all(each.is_alive for each in old)
        said = str(played.root.snapshot().status)
        assert said.startswith("a new worker does not come up; 1 cannot be restarted: ")
        old[0].die("KILL")  # it waits in its backoff; by then the code is mended
        played.passes(1)
        played.ready(1)
        assert played.root.snapshot().status == "2 workers, generation 1"
        assert played.alive()[-1] == "2.1"


def test_who_asks_during_a_replacement_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    with play(monkeypatch, plan(2)) as played:
        played.up()
        first = played.reload()
        played.ready(1)
        half_way = played[2]
        second = played.reload()
        assert not half_way.is_alive
        assert played.alive() == ["1.2", "1.3", "2.1"]
        played.ready(1)
        played.ready(2)
        assert (first.get(), second.get()) == ("done", "done")
        assert played.alive() == ["1.3", "2.3"]


def test_a_stop_wins_over_a_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    with play(monkeypatch, plan(2)) as played:
        played.up()
        old = played[1]
        asked = played.reload()
        booting = played[1]
        played.root.stop()
        assert "cannot replace its workers; it stops" in asked.get()
        assert played.alive() == []
        assert old.signals == [signal.SIGINT]
        # Python may be about to load its modules, which an interrupt makes a traceback.
        assert booting.signals == [signal.SIGTERM]


def test_where_a_queue_outlives_the_parent_workers_are_told_that_all_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with play(monkeypatch, plan(1, sockets_outlive_us=True)) as played:
        played.up()
        old = played[1]
        asked = played.reload()
        played.ready(1)
        assert asked.get() == "done"
        assert old.signals == [signal.SIGTERM]
        new = played[1]
        played.root.stop()
        assert new.signals == [signal.SIGWINCH, signal.SIGTERM]


def test_the_old_one_may_die_while_the_new_one_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    with play(monkeypatch, plan(2)) as played:
        played.up()
        old = played[1]
        asked = played.reload()
        old.die("KILL")
        played.settle()
        assert set(played.root.not_ready()) == {"shop/worker-1"}
        played.ready(1)
        played.ready(2)
        assert asked.get() == "done"
        assert played.root.not_ready() == {}
        assert [slot.snapshot().restarts for slot in played.root.slots] == [0, 0]


def test_who_is_killed_for_want_of_memory_is_told_so_and_who_is_killed_beside_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = [7]
    monkeypatch.setattr(out_of_memory, "_count", lambda: killed[0])
    monkeypatch.setattr(out_of_memory, "_places", [(Path("memory.events"), "out of memory")])
    with play(monkeypatch, plan(2)) as played:
        played.up()
        killed[0] += 1  # somebody else, of which the next round takes note
        played.passes(3)
        played[1].die("KILL")
        played.settle()
        assert "out of memory" not in str(played.root.slots[0].failure)
        killed[0] += 1
        played[2].die("KILL")
        played.settle()
        said = str(played.root.slots[1].failure)
        assert said.endswith("was killed by SIGKILL: out of memory")
        (ruling,) = [each for each in tree_of(played.root).ledger if each.name == "worker-2"]
        assert said in str(ruling.failure)
        played.passes(1)
        killed[0] += 1
        played.passes(1)  # a round comes before it is known to have ended
        played[2].die("KILL")  # while it boots
        played.settle()
        assert "SIGKILL: out of memory before it was ready" in str(played.root.slots[1].failure)


def test_a_held_worker_is_asked_for_its_stacks_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    with play(monkeypatch, plan(2, watchdog=30.0)) as played:
        played.up()
        held = played[1]
        played.held.append(held)
        played.passes(29)
        assert held.signals == []
        played.passes(2)
        assert held.signals == [signal.SIGUSR1]
        played.passes(3)
        assert held.signals == [signal.SIGUSR1, signal.SIGKILL]
        failure = played.root.slots[0].snapshot().last_failure
        assert failure is not None
        assert failure.type == "WorkerHeld"
        assert played[2].is_alive


def test_a_parent_that_was_held_itself_judges_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with play(monkeypatch, plan(1, watchdog=30.0)) as played:
        played.up()
        root = played.root
        watch = watching.Watching(root.fleet.plan, lambda: root.slots, root.replacing, 1.0)
        slot = played.root.slots[0]
        assert slot.current is not None
        slot.current.last_sign = -1000.0
        watch._last -= 100  # its last round was long ago
        watch.look()
        assert played[1].signals == []
        watch.look()
        assert played[1].signals == [signal.SIGUSR1]


def test_a_worker_is_replaced_for_its_age_and_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[int, int] = {}
    monkeypatch.setattr(watching, "resident", sizes.get)
    given = plan(2, max_lifetime=1000.0, max_memory=100 << 20, watchdog=1e6)
    with play(monkeypatch, given) as played:
        played.up()
        sizes[played[2].pid] = 101 << 20
        old = played[2]
        played.passes(2)
        assert old.is_alive  # until the next one is ready
        played.ready(2)
        assert not old.is_alive
        assert played.alive() == ["1.1", "2.1"]
        ages = played[1], played[2]
        played.passes(1101)
        played.ready(1)
        played.ready(2)
        played.ready(1)
        assert not any(each.is_alive for each in ages)
        assert played.alive() == ["1.1", "2.1"]
