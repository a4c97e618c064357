"""Exceptions that cannot be looked at: each is one crash, wherever it arises, and harms nobody.

What they are is told as well as can be, and no code of theirs decides what becomes of them.
"""

from __future__ import annotations

import io
import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from foreign import ASKED_BY_GREENLET, ERRORS, EXITS, tellable
from scripted import states
from sprag import Service, StartFailed, Supervisor, own_greenlets
from sprag.control.pictures import encode, to_json
from sprag.control.why import _told
from sprag.process.dump import dump
from sprag_supervisor import pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sprag.testing import VirtualClock

_MOST = 2


bare: Any = gevent.spawn


class Victim(Service):
    """Raises *error* at *place*, once it is told to, in each of its lives."""

    def __init__(self, place: str, make: Callable[[], BaseException]) -> None:
        self.place, self.make = place, make

    def fail(self, *_args: object) -> None:
        error = self.make()
        raise error

    def on_start(self) -> None:
        if self.place == "on_start" and self._incarnation_ > 1:
            self.fail()
        if self.place in ("on_start", "greenlet"):
            self.timeout(self.spawn, 1.0, self.fail)
        elif self.place == "timer":
            self.timeout(self.fail, 1.0)
        elif self.place == "bare":
            self.timeout(bare, 1.0, self.fail)
        elif self.place == "listener":
            self.listen("tick", self.fail)
        elif self.place == "lifecycle":
            self.listen("sprag:stopped", self.fail)
        elif self.place == "thread":
            self.timeout(lambda: self.call_from_thread(self.fail), 1.0)
        elif self.place == "generator":
            self.timeout(self._deep, 1.0)

    def _deep(self) -> None:
        try:
            self.fail()
        except BaseException as error:
            raise ValueError("outer") from error

    def run(self) -> None:
        gevent.sleep(1.0)
        if self.place == "run":
            self.fail()
        gevent.sleep(1e9)


PLACES = (
    *("on_start", "greenlet", "timer", "bare", "listener", "lifecycle", "thread", "run"),
    "generator",
)


@contextmanager
def written() -> Generator[io.StringIO]:
    """Return what a plain handler of logging writes about sprag."""
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("sprag")
    logger.addHandler(handler)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ERRORS)
@tellable
def test_an_exception_that_cannot_be_looked_at_is_one_crash(
    clock: VirtualClock, capfd: pytest.CaptureFixture[str], kind: str, place: str
) -> None:
    victim, bystander = Victim(place, ERRORS[kind]), Service()
    top = Supervisor(children=[victim, bystander], max_restarts=_MOST, max_seconds=1e6)
    with written() as log, own_greenlets():
        top.start()
        tree = top._tree_
        assert tree is not None
        for life in range(_MOST + 1):
            assert states(top)["Victim"] == "running", life
            assert victim.snapshot().restarts == life
            clock.advance(0.4)
            if place == "listener":
                assert top.emit("tick") == 1  # and the emitter hears nothing of it
            if place == "lifecycle":
                bystander.stop()
                bystander.start()
            clock.advance(0.8)
            if place == "on_start":
                break  # its restarts fail, one after the other
            if life < _MOST:
                told = to_json(top.snapshot())
                assert json.loads(json.dumps(told))["children"][0]["last_failure"]["type"]
                assert json.loads("".join(encode(pictures(top)))) == told
                assert "Victim" in dump(top)
        clock.advance(5.0)
        assert top.snapshot().state.value == "failed"
        ended = top.wait(0)
        assert ended is not None
        assert ended.reason.value == "gave_up"
        assert ended.failure is not None
        assert "Traceback" in ended.failure.format()
        repr(ended.failure)
        rulings = [one for one in tree.ledger if one.concerns("Supervisor/Victim")]
        assert json.loads(json.dumps([_told(each, "") for each in rulings]))
    text = log.getvalue()
    assert "Traceback" in text
    assert "Logging error" not in capfd.readouterr().err


class Forgetful(Service):
    """Forgets the `self.` of a property that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @property
    def orders(self) -> object:
        raise self.error

    def on_start(self) -> None:
        self.timeout(self.forget, 1.0)

    def forget(self) -> object:
        return orders  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("error", [KeyError("orders"), BaseException("past Exception")])
def test_a_name_that_is_looked_for_where_it_raises_is_told_all_the_same(
    clock: VirtualClock, capfd: pytest.CaptureFixture[str], error: BaseException
) -> None:
    with written() as log, Supervisor(children=[one := Forgetful(error)]):
        clock.advance(1.5)
        assert one.snapshot().restarts == 1
    text = log.getvalue()
    assert text.startswith("Supervisor/Forgetful: service crashed (step='timer')\nTraceback")
    assert text.endswith("NameError: name 'orders' is not defined\n")
    assert "Logging error" not in capfd.readouterr().err


class Bad(Service):
    def __init__(self, make: Callable[[], BaseException], hook: str) -> None:
        self.make, self.hook = make, hook

    def fail(self, hook: str) -> None:
        if self.hook == hook:
            raise self.make()

    def on_start(self) -> None:
        self.add_cleanup(self.fail, "clean-up")
        self.fail("on_start")

    def on_drain(self) -> None:
        self.fail("on_drain")

    def on_stop(self) -> None:
        self.fail("on_stop")


@pytest.mark.parametrize("kind", ERRORS)
@tellable
def test_a_first_start_that_raises_what_cannot_be_looked_at_has_failed(
    clock: VirtualClock, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    with written() as log, Supervisor() as top:
        bad = Bad(ERRORS[kind], "on_start")
        with pytest.raises(StartFailed, match=r"^Supervisor/Bad failed to start"):
            top.adopt(bad)
        assert states(top) == {}
        assert bad.snapshot().state.value == "failed"
    assert "failed to start" in log.getvalue()
    assert "Logging error" not in capfd.readouterr().err


@pytest.mark.parametrize("hook", ["on_drain", "on_stop", "clean-up"])
@pytest.mark.parametrize("kind", ERRORS)
@tellable
def test_a_stop_meets_what_cannot_be_looked_at_and_goes_on(
    clock: VirtualClock, capfd: pytest.CaptureFixture[str], kind: str, hook: str
) -> None:
    with written() as log:
        top = Supervisor(children=[Bad(ERRORS[kind], hook), Service()])
        top.start()
        report = top.stop()
    assert (report.errors, report.clean) == (1, 2)
    str(report.entries)
    assert "raised while stopping" in log.getvalue()
    assert "Logging error" not in capfd.readouterr().err


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind != ASKED_BY_GREENLET])
@tellable
def test_what_cannot_be_looked_at_and_is_thrown_by_a_kill_is_the_killers(
    clock: VirtualClock, kind: str, bare: bool
) -> None:
    with own_greenlets(), Supervisor(children=[one := Service()]) as top:
        greenlets: list[Any] = []
        one.spawn(
            lambda: greenlets.append(
                gevent.spawn(gevent.sleep, 9) if bare else one.spawn(gevent.sleep, 9)
            )
        )
        clock.settle()
        greenlets[0].kill(ERRORS[kind](), block=False)
        clock.advance(0.1)
        assert greenlets[0].dead
        assert top.snapshot().children[0].restarts == 0
        assert states(top) == {"Service": "running"}


@pytest.mark.parametrize("place", ["greenlet", "timer", "on_start", "on_stop", "bare"])
@pytest.mark.parametrize("kind", EXITS)
@tellable
def test_an_exit_that_cannot_be_looked_at_ends_the_tree_with_its_code(
    clock: VirtualClock, capfd: pytest.CaptureFixture[str], kind: str, place: str
) -> None:
    make, code = EXITS[kind]

    class Leaver(Service):
        def fail(self) -> None:
            raise make()

        def on_start(self) -> None:
            if place == "on_start":
                self.fail()
            elif place == "timer":
                self.timeout(self.fail, 1.0)
            elif place == "greenlet":
                self.spawn(self.fail)
            elif place == "bare":
                self.timeout(bare, 1.0, self.fail)

        def on_stop(self) -> None:
            if place == "on_stop":
                self.fail()

    with written() as log, own_greenlets():
        top = Supervisor()
        top.start()
        tree: Any = top._tree_
        try:
            top.adopt(Leaver(), restart="temporary")
        except StartFailed:
            assert place == "on_start"
        if place == "on_stop":
            top.stop()
        clock.advance(2.0)
        assert top.snapshot().state.value == "stopped"
    assert tree.exit_code == code
    assert type(tree.exit_code) is int
    assert "asked the app to exit" in log.getvalue()
    assert "Logging error" not in capfd.readouterr().err
