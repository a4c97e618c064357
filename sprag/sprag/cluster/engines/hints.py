"""Who is to be woken when something has changed in an engine: one greenlet listens for all.

It has a connection of its own, and lives only while somebody wishes to be woken. While it could
not listen, anything may have changed: then all are woken as soon as it can again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from gevent import Timeout, sleep, spawn

from sprag.cluster.engines.lines import NONSENSE

if TYPE_CHECKING:
    from collections.abc import Callable

    from gevent import Greenlet

PAUSE: Final = 0.25
"""Seconds after which it tries again to listen."""


class Listen(Protocol):
    """Listens until the connection is broken, which it may say with an error."""

    def __call__(self, begun: Callable[[], object], heard: Callable[[str], object]) -> object:
        """Call *begun* once it listens, and *heard* with each key that may have changed."""
        ...


class ServerHint:
    """A wish to be woken."""

    def __init__(self, hints: Hints, prefix: str, wake: Callable[[], object]) -> None:
        self._hints = hints
        self.prefix = prefix
        self.wake = wake

    def cancel(self) -> None:
        """Be woken no more. Harmless a second time."""
        self._hints.remove(self)


class Hints:
    """Those who wish to be woken.

    Args:
        listen: Listens, see `Listen`.
        errors: What it may raise where the engine is away.
    """

    def __init__(self, listen: Listen, errors: tuple[type[Exception], ...]) -> None:
        self._listen = listen
        self._errors = errors
        self._all: dict[ServerHint, None] = {}
        self._listens: Greenlet[..., Any] | None = None
        self._hears = False  # Invariant: it listens, and no more tries to

    def add(self, prefix: str, wake: Callable[[], object]) -> ServerHint:
        """Call *wake* when what begins with *prefix* may have changed."""
        hint = ServerHint(self, prefix, wake)
        self._all[hint] = None
        if self._listens is None or self._listens.dead:
            self._begin()
        return hint

    def remove(self, hint: ServerHint) -> None:
        """Wake it no more."""
        if self._all.pop(hint, None) is not None and not self._all:
            self._end()

    def renew(self) -> None:
        """Listen on a new connection: the engine was away, and the old one may be deaf."""
        if self._hears:
            self._end()
            self._begin()

    def close(self) -> None:
        """Wake nobody any more."""
        self._all.clear()
        self._end()

    def _begin(self) -> None:
        self._listens = spawn(self._run)

    def _end(self) -> None:
        self._hears = False
        if self._listens is not None:
            self._listens.kill(block=False)
            self._listens = None

    def _run(self) -> None:
        while True:
            with suppress(Timeout, *self._errors, *NONSENSE):
                self._listen(self._begun, self._heard)
            self._hears = False
            sleep(PAUSE)

    def _begun(self) -> None:
        self._hears = True
        for hint in tuple(self._all):
            hint.wake()

    def _heard(self, key: str) -> None:
        for hint in tuple(self._all):
            if key.startswith(hint.prefix):
                hint.wake()
