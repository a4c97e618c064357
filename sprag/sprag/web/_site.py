"""The WSGI application: from a request to its controller and back."""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

import structlog
from gevent import GreenletExit
from markupsafe import Markup
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response

from sprag.control.health import ALIVE, METRICS, READY, encoded, health
from sprag.owned.log import bound_logger
from sprag.process.worker import worker
from sprag.services.finding import name_of_app
from sprag.services.service import current_service
from sprag.web._body import BODY
from sprag.web._bounded import BoundedBody
from sprag.web._checks import BadAnswer, check_headers, check_status
from sprag.web._controller import METHODS, RETRY_AFTER
from sprag.web._discovery import discover, folders, top_folder
from sprag.web._encoding import is_one, to_json
from sprag.web._limits import Limits
from sprag.web._page import Page
from sprag.web._reply import BODILESS, HTML, NO_CONTENT, Reply, phrase, wants_html
from sprag.web._request import WebRequest
from sprag.web._routing import Mount, Router, dotted
from sprag.web._shell import Shell, shell
from sprag.web._static import PREFIX, StaticFiles, send
from sprag.web._streamed import Streamed
from sprag.web._templates import Templates
from sprag.web.exceptions import HTTPError
from sprag_supervisor import attribute_of, meaning_of, path_of, users_part
from sprag_supervisor.exceptions import NotRunning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jinja2 import Template

    from sprag.services.service import Service
    from sprag.web._controller import Controller
    from sprag.web._shell import Frame

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = "Callable[..., Any]"
_Data: TypeAlias = Mapping[str, Any] | list[Any]

REQUEST_ID: Final = "sprag.request_id"
CONTROLLER: Final = "sprag.controller"
"""Where the server finds, in the WSGI environ, what its access log is to say."""

_LONGEST_PATH: Final = 4096
_MOST_PARTS: Final = 256
"""The parts of a path: two variables for several of them are tried at each, by each other."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
"""Nothing is called so, and where a line ends a rule may be thought to end as well."""
_ACCEPTED_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_PLAIN_METHODS: Final = ("GET", "HEAD")
_ALL_METHODS: Final = ", ".join([*(name for each in METHODS.values() for name in each), "OPTIONS"])


class _Asked(NamedTuple):
    """One request, and what there is to know about it beside Werkzeug's part."""

    request: WebRequest
    id: str


class Site:
    """All routes of one app with their pages and files; a WSGI callable.

    Args:
        root: The app, for its services, its health and its name.
        routes: Module or package that holds the controllers; None for no controllers.
        frame: The shell.
        limits: Of which ``max_body`` applies here; the server sees to the others.

    Raises:
        SpragError: Something is wrong with a controller, a template or a style sheet.
        Exception: What a module of the user's raised.
    """

    def __init__(
        self,
        root: Service,
        routes: str | None = None,
        frame: Callable[[Page], str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._root = root
        self._limits = limits or Limits()
        controllers = [] if routes is None else discover(routes)
        near = [] if routes is None else folders(routes)
        around = [] if routes is None else [top_folder(routes)]
        self._router = Router(controllers)
        self._static = StaticFiles(folder / "static" for folder in near)
        beside = [place for folder in near for place in (folder / "templates", folder)]
        self._templates = Templates([*beside, *around, Path.cwd()])
        self._plain = shell().mounted(self._templates, self._static)
        self._frame = self._frame_from(frame)
        self._error = self._templates.get("sprag/error.html", wanted_by="sprag")
        self._views: dict[type[Controller], Template] = {
            each: self._templates.get(each.template, wanted_by=dotted(each))
            for each in controllers
            if each.template is not None
        }
        # Of workers the parent tells, of all of them: here only one would be seen.
        measures = attribute_of(root, "_metrics_") and worker() is None
        own = (ALIVE, READY, METRICS) if measures else (ALIVE, READY)
        self._own = [path for path in own if not self._router.has(path)]

    def _frame_from(self, given: Callable[[Page], str] | None) -> Frame:
        if given is None:
            return self._plain
        if isinstance(given, Shell):
            return given.mounted(self._templates, self._static)
        return given

    # -- one request -----------------------------------------------------------------

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; never raises but for a kill or Ctrl-C."""
        request_id: str = environ.get("HTTP_X_REQUEST_ID") or ""
        if not _ACCEPTED_ID.fullmatch(request_id):
            request_id = secrets.token_hex(8)
        environ[REQUEST_ID] = request_id
        path = path_in(environ)
        if path in self._own:
            reply = self._health(environ["REQUEST_METHOD"], path)
            return _sent(reply, request_id, environ, start_response)
        request = WebRequest(environ)
        is_over = True
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            answer = self._answer(_Asked(request, request_id), path)
            body = _sent(answer, request_id, environ, start_response)
            if type(body) is Streamed:  # which may be made of what was uploaded
                body.on_close = request.close
                is_over = False
            return body
        finally:
            if is_over and "files" in request.__dict__:
                request.close()
            structlog.contextvars.unbind_contextvars("controller")
            structlog.contextvars.reset_contextvars(**bound)

    def _health(self, method: str, path: str) -> Reply:
        allow = _allow("GET, HEAD, OPTIONS")
        if method == "OPTIONS":
            return Reply(204, headers=allow)
        if method not in _PLAIN_METHODS:
            return Reply(405, body=b'{"error": "Method Not Allowed"}', headers=allow)
        if path == METRICS:
            from sprag.metrics import CONTENT_TYPE, exposition

            return Reply(200, CONTENT_TYPE, exposition(self._root), [("Cache-Control", "no-store")])
        status, found = health(path, self._root)
        return Reply(status, body=encoded(found), headers=[("Cache-Control", "no-store")])

    def _answer(self, asked: _Asked, path: str) -> Reply | Response:
        try:
            return _checked(self._attempt(asked, path))
        except BaseException as error:  # a leaked Timeout or SystemExit stays here
            meant = meaning_of(error)
            ends_more = isinstance(meant, GreenletExit | KeyboardInterrupt)
            if meant is error and ends_more:
                raise  # the server is stopping, or the program: not this request's fault
            self._crashed(asked, path, error)
            if ends_more:
                raise meant from error
            if isinstance(error, NotRunning):
                retry = [("Retry-After", RETRY_AFTER)]
                return self._failed(asked, 503, "a service that is needed does not run", retry)
            return self._failed(asked, 500, "something went wrong: the app's log says what")

    def _attempt(self, asked: _Asked, path: str) -> Reply | Response:
        try:
            return self._dispatch(asked, path)
        except HTTPError as error:
            return self._failed(asked, error.status, error.message, _headers(error.headers))
        except HTTPException as error:
            return self._http_exception(asked, error)

    def _dispatch(self, asked: _Asked, path: str) -> Reply | Response:
        request = asked.request
        method = request.method
        if (method, path) == ("OPTIONS", "*"):
            return Reply(204, headers=_allow(_ALL_METHODS))
        if len(path) > _LONGEST_PATH or path.count("/") > _MOST_PARTS or _CONTROL.search(path):
            raise NotFound
        if path.startswith(PREFIX):
            found = self._static.find(path.removeprefix(PREFIX))
            if found is not None and method not in _PLAIN_METHODS:
                return self._other_method(asked, "GET, HEAD, OPTIONS")
            if found is not None and (answer := send(found, request.environ)) is not None:
                return answer
        mount, variables = self._router.match(request.path)
        request.environ[CONTROLLER] = mount.name
        structlog.contextvars.bind_contextvars(controller=mount.name)
        handler = mount.handlers.get(method)
        if handler is None:
            return self._other_method(asked, mount.allow)
        most = mount.controller.max_body
        if most is None:
            most = self._limits.max_body
        if (request.content_length or 0) > most:
            return self._failed(asked, 413, f"a body may have {most} bytes")
        _bound_body(request.environ, request.content_length, most)
        controller = mount.controller.__new__(mount.controller)
        controller._request_ = request
        controller._root_ = self._root
        controller._request_id_ = asked.id
        controller.__init__()  # type: ignore[misc]
        return self._made(asked, mount, handler(controller, **variables))

    def _other_method(self, asked: _Asked, allow: str) -> Reply:
        if asked.request.method == "OPTIONS":
            return Reply(204, headers=_allow(allow))
        return self._failed(asked, 405, f"use {allow}", _allow(allow))

    # -- what a controller has returned -------------------------------------------------

    def _made(self, asked: _Asked, mount: Mount, result: object) -> Reply | Response:
        if isinstance(result, Response):
            return result
        if result is None:
            return Reply(204)
        data, status, headers = _parts(result, mount.name)
        headers.append(("Vary", "Accept"))
        if status in NO_CONTENT:
            return Reply(status, headers=headers)
        if not wants_html(asked.request.environ.get("HTTP_ACCEPT", "")):
            return Reply(status, body=to_json(data), headers=headers)
        page = self._page(asked, self._body(asked, mount, data), _title(mount), data)
        return Reply(status, HTML, _encoded(self._frame(page)), headers)

    def _body(self, asked: _Asked, mount: Mount, data: _Data) -> Markup:
        template = self._views.get(mount.controller)
        if template is None:
            return self._templates.show(data)
        names = {"data": data, "request": asked.request, "app": name_of_app(self._root)}
        fields: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        return Markup(template.render({**names, **fields}))  # noqa: S704 - autoescape

    def _page(self, asked: _Asked, body: Markup, title: str, data: object) -> Page:
        return Page(body, title, data, asked.request, name_of_app(self._root))

    # -- what went wrong ---------------------------------------------------------------

    def _http_exception(self, asked: _Asked, error: HTTPException) -> Reply | Response:
        if isinstance(error, RequestRedirect):
            return self._moved(asked, error.new_url)
        if error.response is not None:  # werkzeug.exceptions.abort(response)
            response: Any = error.get_response(asked.request.environ)
            return cast("Response", response)
        status = error.code or 500
        headers = [
            (name, value)
            for name, value in error.get_headers(asked.request.environ)
            if name.lower() != "content-type"
        ]
        # Werkzeug's own texts are for people who have typed an address.
        ours = error.description == type(error).description
        return self._failed(asked, status, "" if ours else error.description or "", headers)

    def _moved(self, asked: _Asked, url: str) -> Reply:
        """Redirect to the same path in its canonical form, whatever the Host header says."""
        parts = urlsplit(url)
        # One slash only: two would name another host.
        path = asked.request.script_root + "/" + parts.path.lstrip("/\\")
        query = asked.request.query_string.decode("latin-1")
        location = f"{path}?{query}" if query else path
        return Reply(308, body=b"{}", headers=[("Location", location)])

    def _failed(
        self,
        asked: _Asked,
        status: int,
        message: str,
        headers: list[tuple[str, str]] | None = None,
    ) -> Reply:
        data = {
            "status": status,
            "error": phrase(status),
            "message": message or phrase(status),
            "request_id": asked.id,
        }
        headers = [*(headers or ()), ("Vary", "Accept")]
        if not wants_html(asked.request.environ.get("HTTP_ACCEPT", "")):
            return Reply(status, body=to_json(data), headers=headers)
        body = Markup(self._error.render(data=data, request=asked.request))  # noqa: S704
        page = self._page(asked, body, phrase(status), data)
        try:
            html = self._frame(page)
        except Exception:  # noqa: BLE001 - the shell may be what is broken, and has been logged
            html = self._plain(page)
        return Reply(status, HTML, _encoded(html), headers)

    def _crashed(self, asked: _Asked, path: str, error: BaseException) -> None:
        service = current_service() or self._root
        bound_logger(path_of(service), service._incarnation_).error(
            "request crashed",
            method=asked.request.method,
            path=path,
            controller=asked.request.environ.get(CONTROLLER),
            request_id=asked.id,
            exc_info=(type(error), error, users_part(error)),
        )


def _sent(
    reply: Reply | Response, request_id: str, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """Do the WSGI part: status and headers now, the body as what is returned."""
    is_head = environ["REQUEST_METHOD"] == "HEAD"
    if isinstance(reply, Response):
        reply.headers.setdefault("X-Request-ID", request_id)
        body = reply(environ, start_response)
        if is_head or reply.status_code in BODILESS:
            reply.close()  # Werkzeug would leave the file open that it does not send
            return body
        return body if reply.is_sequence else Streamed(body)
    status, headers = reply.head()
    headers.append(("X-Request-ID", request_id))
    start_response(status, headers)
    return () if is_head else (reply.body,)


def _checked(reply: Reply | Response) -> Reply | Response:
    """Return *reply* if it may be sent.

    Raises:
        BadAnswer: A status, a header or the body are not what HTTP has.
    """
    if isinstance(reply, Response):
        status = check_status(reply.status)
        check_headers(status, reply.headers)
        # Of a 304 Werkzeug itself keeps the body, and does not send it.
        if status == 204 and (not reply.is_sequence or any(reply.response)):
            raise BadAnswer("a 204 has no body: return None, or use another status")
        return reply
    line, headers = reply.head()
    check_headers(check_status(line), headers)
    return reply


def _parts(result: Any, name: str) -> tuple[_Data, int, list[tuple[str, str]]]:
    """Take apart what a controller has returned: the data, a status, headers."""
    data: Any = result
    status: Any = 200
    headers: Any = {}
    if is_one(result, tuple) and 2 <= len(result) <= 3:
        data, status, headers = (*result, headers)[:3]
    is_status = is_one(status, int) and 200 <= status <= 599
    if is_status and status in NO_CONTENT:
        if data:
            raise TypeError(f"{name} returned data with status {status}, which has no body")
        data = {}
    if not is_one(data, Mapping, list) or not is_status or not is_one(headers, Mapping):
        raise TypeError(
            f"{name} returned {result!r:.200}: return a dict, a list, None, a Werkzeug response, "
            "(data, status) or (data, status, headers), with a status from 200 to 599"
        )
    return data, int(status), _headers(headers)


def _headers(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in given.items()]


def path_in(environ: Environ) -> str:
    """Return the path that is asked for, as a text; what is no UTF-8 in it as hexadecimal."""
    path: str = environ.get("PATH_INFO") or "/"
    return path if path.isascii() else path.encode("latin-1").decode("utf-8", "backslashreplace")


def _bound_body(environ: Environ, length: int | None, most: int) -> None:
    """See to it that no more than *most* bytes of a body are read."""
    body = environ.get(BODY)
    if body is not None:
        body.most = most
    elif length is not None or "wsgi.input_terminated" in environ:
        bounded = BoundedBody(environ["wsgi.input"], most, length)
        environ["wsgi.input"] = io.BufferedReader(bounded)
        environ["wsgi.input_terminated"] = True


def _allow(methods: str) -> list[tuple[str, str]]:
    return [("Allow", methods)]


def _encoded(html: str) -> bytes:
    return html.encode("utf-8", "replace")


def _title(mount: Mount) -> str:
    if mount.controller.title is not None:
        return mount.controller.title
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+", mount.name)
    if len(words) > 1 and words[-1] == "Controller":
        words.pop()
    return " ".join(words) or mount.name
