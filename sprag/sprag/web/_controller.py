"""Controllers: what answers the requests for one route."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast, overload

from sprag.owned.log import bound_logger
from sprag.services.service import Service, current_service
from sprag.web._comeback import comes_back
from sprag.web.exceptions import HTTPError
from sprag_supervisor import (
    RUNNING,
    Mistake,
    as_count,
    current_node,
    is_within,
    mentioned,
    path_of,
    shown,
)
from sprag_supervisor.exceptions import BadValue, LikelyMistake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from structlog.stdlib import BoundLogger
    from werkzeug.wrappers import Request, Response

    from sprag_supervisor import Node

KindT = TypeVar("KindT")

RETRY_AFTER: Final = "1"
"""Seconds after which a client may ask again for a service that does not run."""
METHODS: Final = {
    "load": ("GET", "HEAD"),
    "post": ("POST",),
    "put": ("PUT",),
    "patch": ("PATCH",),
    "delete": ("DELETE",),
}
"""Which HTTP methods a controller's method answers."""


class Controller:
    """Answers the requests for one route: subclass it and give it a `route` and a `load`.

        class OrderController(Controller):
            route = "/orders/<int:id>"

            def load(self, id):
                return {"order": self.service("ledger").order(id)}

    An instance lives for one request. ``load`` answers GET and HEAD; ``post``, ``put``,
    ``patch`` and ``delete`` stand beside it for the other methods. They are called with
    the variables of the route, in the request's own greenlet, and may block. They return

    - a dict (or list): JSON for clients that prefer JSON, else HTML through the shell;
    - a pair ``(data, status)`` or a triple ``(data, status, headers)``;
    - None: status 204, no content;
    - a Werkzeug response, for instance `redirect`, which is sent as it is.

    An exception is logged once and answers 500; neither the server nor any other service
    takes notice. `HTTPError` answers with its own status. A service that is needed and
    does not run makes it 503: `service` hands out none that is down, and NotRunning is what
    one raises that went down meanwhile.

    Attributes:
        route: A Werkzeug rule, or several: ``"/orders/<int:id>"``. A class without one of
            its own is not mounted: it may be the base of others.
        template: A Jinja template that renders the data for browsers. Default: the data
            are shown as tables and lists.
        title: The page's title. Default: the class's name without "Controller".
        max_body: Bytes that a request's body may have; None: as the app's `Limits` say.
    """

    route: ClassVar[str | Sequence[str]]
    template: ClassVar[str | None] = None
    title: ClassVar[str | None] = None
    max_body: ClassVar[int | None] = None

    def __init_subclass__(cls, **given: object) -> None:
        """Refuse keywords and a wrong `max_body`; warn of what is likely a misspelt `route`."""
        super().__init_subclass__()
        for keyword, value in given.items():
            remedy = f"no keyword, and in the body of {cls.__name__} 'route = {shown(value)}'"
            raise BadValue(keyword, value, remedy)
        if cls.max_body is not None and as_count(cls.max_body) < 0:
            raise BadValue("max_body", cls.max_body, "a whole number of bytes, 0 or more, or None")
        for where, fault, remedy in mistakes_of_controller(cls):
            warnings.warn(f"{where} {fault}: {remedy}", LikelyMistake, stacklevel=2)

    _request_: Request
    _root_: Service
    _request_id_: str

    @property
    def request(self) -> Request:
        """The Werkzeug request: ``self.request.args``, ``.form``, ``.get_json()`` and so on."""
        return self._request_

    @property
    def request_id(self) -> str:
        """What names this request in the log, and in the answer's ``X-Request-ID``."""
        return self._request_id_

    @overload
    def service(self, name: str) -> Any: ...
    @overload
    def service(self, name: str, kind: type[KindT]) -> KindT: ...
    def service(self, name: str, kind: type[Any] | None = None) -> Any:
        """Return a provider of the app by its name, or a service by its path, that runs.

        Blocks while it is being restarted, for a second at most, unless its next try is known to
        come later.

        Args:
            name: As for `Service.service`.
            kind: The class that it must be of; a type checker knows then what is returned.

        Raises:
            HTTPError: It does not run: 503, with ``Retry-After``. It is down, comes up for the
                first time, or is not back in time, and what its last life has left is of no use.
            NotRunning: The app has never been started.
            UnknownService: There is none. The providers are listed.
            WrongKind: There is one, of another class.
            BadValue: *name* is no text, or *kind* no class.
        """
        root = self._root_
        found = Service.service(root, name) if kind is None else Service.service(root, name, kind)
        node: Node = found
        # A tree that stops has its server answer the last requests, and so have those above it.
        if (
            node._state_ is not RUNNING
            and not is_within(current_node(), node)
            and not comes_back(node)
        ):
            message = f"the service {name!r} does not run: it is {node._state_.value}"
            raise HTTPError(503, message, {"Retry-After": RETRY_AFTER})
        return found

    def emit(self, event: str, data: Any = None) -> int:
        """Call every listener of *event* in the app, in this greenlet, and return then.

        Returns:
            How many listeners heard it.

        Raises:
            NotRunning: The app has never been started.
            BadValue: *event* is no str, or begins with ``sprag:``.
        """
        return Service.emit(self._root_, event, data)

    @property
    def log(self) -> BoundLogger:
        """A structlog logger bound to the request's id and the controller's name."""
        service = current_service() or self._root_
        logger: BoundLogger = bound_logger(path_of(service), service._incarnation_).bind(
            controller=type(self).__name__, request_id=self._request_id_
        )
        return logger


_MISSPELT: Final = ("path", "url", "rule", "uri", "routes", "endpoint", "Route")


def mistakes_of_controller(cls: type) -> Iterator[Mistake]:
    """Yield which attribute of a controller without a route is likely meant to be one."""
    if getattr(cls, "route", None) is not None or not any(map(cls.__dict__.get, METHODS)):
        return
    for name in _MISSPELT:
        value: Any = vars(cls).get(name)
        first: Any = value[0] if type(value) in (list, tuple) and value else value
        if isinstance(first, str) and first.startswith("/") and name not in mentioned(cls):
            yield Mistake(
                f"{cls.__name__}.{name}",
                f"= {shown(value)} mounts nothing",
                f"write 'route = {shown(value)}'",
            )


_ELSEWHERE: Final = (301, 302, 303, 307, 308)


def redirect(location: str, status: int = 303) -> Response:
    """Return an answer that sends the client elsewhere.

    Args:
        location: A path, or a URL. Never take it from the request unchecked.
        status: 303 (default): fetch that with GET, right after a POST too; 301 and 308 for
            ever, 302 and 307 for now.

    Raises:
        BadValue: *location* is no text, or *status* none of these.
        ValueError: *location* has a line's end in it.
    """
    from werkzeug.utils import redirect

    if not isinstance(cast("object", location), str):
        raise BadValue("location", location, "a path, or a URL")
    if type(status) is not int or status not in _ELSEWHERE:
        raise BadValue("status", status, ", ".join(map(str, _ELSEWHERE)))
    return redirect(location, status)
