"""The demo shop of docs/examples/orders, as a real process: fed, crashed and stopped."""

from __future__ import annotations

import importlib
import json
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from processes import begun, completed
from sprag import Supervisor
from sprag.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHOP = Path(__file__).resolve().parents[2] / "docs" / "examples" / "orders"
LIMIT = 30.0
"""Seconds for anything to happen; reached only by a test that fails."""
AN_HOUR = "3600"

PACKING = "shop/packing"
PACKERS = [f"{PACKING}/worker-{number}" for number in (1, 2, 3)]
IN_ORDER = [
    "shop/ledger",
    "shop/metrics",
    "shop/courier",
    *PACKERS,
    PACKING,
    "shop/intake",
    "shop/client",
]
IN_REVERSE = [
    "shop/client",
    "shop/intake",
    *reversed(PACKERS),
    PACKING,
    "shop/courier",
    "shop/metrics",
    "shop/ledger",
    "shop",
]

Record = dict[str, Any]

pytestmark = [pytest.mark.slow, pytest.mark.long]


class Shop:
    """The running demo: its log as records, its tree, its intake."""

    def __init__(self, directory: Path, *, pace: str, port: int, warnings: str) -> None:
        self.totals_file = directory / "totals.json"
        runtime = directory / "run"
        runtime.mkdir(mode=0o700)
        self._environment = os.environ | {
            "ORDERS_PACE": pace,
            "ORDERS_PORT": str(port),
            "ORDERS_TOTALS": str(self.totals_file),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SPRAG_RUNTIME_DIR": str(runtime),
        }
        self._python = [word for each in warnings.split(",") for word in ("-W", each)]
        self.records: list[Record] = []
        self._lines: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> Self:
        self._process = begun(
            [*self._python, "-m", "sprag_cli", "run", "app:app", "--log-format", "json"],
            cwd=SHOP,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            lines = open(stderr.fileno(), encoding="utf-8", closefd=False)  # noqa: SIM115
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, wanted: Callable[[Record], bool], count: int = 1) -> Record:
        """Return the *count*-th record that is *wanted*, counted from the start of the process."""
        deadline = time.monotonic() + LIMIT
        found = [record for record in self.records if wanted(record)]
        while len(found) < count:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                line = None
            if line is None:
                pytest.fail(f"{len(found)} of {count} within {LIMIT:g} s:\n{self.log}")
            self._note(line)
            if wanted(self.records[-1]):
                found.append(self.records[-1])
        return found[count - 1]

    def wait_for_event(self, event: str, service: str, count: int = 1) -> Record:
        return self.wait_for(lambda it: (it["event"], it.get("service")) == (event, service), count)

    def wait_for_delivery(self, order: str) -> None:
        self.wait_for(lambda it: (it["event"], it.get("order")) == ("delivered", order))

    def count(self, event: str, service: str | None = None) -> int:
        return sum(
            record["event"] == event and service in (None, record.get("service"))
            for record in self.records
        )

    @property
    def log(self) -> str:
        return "\n".join(map(str, self.records))

    @property
    def port(self) -> int:
        port: int = self.wait_for_event("intake is open", "shop/intake")["port"]
        return port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)

    def send(self, *lines: str) -> list[str]:
        """Send lines as `nc -N` does; return the answers."""
        with self.connect() as connection, connection.makefile(encoding="utf-8") as answers:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
            connection.shutdown(socket.SHUT_WR)
            return answers.read().splitlines()

    def sprag(self, *arguments: str) -> str:
        """What a command prints."""
        words = [*self._python, "-m", "sprag_cli", *arguments]
        done = completed(*words, env=self._environment, timeout=LIMIT)
        done.check_returncode()
        return done.stdout

    def tree(self) -> dict[str, Record]:
        """What `sprag tree` says of each service, by path."""
        nodes: dict[str, Record] = {}
        rest = [json.loads(self.sprag("tree", "--json"))]
        while rest:
            node = rest.pop()
            nodes[node["path"]] = node
            rest += node["children"]
        return nodes

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if one is given, and return the exit code."""
        if number is not None:
            self._process.send_signal(number)
        code = self._process.wait(LIMIT)
        while (line := self._lines.get(timeout=LIMIT)) is not None:
            self._note(line)
        return code

    def _note(self, line: str) -> None:
        if not line.startswith("{"):
            rest = iter(lambda: self._lines.get(timeout=1.0), None)
            pytest.fail(f"not from the log:\n{line}{''.join(map(str, rest))}")
        self.records.append(json.loads(line))

    def totals(self) -> dict[str, Any]:
        totals: dict[str, Any] = json.loads(self.totals_file.read_text(encoding="utf-8"))
        return totals


@pytest.fixture
def open_shop(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """Open a shop; by default its client orders once and then pauses for an hour."""
    with ExitStack() as stack:

        def start(*, pace: str = AN_HOUR, port: int = 0, warnings: str = "error") -> Shop:
            return stack.enter_context(Shop(tmp_path, pace=pace, port=port, warnings=warnings))

        yield start


def opened(shop: Shop) -> Shop:
    shop.wait_for_event("service started", "shop")
    shop.wait_for_delivery("1")
    return shop


def test_the_shipped_orders_are_delivered_and_the_client_has_finished(
    open_shop: Callable[..., Shop],
) -> None:
    shipped = (SHOP / "orders.csv").read_text(encoding="utf-8").splitlines()
    shop = open_shop(pace="0")

    shop.wait_for_event("service finished", "shop/client")
    shop.wait_for(lambda it: it["event"] == "delivered", len(shipped))
    states = {path: node["state"] for path, node in shop.tree().items()}

    assert states.pop("shop/client") == "finished"
    assert set(states.values()) == {"running"}
    assert shop.end(signal.SIGTERM) == 0
    assert shop.count("service crashed") == 0
    totals = shop.totals()
    assert totals.pop("cents") > 0
    assert totals == {"accepted": 60, "delivered": 60, "undelivered": []}


def test_each_starts_when_what_it_needs_is_ready(open_shop: Callable[..., Shop]) -> None:
    shop = opened(open_shop())

    shop.wait_for_event("service started", "shop/client")
    told = [(it["event"], it.get("service")) for it in shop.records]
    started = [path for event, path in told if event == "service started" and path != "shop"]
    assert started == IN_ORDER
    ready = told.index(("service ready", "shop/courier"))
    assert told.index(("service started", "shop")) < ready
    assert ready < told.index(("service started", PACKERS[0]))
    assert {node["restarts"] for node in shop.tree().values()} == {0}


def test_the_intake_answers_each_line(open_shop: Callable[..., Shop]) -> None:
    shop = opened(open_shop())

    answers = shop.send(
        "17,teapot,1,24.00", "hello", "", "18,teapot,1", "19,a,b,c,d", "20,x\x07,1,1"
    )

    refused = "error send one order per line: id,item,quantity,price"
    assert answers == ["ok 17", *[refused] * 5]
    shop.wait_for_delivery("17")


def test_the_picture_of_the_tree_shows_the_services_there_are(
    open_shop: Callable[..., Shop],
) -> None:
    picture = (SHOP.parents[1] / "tree.svg").read_text(encoding="utf-8")
    shown = re.findall(r'class="name">([^<]+)<', picture)

    assert sorted(shown) == sorted(node["name"] for node in opened(open_shop()).tree().values())


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("900,lamp,x,1.00", "ValueError: bad order 900: x at 1.00"),
        ("900,café au lait,1,3.20", "UnicodeEncodeError: 'ascii' codec can't encode character"),
    ],
)
def test_a_bad_order_crashes_two_packers_and_is_dropped_and_nobody_else_notices(
    open_shop: Callable[..., Shop], order: str, reason: str
) -> None:
    shop = opened(open_shop())

    assert shop.send(order, "901,lamp,1,1.00") == ["ok 900", "ok 901"]
    dropped = shop.wait_for_event("order dropped", "shop/ledger")
    shop.wait_for_delivery("901")
    tree = shop.tree()

    assert dropped["order"] == "900"
    assert f"an item has crashed 2 workers, the last with {reason}" in dropped["reason"]
    assert sum(tree[path]["restarts"] for path in PACKERS) == 2
    assert tree[PACKING]["items"]["poison"] == 1
    for path in set(tree) - set(PACKERS):
        assert tree[path]["incarnation"] == 1, path
    assert shop.end(signal.SIGTERM) == 0
    told = [it for it in shop.records if it["level"] != "info" and "exception" in it]
    assert [(it["level"], it["event"]) for it in told] == [
        ("warning", "service crashed"),
        ("error", "an item is poison, and is not tried again"),
    ]
    assert all(reason in it["exception"] for it in told)
    assert shop.totals()["undelivered"] == ["900"]


def test_any_number_of_bad_orders_ends_neither_the_pool_nor_the_app(
    open_shop: Callable[..., Shop],
) -> None:
    shop = opened(open_shop())

    bad = [str(number) for number in range(900, 920)]
    shop.send(*[f"{number},lamp,x,1.00" for number in bad], "17,lamp,1,1.00")
    shop.wait_for(lambda it: it["event"] == "order dropped", len(bad))
    shop.wait_for_delivery("17")

    assert shop.tree()[PACKING]["incarnation"] == 1
    assert shop.end(signal.SIGTERM) == 0
    assert shop.count("service crashed") == len(bad)
    assert shop.count("an item is poison, and is not tried again") == len(bad)
    assert shop.count("supervisor gave up") == 0
    totals = shop.totals()
    assert (totals["accepted"], totals["delivered"]) == (22, 2)
    assert sorted(totals["undelivered"]) == bad


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_in_reverse_and_the_totals_are_complete(
    open_shop: Callable[..., Shop], number: signal.Signals
) -> None:
    shop = open_shop(pace="0")  # as fast as the shelves allow: they are full all the time
    shop.wait_for(lambda it: it["event"] == "delivered", 5)

    with shop.connect() as connection:
        code = shop.end(number)
        assert connection.recv(1) == b""

    assert code == 0
    ends = {"service stopped", "service finished"}  # the client is told that the shop closes
    assert [it["service"] for it in shop.records if it["event"] in ends] == IN_REVERSE
    assert all(record["level"] == "info" for record in shop.records), shop.log
    totals = shop.totals()
    assert totals["undelivered"] == []
    assert 20 < totals["accepted"] == totals["delivered"] == shop.count("delivered")
    assert not list(shop.totals_file.parent.glob("*.draft"))


def test_no_accepted_order_is_lost_by_restarts(open_shop: Callable[..., Shop]) -> None:
    shop = opened(open_shop())
    good = [f"{number},lamp,1,1.00" for number in range(100, 130)]
    orders = [*good[:10], "900,lamp,x,1", *good[10:20], "901,café,1,1", *good[20:], "902,lamp,x,1"]

    assert len(shop.send(*orders)) == len(orders)
    shop.sprag("restart", PACKERS[1])
    shop.wait_for(lambda it: it["event"] == "delivered", 1 + len(good))
    shop.wait_for(lambda it: it["event"] == "order dropped", 3)

    assert shop.end(signal.SIGTERM) == 0
    totals = shop.totals()
    assert totals["cents"] == 640 + len(good) * 100
    assert sorted(totals["undelivered"]) == ["900", "901", "902"]
    assert totals["accepted"] == totals["delivered"] + 3


def test_when_the_intake_is_restarted_the_client_waits_for_it_and_goes_on_where_it_was(
    open_shop: Callable[..., Shop],
) -> None:
    shop = open_shop(pace="0")
    shop.wait_for(lambda it: it["event"] == "delivered", 5)

    shop.sprag("restart", "intake")
    shop.wait_for_event("service finished", "shop/client")
    shop.wait_for(lambda it: it["event"] == "delivered", 60)

    assert shop.tree()["shop/client"]["incarnation"] == 2
    assert shop.end(signal.SIGTERM) == 0
    delivered = [it["order"] for it in shop.records if it["event"] == "delivered"]
    assert sorted(delivered, key=int) == [str(number) for number in range(1, 61)]


def test_a_client_that_breaks_off_crashes_nothing(open_shop: Callable[..., Shop]) -> None:
    shop = opened(open_shop())

    with shop.connect() as connection:
        connection.sendall(b"17,tea")
        # Closing now sends a reset instead of an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    shop.wait_for_event("connection lost", "shop/intake")

    assert shop.tree()["shop/intake"]["incarnation"] == 1
    assert shop.send("18,teapot,1,24.00") == ["ok 18"]
    assert shop.end(signal.SIGTERM) == 0
    assert shop.count("service crashed") == 0


def test_if_the_port_is_taken_the_shop_comes_up_without_its_intake_and_tries_again(
    open_shop: Callable[..., Shop],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        # gevent leaves a socket that it could not bind to the garbage collector.
        shop = open_shop(port=port, warnings="error,ignore:unclosed:ResourceWarning")
        error = shop.wait_for_event("service failed to start", "shop/intake", count=5)
        tree = shop.tree()

    assert error["exception"].endswith(
        f"OSError: cannot listen on port {port} (Address already in use): "
        "give another one in ORDERS_PORT"
    )
    assert tree["shop/intake"]["state"] == "restarting"
    assert tree["shop/client"]["waits_for"] == ["intake"]
    shop.wait_for_event("intake is open", "shop/intake")
    shop.wait_for_delivery("1")
    assert shop.end(signal.SIGTERM) == 0


def test_every_night_the_totals_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(SHOP), *sys.path])
    ledger = importlib.import_module("ledger").Ledger(totals := tmp_path / "totals.json")
    monkeypatch.delitem(sys.modules, "ledger")

    with virtual_time() as clock, Supervisor([ledger]) as supervisor:
        supervisor.emit("order:completed", {"id": "17", "cents": 640})
        assert not totals.exists()
        clock.advance(86400)
        assert json.loads(totals.read_text(encoding="utf-8"))["cents"] == 640


def test_the_metrics_service_is_the_one_of_the_documentation() -> None:
    page = """
class MetricsService(Service):
    def on_start(self):
        self.interval(self._collect, 60)  # Every 60 seconds
        self.listen("order:completed", self._on_order)

    def on_stop(self):
        pass  # Cleanup is automatic for managed resources

    def _collect(self):
        stats = gather_metrics()
        self.emit("metrics:updated", stats)

    def _on_order(self, data):
        record_order(data)
"""
    assert page in (SHOP / "metrics.py").read_text(encoding="utf-8")
