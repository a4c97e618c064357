"""`sprag up --watch` as a real process: what a save restarts, and what it lets alone."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from processes import PATIENCE, Process
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
PROGRAM = """\
[program.{name}]
command = "echo {name} $SAID is $$; exec sleep 1000"
shell = true
"""
GROUP = """\
[group.g]
strategy = "rest_for_one"
[group.g.program.one]
command = "echo one is $$; exec sleep 1000"
shell = true
[group.g.program.two]
command = "echo two is $$; exec sleep 1000"
shell = true
"""
WRONG = "the file is wrong, and nothing changes"


def program(name: str, *lines: str) -> str:
    return PROGRAM.format(name=name) + "".join(f"{line}\n" for line in lines)


THREE = program("a") + program("b") + program("c")


def write(directory: Path, text: str, name: str = "sprag.toml") -> None:
    """Put another file in its place, as editors do."""
    new = directory / f"{name}.new"
    new.write_text(text, encoding="utf-8")
    new.chmod(0o600)
    new.replace(directory / name)


def up(
    directory: Path, text: str, *arguments: str, name: str = "sprag.toml", watch: bool = True
) -> Process:
    write(directory, text, name)
    options = ["--watch", *arguments] if watch else arguments
    process = Process("-m", "sprag_cli", "up", *options, directory=directory)
    process.says('"event": "up"')
    return process


def started(process: Process, *names: str, times: int = 1) -> dict[str, list[int]]:
    """Wait until each of those has started so often; return the pids of its lives."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found: dict[str, list[int]] = {}
        for each in process.events("output"):
            name, *_, pid = each["line"].split()
            found.setdefault(name, []).append(int(pid))
        if all(len(found.get(name, [])) >= times for name in names):
            return found
        assert time.monotonic() < deadline, process.err
        time.sleep(0.01)


def changes(process: Process) -> list[dict[str, Any]]:
    return process.events("the file has changed")


def end(process: Process) -> None:
    process.send(signal.SIGTERM)
    assert process.ends() == ExitCode.STOPPED


def test_a_save_restarts_what_it_changes_and_nothing_else(tmp_path: Path) -> None:
    with up(tmp_path, THREE) as process:
        before = started(process, "a", "b", "c")
        write(tmp_path, program("a") + program("b", "env = { SAID = 'x' }") + program("c"))
        after = started(process, "b", times=2)
        assert (after["a"], after["c"]) == (before["a"], before["c"])
        assert len(set(after["b"])) == 2
        (told,) = changes(process)
        assert (told["restarts"], told["file"]) == ("b (env)", "sprag.toml")
        end(process)


def test_a_file_that_is_wrong_or_gone_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    with up(tmp_path, THREE) as process:
        before = started(process, "a", "b", "c")
        write(tmp_path, THREE.replace("shell", "shall", 1))
        process.says(WRONG)
        (tmp_path / "sprag.toml").unlink()
        process.says(WRONG, times=2)
        write(tmp_path, THREE)
        process.says("saved, and nothing changes")
        assert started(process) == before
        wrong = process.events(WRONG)
        assert [each["level"] for each in wrong] == ["error", "error"]
        assert wrong[0]["error"].startswith("sprag.toml:3: program.a.shall: no such key")
        assert wrong[1]["error"] == "sprag.toml: No such file or directory"
        end(process)


def test_one_is_added_and_one_removed(tmp_path: Path) -> None:
    with up(tmp_path, THREE) as process:
        before = started(process, "a", "b", "c")
        write(tmp_path, program("d", "needs = ['b']") + program("b") + program("c"))
        after = started(process, "d")
        assert after == {**before, "d": after["d"]}
        (told,) = changes(process)
        assert (told["starts"], told["stops"]) == ("d", "a")
        with pytest.raises(ProcessLookupError):
            os.kill(before["a"][0], 0)
        end(process)


def test_policy_alone_restarts_nothing_and_holds_from_then_on(tmp_path: Path) -> None:
    with up(tmp_path, THREE + GROUP) as process:
        before = started(process, "a", "b", "c", "one", "two")
        policy = "restart = 'temporary'"
        write(tmp_path, program("a", policy) + program("b") + program("c") + GROUP + policy)
        process.says('"new_policy": "a (restart), g/two (restart)"')
        os.kill(before["a"][0], signal.SIGKILL)
        os.kill(before["b"][0], signal.SIGKILL)
        os.kill(before["two"][0], signal.SIGKILL)
        after = started(process, "b", times=2)
        assert {**after, "b": before["b"]} == before
        end(process)


def test_in_a_group_the_others_stay_and_it_keeps_its_place(tmp_path: Path) -> None:
    with up(tmp_path, GROUP) as process:
        before = started(process, "one", "two")
        write(tmp_path, GROUP.replace("echo one", "echo  one"))
        after = started(process, "one", times=2)
        assert after["two"] == before["two"]
        os.kill(after["one"][-1], signal.SIGKILL)  # and those behind it with it
        last = started(process, "two", times=2)
        assert len(last["one"]) == 3
        end(process)


def test_another_env_file_restarts_those_that_read_it(tmp_path: Path) -> None:
    write(tmp_path, "SAID=hello\n", ".env")
    given = program("a", "env_file = '.env'") + program("b")
    with up(tmp_path, given) as process:
        before = started(process, "a", "b")
        write(tmp_path, "no variable\n", ".env")
        process.says(WRONG)
        write(tmp_path, "SAID=bye\n", ".env")
        after = started(process, "a", times=2)
        assert after["b"] == before["b"]
        assert process.events(WRONG)[0]["error"].startswith(".env:1: ")
        process.says("a bye is")
        end(process)


def test_a_procfile_is_watched_too_with_the_env_file_that_comes(tmp_path: Path) -> None:
    given = "a: echo a $SAID is $$; exec sleep 1000\n"
    with up(tmp_path, given, "Procfile", name="Procfile") as process:
        started(process, "a")
        write(tmp_path, "SAID=hello\n", ".env")
        process.says("a hello is")
        end(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_in_the_midst_of_it_is_a_stop(tmp_path: Path, number: int) -> None:
    slow = """\
[program.slow]
command = "trap 'echo asked; sleep 1; exit' TERM; echo slow is $$; while true; do sleep 0.1; done"
shell = true
"""
    with up(tmp_path, slow) as process:
        started(process, "slow")
        write(tmp_path, slow.replace("; exit", "; exit 1") + program("a"))
        process.says("asked")
        process.send(number)
        assert process.ends() == ExitCode.STOPPED
        assert not process.events("it could not be started; the next save tries again")
        assert '"level": "error"' not in process.err


SERVICE = """\
from sprag import Service

class Picky(Service):
    def __init__(self, size=1):
        self.size = size

    def on_start(self):
        if self.size > 3:
            raise ValueError("too large")
        self.log.info("picky has started", size=self.size)
"""


def test_a_start_that_fails_disturbs_nobody_and_the_next_save_tries_again(tmp_path: Path) -> None:
    (tmp_path / "picky.py").write_text(SERVICE)
    picky = "[service.p]\nuse = 'picky:Picky'\n"
    with up(tmp_path, program("a") + picky) as process:
        before = started(process, "a")
        write(tmp_path, program("a") + picky + "args = { size = 5 }\n" + program("b"))
        process.says("it could not be started; the next save tries again")
        assert started(process, "b")["a"] == before["a"]
        write(tmp_path, program("a") + picky + "args = { size = 2 }\n" + program("b"))
        process.says('"size": 2')
        assert [each.get("starts") for each in changes(process)] == ["b", "p"]
        write(tmp_path, program("a") + picky + "args = { length = 2 }\n" + program("b"))
        process.says(WRONG)
        end(process)


def test_keys_of_the_whole_run_are_told(tmp_path: Path) -> None:
    with up(tmp_path, program("a")) as process:
        write(tmp_path, "[app]\nname = 'other'\nshutdown_timeout = 3\n" + program("a"))
        process.says('"needs_a_restart_of_the_app": "name, shutdown_timeout"')
        end(process)


# -- without --watch --------------------------------------------------------------------


def reload(directory: Path, *arguments: str) -> tuple[int, str]:
    with Process("-m", "sprag_cli", "reload", *arguments, directory=directory) as asked:
        return asked.ends(), asked.out + asked.err


def test_sprag_reload_reads_the_file_again(tmp_path: Path) -> None:
    named = "[app]\nname = 'shop'\n"
    with up(tmp_path, named + THREE, watch=False) as process:
        before = started(process, "a", "b", "c")
        changed = program("a") + program("b", "env = { SAID = 'x' }") + program("c")
        write(tmp_path, named + changed)
        plan = "● shop would reload: restarts b (env)\n"
        assert reload(tmp_path, "--dry-run") == (ExitCode.WELL, plan)
        code, said = reload(tmp_path)
        assert code == ExitCode.WELL
        assert re.fullmatch(r"● shop reloaded: restarts b \(env\)( in \d+\.\d s)?\n", said)
        after = started(process, "b", times=2)
        assert (after["a"], after["c"]) == (before["a"], before["c"])
        write(tmp_path, named + THREE.replace("shell", "shall", 1))
        code, said = reload(tmp_path)
        assert code == ExitCode.FAILED
        assert "● shop failed: sprag.toml:5: program.a.shall: no such key" in said
        assert started(process) == after
        end(process)


def test_so_does_a_sighup_without_a_terminal(tmp_path: Path) -> None:
    with up(tmp_path, THREE, watch=False) as process:
        started(process, "a", "b", "c")
        write(tmp_path, program("a") + program("b", "env = { SAID = 'x' }") + program("c"))
        process.send(signal.SIGHUP)
        after = started(process, "b", times=2)
        assert {name: len(pids) for name, pids in after.items()} == {"a": 1, "b": 2, "c": 1}
        write(tmp_path, THREE.replace("shell", "shall", 1))
        process.send(signal.SIGHUP)
        process.says(WRONG)
        assert started(process) == after
        end(process)
