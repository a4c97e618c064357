"""The demo shop of docs/examples/orders, as a real process: fed, crashed and stopped."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHOP = Path(__file__).resolve().parents[2] / "docs" / "examples" / "orders"
SPRAG = [sys.executable, "-m", "sprag_cli"]
LIMIT = 30.0
"""Seconds for anything to happen; reached only by a test that fails."""
AN_HOUR = "3600"

FLEET = "shop/fleet"
COURIER = "shop/fleet/courier"
PACKING = "shop/fleet/packing"
PACKERS = [f"{PACKING}/packer-{number}" for number in (1, 2, 3)]
IN_REVERSE = [
    "shop/client",
    "shop/intake",
    COURIER,
    *reversed(PACKERS),
    PACKING,
    FLEET,
    "shop/metrics",
    "shop/ledger",
    "shop/packed",
    "shop/accepted",
    "shop",
]

Record = dict[str, Any]

pytestmark = pytest.mark.slow


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
            "PYTHONWARNINGS": warnings,
            "SPRAG_RUNTIME_DIR": str(runtime),
        }
        self.records: list[Record] = []
        self._lines: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [*SPRAG, "run", "app:app", "--log-format", "json"],
            cwd=SHOP,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
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

    def tree(self) -> dict[str, Record]:
        """What `sprag tree` says of each service, by path."""
        done = subprocess.run(
            [*SPRAG, "tree", "--json"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
        )
        nodes: dict[str, Record] = {}
        rest = [json.loads(done.stdout)]
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


def is_complete(totals: dict[str, Any]) -> bool:
    kept = totals["delivered"] + len(totals["dropped"]) + len(totals["waiting"])
    return bool(totals["accepted"] == kept)


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
    assert totals == {"accepted": 60, "delivered": 60, "dropped": [], "waiting": []}


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


def test_one_bad_order_restarts_the_courier_alone(open_shop: Callable[..., Shop]) -> None:
    shop = opened(open_shop())
    before = shop.tree()

    assert shop.send("900,lamp,x,1.00", "901,lamp,1,1.00") == ["ok 900", "ok 901"]
    shop.wait_for_event("service restarted", COURIER)
    shop.wait_for_delivery("901")
    after = shop.tree()

    courier = after.pop(COURIER)
    assert (courier["restarts"], courier["state"]) == (1, "running")
    assert courier["last_failure"]["message"] == "bad order 900: x at 1.00"
    del before[COURIER]
    for path, node in before.items():
        assert after[path]["uptime"] > node["uptime"], path
        assert after[path]["incarnation"] == 1, path
    assert shop.end(signal.SIGTERM) == 0
    (crash,) = [record for record in shop.records if record["level"] == "error"]
    assert (crash["event"], crash["service"]) == ("service crashed", COURIER)
    assert "cents = order.cents()" in crash["exception"]
    assert crash["exception"].endswith("ValueError: bad order 900: x at 1.00")
    assert shop.totals()["dropped"] == ["900"]


def test_a_crash_in_the_pool_restarts_the_whole_pool_and_nobody_else(
    open_shop: Callable[..., Shop],
) -> None:
    shop = opened(open_shop())

    shop.send("900,café au lait,1,3.20", "901,lamp,1,1.00")
    for packer in PACKERS:
        shop.wait_for_event("service restarted", packer)
    shop.wait_for_delivery("901")

    restarted = {path for path, node in shop.tree().items() if node["restarts"]}
    assert restarted == set(PACKERS)
    assert shop.end(signal.SIGTERM) == 0
    assert shop.count("service crashed") == 1
    assert shop.totals()["dropped"] == ["900"]


def test_four_bad_orders_within_five_seconds_escalate_and_the_log_says_why(
    open_shop: Callable[..., Shop],
) -> None:
    shop = opened(open_shop())

    shop.send(*[f"{number},lamp,x,1.00" for number in (901, 902, 903, 904)], "905,lamp,1,1.00")
    gave_up = shop.wait_for_event("supervisor gave up", FLEET)
    shop.wait_for_event("service restarted", FLEET)
    shop.wait_for_delivery("905")
    tree = shop.tree()

    assert gave_up["reason"].startswith(
        "shop/fleet gave up: more than 3 restarts within 5 s, the last for courier "
        "(ValueError: bad order 90"
    )
    assert shop.count("service crashed", COURIER) == 4
    assert tree[FLEET]["restarts"] == 1
    assert tree[FLEET]["last_failure"]["type"].endswith("MaxRestartsExceeded")
    assert tree[COURIER]["restarts"] == 3
    for path in [PACKING, *PACKERS, COURIER]:
        assert tree[path]["incarnation"] > 1, path
    for path in set(tree) - {FLEET, PACKING, *PACKERS, COURIER}:
        assert tree[path]["incarnation"] == 1, path
    assert {node["state"] for node in tree.values()} == {"running"}
    assert shop.end(signal.SIGTERM) == 0
    totals = shop.totals()
    assert sorted(totals["dropped"]) == ["901", "902", "903", "904"]
    assert is_complete(totals)


def test_if_bad_orders_do_not_end_the_app_gives_up_and_the_totals_are_complete(
    open_shop: Callable[..., Shop],
) -> None:
    shop = opened(open_shop())

    with shop.connect() as connection:
        connection.sendall("".join(f"{number},lamp,x,1.00\n" for number in range(16)).encode())
        code = shop.end()

    assert code == 1
    assert shop.count("supervisor gave up", FLEET) == 4
    assert shop.count("supervisor gave up", "shop") == 1
    totals = shop.totals()
    assert (totals["accepted"], totals["delivered"], len(totals["dropped"])) == (17, 1, 16)


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
    stopped = [it["service"] for it in shop.records if it["event"] == "service stopped"]
    assert stopped == IN_REVERSE
    assert all(record["level"] == "info" for record in shop.records), shop.log
    totals = shop.totals()
    assert totals["waiting"]
    assert totals["delivered"] == shop.count("delivered")
    assert is_complete(totals)
    assert not list(shop.totals_file.parent.glob("*.draft"))


def test_no_accepted_order_is_lost_by_restarts(open_shop: Callable[..., Shop]) -> None:
    shop = opened(open_shop())
    good = [f"{number},lamp,1,1.00" for number in range(100, 130)]
    orders = [*good[:10], "900,lamp,x,1", *good[10:20], "901,café,1,1", *good[20:], "902,lamp,x,1"]

    assert len(shop.send(*orders)) == len(orders)
    shop.wait_for(lambda it: it["event"] == "delivered", 1 + len(good))
    shop.wait_for(lambda it: it["event"] == "order dropped", 3)

    assert shop.end(signal.SIGTERM) == 0
    totals = shop.totals()
    assert totals["cents"] == 640 + len(good) * 100
    assert sorted(totals["dropped"]) == ["900", "901", "902"]
    assert totals["waiting"] == []
    assert is_complete(totals)


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


def test_if_the_port_is_taken_the_shop_says_so_and_never_comes_up(
    open_shop: Callable[..., Shop],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        # gevent leaves a socket that it could not bind to the garbage collector.
        shop = open_shop(port=port, warnings="error,ignore:unclosed:ResourceWarning")
        assert shop.end() == 3

    error = shop.wait_for_event("service failed to start", "shop/intake")
    assert error["exception"].endswith(
        f"OSError: cannot listen on port {port} (Address already in use): "
        "give another one in ORDERS_PORT"
    )


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
