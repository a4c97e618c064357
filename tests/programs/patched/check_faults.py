"""What goes wrong around a program: starts called off, helpers that hang, marks, numbers reused."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from programmed import Log, is_there, python, until
from reliability.watching import descriptors
from sprag import Backoff, Program, StartFailed, Supervisor
from sprag.exceptions import BadValue
from sprag.programs import Command, Notify, guarding, helper, popen, proc
from sprag.programs import guard as guard_module
from sprag.programs.child import Child
from sprag.programs.guard import Guard
from sprag.programs.output import Output, Written
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SLEEPS = "import time; time.sleep(1000)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"


def test_a_start_that_is_called_off_before_it_began_is_waited_for_by_nobody(
    top: Supervisor,
) -> None:
    began = time.monotonic()
    with gevent.Timeout(0, False):  # type: ignore[arg-type]
        top.start_child(python(SLEEPS, shutdown=20.0))
    starting: list[Any] = [
        gevent.spawn(top.start_child, python(SLEEPS, name=f"it-{n}")) for n in range(3)
    ]
    gevent.sleep(0)
    gevent.killall(starting)
    assert time.monotonic() - began < 5


def test_a_helper_that_hangs_is_killed_in_time(
    top: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = tmp_path / "hangs.py"
    hangs.write_text(DEAF)
    monkeypatch.setattr(helper, "__file__", str(hangs))
    program = python(SLEEPS, limits={"core": 0}, shutdown=0.5)
    spawn: Any = gevent.spawn
    starting: Any = spawn(lambda: top.start_child(program))
    until(lambda: [seen for seen in proc.descendants(os.getpid()) if seen.is_alive])
    (pid,) = [seen.pid for seen in proc.descendants(os.getpid()) if seen.is_alive]
    began = time.monotonic()
    starting.kill()
    until(lambda: not is_there(pid))
    assert time.monotonic() - began < 3


def test_one_that_says_it_is_ready_before_it_has_settled_is_heard(top: Supervisor) -> None:
    source = (
        "import os, socket, time; one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
        "one.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:]); one.send(b'READY=1');"
        "time.sleep(1000)"
    )
    words = [sys.executable, "-S", "-c", source]
    program = top.start_child(Program(words, name="it", ready=Notify(), settle=0.3))
    until(lambda: program.snapshot().is_ready)


def test_a_daemon_that_was_started_during_the_stop_ends_with_kill_tree(
    top: Supervisor, log: Log
) -> None:
    line = (
        "trap \"setsid sh -c 'echo \\$\\$; exec sleep 1000' & exit 0\" TERM; echo up;"
        "while :; do sleep 0.02; done"
    )
    program = top.start_child(
        Program(["/bin/sh", "-c", line], name="it", kill="tree", shutdown=5.0)
    )
    until(lambda: log.lines)
    assert program._run_ is not None
    mark = program._run_.mark
    program.stop()
    gevent.sleep(0.1)
    assert [
        seen for seen in proc.everybody() if seen.is_alive and mark in proc.marks_of(seen.pid)
    ] == []


def test_the_number_of_a_group_that_is_gone_may_be_another_ones(top: Supervisor) -> None:
    """What was waited for is not looked for by its number any more."""
    program = top.start_child(python(SLEEPS))
    pid = program.pid
    assert pid is not None
    child = Child(pid, int)
    child.close()
    child.status = 0
    assert child.has_left_any()  # as far as it can tell
    child.began -= 1
    assert not child.has_left_any()
    assert not child.send_to_group(signal.SIGKILL)
    assert is_there(pid)


def test_who_may_not_be_signalled_is_left_behind_with_the_reason(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = top.start_child(python(SLEEPS, shutdown=0.3))
    pid = program.pid or 0
    kill = os.kill

    def refused(number: int, what: int) -> None:
        if number == pid:
            raise PermissionError
        kill(number, what)

    def refused_to_it(_descriptor: int, what: int) -> None:
        refused(pid, what)

    monkeypatch.setattr(os, "kill", refused)
    monkeypatch.setattr(os, "killpg", refused)
    monkeypatch.setattr(signal, "pidfd_send_signal", refused_to_it)
    report = program.stop()
    monkeypatch.undo()
    assert report.stragglers == 1
    assert "whom we may not signal" in report.entries[0].detail
    kill(pid, signal.SIGKILL)
    until(lambda: proc.look(pid) is None)  # it was waited for
    gevent.sleep(0.05)


def test_a_program_of_a_program_bears_both_marks(
    top: Supervisor, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard of the outer app kills that of the inner one, and has to do its work."""
    monkeypatch.setenv("SPRAG_MARK", "outer.1")
    source = "import os; print(os.environ['SPRAG_MARK'], flush=True); import time; time.sleep(1000)"
    program = top.start_child(python(source))
    until(lambda: log.lines)
    outer, inner = log.texts()[0].split(":")
    assert outer == "outer.1"
    assert proc.marks_of(program.pid or 0) == [outer, inner]
    assert program.pid in guarding._find({}, b"outer")
    assert program.pid not in guarding._find({}, b"another")


def test_a_session_whose_number_is_another_ones_now_is_left_alone(top: Supervisor) -> None:
    pid = top.start_child(python(SLEEPS)).pid or 0
    seen = proc.look(pid)
    assert seen is not None
    assert pid in guarding._find({pid: seen.began}, b"no mark")
    assert pid not in guarding._find({pid: seen.began - 1}, b"no mark")


def test_the_guard_forgets_sessions_of_which_nobody_is_left(top: Supervisor) -> None:
    pid = top.start_child(python(SLEEPS)).pid or 0
    guard = Guard()
    guard.add(pid, 1)
    for gone in range(10_000_000, 10_003_000):
        guard.add(gone, 1)
    assert len(guard._sessions) <= 600
    assert pid in guard._sessions


def test_a_guard_that_is_slow_to_read_is_told_of_all(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del top
    told = tmp_path / "told"
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import os, time; time.sleep(0.5)\n"
        f"with open({str(told)!r}, 'wb', 0) as file:\n"
        "    while data := os.read(0, 1000): file.write(data)"
    )
    monkeypatch.setattr(guarding, "__file__", str(slow))
    guard = Guard()
    guard.prepare()
    for session in range(10_000_000, 10_020_000):  # more than a pipe takes at once
        guard._sessions[session] = 1
        guard._tell(f"+ {session} 1\n")
    until(lambda: told.exists() and told.read_text().endswith("+ 10019999 1\n"))
    assert told.read_text().count("\n") == 20_000
    guard.end()


def test_a_guard_that_does_not_read_is_replaced(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del top
    deaf = tmp_path / "deaf.py"
    deaf.write_text(DEAF)
    real = guarding.__file__
    monkeypatch.setattr(guarding, "__file__", str(deaf))
    guard = Guard()
    guard.prepare()
    first = guard._pid
    monkeypatch.setattr(guarding, "__file__", real)
    for session in range(10_000_000, 10_090_000):
        guard._tell(f"+ {session} 1\n")
    until(lambda: guard._pid != first and guard._writing >= 0)
    assert not is_there(first)
    guard.end()


def test_a_guard_for_which_there_is_no_room_is_tried_again(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    del top
    guard = Guard()
    guard.prepare()
    first = guard._pid
    with monkeypatch.context() as patched:
        patched.setattr(guard_module, "_AGAIN", 0.05)
        patched.setattr(popen, "start", _no_room)
        os.kill(first, signal.SIGKILL)
        until(lambda: guard._retry is not None)
    until(lambda: guard._pid != first and guard._writing >= 0)
    assert is_there(guard._pid)
    guard.end()


def test_an_app_that_ends_meanwhile_tries_no_more(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    del top
    guard = Guard()
    guard.prepare()
    monkeypatch.setattr(guard_module, "_AGAIN", 0.05)
    monkeypatch.setattr(popen, "start", _no_room)
    os.kill(guard._pid, signal.SIGKILL)
    until(lambda: guard._retry is not None)
    guard.end()
    gevent.sleep(0.2)
    assert guard._writing < 0


def test_an_app_that_ends_without_a_guard_ends_what_is_left_all_the_same(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    del top
    guard = Guard()
    guard.prepare()
    daemon = popen.start(("sleep", "1000"), env={proc.MARK: guard.mark}, start_new_session=True)
    watched = Child(daemon, int)
    with monkeypatch.context() as patched:
        patched.setattr(popen, "start", _no_room)
        os.kill(guard._pid, signal.SIGKILL)
        until(lambda: guard._retry is not None)
    guard.end()
    until(lambda: not watched.is_alive)


def test_a_file_is_closed_of_one_that_could_not_be_started(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(_flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    before = descriptors(os.getpid())
    with monkeypatch.context() as patched:
        patched.setattr(os, "pipe2", refused)
        for _ in range(3):
            with pytest.raises(StartFailed):
                top.start_child(python(SLEEPS, output=tmp_path / "out"))
    assert descriptors(os.getpid()) == before


def test_the_helper_leaves_the_locale_alone(
    top: Supervisor, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    for number, env in enumerate(({}, {"LC_CTYPE": "C.UTF-8"})):
        line = "echo ${LC_CTYPE-unset}"
        limits = {"core": 0}
        top.start_child(
            Program(line, shell=True, limits=limits, env=env, name=f"{number}", restart="temporary")
        ).wait(10)
    assert log.texts() == ["unset", "C.UTF-8"]


def test_a_name_that_is_too_long_is_told(top: Supervisor) -> None:
    for given in ({"cwd": "/" + "a" * 300}, {}):
        with pytest.raises(StartFailed) as caught:
            top.start_child(Program(["/" + "b" * 300], name="it", **given))  # type: ignore[arg-type]
        assert "cannot be run: /" in str(caught.value.__cause__)
        assert "File name too long" in str(caught.value.__cause__)


def _no_room(*_words: object, **_options: object) -> int:
    raise OSError(11, "Resource temporarily unavailable")


def test_a_wrong_env_shows_no_values() -> None:
    for wrong in (["PASSWORD=hunter2"], {"PASSWORD": b"hunter2"}, {"PASS=hunter2": "x"}):
        with pytest.raises(BadValue) as caught:
            Program(["true"], env=wrong)  # type: ignore[arg-type]
        assert "hunter2" not in str(caught.value) or "PASS=" in str(caught.value)


def test_one_with_limits_that_ends_at_once_has_finished_as_without(top: Supervisor) -> None:
    for n in range(10):
        program = top.start_child(
            Program(["true"], name=f"it-{n}", limits={"core": 0}, restart="transient")
        )
        ending = program.wait(10)
        assert ending is not None
        assert ending.is_clean


def test_a_probe_that_is_called_off_leaves_no_command(top: Supervisor, tmp_path: Path) -> None:
    flag = tmp_path / "pid"
    line = f"echo $$ >> {flag}; sleep 1000"
    for delay in (0.0, 0.001, 0.003, 0.01, 0.03):
        probe = Command(["/bin/sh", "-c", line], timeout=20.0)
        program = top.start_child(python(SLEEPS, ready=probe, name=f"it-{delay}"))
        gevent.sleep(delay)
        program.stop()
    pids = flag.read_text().split() if flag.exists() else []
    assert [pid for pid in pids if is_there(int(pid))] == []


def test_many_lines_at_once_are_taken_a_few_at_a_time(top: Supervisor) -> None:
    turns: list[int] = []
    left_out: list[int] = []

    def take(lines: Any) -> None:
        turns.append(len(lines))

    def launch(read: Callable[[], object]) -> None:
        tree_of(top).pool.launch(read)

    output = Output(launch, take, left_out.append, 1000, None)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    output.read("stdout", reading)
    for _ in range(20):
        os.write(writing, b"y\n" * 1000)
        gevent.sleep(0.01)
    os.close(writing)
    until(lambda: output.is_over)
    assert max(turns) <= 100
    assert sum(turns) + sum(left_out) == output.lines == 20_000
    assert output.last[-1] == Written("stdout", "y")


def test_those_who_flood_are_stopped_at_once(top: Supervisor) -> None:
    for n in range(4):
        top.start_child(Program(["yes"], name=f"it-{n}"))
    gevent.sleep(1.5)
    began = time.monotonic()
    for n in range(4):
        top.terminate_child(f"it-{n}")
    assert time.monotonic() - began < 1.5


def test_what_was_read_is_taken_though_nothing_more_is_written(top: Supervisor, log: Log) -> None:
    source = "import os, time; os.write(1, b'one\\n' * 999 + b'last\\n'); time.sleep(1000)"
    top.start_child(python(source))
    until(lambda: log.lines and log.texts()[-1] == "last")
    assert len(log.lines) == 1000


def test_a_named_pipe_that_nobody_reads_holds_nobody(top: Supervisor, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(StartFailed, match="No such device or address"):
        top.start_child(python(SLEEPS, output=path))


def test_it_ends_wherever_its_start_is_cut_off(top: Supervisor) -> None:
    for step in range(40):
        with gevent.Timeout(step * 0.0005, False):  # type: ignore[arg-type]
            limits = {"core": 0} if step % 2 else {}
            top.start_child(python(SLEEPS, settle=10, name=f"it-{step}", limits=limits))
    # What the fixture looks for at the end: processes, descriptors, greenlets.


def test_no_descriptor_is_lost_where_there_are_no_more(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors(os.getpid())
    told: list[str] = []
    pipe2, calls = os.pipe2, [0]

    def refused(flags: int) -> tuple[int, int]:
        calls[0] += 1
        if calls[0] % 4 == 2:
            raise OSError(24, "Too many open files")
        return pipe2(flags)

    monkeypatch.setattr(os, "pipe2", refused)
    for n in range(6):
        try:
            top.start_child(python(SLEEPS, name=f"it-{n}", limits={"core": 0}))
        except StartFailed as failed:
            told.append(str(failed.__cause__))
        else:
            top.terminate_child(f"it-{n}")
    monkeypatch.undo()
    gevent.sleep(0.05)
    assert told
    assert all("raise the limit" in each for each in told)
    assert descriptors(os.getpid()) == before


def test_a_restart_waits_until_what_was_left_is_dead(top: Supervisor, log: Log) -> None:
    line = "trap '' TERM; (echo $$; sleep 1000) & sleep 0.1; kill -9 $$"
    program = top.start_child(
        Program(line, shell=True, name="it", backoff=Backoff(initial=0.01, maximum=0.01))
    )
    first = program.pid
    until(lambda: program.snapshot().restarts >= 1)
    assert [seen for seen in proc.everybody() if seen.session == first and seen.is_alive] == []
    assert log.lines
