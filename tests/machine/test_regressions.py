"""Stories that the machine has found, each as short as it can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.plans import Spec
from machine.test_machine import EDGE, Machine

if TYPE_CHECKING:
    from collections.abc import Callable


def tell(spec: Spec, *steps: Callable[[Machine], object]) -> None:
    """Let the tree and the model do the same, step by step, and compare."""
    machine = Machine()
    try:
        machine.begin(spec=spec)
        for step in steps:
            step(machine)
    finally:
        machine.teardown()


def test_a_group_comes_up_before_its_parent_gives_up_over_the_last_try_of_a_first_start() -> None:
    never = Spec("b", "pool", retry_start=True, backoff=0.5, tries=1, faults=3)
    children = Spec("a", "supervisor"), never, Spec("c", "supervisor")
    tell(
        Spec("root", "supervisor", strategy="one_for_all", children=children),
        lambda machine: machine.crash(number=1, how="greenlet", troubles=[]),
    )


def test_who_is_adopted_and_needs_nobody_stops_beside_who_was_there() -> None:
    tell(
        Spec("root", "supervisor", children=(Spec("a"),)),
        lambda machine: machine.start_child(
            number=0, spec=Spec("b"), name="b", needs=(), troubles=[]
        ),
        lambda machine: machine.crash(number=0, how="greenlet", troubles=[(2, "slow")]),
    )


def test_a_temporary_child_whose_start_by_hand_has_failed_goes_with_the_next_group_restart() -> (
    None
):
    failing = Spec("b", restart="temporary", autostart=False, faults=1)
    tell(
        Spec("root", "supervisor", strategy="one_for_all", children=(Spec("a"), failing)),
        lambda machine: machine.start(number=0),
        lambda machine: machine.crash(number=1, how="greenlet", troubles=[]),
    )


def test_who_waits_for_what_it_needs_waits_for_no_try_of_its_group() -> None:
    children = Spec("a", needs=()), Spec("b", needs=(("a", "ready"),)), Spec("c")
    tell(
        Spec("root", "supervisor", strategy="rest_for_one", children=children),
        lambda machine: machine.stop(number=1, how="once", troubles=[]),
        lambda machine: machine.break_starts(number=3, what="raise", times=3),
        lambda machine: machine.crash(number=1, how="body", troubles=[]),
    )


def test_what_a_life_of_a_supervisor_has_not_decided_is_not_decided_in_the_next_one() -> None:
    children = (
        Spec("c", restart="transient", needs=()),
        Spec("a", needs=(("c", "finished"),)),
        Spec("b", needs=(("a", "ready"),)),
    )
    tell(
        Spec("root", "supervisor", max_restarts=0, children=children),
        lambda machine: machine.stop(number=3, how="once", troubles=[]),
        lambda machine: machine.hold(number=0),
        lambda machine: machine.start(number=0),
        lambda machine: machine.crash(number=2, how="body", troubles=[]),
        lambda machine: machine.crash(number=0, how="body", troubles=[]),
        lambda machine: machine.crash(number=0, how="body", troubles=[]),
        lambda machine: machine.hold(number=0),
        lambda machine: machine.release(number=0),
    )


def test_of_one_that_was_held_a_look_before_that_is_none_to_begin_anew_at() -> None:
    tell(
        Spec("root", "supervisor", children=(Spec("a", heartbeat=2.0), Spec("b"))),
        lambda machine: machine.hold(number=2),
        lambda machine: machine.advance(number=0, edge=-EDGE),
        lambda machine: machine.hold(number=0),
        lambda machine: machine.hold(number=1),
        lambda machine: machine.release(number=0),
        lambda machine: machine.advance(number=0, edge=EDGE),
    )


def test_first_starts_are_tried_again_in_the_order_in_which_they_have_failed() -> None:
    later = Spec("b", "pool", retry_start=True, backoff=0.5, faults=1)
    sooner = Spec("c", retry_start=True, backoff=0.5, tries=1, faults=3, needs=())
    children = Spec("a", needs=()), later, sooner
    tell(
        Spec("root", "supervisor", strategy="one_for_all", children=children),
        lambda machine: machine.advance(number=1, edge=EDGE),
    )


def test_who_tries_its_first_start_again_waits_for_no_try_of_its_group() -> None:
    late = Spec("b", "pool", retry_start=True, backoff=0.5, faults=3, autostart=False)
    children = Spec("a"), late, Spec("c")
    tell(
        Spec("root", "supervisor", strategy="one_for_all", children=children),
        lambda machine: machine.break_starts(number=3, what="raise", times=3),
        lambda machine: machine.crash(number=1, how="body", troubles=[]),
    )


def test_who_waits_for_its_next_try_is_called_off_before_others_of_its_pool_have_ended() -> None:
    pool = Spec("a", "pool", max_children=2)
    tell(
        Spec("root", "supervisor", children=(pool,)),
        lambda machine: machine.start_child(
            number=1, spec=Spec("b"), name="b", needs=None, troubles=[]
        ),
        lambda machine: machine.start_child(
            number=1, spec=Spec("c", backoff=0.5), name="c", needs=None, troubles=[]
        ),
        lambda machine: machine.crash(number=3, how="greenlet", troubles=[]),
        lambda machine: machine.stop(number=0, how="once", troubles=[(2, "slow")]),
    )


def test_who_is_called_for_while_a_sibling_waits_starts_with_it_where_all_start_together() -> None:
    late = Spec("c", autostart=False)
    tell(
        Spec("root", "supervisor", strategy="one_for_all", children=(Spec("a", backoff=0.5), late)),
        lambda machine: machine.crash(number=1, how="greenlet", troubles=[]),
        lambda machine: machine.start_child(
            number=0, spec=Spec("d"), name="d", needs=(("c", "ready"),), troubles=[]
        ),
        lambda machine: machine.advance(number=1, edge=EDGE),
    )


def test_who_is_over_and_held_gives_its_name_to_who_comes_and_is_decided_on_all_the_same() -> None:
    brief = Spec("a", "supervisor", restart="temporary", significant=True)
    tell(
        Spec("root", "supervisor", auto_shutdown="any_significant", children=(brief,)),
        lambda machine: machine.hold(number=0),
        lambda machine: machine.finish(number=1, how="body", troubles=[]),
        lambda machine: machine.start_child(
            number=0, spec=Spec("b"), name="a", needs=None, troubles=[]
        ),
        lambda machine: machine.release(number=0),
    )


def test_a_significant_child_that_leaves_keeps_nobody_up_in_the_shutdown_that_it_brings() -> None:
    brief = Spec("b", "supervisor", restart="temporary", significant=True)
    tell(
        Spec("root", "supervisor", auto_shutdown="any_significant", children=(Spec("a"), brief)),
        lambda machine: machine.start_child(
            number=0, spec=Spec("c"), name="c", needs=(("b", "ready"),), troubles=[]
        ),
        lambda machine: machine.finish(number=2, how="body", troubles=[(3, "slow")]),
    )
