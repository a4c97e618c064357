"""Engines that people already run, each a module: PostgreSQL, Redis, etcd.

Each loads its client library when it is opened, and opens connections when it is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from sprag.cluster.exceptions import MissingClient
from sprag.cluster.memory import MemoryEngine
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from sprag.cluster.engine import Engine

TIMEOUT: Final = 5.0
"""Seconds within which a verb has its answer, or fails."""
SCHEMES: Final = (
    "postgres",
    "postgresql",
    "redis",
    "rediss",
    "valkey",
    "valkeys",
    "etcd",
    "etcds",
    "memory",
)

_in_memory: WeakValueDictionary[tuple[str, str], MemoryEngine] = WeakValueDictionary()


def open_engine(url: str, *, app: str, timeout: float = TIMEOUT) -> Engine:
    """Return the engine at *url*. Does not block: nothing is asked yet.

    Args:
        url: ``postgres://host/database``, ``redis://host:6379/0``, ``etcd://host:2379``; or
            ``memory://``: one that all who open the same URL for the same app in this process
            share, for as long as one of them holds it.
        app: The name that those who share it have in common.
        timeout: Seconds within which a verb has its answer, or raises `EngineAway`.

    Raises:
        BadValue: Nobody knows such a URL.
        MissingClient: What it needs is not installed.
    """
    scheme = url.partition(":")[0]
    if scheme not in SCHEMES or "://" not in url:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        raise BadValue("the engine's URL", url.partition("://")[0], f"one that begins with {known}")
    try:
        return _opened(scheme, url, app, timeout)
    except ImportError as error:
        raise MissingClient(f"{scheme}://", error.name or "its client") from None


def _opened(scheme: str, url: str, app: str, timeout: float) -> Engine:
    if scheme == "memory":
        found = _in_memory.get((url, app))
        if found is None:
            found = _in_memory[url, app] = MemoryEngine()
        return found
    if scheme in {"postgres", "postgresql"}:
        from sprag.cluster.engines.postgres import PostgresEngine

        return PostgresEngine(url, app=app, timeout=timeout)
    if scheme in {"etcd", "etcds"}:
        from sprag.cluster.engines.etcd import EtcdEngine

        return EtcdEngine(url, app=app, timeout=timeout)
    from sprag.cluster.engines.redis import RedisEngine

    return RedisEngine(url, app=app, timeout=timeout)
