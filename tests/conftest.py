"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure() -> None:
    """Let what the tests start hear of Ctrl-C, which a shell's background job does not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Keep the tests themselves, some 100,000 objects, out of what is searched for leaks."""
    gc.collect()
    gc.freeze()
    _spare_what_the_tests_start()


def _spare_what_the_tests_start() -> None:
    """Let the processes of tests find no rich, a fifth of their start, and write no bytecode.

    Only now, and only where tests run: pytest keeps its own bytecode if it may.
    """
    hidden = str(Path(__file__).parent / "hidden")
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([hidden, *filter(None, path)])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The same for what a file of tests has left with pytest: its reports, its modules."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
