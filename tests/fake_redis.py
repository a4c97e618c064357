"""A Redis that is none: the part of its language that its engine speaks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fake_server import Client, FakeServer
from sprag.cluster.engines import redis_scripts as scripts

if TYPE_CHECKING:
    from fake_server import Store


class FakeRedis(FakeServer):
    """A Redis.

    Attributes:
        info: What it says of itself.
        scripts: Those that it has been told.
    """

    scheme = "redis"

    def __init__(self) -> None:
        super().__init__()
        self.info = {
            "run_id": "r" * 40,
            "redis_version": "7.4.1",
            "role": "master",
            "maxmemory_policy": "noeviction",
            "aof_enabled": "1",
            "connected_slaves": "0",
        }
        self.replication = "p" * 40
        self.scripts: set[str] = set()
        self._hears: list[tuple[str, Client]] = []

    def serve(self, client: Client) -> None:
        while True:
            count = int(client.line()[1:])
            words = [self._word(client) for _ in range(count)]
            refused = self.refusal(words[0].decode())
            if refused is not None:
                client.send(b"-%b\r\n" % refused.encode())
                continue
            self.say(client, _packed(self._answer(client, words)))

    def _word(self, client: Client) -> bytes:
        word = client.read(int(client.line()[1:]))
        client.line()
        return word

    def _answer(self, client: Client, words: list[bytes]) -> Any:
        verb, *args = words
        if verb == b"INFO":
            lines = [f"{key}:{value}" for key, value in self.info.items()]
            return "\r\n".join(["# All", *lines]).encode()
        if verb == b"SUBSCRIBE":
            self._hears.append((args[0].decode(), client))
            return [b"subscribe", args[0], 1]
        if verb == b"EVALSHA" and args[0].decode() not in self.scripts:
            return ValueError("NOSCRIPT No matching script. Please use EVAL.")
        if verb == b"EVAL":
            script = next(each for each in _SCRIPTS if each.text.encode() == args[0])
            self.scripts.add(script.sha)
        elif verb == b"EVALSHA":
            script = next(each for each in _SCRIPTS if each.sha.encode() == args[0])
        else:
            return True
        count = int(args[1])
        keys = [each.decode() for each in args[2 : 2 + count]]
        return self._run(script, keys, args[2 + count :])

    def _run(self, script: scripts.Script, keys: list[str], args: list[bytes]) -> Any:
        store = self.store(keys[0])
        token = store.values.setdefault("@identity", args[0])
        value = _SCRIPTS[script](self, store, keys, args[1:])
        seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
        head = [self.replication.encode(), token, b"%d" % seconds, b"%d" % micros]
        return [*head, value]

    def tell(self, channel: str, key: str) -> None:
        """Tell those who hear *channel* of *key*."""
        for heard, client in self._hears:
            if heard == channel:
                client.send(_packed([b"message", channel.encode(), key.encode()]))


def _get(_: FakeRedis, store: Store, _keys: list[str], args: list[bytes]) -> Any:
    return store.values.get(args[0].decode())


def _scan(_: FakeRedis, store: Store, _keys: list[str], args: list[bytes]) -> Any:
    found = store.below(args[0].decode()).items()
    return [each for key, value in found if key[0] != "@" for each in (key.encode(), value)]


def _cas(server: FakeRedis, store: Store, keys: list[str], args: list[bytes]) -> Any:
    key, has_old, old, has_new, new = args
    is_so = store.swap(
        key.decode(), old if has_old == b"1" else None, new if has_new == b"1" else None
    )
    if is_so:
        server.tell(keys[0], key.decode())
    return int(is_so)


def _publish(server: FakeRedis, store: Store, keys: list[str], args: list[bytes]) -> Any:
    data, most, _age = args
    store.topic(keys[1]).add(data, int(most))
    server.tell(keys[0], keys[1])
    return 1


def _read(_: FakeRedis, store: Store, keys: list[str], args: list[bytes]) -> Any:
    topic = store.topic(keys[1])
    if not args[0]:
        return [_cursor(topic.number), 0]
    at = int(args[0].rpartition(b":")[2])
    found = topic.after(at)
    last = found[-1][0] if found else topic.number
    missed = found[0][0] - at - 1 if found else max(topic.number - at, 0)
    return [_cursor(last), missed, *[data for _, data in found]]


def _cursor(number: int) -> bytes:
    return b"%d-0:%d" % (number, number)


_SCRIPTS = {
    scripts.GET: _get,
    scripts.SCAN: _scan,
    scripts.CAS: _cas,
    scripts.PUBLISH: _publish,
    scripts.READ: _read,
}


def _packed(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if value is True:
        return b"+OK\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, ValueError):
        return b"-%b\r\n" % str(value).encode()
    return b"*%d\r\n" % len(value) + b"".join(map(_packed, value))
