"""Who has crashed and waits for its turn: nobody passes it, and nobody with a deadline waits long.

Where the loop counts as held from the first moment on, each crash but the first of a turn waits at
the gate, and one goes on in each turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.event import Event

from scripted import Crash, spawn, states
from sprag import Service, Supervisor
from sprag_supervisor import tree_of
from sprag_supervisor.loop.pace import Gate, let_others_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MANY = 40
DEEP = 1000
"""Calls nest no deeper, by Python's default."""


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is held from the first moment on."""
    monkeypatch.setattr("sprag_supervisor.loop.pool.HOLD", -1)
    monkeypatch.setattr("sprag_supervisor.loop.pace.HOLD", -1)


@pytest.fixture
def root() -> Iterator[Supervisor]:
    with gevent.Timeout(30), Supervisor(max_restarts=10_000) as root:
        yield root


class Frail(Service):
    """Crashes when it hears of what it listens to."""

    def __init__(self, event: str) -> None:
        self.event = event

    def on_start(self) -> None:
        self.listen(self.event, fail)


def fail(_data: object = None) -> None:
    raise Crash


def fail_after(go: Event, text: str = "") -> None:
    go.wait()
    raise Crash(text)


def crowd(root: Supervisor, go: Event) -> list[str]:
    """Have `MANY` services crash at *go*; return their names in the order of their crashes."""
    crashed: list[str] = []
    tree_of(root).observers.append(
        lambda event: (
            crashed.append(event.path.rpartition("/")[2]) if event.event == "crashed" else None
        )
    )
    for number in range(MANY):
        root.adopt(Service(), name=f"{number:02}").spawn(fail_after, go)
    gevent.sleep(0.001)
    return crashed


def restarted(root: Supervisor) -> int:
    return sum(one.restarts for one in root.snapshot().children)


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        gevent.sleep(0.001)


def test_who_crashes_later_does_not_pass_who_waits(root: Supervisor) -> None:
    go = Event()
    crashed = crowd(root, go)
    late = root.adopt(Service(), name="late")
    go.set()
    let_others_run()
    let_others_run()
    assert 0 < len(crashed) < MANY
    late.spawn(fail)
    wait_until(lambda: len(crashed) > MANY)
    assert crashed == [*sorted(crashed[:-1]), "late"]


def test_of_two_crashes_of_a_service_the_first_is_the_one_that_counts(root: Supervisor) -> None:
    go, later = Event(), Event()
    crowd(root, go)
    service = root.adopt(Service())
    service.spawn(fail_after, go, "the first")
    service.spawn(fail_after, later, "the second")
    gevent.sleep(0.001)
    go.set()
    let_others_run()
    let_others_run()
    assert service.snapshot().incarnation == 1
    later.set()
    wait_until(lambda: service.snapshot().incarnation > 1)
    assert "the first" in str(service.snapshot().failures[-1])


def test_a_gate_whose_timer_was_cut_short_opens_all_the_same(
    root: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_on: Any = Gate._let_on
    entered = 0

    def cut_short(gate: Gate) -> None:
        nonlocal entered
        entered += 1
        if entered > 1:
            let_on(gate)

    go = Event()
    crashed = crowd(root, go)
    monkeypatch.setattr(Gate, "_let_on", cut_short)
    go.set()
    wait_until(lambda: len(crashed) == MANY)
    assert entered > MANY / 2


def held_up(root: Supervisor, action: Callable[[], object]) -> int:
    """Return how many of a crowd went on while *action* was under way."""
    go = Event()
    crashed = crowd(root, go)
    go.set()
    let_others_run()
    before = len(crashed)
    assert before < MANY / 2
    action()
    return len(crashed) - before


def test_who_emits_in_the_hub_cannot_wait_and_does_not(root: Supervisor) -> None:
    heard: list[int] = []
    for _ in range(3):
        root.adopt(Frail("news"))
    gevent.get_hub().loop.run_callback(lambda: heard.append(root.emit("news")))
    gevent.sleep(0)
    assert heard == [3]
    wait_until(lambda: restarted(root) == 3)


def test_who_comes_from_another_thread_does_not_wait_either(root: Supervisor) -> None:
    """The timer that opens the gate belongs to the loop of this one."""
    gate = tree_of(root).pool.gate
    gevent.get_hub().threadpool.apply(gate.wait)
    assert not gate.waiting


@pytest.mark.parametrize("hook", ["on_start", "on_drain", "on_stop"])
def test_a_hook_that_emits_does_not_wait_behind_others(root: Supervisor, hook: str) -> None:
    def say(service: Service) -> None:
        assert service.emit("news") == 2

    talking = type("Talking", (Service,), {hook: say})
    for _ in range(2):
        root.adopt(Frail("news"))
    if hook == "on_start":
        assert held_up(root, lambda: root.adopt(talking())) < 10
    else:
        service = root.adopt(talking())
        assert held_up(root, service.stop) < 10


def test_a_stop_is_no_longer_for_what_crashes_in_it(root: Supervisor) -> None:
    def work() -> None:
        try:
            gevent.sleep(1000)
        finally:
            raise Crash

    service = root.adopt(Service())
    for _ in range(MANY):
        service.spawn(work)
    gevent.sleep(0.001)
    assert held_up(root, service.stop) < 10


def test_bodies_that_are_killed_in_one_callback_end_in_turns(root: Supervisor) -> None:
    class Body(Service):
        def run(self) -> None:
            gevent.sleep(1000)

    ended: list[int] = []
    tree_of(root).observers.append(
        lambda event: (
            ended.append(gevent.get_hub().loop.iteration) if event.reason == "finished" else None
        )
    )
    bodies = [root.adopt(Body(), restart="temporary") for _ in range(8)]
    gevent.sleep(0.001)
    running: list[Any] = [
        one
        for body in bodies
        for one in (body._holdings_.greenlets or {}).values()  # type: ignore[union-attr]
    ]
    gevent.killall(running, block=False)
    wait_until(lambda: len(ended) == 8)
    assert len(set(ended)) >= 4


def test_who_emits_with_a_used_up_stack_does_not_wait_and_gets_no_error_for_it(
    root: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    had_room: list[bool] = []
    wait: Any = Gate.wait

    def can_nest(calls: int) -> bool:
        try:
            return not calls or can_nest(calls - 1)
        except RecursionError:
            return False

    def noted(gate: Gate, **options: bool) -> None:
        had_room.append(can_nest(50))
        wait(gate, **options)

    monkeypatch.setattr(Gate, "wait", noted)

    def nested(calls: int) -> int:
        return nested(calls - 1) if calls else root.emit("news")

    def emit(calls: int) -> int:
        try:
            return nested(calls)
        except RecursionError:
            return 0

    for _ in range(3):
        root.adopt(Frail("news"))
    heard: list[int] = []
    for calls in range(DEEP - 300, DEEP):
        before = sum(one.incarnation for one in root.snapshot().children)
        emitter = spawn(emit, calls)
        emitter.join()
        gevent.sleep(0)
        wait_until(lambda: set(states(root).values()) == {"running"})
        crashes = sum(one.incarnation for one in root.snapshot().children) - before
        assert crashes == emitter.value
        heard.append(crashes)
    assert heard[0] == 3
    assert heard[-1] == 0
    assert all(had_room)
    assert had_room
