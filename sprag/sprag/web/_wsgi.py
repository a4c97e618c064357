"""``app.wsgi``: what a WSGI server is given, before and after the app has started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sprag.web.exceptions import MissingExtra
from sprag_supervisor import attribute_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sprag.services.service import Service
    from sprag.web._door import Place
    from sprag.web._limits import Limits
    from sprag.web._page import Page
    from sprag.web._service import WebServer
    from sprag.web._site import Site


class Wsgi:
    """The app's controllers as a WSGI callable, which stays the same for the app's life.

    The routes are imported when the app starts, or with the first request.
    """

    def __init__(
        self,
        root: Service,
        routes: str | None,
        shell: Callable[[Page], str] | None,
        limits: Limits,
    ) -> None:
        self._root = root
        self._routes = routes
        self._shell = shell
        self._limits = limits
        self._served: Callable[..., Iterable[bytes]] | None = None

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        return (self._served or self._loaded())(environ, start_response)

    def load(self) -> Site:
        """Import the routes and find their templates, which may be done once more.

        Raises:
            MissingExtra: Werkzeug or Jinja2 is not installed.
            SpragError: Something is wrong with a controller, a template or a style sheet.
            Exception: What a module of the user's raised.
        """
        try:
            from sprag.web import _site
        except ModuleNotFoundError as error:
            if (name := (error.name or "").partition(".")[0]) in _NEEDED:
                raise MissingExtra(_NEEDED[name]) from None
            raise
        site = _site.Site(self._root, self._routes, self._shell, self._limits)
        observer: Any = attribute_of(self._root, "_observer_")
        if observer is None:
            self._served = site
        else:
            from sprag.observer.mounted import mounted

            self._served = mounted(site, self._root, *observer)
        return site

    def _loaded(self) -> Callable[..., Iterable[bytes]]:
        self.load()
        served = self._served
        assert served is not None
        return served

    def server(self, places: tuple[Place, ...]) -> tuple[WebServer, dict[str, object]]:
        """Return the service that serves this at *places*, and its policy."""
        from sprag.web._service import WebServer

        return WebServer(self, places, self._limits), {"shutdown": self._limits.shutdown}


_NEEDED = {"werkzeug": "Werkzeug", "jinja2": "Jinja2", "markupsafe": "MarkupSafe"}
