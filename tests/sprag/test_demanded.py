"""What the contract of services demands in figures, as a team would meet it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from gevent import sleep

from sprag import App, Backoff, Service, State, Supervisor, Worker, WorkerPool
from sprag.exceptions import PoisonItem

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


class Database:
    """What services connect to; away until somebody brings it up."""

    is_up = False


class Connected(Service, retry_start=True, backoff=Backoff(1.0)):
    """Needs the database to start, and to go on."""

    def on_start(self) -> None:
        if not Database.is_up:
            raise ConnectionError("no database")


class Client(Service):
    """Works with what is connected."""


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one"])
def test_with_a_dead_database_the_app_comes_up_says_so_and_is_well_at_the_next_try(
    clock: VirtualClock, strategy: str
) -> None:
    Database.is_up = False
    app = App(
        name="shop",
        strategy=strategy,
        providers={"db": Connected(), "client": (Client(), {"needs": ("db",)})},
    )
    with app:
        clock.advance(2)
        db, client = app.snapshot().children
        assert db.state is State.RESTARTING
        assert "no database" in str(db.last_failure)
        assert db.next_try is not None
        assert client.waits_for == ("db",)
        assert set(app.not_ready()) == {"shop/db", "shop/client"}
        Database.is_up = True
        clock.advance(db.next_try + 0.01)
        assert app.not_ready() == {}
        assert app.snapshot().restarts == 0


def test_a_need_that_is_down_for_a_minute_costs_its_dependents_no_restart(
    clock: VirtualClock,
) -> None:
    Database.is_up = True
    app = App(name="shop", providers={"db": Connected(), "client": (Client(), {"needs": ("db",)})})
    with app:
        client = app.service("client")
        Database.is_up = False
        app.service("db").spawn(_fail)
        clock.advance(60)
        assert app.service("db").snapshot().state is State.RESTARTING
        assert client.snapshot().restarts == 0
        Database.is_up = True
        clock.advance(61)
        assert app.not_ready() == {}
        assert (client.snapshot().restarts, client.snapshot().incarnation) == (0, 1)


def _fail() -> None:
    raise ConnectionError("gone")


class Takes(Service):
    """Takes a tenth of a second to start, and to stop."""

    def on_start(self) -> None:
        sleep(0.1)

    def on_stop(self) -> None:
        sleep(0.1)


def test_a_graph_of_forty_services_comes_up_and_goes_down_layer_by_layer(
    clock: VirtualClock,
) -> None:
    layers = [[f"s{depth}-{n}" for n in range(10)] for depth in range(4)]
    needs = {name: tuple(above) for above, below in pairwise(layers) for name in below}
    children: list[Any] = [
        (Takes(), {"name": name, "needs": needs.get(name, ())})
        for layer in layers
        for name in layer
    ]
    top = Supervisor(children, name="top")
    began = clock.now
    top.start()
    assert clock.now - began < 0.6
    assert len(top.which_children()) == 40
    began = clock.now
    report = top.stop()
    assert clock.now - began < 0.6
    assert report.clean == 41


class Handles(Worker):
    """Handles items; crashes at every hundredth, which is told by its number."""

    handled: Counter[int]
    order: dict[int, list[int]]

    def handle(self, item: int) -> int:
        sleep(0.001)
        if item % 100 == 0:
            raise ValueError(item)
        Handles.handled[item] += 1
        Handles.order.setdefault(item % 7, []).append(item)
        return item


def test_each_item_of_a_pool_ends_once_and_in_the_order_of_its_key(clock: VirtualClock) -> None:
    items = 5_000  # with 100,000 it takes a minute: by hand
    Handles.handled, Handles.order = Counter(), {}
    pool = WorkerPool(Handles, size=8, queue=100)
    with Supervisor([pool], name="top") as top:
        tasks = [pool.submit(item, key=item % 7) for item in range(items)]
        ends = Counter(_end_of(task) for task in tasks)
        clock.settle()
        load = top.snapshot().children[0].items
    assert ends == {"done": items - items // 100, "poison": items // 100}
    assert load is not None
    assert (load.done, load.poison, load.dropped) == (ends["done"], ends["poison"], 0)
    assert set(Handles.handled.values()) == {1}
    assert all(found == sorted(found) for found in Handles.order.values())


def _end_of(task: Any) -> str:
    try:
        task.get()
    except PoisonItem:
        return "poison"
    return "done"


class Hog(Service):
    """Never says goodbye to the end."""

    def on_stop(self) -> None:
        sleep(10_000)


class Quick(Service, shutdown=0.5):
    """Takes nearly all the time that it has."""

    def on_stop(self) -> None:
        sleep(0.45)


@pytest.mark.parametrize("place", [0, 5, 9])
def test_a_hog_among_ten_takes_nobodys_time(clock: VirtualClock, place: int) -> None:
    del clock
    children: list[Service] = [Quick() for _ in range(9)]
    children.insert(place, Hog())
    top = Supervisor(children, name="top")
    top.start()
    report = top.stop(10.0)
    assert report.seconds <= 10.2
    assert report.killed == 1
    assert report.clean == 10
    assert [entry.path for entry in report.entries] == ["top/Hog"]
