"""The engine that lies in the memory of one process: of a tree alone, or of workers' parent.

Nothing here blocks, so all of it may be called in the hub. What it keeps is bounded in number and
in bytes; of what was published the oldest goes, and who reads it late is told how much he missed.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Final

from sprag.cluster.engine import Answer, Page
from sprag.cluster.exceptions import EngineFull

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_KEYS: Final = 10_000
LARGEST: Final = 65_536
"""Bytes of a value, or of a message."""
MOST_BYTES: Final = 16_000_000
"""Of all values, and of the messages of one topic."""
MOST_TOPICS: Final = 100
MOST_MESSAGES: Final = 10_000
"""Of a topic, which are kept for who has not read them."""
_AT_ONCE: Final = 100


class MemoryHint:
    """A wish to be woken by a `MemoryEngine`."""

    def __init__(
        self, hints: dict[MemoryHint, None], prefix: str, wake: Callable[[], object]
    ) -> None:
        self._hints = hints
        self.prefix = prefix
        self.wake = wake

    def cancel(self) -> None:
        """Be woken no more."""
        self._hints.pop(self, None)


class _Topic:
    """What was published under one name."""

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()
        self.first = 0  # Invariant: the number of the oldest that is kept
        self.size = 0  # Invariant: their bytes

    @property
    def next(self) -> int:
        return self.first + len(self.messages)

    def add(self, data: bytes) -> None:
        self.messages.append(data)
        self.size += len(data)
        while len(self.messages) > MOST_MESSAGES or self.size > MOST_BYTES:
            self.size -= len(self.messages.popleft())
            self.first += 1


class MemoryEngine:
    """An engine in memory; see `Engine` for its verbs.

    Attributes:
        is_closing: Nothing is swapped any more: all is about to end.
    """

    def __init__(self) -> None:
        self.identity = f"memory:{secrets.token_hex(8)}"
        self.is_closing = False
        self._values: dict[str, bytes] = {}
        self._size = 0  # Invariant: bytes of them, with their keys
        self._topics: dict[str, _Topic] = {}
        self._hints: dict[MemoryHint, None] = {}

    def warnings(self) -> tuple[str, ...]:
        """Return nothing: who shares it ends with it."""
        return ()

    def close(self) -> None:
        """Do nothing: others may go on with it."""

    def get(self, key: str) -> Answer[bytes | None]:
        """Return what is kept under *key*."""
        return Answer(self._values.get(key), self.identity)

    def scan(self, prefix: str) -> Answer[Mapping[str, bytes]]:
        """Return all whose key begins with *prefix*."""
        found = {key: value for key, value in self._values.items() if key.startswith(prefix)}
        return Answer(found, self.identity)

    def cas(self, key: str, old: bytes | None, new: bytes | None) -> Answer[bool]:
        """Keep *new* if *old* is kept now.

        Raises:
            EngineFull: There is too much already.
        """
        if self.is_closing or self._values.get(key) != old:
            return Answer(value=False, identity=self.identity)
        size = self._size
        if old is not None:
            size -= len(key) + len(old)
        if new is not None:
            size += len(key) + len(new)
            _check_size(new)
            if old is None and len(self._values) >= MOST_KEYS:
                raise EngineFull("keys", MOST_KEYS)
            if size > MOST_BYTES:
                raise EngineFull("bytes of values", MOST_BYTES)
            self._values[key] = new
        else:
            self._values.pop(key, None)
        self._size = size
        self._wake(key)
        return Answer(value=True, identity=self.identity)

    def hint(self, prefix: str, wake: Callable[[], object]) -> MemoryHint:
        """Call *wake* whenever something below *prefix* has changed."""
        hint = MemoryHint(self._hints, prefix, wake)
        self._hints[hint] = None
        return hint

    def publish(self, topic: str, data: bytes) -> Answer[None]:
        """Tell all who read *topic*.

        Raises:
            EngineFull: The message is too large, or there are too many topics.
        """
        _check_size(data)
        found = self._topics.get(topic)
        if found is None:
            if len(self._topics) >= MOST_TOPICS:
                raise EngineFull("topics", MOST_TOPICS)
            found = self._topics[topic] = _Topic()
        found.add(data)
        self._wake(topic)
        return Answer(None, self.identity)

    def read(self, topic: str, cursor: str | None) -> Answer[Page]:
        """Return what was published after *cursor*: 100 messages, or some 64 kB, at once."""
        found = self._topics.get(topic) or _Topic()
        at = found.next if cursor is None else int(cursor)
        missed = max(found.first - at, 0)
        at += missed
        messages: list[bytes] = []
        size = 0
        while at < found.next and len(messages) < _AT_ONCE and size < LARGEST:
            message = found.messages[at - found.first]
            messages.append(message)
            size += len(message)
            at += 1
        return Answer(Page(tuple(messages), str(at), missed), self.identity)

    def _wake(self, key: str) -> None:
        for hint in tuple(self._hints):
            if key.startswith(hint.prefix):
                hint.wake()


def _check_size(data: bytes) -> None:
    if len(data) > LARGEST:
        raise EngineFull("bytes in one value", LARGEST)
