"""Where the tests of clusters open engines: in memory, over a socket, and on real servers."""

from __future__ import annotations

import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import gevent
import pytest

from fake_etcd import FakeEtcd
from fake_postgres import FakePostgres
from fake_redis import FakeRedis
from sprag.cluster.engines import open_engine
from sprag.cluster.exceptions import EngineAway
from sprag.cluster.memory import MemoryEngine
from sprag.cluster.remote import RemoteEngine
from sprag.cluster.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from fake_server import FakeServer
    from sprag.cluster.engine import Engine

SERVERS: Final = ("postgres", "redis", "etcd")
FAKES: Final[Mapping[str, Callable[[], FakeServer]]] = {
    "fake postgres": FakePostgres,
    "fake redis": FakeRedis,
    "fake etcd": FakeEtcd,
}
SLOW: Final = [pytest.param(each, marks=pytest.mark.slow) for each in SERVERS]


class Server(Protocol):
    """What an engine is opened with."""

    @property
    def url(self) -> str: ...


class Line:
    """The way of one node to an engine, which can be cut."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.is_cut = False

    def __getattr__(self, verb: str) -> Any:
        found = getattr(self._engine, verb)
        if verb not in {"get", "scan", "cas", "publish", "read"}:
            return found

        def ask(*args: Any) -> Any:
            if self.is_cut:
                raise EngineAway("nowhere", "the line is cut")
            return found(*args)

        return ask


@dataclass
class Place:
    """Where engines are opened that share what they keep.

    Attributes:
        kind: What it is.
        open: Opens one more.
        server: What keeps it; None: it is in this process.
        prefix: What keys of this test begin with.
    """

    kind: str
    open: Callable[[], Engine]
    server: Server | None = None
    app: str = field(default_factory=lambda: f"shop-{uuid.uuid4().hex[:8]}")

    @property
    def prefix(self) -> str:
        return f"sprag/{self.app}/"


@contextmanager
def in_memory() -> Generator[Place]:
    engine = MemoryEngine()
    yield Place("memory", lambda: engine)


@contextmanager
def over_a_socket() -> Generator[Place]:
    served = Serving()
    served.open()
    with ExitStack() as stack:
        stack.callback(gevent.sleep, 0)
        stack.callback(served.close)

        def opened() -> Engine:
            life = uuid.uuid4().hex
            served.admit(life, "worker")
            engine = RemoteEngine(str(served.path), life)
            engine.open()
            stack.callback(engine.close)
            return engine

        yield Place("remote", opened)


@contextmanager
def on(server: Server, kind: str, timeout: float = 10.0) -> Generator[Place]:
    with ExitStack() as stack:

        def opened() -> Engine:
            engine = open_engine(server.url, app=place.app, timeout=timeout)
            stack.callback(engine.close)
            return engine

        place = Place(kind, opened, server)
        yield place
    gevent.sleep(0)
