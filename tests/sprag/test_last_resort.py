"""Where no logging is configured, what goes wrong reaches stderr all the same, once."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from processes import script
from sprag_supervisor.tree.log import Onlooker, configured, listening

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

CRASHES = """
class Fragile(Service):
    def on_start(self):
        if self.snapshot().incarnation == 1:
            self.timeout(self.fail, 0.01)
    def fail(self):
        raise ValueError("two")
tree = Supervisor([Fragile()], name="shop")
"""


@contextmanager
def bare() -> Generator[logging.Logger]:
    """Make sprag's logger that of a program which has not configured logging; pytest has."""
    logger = logging.getLogger("sprag")
    before = logger.handlers
    logger.propagate, logger.handlers = False, []
    try:
        yield logger
    finally:
        logger.propagate, logger.handlers = True, before


@pytest.mark.slow
def test_an_embedded_crash_is_told_on_stderr_once_with_its_traceback(tmp_path: Path) -> None:
    source = CRASHES + "with tree:\n    gevent.sleep(0.1)\n"
    with script(tmp_path, source) as process:
        assert process.ends() == 0
        first = process.err.splitlines()[0]
        assert first.startswith("shop/Fragile: service crashed")
        assert process.err.count("Traceback") == 1
        assert process.err.count("ValueError: two") == 1
        assert 'raise ValueError("two")' in process.err
        assert process.out == ""


@pytest.mark.slow
def test_a_failed_start_is_told_too(tmp_path: Path) -> None:
    source = """
        class Broken(Service):
            def on_start(self):
                raise OSError("no route")
        try:
            Supervisor([Broken()], name="shop").start()
        except StartFailed:
            say("caught")
        """
    with script(tmp_path, source) as process:
        assert process.ends() == 0
        assert process.out == "caught\n"
        assert process.err.count('raise OSError("no route")') == 1
        assert process.err.startswith("shop/Broken: service failed to start")


@pytest.mark.slow
def test_warnings_of_a_service_are_told_and_its_chat_is_not(tmp_path: Path) -> None:
    source = """
        class Till(Service):
            def on_start(self):
                self.log.info("open", cash=100)
                self.log.warning("nearly empty", cash=1)
        with Supervisor([Till()], name="shop"):
            pass
        """
    with script(tmp_path, source) as process:
        assert process.ends() == 0
        assert process.err == "shop/Till: nearly empty (cash=1)\n"


@pytest.mark.slow
def test_app_run_tells_a_crash_once_though_it_keeps_the_last_lines_itself(tmp_path: Path) -> None:
    source = (
        CRASHES
        + """
def stop_soon(record):
    gevent.spawn_later(0.05, tree.stop)
class Watches(Service):
    def on_start(self):
        self.listen("sprag:restarted", stop_soon)
from sprag import host
tree = Supervisor([Fragile(), Watches()], name="shop")
host.run(tree)
"""
    )
    with script(tmp_path, source) as process:
        assert process.ends() == 0
        assert process.err.count("Traceback") == 1
        assert process.err.startswith("shop/Fragile: service crashed")


@pytest.mark.slow
def test_logging_that_is_configured_later_gets_it_instead(tmp_path: Path) -> None:
    source = """
        import logging
        class Late(Service):
            def on_start(self):
                self.log.warning("one")
                logging.basicConfig(format="mine: %(message)s")
                self.log.warning("two")
        app = App(name="shop", providers={"late": Late()})
        gevent.spawn_later(0.1, app.stop)
        sys.exit(app.run())
        """
    with script(tmp_path, source) as process:
        assert process.ends() == 0
        assert process.err == "shop/late: one\nmine: shop/late: two\n"


@pytest.mark.slow
def test_a_null_handler_makes_it_silent(tmp_path: Path) -> None:
    silence = "import logging\nlogging.getLogger('sprag').addHandler(logging.NullHandler())\n"
    source = silence + CRASHES + "with tree:\n    gevent.sleep(0.1)\n"
    with script(tmp_path, source) as process:
        assert process.ends() == 0
        assert process.err == ""


def test_the_last_resort_listens_from_its_level_on() -> None:
    with bare():
        assert [listening(level) for level in (logging.INFO, logging.WARNING)] == [False, True]
        assert not configured(logging.ERROR)


def test_without_a_last_resort_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "lastResort", None)
    with bare():
        assert not listening(logging.CRITICAL)


def test_a_null_handler_hears_nothing_and_one_that_looks_on_changes_nothing() -> None:
    with bare() as logger:
        logger.addHandler(Onlooker())
        assert listening(logging.ERROR)
        logger.addHandler(logging.NullHandler())
        assert not listening(logging.ERROR)
        logger.addHandler(logging.StreamHandler())
        assert listening(logging.ERROR)
        assert configured(logging.ERROR)


def test_the_last_resort_gets_what_one_that_looks_on_has_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            got.append(record.msg)

    got: list[str] = []
    monkeypatch.setattr(logging, "lastResort", Kept(logging.WARNING))
    with bare() as logger:
        logger.addHandler(Onlooker())
        logger.warning("one")
        logger.info("two")
        logger.addHandler(logging.NullHandler())
        logger.warning("three")
    assert got == ["one"]
    monkeypatch.setattr(logging, "lastResort", None)
    with bare() as logger:
        logger.addHandler(Onlooker())
        logger.warning("four")
