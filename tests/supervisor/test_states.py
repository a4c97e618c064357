"""The table of states, and that real life takes each of its edges and no other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from scripted import Journal, Scripted, crash, states
from sprag import StartFailed, State, Supervisor
from sprag_supervisor.rules.states import ACTIVE, DOWN, MOVES, SETTLED
from sprag_supervisor.tree import moves as _moves

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock
    from sprag_supervisor import Node

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
    into_rest = {source for source, target in EDGES if target in SETTLED}
    assert into_rest == {State.STOPPING, State.RESTARTING}


def test_down_active_and_stopping_are_all_there_is() -> None:
    assert ACTIVE | DOWN | {State.STOPPING} == set(State)
    assert not ACTIVE & DOWN
    assert SETTLED < DOWN


def test_an_illegal_move_is_a_bug_and_says_where() -> None:
    service = Scripted("a", Journal())
    with pytest.raises(AssertionError, match=r"^a: new -> running$"):
        _moves.move(service, State.RUNNING)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> set[tuple[State, State]]:
    """Record every move of every node."""
    edges: set[tuple[State, State]] = set()
    real: Callable[[Node, State], None] = _moves.must_be_legal

    def must_be_legal(node: Node, to: State) -> None:
        edges.add((node._state_, to))
        real(node, to)

    for name, module in tuple(sys.modules.items()):
        if name.startswith("sprag_supervisor.") and vars(module).get("must_be_legal") is real:
            monkeypatch.setattr(module, "must_be_legal", must_be_legal)
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
    assert taken == EDGES
