"""A connection to PostgreSQL that lets others run, in a process that is not patched as well.

psycopg's own waiting depends on what was patched, and looks names up without yielding. So this
asks libpq itself, by psycopg's wrapper of it, and waits in gevent's way.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gevent import Timeout, socket
from psycopg import Error, OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PGconn, PollingStatus

from sprag.cluster.engines.lines import has_news
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg.pq.abc import PGconn as Connection
    from psycopg.pq.abc import PGresult

ERRORS: Final = (Error, OSError)
_BYTEA: Final = 17
_TEXT: Final = 25
_BINARY: Final = 1
_WELL: Final = {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}
_WAITS: Final[dict[PollingStatus, Callable[[int], object]]] = {
    PollingStatus.READING: socket.wait_read,
    PollingStatus.WRITING: socket.wait_write,
}
_DEFAULTS: Final[dict[str, str | int]] = {
    "gssencmode": "disable",  # it asks its own servers, without yielding
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class Refused(OperationalError):
    """The server has answered with an error.

    Attributes:
        code: Its SQLSTATE.
    """

    def __init__(self, said: str, code: str) -> None:
        super().__init__(said)
        self.code = code


class PgLine:
    """A connection. It is made by `connect`.

    Attributes:
        is_pooled: Each statement may be carried out in another session.
    """

    def __init__(self, pg: Connection) -> None:
        self._pg = pg
        self.is_pooled = False

    def is_served_by(self, pid: int) -> bool:
        """Whether *pid* is the process that was named when it was made: no pooler is between."""
        return self._pg.backend_pid == pid

    def ask(self, sql: str, *args: str | bytes | None) -> list[list[bytes | None]]:
        """Return the rows that *sql* gives. May block.

        Args:
            sql: One statement; its columns are text or bytea.
            args: Texts, and bytes, which are bytea.

        Raises:
            Refused: The server has answered with an error.
            psycopg.Error: The connection is broken.
        """
        self._pg.send_query_params(
            sql.encode(),
            [each.encode() if isinstance(each, str) else each for each in args],
            param_types=[_TEXT if isinstance(each, str) else _BYTEA for each in args],
            param_formats=[_BINARY] * len(args),
            result_format=_BINARY,
        )
        result = self._result()
        return [
            [result.get_value(row, column) for column in range(result.nfields)]
            for row in range(result.ntuples)
        ]

    def do(self, sql: str) -> None:
        """Carry out statements, all or none of them. May block.

        Raises:
            Refused, psycopg.Error: As in `ask`.
        """
        self._pg.send_query(sql.encode())
        self._result()

    def hear(self) -> list[str]:
        """Return what was notified, once something has come. May block."""
        found: list[str] = []
        while not found:
            socket.wait_read(self._pg.socket)
            self._pg.consume_input()
            while (notified := self._pg.notifies()) is not None:
                found.append(notified.extra.decode())
        return found

    def _result(self) -> PGresult:
        pg = self._pg
        while pg.flush():
            socket.wait_write(pg.socket)
        last: PGresult | None = None
        wrong: PGresult | None = None
        while True:
            while pg.is_busy():
                socket.wait_read(pg.socket)
                pg.consume_input()
            result = pg.get_result()
            if result is None:
                break
            last = result
            if result.status not in _WELL:
                wrong = result
        if wrong is not None:
            code = wrong.error_field(DiagnosticField.SQLSTATE) or b""
            raise Refused(wrong.get_error_message(), code.decode())
        if last is None:
            raise OperationalError("the server has closed the connection")
        return last

    def is_stale(self) -> bool:
        """Whether the server has closed it."""
        return self._pg.status != ConnStatus.OK or has_news(self._pg.socket)

    def close(self) -> None:
        """Be over, and whatever it was asked, as far as the server notices."""
        with suppress(Error):
            self._pg.finish()


def place_of(url: str) -> str:
    """Return where *url* is, for people.

    Raises:
        BadValue: It is no URL that libpq takes.
    """
    try:
        given = conninfo_to_dict(url)
    except Error:
        accepted = "a URL as libpq takes it, as in postgres://user:password@host/database"
        raise BadValue("the engine's URL", f"{url.partition(':')[0]}:…", accepted) from None
    hosts = str(given.get("host") or given.get("hostaddr") or "localhost").split(",")
    ports = str(given.get("port") or "").split(",")
    places = [":".join(filter(None, (host, _nth(ports, n)))) for n, host in enumerate(hosts)]
    return f"postgres://{','.join(places)}/{given.get('dbname') or ''}"


def connect(url: str, timeout: float, is_right: Callable[[PgLine], bool]) -> PgLine:
    """Return a connection to the first of the servers in *url* that is right. May block.

    Args:
        url: As libpq takes it, with one host or several.
        timeout: Seconds for all of them: each has its share, that one does not cost all.
        is_right: Whether a connection is to be kept.

    Raises:
        psycopg.Error, OSError: There is none.
    """
    servers = list(_servers(url))
    failed: Exception | None = None
    for number, given in enumerate(servers):
        share = Timeout(timeout / (len(servers) - number) if len(servers) > 1 else None)
        try:
            with share:
                return _connected(given, is_right)
        except Timeout as late:
            if late is not share:
                raise
            failed = OperationalError("no answer")
        except ERRORS as error:
            failed = error
    assert failed is not None
    raise failed


def _servers(url: str) -> Iterator[dict[str, str | int | None]]:
    """Yield what libpq is told of each address: it would look them up without yielding."""
    given = {**_DEFAULTS, **conninfo_to_dict(url)}
    hosts = str(given.get("host") or "").split(",")
    addresses = str(given.get("hostaddr") or "").split(",")
    ports = str(given.get("port") or "").split(",")
    count = max(len(hosts), len(addresses))
    for number in range(count):
        host, address, port = (_nth(each, number) for each in (hosts, addresses, ports))
        one = {**given, "host": host or None, "hostaddr": address or None, "port": port or None}
        if address or not host or host.startswith(("/", "@")):
            yield one
            continue
        found: list[Any] = socket.getaddrinfo(host, 0, 0, socket.SOCK_STREAM)
        for known in dict.fromkeys(str(info[4][0]) for info in found):
            yield {**one, "hostaddr": known}


def _nth(parts: list[str], number: int) -> str:
    return parts[number] if number < len(parts) else parts[-1] if len(parts) == 1 else ""


def _connected(given: dict[str, str | int | None], is_right: Callable[[PgLine], bool]) -> PgLine:
    pg: Connection = PGconn.connect_start(make_conninfo("", **given).encode())
    line = PgLine(pg)
    try:
        waits = PollingStatus.WRITING if pg.status != ConnStatus.BAD else PollingStatus.FAILED
        while waits in _WAITS:
            _WAITS[waits](pg.socket)
            waits = PollingStatus(pg.connect_poll())
        if waits != PollingStatus.OK:
            why = pg.get_error_message()
        else:
            pg.nonblocking = 1
            why = "" if is_right(line) else "it is a standby, or read-only"
    except BaseException:
        line.close()
        raise
    if why:
        line.close()
        raise OperationalError(why)
    return line
