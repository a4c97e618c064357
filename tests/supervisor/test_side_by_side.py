"""Several children that come to a parent that runs: side by side, and whoever fails is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent

from scripted import crash, spawn, states
from sprag import Service, Supervisor
from sprag_supervisor import adopt_all

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


class Slow(Service):
    """Takes three seconds to start, and may fail then."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    def on_start(self) -> None:
        gevent.sleep(3)
        if self.fails:
            raise OSError("no room")


def come(top: Supervisor, *children: Any) -> list[str]:
    """Let *children* come, each a name and a service; return the names of those left out."""
    left_out: list[str] = []
    names = {id(child): name for name, child in children}
    adopt_all(
        top,
        [(child, name, {"needs": ()}) for name, child in children],
        by_needs=True,
        leave_out=lambda child, _error: left_out.append(names[id(child)]),
    )
    return left_out


def test_they_start_at_the_same_time_and_who_fails_is_left_out(clock: VirtualClock) -> None:
    with Supervisor([Service()], name="top") as top:
        began = clock.now
        bad = Slow(fails=True)
        assert come(top, ("a", Slow()), ("b", bad), ("c", Slow())) == ["b"]
        assert clock.now - began == 3
        assert states(top) == {"Service": "running", "a": "running", "c": "running"}
        assert bad._parent_ is None


def test_whose_place_is_taken_is_left_out_too(clock: VirtualClock) -> None:
    with Supervisor([(Service(), {"name": "a"})], name="top") as top:
        assert come(top, ("a", Slow()), ("b", Slow())) == ["a"]
        assert states(top) == {"a": "running", "b": "running"}


def test_whom_others_adopt_meanwhile_is_started_by_them(clock: VirtualClock) -> None:
    with Supervisor(name="top") as top:
        coming = spawn(lambda: come(top, ("a", Slow()), ("b", Slow())))
        adopting = spawn(lambda: top.start_child(Slow(), name="other"))
        clock.advance(3)
        assert coming.get(block=False) == []
        clock.advance(3)
        assert adopting.get(block=False)._state_.value == "running"
        assert set(states(top).values()) == {"running"}


def test_their_parent_may_stop_in_the_midst_of_it(clock: VirtualClock) -> None:
    with Supervisor(name="top") as top:
        coming = spawn(lambda: come(top, ("a", Slow()), ("b", Slow())))
        clock.advance(1)
        top.stop()
        clock.advance(5)
        assert coming.ready()
        assert states(top) == {}


def test_their_parent_may_restart_in_the_midst_of_it(clock: VirtualClock) -> None:
    inner = Supervisor([(Service(), {"name": "first"})], name="inner", max_restarts=0)
    with Supervisor([inner], name="top") as top:
        coming = spawn(lambda: come(inner, ("a", Slow()), ("b", Slow())))
        clock.advance(1)
        crash(inner.service("top/inner/first"))
        clock.advance(10)
        assert coming.ready()
        assert states(top) == {"inner": "running"}
        assert set(states(inner).values()) == {"running"}
