"""The commands, each a process of its own, against one app that runs."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NamedTuple

import pytest

from processes import Process, app, ran, run
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

SHOP = """
class Stubborn(Service, shutdown=0.1):
    def run(self):
        while True:
            try:
                gevent.sleep(3600)
            except BaseException:
                pass
class Broken(Service, on_failure={KeyError: "stop"}):
    def run(self):
        raise KeyError("smtp_host")
class Idle(Service):
    pass
app = App(name="shop", providers={
    "stubborn": Stubborn(),
    "mailer": Broken(),
    "fleet": Supervisor(children=[(Idle(), {"name": f"van-{n}"}) for n in range(20)]),
})
"""


class Said(NamedTuple):
    """What a command has written, and how it ended."""

    out: str
    err: str
    code: int


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    directory = tmp_path_factory.mktemp("shop")
    app(directory, SHOP)
    with run(directory, "--shutdown-timeout", "1") as process:
        process.says('"event": "up"')
        yield process
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.NOT_CLEAN


@pytest.fixture
def sprag(shop: Process) -> Callable[..., Said]:
    def sprag(*arguments: str) -> Said:
        environ = {**os.environ, "SPRAG_RUNTIME_DIR": str(shop.runtime), "COLUMNS": "120"}
        done = ran(*arguments, env=environ)
        return Said(done.stdout, done.stderr, done.returncode)

    return sprag


def test_a_straggler_is_named_by_the_stop_the_tree_the_status_and_the_stacks(
    sprag: Callable[..., Said],
) -> None:
    first = sprag("restart", "stubborn")
    assert first.code == ExitCode.FAILED
    assert "  not clean: 1 straggler\n" in first.out
    assert "1 greenlet  1 straggler of #1\n" in sprag("tree", "stubborn").out
    sprag("restart", "stubborn")
    assert "1 greenlet  2 stragglers of #1, #2\n" in sprag("tree", "stubborn").out

    full = sprag("status", "stubborn").out
    assert "Left: greenlet of life 1 has swallowed its kill and still runs" in full

    stacks = sprag("stacks", "stubborn").out
    assert "  run\n    " in stacks
    assert "  run of life 1, a straggler\n    " in stacks
    assert "  run of life 2, a straggler\n    " in stacks
    assert stacks.count("gevent.sleep(3600)") == 3


@pytest.mark.parametrize(
    "command", ["tree", "status", "why", "events", "start", "stop", "restart", "stacks", "top"]
)
def test_a_path_that_leads_nowhere_is_explained_alike_by_all(
    sprag: Callable[..., Said], command: str
) -> None:
    said = sprag(command, "fleet/van-33", "--timeout", "2")
    assert (said.out, said.code) == ("", ExitCode.NOT_FOUND)
    assert "no service 'fleet/van-33'" in said.err
    assert "shop/fleet has van-0, van-1, van-2, van-3, van-4, van-5 and 14 more" in said.err
    assert "did you mean shop/fleet/van-3 or shop/fleet/van-13" in said.err
    assert said.err.count("\n") == 1

    said = sprag(command, "van-7")
    assert "did you mean shop/fleet/van-7?" in said.err


@pytest.mark.parametrize("command", ["tree", "status", "why", "stacks", "start", "stop", "wait"])
def test_a_glob_that_matches_nothing_is_explained_alike_by_all(
    sprag: Callable[..., Said], command: str
) -> None:
    said = sprag(command, "lorry-*", "--timeout", "0.2")
    assert (said.out, said.code) == ("", ExitCode.NOT_FOUND)
    assert said.err.startswith("sprag: no service matches 'lorry-*' — '*' stands for one level")


def test_failed_means_the_same_to_all(sprag: Callable[..., Said]) -> None:
    assert sprag("tree", "--failed").out.splitlines()[1].startswith("└─ ✗ mailer")
    assert sprag("status", "--failed").out.startswith("✗ shop/mailer\n")
    assert sprag("why", "--failed").out.startswith("✗ shop/mailer is failed\n")
    assert "✗ shop/mailer" in sprag("top", "--failed", "--once", "--interval", "0.1").out
    assert "shop/mailer (failed)" in sprag("wait", "--failed", "--timeout", "0.1").err
    assert sprag("stop", "fleet/*", "--failed").out == "nothing is failed\n"


def test_an_app_that_gives_up_tells_what_it_could_not_stop(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Stubborn(Service, shutdown=0.1):
            def run(self):
                while True:
                    try:
                        gevent.sleep(3600)
                    except BaseException:
                        pass

        class Broken(Service):
            def run(self):
                gevent.sleep(0.1)
                raise KeyError("smtp_host")

        app = App(name="shop", max_restarts=0, providers={"stubborn": Stubborn(), "x": Broken()})
        """,
    )
    with run(tmp_path) as process:
        assert process.ends() == ExitCode.FAILED
        assert process.records()[-1]["stragglers"] == 1
