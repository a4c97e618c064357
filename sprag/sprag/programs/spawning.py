"""How a process is started: quickly, in a session of its own, with nothing of ours but three files.

The helper comes in between only for what a process must do by itself: it costs a start of Python.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gevent import get_hub

from sprag.programs import helper, popen
from sprag.programs.exceptions import CannotRun
from sprag.programs.popen import close

if TYPE_CHECKING:
    from sprag.programs.users import Identity

_RESTORED: Final = {signal.SIGPIPE, signal.SIGXFSZ}
"""Ignored by Python, and given back by Popen."""


class Launch(NamedTuple):
    """What is to be started, and how.

    Attributes:
        command: The words; the first one is looked for in the PATH of *env*.
        env: All variables that it gets.
        cwd: Its directory; None: ours.
        umask: None: ours.
        limits: Soft and hard by the number of the resource.
        identity: Whose it is; None: ours.
        dies_with_us: The kernel is to kill it when we die.
        sockets: Descriptors that it gets, from the fourth one on, as systemd passes them.
    """

    command: tuple[str, ...]
    env: dict[str, str]
    cwd: Path | None = None
    umask: int | None = None
    limits: dict[int, tuple[int, int]] = {}  # noqa: RUF012 - never changed
    identity: Identity | None = None
    dies_with_us: bool = False
    sockets: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in errors."""
        return self.command[0]


class Spawned(NamedTuple):
    """A process that has been started.

    Attributes:
        pid: Its id, which is that of its session and of its process group as well.
        errors: The reading end of the pipe by which the helper says what went wrong, and which
            the exec closes; None: it has been through that.
    """

    pid: int
    errors: int | None


def check(launch: Launch) -> None:
    """See whether it can be started, as far as that can be seen without.

    Raises:
        CannotRun: There is no such binary or directory, or it may not be executed.
    """
    try:
        _check(launch)
    except OSError as error:  # one of its folders may not be looked into, or has too long a name
        raise CannotRun(launch.name, f"{error.filename}: {what_is_wrong(error)}") from error


def _check(launch: Launch) -> None:
    cwd = launch.cwd
    if cwd is not None and not cwd.is_dir():
        raise CannotRun(launch.name, f"its cwd, {cwd}, is no directory")
    binary = launch.name
    if os.sep in binary:
        path = Path(cwd or ".", binary)
        if not path.exists():
            raise CannotRun(binary, f"there is no file {path}")
        if path.is_dir():
            raise CannotRun(binary, f"{path} is a directory")
        if launch.identity is None and not os.access(path, os.X_OK):
            raise CannotRun(binary, f"{path} is not executable: chmod +x {path}")
    elif shutil.which(binary, path=os.pathsep.join(os.get_exec_path(launch.env))) is None:
        raise CannotRun(binary, f"there is no {binary!r} in its PATH")


def spawn(launch: Launch, out: int | None, err: int | None) -> Spawned:
    """Start it, with *out* and *err* as its stdout and stderr; None: ours. Blocks for its exec.

    With the helper it does not: the pipe tells when it has been through.

    Raises:
        CannotRun: The kernel says no.
    """
    try:
        if _needs_helper(launch):
            return _through_helper(launch, out, err)
        umask = -1 if launch.umask is None else launch.umask
        return Spawned(_start(launch.command, launch, out, err, umask=umask, cwd=launch.cwd), None)
    except OSError as error:
        raise CannotRun(launch.name, what_is_wrong(error)) from error


def what_is_wrong(error: OSError) -> str:
    """Return why the kernel has said no, with the remedy where there is one."""
    why = error.strerror or str(error)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{why}: each program takes two descriptors; raise the limit ('ulimit -n')"
    if error.errno == errno.EAGAIN:
        return f"{why}: there are too many processes; raise the limit ('ulimit -u')"
    return why


def await_exec(launch: Launch, spawned: Spawned) -> None:
    """Wait until the exec has succeeded, if that takes the helper. Blocks the greenlet.

    Raises:
        CannotRun: It has not.
    """
    if spawned.errors is None:
        return
    said = b""
    hub = get_hub()
    try:
        while True:
            watcher: Any = hub.loop.io(spawned.errors, 1)
            try:
                hub.wait(watcher)
            finally:
                watcher.close()
            with suppress(BlockingIOError):
                data = os.read(spawned.errors, 4096)
                if not data:
                    break
                said += data
    finally:
        close(spawned.errors)
    if said:
        raise _what_went_wrong(launch, said)


def _what_went_wrong(launch: Launch, said: bytes) -> CannotRun:
    """Return the error that the helper has told of."""
    try:
        step, number, text = json.loads(said)
    except ValueError:
        return CannotRun(launch.name, f"the exec helper failed: {said.decode(errors='replace')}")
    place = {"cwd": f"its cwd, {launch.cwd}: ", "limits": "its limits: ", "user": "its user: "}
    why = os.strerror(number) if number else text
    return CannotRun(launch.name, f"{place.get(step, '')}{why}")


def _through_helper(launch: Launch, out: int | None, err: int | None) -> Spawned:
    identity = launch.identity
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.set_blocking(writing, True)
        told = {
            "command": launch.command,
            "cwd": None if launch.cwd is None else str(launch.cwd),
            "umask": launch.umask,
            "limits": [(number, *pair) for number, pair in launch.limits.items()],
            "user": None if identity is None else identity[:3],
            "parent": os.getpid() if launch.dies_with_us else None,
            "errors": writing,
            "sockets": launch.sockets,
            "has_locale": "LC_CTYPE" in launch.env,
        }
        python = sys.executable or "python3"
        words = (python, "-I", "-S", str(helper.__file__), json.dumps(told))
        pid = _start(words, launch, out, err, pass_fds=(writing, *launch.sockets))
    except BaseException:
        close(reading)
        raise
    finally:
        close(writing)
    return Spawned(pid, reading)


def _start(
    words: tuple[str, ...], launch: Launch, out: int | None, err: int | None, **options: Any
) -> int:
    return popen.start(
        words,
        env=launch.env,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,
        **options,
    )


def _needs_helper(launch: Launch) -> bool:
    return bool(
        launch.identity is not None
        or launch.limits
        or launch.dies_with_us
        or launch.sockets
        or signal.pthread_sigmask(signal.SIG_BLOCK, ())
        or _ignored()
    )


def _ignored() -> set[int]:
    """Return the signals that we ignore, and a program would, too."""
    with suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text()
        bits = int(status.partition("SigIgn:")[2].split()[0], 16)
        return {number for number in range(1, 65) if bits >> (number - 1) & 1} - _RESTORED
    return set()
