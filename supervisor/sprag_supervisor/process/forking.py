"""What a forked child does with the greenlets it has inherited: none of them runs again.

A fork copies all greenlets, and they go on in the child as soon as it yields (gevent says
this will stay, gevent-traps 31): every service would run twice. Nothing short of taking
gevent's loop away keeps them from it. Timers, sockets and queued callbacks are in the loop,
but whoever waits for an event or a lock is resumed by the code of the child itself. Killing
them would run their ``finally``, and say goodbye to peers that the parent still talks to.

So a child that is forked while a tree lives gets a new hub with a new loop. The greenlet that
has forked goes on in it, as the only one; when it has ended, and what it has spawned meanwhile,
the child ends. The old hub is gone, and what would still be scheduled in it is dropped.

A child that only executes another program pays for this too, as gevent's subprocess forks in
Python: about half a millisecond.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, cast

from gevent import Greenlet, get_hub, getcurrent
from gevent._hub_local import set_hub, set_loop
from gevent.exceptions import LoopExit
from greenlet import greenlet

from sprag_supervisor.facts.stand_in import shown_as
from sprag_supervisor.foreign import attribute_of, exit_code_of, is_a, traceback_of
from sprag_supervisor.loop import pools
from sprag_supervisor.loop.pool import Worker
from sprag_supervisor.tree import home

if TYPE_CHECKING:
    from sprag_supervisor.loop.calls import Call


def _in_child() -> None:
    """Leave everything of the parent's behind. Runs before `os.fork` returns in the child."""
    if not home.living:
        return
    was_at_home = any(tree.thread == home.get_ident() for tree in home.living)
    home.disown_all()
    hubs = pools.forget_all()
    hub: Any = get_hub()
    # Forked in another thread than the trees': that is all there is here. Forked in a callback
    # of the hub's: it cannot be replaced under its own feet.
    if was_at_home and hub in hubs and getcurrent() is not hub:
        _replace(hub)


def _replace(hub: Any) -> None:
    forker = getcurrent()
    main = hub.parent
    # Not by `hub.destroy()`: that lets the hub finish what it is about, and so resumes whoever
    # else was due in the same round. It stays where it is for ever, in the midst of a loop that
    # is gone; so it must not be collected, ever, as that would resume it too.
    hub.kept_by = hub
    old = hub.loop
    hub.loop = _Nowhere()
    nothing: Any = None
    set_hub(nothing)
    set_loop(nothing)
    old.destroy()
    if forker is main:
        _fresh_hub()
    else:
        ending = greenlet(_end_when_done, parent=main)
        ending.switch(forker)


def _fresh_hub() -> Any:
    """Return the child's hub, made by the greenlet that is to be its parent."""
    hub: Any = get_hub()
    with suppress(NotImplementedError):  # libuv makes a loop of its own
        for _ in range(hub.loop.activecnt):
            hub.loop.unref()  # libev makes its default loop in the same place, and counts on
    return hub


def _end_when_done(forker: Any) -> NoReturn:
    """Be the parent of the child's hub, in place of a main greenlet that must not go on."""
    fresh = _fresh_hub()
    # It must have begun: what the forker returns is thrown away by a hub that waits, but would
    # be an argument of one that begins.
    fresh.loop.run_callback(getcurrent().switch)
    fresh.switch()
    forker.parent = fresh
    if issubclass(type(forker), Greenlet):
        cast("Any", Greenlet).unlink_all(forker)  # who waits for its end does so in the parent
    worker = forker if is_a(forker, Worker) else None
    call: Call | None = None
    if worker is not None:
        call = worker.call
        worker.abandoned = True  # it does not go back to whoever waits for it in the parent
        if call is not None:
            call.waiter = None
    code = 1
    try:
        forker.switch()  # `os.fork` returns; control comes back when nothing is left to run
    except SystemExit as error:
        code, _ = exit_code_of(error)
    except LoopExit:
        code = 0
    except BaseException as error:  # noqa: BLE001 - the end of a process: whatever it is, it is shown
        _show(error)
    raised = attribute_of(forker, "exception") if call is None else call.error
    if is_a(raised, SystemExit):
        code, _ = exit_code_of(raised)
    elif raised is not None:
        code = 1
        _show(raised)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _show(error: BaseException) -> None:
    """Print *error*. Never raises: the child would go on where its parent is."""
    with suppress(BaseException):
        traceback.print_exception(*shown_as(error, traceback_of(error)))


class _Nowhere:
    """The loop of a hub that is gone: takes everything, does nothing.

    Events and queues of the parent's belong to the old hub. Setting one in the child must not
    fail, and must not resume anybody.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_args: object, **_options: object) -> _Nowhere:
        return self

    def __bool__(self) -> bool:
        return False


_prepared: list[bool] = []


def prepare() -> None:
    """See to it that forked children are taken care of; a process that has no tree need not be."""
    if not _prepared:
        _prepared.append(True)
        os.register_at_fork(after_in_child=_in_child)
