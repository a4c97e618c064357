from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from asked import asked
from drawn import plain
from sprag._exit_codes import ExitCode
from sprag_cli.act.hold import HoldOptions, NothingNamed, hold, release
from sprag_cli.commands.group import commands
from sprag_cli.draw.render import render
from sprag_cli.draw.status import render as render_status
from sprag_cli.draw.why import render as render_why
from sprag_cli.term.style import UNICODE

if TYPE_CHECKING:
    from collections.abc import Callable

HELD = {"path": "shop/mail", "since": "2026-01-01T12:00:00Z", "until": None, "by": 1000}
NOWHERE = 404, {"error": "no service 'nope'", "name": "UnknownService"}
NOON = 1767268800.0


def given(command: str, *paths: str, **options: Any) -> HoldOptions:
    found: dict[str, Any] = {"seconds": None, **asked(command, paths=paths, **options)}
    return HoldOptions(failed=False, **found)


def told(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "state": "running", "held": None, "was": None, **more}


def test_a_hold_says_for_how_long_and_how_it_ends(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3601))
    app = answering({"POST /v1/hold/mail": told("shop/mail", held={**HELD, "until": until})})
    assert hold(given("hold", "mail", seconds=3600.0)) == ExitCode.WELL
    assert capsys.readouterr().out == (
        "● shop/mail is held for 1h00m by uid 1000: its ends wait for 'sprag release shop/mail'\n"
    )
    assert app.requests == ["POST /v1/hold/mail?for=3600.0 HTTP/1.1"]


def test_each_release_gets_a_line_and_one_that_is_still_held_fails(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering(
        {
            "POST /v1/release/mail": told("shop/mail", was=HELD),
            "POST /v1/release/feed": told("shop/feed"),
            "POST /v1/release/fleet/a": told("shop/fleet/a", held={**HELD, "path": "shop/fleet"}),
            "POST /v1/release/nope": (
                404,
                {"error": "no service 'nope'", "name": "UnknownService"},
            ),
        }
    )
    assert release(given("release", "mail", "feed")) == ExitCode.WELL
    assert release(given("release", "fleet/a")) == ExitCode.FAILED
    assert release(given("release", "nope", "mail")) == ExitCode.NOT_FOUND
    out, err = capsys.readouterr()
    assert out == (
        "● shop/mail released\n● shop/feed was not held\n"
        "● shop/fleet/a was not held, and is held with shop/fleet: 'sprag release shop/fleet'\n"
        "● shop/mail released\n"
    )
    assert err.startswith("sprag: no service 'nope'")


def test_json_is_an_array_of_the_answers(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"POST /v1/hold/mail": told("shop/mail", held=HELD)})
    assert hold(given("hold", "mail", json=True)) == ExitCode.WELL
    assert json.loads(capsys.readouterr().out) == [told("shop/mail", held=HELD)]


@pytest.mark.parametrize("command", ["hold", "release"])
def test_without_a_path_it_asks_which(command: str) -> None:
    with pytest.raises(NothingNamed, match="which service"):
        (hold if command == "hold" else release)(given(command))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2d", 172800), ("0.5", 0.5)],
)
def test_a_length_of_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert _read(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1x", "h", "m1", "nan", "inf", "99999999999d", "\u0661"]
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    done = CliRunner().invoke(commands, ["hold", "mail", "--for", text])
    assert done.exit_code == 2
    assert "is not a length of time: use seconds, or 90s" in done.stderr


def _read(text: str) -> object:
    command = commands.commands["hold"]
    return command.make_context("hold", ["mail", "--for", text]).params["seconds"]


def test_the_tree_shows_loudly_what_is_held_and_what_waits() -> None:
    fleet = {
        "name": "fleet",
        "path": "shop/mail",
        "class": "Fleet",
        "state": "running",
        "held": {**HELD, "until": "2026-01-01T13:00:00Z"},
        "children": [
            {"name": "a", "path": "shop/mail/a", "state": "restarting", "held": HELD},
            {"name": "b", "path": "shop/mail/b", "state": "running", "held": HELD},
        ],
    }
    lines = [plain(line) for line in render(fleet, width=100, now=NOON)]
    assert lines == [
        "● fleet  Fleet  running (held)     held for 1h00m by uid 1000",
        "├─ ↻ a          restarting (held)",
        "└─ ● b          running (held)",
    ]


def test_status_and_why_tell_of_the_hold() -> None:
    node = {"name": "mail", "path": "shop/mail", "state": "running", "held": HELD}
    lines = [plain(line) for line in render_status(node, width=100, now=NOON, charset=UNICODE)]
    assert "      Held: by uid 1000: its ends wait for 'sprag release shop/mail'" in lines
    note = {"at": "2026-01-01T12:00:00Z", "path": "shop/mail", "by": 1000, "seconds": 60.0}
    notes = [{**note, "what": "held"}, {**note, "what": "expired", "by": None}]
    notes.append({**note, "path": "shop", "what": "released"})
    answer = {"path": "shop/mail", "state": "running", "rulings": [], "holds": notes}
    why = [plain(line) for line in render_why(answer, width=100, now=NOON, charset=UNICODE, most=9)]
    assert [line.split("  ")[-1] for line in why[1:]] == [
        "it was held for 1m by uid 1000",
        "it was held no longer: its time was over",
        "shop was released by uid 1000",
    ]
