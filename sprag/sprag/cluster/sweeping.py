"""Removes from the engine what nobody has come for: answers, and requests, of who has ended.

Each node that asks or answers looks again a minute later, and as long as there is something.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sprag.cluster import boottime
from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag_supervisor import Call, clock, get_ident

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sprag.cluster.engine import Engine
    from sprag_supervisor import Tree

KEPT: Final = 60.0
"""Seconds for which an answer is kept."""


class Sweeping:
    """Removes what lies below a prefix, a minute after it was seen first.

    Args:
        tree: Whose timers are used.
        engine: Where it lies.
        prefix: Of its keys.
    """

    def __init__(self, tree: Tree, engine: Engine, prefix: str) -> None:
        self.engine = engine
        self._tree = tree
        self._prefix = prefix
        self._seen: dict[str, float] = {}
        self._timer: clock.Timer | None = None

    def note(self, keys: Iterable[str]) -> None:
        """Take note of what was just written; look again in time."""
        now = boottime.now()
        for key in keys:
            self._seen.setdefault(key, now)
        if self._timer is None:
            self._timer = clock.call_later(KEPT, self._look_soon, ref=False)

    def stop(self) -> None:
        """Look no more. Harmless a second time."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _look_soon(self) -> None:
        if self._tree.thread == get_ident():
            self._tree.pool.run_soon(Call(self._look))

    def _look(self) -> None:
        found = None
        with suppress(EngineAway, EngineFull):
            found = self.engine.scan(self._prefix).value
            now = boottime.now()
            for key, value in found.items():
                if now - self._seen.setdefault(key, now) >= KEPT - 1.0:
                    self.engine.cas(key, value, None)
                    del self._seen[key]
        if self._timer is None:
            return  # it was stopped meanwhile
        self.stop()
        if found is not None:
            self._seen = {key: at for key, at in self._seen.items() if key in found}
        if self._seen:
            self.note(())
