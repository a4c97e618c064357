"""Which controller answers for a path: Werkzeug's rules, checked when the app starts."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from werkzeug.routing import Map, Rule

from sprag.web._controller import METHODS, Controller
from sprag.web.exceptions import BadController, SameRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_VARIABLE: Final = re.compile(r"<(?:([^<>:]+):)?[^<>:]+>")


@dataclass(frozen=True, slots=True, eq=False)
class Mount:
    """A controller in its place.

    Attributes:
        controller: The class.
        name: What it is called in the log.
        handlers: Its function for each HTTP method it answers itself.
        allow: What the header ``Allow`` says.
    """

    controller: type[Controller]
    name: str
    handlers: Mapping[str, Callable[..., object]]
    allow: str


class Router:
    """The routes of one app."""

    def __init__(self, controllers: Iterable[type[Controller]]) -> None:
        owners: dict[str, tuple[str, type[Controller]]] = {}
        rules = Map()
        for controller in controllers:
            mount = _mount(controller)
            for route in _routes_of(controller):
                rule = Rule(route, endpoint=mount)
                _add(rules, rule, controller)
                _check_parameters(mount, rule)
                # The names of variables make no difference to the paths that match.
                shape = _VARIABLE.sub(lambda found: f"<{found[1] or 'default'}>", route)
                if shape in owners:
                    raise SameRoute(route, dotted(owners[shape][1]), dotted(controller))
                owners[shape] = route, controller
        rules.update()
        self._paths = {route for route, _ in owners.values()}
        # Neither host nor script name matters: redirects are made relative.
        self._adapter = rules.bind("localhost")

    def has(self, path: str) -> bool:
        """Whether a controller has just this route."""
        return path in self._paths

    def match(self, path: str) -> tuple[Mount, dict[str, Any]]:
        """Return who answers for *path*, and the variables in it.

        Raises:
            werkzeug.exceptions.NotFound: Nobody does.
            werkzeug.routing.RequestRedirect: Somebody does for the path in another form.
        """
        mount, variables = self._adapter.match(path, "GET")
        return cast("Mount", mount), cast("dict[str, Any]", variables)


def dotted(controller: type[Controller]) -> str:
    """Return the full name of a controller's class."""
    return f"{controller.__module__}.{controller.__qualname__}"


def _routes_of(controller: type[Controller]) -> list[str]:
    given: object = controller.route
    several = isinstance(given, list | tuple)
    routes = list(cast("list[object]", given)) if several else [given]
    if not routes or not all(isinstance(one, str) and one.startswith("/") for one in routes):
        raise BadController(
            dotted(controller),
            f"has route={given!r}",
            "use a text that begins with a slash, or a list of such texts",
        )
    return cast("list[str]", routes)


def _mount(controller: type[Controller]) -> Mount:
    handlers: dict[str, Callable[..., object]] = {}
    for name, methods in METHODS.items():
        handler = getattr(controller, name, None)
        if handler is None:
            continue
        if not callable(handler) or inspect.iscoroutinefunction(handler):
            _refuse(controller, f"has a {name} that is no plain method", f"write 'def {name}(self'")
        handlers.update(dict.fromkeys(methods, handler))
    if not handlers:
        _refuse(controller, "has a route and nothing to answer with", "define load(self)")
    return Mount(controller, controller.__name__, handlers, ", ".join([*handlers, "OPTIONS"]))


def _refuse(controller: type[Controller], problem: str, remedy: str) -> NoReturn:
    raise BadController(dotted(controller), problem, remedy) from None


def _add(rules: Map, rule: Rule, controller: type[Controller]) -> None:
    try:
        rules.add(rule)
    except (LookupError, ValueError, TypeError) as error:
        _refuse(controller, f"has route={rule.rule!r}, which Werkzeug refuses", str(error))


def _check_parameters(mount: Mount, rule: Rule) -> None:
    """Find out now, not with the first request, that a method lacks a route's variable."""
    bare: Any = rule  # Werkzeug's own types leave open what it holds
    names: dict[str, None] = dict.fromkeys(bare.arguments)
    for handler in dict.fromkeys(mount.handlers.values()):
        try:
            inspect.signature(handler).bind(None, **names)
        except TypeError as error:
            listed = ", ".join(["self", *names])
            name = getattr(handler, "__name__", "load")
            _refuse(
                mount.controller,
                f"cannot be called for {rule.rule!r} ({error})",
                f"write 'def {name}({listed})'",
            )
