"""``POST /v1/start``, ``/v1/stop``, ``/v1/restart`` and ``/v1/scale`` with ``/PATH``: management.

No path ends the whole app, however it is called: ``/v1/stop?whole=1`` does. Each runs in a
greenlet of its own, so it is carried out whether or not the client waits for it. The results are
those of OTP's management calls (otp-rules, appendix A): sprag's exceptions, with an HTTP status
each.
"""

from __future__ import annotations

from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from gevent import Greenlet

from sprag.control.http import Answer, Refused
from sprag.control.pictures import node_to_json
from sprag.services.service import Service
from sprag_supervisor import (
    ACTIVE,
    Because,
    Node,
    State,
    StopReport,
    adopt,
    as_text,
    class_name,
    clock,
    is_a,
    name_of,
    note_why,
    path_of,
    picture,
    restart_child,
    settled,
)
from sprag_supervisor.exceptions import ChildRunning, NotRunning, SpragError, StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.control.desk import Desk
    from sprag.control.http import Request

_MOST: Final = 32
_MOST_WORKERS: Final = 10_000
_DIGITS: Final = 9
_ENTRIES: Final = 20
_SLOWEST: Final = 10
"""Services of a report whose seconds are told."""
_LISTED: Final = 6
_NO: Final = ("0", "no", "false")


def start(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Start a service that is down, as restart_child does, or that waits for its restart, now."""
    node = desk.find(path)
    if node._parent_ is None and node._state_ in ACTIVE:
        raise _refused(ChildRunning(path_of(node)))
    return _carry_out(request, node, lambda _deadline: _start(node))


def stop(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Stop a service on purpose, as OTP's terminate_child does; ``?timeout=`` is its budget.

    The root, and with it the process, only without a path and with ``?whole=1``.
    """
    node = desk.find(path)
    is_whole = request.query.get("whole", "0").lower() not in _NO
    if is_whole and path:
        message = f"whole=1 ends the app: leave out the path {path!r}"
        raise Refused(HTTPStatus.BAD_REQUEST, message)
    if node._parent_ is None and not is_whole:
        raise _would_end(node, path)
    return _carry_out(request, node, lambda deadline: _stop(node, deadline))


def restart(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Stop a service and start the same one again; have a new process for a worker, or all."""
    node = desk.find(path)
    renew = node._renewal_() if is_a(node, Service) else None
    if renew is not None:

        def carry_out(_deadline: float | None) -> StopReport | None:
            renew("restart")
            return None

        return _carry_out(request, node, carry_out)
    if node._parent_ is None:
        message = (
            f"{path_of(node)} is the root, and the process ends with it: "
            "stop it and let whoever started the process start it again, or restart what is below"
        )
        raise Refused(HTTPStatus.CONFLICT, message, name="NotRunning")
    return _carry_out(request, node, lambda deadline: _restart(node, deadline))


def scale(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Let a pool, or a program with replicas, have ``?size=`` of them, until it restarts."""
    node = desk.find(path)
    sized = node._sized_() if is_a(node, Service) else None
    if sized is None:
        message = (
            f"{path_of(node)} is no pool of workers: "
            "only a WorkerPool has a size, and a program with replicas"
        )
        raise Refused(HTTPStatus.CONFLICT, message, name="NoPool")
    given = request.query.get("size", "")
    size = int(given) if given.isascii() and given.isdigit() and len(given) < _DIGITS else 0
    if not 0 < size <= _MOST_WORKERS:
        message = f"size={given[:20]!r} is not accepted: use a whole number, 1 to {_MOST_WORKERS}"
        raise Refused(HTTPStatus.BAD_REQUEST, message)
    unit, before = sized

    def carry_out(_deadline: float | None) -> StopReport | None:
        cast("Service", node)._resize_(size)
        return None

    answer = _carry_out(request, node, carry_out)
    told = cast("dict[str, Any]", answer.body)
    _unit, now = cast("Service", node)._sized_() or sized
    workers = {"before": before, "now": now, "unit": unit}
    return Answer({**told, "workers": workers}, answer.status)


def _would_end(root: Node, path: str) -> Refused:
    name = path_of(root)
    below = ", ".join(islice((f"/{child}" for child in root._children_ or ()), _LISTED))
    what = f"{path!r} is the app itself" if path else "no service is named"
    or_else = f"; its services are {below}{', …' if len(root._children_ or ()) > _LISTED else ''}"
    message = (
        f"{what}: 'sprag stop --app {name}', without a path, ends it{or_else if below else ''}"
    )
    return Refused(HTTPStatus.BAD_REQUEST, message, name="WholeApp")


def _start(node: Node) -> StopReport | None:
    if node._parent_ is None:
        remedy = "the process ends with its root: start it with 'sprag run'"
        raise NotRunning(path_of(node), node._state_.value, "start the root from here", remedy)
    restart_child(node, now=True)
    return None


def _stop(node: Node, deadline: float | None) -> StopReport | None:
    if node._parent_ is not None and not settled(node):
        note_why(node, Because("operator"))
    left = None if deadline is None else max(deadline - clock.now(), 0.0)
    return Service.stop(cast("Service", node), left)


def _restart(node: Node, deadline: float | None) -> StopReport | None:
    parent, name, given = node._parent_, node._name_, node._policy_.given
    assert parent is not None
    report = _stop(node, deadline)
    if node._parent_ is None and node._state_ is not State.NEW:
        # A temporary child has left the tree with its end; it gets its place again.
        adopt(parent, node, name, given)
    else:
        restart_child(node)
    return report


# -- carrying out --------------------------------------------------------------------


class _Action(Greenlet):  # type: ignore[type-arg]
    """One call that goes on whatever becomes of its client."""

    def __init__(self, body: Callable[[], StopReport | None]) -> None:
        super().__init__()
        self._body = body
        self.report: StopReport | None = None
        self.failure: Exception | None = None

    def _run(self) -> None:
        _under_way.add(self)
        try:
            self.report = self._body()
        except Exception as error:  # noqa: BLE001 - told to the client
            self.failure = error
        finally:
            _under_way.discard(self)


_under_way: set[_Action] = set()


def _carry_out(
    request: Request, node: Node, body: Callable[[float | None], StopReport | None]
) -> Answer:
    seconds = request.seconds("timeout")
    waits = request.query.get("wait", "1").lower() not in _NO
    if len(_under_way) >= _MOST:
        message = f"{_MOST} services are being started or stopped: ask again later"
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, message)
    path = path_of(node)
    before = node._state_
    deadline = None if seconds is None else clock.now() + seconds
    action = _Action(lambda: body(deadline))
    action.start()
    if waits:
        action.join(None if seconds is None else seconds + _GRACE)
    done = action.ready()
    if action.failure is not None:
        raise _refused(action.failure) from action.failure
    told: dict[str, Any] = {
        "path": path,
        "done": done,
        "before": before.value,
        "state": node._state_.value,
        "service": {**node_to_json(picture(node)), "path": path, "name": name_of(node)},
        "report": None if action.report is None else _report(action.report),
    }
    if done:
        return Answer(told)
    return Answer(told, HTTPStatus.GATEWAY_TIMEOUT if waits else HTTPStatus.ACCEPTED)


_GRACE: Final = 0.5
"""Past its budget a stop needs this long to kill and name what is left."""


def _report(report: StopReport) -> dict[str, Any]:
    return {
        "clean": report.clean,
        "errors": report.errors,
        "killed": report.killed,
        "stragglers": report.stragglers,
        "dropped": report.dropped,
        "seconds": round(report.seconds, 3),
        "slowest": [
            {"path": path, "seconds": round(seconds, 3)}
            for path, seconds in report.slowest[:_SLOWEST]
        ],
        "entries": [
            {
                "path": entry.path,
                "incarnation": entry.incarnation,
                "outcome": entry.outcome.name.lower(),
                "step": entry.step,
                "detail": entry.detail,
            }
            for entry in report.entries[:_ENTRIES]
        ],
        "more": max(len(report.entries) - _ENTRIES, 0) + report.left_out,
    }


def _refused(error: Exception) -> Refused:
    name = class_name(type(error))
    if is_a(error, StartFailed):
        return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), name=name)
    if is_a(error, SpragError):
        return Refused(HTTPStatus.CONFLICT, str(error), name=name)
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"{name}: {as_text(error)}", name=name)
