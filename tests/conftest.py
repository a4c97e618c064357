"""What holds for all tests."""

from __future__ import annotations

import gc
import itertools
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from sequence import begun_apart, long_first
from warm import warm_up

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_AT_ONCE: Final = 20
"""Tests between two looks at what is left: some hundred of them leave as much as there was."""


def pytest_configure(config: pytest.Config) -> None:
    """Let what the tests start hear of Ctrl-C, which a shell's background job does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    has_workers = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if config.getoption("markexpr") == "slow" and not has_workers:
        _measure_only_the_tests()


def _measure_only_the_tests() -> None:
    """Let coverage see this process, and what looks at real clocks run at full speed."""
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let each worker begin to collect with other files.

    Where no bytecode of the tests is kept yet, it is made by whoever comes to a file first.
    """
    report = yield
    if isinstance(collector, pytest.Dir):
        report.result = begun_apart(report.result, *_worker(collector.config))
    return report


@pytest.hookimpl(trylast=True)  # when those that are not wanted are gone
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let what takes long begin first, where there is somebody to do the rest meanwhile."""
    _, workers = _worker(config)
    items.sort(key=lambda each: each.path)
    items[:] = long_first(items, lambda each: each.get_closest_marker("long") is not None, workers)


def _worker(config: pytest.Config) -> tuple[int, int]:
    """Return which of xdist's workers this is, from 0, and how many there are."""
    told = getattr(config, "workerinput", {"workerid": "gw0", "workercount": 1})
    return int(told["workerid"].removeprefix("gw")), told["workercount"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the tests themselves, some 100,000 objects, out of what is searched for leaks."""
    gc.collect()
    gc.freeze()
    _spare_what_the_tests_start()
    if any(each.get_closest_marker("slow") for each in session.items):
        warm_up()  # now: within a test it would count as left behind


def _spare_what_the_tests_start() -> None:
    """Let the processes of tests find no rich, a fifth of their start, and write no bytecode.

    Only now, and only where tests run: pytest keeps its own bytecode if it may.
    """
    hidden = str(Path(__file__).parent / "hidden")
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([hidden, *filter(None, path)])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


@pytest.fixture
def no_bugs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let the test fail if sprag has said that it has a bug: the net hides the rest of it."""
    yield
    raised = [each.exc_info[1] for each in caplog.get_records("call") if each.exc_info]
    bugs = [each for each in raised if type(each).__name__ == "EngineError"]
    assert not bugs, [repr(each and each.__cause__) for each in bugs]


_tests = itertools.count(1)


@pytest.hookimpl(trylast=True)  # when the test itself has been searched
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The same for what tests have left with pytest: their reports, the modules of their file."""
    is_over = nextitem is None or nextitem.path != item.path
    # A test in virtual time shares nothing that lives, and would not be seen any more.
    if is_over or ("clock" in getattr(item, "fixturenames", ()) and next(_tests) % _AT_ONCE == 0):
        gc.collect()
        gc.freeze()
