"""Starts of ``sprag run`` that cost little: forks of a process that has loaded what it loads.

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
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARK: Final = "SPRAG_TEST_MARK"
_FLAGS: Final = ((), ("-W", "error"))
_LOADING: Final = ("run", "up", "check")
_STREAMS: Final = ("stdin", "stdout", "stderr")
_AT_START: Final = ("PYTHON", "GEVENT", "COVERAGE", "LANG", "LC_", "LD_", "MALLOC", "TZ")
"""How the variables are called that are read before an app is loaded."""
_LONGEST: Final = 1 << 20


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
    flags, command = _split(words)
    return (
        _can_watch()
        and flags in _FLAGS
        and command[:1] in [(each,) for each in _LOADING]
        and "--reload" not in command  # whose parent does not patch
        and options.keys() <= set(_STREAMS)
        and subprocess.STDOUT not in options.values()
        and not any(name.startswith("COVERAGE") for name in environ)
        and _at_start(environ) == _at_start(os.environ)
    )


def _split(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the flags of Python's, and what follows ``-m sprag_cli``, if it does."""
    given = tuple(words)
    at = given.index("-m") if "-m" in given else len(given)
    return given[:at], given[at + 2 :] if given[at + 1 : at + 2] == ("sprag_cli",) else ()


def _at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_AT_START)}


def warm_up() -> None:
    """Start what is warmed, for what has no flags."""
    if _can_watch():
        _Warmed.with_flags(())


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
    ) -> None:
        self.returncode: int | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        flags, command = _split(words)
        told = {
            "directory": str(directory.resolve()),
            "environ": dict(environ),
            "arguments": command,
            "words": tuple(words),
        }
        self._teller, teller = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ExitStack() as theirs, teller:
            streams = [self._stream(name, options.get(name), theirs) for name in _STREAMS]
            socket.send_fds(
                _Warmed.with_flags(flags).asked,
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

    def __init__(self, flags: tuple[str, ...]) -> None:
        self.asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.asked.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
        program = str(Path(__file__).with_name("warmed.py"))
        with theirs:
            self.popen = subprocess.Popen(
                [sys.executable, *flags, program, str(theirs.fileno())],
                env={**os.environ, MARK: "0" * 32, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)

    @classmethod
    @cache
    def with_flags(cls, flags: tuple[str, ...]) -> Self:
        return cls(flags)

    def close(self) -> None:
        self.asked.close()
        self.popen.wait()
