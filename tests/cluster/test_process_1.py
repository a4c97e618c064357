"""As process 1 an app with a cluster runs in a child: the kernel does not kill process 1 itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from processes import Process, app
from sprag import App, Cluster, Service, host
from sprag.process import init, pid1

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

APP = """
    import ctypes
    import os

    class Billing(Service):
        def run(self):
            say(f"pid {os.getpid()}, parent {os.getppid()}")
            gevent.sleep(0.5)
            ctypes.PyDLL(None).sleep(1000)  # C that keeps all other threads waiting

    app = App(
        name="shop",
        cluster=Cluster("memory://", ttl=0.5),
        providers={"billing": Singleton(Billing())},
    )
"""


class Replaced(Exception):
    """The process would be another from here on."""


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Be process 1, and note what it becomes."""
    became: list[Any] = []

    def become(file: str, words: list[str], environ: Mapping[str, str]) -> NoReturn:
        became.append((words, environ))
        raise Replaced

    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(os, "execve", become)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "sprag_cli", "run", "shop:app"])
    return became


def test_an_app_with_a_cluster_starts_anew_below_process_1(
    replaced: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(pid1, "_FIRST_SOCKET", reader)
    monkeypatch.setattr(pid1, "_given", {"LISTEN_PID": "1", "LISTEN_FDS": "1", "A": "b"})
    with pytest.raises(Replaced):
        host.run(App(name="shop", cluster=Cluster("memory://"), providers={}))
    ((words, environ),) = replaced
    assert words[3:] == [init.__file__, sys.executable, "-m", "sprag_cli", "run", "shop:app"]
    assert environ["A"] == "b"
    assert os.get_inheritable(reader)
    os.close(reader)
    os.close(writer)


def test_one_without_runs_as_process_1(replaced: list[Any]) -> None:
    class Root(Service):
        def run(self) -> NoReturn:
            raise SystemExit(0)

    assert host.run(Root(), control=False) == 0
    assert not replaced


@pytest.mark.parametrize(
    ("status", "code"), [(0, 0), (3 << 8, 3), (signal.SIGKILL, 128 + signal.SIGKILL)]
)
def test_what_is_above_it_passes_signals_on_and_ends_as_it_has_ended(
    monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    heard = [(signal.SIGTERM, 0), (signal.SIGINT, 0x80), (signal.SIGCHLD, 1), (signal.SIGCHLD, 1)]
    ended = [(8, 0), (0, 0), (7, status)]
    sent: list[Any] = []
    said = [SimpleNamespace(si_signo=number, si_code=why) for number, why in heard]

    def kill(*given: Any) -> None:
        sent.append(given)

    def wait(*_: Any) -> tuple[int, int]:
        return ended.pop(0)

    def hear(_: Any) -> Any:
        return said.pop(0)

    def mask(*_: Any) -> None:
        pass

    monkeypatch.setattr(os, "fork", lambda: 7)
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(os, "waitpid", wait)
    monkeypatch.setattr(signal, "pthread_sigmask", mask)
    monkeypatch.setattr(signal, "sigwaitinfo", hear)
    assert init.main(["app"]) == code
    assert sent == [(7, signal.SIGTERM)]  # what the terminal says, it says to both


@pytest.mark.slow
def test_what_it_starts_gets_signals_and_the_sockets(tmp_path: Path) -> None:
    script = """
import os, signal, sys, time
def end(*_):
    os.write(1, b"told\\n")
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
os.write(1, b"for us %r\\n" % (os.environ["LISTEN_PID"] == str(os.getpid())))
time.sleep(60)
"""
    command = (str(init.__file__), sys.executable, "-c", script)
    with Process(*command, directory=tmp_path, environ={"LISTEN_PID": "1"}) as process:
        process.says("for us True")
        process.send(signal.SIGTERM)
        process.says("told")
        assert process.ends() == 7
    with Process(str(init.__file__), "/nowhere", directory=tmp_path) as process:
        assert process.ends() == 127
        assert "cannot start /nowhere" in process.err


@pytest.mark.slow
def test_the_kernel_kills_an_app_of_process_1_that_holds_the_loop(tmp_path: Path) -> None:
    apart = ("unshare", "--fork", "--kill-child", "--pid", "--mount-proc")
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespace of processes may be made here")
    app(tmp_path, APP)
    words = [*apart, sys.executable, "-m", "sprag_cli", "run", "app:app"]
    command = ("-c", f"import os; os.execvp('unshare', {words!r})")
    with Process(*command, directory=tmp_path) as process:
        process.says("parent 1\n")
        assert process.ends() in {4, 128 + signal.SIGKILL}
