"""``sprag wait``: until everything runs that should, for scripts."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from sprag_cli import _json
from sprag_cli._client import AppGone, Client, Refusal, TimedOut
from sprag_cli._discover import NoApp
from sprag_cli._exit import ClientExit, CommandError
from sprag_cli._node import Node, count_of, text_of
from sprag_cli._output import write
from sprag_cli._reach import find_app

if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE: Final = 0.1
_AT_ONCE: Final = 10.0
"""Seconds to wait for one answer, so that an app that has been replaced is noticed."""
_MARGIN: Final = 2.0
_OK: Final = 200
_NOT_READY: Final = 503
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class WaitOptions:
    """What the user asked of ``sprag wait``.

    Attributes:
        path: The service that is to be ready with all below it. ``None`` means the root.
        json: Print the last answer as JSON.
        app: Name, pid or socket of the app. ``None`` means the only one that runs.
        timeout: Seconds to wait, also for an app that does not run yet.
    """

    path: str | None = None
    json: bool = False
    app: str | None = None
    timeout: float = 30.0


class NotReady(CommandError):
    """Raised when the time is up."""

    exit_code = ClientExit.TIMED_OUT

    def __init__(self, answer: Node, timeout: float) -> None:
        """Name those that are not ready, and what to look at."""
        given = answer.get("not_ready")
        missing = cast("list[Node]", given) if isinstance(given, list) else []
        named = [f"{text_of(each, 'path')} ({text_of(each, 'state')})" for each in missing[:_NAMED]]
        more = count_of(answer, "count") - len(named)
        if more > 0:
            named.append(f"{more} more")
        if any(text_of(each, "state") == "failed" for each in missing):
            self.exit_code = ClientExit.FAILED
        first = text_of(missing[0], "path") if missing else ""
        super().__init__(
            f"not ready after {timeout:g} s: {', '.join(named)} — see 'sprag why {first}', "
            "or wait longer with --timeout"
        )


def wait(options: WaitOptions, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Carry out ``sprag wait`` and return the exit code.

    Raises:
        CommandError: It was not ready in time; or there was no such app or service.
    """
    began = time.monotonic()
    deadline = began + options.timeout
    answer: Node | None = None
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        try:
            answer = _ask(options, left)
        except (NoApp, AppGone, Refusal, TimedOut) as error:
            # It does not run yet, or the service is not there yet: services adopt at run time.
            if isinstance(error, Refusal) and error.exit_code != ClientExit.NOT_FOUND:
                raise
            if deadline - time.monotonic() <= 0:
                raise
            sleep(min(_PAUSE, left))
            continue
        if answer.get("ready"):
            break
        if deadline - time.monotonic() <= 0:
            if options.json:
                write(sys.stdout, _json.dumps(answer, indent=2) + "\n")
            raise NotReady(answer, options.timeout)
    if options.json:
        write(sys.stdout, _json.dumps(answer, indent=2) + "\n")
    else:
        write(
            sys.stdout, f"{text_of(answer, 'path')} is ready ({time.monotonic() - began:.1f} s)\n"
        )
    return ClientExit.WELL


def _ask(options: WaitOptions, left: float) -> Node:
    seconds = min(left, _AT_ONCE)
    client = Client(find_app(options.app, quiet=True), timeout=seconds + _MARGIN)
    query = {"path": options.path, "timeout": round(seconds, 3)}
    return client.ask("/v1/ready", query=query, accepted=(_OK, _NOT_READY))
