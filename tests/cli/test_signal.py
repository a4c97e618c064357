"""``sprag signal``."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import click
import pytest

from asked import asked
from processes import Process, app, run
from sprag._exit_codes import ExitCode
from sprag_cli.act.signal import NeedsForce, SignalOptions, send
from sprag_cli.commands.group import commands
from sprag_cli.commands.signal import SignalName

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def given(number: str, *paths: str, **options: Any) -> SignalOptions:
    found = asked("signal", number=number, paths=paths, **options)
    return SignalOptions(failed=False, **found)


SENT = {"path": "shop/web", "state": "running", "process_pid": 4711, "signal": "SIGHUP"}
NO_PROGRAM = 409, {"error": "shop/mail is no program: only …", "name": "NoProgram"}


def test_each_program_gets_a_line_and_who_is_none_is_refused_in_one(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"POST /v1/signal/web": SENT, "POST /v1/signal/mail": NO_PROGRAM})
    assert send(given("HUP", "web")) == ExitCode.WELL
    assert send(given("HUP", "mail", "web")) == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert out == "● shop/web was sent SIGHUP  pid 4711\n" * 2
    assert err == "sprag: shop/mail is no program: only …\n"
    assert app.requests[0] == "POST /v1/signal/web?signal=HUP HTTP/1.1"


@pytest.mark.parametrize("number", ["KILL", "STOP"])
def test_what_cannot_be_caught_needs_force(answering: Callable[..., Any], number: str) -> None:
    app = answering({"POST /v1/signal/web": SENT})
    with pytest.raises(NeedsForce, match="or say --force"):
        send(given(number, "web"))
    assert app.requests == []
    assert send(given(number, "web", force=True)) == ExitCode.WELL
    assert app.requests == [f"POST /v1/signal/web?signal={number}&force=1 HTTP/1.1"]


def test_json_is_an_array_of_the_answers(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"POST /v1/signal/web": SENT, "POST /v1/signal/mail": NO_PROGRAM})
    assert send(given("HUP", "web", "mail", json=True)) == ExitCode.FAILED
    out, err = capsys.readouterr()
    refused = {"path": "mail", "error": NO_PROGRAM[1]["error"], "name": "NoProgram"}
    assert (json.loads(out), err) == ([SENT, refused], "")


@pytest.mark.parametrize("typed", ["HUP", "SIGHUP", "hup", "sighup", "1"])
def test_a_signal_has_a_name_with_or_without_sig_or_a_number(typed: str) -> None:
    assert SignalName().convert(typed, None, None) == "HUP"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("HUPP", "did you mean HUP?"),
        ("99", "use one like HUP, USR1"),
        ("0", "use one like HUP, USR1"),
        ("-1", "use one like HUP, USR1"),
        ("", "use one like HUP, USR1"),
        ("²", "use one like HUP, USR1"),
        ("9" * 5000, "use one like HUP, USR1"),
    ],
)
def test_what_is_no_signal_is_refused_with_what_is_likely_meant(typed: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match="is no signal") as refused:
        SignalName().convert(typed, None, None)
    assert said in str(refused.value)


def test_names_are_completed_as_they_were_begun() -> None:
    context = click.Context(commands.commands["signal"])
    parameter = context.command.params[0]

    def offered(begun: str) -> list[str]:
        return [each.value for each in SignalName().shell_complete(context, parameter, begun)]

    assert offered("")[:3] == ["HUP", "USR1", "USR2"]
    assert offered("us") == ["USR1", "USR2"]
    assert offered("SIGU") == ["SIGUSR1", "SIGUSR2", "SIGURG"]
    assert offered("x") == ["XCPU", "XFSZ"]
    assert offered("y") == []


@pytest.mark.slow
def test_the_process_of_a_running_program_gets_it(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        SOURCE = "import signal, time\\n" \\
            "signal.signal(signal.SIGHUP, lambda *_: print('hup', flush=True))\\n" \\
            "print('listening', flush=True)\\nwhile True: time.sleep(1000)"
        class Again(Program):
            def on_reload(self):
                self.send_signal("HUP")
        app = App(name="shop", providers={"web": Again([sys.executable, "-S", "-c", SOURCE])})
        """,
    )

    def sprag(process: Process, *arguments: str) -> tuple[int, str]:
        environ = {"SPRAG_RUNTIME_DIR": str(process.runtime)}
        words = ("-m", "sprag_cli", *arguments)
        with Process(*words, directory=tmp_path, environ=environ) as client:
            return client.ends(), client.out + client.err

    with run(tmp_path, "--log-format", "console") as process:
        process.says("shop/web | listening\n")
        code, said = sprag(process, "signal", "SIGHUP", "web")
        assert (code, "shop/web was sent SIGHUP" in said) == (0, True)
        process.says("shop/web | hup\n")
        assert sprag(process, "reload")[0] == 0
        process.says("shop/web | hup\n", times=2)
        code, said = sprag(process, "status", "web")
        assert code == 0
        assert "Output, the latest last:\n  | listening\n  | hup\n  | hup\n" in said
        process.send(signal.SIGTERM)
        assert process.ends() == 0
