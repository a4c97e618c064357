"""Engines on which things go wrong, when a test says so, in virtual time."""

from __future__ import annotations

import copy
import secrets
from typing import TYPE_CHECKING, Any, TypeVar

from gevent.event import Event

from sprag.cluster.exceptions import EngineAway
from sprag.cluster.memory import MemoryEngine
from sprag_supervisor import as_count, clock, seconds_of
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sprag.cluster.engine import Answer, Engine, Hint, Page
    from sprag_supervisor import Seconds

T = TypeVar("T")


class ForgetfulEngine(MemoryEngine):
    """An engine in memory that can lose what it holds, and has a clock.

    Use it for tests. All verbs are those of any engine.
    """

    def __init__(self) -> None:
        super().__init__()
        self._saved: Any = None
        self.save()

    def save(self) -> None:
        """Remember what it holds now, for `revert`."""
        self._saved = self._values.copy(), self._size, copy.deepcopy(self._topics)

    def revert(self) -> None:
        """Hold what it held at the last `save`, or at first: under another identity.

        So is an engine that was restored from a backup, or a standby that was promoted before it
        had the last writes.
        """
        values, self._size, topics = self._saved
        self._values, self._topics = values.copy(), copy.deepcopy(topics)
        self.identity = f"memory:{secrets.token_hex(8)}"

    def empty(self) -> None:
        """Hold nothing any more, under the same identity, as after FLUSHALL."""
        lost = self._values
        self._values, self._size, self._topics = {}, 0, {}
        for key in lost:
            self._wake(key)

    def get(self, key: str) -> Answer[bytes | None]:
        """Return what is kept under *key*."""
        return _timed(super().get(key))

    def scan(self, prefix: str) -> Answer[Mapping[str, bytes]]:
        """Return all whose key begins with *prefix*."""
        return _timed(super().scan(prefix))

    def cas(self, key: str, old: bytes | None, new: bytes | None) -> Answer[bool]:
        """Keep *new* if *old* is kept now."""
        return _timed(super().cas(key, old, new))


class FaultyEngine:
    """One client's way to an engine; it can be cut, be slow, and lose answers.

    Use it for tests, in virtual time. A call that has no answer in time raises `EngineAway`; what
    it asked for may have been done, and may yet be done.

    Args:
        engine: Where it leads; its verbs do not block, as those of a `MemoryEngine`.
        timeout: Seconds within which a call has its answer, or fails.

    Raises:
        BadValue: *timeout* is less than a millisecond, or no time.
    """

    def __init__(self, engine: Engine, timeout: Seconds = 1.0) -> None:
        self._engine = engine
        self._timeout = seconds_of("timeout", timeout)
        self._there: float | None = 0.0
        self._back: float | None = 0.0
        self._lost = 0
        self._refuses = False
        self._timers: set[clock.Timer] = set()

    # -- faults ------------------------------------------------------------------------

    def cut(self, *, requests: bool = True, answers: bool = True) -> None:
        """Let nothing through, until `heal`.

        Args:
            requests: Whether requests do not reach the engine.
            answers: Whether answers do not come back; only these: what is asked for is done.
        """
        self._there = None if requests else self._there
        self._back = None if answers else self._back

    def delay(self, *, requests: Seconds = 0.0, answers: Seconds = 0.0) -> None:
        """Let each request, and each answer, take so many seconds, until `heal`.

        A request that takes longer than the timeout reaches the engine all the same.

        Raises:
            BadValue: One is no number of seconds, 0 or more.
        """
        there = seconds_of("requests", requests, 0.0)
        self._there, self._back = there, seconds_of("answers", answers, 0.0)

    def lose(self, answers: int = 1) -> None:
        """Let the next so many answers not come back.

        Raises:
            BadValue: *answers* is no whole number, 0 or more.
        """
        lost = as_count(answers)
        if lost < 0:
            raise BadValue("answers", answers, "a whole number, 0 or more")
        self._lost = lost

    def refuse(self) -> None:
        """Let each call fail at once, as where nothing listens, until `heal`."""
        self._refuses = True

    def heal(self) -> None:
        """Let everything through at once. What is under way stays so."""
        self._there = self._back = 0.0
        self._lost = 0
        self._refuses = False

    # -- the verbs of an engine --------------------------------------------------------

    def warnings(self) -> tuple[str, ...]:
        """Return what the engine may lose as it stands."""
        return self._engine.warnings()

    def close(self) -> None:
        """Do nothing: what is under way arrives, as it does when a process has ended."""

    def forget(self) -> None:
        """Let nothing arrive any more of what is under way."""
        while self._timers:
            self._timers.pop().close()

    def get(self, key: str) -> Answer[bytes | None]:
        """Return what is kept under *key*."""
        return self._ask(lambda: self._engine.get(key))

    def scan(self, prefix: str) -> Answer[Mapping[str, bytes]]:
        """Return all whose key begins with *prefix*."""
        return self._ask(lambda: self._engine.scan(prefix))

    def cas(self, key: str, old: bytes | None, new: bytes | None) -> Answer[bool]:
        """Keep *new* if *old* is kept now."""
        return self._ask(lambda: self._engine.cas(key, old, new))

    def publish(self, topic: str, data: bytes) -> Answer[None]:
        """Tell all who read *topic*."""
        return self._ask(lambda: self._engine.publish(topic, data))

    def read(self, topic: str, cursor: str | None) -> Answer[Page]:
        """Return what was published after *cursor*."""
        return self._ask(lambda: self._engine.read(topic, cursor))

    def hint(self, prefix: str, wake: Callable[[], object]) -> Hint:
        """Call *wake* when what begins with *prefix* may have changed, if that comes through."""

        def pass_on() -> None:
            if self._back is not None and not self._refuses:
                self._later(self._back, wake)

        return self._engine.hint(prefix, pass_on)

    def _ask(self, verb: Callable[[], Answer[T]]) -> Answer[T]:
        if self._refuses:
            raise EngineAway("memory", "connection refused")
        there, back = self._there, self._back
        if self._lost:
            self._lost -= 1
            back = None
        answers: list[Answer[T]] = []
        errors: list[Exception] = []
        done = Event()

        def carry_out() -> None:
            try:
                answers.append(verb())
            except Exception as error:  # noqa: BLE001 - it is whoever asks who hears of it
                errors.append(error)
            if back is not None:
                self._later(back, done.set)

        if there is not None:
            self._later(there, carry_out)
        if not done.wait(self._timeout):
            raise EngineAway("memory", f"no answer within {self._timeout:g} s")
        if errors:
            raise errors[0]
        return answers[0]

    def _later(self, seconds: float, fn: Callable[[], object]) -> None:
        """Call *fn* in *seconds*, whoever waits for it then; at once, if these are 0."""
        if seconds == 0:
            fn()
            return

        def fire() -> None:
            self._timers.discard(timer)
            timer.close()
            fn()

        timer = clock.call_later(seconds, fire, ref=False)
        self._timers.add(timer)


def _timed(answer: Answer[T]) -> Answer[T]:
    return answer._replace(now=int(clock.now() * 1000))
