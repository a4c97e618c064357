"""The table of states, and that real life takes each of its edges and no other."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from scripted import Crash, Idle, Journal, Scripted, crash, spawn, states
from sprag import Backoff, DynamicSupervisor, Service, StartFailed, State, Supervisor
from sprag_supervisor import Node
from sprag_supervisor.life.bugs import give_in
from sprag_supervisor.rules.states import ACTIVE, DOWN, MOVES, SETTLED
from sprag_supervisor.tree import moves as _moves

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

EDGES = {(source, target) for source, targets in MOVES.items() for target in targets}


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(State)


def test_every_state_can_be_reached_from_new_and_left_again() -> None:
    reached = {State.NEW}
    while True:
        more = reached.union(*(MOVES[state] for state in reached))
        if more == reached:
            break
        reached = more
    assert reached == set(State)
    assert all(MOVES.values())


def test_what_ends_passes_through_stopping_or_waits_for_its_restart() -> None:
    into_rest = {source for source, target in EDGES if target in SETTLED - {State.STOPPED}}
    assert into_rest == {State.STOPPING, State.RESTARTING}


def test_only_what_is_down_is_placed_as_stopped_or_waits() -> None:
    placed = {source for source, target in EDGES if target in {State.STOPPED, State.RESTARTING}}
    assert placed == DOWN | {State.STOPPING}


def test_down_active_and_stopping_are_all_there_is() -> None:
    assert ACTIVE | DOWN | {State.STOPPING} == set(State)
    assert not ACTIVE & DOWN
    assert SETTLED < DOWN


def test_an_illegal_move_is_a_bug_and_says_where() -> None:
    service = Scripted("a", Journal())
    with pytest.raises(AssertionError, match=r"^a: new -> running$"):
        _moves.move(service, State.RUNNING)


class Late(Service):
    """Has nothing to do once it is up, so the engine takes its short way there."""

    def on_start(self) -> None:
        gevent.sleep(1.0)


def test_a_service_that_sprag_has_given_up_does_not_come_up_after_all(clock: VirtualClock) -> None:
    with Supervisor() as top:
        late = Late()
        start = spawn(top.adopt, late)
        clock.settle()
        give_in(late)
        clock.advance(2.0)
        assert isinstance(start.exception, AssertionError)
        assert late.snapshot().state is State.FAILED
        assert not states(top)


def test_what_sprag_has_given_up_is_not_waited_for(clock: VirtualClock) -> None:
    patient = Idle("patient", backoff=Backoff(10.0))
    top = Supervisor([patient])
    top.start()
    crash(patient)
    clock.settle()
    assert patient.snapshot().next_try is not None
    give_in(top)
    assert patient.snapshot().next_try is None
    # And the clock's LeakCheck: its timer would go off for a parent that is no more.


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> set[tuple[State, State]]:
    """Record every move of every node, and refuse one that is not in the table."""
    edges: set[tuple[State, State]] = set()
    slot: Any = Node.__dict__["_state_"]

    def write(node: Node, to: State) -> None:
        before: State | None = None
        with suppress(AttributeError):  # it is being made
            before = slot.__get__(node)
        if before is not None and before is not to:
            assert to in MOVES[before], f"{before} -> {to}"
            edges.add((before, to))
        slot.__set__(node, to)

    monkeypatch.setattr(Node, "_state_", property(slot.__get__, write))
    return edges


def test_a_few_lives_take_every_edge(taken: set[tuple[State, State]], clock: VirtualClock) -> None:
    journal = Journal()
    fine = Scripted("fine", journal, restart="transient")
    broken = Scripted("broken", journal)
    with Supervisor(children=[fine, broken], max_restarts=1) as top:
        fine.finish()
        clock.settle()
        assert states(top)["fine"] == "finished"
        fine.start()
        fine.stop()
        fine.start()
        broken.stop()
        broken.script.fail_starts = 1
        with pytest.raises(StartFailed):
            broken.start()
        assert states(top)["broken"] == "failed"
        broken.start()
        crash(broken)
        clock.settle()
        crash(broken)
        clock.settle()  # restarting -> stopped: the supervisor gives up
    with Supervisor() as top:
        twice = top.adopt(Scripted("twice", journal), backoff=Backoff(0.1, tries=1))
        crash(twice)
        clock.advance(0.2)
        crash(twice)
        clock.settle()
        assert states(top)["twice"] == "failed"
    _are_placed_again_and_wait(journal, clock)
    with DynamicSupervisor() as many:  # whose ends are nobody's business
        many.start_child(Service())
    assert taken == EDGES


def _are_placed_again_and_wait(journal: Journal, clock: VirtualClock) -> None:
    """Let a supervisor come back, to children that have ended in one way or another."""
    kinds: dict[str, Any] = {"spare": {"autostart": False}, "late": {"needs": ("db",)}}
    children = [
        Scripted(f"{kind}-{end}", journal, restart="transient", on_failure={Crash: "stop"}, **asks)
        for kind, asks in kinds.items()
        for end in ("stopped", "finished", "failed")
    ]
    inner = Supervisor([Scripted("db", journal), *children], name="inner")
    with Supervisor([inner]):
        for child in children:
            if child.snapshot().state is State.STOPPED:
                child.start()
            if child.name.endswith("finished"):
                child.finish()
            elif child.name.endswith("failed"):
                crash(child)
        clock.settle()
        crash(inner)
        clock.settle()
