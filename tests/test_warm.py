"""What the tests run as forks begins as Python begins a process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from processes import app, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

LOOKS = """
import json, resource, signal, threading, warnings
from pathlib import Path
from gevent._hub_local import get_hub_if_exists

class Ends(Service):
    def run(self):
        raise SystemExit(7)

def named(handler):
    return getattr(handler, "__qualname__", str(handler))

def streams():
    for one in (sys.stdin, sys.stdout, sys.stderr):
        yield one.name, one.encoding, one.errors, one.line_buffering, one.isatty()

environ = Path("/proc/self/environ").read_bytes().split(b"\\0")
say(json.dumps({
    "arguments": [sys.argv, sys.orig_argv[1:], sys.path, sys.warnoptions, list(sys.flags)],
    "filters": [str(each) for each in warnings.filters],
    "main": [sys.modules["__main__"].__name__, __name__],
    "place": [os.getcwd(), os.umask(0o022), os.getpid() == os.getsid(0) == os.getpgid(0)],
    "streams": list(streams()),
    "descriptors": sorted(int(each) for each in os.listdir("/proc/self/fd"))[:-1],
    "signals": [named(signal.getsignal(each)) for each in sorted(signal.valid_signals())],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "threads": [len(threading.enumerate()), threading.current_thread().name],
    "limits": [resource.getrlimit(each) for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS)],
    "hub": str(get_hub_if_exists()),
    "environ": {name: value for name, value in os.environ.items() if "MARK" not in name},
    "mark": f"SPRAG_TEST_MARK={os.environ['SPRAG_TEST_MARK']}".encode() in environ,
    "loaded": [each for each in ("app", "processes", "pytest", "warm") if each in sys.modules],
}, default=str))
app = App(name="shop", providers={"ends": Ends()})
"""


@pytest.mark.parametrize("python", [[], ["-W", "error"]], ids=str)
def test_a_fork_is_what_python_begins(tmp_path: Path, python: list[str]) -> None:
    app(tmp_path, LOOKS)
    told: list[dict[str, Any]] = []
    for afresh in (True, False):
        with run(tmp_path, "--log-level", "error", python=python, afresh=afresh) as process:
            assert process.ends() == 7
            assert process.err == ""
            told.append(json.loads(process.out))
    assert told[0] == told[1]
    assert told[0]["mark"]
