"""A picture of many: what is known beforehand of most is what is found of one alone."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import TYPE_CHECKING

import gevent
import pytest

from sprag import Backoff, DynamicSupervisor, Service, Supervisor, Worker, WorkerPool
from sprag_supervisor import picture, snapshot, walk

if TYPE_CHECKING:
    from sprag import Snapshot
    from sprag.testing import VirtualClock


class Plain(Service):
    """Holds nothing."""


class Hears(Service):
    """Holds a listener."""

    def on_start(self) -> None:
        self.listen("heard", print)


class Busy(Service):
    """Holds more, and says so."""

    def on_start(self) -> None:
        self.listen("heard", print)
        self.interval(print, 100)
        self.set_status("at work")
        self.set_ready(False, "not yet")


class Finishes(Service, restart="transient"):
    """Is over at once."""

    def run(self) -> None:
        pass


class Fails(Service, backoff=Backoff(100.0, maximum=100.0)):
    """Waits for its restart."""

    def on_start(self) -> None:
        self.timeout(self.fail, 1)

    def fail(self) -> None:
        raise ValueError("x")


class Recovers(Service):
    """Crashes once."""

    lives = 0

    def on_start(self) -> None:
        type(self).lives += 1
        if self.lives == 1:
            self.timeout(self.fail, 1)

    def fail(self) -> None:
        raise ValueError("x")


class Elsewhere(Service):
    """Is in a process of its own, one might think."""

    def _pid_(self) -> int | None:
        return 7


class Drains(Service):
    """Takes its time to end."""

    def on_drain(self) -> None:
        gevent.sleep(1)


class Packer(Worker):
    """Does what a pool is given."""

    def handle(self, item: object) -> object:
        return item


def rows(top: Snapshot) -> dict[str, Snapshot]:
    return {top.path: top._replace(children=())} | {
        path: row for child in top.children for path, row in rows(child).items()
    }


def same(top: Supervisor) -> None:
    """Compare each service in a picture of all with a picture of it alone."""
    assert rows(snapshot(top)) == {path: picture(node) for _, path, node in walk(top)}


def test_each_in_a_picture_of_many_is_as_in_one_of_it_alone(clock: VirtualClock) -> None:
    Recovers.lives = 0
    kinds: tuple[type[Service], ...] = (Plain, Plain, Hears, Busy, Finishes, Fails, Recovers)
    kinds = (*kinds, Elsewhere, Drains, Supervisor, DynamicSupervisor)
    with Supervisor([*(kind() for kind in kinds), WorkerPool(Packer, size=2)]) as top:
        top.adopt(Plain(), autostart=False, name="off")
        pool = top.start_child(DynamicSupervisor(), name="many")
        many = [pool.start_child(Plain()) for _ in range(3)]
        same(top)
        clock.advance(2)
        same(top)
        states = {row.state.value for row in rows(snapshot(top)).values()}
        assert states == {"running", "finished", "restarting", "stopped"}

        many[1].stop()
        top.service("Plain").hold_exits()
        same(top)
        assert rows(snapshot(top))["Supervisor/Plain"].held is not None

        gevent.spawn(top.service("Drains").stop)
        gevent.sleep(0.5)
        same(top)
        assert rows(snapshot(top))["Supervisor/Drains"].draining


@pytest.mark.usefixtures("clock")
def test_classes_are_told_apart_whatever_they_are_equal_to() -> None:
    class Unhashable(type):  # noqa: PLW1641 - that is it
        def __eq__(cls, other: object) -> bool:
            return cls is other

    class AllTheSame(type):
        def __eq__(cls, other: object) -> bool:
            return type(other) is AllTheSame

        def __hash__(cls) -> int:
            return 1

    class Odd(Service, metaclass=Unhashable):
        pass

    class One(Service, metaclass=AllTheSame):
        pass

    class Two(Service, metaclass=AllTheSame):
        pass

    with Supervisor([Odd(), One(), Two()]) as top:
        assert [row.class_name for row in snapshot(top).children] == ["Odd", "One", "Two"]
        same(top)


def test_a_picture_with_pauses_tells_the_time_of_each(clock: VirtualClock) -> None:
    with Supervisor([Plain() for _ in range(60)]) as top:
        began = clock.now
        seen = snapshot(top, lambda: gevent.sleep(1)).children

    assert [row.uptime for row in seen] == [0.0] * 50 + [1.0] * 10
    assert {row.started_at for row in seen} == {seen[0].started_at}
    assert clock.now >= began + 1


@pytest.mark.usefixtures("clock")
def test_a_picture_of_many_gives_the_garbage_collector_nothing_to_look_at() -> None:
    """A hundred thousand objects for it have it look at all there is, which holds the loop."""
    with DynamicSupervisor() as top:
        for _ in range(200):
            top.start_child(Plain())
            top.start_child(Hears())
        gc.collect()
        before = len(gc.get_objects())
        seen = top.snapshot(lambda: None)
        assert len(seen.children) == 400
        assert len(gc.get_objects()) - before < 20


@pytest.mark.usefixtures("clock")
def test_the_children_in_a_picture_are_as_a_tuple_of_them() -> None:
    with Supervisor([Plain(), Hears(), Supervisor([Plain()]), Busy()], name="top") as top:
        children = top.snapshot().children
        listed = tuple(children)
        assert len(children) == len(listed) == 4
        assert [each.path for each in listed] == [f"top/{each.name}" for each in children]
        assert (children[0], children[-1]) == (listed[0], listed[3])
        assert children[1:3] == listed[1:3]
        assert children[::-2] == listed[::-2]
        assert children == listed
        assert listed == children
        assert children == top.snapshot()._replace(children=children).children
        others: list[object] = [listed[1:], top.snapshot().children[1:], list(listed), None]
        assert all(children != each for each in others)
        assert listed[2] in children
        assert repr(children) == repr(listed)
        with pytest.raises(IndexError):
            children[len(listed)]
        assert not top.service("Plain").snapshot().children


@pytest.mark.usefixtures("clock")
def test_a_picture_can_be_copied_and_pickled_whatever_its_services_are() -> None:
    class Local(Service):
        pass

    with Supervisor([Local(), Plain(), Busy()]) as top:
        seen = top.snapshot()
        assert pickle.loads(pickle.dumps(seen)) == seen
        assert copy.deepcopy(seen) == seen
