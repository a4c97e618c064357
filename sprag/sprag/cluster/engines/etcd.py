"""etcd as an engine: a key for each key, and one for each message.

Every read is answered by the leader, with a majority behind it. etcd has no clock that it tells:
the ids of messages come from who publishes them, and rise with each. A cluster that has lost
something is another: another cluster, a store of another name, or one whose revision has fallen,
as after a restore, which then gets another name.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from gevent import Timeout
from gevent.lock import RLock

from sprag.cluster.engine import Answer, Page
from sprag.cluster.engines import limits
from sprag.cluster.engines.cursors import Cursor, Message, cursor_of, page_of
from sprag.cluster.engines.gateway import ERRORS, Access, EtcdLine, Refused, packed, unpacked
from sprag.cluster.engines.hints import Hints, ServerHint
from sprag.cluster.engines.lines import Lines
from sprag.cluster.exceptions import BadEngine
from sprag_supervisor import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_AT_ONCE: Final = 20
"""Messages in one page: their JSON is taken apart while nobody else runs."""
_TRIMS: Final = 64
"""Messages after which somebody looks whether there are too many."""
_WIDTH: Final = 20
"""Digits of an id in a key, so that their order is that of the ids."""

_WATCHES: Final = 2

T = TypeVar("T")


class EtcdEngine:
    """An engine in etcd; see `Engine` for its verbs.

    Args:
        url: See `Access`.
        app: Whose it is.
        timeout: Seconds within which a verb has its answer.

    Raises:
        BadValue: The URL is of no use.
    """

    def __init__(self, url: str, *, app: str, timeout: float) -> None:
        self._access = Access(url)
        self._own = f"@sprag/{app}/"
        """What keys of the engine's own begin with."""
        self._keys = f"sprag/{app}/"
        self._known = ("", 0)
        """Who has answered last, and at which revision."""
        self._last: dict[str, Cursor] = {}
        self._publishing = RLock()
        self._hints = Hints(self._listen, ERRORS)
        self._lines = Lines(self._access.where, timeout, self._connect, ERRORS, self._hints.renew)

    def close(self) -> None:
        """Close all connections; nobody is woken any more."""
        self._hints.close()
        self._lines.close()

    def warnings(self) -> tuple[str, ...]:
        """Return nothing: it loses nothing that it has said.

        Raises:
            BadEngine: It takes no more.
        """
        asked = {"action": "GET"}
        found = self._lines.ask(lambda line: line.ask("maintenance/alarm", asked))
        alarms = {each.get("alarm", "?") for each in found.get("alarms", ())}
        if alarms:
            raise BadEngine(
                self._access.where,
                f"has raised the alarm {', '.join(sorted(alarms))}",
                "give it room (etcdctl compact, defrag, alarm disarm), and let it compact by"
                " itself: --auto-compaction-retention=1h",
            )
        return ()

    # -- the verbs -----------------------------------------------------------------------

    def get(self, key: str) -> Answer[bytes | None]:
        """Return what is kept under *key*."""
        return self._ask([_range(key)], lambda found: _value_of(found[0]))

    def scan(self, prefix: str) -> Answer[Mapping[str, bytes]]:
        """Return all whose key begins with *prefix*."""
        return self._ask([_range(prefix, _end_of(prefix))], lambda found: _as_mapping(found[0]))

    def cas(self, key: str, old: bytes | None, new: bytes | None) -> Answer[bool]:
        """Keep *new* if *old* is kept now."""
        limits.check_size(new)
        change = _delete(key) if new is None else _put(key, new)
        changes = [] if old is None and new is None else [change]
        found = self._lines.ask(lambda line: self._done(line, [_is(key, old)], changes))
        return Answer(found.is_so, found.identity)

    def hint(self, prefix: str, wake: Callable[[], object]) -> ServerHint:
        """Call *wake* when something below *prefix* has changed, or may have; in a greenlet."""
        return self._hints.add(prefix, wake)

    def publish(self, topic: str, data: bytes) -> Answer[None]:
        """Tell all who read *topic*."""
        limits.check_size(data)
        return Answer(None, self._lines.ask(lambda line: self._published(line, topic, data)))

    def read(self, topic: str, cursor: str | None) -> Answer[Page]:
        """Return what was published after *cursor*: 20 messages at once."""
        at = cursor_of(cursor)
        asked = [_range(self._end(topic))]
        if at is not None:
            begin, stop = self._message(topic, at.id + 1), _end_of(self._messages(topic))
            asked.append(_range(begin, stop, limit=_AT_ONCE))
        return self._ask(asked, lambda found: _as_page(at, found))

    def _ask(self, asked: list[Any], made: Callable[[Sequence[Any]], T]) -> Answer[T]:
        def done(line: EtcdLine) -> Answer[T]:
            found = self._done(line, [], asked)
            return Answer(made(found.answers), found.identity)

        return self._lines.ask(done)

    # -- what is done on a connection ----------------------------------------------------

    def _done(self, line: EtcdLine, compares: list[Any], requests: list[Any]) -> _Done:
        """Carry out *requests*, if all *compares* hold."""
        named = _range(f"{self._own}identity")
        both = {"compare": compares, "success": [*requests, named], "failure": [named]}
        known, height = self._known
        found = line.ask("kv/txn", both)
        *answers, name = [each.get("response_range") for each in found["responses"]]
        token = (_value_of(name) or self._name(line, None)).decode()
        identity = f"etcd:{int(found['header']['cluster_id']):x}/{token}"
        revision = int(found["header"]["revision"])
        if identity == known and revision < height:
            self._name(line, token.encode())
            raise Refused("it was put back to what it was before")
        if identity != self._known[0] or revision > self._known[1]:
            self._known = (identity, revision)
        return _Done(identity, bool(found.get("succeeded")), answers)

    def _name(self, line: EtcdLine, was: bytes | None) -> bytes:
        """Call the store something new, if it is called *was*; return what it is called then."""
        key = f"{self._own}identity"
        change = _put(key, secrets.token_hex(8).encode())
        line.ask("kv/txn", {"compare": [_is(key, was)], "success": [change], "failure": []})
        return _value_of(line.ask("kv/range", {"key": packed(key)})) or b""

    def _published(self, line: EtcdLine, topic: str, data: bytes) -> str:
        """Publish; return who has answered."""
        end = self._end(topic)
        with self._publishing:  # our own do not stand in each other's way
            while True:
                last = self._last.get(topic, Cursor())
                micros = int(clock.wall() * 1_000_000)
                then = Cursor(max(last.id + 1, micros), last.number + 1)
                oldest = self._message(topic, max(micros - limits.DAY * 1000, 0))
                changes = [
                    _put(end, then.as_text().encode()),
                    _put(self._message(topic, then.id), b"%d %b" % (then.number, data)),
                    _delete(self._message(topic, 0), oldest),
                ]
                was = last.as_text().encode() if last.number else None
                found = self._done(line, [_is(end, was)], changes)
                if found.is_so:
                    break
                (kept,) = self._done(line, [], [_range(end)]).answers
                self._last[topic] = _cursor_in(kept)
            self._last[topic] = then
        if then.number % _TRIMS == 0 or limits.MOST_EVENTS < _TRIMS:
            self._trim(line, topic)
        return found.identity

    def _trim(self, line: EtcdLine, topic: str) -> None:
        """Drop the oldest messages, if there are too many."""
        begin, stop = self._messages(topic), _end_of(self._messages(topic))
        (found,) = self._done(line, [], [_range(begin, stop, count_only=True)]).answers
        more = int(found.get("count", 0)) - limits.MOST_EVENTS
        if more > 0:
            asked = [_range(begin, stop, limit=more, keys_only=True)]
            (found,) = self._done(line, [], asked).answers
            last = unpacked(found["kvs"][-1]["key"]).decode()
            self._done(line, [], [_delete(begin, f"{last}\0")])

    def _end(self, topic: str) -> str:
        return f"{self._own}last/{topic}"

    def _messages(self, topic: str) -> str:
        return f"{self._own}messages/{topic}/"

    def _message(self, topic: str, number: int) -> str:
        return f"{self._messages(topic)}{number:0{_WIDTH}}"

    # -- connections ---------------------------------------------------------------------

    def _connect(self) -> EtcdLine:
        """Connect to the first that answers; each has its share of the time."""
        servers = self._access.servers
        failed: Exception = Refused("it is nowhere")
        for number, (host, port) in enumerate(servers):
            left = len(servers) - number
            share = Timeout(self._lines.timeout / left if len(servers) > 1 else None)
            line = EtcdLine(host, port, self._access)
            try:
                with share:
                    line.open()
                    if len(servers) > 1:  # one that is cut off from the others answers nothing
                        line.ask("kv/range", {"key": packed(f"{self._own}identity")})
            except Timeout as late:
                line.close()
                if late is not share:
                    raise
                failed = Refused("no answer")
            except ERRORS as error:
                line.close()
                failed = error
            except BaseException:
                line.close()
                raise
            else:
                servers[:] = [*servers[number:], *servers[:number]]  # it is asked first next time
                return line
        raise failed

    def _listen(self, begun: Callable[[], object], heard: Callable[[str], object]) -> None:
        with Timeout(self._lines.timeout):
            line = self._connect()
        try:
            ends = f"{self._own}last/"
            created = 0
            for news in line.follow("watch", *[_watch(each) for each in (self._keys, ends)]):
                created += bool(news.get("created"))
                if news.get("canceled"):
                    break
                if news.get("created") and created == _WATCHES:
                    begun()
                for event in news.get("events", ()):
                    heard(unpacked(event["kv"]["key"]).decode().removeprefix(ends))
        finally:
            line.close()


class _Done(NamedTuple):
    """What came of requests."""

    identity: str
    is_so: bool
    answers: Sequence[Any]


def _range(begin: str, stop: str | None = None, **options: Any) -> Any:
    given = {"key": packed(begin), "serializable": False, **options}
    if stop is not None:
        given["range_end"] = packed(stop)
    return {"request_range": given}


def _put(key: str, value: bytes) -> Any:
    return {"request_put": {"key": packed(key), "value": packed(value)}}


def _delete(key: str, stop: str | None = None) -> Any:
    given = {"key": packed(key)}
    if stop is not None:
        given["range_end"] = packed(stop)
    return {"request_delete_range": given}


def _is(key: str, value: bytes | None) -> Any:
    """Return what holds if *value* is kept under *key*."""
    asked = {"key": packed(key), "result": "EQUAL"}
    if value is None:
        return {**asked, "target": "VERSION", "version": "0"}
    return {**asked, "target": "VALUE", "value": packed(value)}


def _watch(prefix: str) -> Any:
    return {"create_request": {"key": packed(prefix), "range_end": packed(_end_of(prefix))}}


def _end_of(prefix: str) -> str:
    """Return what comes after all that begins with *prefix*, none of which ends with U+10FFFF."""
    return prefix + chr(0x10FFFF)


def _value_of(found: Any) -> bytes | None:
    kept = found.get("kvs")
    return unpacked(kept[0].get("value", "")) if kept else None


def _as_mapping(found: Any) -> dict[str, bytes]:
    kept = found.get("kvs", ())
    return {unpacked(each["key"]).decode(): unpacked(each.get("value", "")) for each in kept}


def _cursor_in(found: Any) -> Cursor:
    return cursor_of((_value_of(found) or b"").decode()) or Cursor()


def _as_page(at: Cursor | None, found: Sequence[Any]) -> Page:
    kept = found[1].get("kvs", ()) if at is not None else ()
    return page_of(at, _cursor_in(found[0]), [_message_in(each) for each in kept])


def _message_in(kept: Any) -> Message:
    number, _, data = unpacked(kept["value"]).partition(b" ")
    return Message(int(unpacked(kept["key"])[-_WIDTH:]), int(number), data)
