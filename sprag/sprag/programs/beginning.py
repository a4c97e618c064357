"""How a program comes up: what is run, with what around it, and who looks after it from then on."""

from __future__ import annotations

import itertools
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from sprag.programs import guard
from sprag.programs.environment import environment
from sprag.programs.exceptions import CannotRun
from sprag.programs.probes import Notify
from sprag.programs.raw_copy import RawCopy
from sprag.programs.readiness import become_ready, hear, watch_over
from sprag.programs.rotation import listen_for_rotation
from sprag.programs.run import Run
from sprag.programs.settings import called, checked_env, words_of
from sprag.programs.site import ProgramSite
from sprag.programs.spawning import Launch, what_is_wrong
from sprag.programs.users import identity
from sprag_supervisor import holdings_of, recycle_after, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sprag.programs.settings import Settings
    from sprag.programs.world import World
    from sprag_supervisor import Node

_TERMINAL: Final = "xterm-256color"
"""What a terminal can do that we ourselves have none of."""
_serial: Final = itertools.count(1)


class Runnable(Protocol):
    """A program, as far as it matters here; and a `Node`."""

    _run_: Run | None

    def command(self) -> Sequence[str] | str: ...  # noqa: D102 - as Program
    def environment(self) -> Mapping[str, str]: ...  # noqa: D102


def begin(program: Runnable, world: World, settings: Settings, replica: int | None) -> None:
    """Start the process of *program*; blocks until it has started. In its own `_prepare_`.

    Args:
        program: The service.
        world: Where its process is to live.
        settings: What it was declared to be.
        replica: Its number, if it is one of several.

    Raises:
        CannotRun, PortTaken, BadEnvFile: It cannot be started.
        ProgramExited, ProgramKilled: It has ended before it has settled.
    """
    node = cast("Node", program)
    tree = node._tree_
    assert tree is not None
    site = ProgramSite(tree.pool, settings.port, replica)
    given = words_of("what command() returns", program.command(), shell=settings.shell)
    words = tuple(map(site.filled, given))
    name = settings.called if settings.shell else called(words)
    world.must_be_possible(name, settings, site)
    notify = None
    if type(settings.ready) is Notify:
        try:
            notify = world.notify_socket(partial(_heard, node, node._incarnation_))
        except OSError as error:
            raise CannotRun(name, what_is_wrong(error)) from error
        if notify is not None:
            holdings_of(node).add_cleanup(notify.close, (), {})
    mark = new_mark()
    variables = checked_env("what environment() returns", program.environment())
    own = {name: site.filled(value) for name, value in variables.items()}
    more = _told(settings, site.port, None if notify is None else notify.address)
    whose = identity(name, settings.user, settings.group)
    if whose is not None:
        more.update(whose.variables)
    launch = site.launch = Launch(
        words,
        environment(name, settings.env_file, own, more, mark),
        settings.cwd,
        settings.umask,
        settings.limits,
        whose,
        dies_with_us=guard.current() is None,
    )
    world.check(launch)
    run = program._run_ = Run(
        node,
        settings,
        name=name,
        command=words,
        mark=mark,
        copy=None if settings.file is None else _copy(node, settings.file, name),
        start=partial(world.start, launch, outlet=settings.outlet),
        gone=gone,
    )
    holdings_of(node).add_cleanup(run.end, (), {})
    become_ready(node, settings.ready, run, site, partial(world.asked, run=run))
    if notify is not None:
        run.on_begun = notify.listen_to  # it may be ready before it counts as started
    run.begin()
    if settings.max_lifetime is not None:
        recycle_after(node, settings.max_lifetime)
    if settings.alive is not None:
        watch_over(node, world.asked(settings.alive, run), site)


def _told(settings: Settings, port: int | None, address: str | None) -> dict[str, str]:
    """Return what sprag says to a program in its environment."""
    more: dict[str, str] = {}
    if settings.pty and "TERM" not in os.environ:
        more["TERM"] = _TERMINAL
    if port is not None:
        more["PORT"] = str(port)
    if address is not None:
        more["NOTIFY_SOCKET"] = address
        watchdog = settings.ready.watchdog if type(settings.ready) is Notify else None
        if watchdog is not None:
            more["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
    return more


def gone(run: Run) -> None:
    """Let the guard forget a run of which nothing is left."""
    guarding = guard.current()
    child = run.child
    if guarding is None or child is None or child.is_alive or child.has_left_any():
        return
    guarding.forget(child.pid)


def new_mark() -> str:
    """Return by what one more program, and all that it starts, is found."""
    guarding = guard.current()
    app = f"{os.getpid()}" if guarding is None else guarding.mark
    return f"{app}.{next(_serial)}"


def _copy(node: Node, path: Path, name: str) -> RawCopy:
    def tell(error: OSError) -> None:
        event = "the output of a program is lost: its file cannot be written"
        say(logging.ERROR, node, event, path=path, reason=error.strerror or str(error))

    listen_for_rotation()
    try:
        return RawCopy(path, tell)
    except OSError as error:
        raise CannotRun(name, f"its output, {path}: {error.strerror or error}") from None


def _heard(node: Node, incarnation: int, said: dict[str, str]) -> None:
    # In the hub.
    tree = node._tree_
    if tree is not None and node._incarnation_ == incarnation:
        tree.pool.launch(partial(hear, node, said), node, "program")
