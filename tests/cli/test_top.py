from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import pytest

from asked import asked
from drawn import plain
from sprag._exit_codes import ExitCode
from sprag_cli.app.select import NoMatch
from sprag_cli.app.told import NoSuchService, list_of, text_of
from sprag_cli.commands.group import commands
from sprag_cli.draw.top import KEYS, TopOptions, render, resorted, show
from sprag_cli.term.style import ASCII, UNICODE
from sprag_cli.term.words import size

if TYPE_CHECKING:
    from collections.abc import Callable


def given(paths: tuple[str, ...] = (), **options: Any) -> TopOptions:
    return TopOptions(**asked("top", paths=paths, **options))


def row(path: str, cpu: float, **more: Any) -> dict[str, Any]:
    return {
        "path": path,
        "state": "running",
        "cpu": cpu,
        "greenlets": 0,
        "timers": 0,
        "events": 0.0,
        "ticks": 0.0,
        "restarts": 0,
        **more,
    }


ANSWER: dict[str, Any] = {
    "app": "shop",
    "pid": 4242,
    "count": 3,
    "cpu": {"services": 0.31, "others": 0.02, "idle": 0.67},
    "services": [
        row("shop/intake", 0.3, greenlets=14, events=123.4),
        row("shop/metrics", 0.01, timers=2, ticks=9.96),
        row("shop/fleet/courier", 0.0, state="restarting", restarts=3),
    ],
}


def drawn(**options: Any) -> str:
    given: dict[str, Any] = {"width": 80, "charset": UNICODE, "sort": "cpu", **options}
    return "".join(f"{plain(line)}\n" for line in render(ANSWER, **given))


def test_the_table_at_80_columns() -> None:
    assert drawn() == (
        "shop (pid 4242) · 3 services · CPU 31.0% services · 2.0% others · 67.0% idle\n"
        "  SERVICE             CPU%↓   GREENLETS   TIMERS   TICKS/S   EVENTS/S   RESTARTS\n"
        "● shop/intake          30.0          14        -         -        123          -\n"
        "● shop/metrics          1.0           -        2      10.0          -          -\n"
        "↻ shop/fleet/courier    0.0           -        -         -          -          3\n"
    )


def test_the_table_at_50_columns_in_ascii() -> None:
    assert drawn(width=50, charset=ASCII, sort="restarts") == (
        "shop (pid 4242), 3 services, CPU 31.0% services\n"
        "  SERVICE              CPU%   GREENLETS  RESTARTSv\n"
        "* shop/intake          30.0          14          -\n"
        "* shop/metrics          1.0           -          -\n"
        "@ shop/fleet/courier    0.0           -          3\n"
    )


@pytest.mark.parametrize("width", [20, 30, 40, 60, 100, 120])
def test_no_line_is_wider_than_the_window(width: int) -> None:
    assert max(map(len, drawn(width=width, keys=True).splitlines())) <= width


def test_a_live_table_shows_the_keys_and_fits_the_window() -> None:
    text = drawn(keys=True, height=5)
    assert "q ends · keys that sort: p path · c cpu · g greenlets · t timers · k ticks" in text
    assert text.count("shop/") == 1


def test_what_it_is_sorted_by_stays_in_a_narrow_window() -> None:
    assert "TICKS/S↓" in drawn(width=40, sort="ticks")


def test_a_key_sorts_what_is_there() -> None:
    rows: Any = resorted(ANSWER, "restarts")["services"]
    assert rows[0]["path"] == "shop/fleet/courier"


def test_once_prints_and_ends(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"/v1/top": ANSWER})
    assert show(given(once=True, sort="events", limit=3)) == ExitCode.WELL
    assert "EVENTS/S↓" in capsys.readouterr().out
    assert app.requests == ["GET /v1/top?seconds=1.0&sort=events&limit=3 HTTP/1.1"]
    show(given(once=True, json=True))
    assert json.loads(capsys.readouterr().out) == ANSWER


def test_of_several_paths_and_globs_the_rows_are_picked_here(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str], shop: dict[str, Any]
) -> None:
    app = answering({"/v1/top": ANSWER, "/v1/tree": shop})

    def picked(*paths: str, **options: Any) -> list[str]:
        show(given(paths=paths, once=True, json=True, **options))
        return [row["path"] for row in json.loads(capsys.readouterr().out)["services"]]

    every = [row["path"] for row in ANSWER["services"]]
    assert picked("f*") == [path for path in every if path.startswith("shop/fleet")]
    assert picked("f*", limit=1) == picked("f*")[:1]
    assert app.requests[-1] == "GET /v1/top?seconds=1.0&sort=cpu&limit=1000 HTTP/1.1"
    assert picked("shop", failed=True) == []
    assert show(given(failed=True)) == ExitCode.WELL
    assert capsys.readouterr().out == "nothing is failed\n"
    with pytest.raises(NoMatch):
        picked("x*")
    with pytest.raises(NoSuchService):
        picked("fleet", "nope")


def test_one_path_is_the_app_s_to_look_up(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"/v1/top": ANSWER})
    show(given(paths=("fleet",), once=True))
    assert capsys.readouterr().out
    assert app.requests == ["GET /v1/top?path=fleet&seconds=1.0&sort=cpu&limit=30 HTTP/1.1"]


@pytest.mark.slow
def test_on_a_pipe_it_ends_with_its_reader(answering: Callable[..., Any]) -> None:
    answering({"/v1/top": ANSWER})
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "sprag_cli", "top", "--interval", "0.1"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=20,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (ExitCode.WELL, b"")


@pytest.mark.slow
def test_a_terminal_is_drawn_in_place_sorted_by_keys_and_given_back(
    answering: Callable[..., Any],
) -> None:
    answering({"/v1/top": ANSWER})
    master, slave = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(
        [sys.executable, "-m", "sprag_cli", "top", "--interval", "0.1"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environ,
    ) as process:
        os.close(slave)
        seen = ""

        def until(text: str) -> None:
            nonlocal seen
            deadline = time.monotonic() + 20
            while text not in seen and time.monotonic() < deadline:
                if select.select([master], [], [], 0.1)[0]:
                    seen += os.read(master, 1 << 16).decode(errors="replace")
            assert text in seen

        until("CPU%↓")
        os.write(master, b"r")
        until("RESTARTS↓")
        os.write(master, b"q")
        until("\x1b[?1049l")
        assert process.wait(20) == ExitCode.WELL
    os.close(master)
    assert seen.startswith("\x1b[?1049h")


def test_every_order_that_can_be_asked_for_has_a_key() -> None:
    (choice,) = (each.type for each in commands.commands["top"].params if each.name == "sort")
    assert isinstance(choice, click.Choice)
    assert set(choice.choices) == set(KEYS.values())


def test_programs_have_columns_of_their_own_where_there_are_any() -> None:
    def process(cpu: float, rss: int) -> dict[str, Any]:
        return {"pid": 4711, "cpu": cpu, "rss": rss, "descriptors": 34, "processes": 5}

    rows = [
        row("shop/web", 0.0, process=process(1.5, 123_456_789)),
        row("shop/db", 0.0, process={"pid": 4712}),
        row("shop/mail", 0.25, process=None),
    ]
    answer = {**ANSWER, "services": rows}
    lines = list(map(plain, render(answer, width=100, charset=UNICODE, sort="cpu")))
    assert [line[:38] for line in lines[1:]] == [
        "  SERVICE    CPU%↓     RSS   FDS   PID",
        "● shop/web   150.0  123 MB    34  4711",
        "● shop/db      0.0       -     -  4712",
        "● shop/mail   25.0       -     -     -",
    ]
    narrow = plain(render(answer, width=50, charset=UNICODE, sort="rss")[1])
    assert "RSS↓" in narrow
    assert "PID" not in narrow

    def order(sort: str) -> list[str]:
        told = resorted({**answer, "services": rows[::-1]}, sort)
        return [text_of(each, "path") for each in list_of(told, "services")]

    assert order("cpu") == ["shop/web", "shop/mail", "shop/db"]
    assert order("rss") == ["shop/web", "shop/db", "shop/mail"]


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 B"), (999, "999 B"), (1500, "2 kB"), (999_499_999, "999 MB"), (1.25e9, "1.2 GB")],
)
def test_sizes_are_short(number: float, said: str) -> None:
    assert size(number) == said
