"""What the tests of clusters share: virtual time with a leak check, and engines of each kind."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import servers
from places import FAKES, SLOW, Place, in_memory, on, over_a_socket
from sprag.testing import LeakCheck, VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from sprag.cluster.engine import Engine


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    """Run the test in virtual time; whatever it starts must be gone at its end."""
    with virtual_time() as clock, LeakCheck():
        yield clock


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[[str], servers.Server]]:
    """Servers of this process, each started when it is asked for first, and up whenever it is."""
    found: dict[str, servers.Server] = {}

    def server(kind: str) -> servers.Server:
        if kind not in found:
            found[kind] = servers.KINDS[kind]()
        if found[kind].popen is None:
            found[kind].start()
        return found[kind]

    yield server
    for each in found.values():
        each.close()


@pytest.fixture(params=["memory", "remote", *FAKES, *SLOW])
def place(
    request: pytest.FixtureRequest, started: Callable[[str], servers.Server]
) -> Iterator[Place]:
    """Each kind of engine in turn."""
    if request.param == "memory":
        found = in_memory()
    elif request.param == "remote":
        found = over_a_socket()
    elif request.param in FAKES:
        found = _on_a_fake(request.param)
    else:
        found = on(started(request.param), request.param)
    with found as place:
        yield place


@contextmanager
def _on_a_fake(kind: str) -> Generator[Place]:
    with FAKES[kind]() as server, on(server, kind) as place:
        yield place


@pytest.fixture(params=SLOW)
def server(
    request: pytest.FixtureRequest, started: Callable[[str], servers.Server]
) -> servers.Server:
    """Each kind of server in turn."""
    return started(request.param)


@pytest.fixture
def engine(place: Place) -> Engine:
    """An engine of each kind."""
    return place.open()
