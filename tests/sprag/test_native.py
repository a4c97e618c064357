"""Where the system gives no more threads: it is said, and nothing is left half done."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from processes import app, run
from sprag import _native
from sprag._exit_codes import ExitCode
from sprag.cluster import boottime
from sprag.control.loop_watch import LoopWatch
from sprag.control.sampler import Sampler
from sprag.exceptions import NoThread
from sprag.process.deadline import Deadline
from sprag.process.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

WATCHES: list[Callable[[], Callable[[], AbstractContextManager[object]]]] = [
    lambda: Sampler().watching,
    lambda: LoopWatch().watching,
    lambda: lambda: Watchdog(1.0),
]


def none_left(*_: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("make", WATCHES, ids=["sampler", "loop", "watchdog"])
def test_who_watches_says_so_leaves_nothing_and_can_watch_later(
    make: Callable[[], Callable[[], AbstractContextManager[object]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watching, before = make(), sys.getswitchinterval()
    with monkeypatch.context() as patched:
        patched.setattr(_native, "_start_new_thread", none_left)
        with pytest.raises(NoThread, match=r"pids\.max"), watching():
            pass
    assert sys.getswitchinterval() == before
    started: list[object] = []

    def start(body: object, _given: object) -> None:
        started.append(body)

    monkeypatch.setattr(_native, "_start_new_thread", start)
    with watching():
        assert len(started) == 1
    assert sys.getswitchinterval() == before


def test_a_lease_that_nobody_would_end_is_refused_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_native, "_start_new_thread", none_left)
    deadline = Deadline(lambda: "nothing")
    try:
        for _ in range(2):
            with pytest.raises(NoThread):
                deadline.set(boottime.now() + 60, boottime.now() + 60)
    finally:
        deadline.close()


@pytest.mark.slow
def test_an_app_that_can_have_no_thread_is_refused_in_one_line(tmp_path: Path) -> None:
    source = """
    from sprag import _native

    def none_left(*_):
        raise RuntimeError("can't start new thread")

    _native._start_new_thread = none_left
    app = App()
    """
    app(tmp_path, source)
    with run(tmp_path) as process:
        assert process.ends() == ExitCode.NEVER_CAME_UP
        (line,) = process.err.splitlines()
    assert line.startswith("sprag: no native thread can be started: can't start new thread — ")
