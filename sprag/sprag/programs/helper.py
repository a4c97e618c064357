"""The exec helper: becomes a program, after what only the process itself can set.

Run as a script, in a session of its own: the resource limits, the user and the groups, the death
with the parent, the sockets as systemd would pass them. The order matters: a change of user clears
what was asked of the parent's death, and the directory may be open to the user alone. It says what
went wrong by a pipe that an exec closes.

It imports next to nothing, and nothing of sprag: each program that needs it waits for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import sys

# os.execvpe loads it, and by then another user may not read it.
import warnings  # noqa: F401  # pyright: ignore[reportUnusedImport]
from typing import Any

_PR_SET_PDEATHSIG = 1
FAILED = 127
_FIRST = 3


def _main() -> None:
    told: dict[str, Any] = json.loads(sys.argv[1])
    step = "start"
    library: Any = None
    try:
        if told["parent"]:
            import ctypes  # now: another user may not be allowed to read it

            library = ctypes.CDLL(None)
        os.set_inheritable(told["errors"], False)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if told["umask"] is not None:
            os.umask(told["umask"])
        step = "limits"
        for number, soft, hard in told["limits"]:
            resource.setrlimit(number, (soft, hard))
        step = "user"
        if told["user"] is not None:
            uid, gid, groups = told["user"]
            if os.geteuid() == 0:
                os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
        if library is not None:
            library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != told["parent"]:  # it was faster
                os._exit(FAILED)
        step = "cwd"
        if told["cwd"] is not None:
            os.chdir(told["cwd"])
        if told["sockets"]:
            step = "sockets"
            _pass_on(told)
        step = "exec"
        _become(told)
    except Exception as error:  # noqa: BLE001 - who has started us decides
        code = error.errno if isinstance(error, OSError) else None
        said = json.dumps([step, code, str(getattr(error, "strerror", None) or error)])
        os.write(told["errors"], said.encode())
        os._exit(FAILED)


def _become(told: dict[str, Any]) -> None:
    if not told["has_locale"]:  # Python has set it for itself
        os.environ.pop("LC_CTYPE", None)
    os.execvpe(told["command"][0], told["command"], os.environ)  # noqa: S606 - our purpose


def _pass_on(told: dict[str, Any]) -> None:
    """Put the sockets where systemd would, and the pipe out of their way."""
    count = len(told["sockets"])
    high = _FIRST + count
    sockets = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, high) for each in told["sockets"]]
    given = {told["errors"], *told["sockets"]}
    told["errors"] = fcntl.fcntl(told["errors"], fcntl.F_DUPFD_CLOEXEC, high)
    for each in given:
        os.close(each)
    for at, each in enumerate(sockets, _FIRST):
        os.dup2(each, at)
    os.environ["LISTEN_FDS"] = str(count)
    os.environ["LISTEN_PID"] = str(os.getpid())


if __name__ == "__main__":
    _main()
