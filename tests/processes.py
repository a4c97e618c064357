"""`sprag run` and scripts as real processes, watched from outside.

A `Process` lives in a session of its own, without a terminal unless it is given one, and carries a
mark in its environment, by which `survivors` proves that nothing of it has survived. Everything
waits for something that can be seen, with a deadline.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import IO, TYPE_CHECKING, Any, Final, Self

from sprag._unix_sockets import listens
from warm import MARK, Fork, can_fork

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE: Final = 20.0
"""Seconds after which something expected counts as not happening."""

_ON_TERMINAL: Final = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"


class Process:
    """A running Python process; with *afresh* it begins as Python does, whatever it runs.

    Attributes:
        runtime: The directory of control sockets.
    """

    def __init__(
        self,
        *arguments: str,
        directory: Path,
        environ: Mapping[str, str | None] | None = None,
        terminal: bool = False,
        afresh: bool = False,
        **options: Any,
    ) -> None:
        self.runtime = directory / "run"
        self._mark = uuid.uuid4().hex
        given = {**os.environ, "SPRAG_RUNTIME_DIR": str(self.runtime), MARK: self._mark}
        given |= {"PYTHONDONTWRITEBYTECODE": "1", "TERM": "xterm", "COLUMNS": "120"}
        for name in ("NO_COLOR", "FORCE_COLOR", "SPRAG_LOG_FORMAT", "SPRAG_LOG_LEVEL"):
            given.pop(name, None)
        for name, value in (environ or {}).items():
            given.pop(name, None)
            if value is not None:
                given[name] = value
        command = [sys.executable, *arguments]
        if (shell := options.pop("shell", None)) is not None:
            command = ["/bin/sh", "-c", shell, *command]
        self._news = threading.Condition()
        self._pieces: dict[str, list[str]] = {"out": [], "err": []}
        self._seen = 0
        self._master: int | None = None
        slave = -1
        forks = command[0] == sys.executable and not afresh
        if terminal:
            self._master, slave = pty.openpty()
            options |= {"stdin": slave, "stdout": slave, "stderr": slave}
        else:
            options = {
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **options,
            }
        self.popen: Fork | subprocess.Popen[Any]
        if forks and can_fork(command[1:], given, options):
            self.popen = Fork(command[1:], directory, given, options, terminal=terminal)
        else:
            if terminal:
                command = [sys.executable, "-c", _ON_TERMINAL, *command]
            self.popen = subprocess.Popen(
                command,
                cwd=directory,
                env=given,
                start_new_session=not terminal,
                **options,
            )
        streams: dict[str, int | None] = {"out": self._master}
        if terminal:
            os.close(slave)
        else:
            streams = {
                name: None if stream is None else stream.fileno()
                for name, stream in (("out", self.popen.stdout), ("err", self.popen.stderr))
            }
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in streams.items()
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self.popen.stdout, self.popen.stderr):
            if stream is not None:
                stream.close()
        if self._master is not None:
            os.close(self._master)

    def _read(self, name: str, stream: int) -> None:
        pending = b""
        while True:
            try:
                data = os.read(stream, 1 << 16)
            except OSError:  # a terminal's way to say that nobody writes any more
                data = b""
            with self._news:
                pending += data
                if not data or b"\n" in data or name == "out":
                    self._pieces[name].append(pending.decode(errors="replace"))
                    pending = b""
                self._news.notify_all()
            if not data:
                return

    # -- what it says ----------------------------------------------------------------

    @property
    def out(self) -> str:
        """What it has written to stdout, or to its terminal."""
        return self._text("out")

    @property
    def err(self) -> str:
        """What it has written to stderr."""
        return self._text("err")

    def _text(self, name: str) -> str:
        with self._news:
            pieces = self._pieces[name]
            pieces[:] = ["".join(pieces)]  # here: else each piece copied them all
            return pieces[0]

    def says(self, text: str, *, times: int = 1) -> None:
        """Wait until it has written *text*, to stdout or stderr, so many times."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while self._count(text) < times:
                left = deadline - time.monotonic()
                gone = not any(reader.is_alive() for reader in self._readers)
                if left <= 0 or (gone and self._count(text) < times):
                    raise AssertionError(f"it did not say {text!r}:\n{self._everything()}")
                self._news.wait(min(left, 0.1))

    def _count(self, text: str) -> int:
        return self.out.count(text) + self.err.count(text)

    def _everything(self) -> str:
        return f"{self.out}\n--- stderr ---\n{self.err}"

    def records(self) -> list[dict[str, Any]]:
        """Return its log; each line of stderr must be JSON."""
        return [json.loads(line) for line in self.err.splitlines()]

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return the records whose event is one of *names*."""
        return [record for record in self.records() if record["event"] in names]

    # -- what is done to it -----------------------------------------------------------

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def type(self, text: str) -> None:
        """Type *text* at its terminal."""
        assert self._master is not None
        os.write(self._master, text.encode())

    def ends(self, *, within: float = PATIENCE) -> int:
        """Wait for its end and return the exit code; nothing of it must be left."""
        try:
            code = self.popen.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still alive after {within} s:\n{self._everything()}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        assert self.survivors() == []
        return code

    def survivors(self) -> list[int]:
        """Return the pids of processes that carry its mark."""
        found: list[int] = []
        wanted = f"{MARK}={self._mark}".encode()
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if wanted in environ.read_bytes():
                    found.append(int(environ.parent.name))
        return found

    # -- its control socket -----------------------------------------------------------

    def socket(self) -> Path:
        """Wait until somebody listens on its control socket."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for path in self.runtime.glob("*.sock"):
                if listens(path):
                    return path
            time.sleep(0.01)
        raise AssertionError(f"no control socket:\n{self._everything()}")


_HEAD: Final = """import gevent, os, sys, time
from gevent.monkey import get_original
from sprag import *

def say(*what):
    print(*what, flush=True)

# gevent's own waitpid does not always come back: a child of os.fork that makes its loop anew can
# take the news of its parent's dead children.
def end_of(pid):
    return os.waitstatus_to_exitcode(get_original("os", "waitpid")(pid, 0)[1])

"""


def begun(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], **streams: Any
) -> Fork | subprocess.Popen[Any]:
    """Start Python with *words*, or a fork that is as good; see `subprocess.Popen` for the rest."""
    given = {MARK: uuid.uuid4().hex, **env}
    streams = {"stdin": subprocess.DEVNULL, **streams}
    if can_fork(words, given, streams):
        return Fork(words, cwd, given, streams)
    return subprocess.Popen(
        [sys.executable, *words], cwd=cwd, env=given, start_new_session=True, **streams
    )


def completed(
    *words: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    **streams: Any,
) -> subprocess.CompletedProcess[str]:
    """Run Python to its end, and capture its text.

    Args:
        words: What follows ``python``.
        cwd: Where; None: where the tests run.
        env: All variables; None: those of the tests.
        timeout: Seconds until it is killed, and the test fails.
        streams: Where stdout or stderr are to go instead.
    """
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    one = begun(words, cwd=cwd or Path.cwd(), env=os.environ if env is None else env, **streams)
    with ThreadPoolExecutor(2) as readers:
        texts = [readers.submit(_text, stream) for stream in (one.stdout, one.stderr)]
        try:
            code = one.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()
            raise
        return subprocess.CompletedProcess(words, code, *[each.result() for each in texts])


def ran(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``sprag`` with *arguments*, as `completed` does."""
    return completed("-m", "sprag_cli", *arguments, **options)


def _text(stream: IO[bytes] | None) -> str:
    if stream is None:
        return ""
    with stream:
        return stream.read().decode()


def app(directory: Path, source: str, *, name: str = "app") -> None:
    """Write a module of the user's, with sprag's names imported, and a few of the tests'."""
    (directory / f"{name}.py").write_text(_HEAD + dedent(source))


def run(directory: Path, *arguments: str, target: str = "app:app", **options: Any) -> Process:
    """Start ``sprag run app:app``."""
    python: list[str] = options.pop("python", [])
    return Process(
        *python, "-m", "sprag_cli", "run", target, *arguments, directory=directory, **options
    )


def script(directory: Path, source: str, **options: Any) -> Process:
    """Start a Python script of the user's."""
    app(directory, source, name="script")
    return Process("script.py", directory=directory, **options)
