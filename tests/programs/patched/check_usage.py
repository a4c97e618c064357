"""What programs use is measured, with all that they have started."""

from __future__ import annotations

import os
import resource
import sys
from typing import TYPE_CHECKING, Any

import gevent

from controlled import check
from programmed import Log, python, until
from sprag.control import service
from sprag.control import top as top_of
from sprag.control.desk import Desk
from sprag.control.http import Request
from sprag.control.usage import uses_of

if TYPE_CHECKING:
    import pytest

    from sprag import Supervisor

BURNS = "print('up', flush=True)\nwhile True: pass"
STARTS = (
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(1000)'])\n"
    "print('up', flush=True)\ntime.sleep(1000)"
)


def told(desk: Desk, sort: str) -> dict[str, Any]:
    request = Request("GET", "/v1/top", {"seconds": "0.3", "sort": sort})
    answer: Any = top_of.answer(desk, request).body
    check("top", answer)
    return {row["name"]: row["process"] for row in answer["services"]}


def test_cpu_memory_and_descriptors_of_each_are_told(top: Supervisor, log: Log) -> None:
    top.start_child(python(BURNS, name="burns"))
    top.start_child(python(STARTS, name="starts"))
    until(lambda: log.texts() == ["up", "up"])
    desk = Desk(top)
    rows = told(desk, "cpu")
    assert next(iter(rows)) == "burns"
    assert rows["top"] is None
    assert rows["burns"]["cpu"] > 0.1
    assert rows["burns"]["processes"] == 1
    assert rows["burns"]["descriptors"] >= 3
    assert rows["burns"]["threads"] == 1
    assert rows["starts"]["cpu"] < rows["burns"]["cpu"]
    assert rows["starts"]["processes"] == rows["starts"]["threads"] == 2
    assert rows["starts"]["rss"] > rows["burns"]["rss"]
    assert next(iter(told(desk, "rss"))) == "starts"
    answer: Any = service.answer(desk, "starts").body
    check("service", answer)
    assert answer["process"]["processes"] == 2
    assert answer["process"]["descriptors_limit"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_without_psutil_there_is_the_pid(top: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    program = top.start_child(python(STARTS))
    monkeypatch.setitem(sys.modules, "psutil", None)
    desk = Desk(top)
    assert told(desk, "cpu")["it"] == {"pid": program.pid}
    answer: Any = service.answer(desk, "it").body
    check("service", answer)
    assert answer["process"] == {"pid": program.pid}


def test_who_has_ended_meanwhile_uses_nothing(top: Supervisor) -> None:
    program = top.start_child(python("import time; time.sleep(1000)"))
    pid = program.pid
    assert pid is not None
    assert list(uses_of([pid])) == [pid]
    program.stop()
    gevent.sleep(0)
    assert uses_of([pid]) == {}
    assert uses_of([]) == {}
    assert os.getpid() not in uses_of([pid])
