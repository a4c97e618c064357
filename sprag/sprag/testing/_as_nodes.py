"""Several trees in one process, as the nodes of one app, on an engine on which things go wrong."""

from __future__ import annotations

import copy
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from sprag.cluster.cluster import Cluster
from sprag.cluster.engines import _in_memory
from sprag.cluster.following import engine_as_bytes
from sprag.cluster.lease import ANSWER
from sprag.services.app import App
from sprag.services.finding import name_of_app
from sprag.testing._faulty_engine import FaultyEngine, ForgetfulEngine
from sprag_supervisor import DOWN, called, is_a
from sprag_supervisor.exceptions import AlreadyStarted, BadValue

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag_supervisor import Seconds


class AsNodes:
    """Apps that are nodes of one app.

    Attributes:
        engine: What they share. It is in order, until told otherwise: `ForgetfulEngine.revert`.
    """

    def __init__(self, ttl: Seconds) -> None:
        self.engine = ForgetfulEngine()
        self._ttl = ttl
        self._mark = secrets.token_hex(4)
        self._nodes: dict[App, tuple[FaultyEngine, type[App]]] = {}
        self._kept: list[tuple[str, str]] = []
        self._known: set[str] = set()
        """The names of apps that have begun on this engine."""

    def join(self, app: App) -> FaultyEngine:
        """Let *app*, which has not been started, be one of them when it is; return its way there.

        What it says of its `Cluster` holds, but for the URL. One that says nothing has one.

        Raises:
            BadValue: It is no `App`.
            AlreadyStarted: It has been started.
        """
        if not is_a(app, App) or app._parent_ is not None:
            raise BadValue("app", app, f"an App, the root of a tree{called(app)}")
        if app._state_ not in DOWN:
            raise AlreadyStarted(app._name_ or "", app._state_.value)
        said = app._cluster_
        url = f"memory://{self._mark}/{len(self._kept)}"
        name = f"node-{len(self._kept) + 1}"
        cluster = Cluster(url, ttl=self._ttl) if said is None else copy.copy(said)
        cluster.url, cluster.node = url, cluster.node or name
        faulty = FaultyEngine(self.engine, ANSWER * cluster.ttl)
        key = url, name_of_app(app)
        cast("Any", _in_memory)[key] = faulty  # there it is looked for by its URL
        self._kept.append(key)
        if key[1] not in self._known:
            # They know the engine: else each test would begin with a ttl in which nothing is taken.
            self._known.add(key[1])
            seal = engine_as_bytes(self.engine.identity)
            self.engine.cas(f"sprag/{key[1]}/engine", None, seal)
            self.engine.save()
        self._nodes[app] = faulty, type(app)
        _put(app, cluster)
        return faulty

    def of(self, app: App) -> FaultyEngine:
        """Return the way of *app* to the engine.

        Raises:
            BadValue: It is none of these.
        """
        found = self._nodes.get(app)
        if found is None:
            raise BadValue("app", app, "one of the apps given to as_nodes()")
        return found[0]

    def kill(self, app: App) -> None:
        """End *app* as a SIGKILL would: it stops, and nobody hears of it. Blocks for the stop."""
        self.of(app).refuse()
        app.stop()

    def end(self) -> None:
        """Share nothing any more."""
        for app, (faulty, original) in self._nodes.items():
            faulty.forget()
            app.__class__ = original
        for key in self._kept:
            _in_memory.pop(key, None)


def _put(app: App, cluster: Cluster) -> None:
    """Let *app* have that cluster, whatever it says of itself, in each start."""
    # A restart calls __init__ again, which would set its own: so it becomes one of a class on which
    # that has no effect, as in `fail_next_start`.
    original = type(app)
    namespace = {
        "__slots__": (),
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "_cluster_": property(lambda _: cluster, lambda _, __: None),
    }
    app.__class__ = cast("type[App]", type(original.__name__, (original,), namespace))


@contextmanager
def as_nodes(*apps: App, ttl: Seconds = 10.0) -> Generator[AsNodes]:
    """Let *apps*, in this process, be the nodes of one app, with a way to the engine each.

    For instance::

        first, second = App(providers={"billing": Singleton(Billing())}), …
        with virtual_time() as clock, as_nodes(first, second) as nodes, first, second:
            nodes.of(first).cut()
            clock.advance(10.0 + 1.5)
            assert second.service("billing").lease is not None

    Args:
        *apps: Not started yet; of one name. What one says of its `Cluster` holds, but for the URL.
        ttl: Seconds, for those that have no `Cluster`.

    Raises:
        BadValue: One is no `App`, or *ttl* is out of range.
        AlreadyStarted: One has been started.
    """
    nodes = AsNodes(ttl)
    try:
        for app in apps:
            nodes.join(app)
        yield nodes
    finally:
        nodes.end()
