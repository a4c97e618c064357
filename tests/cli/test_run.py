"""`sprag run` up to the call of `sprag.host.run`, and once as a whole."""

from __future__ import annotations

import errno
import io
import logging
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sprag import SpragError
from sprag_cli._exit import CommandError, RunExit
from sprag_cli._load import NotAService
from sprag_cli._run import RunOptions
from sprag_cli._run import run as run_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Host:
    """Stands for `sprag.host`: notes how it was called, and is up at once."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, dict[str, Any]]] = []
        self.code = 0
        self.error: Exception | None = None

    def run(self, root: Any, *, on_up: Callable[[], None], **options: Any) -> int:
        self.calls.append((root, options))
        on_up()
        if self.error is not None:
            raise self.error
        return self.code


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    host = Host()
    monkeypatch.setattr("sprag.host.run", host.run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "shop_of_run.py").write_text(
        "from sprag import App, Service\napp = App(name='shop')\nx = 1\n"
    )
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield host
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    sys.modules.pop("shop_of_run", None)


def run(**options: Any) -> int:
    given: dict[str, Any] = {"target": "shop_of_run:app", **options}
    return run_app(RunOptions(**given))


def test_the_host_runs_what_was_loaded_with_the_options_given(host: Host) -> None:
    host.code = RunExit.STRAGGLERS
    assert run(name="mine", shutdown_timeout=7.0, control=False) == RunExit.STRAGGLERS
    ((root, options),) = host.calls
    assert root is sys.modules["shop_of_run"].app
    assert options == {"name": "mine", "shutdown_timeout": 7.0, "control": False}


def test_the_tree_is_shown_on_a_terminal_once_it_is_up(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    run()
    assert isinstance(sys.stdout, Terminal)
    shown = sys.stdout.getvalue()
    assert shown.startswith("◌ ")
    assert shown.endswith("  App  new\n")
    run(tree=False)
    assert sys.stdout.getvalue() == shown


def test_off_a_terminal_no_tree_is_shown(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert capsys.readouterr().out == ""


def test_logs_go_to_stderr_as_asked(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    run(log_format="json", log_level="warning")
    logging.getLogger("sprag").info("quiet")
    logging.getLogger("sprag").warning("loud")
    captured = capsys.readouterr()
    assert '"event": "loud"' in captured.err
    assert "quiet" not in captured.err
    assert captured.out == ""


def test_an_app_may_configure_logging_itself(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop_of_run.py").write_text(
        "import logging, sys\nfrom sprag import Service\n"
        "logging.basicConfig(force=True, format='mine: %(message)s', stream=sys.stderr)\n"
        "app = Service()\n"
    )
    run()
    logging.getLogger("sprag").warning("loud")
    assert capsys.readouterr().err == "mine: loud\n"


def test_what_is_no_service_is_refused(host: Host) -> None:
    with pytest.raises(NotAService, match="is an int"):
        run(target="shop_of_run:x")
    assert host.calls == []


def test_an_error_of_sprag_is_one_line_and_means_that_nothing_came_up(host: Host) -> None:
    host.error = SpragError("shop/mail: on_start raised OSError: no route")
    with pytest.raises(CommandError) as caught:
        run()
    assert caught.value.report() == "sprag: shop/mail: on_start raised OSError: no route"
    assert caught.value.exit_code == RunExit.NEVER_CAME_UP


def test_an_interrupt_during_the_import_ends_quietly(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop_of_run.py").write_text("raise KeyboardInterrupt")
    assert run() == RunExit.FORCED_INT
    assert capsys.readouterr() == ("", "")


def test_a_terminal_that_is_closed_does_not_end_the_app(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(Terminal):
        def write(self, _text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdout", Closed())
    assert run() == RunExit.STOPPED


@pytest.mark.slow
def test_an_app_runs_is_seen_and_stops(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        """
from sprag import App, Service

class Mail(Service):
    def on_start(self):
        self.interval(print, 3600)
        self.listen("ready", print)
        self.spawn(print, "started", flush=True)

app = App(name="shop", providers={"mail": Mail()})
"""
    )
    sprag = [sys.executable, "-W", "error", "-m", "sprag_cli"]
    with subprocess.Popen(
        [*sprag, "run", "shop:app", "--log-level", "warning"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        seen = subprocess.run(
            [*sprag, "tree", "--ascii"], capture_output=True, text=True, check=False
        )
        process.send_signal(signal.SIGTERM)
        out, said = process.communicate(timeout=50)
    assert (process.returncode, out, said) == (RunExit.STOPPED, "", "")
    assert (seen.returncode, seen.stderr) == (0, "")
    picture = [line.split("  ") for line in seen.stdout.splitlines()]
    assert [line[0] for line in picture] == ["* shop", "`- * mail"]
    assert "1 timer, 1 listener" in seen.stdout
