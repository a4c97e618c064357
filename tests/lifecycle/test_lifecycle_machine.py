"""The engine against a model of it: hypothesis looks for a story in which they differ.

`model.py` says what should happen, `scripted.py` are the services, `machine.py` compares.
For long runs with random seeds there is `make soak`.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from lifecycle.machine import LifecycleMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINE = settings(
    max_examples=int(os.environ.get("EX", "400")),
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=not os.environ.get("RAND"),
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
    print_blob=False,
    report_multiple_bugs=False,
)


@pytest.fixture
def _silence() -> Iterator[None]:
    logger = logging.getLogger("sprag")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("_silence")
def test_the_engine_does_what_the_model_does() -> None:
    run_state_machine_as_test(LifecycleMachine, settings=ENGINE)
    print(LifecycleMachine.steps)
