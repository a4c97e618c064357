"""Asks other nodes something, and answers what they ask.

A request is a message on a topic that all nodes hear; who is meant answers under a key of its own,
which is removed by who has asked. What changes something is claimed first, by a swap: when
who has asked for it waits no longer, it is known whether it was begun, and it never is later.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gevent import sleep
from gevent.event import Event

from sprag.cluster.asks import Ask, Packing, Told, ask_of, told_in
from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag.cluster.sweeping import Sweeping
from sprag_supervisor import Call, Pace, clock, get_ident, logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sprag.cluster.engine import Engine, Hint
    from sprag_supervisor import Tree

MOST: Final = 16
"""Requests of others that are answered at a time; more are told to come back."""
_LOOK: Final = 0.25
"""Seconds after which one looks for answers without having been woken."""
_TOGETHER: Final = 0.005
"""Seconds for answers that come at the same time."""
_ASKED, _BEGUN = b"asked", b"begun"


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered to a request.

    Attributes:
        status: As on the control socket.
        pieces: The answer.
        is_stream: One JSON object a line.
    """

    status: int
    pieces: Iterable[bytes]
    is_stream: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What has become of a request.

    Attributes:
        told: The answers, by life.
        begun: It was claimed, so it may have been carried out, in part or in whole.
    """

    told: Mapping[str, Told]
    begun: bool


class Asking:
    """The requests of one node, and of others to it.

    Args:
        tree: Its tree.
        engine: What they share.
        prefix: Of all keys of the app.
        life: Returns what it is known by now.
        reply: Answers a request; may block, must not raise.
    """

    def __init__(
        self,
        tree: Tree,
        engine: Engine,
        prefix: str,
        life: Callable[[], str],
        reply: Callable[[Ask], Reply],
    ) -> None:
        self._tree = tree
        self.engine = engine
        self._topic = f"{prefix}topics/asks"
        # Beside what the keeper of the lease looks at again and again, which should stay small.
        self._prefix = prefix.replace("/", "//", 1)
        self._life = life
        self._reply = reply
        self._sweeping = Sweeping(tree, engine, self._prefix)
        self._cursor: str | None = None
        self._hint: Hint | None = None
        self._reads = self._has_news = False
        self._answers = 0  # Invariant: how many are under way
        self._is_over = False

    def begin(self) -> None:
        """Hear what is asked from now on. May block; harmless a second time.

        Raises:
            EngineAway: The engine cannot be asked.
        """
        if self._cursor is None:
            cursor = self.engine.read(self._topic, None).value.cursor
            if self._cursor is None and not self._is_over:
                self._cursor = cursor
                self._hint = self.engine.hint(self._topic, self.read_soon)

    def begin_soon(self) -> None:
        """Likewise, soon, if it could not be done yet. Callable from the hub."""
        if self._cursor is None:
            self._run(self._begin_at_last)

    def end(self) -> None:
        """Hear nothing any more. Harmless a second time."""
        self._is_over = True
        self._sweeping.stop()
        if self._hint is not None:
            self._hint.cancel()
            self._hint = None

    def _begin_at_last(self) -> None:
        with suppress(EngineAway):
            self.begin()

    def _run(self, fn: Callable[[], object]) -> bool:
        if self._tree.thread != get_ident() or self._is_over:
            return False
        self._tree.pool.run_soon(Call(fn))
        return True

    # -- who asks --------------------------------------------------------------------------

    def ask(self, ask: Ask, seconds: float, has_left: Callable[[], bool] = bool) -> Heard:
        """Ask, and return what was answered within *seconds*. Blocks for that.

        Args:
            ask: What, and whom.
            seconds: How long to wait for those that are silent.
            has_left: Whether nobody waits for the answer any more.

        Raises:
            EngineAway, EngineFull: The engine cannot be asked, or takes no more.
        """
        engine, until = self.engine, clock.now() + seconds
        prefix, claim = f"{self._prefix}answers/{ask.id}/", f"{self._prefix}claims/{ask.id}"
        told: dict[str, Told] = {}
        values: dict[str, bytes] = {}
        news = Event()
        hint = engine.hint(prefix, news.set)
        try:
            if ask.is_claimed:
                engine.cas(claim, None, _ASKED)
            engine.publish(self._topic, ask.as_bytes())
            while len(told) < len(ask.to):
                left = until - clock.now()
                if left <= 0 or has_left():
                    break
                if news.wait(min(left, _LOOK)):
                    sleep(_TOGETHER)
                news.clear()
                values |= engine.scan(prefix).value
                told = told_in(values, prefix)
        finally:
            hint.cancel()
            begun = ask.is_claimed and not self._withdrawn(claim)
            self._sweeping.note(())
            self._run(partial(self._remove, values))
        return Heard(told, begun)

    def _withdrawn(self, claim: str) -> bool:
        """Take the request back; return whether nobody has begun with it, nor will."""
        with suppress(EngineAway, EngineFull):
            if self.engine.cas(claim, _ASKED, None).value:
                return True
            self.engine.cas(claim, _BEGUN, None)
        return False

    def _remove(self, values: Mapping[str, bytes]) -> None:
        with suppress(EngineAway, EngineFull):
            for key, value in values.items():
                self.engine.cas(key, value, None)

    # -- who is asked ----------------------------------------------------------------------

    def read_soon(self) -> None:
        """Read what there is to be heard. Callable from the hub."""
        self._has_news = True
        if not self._reads:
            self._reads = self._run(self._read)

    def _read(self) -> None:
        pace = Pace()
        try:
            while self._has_news and not self._is_over:
                self._has_news = False  # it may be told of more while it asks
                page = self.engine.read(self._topic, self._cursor).value
                self._cursor = page.cursor
                for message in page.messages:
                    pace()
                    self._hear(message)
                self._has_news = self._has_news or bool(page.messages)
        except EngineAway:
            pass  # who asks is told that we are silent
        finally:
            self._reads = False

    def _hear(self, message: bytes) -> None:
        ask, life = ask_of(message), self._life()
        if ask is None or not life or life not in ask.to:
            return
        if self._answers >= MOST:
            reply = refusal(503, f"{MOST} requests of other nodes are being answered already")
            self._run(partial(self._write, ask, life, reply))
        elif self._run(partial(self._answer, ask, life)):
            self._answers += 1

    def _answer(self, ask: Ask, life: str) -> None:
        try:
            with suppress(EngineAway, EngineFull):
                claim = f"{self._prefix}claims/{ask.id}"
                if not ask.is_claimed or self.engine.cas(claim, _ASKED, _BEGUN).value:
                    self._write(ask, life, self._reply(ask))
        finally:
            self._answers -= 1

    def _write(self, ask: Ask, life: str, reply: Reply) -> None:
        try:
            self._keep(ask, life, self._packed(reply))
        except EngineFull as error:
            with suppress(EngineAway, EngineFull):
                self._keep(ask, life, self._packed(refusal(503, str(error))))
        except EngineAway:
            pass  # who asks is told that we are silent
        except Exception as error:  # noqa: BLE001 - an answer that breaks off
            logger.exception("another node cannot be answered")
            said = refusal(500, f"{type(error).__name__}: see its log")
            with suppress(EngineAway, EngineFull):
                self._keep(ask, life, self._packed(said))

    def _packed(self, reply: Reply) -> Told:
        packing, pace = Packing(), Pace()
        for piece in reply.pieces:
            packing.add(piece)
            pace()
            if packing.is_too_large:
                what = "the answer is larger than 1 MB, packed: ask for a part of it, by its path"
                return self._packed(refusal(413, what, name="TooLarge"))
        done = packing.done()
        if packing.is_too_large:
            return self._packed(refusal(413, "the answer is larger than 1 MB", name="TooLarge"))
        return Told(reply.status, reply.is_stream, done)

    def _keep(self, ask: Ask, life: str, told: Told) -> None:
        where = f"{self._prefix}answers/{ask.id}/{life}/"
        parts = told.parts()
        keys = [f"{where}{number}" for number in range(len(parts))]
        self._sweeping.note(keys)
        # The first one last: it says that all are there.
        for key, part in reversed([*zip(keys, parts, strict=True)]):
            self.engine.cas(key, None, part)


def refusal(status: int, error: str, *, name: str = "") -> Reply:
    """Return what is answered where nothing else can be."""
    said: dict[str, Any] = {"error": error}
    if name:
        said["name"] = name
    return Reply(status, [json.dumps(said).encode()])


def new_id() -> str:
    """Return what nobody else's request is called."""
    return secrets.token_hex(8)
