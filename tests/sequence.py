"""In which order the tests run: what takes long first, so that nothing waits for it at the end."""

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
