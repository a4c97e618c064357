"""Inside somebody else's program sprag is a guest: it changes nothing that it was not asked to."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any, cast

import gevent
import gevent.monkey
import pytest

import sprag
from sprag import App, Service, Supervisor

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


def boom() -> None:
    raise ValueError("boom")


class Busy(Service):
    """Holds one of each."""

    def on_start(self) -> None:
        self.spawn(gevent.sleep, 1000)
        self.interval(print, 1000)
        self.listen("event", print)
        self.listen("sprag:crashed", lambda _record: None)
        self.add_cleanup(int)

    def run(self) -> None:
        gevent.sleep(1000)

    def on_stop(self) -> None:
        gevent.sleep(1)


def globals_of_the_process() -> dict[str, object]:
    """Return what an embedding program may have set up for itself."""
    hub = cast("Any", gevent.get_hub())
    loggers = {name: logging.getLogger(name) for name in ("root", "sprag", "sprag.service")}
    loggers["root"] = logging.getLogger()
    return {
        "signal handlers": [signal.getsignal(number) for number in signal.valid_signals()],
        "logging": [
            (name, list(each.handlers), each.level, each.propagate, each.disabled)
            for name, each in loggers.items()
        ],
        "last resort": logging.lastResort,
        "hub": dict(hub.__dict__),
        "hub's methods": (
            hub.handle_error.__func__,
            hub.print_exception.__func__,
            hub.handle_system_error.__func__,
        ),
        "hub's attributes": (
            hub.NOT_ERROR,
            hub.SYSTEM_ERROR,
            hub.exception_stream,
            hub.loop,
            hub.name,
        ),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, sys.stdout, sys.stderr),
        "patched": [gevent.monkey.is_module_patched(name) for name in ("os", "socket", "time")],
        "greenlet tracing": gevent.config.track_greenlet_tree,
    }


def test_a_tree_changes_no_global(clock: VirtualClock) -> None:
    before = globals_of_the_process()
    with App(providers={"busy": Busy(), "other": Supervisor([Busy()])}) as app:
        app.service("busy").spawn(boom)
        clock.advance(5)
        app.service("busy").log.info("quiet")
        assert app.service("busy").snapshot().incarnation == 2
        assert globals_of_the_process() == before
    assert globals_of_the_process() == before


def test_the_services_page_works_as_written(clock: VirtualClock) -> None:
    """The code of our user's page, line by line; only what it calls is ours."""
    page = """
from sprag import Service

class MetricsService(Service):
    def on_start(self):
        self.interval(self._collect, 60)  # Every 60 seconds
        self.listen("order:completed", self._on_order)

    def on_stop(self):
        pass  # Cleanup is automatic for managed resources

    def _collect(self):
        stats = gather_metrics()
        self.emit("metrics:updated", stats)

    def _on_order(self, data):
        record_order(data)
"""
    fragments = """
class Concurrency(Service):
    def on_start(self):
        fn, seconds, args = work, 5, (1, 2)
        # Periodic timer — calls fn every N seconds
        self.interval(fn, seconds)

        # One-shot timer — calls fn after N seconds
        self.timeout(fn, seconds)

        # Spawn a greenlet — managed cooperative thread
        self.spawn(fn, *args)

class Events(Service):
    def on_start(self):
        # Listen for an event
        self.listen("order:completed", self._on_order)

        # Emit an event
        self.emit("metrics:updated", {"cpu": 42.5})

    def _on_order(self, data):
        record_order(data)

class Owner(Service):
    def on_start(self):
        worker = WorkerService()
        self.adopt(worker)  # worker.on_stop() called when parent stops

class Connected(Service):
    def on_start(self):
        self.conn = open_connection()
        self.add_cleanup(lambda: self.conn.close())
"""
    journal: list[object] = []

    class Connection:
        def close(self) -> None:
            journal.append("closed")

    class WorkerService(Service):
        def on_stop(self) -> None:
            journal.append("worker stopped")

    class Ears(Service):
        def on_start(self) -> None:
            self.listen("metrics:updated", journal.append)

    def record_order(data: object) -> None:
        journal.append(("order", data))

    def work(*args: object) -> None:
        journal.append(("work", *args))

    names: dict[str, Any] = {
        "__name__": "page",
        "gather_metrics": lambda: {"load": 1},
        "record_order": record_order,
        "open_connection": Connection,
        "WorkerService": WorkerService,
        "work": work,
    }
    exec(page, names)
    exec(fragments, names)
    app = App(
        providers={
            "ears": Ears(),
            "metrics": names["MetricsService"](),
            **{name: names[name]() for name in ("Concurrency", "Events", "Owner", "Connected")},
        },
    )
    app.start()
    clock.settle()
    assert journal == [{"cpu": 42.5}, ("work", 1, 2)]
    del journal[:]
    clock.advance(59)
    assert journal == [("work",)] * 12
    del journal[:]
    clock.advance(1)
    assert {"load": 1} in journal
    del journal[:]
    app.emit("order:completed", 17)
    assert journal == [("order", 17)] * 2
    del journal[:]
    assert app.stop().is_clean
    assert journal == ["closed", "worker stopped"]


def test_the_page_provides_services_to_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    class MetricsService(Service):
        pass

    class EmailService(Service):
        def __init__(self, api_key: str) -> None:
            self.api_key = api_key

    def app_shell(_page: object) -> str:
        return ""

    monkeypatch.setenv("EMAIL_KEY", "secret")
    app = App(
        routes="app.routes",
        shell=app_shell,
        providers={
            "metrics": MetricsService(),
            "email": EmailService(api_key=os.environ["EMAIL_KEY"]),
        },
    )
    provided = {name: service for service, name, _policy in app._static_}
    assert isinstance(provided["metrics"], MetricsService)
    email = provided["email"]
    assert isinstance(email, EmailService)
    assert email.api_key == "secret"


# -- in a process of its own -----------------------------------------------------------


def run(program: str) -> tuple[int, str, str]:
    """Run *program* in a fresh interpreter; return its code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.returncode, done.stdout, done.stderr


HEAVY = ("ssl", "structlog", "click", "rich", "werkzeug", "jinja2", "asyncio", "hypothesis")


@pytest.mark.slow
def test_importing_sprag_prints_nothing_and_loads_nothing_heavy() -> None:
    """gevent-traps 37: a program must still be able to patch, and to start fast."""
    code, out, err = run(f"""
        import sys, sprag
        assert "gevent" not in sys.modules  # it comes with the first name that is used
        for name in sprag.__all__:
            if name not in ("Controller", "HTTPError", "Limits", "Page", "redirect", "shell"):
                getattr(sprag, name)
        loaded = [name for name in {HEAVY!r} if name in sys.modules]
        sys.exit(", ".join(loaded) or 0)
    """)
    assert (code, out, err) == (0, "", "")


def test_what_sprag_offers_is_found_by_its_name_alone() -> None:
    assert set(sprag.__all__) <= set(dir(sprag))
    assert all(getattr(sprag, name) is not None for name in sprag.__all__)
    assert sprag.exceptions.SpragError is sprag.SpragError
    with pytest.raises(AttributeError, match="module 'sprag' has no attribute 'Servise'"):
        sprag.Servise  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.slow
def test_a_program_is_there_before_anything_is_loaded_that_compiles_or_takes_long() -> None:
    """`dataclasses` and `inspect`, with what they load, were a third of the import."""
    code, out, err = run("""
        import sys, gevent
        slow = {"ast", "asyncio", "dataclasses", "dis", "hashlib", "inspect", "json", "pathlib"}
        assert not slow & sys.modules.keys(), "gevent would hide what sprag loads"
        from sprag import App, DynamicSupervisor, Service, Supervisor
        class Plain(Service):
            def on_start(self):
                self.spawn(int)
        class Job(Service, restart="transient"):
            def __init__(self, number, *, name="job"):
                super().__init__()
            def run(self):
                pass
        App(
            max_restarts=1,
            providers={
                "plain": Plain, "pool": DynamicSupervisor(), "tops": Supervisor([Job(1), Plain])
            },
        )
        sys.exit(", ".join(sorted(slow & sys.modules.keys())) or 0)
    """)
    assert (code, out, err) == (0, "", "")


@pytest.mark.slow
def test_running_a_tree_loads_nothing_heavy_either() -> None:
    code, out, err = run(f"""
        import sys, sprag
        class One(sprag.Service):
            def on_start(self):
                self.spawn(int, "not a number")
                self.interval(int, 1)
                self.listen("sprag:crashed", str)
        app = sprag.App(providers={{"one": One()}}, max_restarts=1)
        try:
            app.start()
            app.wait(5)
        except sprag.StartFailed:
            pass
        app.stop()
        loaded = [name for name in {HEAVY!r} if name in sys.modules]
        sys.exit(", ".join(loaded) or 0)
    """)
    assert (code, out) == (0, ""), err


@pytest.mark.slow
def test_nothing_is_printed_by_a_program_that_drops_what_sprag_logs() -> None:
    code, out, err = run("""
        import gevent, logging, sprag
        logging.getLogger("sprag").addHandler(logging.NullHandler())
        class Talks(sprag.Service):
            def on_start(self):
                self.log.error("quiet", answer=42)
                self.listen("event", lambda data: 1 / 0)
                self.timeout(lambda: 1 / 0, 0)
            def on_stop(self):
                raise ValueError
        root = sprag.Supervisor(max_restarts=100)
        root.start()
        child = root.adopt(Talks())
        for _ in range(5):
            gevent.sleep(0)
            root.emit("event")
        root.stop()
    """)
    assert (code, out, err) == (0, "", "")


@pytest.mark.slow
def test_plainly_configured_logging_shows_a_crash_once_with_path_and_traceback() -> None:
    code, out, err = run("""
        import logging, gevent, sprag
        logging.basicConfig()
        root = sprag.Supervisor(name="root")
        root.start()
        root.adopt(sprag.Service(), name="child").spawn(int, "x")
        gevent.sleep(0.01)
        root.stop()
    """)
    assert (code, out) == (0, "")
    assert err.startswith("ERROR:sprag:root/child: service crashed (step='greenlet')\nTraceback")
    assert err.count("service crashed") == 1
    assert err.count("Traceback") == 1
    assert err.count("ValueError") == 1


@pytest.mark.slow
def test_a_service_works_in_a_patched_program_too() -> None:
    code, out, err = run("""
        from gevent import monkey
        monkey.patch_all()
        import time, sprag
        class Sleeps(sprag.Service, restart="transient"):
            def run(self):
                time.sleep(0.01)
        app = sprag.App(providers={"sleeps": Sleeps()})
        with app:
            print(app.service("sleeps").wait(10).reason.value)
    """)
    assert (code, out, err) == (0, "finished\n", "")


@pytest.mark.slow
def test_keyboard_interrupt_in_a_service_ends_the_program() -> None:
    """gevent-traps 17."""
    code, out, err = run("""
        import gevent, sprag
        def interrupt():
            raise KeyboardInterrupt
        try:
            with sprag.Supervisor([sprag.Service()]) as root:
                root.spawn(interrupt)
                gevent.sleep(10)
        except KeyboardInterrupt:
            print("interrupted", root.snapshot().state.value)
    """)
    assert (code, out, err) == (0, "interrupted stopped\n", "")
