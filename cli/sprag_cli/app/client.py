"""Ask a running app: HTTP/1.1 over its Unix socket."""

from __future__ import annotations

from http import HTTPStatus

from sprag._exit_codes import ExitCode
from sprag_cli.app.exchange import Exchange, HungUp
from sprag_cli.app.told import text_of
from sprag_cli.record import Record
from sprag_cli.term import deep_json
from sprag_cli.term.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Generator, Mapping
    from typing import Final, NoReturn

    from sprag_cli.app.remote import Remote
    from sprag_cli.app.told import Node

_EXITS: Final[Mapping[int, ExitCode]] = {
    HTTPStatus.BAD_REQUEST: ExitCode.USAGE,
    HTTPStatus.NOT_FOUND: ExitCode.NOT_FOUND,
}


class RunningApp(Record):
    """An app that listens, or a socket given by its path (then *pid* may be unknown).

    Attributes:
        user: Whose it is, if it is not this user's.
        remote: On which other machine it is; None: on this one.
    """

    name: str
    pid: int | None
    socket: str
    user: str = ""
    remote: Remote | None = None

    def __str__(self) -> str:
        """Return the name and the pid."""
        name = self.name if self.pid is None else f"{self.name} (pid {self.pid})"
        return name if self.remote is None else f"{name} at {self.remote}"


class AppGone(CommandError):
    """Raised when nobody listens on the app's socket, or the app hangs up before it answered."""

    exit_code = ExitCode.NOT_FOUND

    def __init__(self, app: RunningApp, reason: str, *, was_there: bool = False) -> None:
        """Say which app, where it should be, and how it is known to be gone.

        Args:
            app: The app.
            reason: How it is known.
            was_there: It took the connection, and hung up later.
        """
        self.was_there = was_there
        super().__init__(f"{app} is gone: {reason} ({app.socket}) — is it still running?")


class BadAnswer(CommandError):
    """Raised when the app answers, but not with what was asked for."""

    exit_code = ExitCode.NOT_FOUND

    def __init__(
        self, app: RunningApp, asked: str, reason: str, wanted: str = "a node of the tree in JSON"
    ) -> None:
        """Say what was asked, ``GET /v1/tree``, and what came back."""
        super().__init__(
            f"{app} answered {asked} with {reason} — {wanted} was expected "
            "— do the app and this command have the same version of sprag?"
        )


class Refusal(CommandError):
    """Raised when the app understands what is asked of it, and says no.

    Attributes:
        name: The class of sprag's exception behind it, or ``""``.
    """

    def __init__(self, status: int, name: str, reason: str) -> None:
        """Pass on what the app says."""
        self.name = name
        self.exit_code = _EXITS.get(status, ExitCode.FAILED)
        where = "nodes" if name == "UnknownNode" else "tree"
        super().__init__(
            f"{reason} — 'sprag {where}' shows all" if status == HTTPStatus.NOT_FOUND else reason
        )


class TimedOut(CommandError):
    """Raised when the answer was not there in time."""

    exit_code = ExitCode.TIMED_OUT

    def __init__(self, app: RunningApp, timeout: float) -> None:
        """Say who did not answer, in how many seconds."""
        super().__init__(
            f"{app} did not answer in {timeout:g} s — a service may be hogging the CPU or "
            "blocking in C — wait longer with --timeout"
        )


class Client:
    """Asks one app; each question uses a connection of its own."""

    def __init__(self, app: RunningApp, *, timeout: float) -> None:
        """Prepare to ask; nothing is connected yet.

        Args:
            app: Whom to ask.
            timeout: Seconds in which the whole answer must be there.
        """
        self.app = app
        self._timeout = timeout

    def tree(self, node: str = "") -> Node:
        """Return the root of the tree, of another node's if one is named.

        Raises:
            AppGone: Nobody listens any more.
            BadAnswer: The app answered with something else.
            Refusal: There is no such node, or it does not answer.
            TimedOut: The answer was not there in time.
        """
        target = target_of("/v1/tree", query={"path": f"{node}:" if node else None})
        answer = self._get(target)
        if not deep_json.is_object(answer) or not {"name", "state"} <= answer.keys():
            raise BadAnswer(self.app, f"GET {target}", "something else")
        return answer

    def ask(
        self,
        resource: str,
        path: str = "",
        query: Mapping[str, object] | None = None,
        *,
        method: str = "GET",
        accepted: Container[int] = (HTTPStatus.OK,),
    ) -> Node:
        """Ask for something that the app answers with one JSON object.

        Args:
            resource: What to ask for, as in ``/v1/service``.
            path: The path of a service, put behind it.
            query: Put behind that; without what is ``None``.
            method: The HTTP method.
            accepted: The HTTP statuses that are answers and not refusals.

        Raises:
            AppGone: Nobody listens any more.
            BadAnswer: The app answered with something else.
            Refusal: The app says no, and why.
            TimedOut: The answer was not there in time.
        """
        target = target_of(resource, path, query)
        answer = self._get(target, method, accepted, resource)
        if not deep_json.is_object(answer):
            raise BadAnswer(self.app, f"{method} {target}", "something else", "a JSON object")
        return answer

    def stream(
        self, resource: str, path: str = "", query: Mapping[str, object] | None = None
    ) -> Generator[Node]:
        """Yield the JSON objects of an answer that has one a line, and may go on for long.

        Args:
            resource: As for `ask`.
            path: As for `ask`.
            query: As for `ask`.

        Raises:
            AppGone, BadAnswer, Refusal: As for `ask`.
            TimedOut: The first line was not there in time.
        """
        target = target_of(resource, path, query)
        exchange: Exchange | None = None
        try:
            exchange = Exchange(self.app.socket, self._timeout, self.app.remote)
            exchange.ask("GET", target)
            if exchange.status != HTTPStatus.OK:
                self._refuse(f"GET {target}", resource, exchange, exchange.read())
            for line in exchange.lines():
                exchange.lift_deadline()
                told = deep_json.loads(line.decode())
                if deep_json.is_object(told):
                    yield told
        except (TimeoutError, BlockingIOError):
            raise TimedOut(self.app, self._timeout) from None
        except ValueError:
            reason = "text that is not JSON"
            raise BadAnswer(self.app, f"GET {target}", reason, "JSON") from None
        except OSError as error:
            raise _gone(self.app, error) from None
        finally:
            if exchange is not None:
                exchange.close()

    def _get(
        self,
        target: str,
        method: str = "GET",
        accepted: Container[int] = (HTTPStatus.OK,),
        resource: str = "/v1/tree",
    ) -> object:
        asked = f"{method} {target}"
        exchange: Exchange | None = None
        try:
            exchange = Exchange(self.app.socket, self._timeout, self.app.remote)
            exchange.ask(method, target)
            body = exchange.read()
            if exchange.status not in accepted:
                self._refuse(asked, resource, exchange, body)
            return deep_json.loads(body.decode())
        except (TimeoutError, BlockingIOError):
            raise TimedOut(self.app, self._timeout) from None
        except ValueError:
            raise BadAnswer(self.app, asked, "text that is not JSON") from None
        except OSError as error:
            raise _gone(self.app, error) from None
        finally:
            if exchange is not None:
                exchange.close()

    def _refuse(self, asked: str, resource: str, answer: Exchange, body: bytes) -> NoReturn:
        try:
            told = deep_json.loads(body.decode())
        except ValueError:
            told = None
        if deep_json.is_object(told):
            name, reason = text_of(told, "name"), text_of(told, "error")
            # An older app does not know the resource; then what it says helps nobody.
            if reason and (name or answer.status != HTTPStatus.NOT_FOUND):
                raise Refusal(answer.status, name, reason)
        wanted = (
            f"an answer to {resource}" if resource != "/v1/tree" else "a node of the tree in JSON"
        )
        raise BadAnswer(self.app, asked, f"{answer.status} {answer.reason}", wanted)


def target_of(resource: str, path: str = "", query: Mapping[str, object] | None = None) -> str:
    """Return the target of a request: everything percent-encoded that has to be."""
    given = {key: value for key, value in (query or {}).items() if value is not None}
    if not (path or given):
        return resource
    from urllib.parse import quote, urlencode

    target = f"{resource}/{quote(path)}" if path else resource
    return f"{target}?{urlencode(given)}" if given else target


def _gone(app: RunningApp, error: OSError) -> AppGone:
    was_there = isinstance(error, HungUp | ConnectionResetError | BrokenPipeError)
    return AppGone(app, _reason(error), was_there=was_there)


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens on its socket"
    if isinstance(error, FileNotFoundError):
        return "its socket does not exist"
    if isinstance(error, PermissionError):
        return "its socket belongs to another user"
    if isinstance(error, ConnectionError):
        return "it hung up before it had answered"
    return str(error)
