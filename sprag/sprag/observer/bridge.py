"""``sprag observe``: the page at a port of this machine, over the control sockets of its apps."""

from __future__ import annotations

import errno
import html
import json
import os
import secrets
import sys
import webbrowser
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from gevent import signal_handler, socket, spawn_later
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from sprag.observer.asking import Upstream, at
from sprag.observer.following import Following
from sprag.observer.gate import Gate
from sprag.observer.site import ObserverSite

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from sprag.observer.site import Apps

HOST: Final = "127.0.0.1"
_KEPT: Final = 30.0
"""Seconds for which the file lies there that leads a browser to the page."""


class Sockets:
    """The apps that have a control socket, or the one that was asked for.

    An app is known by its name, so that its next life is found; where several are called alike,
    by name and pid.

    Args:
        look: Returns name, pid and socket of each that listens now.
    """

    def __init__(self, look: Callable[[], Sequence[tuple[str, int | None, Path]]]) -> None:
        self._look = look
        self._followed: dict[str, Following] = {}

    def listed(self) -> list[dict[str, Any]]:
        """Return what there is to choose from."""
        found = self._look()
        names = [name for name, _, _ in found]
        return [
            {"key": _key(name, pid, names.count(name) > 1), "name": name, "pid": pid}
            for name, pid, _ in found
        ]

    def get(self, key: str) -> Following | None:
        """Return who follows the app; None: none has ever been called so."""
        if key not in self._followed:
            if self._find(key) is None:
                return None
            self._followed[key] = Following(lambda: self._find(key))
        return self._followed[key]

    def _find(self, key: str) -> Upstream | None:
        found = [
            each for each in self._look() if key in (each[0], _key(each[0], each[1], by_pid=True))
        ]
        # The younger one, if the last life of an app is still on its way down.
        found.sort(key=lambda each: _age(each[2]))
        return Upstream(found[-1][0], found[-1][1], at(found[-1][2])) if found else None


def _key(name: str, pid: int | None, by_pid: bool) -> str:  # noqa: FBT001 - private
    return f"{name}.{pid}" if by_pid else name


def _age(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


class PortTaken(Exception):
    """Somebody else listens at the port; the message says so."""


class Bridge:
    """The web server of the page.

    Args:
        apps: Whom it is about.
        port: Where to listen on 127.0.0.1; 0: any that is free.
        write: Whether POST is passed on.

    Raises:
        PortTaken: Somebody else listens there.
    """

    def __init__(self, apps: Apps, *, port: int = 0, write: bool = False) -> None:
        self._token = secrets.token_urlsafe(32)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            listener.close()
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise PortTaken(f"port {port} of {HOST}: {os.strerror(error.errno)}") from None
            raise
        listener.listen(128)
        self.address = f"{HOST}:{listener.getsockname()[1]}"
        site = ObserverSite(Gate(self.address, self._token, may_write=write), apps)
        self._server = WSGIServer(listener, site, log=None, error_log=sys.stderr)

    @property
    def url(self) -> str:
        """Where the page is. The token is in the fragment: no server and no log gets to see it."""
        return f"http://{self.address}/#token={self._token}"

    def start(self) -> None:
        """Serve, in greenlets."""
        self._server.start()

    def stop(self) -> None:
        """Stop at once: who reads on reads nothing more."""
        self._server.stop(timeout=0.1)


def serve(bridge: Bridge, directory: Path, say: Callable[[str], object], *, browser: bool) -> None:
    """Serve until a SIGINT, SIGTERM or SIGHUP.

    Args:
        bridge: What.
        directory: A private one, for the file that leads a browser to the page.
        say: Prints a line.
        browser: Whether to open one; without it, or where none can be, the address is printed.
    """
    over = Event()
    handlers = [signal_handler(number, over.set) for number in _ends()]
    bridge.start()
    try:
        with leading_file(directory, bridge.url) as file:
            if browser and opens(file):
                spawn_later(_KEPT, _remove, file)
                say(f"the page is at http://{bridge.address}, and in your browser; Ctrl-C ends")
            else:
                _remove(file)
                say(f"{bridge.url}  (Ctrl-C ends)")
            over.wait()
    finally:
        for each in handlers:
            each.cancel()
        bridge.stop()


def _ends() -> list[int]:
    import signal

    return [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@contextmanager
def leading_file(directory: Path, url: str) -> Generator[Path]:
    """Make a file for this user alone that leads a browser to *url*; it is gone in the end.

    An address in the arguments of a browser can be read by everybody on the machine.
    """
    path = directory / f"observe-{os.getpid()}.html"
    with suppress(FileNotFoundError):
        path.unlink()
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(opened, "w", encoding="utf-8") as file:
        file.write(
            _LEADING.format(link=html.escape(url), text=json.dumps(url).replace("<", "\\x3c"))
        )
    try:
        yield path
    finally:
        _remove(path)


_LEADING: Final = """\
<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<title>sprag observe</title><a href="{link}">sprag observe</a>
<script>location.replace({text})</script>
"""


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def opens(file: Path) -> bool:
    """Open *file* in a browser; tell whether there is one with a window."""
    if sys.platform != "darwin" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return False
    with suppress(webbrowser.Error, OSError):
        return webbrowser.open(file.as_uri())
    return False
