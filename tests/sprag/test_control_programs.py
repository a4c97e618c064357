"""What the control plane tells of programs, and the signals that it sends them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from controlled import check
from sprag import Program, Service, Supervisor
from sprag.control import programs, service
from sprag.control.desk import Desk
from sprag.control.http import Refused, Request
from sprag.programs import Line, Port
from sprag.testing import FakeProgram
from sprag_supervisor import clock as clock_of_the_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock


@pytest.fixture
def shop(clock: VirtualClock) -> Iterator[Supervisor]:
    web = FakeProgram("gunicorn --password hunter2 shop:wsgi", port=8000, output_limit=30)
    several = FakeProgram("worker", replicas=2)
    with Supervisor([web, several, Service()], name="shop", max_restarts=10) as top:
        yield top


@pytest.fixture
def desk(shop: Supervisor, caplog: pytest.LogCaptureFixture) -> Iterator[Desk]:
    caplog.set_level(logging.INFO)
    desk = Desk(shop)
    desk.open()
    yield desk
    desk.close()


def web_of(shop: Supervisor) -> FakeProgram:
    web = shop.service("gunicorn")
    assert isinstance(web, FakeProgram)
    return web


def told(desk: Desk, path: str) -> Any:
    answer = json.loads(json.dumps(service.answer(desk, path).body))
    check("service", answer)
    return answer


def test_a_program_tells_how_much_memory_its_control_group_lets_it_have(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int | None] = [None, 4096]

    def limit(_pid: int) -> int | None:
        return limits.pop(0)

    monkeypatch.setattr("sprag.programs.memory_limit.memory_limit", limit)
    assert "memory_limit" not in told(desk, "gunicorn")["process"]
    assert told(desk, "gunicorn")["process"]["memory_limit"] == 4096


def test_a_program_tells_what_it_runs_and_has_written_and_no_secret(
    shop: Supervisor, desk: Desk
) -> None:
    web = web_of(shop)
    web.process.say("ready")
    web.process.say("oops", stream="stderr")
    answer = told(desk, "gunicorn")
    assert answer["process"]["pid"] == web.pid
    assert answer["program"] == {
        "command": "gunicorn --password *** shop:wsgi",
        "port": 8000,
        "output_to": "log",
        "lines": 2,
        "left_out": 0,
        "output": [{"stream": "stdout", "line": "ready"}, {"stream": "stderr", "line": "oops"}],
        "recycling": None,
        "ended": None,
    }
    assert not [each for each in answer["log"] if each["event"] == "output"]
    web.process.say("\n".join(map(str, range(100))))
    program = told(desk, "gunicorn")["program"]
    assert (program["lines"], program["left_out"], len(program["output"])) == (102, 72, 20)


def test_how_the_last_run_has_ended_is_told_in_the_next_life(
    shop: Supervisor, desk: Desk, clock: VirtualClock
) -> None:
    web = web_of(shop)
    web.process.exit(3)
    clock.advance(1)
    ended = told(desk, "gunicorn")["program"]["ended"]
    assert (ended["code"], ended["signal"], ended["incarnation"]) == (3, None, 1)
    assert ended["asked"] is False
    web.process.die("KILL")
    clock.advance(1)
    ended = told(desk, "gunicorn")["program"]["ended"]
    assert (ended["code"], ended["signal"], ended["incarnation"]) == (None, "SIGKILL", 2)
    web.stop()
    answer = told(desk, "gunicorn")
    assert answer["process"] is None
    assert (answer["program"]["ended"]["signal"], answer["program"]["ended"]["asked"]) == (
        "SIGTERM",
        True,
    )


def test_how_often_it_was_recycled_is_told_and_when_it_will_be(clock: VirtualClock) -> None:
    several = FakeProgram("web", name="web", replicas=2, max_lifetime=100, ready=Line("up"))
    with Supervisor([several], name="shop") as shop:
        desk = Desk(shop)
        desk.open()
        group = told(desk, "web")["program"]["recycling"]
        assert group == {"max_lifetime": 100, "times": 0, "next": None, "waits_for": None}
        first = told(desk, "web/1")["program"]["recycling"]
        assert (first["times"], first["waits_for"]) == (0, None)
        assert 89 <= ahead(first["next"]) <= 111
        clock.advance(115)
        both = {name: told(desk, f"web/{name}")["program"]["recycling"] for name in "12"}
        assert sorted(each["times"] for each in both.values()) == [0, 1]
        waiting = next(each for each in both.values() if not each["times"])
        other = next(name for name, each in both.items() if each["times"])
        assert waiting["waits_for"] == f"shop/web/{other}"
        assert ahead(waiting["next"]) < 0
        desk.close()


def ahead(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() - clock_of_the_engine.wall()


def test_who_is_no_program_says_nothing_of_one(desk: Desk) -> None:
    assert told(desk, "Service")["program"] is None
    group = told(desk, "worker")
    assert group["process"] is None
    assert group["program"]["output"] == []


def post(desk: Desk, path: str, by: int = 1000, **query: str) -> Any:
    request = Request("POST", f"/v1/signal/{path}", query, by)
    answer = programs.send(desk, request, path, None).body
    check("signal", answer)
    return answer


@pytest.mark.parametrize("name", ["HUP", "SIGHUP", "1"])
def test_a_signal_reaches_the_process(shop: Supervisor, desk: Desk, name: str) -> None:
    web = web_of(shop)
    process = web.process
    process.deaf = True
    answer = post(desk, "gunicorn", signal=name)
    assert (answer["signal"], answer["process_pid"]) == ("SIGHUP", process.pid)
    assert [each.name for each in process.signals] == ["SIGHUP"]
    (line,) = desk.ring.lines_of("shop/gunicorn", 1)
    assert (line.event, line.fields["signal"], line.fields["by"]) == (
        "a signal was sent to a program",
        "SIGHUP",
        "1000",
    )
    process.deaf = False


@pytest.mark.parametrize(
    ("asked", "refusal", "said"),
    [
        ("Service HUP", "409 NoProgram", "shop/Service is no program"),
        ("worker HUP", "409 NotRunning", "shop/worker/1, …"),
        ("gunicorn HUPP", "400 BadValue", "HUP"),
        ("gunicorn", "400 BadValue", "signal"),
        ("gunicorn 0", "400 BadValue", "signal"),
        ("gunicorn KILL", "400 NeedsForce", "add force=1"),
        ("gunicorn 19", "400 NeedsForce", "add force=1"),
        ("nope HUP", "404 UnknownService", "no service 'nope'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    desk: Desk, asked: str, refusal: str, said: str
) -> None:
    path, _, number = asked.partition(" ")
    with pytest.raises(Refused) as refused:
        post(desk, path, signal=number, force="0")
    assert f"{refused.value.status:d} {refused.value.name}" == refusal
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_that_is_down_has_no_process_and_force_kills_one_that_is_up(
    shop: Supervisor, desk: Desk, clock: VirtualClock
) -> None:
    web = web_of(shop)
    post(desk, "gunicorn", signal="KILL", force="1")
    clock.advance(1)
    assert web.snapshot().restarts == 1
    assert "was killed by SIGKILL" in str(web.snapshot().failures[-1])
    web.stop()
    with pytest.raises(Refused, match="has no process now: start it first") as refused:
        post(desk, "gunicorn", signal="HUP")
    assert refused.value.name == "NotRunning"


class Own(FakeProgram):
    """Calls all of ours by other meanings."""

    send_signal = None  # type: ignore[assignment]
    pid: Any = None  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]


def test_names_of_the_users_hide_nothing_from_sprag(clock: VirtualClock) -> None:
    with Supervisor([Own("cat", name="it", ready=Port(80))], name="shop") as top:
        desk = Desk(top)
        it: Any = top.service("it")
        it.process.deaf = True
        assert post(desk, "it", signal="USR1")["process_pid"] == it.process.pid
        assert told(desk, "it")["program"]["command"] == "cat"
        it.process.deaf = False


def test_who_runs_no_programs_loads_none() -> None:
    source = (
        "import sys; from sprag import Service, Supervisor; from sprag.control.desk import Desk;"
        "from sprag.control import service; top = Supervisor([Service()], name='top');"
        "top.start(); print(service.answer(Desk(top), 'top').body['program'],"
        "[name for name in sys.modules if name.startswith('sprag.programs')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout == "None []\n"
    assert Program is not None
