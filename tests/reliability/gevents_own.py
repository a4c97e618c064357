"""gevent's own tests, each run as the code of a service with every greenlet owned.

They ship with gevent, and know all that its greenlets, pools and queues promise: that is to
hold inside of a service, too. In a process of its own, as gevent's tests change its hub::

    python tests/reliability/gevents_own.py test__greenlet test__pool

Prints the names of those that fail in a service, and only there, and what was raised on leaving
the block. Without names, all of `MODULES`; a few minutes.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
import unittest
from typing import TYPE_CHECKING, Any, Final

import gevent

from sprag import Service, Supervisor, own_greenlets

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES: Final = (
    "test__greenlet",
    "test__pool",
    "test__queue",
    "test__event",
    "test__timeout",
    "test__threadpool",
    "test__joinall",
    "test__semaphore",
    "test__iwait",
    "test__select",
    "test__server",
    "test__subprocess",
)
QUICK: Final = ("test__greenlet", "test__event", "test__joinall", "test__iwait")
DIFFERENT: Final = {
    "test__greenlet.TestBasic.test_tree_locals": "looks at its own greenlet, taken for main",
    "test__queue.TestQueue.test_peek_empty": "LoopExit: there is a tree, so the loop goes on",
    "test__queue.TestSimpleQueue.test_peek_empty": "LoopExit",
    "test__semaphore.TestSemaphoreFair.test_fair_or_hangs": "LoopExit",
    "test__timeout.Test.test_expires_non_exception": "an error of the loop is to be raised in main",
    "test__subprocess.TestPopen.test_communicate_undecodable": "a greenlet's failure is a crash",
    "test__threadpool.TestThreadResult.test_exception_in_on_async_doesnt_crash": "likewise",
}
_LIMIT: Final = 20
_said = 1
"""Where it is told what differs."""


def main(modules: list[str]) -> int:
    """Run them; return the exit code."""
    for logger in ("sprag", ""):
        logging.getLogger(logger).addHandler(logging.NullHandler())
    logging.getLogger("sprag").propagate = False
    ran = 0
    for module in modules:
        for test in _tests_of(importlib.import_module(f"gevent.tests.{module}")):
            ran += 1
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                differs = not _passes_inside(test) and _passes(test)
            if differs:
                _tell(test.id().removeprefix("gevent.tests."))
    return 0 if ran else 1


def _tell(line: str) -> None:
    os.write(_said, f"{line}\n".encode())


def _tests_of(module: object) -> Iterator[unittest.TestCase]:
    suites: list[unittest.TestSuite] = [
        unittest.defaultTestLoader.loadTestsFromModule(module)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    ]
    while suites:
        for each in suites.pop():
            if isinstance(each, unittest.TestSuite):
                suites.append(each)
            else:
                yield each


def _passes(test: unittest.TestCase) -> bool:
    result = unittest.TestResult()
    test.run(result)
    return result.wasSuccessful()


class _Host(Service, restart="temporary"):
    def __init__(self, test: unittest.TestCase) -> None:
        self.test = test
        self.passed: bool | None = None

    def run(self) -> None:
        self.passed = _passes(self.test)


def _time_limit() -> Any:
    quietly: Any = False
    return gevent.Timeout(_LIMIT, quietly)


def _passes_inside(test: unittest.TestCase) -> bool:
    host = _Host(test)
    try:
        with own_greenlets(), Supervisor([host]) as top, _time_limit():
            while top.which_children() and host.passed is None:
                gevent.sleep(0.002)
    except BaseException as error:  # noqa: BLE001 - whatever it is: it hit who waits for the tree
        _tell(f"{test.id()}: {error!r}")
        return False
    return bool(host.passed)


if __name__ == "__main__":
    _said = os.dup(1)
    os.dup2(2, 1)  # what the programs that tests start have to say is none of ours
    names = sys.argv[1:] or list(MODULES)
    del sys.argv[1:]
    sys.exit(main(names))
