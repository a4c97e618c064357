"""Who starts after whom: the `needs` of siblings as a graph. Pure.

A service that names its needs comes after those; one that says nothing (None) comes after all that
are listed before it, which is OTP's order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

Need = Literal["ready", "started", "finished"]
"""What a sibling has to be: running and ready, running, or finished."""


class NeedsThemselvesError(Exception):
    """Services need each other in a circle."""

    def __init__(self, circle: Sequence[str]) -> None:
        super().__init__(circle)
        self.circle = circle
        """From a name to the same again, each needing the next."""


def start_order(needs: Mapping[str, Collection[str] | None]) -> list[str]:
    """Return all names, each after those it needs; else in the order in which they are listed.

    Args:
        needs: By each name, in the order of the list, those it needs, which are listed as well;
            None for all that are listed before it.

    Raises:
        NeedsThemselvesError: There is no such order.
    """
    names = list(needs)
    position = {name: at for at, name in enumerate(names)}
    ordered: dict[str, None] = {}

    def before(name: str) -> Iterator[str]:
        wanted = needs[name]
        if wanted is None:  # those before *first* are in order already
            return iter(names[position[first] : position[name]])
        return iter(sorted(wanted, key=position.__getitem__))

    for first in names:
        if first in ordered:
            continue
        way = {first: before(first)}  # a loop over the way down: a chain may be long
        while way:
            name, rest = next(reversed(way.items()))
            wanted = next(rest, None)
            if wanted is None:
                ordered[name] = None
                del way[name]
            elif wanted in way:
                circle = list(way)
                raise NeedsThemselvesError([*circle[circle.index(wanted) :], wanted])
            elif wanted not in ordered:
                way[wanted] = before(wanted)
    return list(ordered)


def seconds_after(needs: Sequence[Collection[int] | None], seconds: Sequence[float]) -> list[float]:
    """Return for each one how long those take that end after it, because it needs them.

    Args:
        needs: Of each the places of those it needs, of which those before its own count; None for
            all that are before it.
        seconds: How long each takes.
    """
    after: list[float] = []
    longest = 0.0
    for place, wanted in enumerate(needs):
        if wanted is None:
            after.append(longest)
        else:
            known = [after[each] + seconds[each] for each in wanted if each < place]
            after.append(max(known, default=0.0))
        longest = max(longest, after[place] + seconds[place])
    return after


def called_for(
    needs: Mapping[str, Collection[str] | None], wanted: Collection[str]
) -> frozenset[str]:
    """Return *wanted* and all that they need, directly or not."""
    found: set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name not in found and name in needs:
            found.add(name)
            pending.extend(needs[name] or ())
    return frozenset(found)
