"""``sprag wait``: until everything runs that should, for scripts."""

from __future__ import annotations

import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import AppGone, Client, Refusal, TimedOut
from sprag_cli.app.find import NoApp, find_app
from sprag_cli.app.select import NOTHING_FAILED, Asked, NoMatch, as_json, chosen, is_one
from sprag_cli.app.told import Node, NoSuchService, count_of, list_of, text_of
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import tell, write

if TYPE_CHECKING:
    from collections.abc import Callable

Told = TypeVar("Told")

_PAUSE: Final = 0.1
_AT_ONCE: Final = 10.0
"""Seconds to wait for one answer, so that an app that has been replaced is noticed."""
_MARGIN: Final = 2.0
_ANSWERS: Final = (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)
_NAMED: Final = 5


class WaitOptions(Asked):
    """The options of ``sprag wait``; `commands` explains them, and has their defaults."""


class NotReady(CommandError):
    """Raised when the time is up."""

    exit_code = ExitCode.TIMED_OUT

    def __init__(self, answer: Node, timeout: float) -> None:
        """Name those that are not ready, and what to look at."""
        missing = list_of(answer, "not_ready")
        named = [f"{text_of(each, 'path')} ({_why(each)})" for each in missing[:_NAMED]]
        more = count_of(answer, "count") - len(named)
        if more > 0:
            named.append(f"{more} more")
        if any(text_of(each, "state") == "failed" for each in missing):
            self.exit_code = ExitCode.FAILED
        first = text_of(missing[0], "path") if missing else ""
        says = bool(missing) and (
            text_of(missing[0], "state") == "running" or _waits(text_of(missing[0], "reason"))
        )
        look = "status" if says else "why"
        super().__init__(
            f"not ready after {timeout:g} s: {', '.join(named)} — see 'sprag {look} {first}', "
            "or wait longer with --timeout"
        )


def _why(lack: Node) -> str:
    """Say what a service lacks: its state, or why it is not ready although it runs."""
    state, reason = text_of(lack, "state"), text_of(lack, "reason")
    if state != "running":
        return f"{state}, {reason}" if _waits(reason) else state
    return f"not ready: {reason}" if reason else "not ready"


def _waits(reason: str) -> bool:
    """Whether it is down for somebody else's sake, and not for a failure of its own."""
    return reason == "held" or reason.startswith("waits for ")


def wait_for(options: WaitOptions, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Carry out ``sprag wait`` and return the exit code.

    Raises:
        CommandError: It was not ready in time; or there was no such app or service.
    """
    began = time.monotonic()
    deadline = began + options.timeout
    answers: list[Node] = []
    for path in _patiently(lambda left: _chosen(options, left), deadline, sleep):
        answer = _until_ready(options, path, deadline, sleep)
        answers.append(answer)
        if not answer.get("ready"):
            break
        if not options.json:
            took = f"{time.monotonic() - began:.1f} s"
            tell(f"{text_of(answer, 'path')} is ready ({took})")
    if options.json:
        write(sys.stdout, as_json(answers, one=is_one(options.paths, failed=options.failed)))
    elif not answers:
        write(sys.stdout, NOTHING_FAILED)
    if answers and not answers[-1].get("ready"):
        raise NotReady(answers[-1], options.timeout)
    return ExitCode.WELL


def _chosen(options: WaitOptions, left: float) -> list[str]:
    return chosen(_client(options, left), options.paths, failed=options.failed)


def _until_ready(
    options: WaitOptions, path: str, deadline: float, sleep: Callable[[float], None]
) -> Node:
    """Return the app's last answer: ready, or not when the time is up."""
    while True:
        answer = _patiently(lambda left: _ask(options, path, left), deadline, sleep)
        if answer.get("ready") or deadline <= time.monotonic():
            return answer


def _patiently(
    ask: Callable[[float], Told], deadline: float, sleep: Callable[[float], None]
) -> Told:
    """Ask again and again: the app, or the service, may not be there yet."""
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        try:
            return ask(left)
        except (NoApp, AppGone, NoSuchService, NoMatch, Refusal, TimedOut) as error:
            refused = isinstance(error, Refusal) and error.exit_code != ExitCode.NOT_FOUND
            if refused or deadline <= time.monotonic():
                raise
            sleep(min(_PAUSE, left))


def _ask(options: WaitOptions, path: str, left: float) -> Node:
    seconds = min(left, _AT_ONCE)
    query = {"path": path or None, "timeout": round(seconds, 3)}
    return _client(options, seconds).ask("/v1/ready", query=query, accepted=_ANSWERS)


def _client(options: WaitOptions, left: float) -> Client:
    timeout = min(left, _AT_ONCE) + _MARGIN
    return Client(find_app(options.app, quiet=True), timeout=timeout)
