"""What one stream of events comes to, so that a tab which opens later needs none of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DROPPED: Final = ("policy", "children", "name", "waits_for", "items", "stragglers", "draining")
"""What the page asks for when somebody looks at one service."""
_ABOUT: Final = ("begin", "live", "gone", "end")
_LONGEST: Final = 400
"""Characters of a message: a list shows one line; the whole is told where one service is."""


def slim(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a picture of a service without what is nothing, or not shown in a list."""
    policy: Mapping[str, Any] = told.get("policy") or {}
    kept = {
        key: each for key, each in told.items() if key not in _DROPPED and each not in (None, "", 0)
    }
    owned: Mapping[str, Any] = told.get("owned") or {}
    kept["owned"] = {key: each for key, each in owned.items() if each}
    failure: dict[str, Any] | None = told.get("last_failure")
    if failure:
        kept["last_failure"] = {**failure, "message": str(failure.get("message"))[:_LONGEST]}
    if told.get("kind") == "supervisor":
        for key in ("strategy", "max_restarts", "max_seconds"):
            kept[key] = policy.get(key)
    return kept


class Memory:
    """The last picture of each service, and what has changed since; forgets who leaves."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._pictures: dict[str, bytes] = {}
        self._changes: dict[str, dict[str, bytes]] = {}
        """By the path, of each kind of change the last one, in the order in which they came."""
        self._children: dict[str, set[str]] = {}
        self._about: dict[str, bytes] = {}

    def take(self, told: Mapping[str, Any]) -> bytes:
        """Remember what is told, and return the line that says it."""
        event = str(told.get("event"))
        path = str(told.get("path") or "")
        if event == "snapshot":
            line = encoded({**slim(told), "event": event})
            self._changes.pop(path, None)
            self._pictures[path] = line
            self._children.setdefault(path.rpartition("/")[0], set()).add(path)
            return line
        if event == "begin":
            self._clear()  # of a new life of the app nothing is known
        message = told.get("message")
        line = encoded({**told, "message": message[:_LONGEST]} if type(message) is str else told)
        if event in _ABOUT:
            self._about.pop("gone", None)
            self._about[event] = line
        elif event == "left":
            self._forget(path)
        elif event not in ("pulse", "ruling"):
            before = self._changes.setdefault(path, {})
            before.pop(event, None)
            before[event] = line
            self._children.setdefault(path.rpartition("/")[0], set()).add(path)
        return line

    def _forget(self, path: str) -> None:
        self._children.get(path.rpartition("/")[0], set()).discard(path)
        below = [path]
        while below:
            each = below.pop()
            self._pictures.pop(each, None)
            self._changes.pop(each, None)
            below.extend(self._children.pop(each, ()))

    def lines(self) -> Iterator[bytes]:
        """Yield what a new tab has to be told: all as it was, then what has changed."""
        about = dict(self._about)
        if "begin" in about:
            yield about.pop("begin")
        yield from self._pictures.values()
        if "live" in about:
            yield about.pop("live")
        for changes in self._changes.values():
            yield from changes.values()
        yield from about.values()


def encoded(told: Mapping[str, Any]) -> bytes:
    """Return one line of a stream."""
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"
