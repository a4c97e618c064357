"""What an engine is: where the trees of an app keep what they agree on.

Five verbs. Values are bytes, and nobody but the trees knows what they mean. Each answer says which
engine has given it: one that was restored, or has lost its last writes, is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


class Answer(NamedTuple, Generic[T]):
    """What an engine has answered.

    Attributes:
        value: What was asked for.
        identity: Of the engine, for as long as it has forgotten nothing.
        now: What its clock said when it answered, in milliseconds; None: it has none.
    """

    value: T
    identity: str
    now: int | None = None


class Page(NamedTuple):
    """Some of what was published.

    Attributes:
        messages: In their order.
        cursor: Where to go on.
        missed: How many were dropped before they were read.
    """

    messages: tuple[bytes, ...]
    cursor: str
    missed: int


class Hint(Protocol):
    """A wish to be woken."""

    def cancel(self) -> None:
        """Be woken no more. Harmless a second time."""


class Engine(Protocol):
    """Where trees keep what they agree on.

    Each verb but `hint` may block, and raises `EngineAway` where the engine cannot be asked: a swap
    may have been made all the same. It raises within the seconds that the engine was opened with.
    All of an engine belongs to one thread.
    """

    def warnings(self) -> tuple[str, ...]:
        """Return what the engine may lose, or cannot do, each with a remedy. May block.

        Raises:
            BadEngine: It cannot be used as it stands.
            EngineAway: It cannot be asked.
        """
        ...

    def close(self) -> None:
        """Let go of what is held for it; nobody is woken any more. Harmless a second time."""
        ...

    def get(self, key: str) -> Answer[bytes | None]:
        """Return what is kept under *key*; None: nothing."""
        ...

    def scan(self, prefix: str) -> Answer[Mapping[str, bytes]]:
        """Return all whose key begins with *prefix*."""
        ...

    def cas(self, key: str, old: bytes | None, new: bytes | None) -> Answer[bool]:
        """Keep *new* under *key* if *old* is kept there now; return whether it was.

        None stands for nothing.
        """
        ...

    def hint(self, prefix: str, wake: Callable[[], object]) -> Hint:
        """Call *wake* when what begins with *prefix* may have changed, or something was published.

        A hint may come late, for nothing, or never: who needs to know looks now and then, too.
        *wake* is called anywhere, in the hub as well: it must not block, nor raise.
        """
        ...

    def publish(self, topic: str, data: bytes) -> Answer[None]:
        """Tell all who read *topic*."""
        ...

    def read(self, topic: str, cursor: str | None) -> Answer[Page]:
        """Return what was published after *cursor*, at most so much as is sensible at once.

        None is now: nothing, and a cursor to begin with. Does not wait for more.
        """
        ...
