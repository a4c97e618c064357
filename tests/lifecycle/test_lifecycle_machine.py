"""The engine against a model of it: hypothesis looks for a story in which they differ.

`model.py` says what should happen, `scripted.py` are the services, `machine.py` compares. What
was found became a test of its own in `test_regressions.py`. Here the stories are the same in
each run; `make soak` tells new ones. SPRAG_STEPS makes more of them: ``SPRAG_STEPS=100000``.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis.stateful import run_state_machine_as_test

from lifecycle.machine import LifecycleMachine
from lifecycle.profile import settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = int(os.environ.get("SPRAG_STEPS", "1000"))
SECONDS = 120.0
"""For one story. Shrinking a failure tells thousands, and may take minutes."""


class Machine(LifecycleMachine):
    def __init__(self) -> None:
        faulthandler.dump_traceback_later(SECONDS, exit=True, file=sys.__stderr__ or 2)
        super().__init__()


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Nobody listens to the log: thousands of crashes are of no interest."""
    logger = logging.getLogger("sprag")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.usefixtures("_quiet")
@pytest.mark.long
def test_sprag_does_what_the_model_does() -> None:
    run_state_machine_as_test(Machine, settings=settings_for(STEPS))


@pytest.mark.usefixtures("_quiet")
def test_a_tree_leaves_no_greenlets_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few stories with a search of the memory at the end."""
    monkeypatch.setattr(Machine, "looks_for_leaks", True)
    run_state_machine_as_test(Machine, settings=settings_for(STEPS // 40))
