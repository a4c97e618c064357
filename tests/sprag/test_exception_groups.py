"""What a group of exceptions means: what is in it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from gevent import GreenletExit

from scripted import states
from sprag import Service, Supervisor
from sprag.exceptions import (
    StartFailed,
)
from sprag_supervisor import Policy
from taking import TAKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock
    from sprag_supervisor.rules.policy import OnFailure


def test_on_failure_looks_into_exception_groups() -> None:
    policy = Policy(on_failure={OSError: "restart", KeyError: "stop", MemoryError: "escalate"})

    def action(*errors: Exception) -> OnFailure | None:
        return policy.action_for(ExceptionGroup("several", errors))

    assert action(ValueError()) is None
    assert action(ConnectionError(), ValueError()) == "restart"
    assert action(ConnectionError(), KeyError()) == "stop"
    assert action(KeyError(), ExceptionGroup("inner", [MemoryError()])) == "escalate"
    named = Policy(on_failure={ExceptionGroup: "stop", Exception: "escalate"})
    assert named.action_for(ExceptionGroup("several", [OSError()])) == "stop"
    assert named.action_for(BaseExceptionGroup("several", [GreenletExit()])) is None
    whole = Policy(on_failure={Exception: "stop", ValueError: "restart"})
    assert whole.action_for(ExceptionGroup("several", [ValueError()])) == "restart"


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", [BaseExceptionGroup("inner", [ValueError(), *errors])])


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("taking", [name for name in TAKING if name != "listen to sprag"])
def test_a_group_that_holds_a_system_exit_asks_the_app_to_stop(
    clock: VirtualClock, log: Any, taking: str
) -> None:
    top = Supervisor(children=[one := Service()])
    top.start()
    TAKING[taking](one, raising(group(SystemExit(7))))
    one.emit("order")
    if taking == "add_cleanup":
        one.stop()
    clock.advance(1.5)
    ending = top.wait(0)
    assert ending is not None
    assert (ending.code, ending.reason.value) == (7, "stopped")
    assert not any(record.getMessage().count("crashed") for record in log.records)


@pytest.mark.parametrize("hook", ["on_start", "run"])
def test_a_hook_that_raises_such_a_group_does_so_too(clock: VirtualClock, hook: str) -> None:
    leaving: Any = type("Leaving", (Service,), {hook: raising(group(SystemExit(7)))})
    top = Supervisor()
    top.start()
    with nullcontext() if hook == "run" else pytest.raises(StartFailed):
        top.adopt(leaving())
    clock.settle()
    ending = top.wait(0)
    assert ending is not None
    assert ending.code == 7


def test_a_group_that_holds_a_keyboard_interrupt_is_the_programs(clock: VirtualClock) -> None:
    interrupted: Any = type("Ctrl", (Service,), {"on_start": raising(group(KeyboardInterrupt()))})
    with Supervisor(children=[one := Service()]) as top:
        with pytest.raises(KeyboardInterrupt):
            top.adopt(interrupted())
        one.spawn(raising(group(KeyboardInterrupt())))
        with pytest.raises(KeyboardInterrupt):
            clock.settle()
        assert states(top) == {"Service": "running"}


@pytest.mark.parametrize(("error", "times"), [(SystemExit(7), 1), (GreenletExit(), 0)])
def test_what_else_was_raised_with_an_exit_is_logged(
    clock: VirtualClock, log: Any, error: BaseException, times: int
) -> None:
    leaving: Any = type("Leaving", (Service,), {"on_start": raising(group(error))})
    with Supervisor() as top, pytest.raises(StartFailed):
        top.adopt(leaving())
    clock.settle()
    said = [each.getMessage() for each in log.records if each.levelname == "ERROR"]
    assert sum("an exit was raised among other exceptions" in each for each in said) == times


def test_a_group_of_kills_is_a_kill(clock: VirtualClock, log: Any) -> None:
    kills = BaseExceptionGroup("killed", [GreenletExit(), GreenletExit()])

    class Body(Service, restart="transient"):
        run = raising(kills)

    with Supervisor(children=[body := Body(), one := Service()]):
        one.spawn(raising(kills))
        clock.settle()
        assert body.snapshot().state.value == "finished"
        assert one.snapshot().restarts == 0
    assert [record for record in log.records if record.levelname == "ERROR"] == []
