"""How one learns that a program is ready, or still well: by a port, a page, a line, a command.

Each probe is a value: what to look at, how often, how long an answer may take, how many failures in
a row are a crash. What is asked for is gevent's own sockets, so that an unpatched process waits
without holding its loop.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from sprag.programs.connecting import at_most, connected
from sprag_supervisor import as_count, is_a, seconds_of
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERY: Final = 5.0
TIMEOUT: Final = 2.0
FAILURES: Final = 3
_LARGEST_PORT: Final = 65535
_MOST_READ: Final = 1 << 16
_HEADERS: Final = {"User-Agent": "sprag", "Connection": "close"}


class Site(Protocol):
    """The program that is asked about."""

    @property
    def port(self) -> int | None:
        """The port that it was given."""
        ...

    def filled(self, text: str) -> str:
        """Return *text* with its ``{replica}`` filled in."""
        ...

    def run_beside(self, argv: Sequence[str], seconds: float) -> str | None:
        """Run a command as the program's user; return what is wrong, None if it exits with 0."""
        ...


class Probe(Protocol):
    """Something that can be asked: Port, Http, Command."""

    @property
    def every(self) -> float:
        """Seconds between two rounds."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds that an answer may take."""
        ...

    @property
    def failures(self) -> int:
        """How many in a row are a crash."""
        ...

    def complaint(self, site: Site) -> str | None:
        """Ask; return what is wrong, or None. May block for the *timeout*."""
        ...


def _checked(probe: Any) -> None:
    """Check, and keep as plain numbers, what all probes have."""
    for name in ("every", "timeout"):
        object.__setattr__(probe, name, seconds_of(name, getattr(probe, name)))
    failures = as_count(probe.failures)
    if failures < 1:
        raise BadValue("failures", probe.failures, "a whole number, 1 or more")
    object.__setattr__(probe, "failures", failures)


def checked_port(argument: str, given: Any) -> int:
    """Return *given* if it is the number of a port.

    Raises:
        BadValue: It is not.
    """
    port = as_count(given)
    if not 1 <= port <= _LARGEST_PORT:
        raise BadValue(argument, given, f"a port, 1 to {_LARGEST_PORT}")
    return port


@dataclass(frozen=True, slots=True)
class Port:
    """Well as soon as somebody accepts connections at a TCP port.

    As ``ready``: nobody else may do so before the program runs, or its start fails.

    Args:
        port: Default: the program's own ``port``.
        host: Where; the machine itself, by default.
        every: Seconds between two rounds, as ``alive``.
        timeout: Seconds that an answer may take.
        failures: As ``alive``: so many in a row are a crash.

    Raises:
        BadValue: An argument is out of range.
    """

    port: int | None = None
    host: str = field(default="127.0.0.1", kw_only=True)
    every: float = field(default=EVERY, kw_only=True)
    timeout: float = field(default=TIMEOUT, kw_only=True)
    failures: int = field(default=FAILURES, kw_only=True)

    def __post_init__(self) -> None:
        _checked(self)
        if self.port is not None:
            object.__setattr__(self, "port", checked_port("Port", self.port))
        given: Any = self.host
        if not is_a(given, str) or not _is_host(given):
            raise BadValue("host", given, "a name or an address, as '127.0.0.1'")

    def number(self, site: Site) -> int:
        """Return the port that is asked."""
        port = site.port if self.port is None else self.port
        assert port is not None  # checked with the program's settings
        return port

    def complaint(self, site: Site) -> str | None:
        """Connect, and hang up."""
        port = self.number(site)
        try:
            with at_most(self.timeout):
                connected(site.filled(self.host), port, self.timeout).close()
        except OSError as error:
            return f"port {port} does not answer: {_why(error)}"
        return None


@dataclass(frozen=True, slots=True)
class Http:
    """Well as long as a page answers with 2xx or 3xx. Redirects are not followed.

    As ``ready``, by a path at the program's own port: nobody else may be there before it runs, or
    its start fails.

    Args:
        url: ``"/healthz"`` at the program's own port, or ``"http://host:port/healthz"``.
        port: Instead of the program's.
        every: Seconds between two rounds, as ``alive``.
        timeout: Seconds that an answer may take.
        failures: As ``alive``: so many in a row are a crash.

    Raises:
        BadValue: An argument is out of range, or *url* is none, or https.
    """

    url: str
    port: int | None = None
    every: float = field(default=EVERY, kw_only=True)
    timeout: float = field(default=TIMEOUT, kw_only=True)
    failures: int = field(default=FAILURES, kw_only=True)

    def __post_init__(self) -> None:
        _checked(self)
        if self.port is not None:
            object.__setattr__(self, "port", checked_port("port", self.port))
        given: Any = self.url
        is_known = is_a(given, str) and (given.startswith("/") or _is_http(given))
        if not is_known or not _is_plain(given):
            raise BadValue("Http", given, "a path as '/healthz', or 'http://host:port/path'")

    @property
    def has_port(self) -> bool:
        """Whether it says itself which port is asked."""
        return self.port is not None or not self.url.startswith("/")

    def complaint(self, site: Site) -> str | None:
        """Ask for the page."""
        url = site.filled(self.url)
        host, port, path = "127.0.0.1", self.port or site.port or 80, url
        if not url.startswith("/"):
            parts = urlsplit(url)
            host, port = parts.hostname or host, parts.port or 80
            path = f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}"
        import http.client  # it loads ssl and email, which few programs need

        connection = http.client.HTTPConnection(host, port)
        try:
            with at_most(self.timeout):  # also of who sends a byte now and then
                connection.sock = connected(host, port, self.timeout)
                connection.request("GET", path, headers=_HEADERS)
                answer = connection.getresponse()
                answer.read(_MOST_READ)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"{url} does not answer: {_why(error)}"
        finally:
            connection.close()
        if not 200 <= answer.status < 400:
            return f"{url} answers {answer.status}"
        return None


@dataclass(frozen=True, slots=True)
class Command:
    """Well as long as a command ends with exit code 0. It runs as the program's user.

    Args:
        command: The command and its arguments; a str is split as a shell does it.
        every: Seconds between two rounds, as ``alive``.
        timeout: Seconds that it may take; then it is killed, with all that it has started.
        failures: As ``alive``: so many in a row are a crash.

    Raises:
        BadValue: An argument is out of range.
    """

    command: Sequence[str] | str
    every: float = field(default=EVERY, kw_only=True)
    timeout: float = field(default=TIMEOUT, kw_only=True)
    failures: int = field(default=FAILURES, kw_only=True)

    def __post_init__(self) -> None:
        _checked(self)
        object.__setattr__(self, "command", checked_command("Command", self.command))

    def complaint(self, site: Site) -> str | None:
        """Run the command."""
        return site.run_beside([site.filled(word) for word in self.command], self.timeout)


@dataclass(frozen=True, slots=True)
class Line:
    """Ready as soon as a line of its output matches.

    Args:
        pattern: A regular expression, looked for anywhere in a line.

    Raises:
        BadValue: It is no regular expression.
    """

    pattern: str

    def __post_init__(self) -> None:
        given: Any = self.pattern
        try:
            re.compile(given)
        except (re.error, TypeError) as error:
            accepted = f"a regular expression, looked for in each line ({error})"
            raise BadValue("Line", given, accepted) from None


@dataclass(frozen=True, slots=True)
class Notify:
    """Ready as soon as the program says so itself, as to systemd: ``READY=1`` (sd_notify).

    What it says with ``STATUS=`` is shown in the tree.

    Args:
        watchdog: Seconds within which it has to send ``WATCHDOG=1`` from then on, else it is
            taken to hang, which is a crash; None: it need not.

    Raises:
        BadValue: *watchdog* is less than a millisecond, or no time.
    """

    watchdog: float | None = None

    def __post_init__(self) -> None:
        if self.watchdog is not None:
            seconds = seconds_of("watchdog", self.watchdog, also=", or None")
            object.__setattr__(self, "watchdog", seconds)


READY: Final = (Port, Http, Command, Line, Notify)
ALIVE: Final = (Port, Http, Command)


def checked_command(argument: str, given: Any) -> tuple[str, ...]:
    """Return the words of a command; a str is split as a shell does it.

    Raises:
        BadValue: It is no command, or an empty one.
    """
    accepted = "a command: ['nginx', '-g', 'daemon off;'], or a str that is split into such"
    try:
        words: list[Any] = shlex.split(given) if is_a(given, str) else list(given)
    except (TypeError, ValueError) as error:
        raise BadValue(argument, given, f"{accepted} ({error})") from None
    plain = [str(word) if is_a(word, PurePath) else word for word in words]
    if not plain or not all(is_a(word, str) and "\0" not in word for word in plain) or not plain[0]:
        raise BadValue(argument, given, accepted)
    return tuple(plain)


def _is_plain(given: str) -> bool:
    """Whether nothing in it has to be quoted to be sent, but what the user has quoted."""
    return given.isascii() and given.isprintable() and " " not in given


def _is_host(given: str) -> bool:
    """Whether it can be looked up, if anybody has that name."""
    try:
        return bool(given.encode("idna")) and _is_plain(given)
    except UnicodeError:
        return False


def _is_http(given: str) -> bool:
    try:
        parts = urlsplit(given)
        return parts.scheme == "http" and _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        return False


def _why(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__).lower()
