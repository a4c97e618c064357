"""PostgreSQL as an engine: a table of rows, and one of what was published.

A server that has lost something is another: another system, another timeline, a store of another
name, or one whose log has become shorter, which then gets another name. Notifications wake; behind
a pooler, where nobody can listen, the tables are looked at instead.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final, Never, TypeVar

from gevent import Timeout, sleep

from sprag.cluster.engine import Answer, Page
from sprag.cluster.engines import limits
from sprag.cluster.engines import postgres_sql as sql
from sprag.cluster.engines.cursors import Cursor, Message, cursor_of, page_of
from sprag.cluster.engines.hints import Hints, ServerHint
from sprag.cluster.engines.libpq import ERRORS, PgLine, Refused, connect, place_of
from sprag.cluster.engines.lines import Lines, said
from sprag.cluster.exceptions import BadEngine, EngineAway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OLDEST: Final = 120_000
_LONGEST_CHANNEL: Final = 63
_HEAD: Final = 5
"""Columns with which each answer begins."""
_LAST: Final = 2**63 - 1
_LOOKS: Final = 0.5
"""Seconds between two looks at the tables, where nobody can listen."""

T = TypeVar("T")


class PostgresEngine:
    """An engine in PostgreSQL; see `Engine` for its verbs.

    The tables are made when they are not there: see `sprag cluster init --print`.

    Args:
        url: As libpq takes it; several hosts are tried in turn: ``postgres://a,b/shop``.
        app: Whose rows they are, beside those of other apps.
        timeout: Seconds within which a verb has its answer.

    Raises:
        BadValue: The URL is of no use.
    """

    def __init__(self, url: str, *, app: str, timeout: float) -> None:
        self._url = url
        self._app = app
        self._channel = f"sprag/{app}"
        if len(self._channel.encode()) > _LONGEST_CHANNEL:
            self._channel = f"sprag/{hashlib.sha256(app.encode()).hexdigest()[:32]}"
        self._known = ("", 0)
        """Who has answered last, and how far its log was written."""
        self._bad: BadEngine | None = None
        """What was wrong with the servers, when there was no connection to be had."""
        self._hints = Hints(self._listen, ERRORS)
        self._lines = Lines(place_of(url), timeout, self._connect, ERRORS, self._hints.renew)

    def close(self) -> None:
        """Close all connections; nobody is woken any more."""
        self._hints.close()
        self._lines.close()

    def warnings(self) -> tuple[str, ...]:
        """Return what it may lose as it stands, or cannot do.

        Raises:
            BadEngine: It is a standby, or old, or has no tables and they cannot be made.
        """
        try:
            (found,), is_pooled = self._lines.ask(
                lambda line: (line.ask(sql.JUDGED), line.is_pooled)
            )
        except EngineAway:
            if self._bad is not None:
                raise self._bad from None
            raise
        warned = _judged(self._lines.where, *[_text(each) for each in found])
        if not is_pooled:
            return warned
        pooled = (
            f"{self._lines.where} is behind a pooler, where nobody can listen: news come by"
            " looking, twice a second; give the URL of the server itself to have them at once"
        )
        return (*warned, pooled)

    # -- the verbs -----------------------------------------------------------------------

    def get(self, key: str) -> Answer[bytes | None]:
        """Return what is kept under *key*."""
        return self._ask(lambda rows: rows[0][0], sql.GET, key)

    def scan(self, prefix: str) -> Answer[Mapping[str, bytes]]:
        """Return all whose key begins with *prefix*."""
        return self._ask(_as_mapping, sql.SCAN, prefix)

    def cas(self, key: str, old: bytes | None, new: bytes | None) -> Answer[bool]:
        """Keep *new* if *old* is kept now."""
        limits.check_size(new)
        if old is None and new is None:
            return self._ask(lambda rows: rows[0][0] == b"0", sql.ABSENT, key)
        given = [each for each in (old, new) if each is not None]
        statement = sql.CREATE if old is None else sql.DELETE if new is None else sql.UPDATE

        def swapped(line: PgLine) -> Answer[bool]:
            answer = self._asked(line, lambda rows: rows[0][0] == b"1", statement, key, *given)
            if answer.value:
                line.ask(sql.NOTIFY, self._channel, key)
            return answer

        return self._lines.ask(swapped)

    def hint(self, prefix: str, wake: Callable[[], object]) -> ServerHint:
        """Call *wake* when something below *prefix* has changed, or may have; in a greenlet."""
        return self._hints.add(prefix, wake)

    def publish(self, topic: str, data: bytes) -> Answer[None]:
        """Tell all who read *topic*."""
        limits.check_size(data)
        kept = (str(limits.MOST_EVENTS), str(limits.DAY))
        return self._ask(lambda _rows: None, sql.PUBLISH, topic, self._channel, data, *kept)

    def read(self, topic: str, cursor: str | None) -> Answer[Page]:
        """Return what was published after *cursor*: 100 messages, or some 64 kB, at once."""
        at = cursor_of(cursor)
        begin = str(_LAST if at is None else at.id)
        most = (str(limits.AT_ONCE), str(limits.LARGEST_PAGE))
        return self._ask(lambda rows: _as_page(at, rows), sql.READ, topic, begin, *most)

    def _ask(
        self, made: Callable[[list[list[bytes | None]]], T], statement: str, *args: str | bytes
    ) -> Answer[T]:
        return self._lines.ask(lambda line: self._asked(line, made, statement, *args))

    def _asked(
        self,
        line: PgLine,
        made: Callable[[list[list[bytes | None]]], T],
        statement: str,
        *args: str | bytes,
    ) -> Answer[T]:
        known, height = self._known
        unheard = secrets.token_hex(8).encode()
        rows = line.ask(statement, self._app, *args)
        system, timeline, token, now, reached = rows[0][:_HEAD]
        if token is None:
            ((token,),) = line.ask(sql.NAMED, self._app, unheard, b"")
        identity = f"postgres:{_text(system)}/{_text(timeline)}/{_text(token)}"
        if identity == known and int(reached or 0) < height:
            line.ask(sql.NAMED, self._app, unheard, token)
            raise Refused("it was put back to what it was before", "")
        self._reached(identity, int(reached or 0))
        return Answer(made([row[_HEAD:] for row in rows]), identity, int(now or 0))

    def _reached(self, identity: str, height: int) -> None:
        known, before = self._known
        if identity != known or height > before:
            self._known = (identity, height)

    # -- connections ---------------------------------------------------------------------

    def _connect(self) -> PgLine:
        self._bad = None
        line = connect(self._url, self._lines.timeout, self._is_right)
        self._bad = None
        return line

    def _is_right(self, line: PgLine) -> bool:
        ((pid, is_read_only, tables),) = line.ask(sql.BEGUN)
        if is_read_only == b"on":
            remedy = "give the URL of the primary, or of all of them: postgres://a,b/shop"
            self._bad = BadEngine(self._lines.where, "is a standby, or read-only", remedy)
            return False
        if tables is None:
            self._make_tables(line)
        line.is_pooled = not line.is_served_by(int(pid or 0))
        if not line.is_pooled:
            line.do(sql.SESSION.format(int(self._lines.timeout * 1000)))
        return True

    def _make_tables(self, line: PgLine) -> None:
        try:
            line.do(sql.INIT)
        except Refused as error:
            why = f"has no tables, and they cannot be made ({said(error)})"
            remedy = "have its owner do what `sprag cluster init --print` says"
            self._bad = BadEngine(self._lines.where, why, remedy)
            raise

    def _listen(self, begun: Callable[[], object], heard: Callable[[str], object]) -> None:
        with Timeout(self._lines.timeout):
            line = self._connect()
        try:
            if line.is_pooled:
                self._look(line, begun, heard)
            with Timeout(self._lines.timeout):
                line.do('listen "{}"'.format(self._channel.replace('"', '""')))
            begun()
            while True:
                for key in line.hear():
                    heard(key)
        finally:
            line.close()

    def _look(
        self, line: PgLine, begun: Callable[[], object], heard: Callable[[str], object]
    ) -> Never:
        before: set[tuple[str, str]] = set()
        while True:
            with Timeout(self._lines.timeout):
                rows = line.ask(sql.CHANGED, self._app)
            now = {(_text(key), _text(stamp)) for key, stamp in rows}
            if before:
                for key in {key for key, _ in now ^ before}:
                    heard(key)
            else:
                begun()
            before = now | {("", "")}
            sleep(_LOOKS)


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _as_mapping(rows: list[list[bytes | None]]) -> dict[str, bytes]:
    return {_text(key): value or b"" for key, value in rows if key is not None}


def _as_page(at: Cursor | None, rows: list[list[bytes | None]]) -> Page:
    last = Cursor(int(rows[0][0] or 0), int(rows[0][1] or 0))
    found = [Message(int(row[2]), int(row[3] or 0), row[4] or b"") for row in rows if row[2]]
    return page_of(at, last, found)


def _judged(
    where: str, version: str, fsync: str, synchronous: str, standbys: str
) -> tuple[str, ...]:
    """Return what to warn of, of a server that says so of itself."""
    if int(version) < _OLDEST:
        raise BadEngine(where, f"is version {int(version) // 10_000}", "use 12 or later")
    warned: list[str] = []
    if fsync != "on":
        warned.append(f"{where} may forget what it has said (fsync off): set fsync on")
    if standbys != "0" and not synchronous:
        warned.append(
            f"{where} has standbys and does not wait for them: one that is promoted may have missed"
            " the last writes; set synchronous_standby_names"
        )
    return tuple(warned)
