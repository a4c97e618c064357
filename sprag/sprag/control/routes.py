"""What there is to ask for, and which module answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias

from sprag.control import (
    across,
    acting,
    blame,
    braiding,
    decisions,
    events,
    forwarding,
    gathering,
    history,
    holding,
    inspecting,
    logs,
    loop,
    measuring,
    nodes,
    paths,
    programs,
    ready,
    reloading,
    service,
    stacks,
    top,
    tree,
    why,
)
from sprag.control.http import Answer, Refused, Request, unquoted
from sprag_supervisor import name_of

if TYPE_CHECKING:
    from sprag.control.desk import Desk

HungUp: TypeAlias = Callable[[], bool]
"""Whether the client has left."""
_Resource: TypeAlias = "Callable[[Desk, Request, str, HungUp], Answer]"

_READING: Final = ("GET", "HEAD")
_ACTING: Final = ("POST",)
_OF_PROCESSES: Final = frozenset(
    {
        *("/v1/decisions", "/v1/history", "/v1/inspect", "/v1/logs", "/v1/loop"),
        *("/v1/reload", "/v1/stacks"),
    }
)
"""What the process of a worker alone can tell of it."""
_NOT: Final = ("", "0", "no", "false")
_NO, _MAY, _MUST = "", "[/PATH]", "/PATH"
"""Whether the path of a service follows."""


def _asked(answer: Callable[[Desk, Request], Answer]) -> _Resource:
    """Adapt what needs only the request."""
    return lambda desk, request, _path, _has_hung_up: answer(desk, request)


def _named(answer: Callable[[Desk, str], Answer]) -> _Resource:
    """Adapt what needs only the path of a service."""
    return lambda desk, _request, path, _has_hung_up: answer(desk, path)


_RESOURCES: Final[dict[str, tuple[tuple[str, ...], str, _Resource]]] = {
    "/v1/tree": (_READING, _NO, lambda desk, request, _, gone: _tree(desk, request, gone)),
    "/v1/service": (_READING, _MAY, _named(service.answer)),
    "/v1/why": (_READING, _MAY, _named(why.answer)),
    "/v1/decisions": (_READING, _MAY, decisions.answer),
    "/v1/events": (
        _READING,
        _NO,
        lambda desk, asked, _path, gone: events.answer(desk, asked, gone),
    ),
    "/v1/history": (_READING, _NO, _asked(history.answer)),
    "/v1/logs": (_READING, _MAY, logs.answer),
    "/v1/loop": (_READING, _NO, lambda desk, asked, _path, gone: loop.answer(desk, asked, gone)),
    "/v1/start": (_ACTING, _MUST, acting.start),
    "/v1/stop": (_ACTING, _MAY, acting.stop),
    "/v1/restart": (_ACTING, _MUST, acting.restart),
    "/v1/scale": (_ACTING, _MUST, acting.scale),
    "/v1/signal": (_ACTING, _MUST, programs.send),
    "/v1/hold": (_ACTING, _MUST, holding.hold),
    "/v1/release": (_ACTING, _MUST, holding.release),
    "/v1/inspect": (_READING, _MUST, inspecting.inspect),
    "/v1/reload": (_ACTING, _MAY, reloading.reload),
    "/v1/blame": (_READING, _NO, lambda desk, _request, _path, _gone: blame.answer(desk)),
    "/v1/stacks": (_READING, _NO, _asked(stacks.answer)),
    "/v1/top": (_READING, _NO, _asked(top.answer)),
    "/v1/ready": (_READING, _NO, lambda desk, request, _, gone: ready.answer(desk, request, gone)),
    "/v1/metrics": (_READING, _NO, lambda desk, _request, _path, _gone: measuring.metrics(desk)),
    "/v1/paths": (_READING, _NO, _asked(paths.answer)),
    "/v1/node": (_READING, _NO, lambda desk, _request, _path, _gone: nodes.node(desk)),
    "/v1/nodes": (_READING, _NO, lambda desk, request, _, gone: nodes.nodes(desk, request, gone)),
}
"""By the beginning of the path: the methods, whether a service's path follows, the answer."""


def answer(desk: Desk, request: Request, has_hung_up: HungUp) -> Answer:
    """Answer *request*; may block, and may yield the answer's body bit by bit.

    Raises:
        Refused: There is nothing of that name, or it is not for this method.
    """
    beginning, path = split(request.path)
    found = _RESOURCES.get(beginning)
    if found is None or found[1] == (_NO if path is not None else _MUST):
        raise Refused(HTTPStatus.NOT_FOUND, f"no {request.path!r} here: {_remedy(beginning)}")
    methods, may_name, _ = found
    if request.method not in methods:
        message = f"{request.method} is not for {beginning}: use {methods[0]}"
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, message, allow=methods)
    named = unquoted(path or "")
    given = named or request.query.get("path", "")
    if beginning == "/v1/decisions":
        given = given or request.query.get("supervisor", "")
    if may_name == _MAY and not named:
        named = given
    if (worker := forwarding.any_worker(desk)) is not None and (
        across.is_far(desk, given) or _is_of_cluster(beginning, request)
    ):
        return forwarding.answer(beginning, request, forwarding.Beyond(worker, given))
    if (there := across.far(desk, given)) is not None:
        if not there.is_here:
            return across.answer(desk, request, beginning, there, has_hung_up)
        named, given = there.path if named else named, there.path
        if "path" in request.query:
            request = replace(request, query={**request.query, "path": given})
    if beginning == "/v1/top" and request.query.get("follow", "0").lower() not in _NOT:
        once = replace(request, query={**request.query, "follow": "0"})
        return top.followed(desk, lambda: answer(desk, once, has_hung_up), has_hung_up)
    return _answer_here(desk, request, named, given, has_hung_up)


def _answer_here(
    desk: Desk, request: Request, named: str, given: str, has_hung_up: HungUp
) -> Answer:
    """Answer what is meant for this node: by this process, a worker, or all of them."""
    beginning, _ = split(request.path)
    resource = _RESOURCES[beginning][2]
    found_there = forwarding.beyond(desk, given)
    if found_there is not None and (found_there.path or beginning in _OF_PROCESSES):
        return forwarding.answer(beginning, request, found_there)
    if gathering.concerns(beginning, desk, request, given):
        return gathering.gathered(
            beginning, desk, request, lambda: resource(desk, request, named, has_hung_up)
        )
    if given in ("", "/", name_of(desk.root)) and braiding.concerns(beginning, desk):
        own = resource(desk, request, named, has_hung_up)
        return braiding.braided(beginning, desk, request, own)
    return resource(desk, request, named, has_hung_up)


def _is_of_cluster(beginning: str, request: Request) -> bool:
    """Whether it is asked of all nodes, which a parent of workers is none of."""
    return beginning in ("/v1/nodes", "/v1/node") or "cluster" in request.query


def _tree(desk: Desk, request: Request, gone: HungUp) -> Answer:
    is_whole = request.query.get("cluster", "0") not in ("", "0")
    return nodes.trees(desk, request, gone) if is_whole else tree.answer(desk, request)


def split(path: str) -> tuple[str, str | None]:
    """Split ``/v1/service/shop/mail`` into ``/v1/service`` and ``shop/mail``."""
    parts = path.split("/", 3)
    rest = parts[3] if len(parts) > 3 and parts[3] else None
    return "/".join(parts[:3]), rest


def _remedy(beginning: str) -> str:
    near = get_close_matches(beginning[:40], _RESOURCES, n=1)
    return f"there is {', '.join(_usage(name) for name in near or _RESOURCES)}"


def _usage(name: str) -> str:
    methods, more, _ = _RESOURCES[name]
    return f"{methods[0]} {name}{more}"
