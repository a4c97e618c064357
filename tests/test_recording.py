"""The moving picture of the README: of which app it is, and how it is drawn."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from recording import (
    PICTURE,
    Span,
    Stay,
    app_of_the_readme,
    drawn,
    mark_of,
    spans,
    stays,
    whole,
)


def test_the_picture_is_of_the_app_of_the_readme() -> None:
    picture = PICTURE.read_text(encoding="utf-8")

    assert f"of the app {mark_of(app_of_the_readme())} " in picture, "run docs/recording.py"
    for word in ("service crashed", "service restarted", "running", "↺", "clock"):
        assert word in picture


def test_the_colours_of_a_terminal_are_names() -> None:
    line = "a  \x1b[1m\x1b[31mred\x1b[39m bold\x1b[0m \x1b[2;32mdim"

    assert list(spans(line)) == [
        Span(0, "a", ""),
        Span(3, "red", "bold red"),
        Span(7, "bold", "bold"),
        Span(12, "dim", "dim green"),
    ]


def test_a_line_begins_with_the_colours_of_the_one_above() -> None:
    lines = whole(["\x1b[31mred", "\x1b[1mtoo", "\x1b[0;2mdim", "", "so", "\x1b[mplain", "all"])

    styles = [[span.style for span in spans(line)] for line in lines]
    assert styles == [["red"], ["bold red"], ["dim"], [], ["dim"], [""], [""]]


def test_a_line_stays_as_long_as_it_is_the_same() -> None:
    screens = [(0.0, ["one", ""]), (1.0, ["one", "two"]), (2.5, ["three", "two"])]

    assert stays(screens, 4.0) == [
        Stay(0, "one", 0.0, 2.5),
        Stay(0, "three", 2.5, 4.0),
        Stay(1, "two", 1.0, 4.0),
    ]


def test_each_line_is_drawn_at_its_place_and_time() -> None:
    picture = drawn([(0.0, ["a < b"]), (1.0, ["a < b", "  c"])], 4.0, "mark")
    root = ET.fromstring(picture)
    name = "{http://www.w3.org/2000/svg}"
    first, second = root.findall(f"{name}text")

    assert first.find(f"{name}tspan").text == "a < b"  # type: ignore[union-attr]
    assert second.find(f"{name}tspan").get("x") == "29.7"  # type: ignore[union-attr]
    assert first.get("class") == "t0 last"
    assert re.search(r"@keyframes t1 \{ 0.00% \{ visibility: hidden; \} 25.00%", picture)
    assert "prefers-color-scheme: dark" in picture
    assert "prefers-reduced-motion" in picture
