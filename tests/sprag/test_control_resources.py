"""What a running app answers on its control socket, held against the documented schema."""

from __future__ import annotations

import json
import logging
import signal
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest
from jsonschema import Draft202012Validator

from controlled import SCHEMA_FILE, Connection, aside, ask, check, served
from processes import app, run
from sprag import (
    App,
    DynamicSupervisor,
    Service,
    Supervisor,
    Worker,
    WorkerPool,
    __version__,
)
from sprag.control.events import change_to_json
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from processes import Process
    from sprag.testing import VirtualClock


class Mail(Service):
    def on_start(self) -> None:
        self.log.info("connected", port=25)
        self.interval(lambda: self.emit("tick", 1), 0.01)


class Feed(Service):
    def on_start(self) -> None:
        self.listen("tick", lambda _data: None)
        self.cron("0 0 1 1 *", self.celebrate, tz="Europe/Rome")
        self.cron("* * * * *", self.celebrate)
        self.probe(lambda: True, every=3600)

    def celebrate(self) -> None:
        """Do nothing."""

    def run(self) -> None:
        gevent.sleep(3600)


class Courier(Service):
    lives = 0

    def run(self) -> None:
        Courier.lives += 1
        if Courier.lives <= 2:
            raise ValueError(f"bad order {Courier.lives}")
        gevent.sleep(3600)


class Busy(Service):
    def run(self) -> None:
        while True:
            end = time.monotonic() + 0.004
            while time.monotonic() < end:
                pass
            gevent.sleep(0.004)


class Slow(Service):
    lives = 0
    name = "slow"

    def on_start(self) -> None:
        if Slow.lives:
            gevent.sleep(30)
        Slow.lives += 1


class Pool(DynamicSupervisor):
    def on_start(self) -> None:
        self.start_child(Service(), name="one", restart="temporary")


class Fleet(Supervisor):
    pass


class Packer(Worker):
    def handle(self, item: Any) -> Any:
        return item


def new_shop() -> App:
    Courier.lives = Slow.lives = 0
    return App(
        name="shop",
        providers={
            "mail": Mail(),
            "feed": Feed(),
            "busy": Busy(),
            "slow": Slow(),
            "pool": Pool(),
            "packing": WorkerPool(Packer, size=2),
            "fleet": Fleet(
                [(Courier(), {"name": "courier"}), (Feed(), {"name": "a b%c"})],
                strategy="one_for_all",
            ),
        },
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The control socket of an app that runs in this process."""
    logger = logging.getLogger("sprag")
    before, records = logger.level, _Kept()
    logger.setLevel(logging.INFO)
    logger.addHandler(records)
    app = new_shop()
    with served(app, tmp_path_factory.mktemp("run")) as path:
        while Courier.lives < 3:
            gevent.sleep(0.01)
        yield path
    logger.removeHandler(records)
    logger.setLevel(before)
    assert [event for event in records.events if "control" in event] == []


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.events.append(str(record.msg))


@pytest.fixture
def get(shop: Path) -> Callable[[str], Any]:
    def get(target: str, *, status: int = 200) -> Any:
        found, answer = aside(ask, shop, "GET", target)
        assert found == status, answer
        return answer

    return get


@pytest.fixture
def post(shop: Path) -> Callable[..., Any]:
    def post(target: str, *, status: int = 200) -> Any:
        found, answer = aside(ask, shop, "POST", target)
        assert found == status, answer
        check("done" if status in {200, 202, 504} else "error", answer)
        return answer

    return post


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def test_the_tree_or_a_part_of_it(get: Callable[..., Any]) -> None:
    whole = get("/v1/tree")
    check("tree", whole)
    assert whole["path"] == "shop"
    part = get("/v1/tree?path=fleet")
    check("tree", part)
    assert part["path"] == "shop/fleet"
    assert [child["name"] for child in part["children"]] == ["courier", "a b%c"]


def test_one_service_in_full(get: Callable[..., Any]) -> None:
    answer = get("/v1/service/shop/fleet/courier")
    check("service", answer)
    assert [failure["message"] for failure in answer["failures"]] == ["bad order 1", "bad order 2"]
    assert 'raise ValueError(f"bad order' in answer["failures"][0]["traceback"]
    assert answer["counters"]["restarts"] == 2
    assert "service crashed" in [line["event"] for line in answer["log"]]

    mail = get("/v1/service/mail")
    check("service", mail)
    assert mail["log"][0]["event"] == "connected"
    assert mail["log"][0]["fields"] == {"port": "25"}
    assert mail["counters"]["ticks"] > 0

    feed = get("/v1/service/feed")
    check("service", feed)
    assert [cron["expression"] for cron in feed["crons"]] == ["* * * * *", "0 0 1 1 *"]
    assert [cron["tz"] for cron in feed["crons"]] == ["UTC", "Europe/Rome"]
    assert feed["crons"][1]["next_run"].endswith("-12-31T23:00:00.000+00:00")
    assert feed["crons"][1]["function"] == "Feed.celebrate"
    (probe,) = feed["probes"]
    assert (probe["every"], probe["timeout"], probe["failures"]) == (3600, 2, 3)
    assert (probe["failed"], probe["last"], probe["ticks"]) == (0, "", 0)

    fleet = get("/v1/service/fleet")
    assert fleet["children_counts"] == {"specs": 2, "active": 2, "supervisors": 0, "workers": 2}
    assert get("/v1/service")["path"] == "shop"
    assert get("/v1/service/shop/fleet/a%20b%25c")["name"] == "a b%c"


def test_why_tells_of_its_own_end_and_of_what_took_it_along(get: Callable[..., Any]) -> None:
    answer = get("/v1/why/fleet/courier")
    check("why", answer)
    first, second = answer["rulings"]
    assert (first["decision"], first["strategy"]) == ("restart", "one_for_all")
    assert first["covered"] == ["shop/fleet/courier", "shop/fleet/a b%c"]
    assert (first["restarts"], second["restarts"], second["max_restarts"]) == (1, 2, 3)
    assert first["failure"]["message"] == "bad order 1"

    along = get("/v1/why/fleet/a%20b%25c")
    assert [ruling["is_own"] for ruling in along["rulings"]] == [False, False]
    assert get("/v1/why/mail")["rulings"] == []


def test_what_is_not_there_is_not_found(get: Callable[..., Any], post: Callable[..., Any]) -> None:
    for target in (
        "/v1/service/nope",
        "/v1/why/nope",
        "/v1/tree?path=fleet/nope",
        "/v1/stacks?path=x",
    ):
        answer = get(target, status=404)
        check("error", answer)
        assert answer["name"] == "UnknownService"
    post("/v1/stop/fleet/nope", status=404)
    assert "there is GET /v1/events" in get("/v1/event", status=404)["error"]
    assert "POST /v1/start/PATH" in post("/v1/start", status=404)["error"]


def test_a_service_is_stopped_and_started_again(post: Callable[..., Any]) -> None:
    stopped = post("/v1/stop/mail?timeout=5")
    assert (stopped["done"], stopped["before"], stopped["state"]) == (True, "running", "stopped")
    assert stopped["report"]["clean"] == 1
    again = post("/v1/stop/mail")
    assert (again["before"], again["state"]) == ("stopped", "stopped")
    started = post("/v1/start/mail")
    assert (started["before"], started["state"]) == ("stopped", "running")


def test_the_results_are_those_of_otp(post: Callable[..., Any]) -> None:
    """otp-rules, appendix A."""
    assert post("/v1/start/mail", status=409)["name"] == "ChildRunning"
    assert post("/v1/start/shop", status=409)["name"] == "ChildRunning"
    assert post("/v1/restart/shop", status=409)["name"] == "NotRunning"
    post("/v1/stop/fleet")
    assert post("/v1/start/fleet/courier", status=404)["name"] == "UnknownService"
    post("/v1/start/fleet")


def test_a_restart_is_a_stop_and_a_start_of_the_same(
    post: Callable[..., Any], get: Callable[..., Any]
) -> None:
    before = get("/v1/service/feed")
    answer = post("/v1/restart/feed?timeout=5")
    assert (answer["before"], answer["state"]) == ("running", "running")
    assert answer["service"]["incarnation"] == before["incarnation"] + 1
    assert answer["service"]["restarts"] == before["restarts"]  # not counted (otp-rules 17)


def test_a_pool_gets_so_many_workers(post: Callable[..., Any], get: Callable[..., Any]) -> None:
    answer = post("/v1/scale/packing?size=3")
    assert answer["workers"] == {"before": 2, "now": 3, "unit": "worker"}
    assert post("/v1/scale/packing?size=1")["workers"] == {"before": 3, "now": 1, "unit": "worker"}
    node = get("/v1/service/packing")
    assert node["items"] == dict.fromkeys(("queued", "running", "done", "poison", "dropped"), 0)
    assert get("/v1/service/feed")["items"] is None
    for size in ("", "0", "-1", "1.5", "9999999999"):
        assert "whole number" in post(f"/v1/scale/packing?size={size}", status=400)["error"]
    assert post("/v1/scale/feed?size=2", status=409)["name"] == "NoPool"
    post("/v1/stop/packing")
    assert post("/v1/scale/packing?size=2", status=409)["name"] == "NotRunning"
    post("/v1/start/packing")


def test_a_temporary_child_is_restarted_too(
    post: Callable[..., Any], get: Callable[..., Any]
) -> None:
    post("/v1/restart/pool/one")
    node = get("/v1/service/pool/one")
    assert (node["state"], node["incarnation"]) == ("running", 2)
    assert node["policy"]["restart"] == "temporary"


def test_a_start_that_takes_long_goes_on_after_the_time(
    post: Callable[..., Any], get: Callable[..., Any]
) -> None:
    answer = post("/v1/restart/slow?timeout=0.1", status=504)
    assert (answer["done"], answer["state"]) == (False, "starting")
    ready = get("/v1/ready", status=503)
    check("ready", ready)
    assert ready["not_ready"] == [{"path": "shop/slow", "state": "starting", "reason": ""}]
    assert get("/v1/ready?path=fleet")["ready"] is True
    waiting = cast("Any", gevent.spawn)(get, "/v1/ready?timeout=10")
    assert post("/v1/stop/slow?timeout=5")["state"] == "stopped"  # aborts the start
    assert waiting.get(timeout=20)["ready"] is True  # stopped on purpose is as it should be


def test_nobody_has_to_wait(post: Callable[..., Any], get: Callable[..., Any]) -> None:
    answer = post("/v1/restart/feed?wait=0", status=202)
    assert answer["done"] is False
    deadline = time.monotonic() + 10
    while get("/v1/service/feed")["state"] != "running" and time.monotonic() < deadline:
        pass


@pytest.mark.parametrize("query", ["timeout=-1", "timeout=x", "timeout=nan", "timeout=1e99"])
def test_a_wrong_timeout_is_refused(post: Callable[..., Any], query: str) -> None:
    assert "seconds, 0 or more" in post(f"/v1/stop/mail?{query}", status=400)["error"]


def test_stacks_by_service(get: Callable[..., Any]) -> None:
    answer = get("/v1/stacks")
    check("stacks", answer)
    by = {(each["service"], each["what"]): each for each in answer["stacks"]}
    run = by["shop/feed", "run"]
    assert [frame["function"] for frame in run["frames"]][:2] == ["run", "sleep"]
    assert run["frames"][0]["source"] == "gevent.sleep(3600)"
    assert (None, "hub") in by
    only = get("/v1/stacks?path=feed")
    assert {each["service"] for each in only["stacks"]} == {"shop/feed"}


def test_top_finds_who_is_busy_and_who_is_told_of_events(get: Callable[..., Any]) -> None:
    answer = get("/v1/top?seconds=1.5")
    check("top", answer)
    first, *others = answer["services"]
    assert first["path"] == "shop/busy"
    assert first["cpu"] > 0.1
    assert all(each["cpu"] < first["cpu"] for each in others)
    by_name = {each["name"]: each for each in answer["services"]}
    assert by_name["feed"]["events"] > 10
    assert by_name["mail"]["ticks"] > 10
    assert by_name["mail"]["events"] == 0
    few = get("/v1/top?seconds=0.1&sort=path&limit=2&path=fleet")
    assert [each["path"] for each in few["services"]] == ["shop/fleet", "shop/fleet/a b%c"]
    assert get("/v1/top?sort=size", status=400)["error"].startswith("sort='size'")


def test_paths_go_on_from_their_beginning(get: Callable[..., Any]) -> None:
    answer = get("/v1/paths?prefix=f")
    check("paths", answer)
    assert [each["path"] for each in answer["paths"]] == ["feed", "fleet"]
    below = get("/v1/paths?prefix=shop/fleet/c")["paths"]
    assert [each["path"] for each in below] == ["shop/fleet/courier"]
    assert get("/v1/paths?prefix=nope/")["paths"] == []


def lines_of(connection: Connection) -> Iterator[Any]:
    connection.request("GET", "/v1/events")
    response = connection.getresponse()
    assert response.status == 200
    while line := response.readline():
        yield json.loads(line)


def following(events: Iterator[Any]) -> Any:
    return next(events)


def test_events_are_a_snapshot_and_then_the_changes(shop: Path, post: Callable[..., Any]) -> None:
    with closing(Connection(shop)) as connection:
        events = lines_of(connection)
        paths: list[str] = []
        while (event := aside(following, events))["event"] != "live":
            check("event", event)
            assert event["event"] == "snapshot"
            paths.append(event["path"])
        check("event", event)
        assert event["version"] == __version__
        assert event["services"] == len(paths)
        assert paths[:2] == ["shop", "shop/mail"]
        post("/v1/restart/mail")
        for expected in ("stopped", "started"):
            event = aside(following, events)
            check("event", event)
            assert (event["event"], event["path"]) == (expected, "shop/mail")


class Tardy(Service):
    def on_start(self) -> None:
        gevent.sleep(2.0)


def test_events_tell_of_readiness_and_how_long_a_start_took(clock: VirtualClock) -> None:
    del clock
    told: list[Any] = []
    with Supervisor([Tardy()], name="top") as top:
        tardy = top.service("Tardy")
        tree_of(top).observers.append(lambda record: told.append(change_to_json(record)))
        tardy.set_ready(False, "later")
        tardy.set_ready()
        tardy.stop()
        tardy.start()
    for event in told:
        check("event", event)
    assert [(event["event"], event["seconds"]) for event in told[:4]] == [
        ("unready", None),
        ("ready", None),
        ("stopped", 0.0),
        ("started", 2.0),
    ]


@pytest.mark.slow
def test_events_say_when_the_app_ends(tmp_path: Path) -> None:
    app(tmp_path, 'app = App(name="shop", providers={"a": Service()})')
    with run(tmp_path) as process:
        process.says('"event": "up"')
        with closing(Connection(process.socket())) as connection:
            events = lines_of(connection)
            while next(events)["event"] != "live":
                pass
            process.send(signal.SIGTERM)
            rest = list(events)
            assert [event["event"] for event in rest] == ["stopped", "stopped", "end"]
            check("event", rest[-1])
        assert process.ends() == 0


@pytest.mark.parametrize("path", ["", "/", "/shop", "//", "/?whole=0", "/mail?whole=1"])
def test_no_path_ends_the_app(post: Callable[..., Any], get: Callable[..., Any], path: str) -> None:
    refused = post(f"/v1/stop{path}", status=400)
    assert "whole=1" in refused["error"] or refused["name"] == "WholeApp"
    assert get("/v1/tree")["state"] == "running"


@pytest.mark.slow
def test_the_root_is_stopped_from_outside_and_answers_before_it_is_gone(tmp_path: Path) -> None:
    app(tmp_path, 'app = App(name="shop", providers={"a": Service()})')
    with run(tmp_path) as process:
        process.says('"event": "up"')
        status, answer = ask(process.socket(), "POST", "/v1/stop?whole=1")
        assert (status, answer["state"], answer["report"]["clean"]) == (200, "stopped", 2)
        assert process.ends() == 0


def is_sending(process: Process) -> bool:
    """Say whether it waits for a client that does not read."""
    status, answer = ask(process.socket(), "GET", "/v1/stacks")
    assert status == 200
    return any(
        (frame["function"], frame["file"].endswith("control/http.py")) == ("send", True)
        for each in answer["stacks"]
        for frame in each["frames"]
    )


@pytest.mark.slow
def test_a_client_of_events_that_does_not_read_is_dropped_and_nobody_waits(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Spin(Service, restart="permanent"):
            def on_start(self):
                self.lives = 0
                self.timeout(self.finish, 0.02)
        app = App(name="shop", providers={
            "ticks": Service(),
            "spins": Supervisor([Spin() for _ in range(40)],
                                max_restarts=10**9),
        })
        """,
    )
    with run(tmp_path, "--log-level", "error") as process:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(process.socket()))
            client.sendall(b"GET /v1/events HTTP/1.1\r\n\r\n")
            deadline = time.monotonic() + 15
            for waits in (True, False):  # it comes to wait for the client, and drops it
                while is_sending(process) is not waits:
                    assert time.monotonic() < deadline
                    time.sleep(0.2)
            client.settimeout(20)
            rest = b""
            while piece := client.recv(1 << 16):
                rest += piece
            assert b'"event": "end"' not in rest[-200:]
        process.send(signal.SIGTERM)
        assert process.ends() == 0
