"""When a program is ready, and whether it still is well: its probes at work.

A program with ``ready`` is not ready when it starts; a greenlet of the service asks until it is, or
a line of its output, or a message of its own, tells. From then on ``alive`` is asked as
`Service.probe` does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import sleep

from sprag.owned.probes import ProbeHandle
from sprag.programs.probes import Line, Notify, Port
from sprag.services.acquiring import context_for
from sprag_supervisor import (
    ACTIVE,
    beat,
    set_ready,
    set_status,
    spawn_managed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.programs.probes import Probe, Site
    from sprag.programs.run import Run
    from sprag.programs.settings import ReadyProbe
    from sprag_supervisor import Node

_FIRST: Final = 0.02
_LONGEST: Final = 0.5
"""Seconds between two rounds until it is ready; they grow."""


def become_ready(
    node: Node,
    ready: ReadyProbe | None,
    run: Run,
    site: Site,
    asked: Callable[[Probe], Probe],
) -> None:
    """Begin to look whether *node* is ready; it is not, from now on, if that has to be seen."""
    if ready is None:
        return
    if type(ready) is Line:
        set_ready(node, ready=False, reason=f"no line of its output matches {ready.pattern!r} yet")
        search = re.compile(site.filled(ready.pattern)).search

        def look(line: str) -> None:
            if search(line):
                run.look_at_lines(None)
                _is_ready(node)

        run.look_at_lines(look)
    elif type(ready) is Notify:
        set_ready(node, ready=False, reason="it has not said READY=1 yet")
    else:
        set_ready(node, ready=False, reason=_waited_for(ready))
        probe = asked(cast("Probe", ready))
        spawn_managed(node, context_for(cast("Any", node)), _ask, (node, probe, site), {})


def watch_over(node: Node, probe: Probe, site: Site) -> None:
    """Ask *probe* from the time on at which *node* is ready; too many failures are a crash."""

    def ask() -> None:
        if (complaint := probe.complaint(site)) is not None:
            raise _Unwell(complaint)

    ask.__name__ = ask.__qualname__ = type(probe).__name__
    ProbeHandle(
        node,
        context_for(cast("Any", node)),
        ask,
        every=probe.every,
        timeout=probe.timeout + 1,  # it keeps its time by itself
        failures=probe.failures,
    )


def hear(node: Node, said: dict[str, str]) -> None:
    """Act on what a program has said of itself (sd_notify). In an engine greenlet."""
    if node._state_ not in ACTIVE:
        return
    if (status := said.get("STATUS")) is not None:
        set_status(node, status)
    if said.get("READY") == "1":
        _is_ready(node)
    if said.get("WATCHDOG") == "1":
        beat(node)


class _Unwell(Exception):
    """What a probe has found."""


def _ask(node: Node, probe: Probe, site: Site) -> None:
    pause = _FIRST
    while (complaint := probe.complaint(site)) is not None:
        set_ready(node, ready=False, reason=complaint)
        sleep(pause)
        pause = min(pause * 1.5, _LONGEST)
    _is_ready(node)


def _is_ready(node: Node) -> None:
    set_ready(node, ready=True, reason="")


def _waited_for(probe: Any) -> str:
    if type(probe) is Port:
        return "its port does not answer yet"
    return f"{type(probe).__name__} has not succeeded yet"
