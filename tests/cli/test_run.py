"""`sprag run`: up to the call of `sprag.host.run`, and as a whole in real processes."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from asked import asked
from processes import app
from processes import run as run_process
from sprag import SpragError
from sprag._exit_codes import ExitCode
from sprag_cli.run.binding import places
from sprag_cli.run.load import NotAService
from sprag_cli.run.options import RunOptions
from sprag_cli.run.run import run_app
from sprag_cli.term.errors import CommandError

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
    given = asked("run", **{"target": "shop_of_run:app", **options})
    binds = places(given, set(), {})
    return run_app(RunOptions(**given, binds=binds))


def test_the_host_runs_what_was_loaded_with_the_options_given(host: Host) -> None:
    host.code = ExitCode.NOT_CLEAN
    assert run(name="mine", shutdown_timeout=7.0, control=False) == ExitCode.NOT_CLEAN
    ((root, options),) = host.calls
    assert root is sys.modules["shop_of_run"].app
    assert options == {
        "name": "mine",
        "shutdown_timeout": 7.0,
        "control": False,
        "ends_process": True,
        "watchdog": None,
        "watchdog_exits": False,
        "ops": None,
        "drain_delay": 0.0,
    }


def test_a_ctrl_c_before_there_is_a_parent_of_workers_is_told_by_the_code_alone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("sprag_cli.run.workers.parent_of", interrupted)
    assert run(workers=2) == ExitCode.FORCED_INT
    assert host.calls == []


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
    assert caught.value.exit_code == ExitCode.NEVER_CAME_UP


def test_an_interrupt_during_the_import_ends_quietly(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop_of_run.py").write_text("raise KeyboardInterrupt")
    assert run() == ExitCode.FORCED_INT
    assert capsys.readouterr() == ("", "")


def test_a_terminal_that_is_closed_does_not_end_the_app(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(Terminal):
        def write(self, _text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stdout", Closed())
    assert run() == ExitCode.STOPPED


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
    assert (process.returncode, out, said) == (ExitCode.STOPPED, "", "")
    assert (seen.returncode, seen.stderr) == (0, "")
    picture = [line.split("  ") for line in seen.stdout.splitlines()]
    assert [line[0] for line in picture] == ["* shop", "`- * mail"]
    assert "1 timer, 1 listener" in seen.stdout


# -- real processes: exit codes ------------------------------------------------------------


@pytest.mark.slow
def test_an_app_that_gives_up_ends_with_1_and_the_log_says_why(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Crashing(Service):
            def on_start(self):
                self.timeout(self.crash, 0.01)
            def crash(self):
                raise ValueError("bad order 17")
        app = App(name="shop", providers={"crashing": Crashing()})
        """,
    )
    with run_process(tmp_path) as process:
        assert process.ends() == ExitCode.GAVE_UP
        crashes = process.events("service crashed")
        assert [crash["incarnation"] for crash in crashes] == [1, 2, 3, 4]
        assert all(crash["exception"].endswith("ValueError: bad order 17") for crash in crashes)
        (gave_up,) = process.events("supervisor gave up")
        assert gave_up["service"] == "shop"
        assert "crashing" in gave_up["reason"]
        assert "ValueError: bad order 17" in gave_up["reason"]
        last = process.records()[-1]
        assert (last["level"], last["event"], last["code"]) == ("error", "gave up", 1)
        assert process.err.count("Traceback") == 4  # and nothing of gevent's


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "target", "hint"),
    [
        (["--shutdown-timeout", "nan"], "app:app", "--shutdown-timeout"),
        ([], "app.py:app", "'sprag run app:app'"),
        ([], "app:ap", "did you mean app:app?"),
        ([], "ap:app", "did you mean app:app?"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_right(
    tmp_path: Path, arguments: list[str], target: str, hint: str
) -> None:
    app(tmp_path, "nothing = 0\napp = App()\n")
    with run_process(tmp_path, *arguments, target=target) as process:
        assert process.ends() == ExitCode.USAGE
        assert hint in process.err
        assert "Traceback" not in process.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ready", "code"), [("False", ExitCode.NEVER_CAME_UP), ("True", ExitCode.GAVE_UP)]
)
def test_an_app_that_gives_up_before_it_was_once_ready_never_came_up(
    tmp_path: Path, ready: str, code: ExitCode
) -> None:
    source = f"""
    import sprag

    class Feed(sprag.Service):
        def on_start(self):
            self.set_ready({ready})
            self.timeout(lambda: 1 / 0, 0.2)

    app = sprag.App(providers={{"feed": Feed()}}, max_restarts=0)
    """
    app(tmp_path, source)
    with run_process(tmp_path) as process:
        assert process.ends() == code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import no_such_library", ['app.py", line', "No module named 'no_such_library'"]),
        ("from json import lodas", ['app.py", line', "cannot import name 'lodas'"]),
        ("class Shop(Service)\n    pass", ["class Shop(Service)", "SyntaxError"]),
        ("def app():\n    raise OSError('no route')", ["in app", "OSError: no route"]),
    ],
)
def test_what_is_wrong_with_the_users_module_ends_with_3_and_is_theirs(
    tmp_path: Path, source: str, lines: list[str]
) -> None:
    app(tmp_path, source)
    with run_process(tmp_path) as process:
        assert process.ends() == ExitCode.NEVER_CAME_UP
        assert all(line in process.err for line in lines), process.err
        assert "sprag_cli" not in process.err
        assert process.err.endswith("; nothing was started\n")


@pytest.mark.slow
def test_an_app_that_never_comes_up_ends_with_3(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Good(Service):
            def on_stop(self):
                say("good stopped")
        class Broken(Service):
            def on_start(self):
                raise OSError("no route")
        app = App(name="shop", providers={"good": Good(), "broken": Broken()})
        """,
    )
    with run_process(tmp_path) as process:
        assert process.ends() == ExitCode.NEVER_CAME_UP
        (failed,) = process.events("service failed to start")
        assert failed["service"] == "shop/broken"
        assert failed["exception"].endswith("OSError: no route")
        assert process.records()[-1]["event"] == "never came up"
        assert process.out == "good stopped\n"
        assert process.err.count("Traceback") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "given", "code"),
    [
        ("greenlet", "0", 0),
        ("greenlet", "7", 7),
        ("greenlet", "None", 0),
        ("greenlet", "'no disk'", 1),
        ("on_start", "7", 7),
        ("bare", "7", 7),
    ],
)
def test_a_system_exit_stops_the_app_with_its_code(
    tmp_path: Path, where: str, given: str, code: int
) -> None:
    app(
        tmp_path,
        f"""
        class Other(Service):
            def on_stop(self):
                say("other stopped")
        class Leaves(Service):
            def on_start(self):
                if {where == "on_start"}:
                    self.leave()
                (gevent if {where == "bare"} else self).spawn(self.leave)
            def leave(self):
                sys.exit({given})
        app = App(providers={{"other": Other(), "leaves": Leaves()}})
        """,
    )
    with run_process(tmp_path) as process:
        assert process.ends() == code
        assert process.out == "other stopped\n"
        assert "Traceback" not in process.err
        (asked,) = process.events("service asked the app to exit")
        assert asked["code"] == code
        assert asked.get("message") == ("no disk" if "disk" in given else None)


@pytest.mark.slow
def test_an_app_that_finishes_by_itself_ends_with_0(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Job(Service, restart="transient", significant=True):
            def run(self):
                say("done")
        app = Supervisor([Service(), Job()], auto_shutdown="any_significant")
        """,
    )
    with run_process(tmp_path) as process:
        assert process.ends() == ExitCode.STOPPED
        assert process.out == "done\n"
        assert process.events("stopping") == []


@pytest.mark.slow
def test_a_root_that_ignores_its_start_ends_with_0(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Nothing(Service):
            def on_start(self):
                raise Ignore("nothing to do")
        app = Nothing()
        """,
    )
    with run_process(tmp_path) as process:
        assert process.ends() == ExitCode.STOPPED


# -- what can be run -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "root"),
    [
        ("app = Mail", "Mail"),
        ("app = Supervisor([Mail()], name='shop')", "shop"),
        ("class app(App):\n    def __init__(self):\n        super().__init__(name='s')", "s"),
        ("def app():\n    return App(name='shop', providers={'mail': Mail()})", "shop"),
    ],
)
def test_apps_services_and_supervisors_run_and_what_makes_them(
    tmp_path: Path, form: str, root: str
) -> None:
    app(tmp_path, f"class Mail(Service):\n    pass\n{form}\n")
    with run_process(tmp_path) as process:
        process.says('"event": "up"')
        assert process.socket().name == f"{root}.{process.popen.pid}.sock"
        process.send(signal.SIGINT)
        assert process.ends() == ExitCode.STOPPED
        assert process.events("service started")[-1]["service"] == root


@pytest.mark.slow
def test_everything_is_patched_before_the_users_import(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        from time import sleep
        from gevent import monkey
        assert all(map(monkey.is_module_patched, ("socket", "ssl", "threading", "time")))
        import ssl
        class Two(Service):
            def on_start(self):
                for name in "ab":
                    self.spawn(self.work, name)
            def work(self, name):
                sleep(0.05)
                say(name)
                sleep(0.05)
                say(name)
                if name == "b":
                    sys.exit()
        app = Two()
        """,
    )
    strict = ["-W", "error:Monkey-patching ssl"]
    with run_process(tmp_path, python=strict) as process:
        assert process.ends() == 0
        assert process.out.split() == ["a", "b", "a", "b"]


@pytest.mark.slow
def test_an_app_that_runs_already_is_refused(tmp_path: Path) -> None:
    app(tmp_path, "app = App()\napp.start()\n")
    with run_process(tmp_path) as process:
        assert process.ends() == ExitCode.NEVER_CAME_UP
        refusal, stopped = process.err.splitlines()
        assert refusal.startswith("sprag: app is already started")
        assert "a tree that nobody stopped" in stopped  # the module has started it


# -- what is written where --------------------------------------------------------------------

LOGGING = """
import logging, structlog, warnings
class Mail(Service):
    def on_start(self):
        self.log.info("ready", queue="a b")
        self.log.debug("details")
        structlog.get_logger().warning("of structlog", tries=3)
        logging.getLogger("library").warning("of a library: %s", 17)
        warnings.warn("old", DeprecationWarning)
        warnings.warn("odd")
        self.spawn(self.crash)
    def crash(self):
        gevent.sleep(0.01)
        raise ValueError("bad order 17")
app = App(name="shop", providers={"mail": Mail()})
"""


@pytest.mark.slow
def test_on_a_pipe_each_line_of_the_log_is_json_and_stdout_is_the_apps(tmp_path: Path) -> None:
    app(tmp_path, LOGGING)
    with run_process(tmp_path) as process:
        process.says('"event": "gave up"')
        assert process.ends() == ExitCode.GAVE_UP
        assert process.out == ""
        assert process.events("details") == []
        ready = process.events("ready")[0]
        assert list(ready) == ["timestamp", "level", "event", "service", "incarnation", "queue"]
        assert (ready["service"], ready["incarnation"]) == ("shop/mail", 1)
        assert process.events("of structlog")[0]["tries"] == 3
        assert process.events("of a library: 17")
        assert any("UserWarning: odd" in each["event"] for each in process.records())
        crash = process.events("service crashed")[0]
        assert list(crash)[-1] == "exception"
        assert crash["exception"].startswith("Traceback")


@pytest.mark.slow
@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_on_a_terminal_the_tree_is_shown_once_and_the_log_is_for_people(
    tmp_path: Path, environ: dict[str, str], coloured: bool
) -> None:
    app(tmp_path, "class Mail(Service): pass\napp = App(name='shop', providers={'m': Mail()})")
    with run_process(tmp_path, terminal=True, environ=environ) as process:
        process.says("Mail")
        process.send(signal.SIGTERM)
        process.says("SIGTERM again to end at once")
        assert process.ends() == ExitCode.STOPPED
        assert ("\x1b[" in process.out) == coloured
        plain = re.sub(r"\x1b\[[\d;]*m", "", process.out)
        assert re.search(
            r"^\d\d:\d\d:\d\d info     service started  service=shop/m\r$", plain, re.MULTILINE
        )
        assert len(re.findall(r"● shop +App +running +up", plain)) == 1
        assert len(re.findall(r"└─ ● m +Mail +running +up", plain)) == 1
        assert '{"' not in plain


@pytest.mark.slow
def test_format_and_level_may_be_asked_for(tmp_path: Path) -> None:
    app(tmp_path, LOGGING)
    with run_process(tmp_path, "--log-format", "console", "--log-level", "error") as process:
        assert process.ends() == ExitCode.GAVE_UP
        assert process.err.count("service crashed ") == 4
        assert "\x1b" not in process.err
        assert "of structlog" not in process.err
    environ = {"SPRAG_LOG_FORMAT": "json", "SPRAG_LOG_LEVEL": "DEBUG"}
    with run_process(tmp_path, "--no-tree", terminal=True, environ=environ) as process:
        assert process.ends() == ExitCode.GAVE_UP
        lines = [json.loads(line) for line in process.out.splitlines()]
        assert [line for line in lines if line["event"] == "details"]


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_output_that_nobody_reads_changes_nothing(tmp_path: Path, closed: str) -> None:
    app(
        tmp_path,
        """
        class Talks(Service):
            def on_start(self):
                print("one")
                self.log.info("two")
            def on_stop(self):
                print("three")
                self.log.info("four")
        app = Talks
        """,
    )
    reading, writing = os.pipe()
    os.close(reading)
    options: dict[str, Any] = {closed: writing, "environ": {"PYTHONUNBUFFERED": None}}
    with run_process(tmp_path, **options) as process:
        os.close(writing)
        process.socket()
        if closed == "stdout":
            process.says('"event": "up"')
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert "BrokenPipe" not in process.err


@pytest.mark.slow
def test_an_app_runs_without_stdout_and_stderr(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Talks(Service):
            def on_start(self):
                print("one")
                self.log.info("two")
                open("up", "w").close()
                gevent.sleep(0.05)
                sys.exit(7)
        app = Talks
        """,
    )
    with run_process(tmp_path, shell='exec "$0" "$@" >&- 2>&-') as process:
        assert process.ends() == 7
        assert (tmp_path / "up").exists()
