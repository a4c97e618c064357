"""Exception groups: the exceptions in them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_LEAVES: Final = 10_000
# The member itself: a subclass may have put something of its own in front of it.
_members_of: Any = vars(BaseExceptionGroup)["exceptions"].__get__


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, in order, those of inner groups included."""
    pending = [error]
    seen = 0
    while pending and seen < _MAX_LEAVES:
        one = pending.pop()
        if issubclass(type(one), BaseExceptionGroup):
            pending.extend(reversed(_members_of(one)))
        else:
            seen += 1
            yield one
