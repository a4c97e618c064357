"""What is drawn: pieces of text with a meaning each, and the characters to draw with."""

from __future__ import annotations

from enum import Enum, auto

from sprag_cli.record import Record
from sprag_cli.term.plain import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final


class Tone(Enum):
    """What a piece of text means; the edge gives it a colour."""

    PLAIN = auto()
    NAME = auto()
    DIM = auto()
    GOOD = auto()
    BUSY = auto()
    BAD = auto()


Line = list[tuple[str, Tone]]
"""A line: pieces of text with their tones."""


class Charset(Record):
    """The characters a picture is drawn with."""

    symbols: Mapping[str, str]
    unknown: str
    branch: str
    last: str
    through: str
    blank: str
    restarts: str
    between: str
    ellipsis: str
    ascii_only: bool

    def symbol(self, state: str) -> str:
        """Return the symbol of a state."""
        return self.symbols.get(state, self.unknown)

    def safe(self, text: str) -> str:
        """Return *text* on one line, with nothing that cannot be printed or moves a cursor."""
        is_safe = text.isascii() or not self.ascii_only
        return text if is_safe and text.isprintable() else self.ascii(printable(text))

    def ascii(self, text: str) -> str:
        """Return *text* with a question mark for each letter that cannot be printed."""
        if not self.ascii_only or text.isascii():
            return text
        return text.encode("ascii", "replace").decode("ascii")

    def lines(self, lines: Iterable[Line]) -> list[Line]:
        """Return *lines* with a question mark for each letter that cannot be printed."""
        return [[(self.ascii(text), tone) for text, tone in line] for line in lines]


UNICODE: Final = Charset(
    symbols={
        "new": "◌",
        "starting": "◐",
        "running": "●",
        "stopping": "◑",
        "restarting": "↻",
        "stopped": "■",
        "finished": "○",
        "failed": "✗",
    },
    unknown="?",
    branch="├─ ",
    last="└─ ",
    through="│  ",
    blank="   ",
    restarts="↺ ",
    between=" · ",
    ellipsis="…",
    ascii_only=False,
)

ASCII: Final = Charset(
    symbols={
        "new": ".",
        "starting": ">",
        "running": "*",
        "stopping": "<",
        "restarting": "@",
        "stopped": "-",
        "finished": "o",
        "failed": "x",
    },
    unknown="?",
    branch="|- ",
    last="`- ",
    through="|  ",
    blank="   ",
    restarts="r:",
    between=", ",
    ellipsis="~",
    ascii_only=True,
)

TONES: Final[Mapping[str, Tone]] = {
    "new": Tone.DIM,
    "starting": Tone.BUSY,
    "running": Tone.GOOD,
    "stopping": Tone.BUSY,
    "restarting": Tone.BUSY,
    "stopped": Tone.DIM,
    "finished": Tone.DIM,
    "failed": Tone.BAD,
}
"""The states a node can be in, each with its tone."""
