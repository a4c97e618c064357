"""`sprag run` up to the call of `sprag.host.run`, with a stand-in for sprag itself."""

from __future__ import annotations

import io
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sprag_cli._exit import RunExit
from sprag_cli._load import NotAService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Service:
    def snapshot(self) -> str:
        return "a snapshot"


class SpragError(Exception):
    pass


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
def host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., dict[str, Any]]
) -> Iterator[Host]:
    host = Host()
    fake = ModuleType("sprag")
    exceptions = ModuleType("sprag.exceptions")
    vars(exceptions).update(SpragError=SpragError)
    tree = make("shop", "App", "running", make("mail", "Mail"))
    vars(fake).update(Service=Service, host=host, to_json=lambda _: tree, exceptions=exceptions)
    monkeypatch.setitem(sys.modules, "sprag", fake)
    monkeypatch.setitem(sys.modules, "sprag.exceptions", exceptions)
    monkeypatch.delitem(sys.modules, "sprag_cli._run", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "shop_of_run.py").write_text("from sprag import Service\napp = Service()\nx = 1\n")
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield host
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    for name in ("shop_of_run", "sprag_cli._run"):
        sys.modules.pop(name, None)


def run(**options: Any) -> int:
    from sprag_cli._run import RunOptions
    from sprag_cli._run import run as run_app

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
    assert sys.stdout.getvalue() == (
        "● shop     App   running  up 2h03m\n└─ ● mail  Mail  running  up 2h03m  ↺ 0\n"
    )
    run(tree=False)
    assert sys.stdout.getvalue().count("shop") == 1


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
    from sprag_cli._exit import CommandError

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
