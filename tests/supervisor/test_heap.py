"""What is frozen: spared by the garbage collector, and still found."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest

from sprag_supervisor.loop import heap

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sleeper() -> Iterator[Any]:
    sleeper = cast("Any", gevent.spawn(gevent.sleep, 10_000))
    gevent.idle()
    yield sleeper
    sleeper.kill()
    heap.unfreeze()


def times_found(sleeper: Any) -> int:
    return sum(each is sleeper for each in heap.everything())


def test_of_what_is_frozen_greenlets_are_found_once(sleeper: Any) -> None:
    assert times_found(sleeper) == 1
    heap.freeze()
    assert gc.get_freeze_count() > 0
    assert times_found(sleeper) == 1
    heap.unfreeze()
    assert gc.get_freeze_count() == 0
    assert times_found(sleeper) == 1


def test_what_somebody_else_has_unfrozen_is_found_once(sleeper: Any) -> None:
    heap.freeze()
    gc.unfreeze()
    assert times_found(sleeper) == 1
