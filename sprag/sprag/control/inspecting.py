"""``GET /v1/inspect/PATH``: what a service has to show of its inside, without running its code.

But for `on_inspect`, which is there for that.
"""

from __future__ import annotations

from itertools import islice
from types import GetSetDescriptorType
from typing import TYPE_CHECKING, Any, Final, cast

from sprag.control.http import Answer
from sprag.services.operating import Operating
from sprag.services.working import Working
from sprag_supervisor import RUNNING, as_text, class_name, is_a, path_of, redacted, told

if TYPE_CHECKING:
    from sprag.control.desk import Desk
    from sprag.control.http import Request
    from sprag.owned.tasks import Task
    from sprag_supervisor import Node

_SECONDS: Final = 2.0
"""For `on_inspect`, unless who asks has said otherwise."""
_MOST: Final = 100
"""Values of one service that are told, …"""
_LONGEST: Final = 1000
"""… and characters of each."""
_MESSAGE: Final = 500
_NAME: Final = 80


def inspect(desk: Desk, request: Request, path: str, _gone: object) -> Answer:
    """Tell what `on_inspect` returns, within ``?timeout=`` seconds; without it, the attributes."""
    node = desk.find(path)
    seconds = request.seconds("timeout", _SECONDS)
    error: str | None = None
    source = "attributes"
    total, values = 0, list[tuple[object, object]]()
    hook: Any = getattr(type(node), "on_inspect", Operating.on_inspect)
    if hook is not Operating.on_inspect and node._state_ is RUNNING:
        source = "on_inspect"
        task: Task[object] | None = None
        try:
            # As a task of the service: what it raises is no crash.
            task = Working.task(node, cast("Operating", node).on_inspect)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            total, values = _named(task.get(seconds))
        except BaseException as raised:
            if not is_a(raised, Exception) and (task is None or task._error is not raised):
                raise  # it is for who answers, and not of the hook
            error = redacted(f"{class_name(type(raised))}: {as_text(raised)}")[:_MESSAGE]
        finally:
            if task is not None:
                task.cancel()
    else:
        total, values = _attributes(node)
    shown: dict[str, str] = {}
    for key, value in values:
        name = _name(key)
        # Of a name that long the end, which might tell a secret's, is not looked at.
        text = told(value, name, texts=len(name) < _LONGEST)
        shown[redacted(name)[:_NAME]] = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return Answer(
        {
            **desk.about(),
            "path": path_of(node),
            "state": node._state_.value,
            "source": source,
            "values": shown,
            "more": total - len(values),
            "error": error,
        }
    )


def _named(result: Any) -> tuple[int, list[tuple[object, object]]]:
    """Return how many values `on_inspect` has returned, and the first ones by their names."""
    if type(result) is dict:
        given = cast("dict[object, object]", result)
        return len(given), list(islice(given.items(), _MOST))
    return 1, [("result", result)]


def _name(key: object) -> str:
    return str.__str__(key)[:_LONGEST] if is_a(key, str) else told(key, texts=True)


def _attributes(node: Node) -> tuple[int, list[tuple[object, object]]]:
    """Return what lies in the object itself: no property runs, and no ``__getattr__``."""
    total, found = 0, list[tuple[object, object]]()
    for base in type(node).__mro__:
        own = type.__dict__["__dict__"].__get__(base).get("__dict__")
        if type(own) is GetSetDescriptorType:
            attributes: dict[object, object] = own.__get__(node)
            total, found = len(attributes), list(islice(attributes.items(), _MOST))
            break
    for slot in type(node)._user_slots_:
        try:
            pair = slot.__name__, slot.__get__(node)
        except AttributeError:
            continue  # was never set
        total += 1
        if len(found) < _MOST:
            found.append(pair)
    return total, found
