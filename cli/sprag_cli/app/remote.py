"""Apps on another machine: ``sprag -H ssh://user@host``, as docker does.

Each question runs ``ssh -T … -- host sprag _stdio`` once, which talks to a socket there. Keys,
jumps and connections that are kept (ControlMaster) are the user's ssh_config. What comes from there
is as little to be trusted as what an app says: it is escaped where it is shown.

What goes over the line: one line of JSON that says what is wanted, ``{"want": "apps"}`` or
``{"want": "socket", "path": "/run/…"}``; one line that says what there is; and, behind a socket,
whatever it says.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

from sprag._exit_codes import ExitCode
from sprag_cli.term.errors import CommandError
from sprag_cli.term.plain import printable

_PATIENCE: Final = 120.0
"""Seconds for the connection of ssh, in which somebody may have to type a password."""
_ALIVE: Final = 15
"""Seconds of silence after which ssh asks whether anybody is there; after three of them it ends."""
_LONGEST_LINE: Final = 1 << 20
_KEPT: Final = 4096
"""Characters of what ssh complains of."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:%\[\]-]+")


class BadRemote(CommandError):
    """Raised when ``-H`` is given what is no address."""

    def __init__(self, given: str, fault: str) -> None:
        """Name what was given, and what is wrong with it."""
        super().__init__(
            f"-H {printable(given)[:200]}: {fault} — use ssh://[USER@]HOST[:PORT], or a name "
            "that your ssh_config knows: ssh://NAME"
        )


class RemoteFailed(CommandError):
    """Raised when ssh does not get there, or there is no sprag there."""

    exit_code = ExitCode.NOT_FOUND

    def __init__(self, where: str, reason: str, said: str) -> None:
        """Say where, and what ssh said about it."""
        rows = [f"  {line}" for line in said.splitlines()[-5:] if line.strip()]
        super().__init__(f"{where}: {reason}", *rows)


@dataclass(frozen=True, slots=True)
class Remote:
    """Another machine, as ssh knows it.

    Attributes:
        host: Its name.
        user: Who logs in there; "": as ssh_config says.
        port: Likewise.
    """

    host: str
    user: str = ""
    port: int | None = None

    def __str__(self) -> str:
        """Return its address."""
        user = f"{self.user}@" if self.user else ""
        return f"ssh://{user}{self.host}" + ("" if self.port is None else f":{self.port}")

    def command(self) -> list[str]:
        """Return what is run: of what the other machine says nothing is in it."""
        return [
            "ssh",
            "-T",
            *("-o", f"ServerAliveInterval={_ALIVE}"),
            *(["-p", str(self.port)] if self.port is not None else []),
            *(["-l", self.user] if self.user else []),
            "--",
            self.host,
            os.environ.get("SPRAG_REMOTE") or "sprag",  # as it is: the shell over there reads it
            "_stdio",
        ]

    def apps(self) -> list[tuple[str, int | None, str, str]]:
        """Return name, pid, socket and user of each app that runs there.

        Raises:
            CommandError: ssh does not get there, or sprag there has something to say.
        """
        line = Line(self, {"want": "apps"})
        try:
            found = line.head().get("apps")
        finally:
            line.close()
        if not isinstance(found, list):
            raise RemoteFailed(str(self), "what is there is no sprag of this version", "")
        places = map(_place, cast("list[object]", found))
        return [place for place in places if place is not None]

    def connect(self, path: str) -> Line:
        """Return what is connected with the socket at *path* there.

        Raises:
            CommandError: As for `apps`.
        """
        line = Line(self, {"want": "socket", "path": path})
        try:
            line.head()
        except BaseException:
            line.close()
            raise
        return line


def parsed(given: str) -> Remote:
    """Return what ``-H`` means.

    Raises:
        BadRemote: It is no ssh:// address, or one that ssh could take for an option.
    """
    try:
        parts = urlsplit(given)
        host, user, port = parts.hostname or "", parts.username or "", parts.port
    except ValueError as error:
        raise BadRemote(given, str(error)) from None
    if parts.scheme != "ssh":
        raise BadRemote(given, "it is no ssh:// address")
    if parts.password is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise BadRemote(given, "it has more than a user, a host and a port")
    # As it was written: names in ssh_config have capitals.
    host = re.sub(r"^\[|\]$", "", _host_in(parts.netloc)) if host else ""
    for what, text in (("host", host), ("user", user)):
        if text.startswith("-"):
            raise BadRemote(given, f"its {what} begins with '-', which ssh takes for an option")
        if text and _PLAIN.fullmatch(text) is None:
            raise BadRemote(given, f"its {what} has letters that are in no name")
    if not host:
        raise BadRemote(given, "it names no host")
    return Remote(host, user, port)


def _place(told: object) -> tuple[str, int | None, str, str] | None:
    """Return what is told of an app, as far as it makes sense."""
    if not isinstance(told, dict):
        return None
    each = cast("dict[str, object]", told)
    name, pid, path, user = (each.get(key) for key in ("name", "pid", "socket", "user"))
    if not (isinstance(name, str) and isinstance(path, str) and (pid is None or type(pid) is int)):
        return None
    return name, pid, path, user if isinstance(user, str) else ""


def _host_in(netloc: str) -> str:
    place = netloc.rpartition("@")[2]
    return place if place.endswith("]") else re.sub(r":\d*$", "", place)


class Line:
    """One run of ssh, with what is wanted said already.

    Attributes:
        end: Our end of it.
    """

    def __init__(self, remote: Remote, wanted: dict[str, str]) -> None:
        self._remote = remote
        self._complaints = ""
        self.end, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - no shell; see `Remote.command`
                    remote.command(),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                )
            except OSError as error:
                self.end.close()
                reason = f"ssh cannot be run: {error.strerror}"
                raise RemoteFailed(str(remote), reason, "") from None
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        with suppress(OSError):  # it has ended: `head` says why
            self.end.sendall(json.dumps(wanted).encode() + b"\n")

    def _listen(self) -> None:
        """Keep the last of what ssh says, and what is said there: a pipe that is full stops it."""
        stream = self._process.stderr
        assert stream is not None
        with stream:
            while piece := os.read(stream.fileno(), 4096):
                self._complaints = (self._complaints + piece.decode(errors="replace"))[-_KEPT:]

    def head(self) -> dict[str, Any]:
        """Return the first line of what comes: what there is.

        Raises:
            CommandError: Nothing comes, or it says what is wrong.
        """
        until, read = time.monotonic() + _PATIENCE, b""
        try:
            while not read.endswith(b"\n"):
                self.end.settimeout(max(until - time.monotonic(), 0.001))
                piece = self.end.recv(1)  # what comes behind it is not ours
                if not piece or len(read) > _LONGEST_LINE:
                    raise self._failed()
                read += piece
        except OSError:
            raise self._failed() from None
        try:
            answer = json.loads(read)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            said = printable(read.decode(errors="replace"))
            raise RemoteFailed(str(self._remote), "what answers there is no sprag", said)
        told = cast("dict[str, Any]", answer)
        if isinstance(error := told.get("error"), str):
            raise RemoteFailed(str(self._remote), error, "")
        return told

    def check(self) -> None:
        """Tell who has ended it, when it has: whom we ask over there, or ssh.

        Raises:
            RemoteFailed: It was ssh.
        """
        with suppress(subprocess.TimeoutExpired):
            if self._process.wait(1.0):
                raise self._failed()

    def _failed(self) -> RemoteFailed:
        try:
            code = self._process.wait(1.0)  # it has hung up, so it ends
        except subprocess.TimeoutExpired:
            code = 0
        self.close()
        reason = f"ssh has ended with code {code}" if code else "nothing came"
        if code == 127:
            reason = "there is no sprag on the PATH there: set SPRAG_REMOTE to where it is"
        elif code and "Host key verification failed" in self._complaints:
            reason = f"its host key is unknown, or another one: try 'ssh {self._remote.host}'"
        return RemoteFailed(str(self._remote), reason, self._complaints)

    def close(self) -> None:
        """End it; harmless a second time."""
        self.end.close()
        self._process.terminate()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1.0)
