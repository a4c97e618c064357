"""A live picture in place: a terminal's other screen, borrowed and given back."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_BORROW: Final = "\x1b[?1049h\x1b[?25l"
_GIVE_BACK: Final = "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class FullScreen:
    """The other screen of a terminal.

    Attributes:
        keys: The descriptor on which keys are heard at once, or ``None`` if none are.
        left: The text that stays on the terminal when the screen has been given back.
    """

    def __init__(self, stream: TextIO, keys: int | None) -> None:
        """Draw on *stream*, which has the other screen on."""
        self.keys = keys
        self.left = ""
        self._stream = stream

    def draw(self, lines: Sequence[str], left: str) -> None:
        """Show *lines*, over what was there before, so that nothing flickers.

        Args:
            lines: No more and no longer ones than the terminal has room for.
            left: What is to stay if this is the last picture.
        """
        self.left = left
        shown = "\r\n".join(line + _REST_OF_LINE for line in lines)
        self._stream.write(_HOME + shown + _REST_OF_SCREEN)
        self._stream.flush()


@contextmanager
def full_screen(stream: TextIO, *, keys: bool = False) -> Generator[FullScreen]:
    """Borrow the other screen of *stream*, and with *keys* hear each key as it is pressed."""
    import termios
    import tty

    terminal: int | None = None
    before: Any = None
    if keys and sys.stdin is not None and sys.stdin.isatty():
        terminal = sys.stdin.fileno()
    if terminal is not None:
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal)
    screen = FullScreen(stream, terminal)
    stream.write(_BORROW)
    try:
        yield screen
    finally:
        stream.write(_GIVE_BACK + screen.left)
        stream.flush()
        if terminal is not None:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
