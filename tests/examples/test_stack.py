"""The stack: a database, a web server and a service, with real programs, restart as one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from processes import PATIENCE, Process, ran, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "stack"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("redis-server") is None and not os.environ.get("CI"), reason="no redis-server"
    ),
]


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come to pass"
        time.sleep(0.02)
    return found


class Stack:
    """The example, running in a directory of its own."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        shutil.copytree(EXAMPLE, directory, dirs_exist_ok=True)
        with ExitStack() as ports:
            sockets = [ports.enter_context(socket.socket()) for _ in range(2)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            self.db, self.web = (each.getsockname()[1] for each in sockets)
        environ = {"DB_PORT": str(self.db), "WEB_PORT": str(self.web)}
        self.directory = directory
        self.process: Process = stack.enter_context(run(directory, environ=environ))

    def ask(self, *arguments: str) -> Any:
        environ = {**os.environ, "SPRAG_RUNTIME_DIR": str(self.process.runtime)}
        return ran(*arguments, env=environ).stdout

    def tree(self) -> dict[str, Any]:
        told = json.loads(self.ask("tree", "--json"))
        return {child["name"]: child for child in told["children"]}

    def orders(self) -> int:
        with suppress(OSError):
            url = f"http://127.0.0.1:{self.web}/"
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return int(answer.read())
        return 0

    def is_well(self) -> bool:
        return all(child["ready"] for child in self.tree().values())


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with ExitStack() as exits:
        one = Stack(tmp_path, exits)
        one.process.says('"event": "up"')
        until(one.is_well)
        yield one


def lives(pid: int) -> bool:
    with suppress(OSError, IndexError):
        stat = Path("/proc", str(pid), "stat").read_text()
        return stat.rpartition(")")[2].split()[0] not in "ZX"
    return False


def test_it_serves_what_is_fed(stack: Stack) -> None:
    first = until(stack.orders)
    until(lambda: stack.orders() > first)
    tree = stack.tree()
    assert tree["db"]["process"]["pid"] != tree["web"]["process"]["pid"]
    assert tree["feeder"]["process"] is None


def test_when_the_database_dies_all_restart_as_one_and_it_is_one_story(stack: Stack) -> None:
    pids = {name: child["process"] for name, child in stack.tree().items()}
    os.kill(pids["db"]["pid"], signal.SIGKILL)
    until(lambda: {child["restarts"] for child in stack.tree().values()} == {1})
    until(stack.is_well)
    assert until(stack.orders) > 0
    why = stack.ask("why", "stack/web")
    assert "stack/db" in why
    assert "redis-server" in why
    assert "SIGKILL" in why


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_it_is_left_at_the_end(stack: Stack, number: int) -> None:
    children = Path("/proc", str(stack.process.popen.pid), "task", str(stack.process.popen.pid))
    pids = [int(pid) for pid in (children / "children").read_text().split()]
    assert len(pids) >= 3
    stack.process.send(number)
    stack.process.popen.wait(PATIENCE)
    until(lambda: not any(map(lives, pids)))
    for port in (stack.db, stack.web):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
