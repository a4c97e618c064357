"""Crashes for Sentry, with its real SDK and a transport that keeps what would be sent."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
import sentry_sdk.transport
from sentry_sdk.integrations import logging as _theirs

from scripted import Crash as Boom
from sprag import App, Backoff, DynamicSupervisor, Service
from sprag.exceptions import BadValue
from sprag.integrations import sentry
from sprag.integrations.limits import Limits
from sprag.testing import VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock:
        yield clock


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    """What Sentry's transport is given."""
    events: list[dict[str, Any]] = []

    class Kept(sentry_sdk.transport.Transport):
        def capture_envelope(self, envelope: Any) -> None:
            event = envelope.get_event()
            if event is not None:
                events.append(event)

    with sentry_sdk.isolation_scope():
        sentry_sdk.init("http://key@localhost/1", transport=Kept(), default_integrations=False)
        yield events
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.Scope.get_global_scope().set_client(None)


class Frail(Service):
    def on_start(self) -> None:
        self.listen("go", self.boom)

    def boom(self, _data: object) -> None:
        raise Boom("x")


def test_a_crash_is_an_event_with_its_place_and_what_is_done(
    clock: VirtualClock, sent: list[dict[str, Any]]
) -> None:
    with App(name="shop", providers={"till": Frail()}, on_crash=sentry.reporter()) as app:
        app.emit("go")
        clock.settle()
    (event,) = sent
    (shown,) = event["exception"]["values"]
    assert (shown["type"], shown["value"]) == ("Crash", "x")
    assert shown["stacktrace"]["frames"][-1]["function"] == "boom"
    assert shown["mechanism"] == {"type": "sprag", "handled": False}
    assert event["level"] == "error"
    assert event["tags"] == {
        "sprag.path": "shop/till",
        "sprag.incarnation": "1",
        "sprag.step": "listener",
        "sprag.decision": "restart",
    }
    assert event["fingerprint"] == ["{{ default }}", "sprag", "shop/till"]


def test_children_of_any_number_are_one_group_and_what_stays_down_is_fatal(
    clock: VirtualClock, sent: list[dict[str, Any]]
) -> None:
    policy: dict[str, Any] = {"backoff": Backoff(tries=1, initial=0.01)}
    with App(name="shop", on_crash=sentry.reporter()) as app:
        pool = app.adopt(DynamicSupervisor(max_restarts=99), name="pool")
        for _ in range(2):
            pool.start_child(Frail(), **policy)
        for _ in range(2):
            app.emit("go")
            clock.advance(1.5)
    assert {each["fingerprint"][-1] for each in sent} == {"shop/pool/*"}
    assert [each["level"] for each in sent] == ["error", "error", "fatal", "fatal"]


def test_a_storm_of_10_000_reaches_the_transport_limited_and_blocks_nobody(
    clock: VirtualClock, sent: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "sprag")
    reporter = sentry.reporter(of_each=10)
    with App(name="shop", on_crash=reporter) as app:
        pool = app.adopt(DynamicSupervisor(max_restarts=float("inf")), name="pool")
        for _ in range(10_000):
            pool.start_child(Frail())
        app.emit("go")
        clock.advance(1)
        assert app.not_ready() == {}
        assert len(sent) == 10
        counts = app._reports_.counts()
        assert counts["told"] + counts["dropped"] == 10_000
        clock.advance(60)
        again: Any = pool.which_children()[0].service
        again.spawn(again.boom, None)
        clock.advance(1)
    assert len(sent) == 11
    told = sent[-1]["contexts"]["sprag"]
    assert told["events_left_out"] + told["crashes_not_told"] + 10 <= 10_000


def test_what_sprag_logs_is_no_second_event(sent: list[dict[str, Any]]) -> None:
    sentry.reporter()
    assert "sprag" in _theirs._IGNORED_LOGGERS


def test_without_a_client_nothing_is_sent(clock: VirtualClock) -> None:
    with App(on_crash=(reporter := sentry.reporter())) as app:
        app.adopt(Frail())
        app.emit("go")
        clock.settle()
        assert app._reports_.counts()["told"] == 1
    assert reporter.limits.untold == 0


@pytest.mark.parametrize("given", [0, -1, "many", float("inf"), float("nan"), True])
def test_a_limit_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(BadValue, match="of_each"):
        sentry.reporter(of_each=given)


def test_limits_come_back_evenly_and_say_what_was_left_out() -> None:
    limits = Limits(in_all=6, of_each=3)
    assert [limits.admit("a", 0.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert [limits.admit("b", 0.0) for _ in range(4)] == [0, 0, 0, None]
    assert limits.admit("c", 0.0) is None  # in all there were 6
    assert limits.admit("a", 20.0) == 2
    assert limits.admit("a", 20.0) is None
    assert limits.untold == 5


def test_what_is_remembered_of_groups_is_bounded() -> None:
    limits = Limits(1e9, 1)
    for number in range(3000):
        limits.admit(number, 0.0)
    assert len(limits._groups) == 1000


def test_import_sprag_loads_none_of_these_tools() -> None:
    code = (
        "import sys, json, sprag\n"
        "from sprag import App, Service\n"
        "app = App(providers={'one': Service()})\n"
        "app.start(); app.stop()\n"
        "tools = ('sentry_sdk', 'opentelemetry', 'prometheus_client')\n"
        "print(json.dumps([each for each in tools if each in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("module", "needed", "extra"),
    [
        ("sprag.integrations.sentry", "sentry_sdk", "sentry"),
        ("sprag.integrations.otel", "opentelemetry", "otel"),
        ("sprag.metrics", "prometheus_client", "metrics"),
    ],
)
def test_what_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, module: str, needed: str, extra: str
) -> None:
    import_module(module)
    monkeypatch.setitem(sys.modules, needed, None)
    monkeypatch.delitem(sys.modules, module)
    with pytest.raises(ImportError, match=re.escape(f"pip install 'sprag-otp[{extra}]'")):
        import_module(module)
