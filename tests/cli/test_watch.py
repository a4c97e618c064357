from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from sprag_cli.app.client import AppGone, RunningApp
from sprag_cli.draw.watch import Frame, facts_of, on_terminal
from sprag_cli.term.screen import Screen
from sprag_cli.term.style import ASCII, UNICODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APP = RunningApp("shop", 4242, "/run/shop.4242.sock")
SCREEN = Screen(width=60, height=5, charset=UNICODE, colour=False, terminal=True, moves=True)


def frame(text: str, screen: Screen = SCREEN) -> Frame:
    return Frame(text, (text,), screen)


def shown(frames: Any, **how: Any) -> str:
    stream = io.StringIO()
    on_terminal(frames, stream, APP, 1.0, clock=lambda: "12:00:00", **how)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "5")


def test_frames_are_drawn_on_the_alternate_screen_and_the_last_one_stays() -> None:
    out = shown([frame("one\n"), frame("two\n")])
    alternate, _, after = out.rpartition("\x1b[?1049l")
    assert alternate.startswith("\x1b[?1049h")
    assert "shop (pid 4242) · 12:00:00 · Ctrl-C ends · every 1 s" in alternate
    assert alternate.index("one") < alternate.index("two")
    assert after.endswith("two\n")


def test_the_terminal_is_restored_when_the_app_goes_away() -> None:
    def frames() -> Iterator[Frame]:
        yield frame("one\n")
        raise AppGone(APP, "nobody listens on its socket")

    stream = io.StringIO()
    with pytest.raises(AppGone):
        on_terminal(frames(), stream, APP, 1.0)
    assert stream.getvalue().rpartition("\x1b[?1049l")[2].endswith("one\n")


def test_a_picture_taller_than_the_terminal_is_cut_and_says_so() -> None:
    out = shown([frame("".join(f"line {each}\n" for each in range(9)))])
    drawn = out.rpartition("\x1b[?1049l")[0]
    assert "line 2" in drawn
    assert "line 3" not in drawn
    assert "6 more lines · narrow down with PATH, --depth or --failed" in drawn


def test_an_app_that_does_not_answer_is_shown_as_it_was() -> None:
    late = frame("one\n").late(5.0).late(5.0)
    out = shown([frame("one\n"), late])
    assert "shop (pid 4242) · 12:00:00 · no answer for 10 s" in out


def test_ascii_has_an_ascii_title() -> None:
    screen = Screen(width=60, height=5, charset=ASCII, colour=False, terminal=True, moves=True)
    assert shown([frame("one\n", screen)]).isascii()


def test_ages_are_no_facts(make: Callable[..., dict[str, Any]]) -> None:
    failure = {"type": "E", "message": "m", "at": "2026-01-01T00:00:00Z"}
    base = facts_of(make("a", "A", uptime=1, last_failure=failure))
    assert facts_of(make("a", "A", uptime=2, next_try=3, last_failure=failure)) == base
    for other in (
        make("a", "A", "failed", last_failure=failure),
        make("a", "A", restarts=1, last_failure=failure),
        make("a", "A", owned={"timers": 1}, last_failure=failure),
        make("a", "A", last_failure={**failure, "at": "2026-01-01T00:00:01Z"}),
        make("a", "A", "running", make("b", "B"), last_failure=failure),
    ):
        assert facts_of(other) != base


def test_what_the_depth_hides_is_no_fact(make: Callable[..., dict[str, Any]]) -> None:
    quiet = make("a", "A", "running", make("b", "B"))
    loud = make("a", "A", "running", make("b", "B", "failed"))
    assert facts_of(quiet, 0) == facts_of(loud, 0)
    assert facts_of(quiet, 1) != facts_of(loud, 1)
