"""An engine in memory, for the workers whose parent has it: over a Unix socket in a private folder.

A worker says first which life it is, as its parent has told it, and nobody else knows. When its
process is reaped, the parent says so, and only then its rows are to be had: a connection may break
while the process lives. Nothing here imports a user's code.
"""

from __future__ import annotations

import logging
import os
import socket as plain_socket
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gevent import socket, spawn
from gevent.event import Event
from gevent.lock import RLock

from sprag.cluster.exceptions import EngineFull
from sprag.cluster.memory import MemoryEngine, MemoryHint
from sprag.cluster.reaping import reap
from sprag.cluster.wire import HINTED, BadFrame, Frames, frame, raw, text
from sprag.control.place import is_deserted, make_private
from sprag.owned.log import record

if TYPE_CHECKING:
    from gevent import Greenlet

_NAME: Final = "engine"
_PREFIX: Final = "sprag-engine-"
_OLD: Final = 60.0
"""Seconds after which a folder is not one of who begins just now, and does not listen yet."""
_LARGEST: Final = 400_000
"""Bytes of a request: a swap of the largest values, each character escaped."""
_MOST_HINTS: Final = 1000
_MOST_UNKNOWN: Final = 100
"""Connections at once that have not said yet who they are."""
_TO_SAY_IT: Final = 5.0
"""Seconds within which they have to."""
_BACKLOG: Final = 128
_AT_ONCE: Final = 65_536


class Serving:
    """Serves an engine to workers.

    Attributes:
        engine: What they share.
        path: Where it listens; None: nowhere.
    """

    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.path: Path | None = None
        self._lives: dict[str, str] = {}
        """Those that may ask, and how people call them."""
        self._connections: dict[_Connection, None] = {}
        self._socket: Any = None
        self._accepts: Greenlet[..., Any] | None = None

    def open(self, folder: Path | None = None) -> None:
        """Listen.

        Args:
            folder: Where, if it can be; it is made, and nobody else may look into it. None, or
                where its name is too long for a socket: in one that is temporary. Those of who
                was killed are removed then.

        Raises:
            OSError: There is no socket to be had.
        """
        try:
            if folder is None:
                raise FileNotFoundError
            make_private(folder.parent)
            make_private(folder)
            self._listen(folder)
        except OSError:
            remove_what_is_left()
            self._listen(Path(tempfile.mkdtemp(prefix=_PREFIX)))  # its mode is 0700
        self._accepts = spawn(self._accept)

    def _listen(self, folder: Path) -> None:
        found: Any = socket.socket(plain_socket.AF_UNIX, plain_socket.SOCK_STREAM)
        try:
            found.bind(str(folder / _NAME))
            found.listen(_BACKLOG)
        except BaseException:
            found.close()
            with suppress(OSError):
                folder.rmdir()
            raise
        self._socket, self.path = found, folder / _NAME

    def close(self) -> None:
        """Serve nobody any more, and remove the folder. Harmless a second time."""
        self.engine.is_closing = True
        if self._accepts is not None:
            self._accepts.kill(block=False)
            self._accepts = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for each in tuple(self._connections):
            each.close()
        if self.path is not None:
            for remove in (self.path.unlink, self.path.parent.rmdir):
                with suppress(OSError):
                    remove()
            self.path = None

    def end_soon(self) -> None:
        """Let nobody take anything over any more: all are about to end."""
        self.engine.is_closing = True

    # -- lives ---------------------------------------------------------------------------

    def admit(self, life: str, where: str) -> None:
        """Let *life* ask, which people know as *where*."""
        self._lives[life] = where

    def reap(self, life: str, how: str) -> None:
        """Let others have what *life* had, which has ended. Callable from the hub.

        Harmless a second time.

        Args:
            life: Whose process is gone.
            how: How it has ended, for people: "was killed by SIGKILL".
        """
        where = self._lives.pop(life, None)
        if where is None:
            return
        for each in tuple(self._connections):
            if each.life == life:
                each.close()
        reap(self.engine, life, f"{where} {how}")

    # -- connections ---------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            found, _address = self._socket.accept()
            if sum(each.life is None for each in self._connections) >= _MOST_UNKNOWN:
                found.close()
                continue
            connection = _Connection(self, found)
            self._connections[connection] = None
            connection.begin()

    def _may_ask(self, life: object) -> bool:
        return isinstance(life, str) and life in self._lives

    def _forget(self, connection: _Connection) -> None:
        self._connections.pop(connection, None)


def remove_what_is_left() -> None:
    """Remove the temporary folders of ours in which nobody listens any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if is_ours and time.time() - found.st_mtime > _OLD:
                if is_deserted(folder / _NAME):
                    (folder / _NAME).unlink()
                folder.rmdir()  # not, if anything else is in it


class _Connection:
    """One worker that asks."""

    def __init__(self, serving: Serving, found: Any) -> None:
        self._serving = serving
        self._socket = found
        self.life: str | None = None
        self._hints: dict[int, MemoryHint] = {}
        self._hinted: dict[int, None] = {}
        """Which hints are still to be told: each once, however often it was given."""
        self._has_hints = Event()
        self._writing = RLock()
        self._greenlets: list[Greenlet[..., Any]] = []

    def begin(self) -> None:
        self._greenlets = [spawn(self._read), spawn(self._tell_hints)]

    def close(self) -> None:
        """Be over. Callable from the hub."""
        self._serving._forget(self)
        for hint in self._hints.values():
            hint.cancel()
        self._hints.clear()
        for greenlet in self._greenlets:
            greenlet.kill(block=False)
        with suppress(OSError):
            self._socket.shutdown(plain_socket.SHUT_RDWR)
        self._socket.close()

    def _read(self) -> None:
        frames = Frames(_LARGEST)
        try:
            self._socket.settimeout(_TO_SAY_IT)
            while data := self._socket.recv(_AT_ONCE):
                for parts in frames.feed(data):
                    answer = frame(self._answered(parts))
                    with self._writing:  # who does not read his answers is asked no more
                        self._socket.sendall(answer)
        except OSError:
            pass
        except (BadFrame, KeyError, TypeError, ValueError) as error:
            record(
                logging.ERROR, "a worker asks what is no question", life=self.life, why=str(error)
            )
        finally:
            self.close()

    def _tell_hints(self) -> None:
        with suppress(OSError):
            while True:
                self._has_hints.wait()
                self._has_hints.clear()
                hinted, self._hinted = self._hinted, {}
                with self._writing:
                    self._socket.sendall(frame([HINTED, *hinted]))

    def _answered(self, parts: list[Any]) -> list[Any]:
        number, verb, *args = parts
        if self.life is None:
            if verb != "life" or not self._serving._may_ask(*args):
                raise BadFrame("it is nobody that was started here")
            self.life = args[0]
            self._socket.settimeout(None)
            return [number, None, self._serving.engine.identity]
        if not self._serving._may_ask(self.life):
            raise BadFrame("its process has ended")
        try:
            value = self._carry_out(verb, args)
        except EngineFull as error:
            return [number, None, self._serving.engine.identity, error.what, error.most]
        return [number, value, self._serving.engine.identity]

    def _carry_out(self, verb: str, args: list[Any]) -> Any:
        engine = self._serving.engine
        if verb == "get":
            return text(engine.get(*args).value)
        if verb == "scan":
            return {key: text(value) for key, value in engine.scan(*args).value.items()}
        if verb == "cas":
            key, old, new = args
            return engine.cas(key, raw(old), raw(new)).value
        if verb == "publish":
            topic, data = args
            engine.publish(topic, data.encode("latin-1"))
            return None
        if verb == "read":
            page = engine.read(*args).value
            return [[text(each) for each in page.messages], page.cursor, page.missed]
        if verb == "hint":
            number, prefix = args
            if len(self._hints) >= _MOST_HINTS:
                raise EngineFull("hints", _MOST_HINTS)
            self._hints[number] = engine.hint(prefix, lambda: self._hint(number))
            return None
        if verb == "unhint":
            (number,) = args
            hint = self._hints.pop(number, None)
            if hint is not None:
                hint.cancel()
            return None
        raise BadFrame(f"there is no verb {verb!r}")

    def _hint(self, number: int) -> None:
        self._hinted[number] = None
        self._has_hints.set()
