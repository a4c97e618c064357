"""Controllers: what answers the requests for one route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from sprag._log import bound_logger
from sprag._service import Service, current_service
from sprag_supervisor._node import path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.stdlib import BoundLogger
    from werkzeug.wrappers import Request, Response

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
    does not run (NotRunning) makes it 503.

    Attributes:
        route: A Werkzeug rule, or several: ``"/orders/<int:id>"``. A class without one of
            its own is not mounted: it may be the base of others.
        template: A Jinja template that renders the data for browsers. Default: the data
            are shown as tables and lists.
        title: The page's title. Default: the class's name without "Controller".
        max_body: Bytes that a request's body may have; default: the app's `Limits`.
    """

    route: ClassVar[str | Sequence[str]]
    template: ClassVar[str | None] = None
    title: ClassVar[str | None] = None
    max_body: ClassVar[int | None] = None

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

    def service(self, name: str) -> Any:
        """Return a provider of the app by its name, or a service by its path.

        Raises:
            NotRunning: The app has never been started.
            UnknownService: There is none. The providers are listed.
        """
        return Service.service(self._root_, name)

    def emit(self, event: str, data: Any = None) -> None:
        """Call every listener of *event* in the app, in this greenlet, and return then.

        Raises:
            NotRunning: The app has never been started.
        """
        Service.emit(self._root_, event, data)

    @property
    def log(self) -> BoundLogger:
        """A structlog logger bound to the request's id and the controller's name."""
        service = current_service() or self._root_
        logger: BoundLogger = bound_logger(path_of(service), service._incarnation_).bind(
            controller=type(self).__name__, request_id=self._request_id_
        )
        return logger


def redirect(location: str, status: int = 303) -> Response:
    """Return an answer that sends the client elsewhere.

    Args:
        location: A path, or a URL. Never take it from the request unchecked.
        status: 303 (default): fetch that with GET, right after a POST too; 301 and 308 for
            ever, 302 and 307 for now.
    """
    from werkzeug.utils import redirect

    return redirect(location, status)
