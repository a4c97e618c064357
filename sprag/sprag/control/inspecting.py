"""``GET /v1/inspect/PATH``: what a service has to show of its inside, without running its code.

But for `on_inspect`, which is there for that.
"""

from __future__ import annotations

from types import GetSetDescriptorType
from typing import TYPE_CHECKING, Any, Final, cast

from sprag.control.http import Answer
from sprag.services.operating import Operating
from sprag.services.working import Working
from sprag_supervisor import RUNNING, as_text, class_name, is_a, path_of, redacted, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.control.desk import Desk
    from sprag.control.http import Request
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
    values: Iterator[tuple[str, object]] = iter(())
    hook: Any = getattr(type(node), "on_inspect", Operating.on_inspect)
    if hook is not Operating.on_inspect and node._state_ is RUNNING:
        source = "on_inspect"
        # As a task of the service: what it raises is no crash.
        task = Working.task(node, cast("Operating", node).on_inspect)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        try:
            values = _named(task.get(seconds))
        except BaseException as raised:
            if not is_a(raised, Exception) and task._error is not raised:
                raise  # it is for who answers, and not of the hook
            error = redacted(f"{class_name(type(raised))}: {as_text(raised)}")[:_MESSAGE]
        finally:
            task.cancel()
    else:
        values = _attributes(node)
    shown: dict[str, str] = {}
    more = 0
    for name, value in values:
        if len(shown) == _MOST:
            more += 1
            continue
        text = told(value, name, texts=True)
        shown[redacted(name)[:_NAME]] = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return Answer(
        {
            **desk.about(),
            "path": path_of(node),
            "state": node._state_.value,
            "source": source,
            "values": shown,
            "more": more,
            "error": error,
        }
    )


def _named(result: Any) -> Iterator[tuple[str, object]]:
    if type(result) is dict:
        for key, value in list(cast("dict[object, object]", result).items()):
            yield (key if type(key) is str else told(key, texts=True)), value
    else:
        yield "result", result


def _attributes(node: Node) -> Iterator[tuple[str, object]]:
    """Yield what lies in the object itself: no property runs, and no ``__getattr__``."""
    for base in type(node).__mro__:
        own = type.__dict__["__dict__"].__get__(base).get("__dict__")
        if type(own) is GetSetDescriptorType:
            attributes: dict[str, object] = own.__get__(node)
            yield from list(attributes.items())
            break
    for slot in type(node)._user_slots_:
        try:
            yield slot.__name__, slot.__get__(node)
        except AttributeError:
            continue  # was never set
