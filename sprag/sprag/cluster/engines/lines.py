"""The connections that an engine is asked over: a few, each for one question at a time.

A connection on which anything went wrong is closed: what comes next on it might be the answer to
another question. When the engine is away, all of them are, and whoever asks again has a new one.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from gevent import Timeout
from gevent.lock import BoundedSemaphore
from gevent.monkey import get_original

from sprag.cluster.exceptions import EngineAway

if TYPE_CHECKING:
    from collections.abc import Callable

MOST: Final = 8
"""Connections at once; who asks meanwhile waits, as long as for an answer."""
_IDLE: Final = 2
"""Those that are kept while nobody asks."""

# The first look-up of a name would load these, and hold the loop for 30 ms meanwhile.
for _each in (
    "encodings.idna",
    "concurrent.futures.thread",
    "gevent.resolver.thread",
    "gevent.threadpool",
):
    import_module(_each)

NONSENSE: Final = (LookupError, TypeError, ValueError, AttributeError)
"""What comes of an answer that no such server gives: something else listens there."""

_poll: Final = get_original("select", "poll")

T = TypeVar("T")


class Line(Protocol):
    """A connection."""

    def is_stale(self) -> bool:
        """Whether the other side has closed it, or says something unasked. Does not block."""
        ...

    def close(self) -> None:
        """Be over. Does not block, nor raise; harmless a second time."""
        ...


L = TypeVar("L", bound=Line)


class Lines(Generic[L]):
    """The connections of an engine.

    Args:
        where: The engine, for people.
        timeout: Seconds that a question has, with all that it needs.
        connect: Makes one. May block, and be interrupted.
        errors: What it and questions raise where the engine cannot be asked.
        is_away: Called when it could not be.
    """

    def __init__(
        self,
        where: str,
        timeout: float,
        connect: Callable[[], L],
        errors: tuple[type[Exception], ...],
        is_away: Callable[[], object],
    ) -> None:
        self.where = where
        self.timeout = timeout
        self._connect = connect
        self._errors = errors
        self._is_away = is_away
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._idle: list[L] = []
        self._turns = BoundedSemaphore(MOST)

    def ask(self, question: Callable[[L], T]) -> T:
        """Return what *question* returns, which is given a connection. May block.

        Raises:
            EngineAway: The engine cannot be asked, or has not answered in time.
        """
        if self._pid != os.getpid():
            self._forget()  # they are our parent's
        late = Timeout(self.timeout)
        try:
            with late, self._turns:
                return self._asked(question)
        except Timeout as timeout:
            if timeout is not late:
                raise
            why = f"no answer within {self.timeout:g} s"
        except self._errors as error:
            why = said(error)
        except NONSENSE as error:
            why = f"it answers what nobody understands ({type(error).__name__}: {said(error)})"
        self.close()
        self._is_away()
        raise EngineAway(self.where, why)

    def _asked(self, question: Callable[[L], T]) -> T:
        line = self._taken()
        try:
            answer = question(line)
        except BaseException:
            line.close()
            raise
        if len(self._idle) < _IDLE:
            self._idle.append(line)
        else:
            line.close()
        return answer

    def _taken(self) -> L:
        while self._idle:
            line = self._idle.pop()
            if not line.is_stale():
                return line
            line.close()
        return self._connect()

    def close(self) -> None:
        """Close those that nobody asks on."""
        while self._idle:
            with suppress(Exception):
                self._idle.pop().close()


def has_news(descriptor: int) -> bool:
    """Whether something can be read there, an end as well. Does not block, nor yield."""
    asked = _poll()
    asked.register(descriptor, select.POLLIN)
    return bool(asked.poll(0))


def said(error: BaseException) -> str:
    """Return what *error* says, in its first line: libpq goes on with what it guesses."""
    lines = str(error).strip().splitlines()
    return " ".join(lines[0].split()) if lines else type(error).__name__
