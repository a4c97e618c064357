"""All histories of a `World`, the shortest first."""

from __future__ import annotations

from typing import NamedTuple

from cluster.model import Bounds, Rules, World
from cluster.moves import join, start, successors, tick


class Explored(NamedTuple):
    """What was found.

    Attributes:
        states: How many situations there are.
        broken: What was broken in the first one that breaks something; empty: nothing.
        history: How it came to that.
    """

    states: int
    broken: str
    history: tuple[str, ...]


def beginning(rules: Rules, bounds: Bounds) -> World:
    world = World(rules, bounds)
    for index in range(len(world.nodes)):
        join(world, index)
    for node in world.nodes:
        node.wait = 0
    for row in range(0 if bounds.is_free else bounds.rows):
        world.rows[row] = (0, 1)
        world.nodes[0].view = tuple(world.rows)
        start(world, 0, row)
    tick(world, *range(len(world.nodes)))
    world.past = "nobody is at work" if bounds.is_free else "A is at work"
    return world


def explore(rules: Rules, bounds: Bounds, most: int = 10_000_000) -> Explored:
    """Look at all situations, those that come after fewer ticks first."""
    now = [beginning(rules, bounds)]
    known = {hash(now[0].frozen())}
    for _ in range(bounds.ticks):
        later: list[World] = []
        for world in now:  # which grows meanwhile
            for after in successors(world):
                if after.broken:
                    return Explored(len(known), after.broken, history_of(after))
                mark = hash(after.frozen())
                if mark not in known:
                    known.add(mark)
                    (later if after.past.startswith("a tick") else now).append(after)
            if len(known) > most:
                return Explored(len(known), "too many", ())
        if not later:
            break
        now = later
    return Explored(len(known), "", ())


def history_of(world: World) -> tuple[str, ...]:
    said: list[str] = []
    at: World | None = world
    while at is not None:
        said.append(at.past)
        at = at.parent
    return tuple(reversed(said))
