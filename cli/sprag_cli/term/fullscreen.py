"""A live picture in place: a terminal's other screen, borrowed and given back.

It is given back whatever ends or stops the process: an exception, Ctrl-C, Ctrl-Z, or a signal
that kills. (rich's `Live` does so for exceptions only.) After a stop it is borrowed again.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import FrameType

_BORROW: Final = "\x1b[?1049h\x1b[?25l"
_GIVE_BACK: Final = "\x1b[?25h\x1b[?1049l"
_HIDE_CURSOR: Final = "\x1b[?25l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_SLEPT: Final = 0.001
_DEADLY: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class FullScreen:
    """The other screen of a terminal.

    Attributes:
        keys: The descriptor on which keys are heard at once, or ``None`` if none are.
        left: The text that stays on the terminal when the screen has been given back.
    """

    def __init__(self, stream: TextIO, keys: int | None) -> None:
        """Prepare to draw on *stream*."""
        self.keys = keys
        self.left = ""
        self._stream = stream
        self._terminal = _descriptor(stream)
        self._shown = ""
        self._modes: Any = None
        self._is_borrowed = False

    def draw(self, lines: Sequence[str], left: str) -> None:
        """Show *lines*, over what was there before, so that nothing flickers.

        Args:
            lines: No more and no longer ones than the terminal has room for.
            left: What is to stay if this is the last picture.
        """
        self.left = left
        self._shown = _HOME + "\r\n".join(line + _REST_OF_LINE for line in lines) + _REST_OF_SCREEN
        self._stream.write(self._shown)
        self._stream.flush()

    def borrow(self) -> None:
        """Switch to the other screen, and hear keys at once."""
        import termios
        import tty

        if self.keys is not None:
            if not self._is_borrowed:
                self._modes = termios.tcgetattr(self.keys)
            tty.setcbreak(self.keys)
        self._write((_HIDE_CURSOR if self._is_borrowed else _BORROW) + self._shown)
        self._is_borrowed = True

    def give_back(self, left: str) -> None:
        """Switch back and leave *left* behind; once, however often it is called."""
        if not self._is_borrowed:
            return
        self._is_borrowed = False
        self._write(_GIVE_BACK + left)
        if self.keys is not None:
            import termios

            with suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self.keys, termios.TCSADRAIN, self._modes)

    @contextmanager
    def minding_signals(self) -> Generator[None]:
        """Give the screen back before a signal stops or ends the process.

        A signal that was ignored, as SIGHUP under nohup, or has a handler stays as it is.
        """
        handlers = dict.fromkeys(_DEADLY, self._end)
        handlers |= {signal.SIGTSTP: self._stop, signal.SIGCONT: self._go_on}
        with ExitStack() as stack:
            for number, handler in handlers.items():
                if signal.getsignal(number) is signal.SIG_DFL:
                    stack.callback(signal.signal, number, signal.SIG_DFL)
                    signal.signal(number, handler)
            yield

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self.give_back(self.left)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.give_back("")
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # the process sleeps in here
        signal.signal(number, self._stop)
        self._return()

    def _go_on(self, number: int, _frame: FrameType | None) -> None:
        """Come back from a stop that nobody could prepare for, SIGSTOP."""
        del number
        if self._is_borrowed:
            self._return()

    def _return(self) -> None:
        """Borrow the screen again; in the background, only once it is our turn."""
        with suppress(OSError):
            while self._terminal is not None and os.tcgetpgrp(self._terminal) != os.getpgrp():
                before = time.monotonic()
                signal.raise_signal(signal.SIGTTOU)  # sleeps until the shell says `fg`
                if time.monotonic() - before < _SLEPT:
                    break  # nobody is there to wake it: then the kernel does not let it sleep
        self.borrow()

    def _write(self, text: str) -> None:
        """Write past Python's buffer where there is one: a signal may have come amid a write."""
        if self._terminal is None:
            self._stream.write(text)
            self._stream.flush()
            return
        said = text.encode(self._stream.encoding or "utf-8", "replace")
        with suppress(OSError):  # the terminal is gone
            while said:
                said = said[os.write(self._terminal, said) :]


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, io.UnsupportedOperation):
        return None


@contextmanager
def full_screen(stream: TextIO, *, keys: bool = False) -> Generator[FullScreen]:
    """Borrow the other screen of *stream*, and with *keys* hear each key as it is pressed."""
    terminal: int | None = None
    if keys and sys.stdin is not None and sys.stdin.isatty():
        terminal = sys.stdin.fileno()
    screen = FullScreen(stream, terminal)
    with screen.minding_signals():
        try:
            screen.borrow()
            yield screen
        finally:
            screen.give_back(screen.left)
