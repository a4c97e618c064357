"""A PostgreSQL that is none: its protocol, and the statements of its engine."""

from __future__ import annotations

import struct
import time
from typing import Any, Final

from fake_server import Client, FakeServer, Gone, Store
from sprag.cluster.engines import postgres_sql as sql

_NO_TLS: Final = (80877103, 80877104)
_CANCEL: Final = 80877102
Row = list[Any]


class FakePostgres(FakeServer):
    """A PostgreSQL.

    Attributes:
        has_tables: Whether the tables are there.
        is_standby: Whether it can only be read.
        is_pooled: Whether a pooler is before it: another process answers.
        height: How far its log is written.
        settings: What it says of itself: version, fsync, synchronous_standby_names, standbys.
    """

    scheme = "postgres"

    def __init__(self) -> None:
        super().__init__()
        self.has_tables = False
        self.is_standby = False
        self.is_pooled = False
        self.timeline = "00000001"
        self.height = 1000
        self.settings = ["160004", "on", "", "0"]
        self._hears: list[tuple[str, Client]] = []
        self._pids = 100

    @property
    def url(self) -> str:
        return f"postgres://sprag@127.0.0.1:{self.port}/shop"

    def serve(self, client: Client) -> None:
        code = 0
        while not code or code in _NO_TLS:
            length, code = struct.unpack("!ii", client.read(8))
            client.read(length - 8)
            if code in _NO_TLS:
                client.send(b"N")
        if code == _CANCEL:
            raise Gone
        self._pids += 1
        refused = self.refusal("connect")
        if refused is not None:
            client.send(_error(refused))
            raise Gone
        pid = struct.pack("!ii", self._pids, 0)
        said = b"".join(_message(b"S", _texts(*each)) for each in _SAID)
        client.send(_message(b"R", b"\0\0\0\0") + said + _message(b"K", pid) + _READY)
        self._talk(client, self._pids + self.is_pooled)

    def _talk(self, client: Client, pid: int) -> None:
        statement = ""
        waiting = b""
        while True:
            kind = client.read(1)
            data = client.read(struct.unpack("!i", client.read(4))[0] - 4)
            if kind == b"X":
                raise Gone
            if kind == b"Q":
                asked = data[:-1].decode()
                refused = self.refusal(asked)
                client.send(_error(refused) if refused else self._do(client, asked))
                client.send(_READY)
            elif kind == b"P":
                statement = data.split(b"\0")[1].decode()
            elif kind == b"B":
                refused = self.refusal(statement)
                rows = [] if refused else self._rows(statement, _arguments(data), pid)
                waiting = _error(refused) if refused else _answer(rows)
            elif kind == b"S":
                self.say(client, waiting + _READY)

    def _do(self, client: Client, asked: str) -> bytes:
        if asked == sql.INIT:
            self.has_tables = True
        if asked.startswith("listen "):
            self._hears.append((asked.removeprefix("listen ")[1:-1].replace('""', '"'), client))
        return _message(b"C", _texts("DONE"))

    def _rows(self, statement: str, args: Row, pid: int) -> list[Row]:
        if statement == sql.BEGUN:
            tables = "sprag_events" if self.has_tables else None
            return [[str(pid), "on" if self.is_standby else "off", tables]]
        if statement == sql.JUDGED:
            return [[*self.settings]]
        if statement == sql.NOTIFY:
            self.tell(args[0].decode(), args[1].decode())
            return [["", "off"]]
        store = self.store(args[0].decode())
        if statement == sql.NAMED:
            if store.values.get("@identity", args[2]) == args[2]:
                store.values["@identity"] = args[1]
            return [[store.values["@identity"]]]
        if statement == sql.CHANGED:
            kept = [[key, str(hash(value))] for key, value in store.values.items()]
            return kept + [[name, str(topic.number)] for name, topic in store.topics.items()]
        now = str(time.time_ns() // 1_000_000)
        token = store.values.get("@identity")
        rows = self._verb(statement, store, args[1].decode(), args[2:])
        head = ["7", self.timeline, token, now, str(self.height)]
        return [[*head, *each] for each in rows]

    def _verb(self, statement: str, store: Store, key: str, args: Row) -> list[Row]:
        if statement == sql.GET:
            return [[store.values.get(key)]]
        if statement == sql.SCAN:
            found = [[*each] for each in store.below(key).items() if each[0][0] != "@"]
            return found or [[None, None]]
        if statement == sql.ABSENT:
            return [[str(int(key in store.values))]]
        if statement == sql.READ:
            return self._read(store, key, *map(int, args[:1]))
        if statement == sql.PUBLISH:
            store.topic(key).add(args[1], int(args[2]))
            self.height += 1
            self.tell(args[0].decode(), key)
            return [["on", None]]
        old = None if statement == sql.CREATE else args[0]
        new = None if statement == sql.DELETE else args[-1]
        is_so = store.swap(key, old, new)
        self.height += is_so
        return [[str(int(is_so)), "on"]]

    def _read(self, store: Store, name: str, at: int) -> list[Row]:
        topic = store.topic(name)
        head = [str(topic.number), str(topic.number)] if topic.number else [None, None]
        found = [[*head, str(number), str(number), data] for number, data in topic.after(at)]
        return found or [[*head, None, None, None]]

    def tell(self, channel: str, key: str) -> None:
        """Tell those who listen to *channel* of *key*."""
        for heard, client in self._hears:
            if heard == channel:
                client.send(_message(b"A", struct.pack("!i", 1) + _texts(channel, key)))


_SAID: Final = (
    ("server_version", "16.4"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
)


def _message(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("!i", len(data) + 4) + data


def _texts(*texts: str) -> bytes:
    return b"".join(each.encode() + b"\0" for each in texts)


_READY: Final = _message(b"Z", b"I")


def _error(why: str) -> bytes:
    """Return an error; its SQLSTATE comes first."""
    code, _, text = why.partition(" ")
    fields = (b"S", "ERROR"), (b"C", code), (b"M", text)
    return _message(b"E", b"".join(kind + _texts(said) for kind, said in fields) + b"\0")


def _arguments(data: bytes) -> Row:
    rest = data.split(b"\0", 2)[2]
    (formats,) = struct.unpack_from("!h", rest)
    at = 2 + 2 * formats
    (count,) = struct.unpack_from("!h", rest, at)
    at += 2
    found: Row = []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", rest, at)
        at += 4
        found.append(None if length < 0 else rest[at : at + length])
        at += max(length, 0)
    return found


def _answer(rows: list[Row]) -> bytes:
    width = len(rows[0]) if rows else 0
    columns = b"".join(b"c\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 1) for _ in range(width))
    said = [_message(b"T", struct.pack("!h", width) + columns)]
    said += [_message(b"D", struct.pack("!h", width) + b"".join(map(_value, row))) for row in rows]
    done = _message(b"C", _texts(f"SELECT {len(rows)}"))
    return b"".join([_message(b"1", b""), _message(b"2", b""), *said, done])


def _value(value: str | bytes | None) -> bytes:
    if value is None:
        return struct.pack("!i", -1)
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!i", len(data)) + data
