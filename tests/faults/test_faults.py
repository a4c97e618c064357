"""An error anywhere in the engine's own code loses no service and keeps nobody waiting.

Each run plants one error at one place and tells one story. `SPRAG_FAULTS=1` plants one at every
call, return and line that a story reaches, the first and the last time it does so, which takes
an hour; the suite takes a share of them, the same in each run, and `make soak` other ones.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import sys
from collections import Counter
from functools import cache
from inspect import CO_GENERATOR
from linecache import getline
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from faults.planting import Place, Planted, counted, functions, planted
from faults.stories import STORIES
from faults.world import World
from sprag.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import CodeType

pytestmark = pytest.mark.skipif(
    sys.gettrace() is not None, reason="its trace function would take the place of coverage's"
)

NOT_OF_A_STORY = (
    # Never called: they say what others must have.
    "loop.clock.Timer.",
    "loop.calls.Faults.",
    "tree.operation.",
    "tree.holdings.Cancellable.",
    "tree.holdings.Subscription.",
    "tree.holdings.Holder.",
    "facts.memory.Waiter.",
    "facts.memory.Waiting.",
    "tree.node.Node._check_room_",
    "tree.node.Node._ends_with_caller_",
    "tree.node.Node._found_",
    "tree.node.Node._prepare_",
    "loop.calls.nothing",
    "tree.home._of_a_copy",  # in a forked child
    # The last resort, and what only an error planted elsewhere reaches.
    "life.bugs.",
    "loop.pool.Pool.run_soon",
    "life.net.",
    "life.stopping.go_on",
    "life.stopping.bring_down",
    "life.stopping.force",
    "life.walking._steps_left",
    "life.steps.take_up_call",
    "loop.calls.Call.broke",
    "life.lineup._Start.broke",
    "life.lineup._Start.revoke",
    "loop.calls.Errand.broke",
    "life.undoing.undo_by_force",
    "life.undoing._wait_for",
    "life.supervising._is_undecided",
    # Of exceptions that cannot be looked at: tests/sprag/test_foreign_exceptions.py.
    "facts.stand_in.",
    "foreign.function_name",
    "foreign.module_of",
    # Of stacks that are used up, where a trace function has no room either:
    # tests/sprag/test_stack_room.py.
    "loop.room.",
    "loop.pool.Pool.run_apart",
    # A forked child's: tests/sprag/test_forks.py.
    "process.forking.",
    "process.roots.forget_hub",
    "loop.pools.forget",
    "tree.home.disown_all",
    "loop.pools.forget_all",
    # Of `sprag run`: tests/cli/test_host.py.
    "loop.heap.everything",
    "loop.heap.freeze",
    "loop.heap.unfreeze",
    # Of what `sprag why` asks about singletons, workers and nodes: tests/cli/test_why.py.
    "facts.asked.",
    "facts.move.",
    "facts.replacement.",
    # Of the making of classes, where what is raised is raised to who writes the class.
    "tree.hooks.",
    "tree.making.",
    "tree.names.called",
    "tree.classes._needed_as_shown",
    # What a record is beside its values: tests/supervisor/test_record.py.
    "record._",
    "record.Record._",
    # Of leases, whose moves the library tells: tests/sprag/test_singleton.py.
    "tree.living.announce_move",
    # What is shown of arguments: tests/sprag/test_secrets.py.
    "redaction.",
    "tree.mistakes.",
    "tree.callables.",
)
"""Functions that no story reaches, and why; see `test_the_stories_reach_every_function`."""

AROUND_FOREIGN_CODE = (
    "foreign.attribute_of",
    "tree.classes._needed_by",
    "tree.names.wanted_name",
    "facts.stand_in.",
    "facts.crash._name_of",
    "facts.crash._notes_of",
    "facts.crash._text_of",
    "facts.failure.as_text",
    "facts.failure.cut",
    "tree.living.announce",
    "wording._word",
    "wording.shown",
)
"""Where an error is taken for that of foreign code, which is read there in a guard of its own."""

ALONE_AROUND_FOREIGN_CODE = ("text = str(exception)",)
"""Lines of the same kind, in functions that are no such guards otherwise."""


_TIMES = 0.25
"""How many errors a share has at a function's calls, in all stories that reach it.

As many at its returns, and at its lines.
"""


@cache
def engine() -> dict[CodeType, str]:
    return functions()


@contextlib.contextmanager
def stage() -> Generator[tuple[World, io.StringIO]]:
    """Set up a world in virtual time, with all that is said in it caught."""
    logger = logging.getLogger("sprag")
    said = io.StringIO()
    with virtual_time() as clock, contextlib.redirect_stderr(said):
        hub: Any = gevent.get_hub()
        hub.exception_stream = said
        world = World(clock)
        logger.addHandler(world)
        # What is worth a word and what is not, whatever tests before this one have left.
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        try:
            yield world, said
        finally:
            logger.propagate = propagate
            logger.setLevel(level)
            logger.removeHandler(world)


@cache
def told(name: str) -> dict[tuple[CodeType, str], dict[int, int]]:
    """Return what happens in the engine when a story is told undisturbed: how often, by line."""
    with stage() as (world, _said):
        with counted(engine()) as counts:
            world.do(STORIES[name], world)
            world.end()
        assert not world.faults()
    happened: dict[tuple[CodeType, str], dict[int, int]] = {}
    for (code, event, line), count in counts.items():
        happened.setdefault((code, event), {})[line] = count
    return happened


@cache
def stories_with() -> Counter[tuple[CodeType, str]]:
    """Return how many stories reach what happens in the engine."""
    return Counter(each for name in STORIES for each in told(name))


def happens_at(place: Place, name: str, error: type[BaseException]) -> list[str]:
    """Tell a story with an error planted, and return what is wrong afterwards."""
    with stage() as (world, said):
        with planted(place, error) as plant:
            world.do(STORIES[name], world)
            world.end()
        faults = world.faults()
        if not plant.line:
            return []
        if error is KeyboardInterrupt:
            is_known = any(isinstance(each, KeyboardInterrupt) for each in world.raised)
        else:
            is_known = world.has_heard("planted:") or "planted:" in said.getvalue()
        if not is_known:
            faults.append("nobody was told")
    return [f"{place} (line {plant.line}): {fault}" for fault in faults]


def share_of(name: str) -> random.Random | None:
    """Return which share of a story's places the suite takes; None: all of them."""
    return None if os.environ.get("SPRAG_FAULTS") else random.Random(name)


def places(name: str, share: random.Random | None) -> Iterator[Place]:
    """Yield where errors are planted in a story: everywhere, or a fair share of it."""
    for (code, event), lines in told(name).items():
        if engine()[code].startswith((*NOT_OF_A_STORY, *AROUND_FOREIGN_CODE)):
            continue
        if event != "line" and code.co_flags & CO_GENERATOR:
            continue  # entered when it is thrown away, too, where nothing can be raised
        ours = [
            (line, count)
            for line, count in lines.items()
            if getline(code.co_filename, line).strip() not in ALONE_AROUND_FOREIGN_CODE
        ]
        if share is None:
            for line, count in ours:
                yield from (Place(code, event, line, nth) for nth in sorted({1, count}))
        elif share.random() < _TIMES / stories_with()[code, event]:
            line, count = share.choice(ours)
            yield Place(code, event, line, share.randint(1, count))


def test_the_stories_reach_every_function() -> None:
    reached = {code for name in STORIES for code, _event in told(name)}
    missing = sorted(
        name
        for code, name in engine().items()
        if code not in reached and not name.startswith(NOT_OF_A_STORY)
    )
    assert missing == []


@pytest.mark.parametrize("name", STORIES)
def test_an_error_anywhere_in_the_engine_loses_nothing(name: str) -> None:
    faults = [
        line for place in places(name, share_of(name)) for line in happens_at(place, name, Planted)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", STORIES)
def test_a_ctrl_c_anywhere_in_the_engine_reaches_main_and_loses_nothing(name: str) -> None:
    faults = [
        line
        for place in places(name, share_of(name))
        if place.event == "line"
        for line in happens_at(place, name, KeyboardInterrupt)
    ]
    assert not faults, "\n".join(faults)
