"""A client of etcd's JSON gateway: HTTP over gevent's sockets, as grpcio would hold the loop."""

from __future__ import annotations

import base64
import http.client
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from gevent import socket
from gevent.ssl import SSLContext

from sprag.cluster.engines.lines import has_news
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PORT: Final = 2379
_OPTIONS: Final = ("ca", "cert", "key")
_KEPT_ALIVE: Final = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class Refused(Exception):
    """etcd has answered with an error."""


ERRORS: Final = (OSError, http.client.HTTPException, Refused)


class Access:
    """Where etcd is, and who asks it.

    Args:
        url: ``etcd://user:password@host:2379,other:2379``; ``etcds://`` with TLS, where ``?ca=``,
            ``?cert=`` and ``?key=`` name files.

    Attributes:
        where: The same for people.
        servers: Hosts and ports.
        user, password: Who asks; empty: nobody in particular.
        tls: How the connection is kept private; None: it is not.

    Raises:
        BadValue: It is no such URL, or its files are of no use.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        who, _, places = parts.netloc.rpartition("@")
        user, _, password = who.partition(":")
        self.user, self.password = unquote(user), unquote(password)
        try:
            self.servers = [_server(each) for each in (places or "localhost").split(",")]
        except ValueError:
            raise BadValue("the engine's URL", f"{parts.scheme}://…", _ACCEPTED) from None
        options = dict(parse_qsl(parts.query))
        if set(options) - set(_OPTIONS):
            raise BadValue("the engine's URL", f"{parts.scheme}://…?{parts.query}", _ACCEPTED)
        self.where = f"{parts.scheme}://{','.join(f'{host}:{port}' for host, port in self.servers)}"
        self.tls: Any = None
        if parts.scheme == "etcds":
            self.tls = _context(options, self.where)


_ACCEPTED: Final = "etcd://host:2379, or etcds://host:2379?ca=…&cert=…&key=… with TLS"


def _server(place: str) -> tuple[str, int]:
    found = urlsplit(f"//{place}")
    return found.hostname or "localhost", found.port or _PORT


def _context(options: Mapping[str, str], where: str) -> Any:
    import ssl

    try:
        context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if "ca" in options:
            context.load_verify_locations(options["ca"])
        else:
            context.load_default_certs()
        if "cert" in options:
            context.load_cert_chain(options["cert"], options.get("key"))
    except OSError as error:
        raise BadValue("the engine's URL", where, f"files that can be read ({error})") from None
    return context


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket of gevent's."""

    def __init__(self, host: str, port: int, tls: Any) -> None:
        super().__init__(host, port)
        self._tls = tls

    def connect(self) -> None:
        found: Any = socket.create_connection((self.host, self.port))
        try:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEPT_ALIVE:
                found.setsockopt(socket.IPPROTO_TCP, option, value)
            self.sock = found
            if self._tls is not None:
                self.sock = self._tls.wrap_socket(found, server_hostname=self.host)
        except BaseException:
            found.close()
            raise


class EtcdLine:
    """A connection to one server of etcd's.

    Args:
        host, port: Where it is.
        access: Who asks.
    """

    def __init__(self, host: str, port: int, access: Access) -> None:
        self._access = access
        self._http = _Connection(host, port, access.tls)
        self._headers = {"Content-Type": "application/json"}

    def open(self) -> None:
        """Connect. May block.

        Raises:
            OSError, Refused: It cannot be asked.
        """
        try:
            self._http.connect()
            if self._access.user:
                self._say_who()
        except BaseException:
            self.close()
            raise

    def _say_who(self) -> None:
        self._headers.pop("Authorization", None)
        who = {"name": self._access.user, "password": self._access.password}
        self._headers["Authorization"] = self._asked("auth/authenticate", who)["token"]

    def ask(self, what: str, given: Mapping[str, Any]) -> Any:
        """Return the answer to a question. May block.

        Raises:
            OSError, http.client.HTTPException, Refused: There is none.
        """
        try:
            return self._asked(what, given)
        except Refused as error:
            if not self._access.user or "invalid auth token" not in str(error):
                raise
        self._say_who()  # a token has its time; nothing was done for it
        return self._asked(what, given)

    def _asked(self, what: str, given: Mapping[str, Any]) -> Any:
        self._http.request("POST", f"/v3/{what}", json.dumps(given).encode(), self._headers)
        with self._http.getresponse() as response:
            data = response.read()
        try:
            answer: Any = dict(json.loads(data))
        except (ValueError, TypeError, RecursionError):
            why = f"it answers with HTTP {response.status}, and no JSON of etcd's"
            raise Refused(why) from None
        if response.status != http.client.OK:
            raise Refused(answer.get("message") or answer.get("error") or response.reason)
        return answer

    def follow(self, what: str, *given: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the answers to questions that have many, as they come. Blocks.

        Raises:
            OSError, http.client.HTTPException, Refused: There are no more.
        """
        body = "\n".join(map(json.dumps, given)).encode()
        self._http.request("POST", f"/v3/{what}", body, self._headers)
        with self._http.getresponse() as response:
            while line := response.readline():
                answer: Any = json.loads(line)
                if "error" in answer:
                    raise Refused(str(answer["error"]))
                yield answer["result"]

    def is_stale(self) -> bool:
        """Whether the server has closed it."""
        sock: Any = self._http.sock
        return sock is None or has_news(sock.fileno())

    def close(self) -> None:
        """Be over."""
        with suppress(OSError):
            self._http.close()


def packed(data: bytes | str) -> str:
    """Return bytes as JSON takes them."""
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def unpacked(text: str) -> bytes:
    """Return them as they were."""
    return base64.b64decode(text)
