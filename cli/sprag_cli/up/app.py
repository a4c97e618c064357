"""The app of a file: it reads the file again when it is asked to reload."""

from __future__ import annotations

from typing import Any, Protocol, cast

import gevent

import sprag
from sprag.services.reloading import Reread


class Rereads(Protocol):
    """Where an app comes from, and how it becomes what that says now."""

    def planned(self) -> Reread:
        """Say what would change; changes nothing."""
        ...

    def reread(self) -> Reread:
        """Let the tree become what the file says; blocks. If that is wrong nothing changes."""
        ...


class App(sprag.App):
    """The root of what a file declares.

    Args:
        source: The file; None: it is not read again.
        **given: As for `sprag.App`.
    """

    def __init__(self, *, source: Rereads | None = None, **given: Any) -> None:
        super().__init__(**given)
        self._source_ = source

    def on_reload(self) -> Any:
        """Read the file again, and carry out what has changed.

        What has begun comes to its end, also when the time of the reload is over before.
        """
        if self._source_ is None:
            return None
        reading = cast("Any", gevent.spawn(self._source_.reread))
        return reading.get()

    def _plan_of_reload_(self) -> Reread:
        return Reread() if self._source_ is None else self._source_.planned()
