"""In which order tests are collected and run: no worker waits for another, or does the same."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def long_first(tests: Sequence[T], is_long: Callable[[T], bool], workers: int) -> list[T]:
    """Return *tests* as xdist's worksteal is to have them. Pure.

    It cuts them into a piece for each worker, and whoever is done takes from the end of somebody
    else's. What takes long mostly waits: half of the workers begin with it, and the others
    meanwhile keep the processor busy. All else stays as it is, so that files stay together.

    Args:
        tests: All of them, in their order.
        is_long: Whether one takes long.
        workers: How many there are; one leaves the order as it is.
    """
    if workers < 2:
        return list(tests)
    waiting = [each for each in tests if is_long(each)]
    others = iter([each for each in tests if not is_long(each)])
    bearers = workers // 2
    found: list[T] = []
    for worker in range(workers):
        size = (len(tests) - len(found)) // (workers - worker)
        piece = waiting[worker::bearers] if worker < bearers else []
        found += [*piece, *islice(others, max(0, size - len(piece)))]
    return found


def begun_apart(found: Sequence[T], worker: int, workers: int) -> list[T]:
    """Return *found* in the order in which one of the workers is to look at them. Pure.

    Args:
        found: All of them, in their order.
        worker: Which one, from 0; this one keeps the order.
        workers: How many there are: each begins so much further on, and ends where it began.
    """
    begins = len(found) * worker // workers
    return [*found[begins:], *found[:begins]]
