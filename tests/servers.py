"""Real servers for tests: each on a free port, in a temporary folder, and gone at the end.

They are looked for in the PATH and where Debian has them. Where one is missing, its tests are left
out with a word; in CI, or with ``SPRAG_SERVERS=1``, they fail.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PATIENCE: Final = 30.0
"""Seconds within which a server is there, or gone."""


def is_wanted() -> bool:
    """Whether a missing server is a failure."""
    return bool(os.environ.get("CI") or os.environ.get("SPRAG_SERVERS"))


def found(program: str, *places: str) -> str:
    """Return where *program* is; where it is not, the test is left out, or fails."""
    path = shutil.which(program) or shutil.which(program, path=os.pathsep.join(places))
    if path is None:
        say = pytest.fail if is_wanted() else pytest.skip
        say(f"no {program} here: `make servers` installs it")
    return path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def until(is_so: Callable[[], Any], what: str) -> None:
    """Wait until *is_so*, for a while."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


class Server:
    """A server: a process that is started, ended, and started again on the same data.

    Args:
        folder: Where its data is.

    Attributes:
        port: Where it listens.
        ends_by: The signal that lets it end well.
    """

    ends_by: int = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What an engine is opened with."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """Return the URL by another port, which a relay has."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return what starts it."""
        raise NotImplementedError

    def is_up(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def user(self) -> str | None:
        """Return whom it runs as."""
        return None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.popen = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self.user(),
                start_new_session=True,
            )
        until(self._is_up_or_gone, f"{self.command()[0]} answers")
        if self.popen.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def _is_up_or_gone(self) -> bool:
        assert self.popen is not None
        return self.popen.poll() is not None or self.is_up()

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.popen is not None
        os.kill(self.popen.pid, number)

    def stop(self) -> None:
        """Let it end well."""
        self._end(self.ends_by)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.popen is not None:
            self.send(number)
            self.popen.wait(PATIENCE)
            self.popen = None

    def pause(self) -> None:
        """Let it stand still."""
        self.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait(PATIENCE)
            self.popen = None


class Redis(Server):
    """A Redis, which forgets nothing when it is killed, unless it is given other options."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._program = found("redis-server")
        super().__init__(folder)
        self.options = options or ("--appendonly", "yes", "--appendfsync", "always")

    def url_at(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0"

    def command(self) -> list[str]:
        basic = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        return [self._program, *basic, "--dir", str(self.folder), *self.options]

    def is_up(self) -> bool:
        return self.say("PING").startswith(("+PONG", "-NOAUTH"))

    def say(self, *command: str) -> str:
        """Return what it answers to *command*, as it comes."""
        parts = [f"*{len(command)}\r\n", *[f"${len(each)}\r\n{each}\r\n" for each in command]]
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall("".join(parts).encode())
                return connection.recv(100_000).decode()
        except OSError:
            return ""


KINDS: Final[Mapping[str, Callable[[Path], Server]]] = {"redis": Redis}
