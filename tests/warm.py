"""Starts of ``sprag`` that cost little: forks of a process that has loaded what it loads.

A start is a third of a second of a processor, nine tenths of it for loading modules. What most
tests are about begins later. `warmed` says what a fork is. Where a start is not the usual one,
`can_fork` says no, and a test of the start itself asks for a process of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARK: Final = "SPRAG_TEST_MARK"
_FLAGS: Final = ((), ("-W", "error"))
_APPS: Final = ("run", "up", "check")
"""The commands that patch. All others are clients."""
_STREAMS: Final = ("stdin", "stdout", "stderr")
_AT_START: Final = ("PYTHON", "GEVENT", "COVERAGE", "LANG", "LC_", "LD_", "MALLOC", "TZ")
"""How the variables are called that are read before an app is loaded."""
_LONGEST: Final = 1 << 20
_PATCHES: Final = "patches.py"
"""How the names of scripts end that patch before they load anything else."""


@cache
def _can_watch() -> bool:
    """Whether the system tells of the end of a process by a descriptor."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def can_fork(words: Sequence[str], environ: Mapping[str, str], options: Mapping[str, Any]) -> bool:
    """Say whether a fork is as good as a start of Python with *words*."""
    start = _Start.of(words)
    return (
        _can_watch()
        and start is not None
        and start.flags in _FLAGS
        and "--reload" not in start.arguments  # whose parent does not patch
        and options.keys() <= set(_STREAMS)
        and subprocess.STDOUT not in options.values()
        and not any(name.startswith("COVERAGE") for name in environ)
        and _at_start(environ) == _at_start(os.environ)
    )


@dataclass(frozen=True)
class _Start:
    """A start of Python.

    Attributes:
        flags: Of Python's.
        script: The name of one that patches before all else; "": it is ``-m sprag_cli``.
        arguments: What follows.
    """

    flags: tuple[str, ...]
    script: str
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> Self | None:
        """Return what *words* start; None: nothing that could be a fork."""
        given = tuple(words)
        if given and given[0].endswith(_PATCHES):
            return cls((), given[0], given[1:])
        if "-m" in given and given[(at := given.index("-m")) + 1 :][:1] == ("sprag_cli",):
            return cls(given[:at], "", given[at + 2 :])
        return None

    @property
    def kind(self) -> str:
        """Of the process to fork; which command it is, `sprag_cli.entry` finds like this, too."""
        command = next((each for each in self.arguments if not each.startswith("-")), "")
        return "app" if self.script or command in _APPS else "client"


def _at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_AT_START)}


def warm_up() -> None:
    """Start what is warmed, for what has no flags."""
    if _can_watch():
        _Warmed.of((), "app")


class Fork:
    """A fork that runs; what a test does to a `subprocess.Popen` it does to this.

    Attributes:
        pid: Its number.
        stdout: Where to read what it writes there, if it is a pipe.
        stderr: Likewise.
        returncode: How it has ended, once somebody has waited for it.
    """

    def __init__(
        self,
        words: Sequence[str],
        directory: Path,
        environ: Mapping[str, str],
        options: Mapping[str, Any],
        *,
        terminal: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        start = _Start.of(words)
        assert start is not None
        told = {
            "directory": str(directory.resolve()),
            "environ": dict(environ),
            "script": start.script,
            "arguments": start.arguments,
            "words": tuple(words),
            "terminal": terminal,
        }
        self._teller, teller = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ExitStack() as theirs, teller:
            streams = [self._stream(name, options.get(name), theirs) for name in _STREAMS]
            socket.send_fds(
                _Warmed.of(start.flags, start.kind).asked,
                [json.dumps(told).encode()],
                [*streams, teller.fileno()],
            )
        self.pid = int(self._heard() or 0)
        assert self.pid, "what is warmed cannot fork: see what it has written to stderr"

    def _stream(self, name: str, given: Any, theirs: ExitStack) -> int:
        if given is None:
            return _STREAMS.index(name)
        if given == subprocess.DEVNULL:
            return theirs.enter_context(Path(os.devnull).open("r+b", buffering=0)).fileno()
        if given != subprocess.PIPE:
            return given if isinstance(given, int) else given.fileno()
        reading, writing = os.pipe()
        theirs.callback(os.close, writing)
        setattr(self, name, open(reading, "rb", buffering=0))  # noqa: SIM115, PTH123
        return writing

    def _heard(self) -> bytes:
        return self._teller.recv(64)

    def poll(self) -> int | None:
        """Return how it has ended; None: it runs."""
        if self.returncode is None and select.select([self._teller], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code, or less than 0 for a signal.

        Raises:
            subprocess.TimeoutExpired: It has not ended within *timeout* seconds.
        """
        if self.returncode is None:
            if not select.select([self._teller], [], [], timeout)[0]:
                assert timeout is not None
                raise subprocess.TimeoutExpired("sprag", timeout)
            self.returncode = os.waitstatus_to_exitcode(int(self._heard()))
            self._teller.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class _Warmed:
    """What is warmed; it ends with the last of us who could ask it."""

    def __init__(self, flags: tuple[str, ...], kind: str) -> None:
        self.asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.asked.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
        program = str(Path(__file__).with_name("warmed.py"))
        with theirs:
            self.popen = subprocess.Popen(
                [sys.executable, *flags, program, str(theirs.fileno()), kind],
                env={**os.environ, MARK: "0" * 32, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)

    @classmethod
    @cache
    def of(cls, flags: tuple[str, ...], kind: str) -> Self:
        return cls(flags, kind)

    def close(self) -> None:
        self.asked.close()
        self.popen.wait()
