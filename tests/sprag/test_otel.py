"""Spans of OpenTelemetry, with the real SDK and an exporter that keeps them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace import export
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from scripted import Crash as Boom
from sprag import App, Service
from sprag.exceptions import AlreadyStarted, BadValue
from sprag.integrations import otel
from sprag.testing import VirtualClock, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock:
        yield clock


class Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = sdk.TracerProvider()
        self.provider.add_span_processor(export.SimpleSpanProcessor(self.exporter))

    def all(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


class Slow(Service):
    def on_start(self) -> None:
        self.timeout(lambda: None, 100)
        self.listen("go", self.boom)
        self.listen("sale", self.sale)
        gevent.sleep(2)

    def on_stop(self) -> None:
        gevent.sleep(1)

    def boom(self, _data: object) -> None:
        raise Boom("x")

    def sale(self, _data: object) -> None:
        self.emit("paid")


class Ear(Service):
    def on_start(self) -> None:
        self.listen("paid", lambda _data: None)


def test_starts_and_restarts_are_as_long_as_they_took_and_linked_to_the_end_before(
    clock: VirtualClock,
) -> None:
    spans = Spans()
    app = App(name="shop", providers={"till": Slow()})
    tracing = otel.trace(app, tracer_provider=spans.provider)
    with app:
        app.emit("go")
        clock.advance(9)
    clock.settle()
    tracing.flush()
    found = spans.all()
    start, crash, restart = (
        found[f"sprag {word} shop/till"] for word in ("start", "crash", "restart")
    )
    assert (start.end_time - start.start_time) / 1e9 == pytest.approx(2, abs=0.01)
    assert start.attributes["sprag.path"] == "shop/till"
    assert not crash.status.is_ok
    assert crash.events[0].attributes["exception.message"] == "x"
    assert (restart.end_time - restart.start_time) / 1e9 == pytest.approx(2, abs=0.01)
    assert [link.context for link in restart.links] == [crash.context]
    assert restart.attributes["sprag.incarnation"] == 2
    stop = found["sprag stop shop"]
    assert (stop.end_time - stop.start_time) / 1e9 == pytest.approx(1, abs=0.01)


def test_what_is_done_for_an_event_belongs_to_the_trace_of_who_has_emitted(
    clock: VirtualClock,
) -> None:
    spans = Spans()
    app = App(name="shop", providers={"till": Slow(), "ear": Ear()})
    otel.trace(app, tracer_provider=spans.provider)
    with app:
        assert app.emit("nobody") == 0
        tracer = spans.provider.get_tracer("test")
        with tracer.start_as_current_span("request"):
            assert app.emit("sale", 3) == 1
    found = spans.all()
    way = ["request", "emit sale", "sale shop/till", "emit paid", "paid shop/ear"]
    for above, below in pairwise(way):
        assert found[below].parent.span_id == found[above].context.span_id, below
    for emit, heard in (("emit sale", "sale shop/till"), ("emit paid", "paid shop/ear")):
        assert [link.context for link in found[heard].links] == [found[emit].context]
    assert "emit nobody" not in found


def test_a_listener_that_crashes_takes_down_its_own_service_alone(clock: VirtualClock) -> None:
    spans = Spans()
    app = App(name="shop", providers={"till": Slow()})
    otel.trace(app, tracer_provider=spans.provider)
    with app:
        assert app.emit("go") == 1
        clock.advance(9)
        assert app.service("till").snapshot().restarts == 1
    assert not spans.all()["go shop/till"].status.is_ok


def test_who_is_slow_loses_the_oldest_and_who_has_stopped_hears_no_more(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otel, "WAITING", 2)
    spans = Spans()
    app = App(name="shop", providers={str(number): Service() for number in range(5)})
    tracing = otel.trace(app, tracer_provider=spans.provider)
    with app:
        tracing.flush()
        assert tracing.dropped == 4
        assert set(spans.all()) == {"sprag start shop/4", "sprag start shop"}
        tracing.stop()
    tracing.stop()
    assert "sprag stop shop" not in spans.all()


def test_only_a_root_that_is_down_can_be_traced(clock: VirtualClock) -> None:
    with App(providers={"one": Service()}) as app:
        with pytest.raises(AlreadyStarted):
            otel.trace(app)
        with pytest.raises(BadValue):
            otel.trace(app.service("one"))
    no_instance: Any = App
    with pytest.raises(BadValue):
        otel.trace(no_instance)
