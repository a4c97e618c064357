from __future__ import annotations

import io
import os
import pty
import termios

import pytest

from sprag_cli.term.screen import screen_of, size_of
from sprag_cli.term.style import ASCII, UNICODE, Tone


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def terminal(encoding: str = "utf-8") -> Terminal:
    return Terminal(io.BytesIO(), encoding=encoding)


def pipe(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


LINE = [("●", Tone.GOOD), (" shop", Tone.NAME), ("  ", Tone.PLAIN), ("failed", Tone.BAD)]


@pytest.mark.parametrize(
    ("environ", "colour"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_a_terminal_is_coloured_unless_the_environment_forbids_it(
    environ: dict[str, str], colour: bool
) -> None:
    screen = screen_of(terminal(), environ)
    assert screen.terminal
    assert screen.colour is colour
    assert ("\x1b[" in screen.painted(LINE)) is colour


def test_a_pipe_is_not_coloured_unless_it_is_forced() -> None:
    assert screen_of(pipe(), {}).painted(LINE) == "● shop  failed"
    assert screen_of(pipe(), {"FORCE_COLOR": "1"}).colour


@pytest.mark.parametrize(
    ("environ", "width"),
    [({}, 120), ({"COLUMNS": "70"}, 70), ({"COLUMNS": "wide"}, 120), ({"COLUMNS": "0"}, 120)],
)
def test_a_pipe_is_as_wide_as_columns_says_or_120(environ: dict[str, str], width: int) -> None:
    assert screen_of(pipe(), environ).width == width


def test_a_terminal_has_its_own_size_unless_the_environment_knows_better() -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (11, 47))
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        screen = screen_of(stream, {})
        assert (screen.width, screen.height) == (47, 11)
        assert size_of(stream, {"COLUMNS": "30", "LINES": "9"}) == (30, 9)
        termios.tcsetwinsize(slave, (0, 0))  # nobody has told the terminal
        assert size_of(stream, {}) == (120, 24)
    os.close(master)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_encoding_without_the_symbols_gets_ascii(encoding: str) -> None:
    assert screen_of(pipe(encoding), {}).charset is ASCII
    assert screen_of(pipe("utf-8"), {}).charset is UNICODE
    assert screen_of(pipe("utf-8"), {}, ascii_only=True).charset is ASCII
