"""Exception groups: the exceptions in them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sprag_supervisor.foreign import is_a, members_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_LEAVES: Final = 10_000


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, in order, those of inner groups included."""
    pending = [error]
    seen = 0
    while pending and seen < _MAX_LEAVES:
        one = pending.pop()
        if is_a(one, BaseExceptionGroup):
            pending.extend(reversed(members_of(one)))
        else:
            seen += 1
            yield one
