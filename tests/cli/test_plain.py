"""What others have named, said or sent cannot act on the terminal of whoever looks."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from click.testing import CliRunner

from processes import app
from processes import run as run_process
from sprag_cli.commands.group import commands
from sprag_cli.run.logs import configure
from sprag_cli.term.plain import escaped, printable, printable_lines
from sprag_supervisor.escaping import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOSTILE = "\x1b]2;PWNED\x07\x9b31m\x7f\u202eevil\u2066\udc9b\x85\u2028z"
"""A title set by C0 and by C1, a delete, letters turned round, half a pair, and odd newlines."""
SHOWN = r"\x1b]2;PWNED\x07\x9b31m\x7f\u202eevil\u2066\udc9b"
FAKED = "first\n12:00:00 info     faked"


def acting(text: str) -> list[str]:
    """Return what of *text*, colours and newlines apart, is not just seen."""
    return [letter for letter in text if not letter.isprintable() and letter != "\n"]


def test_what_acts_is_written_as_python_writes_it() -> None:
    assert escaped(HOSTILE) == SHOWN + r"\x85\u2028z"
    assert printable(f"  {HOSTILE}") == f"{SHOWN} z"
    assert printable("a\n b\tc") == "a b c"
    assert printable_lines("a\r\n\tb\x1b") == ["a", r"    b\x1b"]


def test_letters_are_left_alone() -> None:
    for text in ("naïve 注文 ✗", "👨\u200d👩", "\u0645\u06cc\u200c\u062e"):
        assert printable(text) == text
    assert printable("12\xa0000") == "12 000"


def test_the_library_and_the_command_line_escape_alike() -> None:
    # Two planes and a half of seventeen have characters; of the others, their ends.
    ends = (
        start + at for start in range(0, 0x11_0000, 0x1_0000) for at in (*range(64), *range(-64, 0))
    )
    every = "".join(
        map(chr, [*range(0x3_4000), *range(0xE_0000, 0xE_1000), *filter(0x3_4000.__le__, ends)])
    )
    assert plain(every) == escaped(every)
    assert acting(escaped(every).translate({0x200C: None, 0x200D: None})) == []


# -- each command ----------------------------------------------------------------------

FAILURE: dict[str, Any] = {
    "type": f"app.{HOSTILE}",
    "message": f"{HOSTILE}\n{FAKED}",
    "at": "2026-01-01T11:59:58Z",
    "incarnation": 2,
    "traceback": f"Traceback:\n  File {HOSTILE}\n{HOSTILE}\n",
}


def everything(make: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Answer each question with hostile names, paths and messages."""
    path = f"shop/{HOSTILE}\n{FAKED}"
    said: dict[str, Any] = {"path": path, "state": "failed", "class": HOSTILE, "module": HOSTILE}
    name = f"{HOSTILE}\n{FAKED}"
    leaf = make(name, HOSTILE, "failed", last_failure=FAILURE, path=path, restarts=2)
    left = [{"path": f"{path}2", "incarnation": 1, "step": HOSTILE}]
    root = {**make("shop", "App", "running", {**leaf, "stragglers": left}), "app": HOSTILE}
    status = {
        **leaf,
        **said,
        "policy": {"restart": HOSTILE, "on_failure": {HOSTILE: HOSTILE}, "needs": [HOSTILE]},
        "counters": {},
        "stragglers": left,
        "last_exit": {"reason": HOSTILE},
        "failures": [FAILURE],
        "log": [{"at": "?", "level": HOSTILE, "event": FAKED, "fields": {HOSTILE: HOSTILE}}],
    }
    ruling = {
        "child": path,
        "supervisor": HOSTILE,
        "reason": HOSTILE,
        "failure": FAILURE,
        "decision": "restart",
        "covered": [path, HOSTILE],
        "covered_count": 2,
        "strategy": HOSTILE,
    }
    frames = [{"file": HOSTILE, "line": 1, "function": HOSTILE, "source": HOSTILE}]
    entry = {"path": path, "outcome": HOSTILE, "step": HOSTILE, "detail": f"{HOSTILE}\n{FAKED}"}
    acted = {**said, "done": True, "before": HOSTILE, "report": {"errors": 1, "entries": [entry]}}
    return {
        "/v1/tree": root,
        "/v1/service": status,
        "/v1/why": {**said, "count": 1, "rulings": [ruling, {**ruling, "decision": HOSTILE}]},
        "/v1/stacks": {"stacks": [{"service": path, "what": HOSTILE, "frames": frames}]},
        "/v1/top": {"app": HOSTILE, "count": 1, "services": [said]},
        "/v1/ready": (503, {"path": path, "not_ready": [said], "count": 1}),
        "/v1/start/x": acted,
        "/v1/stop/x": (409, {"name": "Odd", "error": f"{HOSTILE}\n{FAKED}"}),
        "/v1/restart/x": {**acted, "done": False},
        "/v1/events": _stream(
            {"event": "snapshot", **said, "last_failure": FAILURE},
            {"event": "live"},
            {"event": "crashed", **said, "exception": HOSTILE, "message": FAKED},
            {"event": HOSTILE, **said},
            {"event": "end"},
        ),
    }


def _stream(*events: dict[str, Any]) -> bytes:
    return "".join(json.dumps(event) + "\n" for event in events).encode()


@pytest.mark.parametrize("screen", [("80", ""), ("300", "1")], ids=["narrow", "coloured"])
@pytest.mark.parametrize(
    "words",
    [
        ["tree"],
        ["tree", "--failed"],
        ["tree", "nope"],
        ["status"],
        ["why", ""],
        ["events"],
        ["stacks"],
        ["top", "--once"],
        ["wait", "--timeout", "0.01"],
        ["start", "x"],
        ["stop", "x"],
        ["restart", "x"],
        ["restart", "x", "--no-wait"],
        ["tree", "--app", f"/nowhere/{HOSTILE}"],
        ["tree", "--app", HOSTILE],
        ["status", f"*{HOSTILE}"],
        [HOSTILE],
        [f"--{HOSTILE}"],
        ["tree", f"--{HOSTILE}"],
        ["tree", "--depth", HOSTILE],
        ["completion", "bash", HOSTILE],
        ["run", HOSTILE],
        ["check", f"{HOSTILE}:app"],
    ],
    ids=lambda words: "-".join(words)[:20].encode("ascii", "replace").decode(),
)
def test_no_command_passes_on_what_acts(
    answering: Callable[..., Any],
    make: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    screen: tuple[str, str],
) -> None:
    answering(everything(make))
    columns, colour = screen
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", colour)
    said = CliRunner().invoke(commands, words, prog_name="sprag")
    assert not isinstance(said.exception, Exception) or said.exit_code, said.exception
    text = said.output
    if colour:
        import re

        text = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert text
    assert acting(text) == []
    assert not any(line.startswith("12:00:00 info     faked") for line in text.split("\n"))


@pytest.mark.parametrize("words", [["tree"], ["status"], ["why", ""], ["stacks"], ["events"]])
def test_json_says_the_same_in_ascii(
    answering: Callable[..., Any], make: Callable[..., dict[str, Any]], words: list[str]
) -> None:
    answering(everything(make))
    text = CliRunner().invoke(commands, [*words, "--json"], prog_name="sprag").output
    assert text.isascii()
    assert acting(text) == []
    assert json.dumps(HOSTILE)[1:-1].replace("\x7f", r"\u007f") in text


# -- the log ---------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def crash(message: str) -> None:
    class Odd:
        def __repr__(self) -> str:
            return message

        __str__ = __repr__

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError(message)

        __str__ = __repr__

    fields: dict[str, Any] = {"event": message, "service": message, "incarnation": 2}
    fields |= {"path": message, message: message, "odd": Odd(), "broken": Broken()}
    try:
        raise ValueError(message)
    except ValueError:
        logging.getLogger("sprag").exception("it", extra={"sprag": fields})
    logging.getLogger("a.library").warning("%s", message)
    structlog.get_logger().info(message, odd=Odd(), broken=Broken(), stack_info=True)


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize("message", [HOSTILE, FAKED])
def test_no_record_acts_or_looks_like_another(
    log: io.StringIO, log_format: Any, message: str
) -> None:
    configure(log_format, "info", stream=log)
    crash(message)
    text = log.getvalue()
    assert acting(text) == []
    lines = text.splitlines()
    assert sum(line.startswith(("{", "0", "1", "2")) for line in lines) == 3
    if log_format == "console":
        assert all(line.startswith("    ") for line in lines if not line.startswith(tuple("012")))
        assert "broken=<its __repr__ raised RuntimeError>" in text


@pytest.mark.slow
def test_a_dump_of_a_running_app_shows_names_and_messages_escaped(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        HOSTILE = "\\x1b]2;PWNED\\x07\\n  faked"
        class Bad(Service):
            def run(self):
                gevent.sleep(3600)
        app = App(name=HOSTILE, providers={HOSTILE: Bad()})
        """,
    )
    with run_process(tmp_path, "--log-format", "console") as process:
        process.says("service started")
        process.socket()
        process.send(signal.SIGUSR1)
        process.says("stacks, by service")
        process.send(signal.SIGTERM)
        process.ends()
        assert acting(process.err + process.out) == []
        assert r"\x1b]2;PWNED\x07\n  faked" in process.err


@pytest.mark.slow
def test_what_nobody_handles_is_printed_escaped(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import threading
        HOSTILE = "\\x1b]2;PWNED\\x07\\u202e"
        def fail(whence):
            raise ValueError(whence + HOSTILE)
        class Deleted:
            def __del__(self): fail("deleted")
            def __repr__(self): return HOSTILE
        nobodys = threading.Thread(target=fail, args=["nobody's"], name=HOSTILE)
        nobodys.start()
        nobodys.join()
        class Bad(Service):
            def on_start(self):
                gevent.get_hub().loop.run_callback(fail, "callback")
                Deleted()
        app = App(name="shop", providers={"bad": Bad()})
        """,
    )
    with run_process(tmp_path, "--log-format", "console", terminal=True) as process:
        for whence in ("deleted", "nobody's", "callback"):
            process.says(rf"ValueError: {whence}\x1b]2;PWNED\x07\u202e")
        process.says("up")
        process.send(signal.SIGTERM)
        assert process.ends() == 0
        assert "PWNED\x07" not in process.out
        assert "\u202e" not in process.out


@pytest.mark.slow
def test_a_request_cannot_set_the_title_of_the_terminal_with_the_log(tmp_path: Path) -> None:
    pytest.importorskip("werkzeug")
    app(
        tmp_path,
        """
        class Home(Controller):
            route = "/"
            def load(self):
                return {}
        app = App(name="shop", routes="app")
        """,
    )
    socket = tmp_path / "web.sock"
    options = ["--log-format", "console", "--unix-socket", str(socket)]
    with run_process(tmp_path, *options) as process:
        process.says("serving")
        import http.client
        import socket as sockets

        connection = http.client.HTTPConnection("localhost")
        connection.sock = sockets.socket(sockets.AF_UNIX)
        connection.sock.connect(str(socket))
        connection.request("GET", "/%1b%5d2;PWNED%07%c2%9b")
        connection.getresponse().read()
        connection.close()
        process.says("PWNED")
        process.send(signal.SIGTERM)
        process.ends()
        assert acting(process.err + process.out) == []
        assert r"\x1b]2;PWNED\x07" in process.err


@pytest.mark.slow
def test_what_is_typed_is_not_repeated_to_the_letter() -> None:
    for words in ([HOSTILE.replace("\udc9b", "")], ["tree", "--app", "\udc9b\x1b]2;x\x07"]):
        done = subprocess.run(
            [sys.executable, "-m", "sprag_cli", *words],
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=False,
            timeout=50,
        )
        assert done.returncode
        assert acting(done.stderr.decode()) == []
