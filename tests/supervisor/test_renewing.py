"""A service that has its place is declared anew; a parent's children change places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
import pytest

from sprag import Service, Supervisor
from sprag.exceptions import BadPolicy, WouldDeadlock
from sprag_supervisor import order_children, renew

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


class Feed(Service):
    def __init__(self, size: int = 1) -> None:
        self.size = size


def test_its_next_life_begins_with_what_it_was_declared_to_be(clock: VirtualClock) -> None:
    with Supervisor([(feed := Feed(1), {"shutdown": 7.0})]) as sup:
        renew(feed, Feed(2), {"shutdown": 8.0})
        assert (feed.size, feed._incarnation_, feed._policy_.shutdown) == (1, 1, 8.0)
        feed.spawn(lambda: 1 / 0)
        clock.settle()
        assert (feed.size, feed._incarnation_, feed._policy_.shutdown) == (2, 2, 8.0)
        renew(feed, Feed(size=3), {})
        assert feed._policy_.shutdown == 5.0
        assert sup.get_childspec("Feed").kwargs == {"size": 3}


@pytest.mark.usefixtures("clock")
def test_a_policy_that_is_none_changes_nothing() -> None:
    with Supervisor([feed := Feed(1)]):
        with pytest.raises(BadPolicy):
            renew(feed, Feed(2), {"shutdown": -1})
        assert (feed._arguments_, feed._policy_.shutdown) == ((1,), 5.0)


def test_children_change_places_and_others_come_behind_them(clock: VirtualClock) -> None:
    feeds = {name: Feed() for name in "abcd"}
    children = [(feed, {"name": name}) for name, feed in feeds.items()]
    with Supervisor(children, strategy="rest_for_one") as sup:
        order_children(sup, ["c", "x", "a"])
        assert [each.name for each in sup.which_children()] == ["c", "a", "b", "d"]
        feeds["a"].spawn(lambda: 1 / 0)
        clock.settle()
        assert {name: feeds[name]._incarnation_ for name in "cabd"} == {
            "c": 1,
            "a": 2,
            "b": 2,
            "d": 2,
        }


def test_whoever_changes_the_children_at_that_moment_is_waited_for(clock: VirtualClock) -> None:
    class Slow(Service):
        def on_start(self) -> None:
            gevent.sleep(5)

    with Supervisor([(Feed(), {"name": "a"}), (Feed(), {"name": "b"})]) as sup:
        gevent.spawn(sup.start_child, Slow(), name="c")
        clock.settle()
        done: list[float] = []

        def order() -> None:
            order_children(sup, ["c", "b", "a"])
            done.append(clock.now)

        gevent.spawn(order)
        clock.advance(6.0)
        assert done == [5.0]
        assert [each.name for each in sup.which_children()] == ["c", "b", "a"]


@pytest.mark.usefixtures("clock")
def test_what_was_never_started_begins_its_first_life_so() -> None:
    with Supervisor([(feed := Feed(1), {"autostart": False})]) as sup:
        renew(feed, Feed(2), {"autostart": False})
        sup.restart_child("Feed")
        assert (feed.size, feed._incarnation_) == (2, 1)


@pytest.mark.usefixtures("clock")
def test_who_is_being_started_may_not_order_those_beside_it() -> None:
    class Pushy(Service):
        def on_start(self) -> None:
            assert self._parent_ is not None
            with pytest.raises(WouldDeadlock):
                order_children(self._parent_, ["Pushy"])
            told.append("refused")

    told: list[str] = []
    with Supervisor([Feed(), Pushy()]) as sup:
        assert told == ["refused"]
        assert [each.name for each in sup.which_children()] == ["Feed", "Pushy"]
