"""A dynamic supervisor's stop and a child that is on its way up meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
import pytest

from scripted import spawn
from sprag import DynamicSupervisor, Service, StartFailed, State
from sprag.testing import check_invariants

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


class Slow(Service):
    def on_stop(self) -> None:
        gevent.sleep(2.0)


class Late(Service):
    def on_start(self) -> None:
        gevent.sleep(1.0)


def test_a_child_that_would_be_up_before_the_others_are_down_is_called_off(
    clock: VirtualClock,
) -> None:
    top = DynamicSupervisor()
    top.start()
    top.start_child(Slow())
    late = Late()
    starting = spawn(top.start_child, late)
    clock.settle()
    top.stop()
    assert late.snapshot().state is not State.RUNNING
    with pytest.raises(StartFailed, match="its parent is stopping"):
        starting.get()


def test_children_keep_their_places_until_all_are_down(clock: VirtualClock) -> None:
    class Quick(Service):
        def on_stop(self) -> None:
            gevent.sleep(0.5)

    top = DynamicSupervisor()
    top.start()
    top.start_child(Quick())
    top.start_child(Slow())
    stopping = spawn(top.stop)
    clock.advance(1.0)
    check_invariants(top)
    assert [child.path for child in top.snapshot().children] == [
        "DynamicSupervisor/Quick",
        "DynamicSupervisor/Slow",
    ]
    stopping.join()
