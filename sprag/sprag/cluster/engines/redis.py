"""Redis, or Valkey, as an engine: one hash for each app, and a stream for each topic.

Each verb is a script, so that what it answers was so at one moment: who the server is, what its
clock says, and the value. A server that has lost something is another: it was started anew (its
run id), a replica was promoted (its replication id), or it was emptied (what stands in the hash).
What was published has ids that rise with the clock, and a count: a server that has forgotten the
last ones goes on behind them, and no cursor skips what comes.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from gevent import monkey, socket
from gevent.timeout import Timeout
from redis import connection as _connection
from redis.connection import Connection, SSLConnection
from redis.exceptions import NoScriptError, RedisError

from sprag.cluster.engine import Answer, Page
from sprag.cluster.engines import limits
from sprag.cluster.engines import redis_scripts as scripts
from sprag.cluster.engines.hints import Hints, ServerHint
from sprag.cluster.engines.lines import Lines
from sprag.cluster.exceptions import BadEngine
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sprag.cluster.engines.redis_scripts import Script

_OLDEST: Final = (6, 2)
"""6.2: what is older does not trim a stream by age."""
_SHOWN: Final = 12
"""Characters of an id that tell servers apart."""
_RETRIES: Final = ("retry_on_timeout", "retry_on_error", "retry")
_ERRORS: Final = (RedisError, OSError)
_CLIENT: Final[Any] = _connection  # of what it has, not all is typed

T = TypeVar("T")


class _Tcp(Connection):
    """A connection that lets others run, in a process that is not patched as well."""

    def _connect(self) -> Any:
        found = socket.create_connection((self.host, self.port))
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return found


class _Tls(SSLConnection, _Tcp):
    """The same with TLS, around what `_Tcp` connects."""


class _RedisLine:
    """A connection to one server.

    Attributes:
        run_id: Of that server, for as long as its process lives.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.run_id = ""

    def open(self) -> None:
        """Connect. May block."""
        try:
            self._connection.connect()
            self.run_id = self.info("server")["run_id"]
        except BaseException:
            self.close()
            raise

    def say(self, *command: Any) -> Any:
        """Return the answer to *command*."""
        self._connection.send_command(*command)
        return self._connection.read_response()

    def hear(self) -> Any:
        """Wait for what comes by itself."""
        return self._connection.read_response()

    def run(self, script: Script, keys: tuple[str, ...], args: tuple[str | bytes, ...]) -> Any:
        """Return what *script* returns."""
        given = (len(keys), *keys, *args)
        try:
            return self.say("EVALSHA", script.sha, *given)
        except NoScriptError:
            return self.say("EVAL", script.text, *given)

    def info(self, section: str) -> dict[str, str]:
        """Return what the server says of itself."""
        lines = self.say("INFO", section).decode("utf-8", "replace").splitlines()
        pairs = [line.partition(":") for line in lines if not line.startswith("#")]
        return {key: value for key, _, value in pairs}

    def is_stale(self) -> bool:
        """Whether the server has closed it."""
        try:
            return bool(self._connection.can_read(0))
        except _ERRORS:
            return True

    def close(self) -> None:
        """Be over."""
        self._connection.disconnect()


class RedisEngine:
    """An engine in Redis; see `Engine` for its verbs.

    Args:
        url: ``redis://user:password@host:6379/0``, with what else `redis-py` takes;
            ``rediss://`` with TLS.
        app: The name of the hash.
        timeout: Seconds within which a verb has its answer.

    Raises:
        BadValue: The URL is of no use.
    """

    def __init__(self, url: str, *, app: str, timeout: float) -> None:
        self._made, self._given, where = _parsed(url)
        self._hash = f"sprag/{app}"
        self._hints = Hints(self._listen, _ERRORS)
        self._lines = Lines(where, timeout, self._connect, _ERRORS, self._hints.renew)

    def close(self) -> None:
        """Close all connections; nobody is woken any more."""
        self._hints.close()
        self._lines.close()

    def warnings(self) -> tuple[str, ...]:
        """Return what it may lose as it stands.

        Raises:
            BadEngine: It may evict what it keeps, is a replica, one of a Redis Cluster, or old.
        """
        return _judged(self._lines.where, self._lines.ask(lambda line: line.info("default")))

    # -- the verbs -----------------------------------------------------------------------

    def get(self, key: str) -> Answer[bytes | None]:
        """Return what is kept under *key*."""
        return self._run(scripts.GET, (), (key,), _as_it_is)

    def scan(self, prefix: str) -> Answer[Mapping[str, bytes]]:
        """Return all whose key begins with *prefix*."""
        return self._run(scripts.SCAN, (), (prefix,), _as_mapping)

    def cas(self, key: str, old: bytes | None, new: bytes | None) -> Answer[bool]:
        """Keep *new* if *old* is kept now."""
        limits.check_size(new)
        was = ("0", b"") if old is None else ("1", old)
        then = ("0", b"") if new is None else ("1", new)
        return self._run(scripts.CAS, (), (key, *was, *then), bool)

    def hint(self, prefix: str, wake: Callable[[], object]) -> ServerHint:
        """Call *wake* when something below *prefix* has changed, or may have; in a greenlet."""
        return self._hints.add(prefix, wake)

    def publish(self, topic: str, data: bytes) -> Answer[None]:
        """Tell all who read *topic*."""
        limits.check_size(data)
        args = (data, str(limits.MOST_EVENTS), str(limits.DAY))
        return self._run(scripts.PUBLISH, (topic,), args, _as_nothing)

    def read(self, topic: str, cursor: str | None) -> Answer[Page]:
        """Return what was published after *cursor*: 100 messages, or some 64 kB, at once."""
        args = (cursor or "", str(limits.AT_ONCE), str(limits.LARGEST_PAGE))
        return self._run(scripts.READ, (topic,), args, _as_page)

    def _run(
        self,
        script: Script,
        keys: tuple[str, ...],
        args: tuple[str | bytes, ...],
        made: Callable[[Any], T],
    ) -> Answer[T]:
        unheard = secrets.token_hex(8)  # what the hash is called from now on, if it is empty

        def asked(line: _RedisLine) -> Answer[T]:
            found = line.run(script, (self._hash, *keys), (unheard, *args))
            replication, token, seconds, micros, value = found
            ids = (line.run_id[:_SHOWN], replication.decode()[:_SHOWN], token.decode())
            now = int(seconds) * 1000 + int(micros) // 1000
            return Answer(made(value), f"redis:{'/'.join(ids)}", now)

        return self._lines.ask(asked)

    # -- connections ---------------------------------------------------------------------

    def _connect(self) -> _RedisLine:
        line = _RedisLine(self._made(**self._given))
        line.open()
        return line

    def _listen(self, begun: Callable[[], object], heard: Callable[[str], object]) -> None:
        with Timeout(self._lines.timeout):
            line = self._connect()
        try:
            with Timeout(self._lines.timeout):
                line.say("SUBSCRIBE", self._hash)
            begun()
            while True:
                _kind, _channel, key = line.hear()
                heard(key.decode())
        finally:
            line.close()


def _as_it_is(value: Any) -> Any:
    return value


def _as_nothing(_value: Any) -> None:
    return None


def _as_mapping(value: list[bytes]) -> dict[str, bytes]:
    return {key.decode(): each for key, each in zip(value[::2], value[1::2], strict=True)}


def _as_page(value: list[Any]) -> Page:
    cursor, missed, *messages = value
    return Page(tuple(messages), cursor.decode(), missed)


def _parsed(url: str) -> tuple[type[Any], dict[str, Any], str]:
    """Return what connects, what it is given, and where that is, for people."""
    scheme, _, rest = url.partition("://")
    known = {"valkey": "redis", "valkeys": "rediss"}.get(scheme, scheme)
    try:
        given: dict[str, Any] = dict(_CLIENT.parse_url(f"{known}://{rest}"))
        parts = urlsplit(url)
        where = f"{scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}"
    except ValueError as error:
        raise BadValue("the engine's URL", scheme + "://…", f"a URL of Redis ({error})") from None
    given.pop("connection_class", None)
    given.pop("max_connections", None)
    for each in _RETRIES:
        given.pop(each, None)  # who asks decides when to ask again
    if known == "rediss" and not monkey.is_module_patched("ssl"):
        raise BadValue(
            "the engine's URL",
            where,
            "redis:// in a process that gevent has not patched (`sprag run` has; otherwise call"
            " gevent.monkey.patch_all() first)",
        )
    given |= {"protocol": 2, "socket_timeout": None, "socket_connect_timeout": None}
    return (_Tls if known == "rediss" else _Tcp), given, where


def _judged(where: str, said: Mapping[str, str]) -> tuple[str, ...]:
    """Return what to warn of, of a server that says *said* of itself."""
    version = said.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST:
        raise BadEngine(where, f"is version {version}", "use 6.2 or later")
    if said.get("role") != "master":
        master = f"{said.get('master_host')}:{said.get('master_port')}"
        raise BadEngine(where, f"is a replica of {master}", "give the URL of the master")
    if said.get("cluster_enabled") == "1":
        raise BadEngine(where, "belongs to a Redis Cluster", "use a server that stands alone")
    policy = said.get("maxmemory_policy", "")
    if policy.startswith("allkeys-"):
        raise BadEngine(
            where,
            f"may evict what is agreed on (maxmemory-policy {policy})",
            "set maxmemory-policy to noeviction, or use a server of its own",
        )
    warned: list[str] = []
    if said.get("aof_enabled") != "1":
        warned.append(
            f"{where} forgets its last writes when it ends (appendonly no): set appendonly yes"
        )
    if said.get("connected_slaves", "0") != "0" and "min_slaves_good_slaves" not in said:
        warned.append(
            f"{where} takes writes without its replicas (min-replicas-to-write 0): one that is"
            " promoted may have missed all of them; set min-replicas-to-write 1"
        )
    return tuple(warned)
