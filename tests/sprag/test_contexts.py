"""The hooks and clean-ups of one life share one context; what runs beside them gets a copy."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import GreenletExit

from sprag import App, Service, State, Supervisor, current_service
from sprag_supervisor import Outcome

if TYPE_CHECKING:
    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock")

var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")


class Sets(Service):
    """Sets the variable in `on_start` and notes what others see of it."""

    def __init__(self, seen: dict[str, str]) -> None:
        self.seen = seen

    def on_start(self) -> None:
        self.token = var.set("on_start")
        self.add_cleanup(self.look, "clean-up")

    def look(self, where: str) -> None:
        assert current_service() is self
        self.seen[where] = var.get()


def test_all_later_hooks_and_clean_ups_see_what_on_start_has_set(clock: VirtualClock) -> None:
    seen: dict[str, str] = {}

    class Service_(Sets):
        def on_ready(self) -> None:
            self.look("on_ready")

        def run(self) -> None:
            self.look("run")
            gevent.sleep(1e6)

        def on_drain(self) -> None:
            self.look("on_drain")

        def on_stop(self) -> None:
            self.look("on_stop")

    with Supervisor(children=[Service_(seen)]):
        clock.settle()
    hooks = ("on_ready", "run", "on_drain", "on_stop", "clean-up")
    assert seen == dict.fromkeys(hooks, "on_start")
    assert var.get() == "unset"


def test_a_token_of_on_start_may_be_reset_in_on_stop(clock: VirtualClock) -> None:
    seen: dict[str, str] = {}

    class Resets(Sets):
        def on_drain(self) -> None:
            self.drained = var.set("on_drain")

        def on_stop(self) -> None:
            self.look("on_stop")
            var.reset(self.drained)
            self.look("reset")
            var.reset(self.token)

    top = Supervisor(children=[Resets(seen)])
    top.start()
    report = top.stop()
    assert report.is_clean, report
    assert seen == {"on_stop": "on_drain", "reset": "on_start", "clean-up": "unset"}


def test_a_token_of_on_start_may_be_reset_in_a_clean_up_of_a_start_that_fails() -> None:
    done: list[str] = []

    class Fails(Service):
        def on_start(self) -> None:
            self.token = var.set("on_start")
            self.add_cleanup(self.clean)
            raise ValueError

        def clean(self) -> None:
            var.reset(self.token)
            done.append(var.get())

    with Supervisor() as top, pytest.raises(Exception, match="Fails"):
        top.start_child(Fails())
    assert done == ["unset"]


def test_a_clean_up_that_is_added_later_sees_what_on_start_has_set(clock: VirtualClock) -> None:
    seen: dict[str, str] = {}

    class Later(Service):
        def on_start(self) -> None:
            var.set("on_start")
            self.timeout(lambda: self.add_cleanup(self.look), 1)

        def look(self) -> None:
            seen["clean-up"] = var.get()

    with Supervisor(children=[Later()]):
        clock.advance(1)
    assert seen == {"clean-up": "on_start"}


@pytest.mark.parametrize("how", ["run", "spawn", "timeout", "interval", "on_ready"])
def test_what_runs_beside_the_hooks_gets_a_copy(clock: VirtualClock, how: str) -> None:
    seen: dict[str, str] = {}

    class Beside(Sets):
        def on_start(self) -> None:
            super().on_start()
            if how == "spawn":
                self.spawn(self.other)
            elif how in ("timeout", "interval"):
                getattr(self, how)(self.other, 1)

        def other(self) -> None:
            self.look(how)
            var.set(how)

        def on_stop(self) -> None:
            self.look("on_stop")

    class Runs(Beside):
        def run(self) -> None:
            self.other()
            gevent.sleep(1e6)

    class Ready(Beside):
        on_ready = Beside.other

    cls: type[Beside] = {"run": Runs, "on_ready": Ready}.get(how, Beside)
    with Supervisor(children=[cls(seen)]):
        clock.advance(1)
    assert seen[how] == "on_start"
    assert seen["on_stop"] == "on_start"


def test_two_that_emit_at_once_keep_each_its_own_current_service(clock: VirtualClock) -> None:
    """A hook and `on_ready`, each in the midst of emitting: they have seats apart."""
    seen: list[tuple[str, Service | None]] = []

    class Blocks(Service):
        def on_start(self) -> None:
            self.listen("event", lambda seconds: gevent.sleep(seconds))

    class Emits(Service, shutdown=60.0):
        def on_start(self) -> None:
            var.set("x")

        def on_ready(self) -> None:
            self.emit("event", 5)
            seen.append(("on_ready", current_service()))

        def on_drain(self) -> None:
            gevent.sleep(1)
            self.emit("event", 2)
            seen.append(("on_drain", current_service()))
            gevent.sleep(5)

    emits = Emits()
    with Supervisor(children=[Blocks(), emits]):
        clock.advance(1)
    assert seen == [("on_drain", emits), ("on_ready", emits)]


def test_a_restart_gets_a_fresh_context(clock: VirtualClock) -> None:
    seen: list[str] = []

    class Restarted(Service):
        def on_start(self) -> None:
            seen.append(var.get())
            var.set(f"life {self._incarnation_}")

        def on_stop(self) -> None:
            seen.append(var.get())

        def fail(self) -> None:
            raise ValueError

    service = Restarted()
    var.set("outside")
    try:
        with Supervisor(children=[service]):
            service.spawn(service.fail)
            clock.settle()
    finally:
        var.set("unset")
    assert seen == ["outside", "life 1", "unset", "life 2"]


def test_a_service_without_on_start_says_goodbye_in_what_its_starter_saw() -> None:
    seen: list[str] = []

    class OnlyStops(Service):
        def on_drain(self) -> None:
            seen.append(var.get())
            self.token = var.set("on_drain")

        def on_stop(self) -> None:
            seen.append(var.get())
            var.reset(self.token)

    var.set("outside")
    try:
        with Supervisor() as top:
            top.start_child(OnlyStops())
            var.set("later")
    finally:
        var.set("unset")
    assert seen == ["outside", "on_drain"]


def swallows(seconds: float) -> None:
    """Wait, whatever is thrown."""
    until = gevent.get_hub().loop.now() + seconds
    while gevent.get_hub().loop.now() < until:
        try:
            gevent.sleep(until - gevent.get_hub().loop.now())
        except GreenletExit:
            continue


@pytest.mark.parametrize("hook", ["on_start", "on_drain", "on_stop"])
def test_after_a_straggler_the_life_goes_on_in_a_copy(clock: VirtualClock, hook: str) -> None:
    seen: dict[str, Any] = {}

    class Stubborn(Service, shutdown=1.0, start_timeout=1.0):
        def on_start(self) -> None:
            var.set("on_start")
            self.add_cleanup(self.clean)
            self.wait_in("on_start")

        def on_drain(self) -> None:
            self.wait_in("on_drain")

        def on_stop(self) -> None:
            seen["on_stop"] = var.get()
            self.wait_in("on_stop")

        def wait_in(self, here: str) -> None:
            if here == hook:
                swallows(60)
                seen["straggler"] = var.get(), current_service()
                var.set("straggler")

        def clean(self) -> None:
            seen["clean-up"] = var.get(), current_service()
            var.set("clean-up")

    service = Stubborn()
    top = Supervisor()
    top.start()
    try:
        top.start_child(service)
    except Exception:  # noqa: BLE001 - where on_start is stubborn
        assert hook == "on_start"
    report = service.stop() if hook != "on_start" else None
    clock.advance(120)
    assert seen["clean-up"] == ("on_start", service)
    assert seen["straggler"] == ("on_start", service), "what the clean-up has set is not seen there"
    assert report is None or report.entries[0].outcome is Outcome.STRAGGLER
    top.stop()


def test_what_a_hook_sets_is_not_seen_by_another_service(clock: VirtualClock) -> None:
    seen: list[str] = []

    class Looks(Service):
        def on_start(self) -> None:
            seen.append(var.get())

    class Adopts(Service):
        def on_start(self) -> None:
            var.set("adopts")
            self.adopt(Looks())  # a call, so it sees what its caller does

    with App(providers={"one": Sets({}), "two": Looks(), "three": Adopts()}) as app:
        assert app._state_ is State.RUNNING
    assert seen == ["unset", "adopts"]


def test_a_listener_sees_the_variables_of_its_emitter_as_a_call_does(clock: VirtualClock) -> None:
    seen: list[tuple[str, object]] = []

    class Listens(Service):
        def on_start(self) -> None:
            var.set("listener's")
            self.listen("event", lambda _data: seen.append((var.get(), current_service())))

    class Emits(Service):
        def on_start(self) -> None:
            var.set("emitter's")

        def on_ready(self) -> None:
            self.emit("event")

    listens = Listens()
    with App(providers={"listens": listens, "emits": Emits()}):
        clock.settle()
    assert seen == [("emitter's", listens)]


def test_a_hook_may_call_a_function_in_a_copy_of_its_context(clock: VirtualClock) -> None:
    """Nothing enters the shared context, so a hook that is entered twice does not raise."""
    seen: list[str] = []

    class Enters(Sets):
        def on_start(self) -> None:
            super().on_start()
            self.context = contextvars.copy_context()

        def on_stop(self) -> None:
            self.context.run(lambda: seen.append(var.get()))

    with Supervisor(children=[Enters({})]):
        pass
    assert seen == ["on_start"]
