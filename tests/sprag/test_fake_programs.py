"""Programs in virtual time: a fake process does what the test says, and all else is real."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from sprag import App, Backoff, Program, Service, StartFailed, State, Supervisor
from sprag.exceptions import BadPolicy, BadValue
from sprag.programs import Command, Http, Line, Notify, Port
from sprag.programs.exceptions import CannotRun
from sprag.testing import FakeProgram, fake_programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sprag.testing import VirtualClock


@pytest.fixture
def top(clock: VirtualClock) -> Iterator[Supervisor]:
    with Supervisor(name="top") as top:
        yield top
        clock.settle()


def test_a_real_program_is_refused_in_virtual_time(top: Supervisor) -> None:
    with pytest.raises(StartFailed) as caught:
        top.start_child(Program("true"))
    assert isinstance(caught.value.__cause__, CannotRun)
    assert "FakeProgram" in str(caught.value)


def test_it_crashes_waits_and_comes_back(top: Supervisor, clock: VirtualClock) -> None:
    web = top.start_child(FakeProgram("gunicorn shop:wsgi", backoff=Backoff(10, jitter=0)))
    first = web.process
    assert first.command == ("gunicorn", "shop:wsgi")
    first.say("cannot bind")
    first.exit(3)
    clock.advance(5)
    assert web.snapshot().state is State.RESTARTING
    failure = web.snapshot().failures[-1]
    assert "gunicorn" in failure.message
    assert "cannot bind" in failure.format()
    clock.advance(6)
    assert web.process is not first
    web.process.die("SEGV")
    clock.settle()
    assert "was killed by SIGSEGV" in web.snapshot().failures[-1].message


def test_what_needs_it_waits_until_it_is_ready(clock: VirtualClock) -> None:
    class Feeder(Service):
        pass

    db = FakeProgram("postgres", name="db", ready=Line("ready to accept"))
    with Supervisor([db, (Feeder(), {"needs": ("db",), "name": "feeder"})], name="top") as top:
        feeder = top.service("top/feeder")
        clock.advance(3)
        assert feeder.snapshot().waits_for == ("db",)
        db.process.say("database system is ready to accept connections")
        clock.settle()
        assert feeder.snapshot().state is State.RUNNING


def test_a_deaf_one_is_killed_before_its_time_is_over(top: Supervisor, clock: VirtualClock) -> None:
    web = top.start_child(FakeProgram("web", shutdown=10.0, stop_signal="INT"))
    process = web.process
    process.deaf = True
    began = clock.now
    report = web.stop()
    assert process.signals == [signal.SIGINT, signal.SIGKILL]
    assert clock.now - began == pytest.approx(9.5)
    assert report.killed == 1


def test_probes_see_what_the_test_says(top: Supervisor, clock: VirtualClock) -> None:
    web = top.start_child(
        FakeProgram("web", port=8000, ready=Port(), alive=Http("/", every=1.0, failures=2))
    )
    clock.advance(0.1)
    assert web.snapshot().is_ready
    web.process.complaint = "503"
    clock.advance(1.5)
    assert web.snapshot().restarts == 0
    clock.advance(1)
    assert web.snapshot().restarts == 1
    assert web.snapshot().unready == "503"


def test_it_may_say_itself_how_it_is(top: Supervisor, clock: VirtualClock) -> None:
    web = top.start_child(FakeProgram("web", ready=Notify(watchdog=10)))
    web.process.notify(STATUS="warming up", READY="1")
    assert web.snapshot().is_ready
    assert web.snapshot().status == "warming up"
    for _ in range(4):
        clock.advance(8)
        web.process.notify(WATCHDOG="1")
    assert web.snapshot().restarts == 0
    clock.advance(14)
    assert web.snapshot().restarts == 1


def test_success_finishes_a_transient_one_and_a_fatal_code_fails_it(
    top: Supervisor, clock: VirtualClock
) -> None:
    done = top.start_child(FakeProgram("job", name="job", restart="transient"))
    done.process.exit(0)
    fatal = top.start_child(FakeProgram("bad", name="bad", fatal_codes={78}))
    fatal.process.exit(78)
    clock.settle()
    assert done.snapshot().state is State.FINISHED
    assert fatal.snapshot().state is State.FAILED


def test_a_whole_app_runs_on_fakes_and_providers_may_have_a_policy(clock: VirtualClock) -> None:
    app = App(
        name="shop",
        providers={
            "db": Program("postgres", ready=Line("ready")),
            "web": (Program("gunicorn", replicas=2, env={"N": "{replica}"}), {"needs": ()}),
        },
    )
    with fake_programs() as programs, app:
        assert programs["shop/web/2"].env["N"] == "2"
        assert app.not_ready().keys() == {"shop/db"}
        programs["shop/db"].say("ready")
        clock.settle()
        assert app.not_ready() == {}
        with pytest.raises(KeyError, match="shop/db"):
            programs["shop/nothing"]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"command": []}, BadValue, "a command"),
        ({"command": "a 'b"}, BadValue, "No closing quotation"),
        ({"command": ["a", 3]}, BadValue, "a command"),
        ({"command": ["a"], "shell": True}, BadValue, "one line of text"),
        ({"command": "a", "shell": 1}, BadValue, "True or False"),
        ({"command": "a", "env": {"A": 1}}, BadValue, "str values"),
        ({"command": "a", "env": [1]}, BadValue, "variables by their names"),
        ({"command": "a", "port": 0}, BadValue, "1 to 65535"),
        ({"command": "a", "ready": 8000}, BadValue, "Port"),
        ({"command": "a", "alive": Line("x")}, BadValue, "Command"),
        ({"command": "a", "ready": Port()}, BadValue, "port=…"),
        ({"command": "a", "alive": Http("/")}, BadValue, "port=…"),
        ({"command": "a", "settle": -1}, BadValue, "0 or more"),
        ({"command": "a", "success_codes": 0}, BadValue, "exit codes"),
        ({"command": "a", "success_codes": {256}}, BadValue, "0 to 255"),
        ({"command": "a", "fatal_codes": {0}}, BadValue, "success_codes"),
        ({"command": "a", "stop_signal": "TREM"}, BadValue, "did you mean 'TERM'"),
        ({"command": "a", "kill": "grup"}, BadValue, "did you mean 'group'"),
        ({"command": "a", "output": 3}, BadValue, "'log', 'inherit'"),
        ({"command": "a", "output": "inherit", "ready": Line("x")}, BadPolicy, "'log' or a path"),
        ({"command": "a", "output_limit": 0}, BadValue, "1 or more"),
        ({"command": "a", "umask": 0o7777}, BadValue, "0o777"),
        ({"command": "a", "limits": {"nofiles": 1}}, BadValue, "did you mean 'nofile'"),
        ({"command": "a", "limits": {"nofile": (1, 2, 3)}}, BadValue, "(soft, hard)"),
        ({"command": "a", "replicas": 0}, BadValue, "1 or more"),
        ({"command": "a", "restarts": 1}, BadPolicy, "did you mean 'restart'"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_accepted(
    given: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        Program(**given)
    assert said in str(caught.value)


def test_several_words_are_given_as_one_list() -> None:
    with pytest.raises(BadValue, match="one list of words"):
        Program("nginx", "-g")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Line("("), "a regular expression"),
        (lambda: Http("https://host/"), "http://host:port/path"),
        (lambda: Http("/", timeout=0), "0.001 or more"),
        (lambda: Port(70_000), "65535"),
        (lambda: Port(1, failures=0), "1 or more"),
        (lambda: Notify(watchdog=0), "0.001 or more"),
        (lambda: Command([]), "a command"),
    ],
)
def test_wrong_probes_are_refused(make: Any, said: str) -> None:
    with pytest.raises(BadValue) as caught:
        make()
    assert said in str(caught.value)


def test_a_value_of_the_environment_is_in_no_error() -> None:
    with pytest.raises(BadValue) as caught:
        Program("a", env={"TOKEN": b"hunter2"})  # type: ignore[dict-item]
    assert "hunter2" not in str(caught.value)


def test_a_fake_says_and_ends_as_it_may(top: Supervisor) -> None:
    web = FakeProgram("web")
    with pytest.raises(BadValue, match="has started"):
        _ = web.process
    top.start_child(web)
    with pytest.raises(BadValue, match="0 to 255"):
        web.process.exit(256)
    with pytest.raises(BadValue, match="stdout"):
        web.process.say("x", "stdin")  # type: ignore[arg-type]


def test_what_a_subclass_makes_up_is_checked_as_what_is_given(top: Supervisor) -> None:
    class Own(FakeProgram):
        made: Any = "echo one two"
        variables: Any = None

        def command(self) -> Any:
            return self.made

        def environment(self) -> Any:
            return self.variables

    assert top.start_child(Own()).process.command == ("echo", "one", "two")
    one = top.start_child(Own("x", shell=True, name="shell"))
    assert one.process.command == ("/bin/sh", "-c", "echo one two")
    wrong: list[Any] = [("a", [], {}), ("b", 3, {}), ("c", "x", [1]), ("d", "x", {"A": 1})]
    for name, made, variables in wrong:
        Own.made, Own.variables = made, variables
        with pytest.raises(StartFailed, match=r"what (command|environment)\(\) returns"):
            top.start_child(Own(name=name))


def test_replicas_start_and_stop_side_by_side(top: Supervisor, clock: VirtualClock) -> None:
    began = clock.now
    group = top.start_child(FakeProgram("web", replicas=4, settle=2.0))
    assert clock.now - began == pytest.approx(2.0)
    assert [child.class_name for child in group.snapshot().children] == ["Replica"] * 4
    assert group.snapshot().is_ready
    group.scale(5)
    assert len(group.snapshot().children) == 5
