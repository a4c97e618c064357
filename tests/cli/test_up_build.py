"""The tree that is made of a file: nothing of it is started here."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import pytest

import sprag
from sprag import Backoff, ExitApp, Program, State, Supervisor
from sprag.programs import Command, Http, Line, Notify, Port
from sprag.testing import virtual_time
from sprag_cli.term.errors import CommandError
from sprag_cli.up.build import make_app
from sprag_cli.up.sprag_toml import declared_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FEEDS = """\
from sprag import Backoff, Service, Supervisor

class Feed(Service):
    def __init__(self, url="x", *, every=1):
        self.url, self.every = url, every

class Own(Service, backoff=Backoff(9), needs=("a",), restart="transient"):
    pass

def fleet(size):
    return Supervisor([Feed(str(number)) for number in range(size)])

class Weak(Service):
    def run(self):
        raise OSError("weak")

nothing = 5

def broken():
    raise OSError("no route")

def none():
    return 5
"""
A = "[program.a]\ncommand = ['x']\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "feeds_of_up.py").write_text(FEEDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("feeds_of_up", None)


def made(folder: Path, given: str, exits: Any = "restart") -> dict[str, sprag.Service]:
    """Return the services of a file by their paths."""
    app = make_app(declared_in(given, folder / "sprag.toml"), exits)
    found: dict[str, sprag.Service] = {"": app}
    pending: list[tuple[str, Supervisor]] = [("", app)]
    while pending:
        above, supervisor = pending.pop()
        for child, name, policy in supervisor._static_:
            child._policy_ = child._policy_.with_(policy)
            found[f"{above}{name}"] = child
            if isinstance(child, Supervisor):
                pending.append((f"{above}{name}/", child))
    return found


def one(folder: Path, *lines: str, exits: Any = "restart") -> Program:
    found = made(folder, "\n".join([A, *lines]), exits)["a"]
    assert isinstance(found, Program)
    return found


def settings(program: sprag.Service) -> Any:
    assert isinstance(program, Program)
    return program._settings_


def refused(folder: Path, given: str) -> str:
    with pytest.raises(CommandError) as error:
        make_app(declared_in(given, folder / "sprag.toml"))
    return error.value.report().replace(f"{folder}/", "")


def test_nothing_gives_up_and_all_start_side_by_side_unless_the_file_says_so(
    folder: Path,
) -> None:
    found = made(
        folder,
        f"{A}[group.g]\n[group.g.program.b]\ncommand = ['y']\n"
        "[service.s]\nuse = 'feeds_of_up:Feed'\n",
    )

    assert found[""]._policy_.max_restarts == found["g"]._policy_.max_restarts == math.inf
    for path in ("a", "g", "g/b", "s"):
        policy = found[path]._policy_
        assert policy.backoff == Backoff()
        assert policy.needs == {}
    assert found["a"]._policy_.retry_start
    assert not found["g"]._policy_.retry_start


@pytest.mark.parametrize("key", ["strategy = 'rest_for_one'", "in_order = true"])
def test_in_order_nobody_says_what_it_needs(folder: Path, key: str) -> None:
    b = "[group.g.program.b]\ncommand = ['y']\n[group.g.program.c]\ncommand = ['z']\nneeds = []\n"
    found = made(folder, f"[group.g]\n{key}\n{b}")

    assert found["g/b"]._policy_.needs is None
    assert found["g/c"]._policy_.needs == {}
    assert found["g"]._policy_.needs == {}


def test_what_the_file_says_wins(folder: Path) -> None:
    program = one(
        folder,
        "restart = 'transient'\nshutdown = 30\nstart_timeout = 5\nretry_start = false",
        "backoff = { initial = 1, tries = 3 }\nautostart = false",
        "on_failure = { OSError = { exit = 78 }, ValueError = { initial = 7 } }",
    )

    policy = program._policy_
    assert (policy.restart, policy.shutdown, policy.start_timeout) == ("transient", 30.0, 5.0)
    assert (policy.retry_start, policy.autostart) == (False, False)
    assert policy.backoff == Backoff(1, tries=3)
    assert policy.on_failure == {OSError: ExitApp(78), ValueError: Backoff(7)}


def test_paths_begin_at_the_folder_of_the_file(folder: Path) -> None:
    program = one(folder, "cwd = 'sub'\nenv_file = '.env'\noutput = 'logs/a.log'")

    assert settings(program).cwd == folder / "sub"
    assert settings(program).env_file == folder / ".env"
    assert settings(program).output == folder / "logs/a.log"
    assert settings(one(folder)).cwd == folder


@pytest.mark.parametrize(
    ("given", "probe"),
    [
        ("'port'", Port()),
        ("{ port = 81, every = 1 }", Port(81, every=1)),
        ("{ http = '/x', port = 81, failures = 2 }", Http("/x", 81, failures=2)),
        ("{ line = 'up' }", Line("up")),
        ("'notify'", Notify()),
        ("{ notify = true, watchdog = 30 }", Notify(30)),
        ("{ command = ['ok'], timeout = 1 }", Command(["ok"], timeout=1)),
    ],
)
def test_probes_are_those_of_sprag(folder: Path, given: str, probe: object) -> None:
    assert settings(one(folder, f"port = 80\nready = {given}")).ready == probe


def test_replicas_are_those_of_a_program_and_never_give_up(folder: Path) -> None:
    program = one(folder, "port = 80\nreplicas = 2\nneeds = []")

    assert settings(program).replicas == 2
    assert program._policy_.max_restarts == math.inf


def test_a_python_service_is_made_with_its_arguments(folder: Path) -> None:
    found = made(
        folder,
        "[service.feed]\nuse = 'feeds_of_up:Feed'\nargs = { url = 'u', every = 5 }\n"
        "restart = 'transient'\n[service.fleet]\nuse = 'feeds_of_up:fleet'\nargs = { size = 2 }\n",
    )

    feed: Any = found["feed"]
    assert (feed.url, feed.every, feed._policy_.restart) == ("u", 5, "transient")
    assert "fleet" in found


def test_the_policy_of_a_file_outlives_the_restarts_of_a_python_service(folder: Path) -> None:
    for inside in ("", "group.g."):
        given = f"[{inside}service.weak]\nuse = 'feeds_of_up:Weak'\nshutdown = 7\n"
        given += "backoff = { initial = 1, tries = 2 }\n"
        app = make_app(declared_in(given, folder / "sprag.toml"))
        with virtual_time() as clock, app:
            weak = app.service(f"{inside.removeprefix('group.').replace('.', '/')}weak")
            clock.advance(60.0)
            assert (weak._restarts_, weak._state_) == (2, State.FAILED)
            assert weak._policy_.shutdown == 7.0


def test_what_a_class_says_of_its_policy_holds_where_the_file_is_silent(folder: Path) -> None:
    policy = made(folder, f"{A}[service.own]\nuse = 'feeds_of_up:Own'\n")["own"]._policy_

    assert (policy.backoff, policy.needs, policy.restart) == (
        Backoff(9),
        {"a": "ready"},
        "transient",
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("use = 'feeds_of_up:Fed'", "did you mean feeds_of_up:Feed?"),
        ("use = 'feed_of_up:Feed'", "no module 'feed_of_up'"),
        ("use = 'feeds_of_up:nothing'", "sprag.toml:2: s: feeds_of_up:nothing is none"),
        ("use = 'feeds_of_up:none'", "sprag.toml:2: s: feeds_of_up:none makes int, and no service"),
        ("use = 'feeds_of_up:broken'", "OSError: no route"),
        ("use = 'feeds_of_up:Feed'\nargs = { evry = 5 }", "sprag.toml:3: s: feeds_of_up:Feed"),
        (
            "use = 'feeds_of_up:Feed'\nsignificant = true",
            "sprag.toml:3: s: policy significant=True",
        ),
        (
            "use = 'feeds_of_up:Feed'\non_failure = { NoError = 'stop' }",
            "toml:3: s: policy on_failure='NoError'",
        ),
        (
            "use = 'feeds_of_up:Feed'\non_failure = { 'no.such:Error' = 'stop' }",
            "No module named 'no'",
        ),
    ],
)
def test_what_cannot_be_made_is_told_with_its_place(folder: Path, given: str, said: str) -> None:
    assert said in refused(folder, f"[service.s]\n{given}\n")


def test_needs_that_go_in_a_circle_are_refused(folder: Path) -> None:
    b = "[program.b]\ncommand = ['y']\nneeds = ['a']\n"

    assert "no circle: a -> b -> a" in refused(folder, f"{A}needs = ['b']\n{b}")


def test_what_exits_stays_down_where_the_first_exit_stops_all(folder: Path) -> None:
    program = one(folder, "settle = 5\nrestart = 'permanent'", exits="abort")

    assert program._policy_.restart == "transient"
    assert program._policy_.on_failure == {Exception: "stop"}
    assert settings(program).settle == 0
