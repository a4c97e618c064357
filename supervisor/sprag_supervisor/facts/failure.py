"""A failure as it is remembered: flat, without live tracebacks; and how it is shown.

`crash` makes it, of an exception.
"""

from __future__ import annotations

import linecache
import textwrap
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from sprag_supervisor.facts.folding import folded, said_of
from sprag_supervisor.foreign import class_name

if TYPE_CHECKING:
    from types import CodeType

    from sprag_supervisor.rules.policy import OnFailure

MAX_TEXT: Final = 4096
"""Characters of one text."""
LEAST_TEXT: Final = 200
"""Characters that are kept of any text."""
BYTES: Final = 400
BYTES_OF_FRAME: Final = 100
record: Final[Any] = cast("Any", tuple).__new__
"""Make a NamedTuple of the tuple of its fields, at half the price of calling its class."""
_RAISED_FROM: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_WHILE_HANDLING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


class Failure(NamedTuple):
    """One exception, remembered.

    Attributes:
        type: The exception's class name, qualified unless it is a builtin or sprag's own.
        message: Its text; of a very long one the beginning, and how much was cut.
        at: Seconds since the epoch.
        incarnation: Which life of the service it ended.
        frames: The innermost (code, line) pairs, outermost first.
        cause: What it was raised from, or while handling it, if anything.
        is_chained: It was not raised *from* the cause on purpose, but while handling it.
        notes: What was added to it with `add_note`.
        action: What the service's `on_failure` says about it; None for what its restart
            type says.
        members: The exceptions of an exception group.
        size: About how many bytes it keeps in memory.
    """

    type: str
    message: str
    at: float
    incarnation: int
    frames: tuple[tuple[CodeType, int], ...] = ()
    cause: Failure | None = None
    is_chained: bool = False
    notes: tuple[str, ...] = ()
    action: OnFailure | None = None
    members: tuple[Failure, ...] = ()
    size: int = 0

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    def __repr__(self) -> str:
        """Return what it says, without the code objects of its frames."""
        said = [f"type={self.type!r}", f"message={self.message!r:.300}", f"at={self.at!r}"]
        said += [f"incarnation={self.incarnation!r}", f"frames=<{len(self.frames)}>"]
        more: dict[str, object] = {"cause": self.cause, "notes": self.notes}
        more |= {"action": self.action, "members": self.members}
        said += [f"{name}={value!r}" for name, value in more.items() if value]
        return f"Failure({', '.join(said)})"

    def format(self) -> str:
        """Return the traceback as Python prints it, the causes first.

        Rounds of a recursion are told once, also where several functions call each other. No more
        than the innermost 50 frames are kept.
        """
        chain: list[Failure] = [self]
        while (cause := chain[-1].cause) is not None:
            chain.append(cause)
        return "".join(failure._format_one() for failure in reversed(chain))

    def _format_one(self) -> str:
        lines: list[str] = []
        if self.cause is not None:
            lines.append(_WHILE_HANDLING if self.is_chained else _RAISED_FROM)
        if self.frames:
            lines.append("Traceback (most recent call last):\n")
        for frames, more in folded(self.frames):
            for code, number in frames:
                lines.append(f'  File "{code.co_filename}", line {number}, in {code.co_name}\n')
                if source := linecache.getline(code.co_filename, number).strip():
                    lines.append(f"    {source}\n")
            if more:
                lines.append(f"  {said_of(len(frames), more)}\n")
        lines.extend(f"{line}\n" for line in (str(self), *self.notes))
        for number, member in enumerate(self.members, 1):
            lines.append(f"  +---------------- {number} ----------------\n")
            lines.append(textwrap.indent(member.format(), "  | ", lambda _line: True))
        return "".join(lines)


class Spared(Failure):
    """One that counts against something else than its service, and so toward no limit."""

    __slots__ = ()


def sized(failure: Failure) -> Failure:
    """Return *failure* with about how many bytes it keeps in memory, its causes included."""
    size = BYTES + len(failure.message) + BYTES_OF_FRAME * len(failure.frames)
    for note in failure.notes:
        size += BYTES_OF_FRAME + len(note)
    if failure.cause is not None:
        size += failure.cause.size
    for member in failure.members:
        size += member.size
    return failure._replace(size=size)


def in_brief(failure: Failure) -> Failure:
    """Return *failure* without what is large: where it was raised, why, and most of its text."""
    text = cut(failure.message, LEAST_TEXT)
    brief = Failure(failure.type, text, failure.at, failure.incarnation, action=failure.action)
    return sized(brief)


def as_text(given: object, longest: int = MAX_TEXT) -> str:
    """Return *given* as text, cut to *longest* characters.

    Whatever a user's ``__str__`` raises must not end the supervisor.
    """
    try:
        return cut(str(given), longest)
    except BaseException as broken:  # noqa: BLE001 - in an engine greenlet it would be the engine's
        return f"<its __str__ raised {class_name(type(broken))}>"


def cut(text: str, longest: int = MAX_TEXT) -> str:
    """Return at most *longest* characters of *text*, as a plain str, and how many more there were.

    What is remembered must not grow with what users put into their exceptions.
    """
    text = str.__str__(text)  # of a class of its own it would bring its object along
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest} more characters)"
