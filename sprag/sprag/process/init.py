"""Process 1 above an app: starts it, passes signals on, waits for orphans, ends as it has ended.

The kernel keeps process 1 from being killed by a signal of its own, and so by the timer that ends
an app whose lease has run out (`kernel_timer`). Run as a script, with the standard library alone;
its arguments are the app's command.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

PASSED_ON: Final = frozenset(
    {
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGCONT,
    }
)
_BY_TERMINAL: Final = 0x80
"""``si_code`` of a signal that the terminal has sent: to all of the group, and so to the app."""
_NOT_FOUND: Final = 127


def main(words: list[str]) -> int:
    """Run the command *words*; return its exit code, or 128 and the signal that has killed it."""
    waited = PASSED_ON | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)  # what comes now is not lost
    app = os.fork()
    if app == 0:
        _become(words, before)
    while True:
        heard = signal.sigwaitinfo(waited)
        if heard.si_signo != signal.SIGCHLD:
            if heard.si_code != _BY_TERMINAL:
                os.kill(app, heard.si_signo)
            continue
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == app:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break


def _become(words: list[str], mask: set[int | signal.Signals]) -> None:
    """Become the app, with the sockets that were meant for process 1."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if os.environ.get("LISTEN_PID") == "1":
            os.environ["LISTEN_PID"] = str(os.getpid())
        os.execv(words[0], words)  # noqa: S606 - it is what we were started as
    except OSError as error:
        sys.stderr.write(f"sprag: cannot start {words[0]}: {error}\n")
    finally:
        os._exit(_NOT_FOUND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
