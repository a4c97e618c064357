"""A process that has loaded what ``sprag run`` or a client loads, and forks for each start.

`warm` starts it, and asks for forks over a socket that it inherits. A fork becomes what Python has
just begun: in a session and a directory of its own, with the environment and the streams that it is
given, without a hub, a thread or any other descriptor. Then it goes on as ``python -m`` does, or as
``python script.py`` where the script patches before all else. At its end Python's garbage collector
finds no cycles in what there was when its app came up: that would copy all of it.
"""

import sys

del sys.path[0]  # the folder of this file: whoever starts `sprag run` has the working directory

from sprag_cli import entry  # noqa: E402

RUNS_APPS = sys.argv[2] == "app"
if RUNS_APPS:
    entry._patch()  # before all else is loaded, as where an app is run

import _socket  # noqa: E402
import array  # noqa: E402
import ctypes  # noqa: E402
import fcntl  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import runpy  # noqa: E402
import termios  # noqa: E402
import types  # noqa: E402
from importlib import import_module  # noqa: E402
from typing import Any, Final  # noqa: E402

OF_APPS: Final = (
    "sprag_cli.commands.group",
    "sprag_cli.commands.run",
    "sprag_cli.run.handler",
    "sprag_cli.run.json_lines",
    "sprag_cli.run.options",
    "sprag_cli.run.run",
    "sprag_cli.run.short_way",
    "sprag_cli.run.tracebacks",
    "sprag_cli.run.unhandled",
    "sprag.control.server",
    "sprag.web._door",
    "structlog",
)
OF_CLIENTS: Final = (
    "sprag_cli.app.decided",
    "sprag_cli.commands.group",
    "sprag_cli.commands.status",
    "sprag_cli.commands.tree",
    "sprag_cli.commands.why",
    "sprag_cli.complete.prompt",
    "sprag_cli.draw.status",
    "sprag_cli.draw.tree",
    "sprag_cli.draw.why",
)
MARK: Final = "SPRAG_TEST_MARK"


def main() -> None:
    """Fork what is asked for, and tell how each fork has ended, until nobody asks any more."""
    load()
    gc.collect()
    gc.freeze()  # or the first collection of each fork would copy all that there is
    gc.__dict__["unfreeze"] = bool  # or the last one would: two thirds of what a fork takes in all
    number = int(sys.argv[1])
    asked = _socket.socket(fileno=number)
    looks = original("select", "poll")()
    looks.register(number, 1)
    living: dict[int, tuple[int, int]] = {}
    while True:
        for ready, _what in looks.poll():
            if ready != number:
                looks.unregister(ready)
                os.close(ready)
                pid, teller = living.pop(ready)
                os.write(teller, b"%d" % original("os", "waitpid")(pid, 0)[1])
                os.close(teller)
                continue
            text, streams = received(asked)
            if not text:
                return
            pid = original("os", "fork")()
            if pid == 0:
                asked.close()
                begin(json.loads(text), streams)
                return
            watched = os.pidfd_open(pid)
            looks.register(watched, 1)
            living[watched] = pid, streams.pop()
            for each in streams:
                os.close(each)


def load() -> None:
    """Load what would be loaded after each start."""
    for name in OF_APPS if RUNS_APPS else OF_CLIENTS:
        import_module(name)
    if RUNS_APPS:
        import sprag

        for name in sprag.__all__:
            getattr(sprag, name)


def original(module: str, name: str) -> Any:
    """Return what gevent has patched, if it has; a client does not load it."""
    if not RUNS_APPS:
        return getattr(import_module(module), name)
    from gevent.monkey import get_original

    return get_original(module, name)


def received(asked: _socket.socket) -> tuple[bytes, list[int]]:
    """Return what is asked for, and its descriptors: the three streams, and where to tell."""
    streams = array.array("i", [0] * 4)
    text, more, _flags, _sender = asked.recvmsg(1 << 20, _socket.CMSG_SPACE(16))
    for _level, _kind, data in more:
        streams = array.array("i", data)
    return text, streams.tolist()


def begin(told: dict[str, Any], streams: list[int]) -> None:
    """Become what was asked for, say so, and run it."""
    os.setsid()
    teller = streams.pop()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    if told["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(told["directory"])
    show_mark(told["environ"][MARK])
    if RUNS_APPS:
        count_one_thread()
    os.environ.clear()
    os.environ.update(told["environ"])
    sys.path.insert(0, told["directory"])
    sys.argv = [told["script"] or "-m", *told["arguments"]]
    sys.orig_argv[1:] = told["words"]
    os.write(teller, b"%d" % os.getpid())
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if told["script"]:
        run_script(told["script"])
    else:
        runpy.run_module("sprag_cli", run_name="__main__", alter_sys=True)


def count_one_thread() -> None:
    """Forget how the main thread was called before: with gevent, Python 3.13 counts it twice."""
    import threading

    active: dict[int, threading.Thread] = threading.__dict__["_active"]
    for ident in active.keys() - {threading.get_ident()}:
        del active[ident]


def run_script(name: str) -> None:
    """Run it as the main module, which is there until the process ends."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    module.__file__ = name
    with open(name, "rb") as file:  # noqa: PTH123
        exec(compile(file.read(), name, "exec"), module.__dict__)


def show_mark(mark: str) -> None:
    """Write the mark over that in the environment that others see of this process."""
    with open("/proc/self/stat", encoding="ascii") as stat:  # noqa: PTH123
        begins = int(stat.read().rpartition(")")[2].split()[47])
    with open("/proc/self/environ", "rb") as environ:  # noqa: PTH123
        at = begins + environ.read().index(f"{MARK}=".encode()) + len(MARK) + 1
    ctypes.memmove(at, mark.encode(), len(mark))


main()
