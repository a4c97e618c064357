from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from sprag_cli.complete.prompt import ServicePath
from sprag_cli.term.output import complain, complain_at_length, write

if TYPE_CHECKING:
    from collections.abc import Callable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[io.StringIO, str], str]:
    def said(stream: io.StringIO, text: str) -> str:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("COLUMNS", "40")
        complain_at_length(text)
        return stream.getvalue()

    return said


def test_a_terminal_gets_lines_that_end_between_words(
    said: Callable[[io.StringIO, str], str],
) -> None:
    assert said(Terminal(), "sprag: no service 'x' — shop has metrics, intake\n  shop  pid 1") == (
        "sprag: no service 'x' — shop has\n  metrics, intake\n  shop  pid 1\n"
    )


def test_a_file_gets_one_line(said: Callable[[io.StringIO, str], str]) -> None:
    text = "sprag: no service 'x' — shop has metrics, intake"
    assert said(io.StringIO(), text) == f"{text}\n"


@pytest.fixture
def latin() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def test_what_a_stream_has_no_letters_for_is_written_all_the_same(
    latin: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(latin, "受付 is ready\n")
    monkeypatch.setattr(sys, "stderr", latin)
    complain("no service '受' — see")
    latin.seek(0)
    assert latin.read() == "?? is ready\nno service '?' - see\n"


def test_a_path_is_utf_8_whatever_the_locale_says() -> None:
    typed = "受付".encode().decode("ascii", "surrogateescape")
    assert ServicePath().convert(typed, None, None) == "受付"
    assert ServicePath().convert("\udcff", None, None) == "�"
