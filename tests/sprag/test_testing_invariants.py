"""check_invariants: content with every tree that is in order, and it names what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
import pytest

from scripted import Journal, Scripted, crash, spawn
from sprag import Backoff, Service, State, Supervisor
from sprag.testing import check_invariants
from sprag_supervisor.tree.holdings import Holdings
from sprag_supervisor.tree.inbox import supervision_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock


class Feed(Service):
    def on_start(self) -> None:
        self.listen("order", print)
        self.interval(print, 60)
        self.spawn(gevent.sleep, 3600)


def test_content_with_a_tree_at_every_moment_of_its_life(clock: VirtualClock) -> None:
    slow = Scripted("slow", Journal(), start_takes=2, stop_takes=2, backoff=Backoff(initial=2))
    top = Supervisor(children=[Feed(), slow], strategy="one_for_all")
    check_invariants(top)
    spawn(top.start)
    for _ in range(6):
        clock.advance(0.5)
        check_invariants(top)
    crash(slow)
    for _ in range(12):
        clock.advance(0.5)
        check_invariants(top)
    spawn(top.stop)
    for _ in range(6):
        clock.advance(0.5)
        check_invariants(top)


def lose_parent(top: Supervisor, feed: Feed) -> None:
    feed._parent_ = None


def lose_operation(top: Supervisor, feed: Feed) -> None:
    feed._state_ = State.STOPPING


def stop_behind_its_back(top: Supervisor, feed: Feed) -> None:
    feed._state_ = State.STOPPED


def be_forgotten(top: Supervisor, feed: Feed) -> None:
    feed._state_ = State.RESTARTING
    feed._holdings_ = None


def hold_the_turn(top: Supervisor, feed: Feed) -> None:
    assert supervision_of(top).turn.take()


def leave_the_post(top: Supervisor, feed: Feed) -> None:
    supervision_of(top).inbox.append((feed, 1, None, None, False))


def hold_the_dead(top: Supervisor, feed: Feed) -> None:
    dead = spawn(int)
    dead.join()
    assert isinstance(feed._holdings_, Holdings)
    feed._holdings_.add_greenlet(dead)


def restart_too_often(top: Supervisor, feed: Feed) -> None:
    feed._restarts_ = 5


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lose_parent, "Supervisor: its child 'Feed' has another parent"),
        (lose_operation, "Supervisor/Feed: stopping, but in progress is NoneType"),
        (stop_behind_its_back, "Supervisor/Feed: stopped, but still holds things"),
        (be_forgotten, "Supervisor: Feed waits for a restart that nobody will make"),
        (be_forgotten, "Supervisor/Feed: listens to 'order', but is down or has left the tree"),
        (hold_the_turn, "Supervisor: its turn is held, but nothing of its children is in progress"),
        (leave_the_post, "Supervisor: nobody works through its inbox"),
        (hold_the_dead, "Supervisor/Feed: holds a greenlet that has ended"),
        (restart_too_often, "Supervisor/Feed: restarted 5 times in 1 incarnations"),
    ],
)
def test_names_the_path_and_the_broken_rule(
    clock: VirtualClock, damage: Callable[[Supervisor, Feed], None], complaint: str
) -> None:
    feed = Feed()
    with Supervisor(children=[feed]) as top:
        before = feed._parent_, feed._state_, feed._holdings_, feed._restarts_
        damage(top, feed)
        with pytest.raises(AssertionError) as failure:
            check_invariants(top)
        assert complaint in str(failure.value).splitlines()
        feed._parent_, feed._state_, feed._holdings_, feed._restarts_ = before
        supervision_of(top).inbox.clear()
        supervision_of(top).turn.holder = None
