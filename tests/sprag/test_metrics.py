"""Metrics for Prometheus: which there are, and that they stay few."""

from __future__ import annotations

import json
import re
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import prometheus_client
import pytest
from gevent import Greenlet
from prometheus_client.parser import text_string_to_metric_families

from controlled import aside, check
from scripted import Crash as Boom
from sprag import App, DynamicSupervisor, Service, Supervisor, Worker, WorkerPool
from sprag.control import figures as _figures
from sprag.control import measuring as _measuring
from sprag.control.desk import Desk
from sprag.control.figures import Figures, Histogram, figures_of
from sprag.control.http import Answer, Refused, Request
from sprag.control.measuring import families, metrics
from sprag.exceptions import BadValue
from sprag.metrics import Collector, exposition
from sprag.testing import VirtualClock, virtual_time
from sprag_supervisor import name_of, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with virtual_time() as clock:
        yield clock


class Frail(Service):
    def on_start(self) -> None:
        self.listen("go", self.boom)

    def boom(self, _data: object) -> None:
        raise Boom("x")


class Packer(Worker):
    def handle(self, item: object) -> None:
        pass


def samples(root: Service) -> dict[str, float]:
    """Return all samples of *root* as Prometheus reads them, as ``name{label=value}``."""
    text = exposition(root).decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(each.labels.items()))
            found[f"{each.name}{{{labels}}}"] = each.value
    return found


def test_what_happens_is_counted_by_place_and_what_may_be_any_number_is_one(
    clock: VirtualClock,
) -> None:
    with App(name="shop", max_restarts=9, providers={"till": Frail()}) as app:
        collector = Collector(app)
        pool = app.adopt(DynamicSupervisor(max_restarts=99), name="pool")
        for _ in range(5):
            pool.adopt(Frail())
        app.emit("go")
        clock.advance(2)
        found = samples(app)
        collector.close()
    assert found["sprag_ready{}"] == 1
    assert found["sprag_services{path=shop/till,state=running}"] == 1
    assert found["sprag_services{path=shop/pool/*,state=running}"] == 5
    assert found["sprag_service_restarts_total{path=shop/pool/*}"] == 5
    assert found["sprag_service_crashes_total{path=shop/till}"] == 1
    assert found["sprag_service_uptime_seconds{path=shop/till}"] == pytest.approx(2)
    assert found["sprag_service_owned{path=shop/pool/*,resource=listeners}"] == 5
    assert found["sprag_supervisor_restarts{path=shop/pool}"] == 5
    assert found["sprag_supervisor_max_restarts{path=shop/pool}"] == 99
    assert found["sprag_start_seconds_count{}"] == 12
    assert found["sprag_stop_seconds_count{}"] == 6
    clock.settle()


def test_a_limit_is_used_up_only_within_its_time(clock: VirtualClock) -> None:
    with App(name="shop", providers={"till": Frail()}) as app:
        app.emit("go")
        clock.settle()
        assert samples(app)["sprag_supervisor_restarts{path=shop}"] == 1
        clock.advance(6)
        assert samples(app)["sprag_supervisor_restarts{path=shop}"] == 0
        figures_of(tree_of(app)).close()


def test_items_of_a_pool_are_told(clock: VirtualClock) -> None:
    with App(name="shop") as app:
        pool = app.adopt(WorkerPool(Packer, size=2), name="pack")
        for number in range(3):
            pool.submit(number)
        clock.settle()
        found = samples(app)
        figures_of(tree_of(app)).close()
    assert found["sprag_pool_items{path=shop/pack,state=done}"] == 3
    assert found["sprag_services{path=shop/pack/*,state=running}"] == 2


def test_10_000_children_are_few_series(clock: VirtualClock) -> None:
    with App(name="shop") as app:
        crowd = app.adopt(Supervisor(), name="crowd")
        for _ in range(10_000):
            crowd.adopt(Service())
        found = samples(app)
        figures_of(tree_of(app)).close()
    assert found["sprag_services{path=shop/crowd/*,state=running}"] == 10_000
    assert len(found) < 100


def test_many_places_are_one_beyond_a_thousand(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_figures, "MOST_PLACES", 10)
    with App(name="shop") as app:
        for number in range(30):
            app.adopt(Service(), name=f"one-{number}")
        found = samples(app)
        figures_of(tree_of(app)).close()
    places = {name for name in found if name.startswith("sprag_services{")}
    assert len(places) == 12
    assert found["sprag_services{path=shop/*,state=running}"] == 20


def test_counting_begins_with_what_there_was_and_never_falls(clock: VirtualClock) -> None:
    with App(name="shop", max_restarts=9) as app:
        pool = app.adopt(DynamicSupervisor(max_restarts=99), name="pool")
        first = pool.adopt(Frail())
        app.emit("go")
        clock.settle()
        assert samples(app)["sprag_service_restarts_total{path=shop/pool/*}"] == 1
        pool.terminate_child(first)
        assert samples(app)["sprag_service_restarts_total{path=shop/pool/*}"] == 1
        figures_of(tree_of(app)).close()


def test_what_the_program_registers_itself_is_told_too(clock: VirtualClock) -> None:
    orders = prometheus_client.Counter("orders", "Orders.", ["kind"])
    orders.labels(kind="new").inc(3)
    try:
        with App(name="shop") as app:
            assert samples(app)["orders_total{kind=new}"] == 3
            figures_of(tree_of(app)).close()
    finally:
        prometheus_client.REGISTRY.unregister(orders)


class Broken(prometheus_client.registry.Collector):
    def describe(self) -> list[Any]:
        return []

    def collect(self) -> list[Any]:
        raise Boom("x")


def test_a_collector_of_the_programs_that_fails_takes_nothing_of_sprags_away(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken()
    prometheus_client.REGISTRY.register(broken)
    try:
        with App(name="shop") as app:
            assert samples(app)["sprag_ready{}"] == 1
            figures_of(tree_of(app)).close()
    finally:
        prometheus_client.REGISTRY.unregister(broken)
    assert "the program's own metrics cannot be collected" in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        'q"uote',
        "new\nline",
        "back\\slash",
        "\\n",
        "caf\u00e9 \u2603",
        "cr\rx",
        "\u2028",
        "state",
        "a,b=}",
    ],
)
def test_any_name_is_one_label(clock: VirtualClock, name: str) -> None:
    with App(name=name, providers={name: Service()}) as app:
        assert samples(app)[f"sprag_services{{path={name}/{name},state=running}}"] == 1
        figures_of(tree_of(app)).close()


def test_a_name_that_is_no_utf_8_is_escaped(clock: VirtualClock) -> None:
    with App(name="shop", providers={"caf\udce9": Service()}) as app:
        assert samples(app)[r"sprag_services{path=shop/caf\udce9,state=running}"] == 1
        figures_of(tree_of(app)).close()


def test_others_run_while_a_thousand_places_are_written_down(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []

    class Counted:
        def __call__(self) -> None:
            turns.append("sample")

    monkeypatch.setattr("sprag.metrics.looking", Counted)
    with App(name="shop", providers={f"one-{n}": Service() for n in range(90)}) as app:
        found = samples(app)
        figures_of(tree_of(app)).close()
    # Once when a sample is made, once when it is written.
    assert len(turns) == 2 * len(found)


def test_scrapes_at_the_same_time_tell_the_same(clock: VirtualClock) -> None:
    with App(name="shop", providers={f"one-{n}": Service() for n in range(30)}) as app:
        scrapes: list[Greenlet[..., dict[str, float]]] = [
            Greenlet.spawn(samples, app) for _ in range(5)
        ]
        clock.settle()
        gevent.joinall(scrapes)
        figures_of(tree_of(app)).close()
    for each in scrapes:
        found = each.get()
        assert found["sprag_ready{}"] == 1
        assert found["sprag_services{path=shop/one-29,state=running}"] == 1


def test_the_answer_of_the_control_socket_is_what_the_parent_reads(clock: VirtualClock) -> None:
    from sprag.control.measuring import _family

    with App(name="shop") as app:
        answer: Any = metrics(Desk(app)).body
        check("metrics", answer)
        told = json.loads(json.dumps(answer))["families"]
        figures_of(tree_of(app)).close()
        names = [family.name for family in families(tree_of(app))]
        assert names == [_family(each).name for each in told]
        figures_of(tree_of(app)).close()


def test_the_parent_tells_each_worker_apart_and_sums_nothing(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slot:
        def __init__(self, number: int) -> None:
            self.number, self.serves = number, True

    def slot_of(node: Service) -> Slot | None:
        return Slot(int(name_of(node)))

    def answer(_path: str, _request: Request, found: Any) -> Answer:
        if found.slot.number == 3:
            raise Refused(HTTPStatus.GATEWAY_TIMEOUT, "it does not answer")
        samples: list[Any] = [
            ["_total", {"kind": "new"}, str(found.slot.number)],
            ["_total", {}, "inf"],
            ["_total", {"kind": "lent", "worker": "bees"}, "7"],
        ]
        family: dict[str, Any] = {
            "name": "orders",
            "kind": "counter",
            "text": "Orders.",
            "samples": samples,
        }
        return Answer([json.dumps({"families": [family]}).encode()])

    monkeypatch.setattr(_measuring, "slot_of", slot_of)
    monkeypatch.setattr(_measuring, "answer", answer)
    with App(name="shop", providers={str(number): Service() for number in (1, 2, 3)}) as app:
        found = samples(app)
        figures_of(tree_of(app)).close()
    assert found["orders_total{kind=new,worker=1}"] == 1
    assert found["orders_total{kind=new,worker=2}"] == 2
    assert found["orders_total{worker=2}"] == float("inf")
    assert found["orders_total{exported_worker=bees,kind=lent,worker=2}"] == 7
    assert found["sprag_services{path=shop,state=running}"] == 1


def test_requests_are_counted_by_method_and_class(clock: VirtualClock) -> None:
    with App(name="shop") as app:
        figures = figures_of(tree_of(app))
        for method, status in (("GET", 200), ("GET", 204), ("BREW", 418), ("POST", None)):
            figures.answered(method, status, 0.02)
        found = samples(app)
        figures.close()
    assert found["sprag_web_requests_total{code=2xx,method=GET}"] == 2
    assert found["sprag_web_requests_total{code=4xx,method=other}"] == 1
    assert found["sprag_web_requests_total{code=none,method=POST}"] == 1
    assert found["sprag_web_request_seconds_count{}"] == 4


def test_how_late_the_loop_is_is_a_histogram() -> None:
    with App(name="shop") as app:
        figures = Figures(tree_of(app))
        figures._looked -= 1.0
        figures._look()
        samples = figures._lag.samples()
        figures.close()
        figures.close()
    assert [value for _, labels, value in samples if labels == {"le": "0.5"}] == [0]
    assert [value for _, labels, value in samples if labels == {"le": "1.0"}] == [1]


def test_buckets_hold_all_below_them() -> None:
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 99.0):
        histogram.add(seconds)
    assert histogram.samples() == [
        ("_bucket", {"le": "1.0"}, 2),
        ("_bucket", {"le": "2.0"}, 3),
        ("_bucket", {"le": "+Inf"}, 4),
        ("_count", {}, 4),
        ("_sum", {}, 102.0),
    ]


def test_it_can_be_collected_from_another_native_thread() -> None:
    with App(name="shop", providers={"till": Service()}) as app:
        collector = Collector(app)
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.extend(collector.collect()))
        thread.start()
        aside(thread.join)
        collector.close()
    assert "sprag_ready" in [metric.name for metric in found]


def test_a_collector_fits_into_a_registry(clock: VirtualClock) -> None:
    app = App(name="shop")
    registry = prometheus_client.CollectorRegistry()
    collector = Collector(app)
    registry.register(collector)
    text = prometheus_client.generate_latest(registry).decode()
    assert 'sprag_services{path="shop",state="new"} 1.0' in text
    collector.close()


def test_a_registry_takes_the_metrics_of_one_app(clock: VirtualClock) -> None:
    registry = prometheus_client.CollectorRegistry()
    shop, bank = Collector(App(name="shop")), Collector(App(name="bank"))
    registry.register(shop)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(bank)
    registry.unregister(shop)
    registry.register(bank)
    shop.close()
    bank.close()


@pytest.mark.parametrize("state", ["new", "stopped"])
def test_an_app_that_does_not_run_is_collected_from_a_native_thread_at_once(state: str) -> None:
    app = App(name="shop")
    if state == "stopped":
        with app:
            pass
    collector = Collector(app)
    found: list[Any] = []
    began = time.monotonic()
    thread = threading.Thread(target=lambda: found.extend(collector.collect()))
    thread.start()
    aside(thread.join)
    assert time.monotonic() - began < 4
    collector.close()
    assert "sprag_ready" in [metric.name for metric in found]


class Slow(Service):
    """Stops when it has been collected, whoever it is that asks."""

    found: list[Any]

    def on_stop(self) -> None:
        assert isinstance(self._parent_, App)
        collector = Collector(self._parent_)
        thread = threading.Thread(target=lambda: self.found.extend(collector.collect()))
        thread.start()
        aside(thread.join)
        collector.close()


def test_an_app_that_stops_is_collected_from_a_native_thread() -> None:
    slow = Slow()
    found: list[Any] = []
    slow.found = found
    began = time.monotonic()
    with App(name="shop", providers={"slow": slow}):
        pass
    assert time.monotonic() - began < 4
    assert "sprag_ready" in [metric.name for metric in found]


@pytest.mark.parametrize("given", [App, None, 3])
def test_what_is_no_root_is_refused(given: Any) -> None:
    with pytest.raises(BadValue):
        Collector(given)


@pytest.mark.parametrize("given", ["/metrics", 1, None])
def test_whether_there_are_metrics_is_yes_or_no(given: Any) -> None:
    with pytest.raises(BadValue, match="metrics"):
        App(metrics=given)


def test_the_dashboard_names_only_series_that_there_are(clock: VirtualClock) -> None:
    with App(name="shop") as app:
        told = families(tree_of(app))
        figures_of(tree_of(app)).close()
    series = {
        f"{family.name}{suffix}"
        for family in told
        for suffix in {
            "gauge": ("",),
            "counter": ("_total",),
            "histogram": ("_bucket", "_sum", "_count"),
        }.get(family.kind, ("",))
    }
    dashboard = json.loads((DOCS / "deploy" / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    named = {name for each in asked for name in re.findall(r"\bsprag_\w+", each)}
    assert asked
    assert named <= series
    assert {name.rsplit("_bucket")[0] for name in named} >= {"sprag_services", "sprag_ready"}
