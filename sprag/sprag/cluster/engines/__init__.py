"""Engines that people already run, each a module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from sprag.cluster.memory import MemoryEngine
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from sprag.cluster.engine import Engine

TIMEOUT: Final = 5.0
"""Seconds within which a verb has its answer, or fails."""

_in_memory: WeakValueDictionary[tuple[str, str], MemoryEngine] = WeakValueDictionary()


def open_engine(url: str, *, app: str, timeout: float = TIMEOUT) -> Engine:  # noqa: ARG001
    """Return the engine at *url*. Does not block: nothing is asked yet.

    Args:
        url: ``memory://``: one that all who open the same URL for the same app in this process
            share, for as long as one of them holds it.
        app: The name that those who share it have in common.
        timeout: Seconds within which a verb has its answer, or raises `EngineAway`.

    Raises:
        BadValue: Nobody knows such a URL.
    """
    if urlsplit(url).scheme == "memory":
        found = _in_memory.get((url, app))
        if found is None:
            found = _in_memory[url, app] = MemoryEngine()
        return found
    raise BadValue("the engine's URL", url, "one that begins with memory://")
