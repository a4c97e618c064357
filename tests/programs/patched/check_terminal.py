"""A program with ``pty=True`` writes to a terminal of its own."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from programmed import Log, python, until
from sprag import Program, StartFailed, Supervisor
from sprag.exceptions import BadPolicy, BadValue
from sprag.programs import Line
from sprag.programs.lines import as_on_terminal

if TYPE_CHECKING:
    from pathlib import Path

SHOWS = """
import json, os
def opens():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError as error:
        return error.errno
    return 0
print(json.dumps({
    "terminals": [os.isatty(each) for each in range(3)],
    "size": list(os.get_terminal_size(1)),
    "TERM": os.environ.get("TERM"),
    "controlling": opens(),
}))
"""
NO_SUCH_DEVICE = 6
COLOURS = r"""
import sys, time
print("\033[1;32mgreen\033[0m and \033]0;a title\007more")
print("10 %\r20 %\rdone")
sys.stderr.write("told\n")
"""


def test_its_output_is_a_terminal_and_its_input_is_none(
    top: Supervisor, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    top.start_child(python(SHOWS, pty=True, restart="temporary")).wait(10)
    (line,) = log.texts()
    told = json.loads(line)
    assert told["terminals"] == [False, True, True]
    assert told["TERM"] == "xterm-256color"
    assert told["controlling"] == NO_SUCH_DEVICE
    assert all(number > 0 for number in told["size"])


def test_a_term_of_ours_or_its_own_is_kept(
    top: Supervisor, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "linux")
    top.start_child(python(SHOWS, pty=True, restart="temporary")).wait(10)
    own = python(SHOWS, pty=True, restart="temporary", name="own", env={"TERM": "vt100"})
    top.start_child(own).wait(10)
    assert [json.loads(line)["TERM"] for line in log.texts()] == ["linux", "vt100"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose")
def test_the_terminal_is_that_of_its_user(top: Supervisor, log: Log) -> None:
    words = "stat -L -c %u /proc/self/fd/1"
    program = Program(words, name="it", pty=True, restart="temporary", user=65534)
    top.start_child(program).wait(10)
    assert log.texts() == ["65534"]


def test_colours_are_taken_out_of_the_log_and_of_what_is_written_over_the_last_stays(
    top: Supervisor, log: Log
) -> None:
    top.start_child(python(COLOURS, pty=True, restart="temporary")).wait(10)
    assert log.lines == [
        ("top/it", "stdout", "green and more"),
        ("top/it", "stdout", "done"),
        ("top/it", "stdout", "told"),
    ]


def test_into_a_file_they_go_as_they_are(top: Supervisor, tmp_path: Path) -> None:
    path = tmp_path / "out"
    program = python(COLOURS, pty=True, restart="temporary", output=path)
    top.start_child(program).wait(10)
    wanted = "\033[1;32mgreen\033[0m and \033]0;a title\007more\n10 %\r20 %\rdone\ntold\n"
    assert path.read_bytes() == wanted.encode()
    assert program._run_ is not None
    assert [each.text for each in program._run_.output.last] == ["green and more", "done", "told"]


def test_it_writes_line_by_line(top: Supervisor, log: Log) -> None:
    source = "import time; print('up'); time.sleep(1000)"
    program = python(source, pty=True, env={"PYTHONUNBUFFERED": ""}, ready=Line("^up$"))
    top.start_child(program)
    until(lambda: program.snapshot().is_ready)
    assert log.texts() == ["up"]


def test_all_is_read_to_its_end(top: Supervisor, tmp_path: Path) -> None:
    path = tmp_path / "out"
    source = "for n in range(50_000): print(n)"
    program = python(source, pty=True, restart="temporary", output=path)
    ending = top.start_child(program).wait(20)
    assert ending is not None
    assert ending.is_clean
    assert path.read_text() == "".join(f"{n}\n" for n in range(50_000))


def test_a_terminal_that_somebody_else_holds_delays_nobody(top: Supervisor, log: Log) -> None:
    line = "echo up; setsid sleep 3 & exit 0"
    program = Program(line, shell=True, name="it", pty=True, restart="temporary")
    began = time.monotonic()
    top.start_child(program).wait(10)
    assert time.monotonic() - began < 2.5
    assert log.texts() == ["up"]


def test_one_that_floods_its_terminal_is_stopped_at_once(top: Supervisor) -> None:
    top.start_child(Program(["yes"], name="it", pty=True))
    until(lambda: True)
    began = time.monotonic()
    top.terminate_child("it")
    assert time.monotonic() - began < 2


def test_where_there_are_no_more_terminals_a_start_fails(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> tuple[int, int]:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "openpty", refused)
        with pytest.raises(StartFailed, match="cannot be run"):
            top.start_child(python("pass", pty=True))


@pytest.mark.parametrize("limits", [{}, {"core": 0}])
def test_one_that_cannot_be_executed_leaves_no_terminal(
    top: Supervisor, tmp_path: Path, limits: dict[str, int]
) -> None:
    path = tmp_path / "nothing"
    path.write_text("nothing")
    path.chmod(0o755)
    with pytest.raises(StartFailed, match="Exec format error"):
        top.start_child(Program([str(path)], name="it", pty=True, limits=limits))
    # What the fixture looks for at the end: descriptors.


def test_what_is_not_read_has_no_terminal() -> None:
    with pytest.raises(BadPolicy, match="pty=True"):
        Program(["true"], pty=True, output="inherit")
    with pytest.raises(BadValue, match="pty"):
        Program(["true"], pty="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"plain", "plain"),
        (b"\x1b[1;31mred\x1b[m", "red"),
        (b"\x1b[38;5;12mblue\x1b[K", "blue"),
        (b"\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b(Bdrawn\x1b7\x1b8", "drawn"),
        (b"1\r2\r3\r", "3"),
        (b"a\x1b", "a\\x1b"),
        (b"a\x1b[31", "a31"),
        (b"\x1b]0;never ended", "0;never ended"),
        (b"\xff\x00", "\\xff\\x00"),
        (b"", ""),
    ],
)
def test_a_line_reads_as_on_a_terminal(written: bytes, shown: str) -> None:
    assert as_on_terminal(written) == shown


def test_a_hostile_line_takes_no_time() -> None:
    began = time.process_time()
    for piece in (b"\x1b[", b"\x1b]", b"\x1b[0", b"\x1b]x\r", b"\x1b[;", b"\x1b( "):
        as_on_terminal(piece * 2000)
        as_on_terminal(piece + b"0" * 4000)
    assert time.process_time() - began < 1
