"""The testing kit with what is half-way down, and with what a test has left running."""

from __future__ import annotations

import gevent
import pytest

from sprag import Service, Supervisor
from sprag.testing import VirtualClock, check_invariants, virtual_time
from sprag_supervisor.loop import pools as _pools
from sprag_supervisor.tree import home as _belonging


def test_a_listener_that_still_runs_while_its_service_stops_breaks_no_rule(
    clock: VirtualClock,
) -> None:
    class Slow(Service):
        def on_start(self) -> None:
            self.listen("order", lambda seconds: gevent.sleep(seconds))

    with Supervisor(children=[slow := Slow()]) as top:
        gevent.spawn(top.emit, "order", 2.0)
        clock.settle()
        gevent.spawn(slow.stop)
        clock.advance(1.0)
        check_invariants(top)
        clock.advance(1.5)
        check_invariants(top)


def test_a_tree_that_a_block_has_left_running_is_forgotten_with_it() -> None:
    def fail_before_the_stop() -> None:
        with virtual_time() as clock:
            Supervisor(children=[Service()]).start()
            clock.settle()
            raise ZeroDivisionError

    living, pools = set(_belonging.living), dict(_pools._pools)
    with pytest.raises(ZeroDivisionError):
        fail_before_the_stop()
    # Else the end of the program would try to stop it, in a loop that is gone.
    assert _belonging.living == living
    assert _pools._pools == pools


def test_of_a_timeout_and_a_sleep_of_the_same_length_the_first_started_wins(
    clock: VirtualClock,
) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(5):
        gevent.sleep(5)
