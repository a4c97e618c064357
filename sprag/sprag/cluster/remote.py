"""An engine that lies in another process, as a tree asks it.

A greenlet reads what comes; who asks waits for his answer, others go on meanwhile. A connection
that breaks is made anew.
"""

from __future__ import annotations

import itertools
import socket as plain_socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gevent import sleep, socket, spawn
from gevent.event import AsyncResult
from gevent.lock import RLock

from sprag.cluster.engine import Answer, Page
from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag.cluster.wire import HINTED, BadFrame, Frames, frame, raw, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gevent import Greenlet

_PATIENCE: Final = 10.0
"""Seconds within which an answer has to come: a parent that is held is no parent that is gone."""
_PAUSE: Final = 1.0
_AT_ONCE: Final = 65_536


class RemoteHint:
    """A wish to be woken, which the other process knows by its number."""

    def __init__(
        self, engine: RemoteEngine, number: int, prefix: str, wake: Callable[[], object]
    ) -> None:
        self._engine = engine
        self.number = number
        self.prefix = prefix
        self.wake = wake

    def cancel(self) -> None:
        """Be woken no more."""
        self._engine._unhint(self)


class RemoteEngine:
    """An engine that another process serves (`serving`).

    Args:
        path: Where.
        life: Who asks, as that process knows it.
    """

    def __init__(self, path: str, life: str) -> None:
        self._path = path
        self._life = life
        self._numbers = itertools.count(HINTED + 1)
        self._socket: Any = None
        self._writing = RLock()
        self._waiting: dict[int, AsyncResult[Any]] = {}
        self._hints: dict[int, RemoteHint] = {}
        self._reads: Greenlet[..., Any] | None = None

    def open(self) -> None:
        """Connect.

        Raises:
            EngineAway: Nobody answers there.
        """
        self._connect()
        self._reads = spawn(self._read)

    def close(self) -> None:
        """Ask no more. Harmless a second time."""
        if self._reads is not None:
            self._reads.kill(block=False)
            self._reads = None
        self._lose("it was closed here")

    def warnings(self) -> tuple[str, ...]:
        """Return nothing: who shares it ends with it."""
        return ()

    # -- the verbs -----------------------------------------------------------------------

    def get(self, key: str) -> Answer[bytes | None]:
        """Return what is kept under *key*."""
        value, identity = self._ask("get", key)
        return Answer(raw(value), identity)

    def scan(self, prefix: str) -> Answer[Mapping[str, bytes]]:
        """Return all whose key begins with *prefix*."""
        value, identity = self._ask("scan", prefix)
        return Answer({key: each.encode("latin-1") for key, each in value.items()}, identity)

    def cas(self, key: str, old: bytes | None, new: bytes | None) -> Answer[bool]:
        """Keep *new* if *old* is kept now."""
        return Answer(*self._ask("cas", key, text(old), text(new)))

    def publish(self, topic: str, data: bytes) -> Answer[None]:
        """Tell all who read *topic*."""
        return Answer(*self._ask("publish", topic, text(data)))

    def read(self, topic: str, cursor: str | None) -> Answer[Page]:
        """Return what was published after *cursor*."""
        (messages, then, missed), identity = self._ask("read", topic, cursor)
        return Answer(
            Page(tuple([each.encode("latin-1") for each in messages]), then, missed), identity
        )

    def hint(self, prefix: str, wake: Callable[[], object]) -> RemoteHint:
        """Call *wake* when something below *prefix* has changed, or may have; in a greenlet."""
        hint = RemoteHint(self, next(self._numbers), prefix, wake)
        self._hints[hint.number] = hint
        with suppress(EngineAway):  # it is said again with the next connection
            self._ask("hint", hint.number, prefix)
        return hint

    # -- the connection ------------------------------------------------------------------

    def _connect(self) -> None:
        found = socket.socket(plain_socket.AF_UNIX, plain_socket.SOCK_STREAM)
        try:
            found.settimeout(_PATIENCE)
            found.connect(self._path)
            found.settimeout(None)
            out = [frame([next(self._numbers), "life", self._life])]
            out += [
                frame([next(self._numbers), "hint", each.number, each.prefix])
                for each in self._hints.values()
            ]
            found.sendall(b"".join(out))
        except OSError as error:
            found.close()
            raise EngineAway(self._path, error.strerror or str(error)) from None
        self._socket = found

    def _ask(self, verb: str, *args: Any) -> tuple[Any, str]:
        if self._socket is None:
            raise EngineAway(self._path, "the connection is broken")
        number = next(self._numbers)
        answer: AsyncResult[Any] = AsyncResult()
        self._waiting[number] = answer
        try:
            self._send([number, verb, *args])
            answer.wait(_PATIENCE)
        finally:
            self._waiting.pop(number, None)
        if not answer.ready():
            raise EngineAway(self._path, f"no answer within {_PATIENCE:.0f} s")
        parts: Any = answer.get()
        _number, value, identity, *wrong = parts
        if wrong:
            raise EngineFull(*wrong)
        return value, identity

    def _send(self, parts: list[Any]) -> None:
        with self._writing:
            found = self._socket
            if found is None:
                raise EngineAway(self._path, "the connection is broken")
            try:
                found.sendall(frame(parts))
            except BaseException as error:
                with suppress(OSError):
                    found.shutdown(plain_socket.SHUT_RDWR)  # half a frame may be under way
                if not isinstance(error, OSError):
                    raise
                raise EngineAway(self._path, error.strerror or str(error)) from None

    def _unhint(self, hint: RemoteHint) -> None:
        if self._hints.pop(hint.number, None) is not None:
            with suppress(EngineAway):
                self._send([next(self._numbers), "unhint", hint.number])

    def _read(self) -> None:
        while True:
            frames = Frames()
            with suppress(OSError, BadFrame):
                while data := self._socket.recv(_AT_ONCE):
                    for parts in frames.feed(data):
                        self._take(parts)
            self._lose("the connection is broken")
            while self._socket is None:
                sleep(_PAUSE)
                with suppress(EngineAway):
                    self._connect()
            for hint in tuple(self._hints.values()):
                hint.wake()  # what has changed meanwhile was told to nobody

    def _take(self, parts: list[Any]) -> None:
        if parts[0] == HINTED:
            for number in parts[1:]:
                hint = self._hints.get(number)
                if hint is not None:
                    hint.wake()
            return
        answer = self._waiting.get(parts[0])
        if answer is not None:
            answer.set(parts)

    def _lose(self, why: str) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for answer in tuple(self._waiting.values()):
            answer.set_exception(EngineAway(self._path, why))
