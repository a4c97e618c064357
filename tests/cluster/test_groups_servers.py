"""Events that must not be lost, on real servers that are ended and started again and again.

SPRAG_RESTARTS=20 does it more often.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from gevent import sleep

from scripted import spawn
from servers import KINDS, Server
from sprag import App, Cluster, Service, current_event
from sprag.cluster.exceptions import EngineAway

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.long]

TTL = 10.0
"""Seconds: the loop is held while a server starts, and at 0.85 of it the process would be ended."""
RESTARTS = int(os.environ.get("SPRAG_RESTARTS", "6"))
HEARD: list[tuple[str, int]] = []


class Intake(Service):
    def on_start(self) -> None:
        self.subscribe("order:paid", self._paid, group="intake")

    def _paid(self, number: int) -> None:
        event = current_event()
        assert event is not None
        assert event.id == f"order-{number}"
        HEARD.append((event.id, number))


@pytest.fixture(params=KINDS)
def server(request: Any) -> Iterator[Server]:
    """Run a server of each kind that keeps what is published."""
    made = KINDS[request.param]()
    made.start()
    yield made
    made.close()


def publish(app: App, number: int) -> None:
    """Publish until it is kept, as who must not lose it does."""
    while True:
        try:
            app.publish("order:paid", number, event_id=f"order-{number}")
        except EngineAway:
            sleep(0.05)
        else:
            return


def test_nothing_is_lost_while_the_engine_is_killed_and_started_again(server: Server) -> None:
    HEARD.clear()
    apps = [
        App(
            name="shop",
            cluster=Cluster(server.url, ttl=TTL, node=f"n{each}", required=False),
            providers={"intake": Intake()},
        )
        for each in (1, 2)
    ]
    published = 0
    is_over = False

    def publishes() -> None:
        nonlocal published
        while not is_over:
            publish(apps[0], published)
            published += 1
            sleep(0.005)

    with apps[0], apps[1]:
        publisher = spawn(publishes)
        for each in range(RESTARTS):
            sleep(0.3)
            (server.kill if each % 2 else server.stop)()
            sleep(0.05)
            server.start()
        is_over = True
        publisher.get(timeout=30)
        for _ in range(600):
            if len({number for _id, number in HEARD}) == published:
                break
            sleep(0.1)
    numbers = [number for _id, number in HEARD]
    assert published > RESTARTS
    assert sorted(set(numbers)) == list(range(published))
    first: dict[int, int] = {}
    for place, number in enumerate(numbers):
        first.setdefault(number, place)
    assert list(first) == sorted(first)  # in order, the first time each was heard
