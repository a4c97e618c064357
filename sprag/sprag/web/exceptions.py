"""What can go wrong with routes, pages and the server, one class per case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sprag_supervisor import SpragFieldsError
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BadController",
    "FileMissing",
    "HTTPError",
    "MissingExtra",
    "RoutesMissing",
    "SameRoute",
]


class HTTPError(SpragFieldsError):
    """Raise it in a controller to answer with an error status.

    The client reads the message, as HTML or JSON; it is not logged as a crash.

    Args:
        status: 400 to 599.
        message: What the client is told. Default: the status' own phrase.
        headers: Sent along, for instance ``{"Retry-After": "10"}``.

    Raises:
        BadValue: One of them is something else.
    """

    status: int
    message: str
    headers: dict[str, str]

    def __init__(
        self, status: int, message: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        # Python itself checks nothing, and a raise is seldom tried before it is needed.
        number: object = status
        if not isinstance(number, int) or not 400 <= number <= 599:
            raise BadValue("status", status, "a number from 400 to 599")
        text: object = message
        if not isinstance(text, str):
            raise BadValue("message", message, "a text")
        given: object = {} if headers is None else headers
        if not isinstance(given, Mapping):
            raise BadValue("headers", headers, "a mapping of names to values")
        super().__init__(status=int(status), message=message, headers=dict(headers or {}))

    def _message(self) -> str:
        return f"{self.status} {self.message}".rstrip()


class MissingExtra(SpragFieldsError, ImportError):
    """The web part is used, and what it stands on is not installed."""

    module: str
    _template = (
        "routes need the extra 'web' of sprag ({module} is not installed): "
        "pip install 'sprag-otp[web]'"
    )

    def __init__(self, module: str) -> None:
        super().__init__(module=module)


class RoutesMissing(SpragFieldsError, ImportError):
    """There is no module of the name given as ``routes``."""

    routes: str
    missing: str
    _template = (
        "routes={routes!r}: there is no module {missing!r} — name a module or package that can "
        "be imported from where the app is started"
    )

    def __init__(self, routes: str, missing: str) -> None:
        super().__init__(routes=routes, missing=missing)


class BadController(SpragFieldsError):
    """A controller cannot be mounted. Raised when the app starts."""

    controller: str
    problem: str
    remedy: str
    _template = "{controller} {problem}: {remedy}"

    def __init__(self, controller: str, problem: str, remedy: str) -> None:
        super().__init__(controller=controller, problem=problem, remedy=remedy)


class SameRoute(SpragFieldsError):
    """Two controllers answer for the same paths. Raised when the app starts."""

    route: str
    first: str
    second: str
    _template = (
        "route {route!r} belongs to both {first} and {second}: give one of them another route"
    )

    def __init__(self, route: str, first: str, second: str) -> None:
        super().__init__(route=route, first=first, second=second)


class FileMissing(SpragFieldsError, LookupError):
    """A template or style sheet is nowhere to be found. Raised when the app starts."""

    name: str
    wanted_by: str
    places: tuple[str, ...]

    def __init__(self, name: str, wanted_by: str, places: Iterable[str]) -> None:
        super().__init__(name=name, wanted_by=wanted_by, places=tuple(places))

    def _message(self) -> str:
        return f"{self.wanted_by}: no file {self.name!r}: put it into {' or '.join(self.places)}"
