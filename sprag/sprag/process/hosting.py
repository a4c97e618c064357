"""Whether sprag owns this process, as under `App.run`, ``sprag run`` and ``sprag up``.

What only then may be touched is set up by whoever needs it first, and taken down by the host.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_ends: Final[list[list[Callable[[], object]]]] = []


@contextmanager
def process_owned() -> Generator[None]:
    """Own the process for the length of the block."""
    ends: list[Callable[[], object]] = []
    _ends.append(ends)
    try:
        yield
    finally:
        _ends.remove(ends)
        for end in reversed(ends):
            end()


def owns_process() -> bool:
    """Whether somebody does."""
    return bool(_ends)


def at_the_end(fn: Callable[[], object]) -> None:
    """Call *fn* when the process is given back, after the tree has been stopped."""
    _ends[-1].append(fn)


def forget() -> None:
    """Own nothing, in a forked child."""
    _ends.clear()
