"""The recipes of docs/examples/recipes do what their page says, with fakes for what is away."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Service, State, Supervisor
from sprag.testing import LeakCheck, RunningTree, fake_programs, virtual_time
from sprag.testing.plugin import run_tree, virtual_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["run_tree", "virtual_clock"]  # fixtures

RECIPES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "recipes"


def recipe(name: str) -> Any:
    """Return a recipe, loaded anew: its app is a tree that starts once."""
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def top(*services: Service) -> Supervisor:
    return Supervisor(list(services), name="top")


@pytest.fixture
def clock() -> Iterator[Any]:
    with virtual_time() as clock, LeakCheck():
        yield clock


def test_each_recipe_is_an_app_and_is_on_the_page() -> None:
    page = (RECIPES.parents[1] / "recipes.md").read_text(encoding="utf-8")
    names = {each.stem for each in RECIPES.glob("*.py")}

    for name in names:
        assert f"(examples/recipes/{name}.py)" in page, name
        if not name.startswith("test_"):
            assert recipe(name).app.snapshot().state is State.NEW


class FakeRedis:
    """The three commands, on lists that outlive a connection."""

    def __init__(self, lists: dict[str, list[bytes]]) -> None:
        self._lists = lists
        self.is_closed = False

    def lmove(self, first: str, second: str, src: str, dest: str) -> bytes | None:
        if not self._lists.get(first):
            return None
        job = self._lists[first].pop(0 if src == "LEFT" else -1)
        self._lists.setdefault(second, []).insert(
            0 if dest == "LEFT" else len(self._lists.get(second, [])), job
        )
        return job

    def blmove(self, first: str, second: str, timeout: float, src: str, dest: str) -> bytes | None:
        if not self._lists.get(first):
            gevent.sleep(timeout)
        return self.lmove(first, second, src, dest)

    def lrem(self, name: str, count: int, job: bytes) -> None:
        assert count == 1
        self._lists[name].remove(job)

    def close(self) -> None:
        self.is_closed = True


def test_a_job_of_redis_that_crashes_its_consumer_is_done_again_and_in_order(clock: Any) -> None:
    lists = {"jobs": [b"1", b"2", b"3"]}
    done: list[bytes] = []
    crashes = [b"2"]

    def handle(job: bytes) -> None:
        if job in crashes:
            crashes.remove(job)
            raise ValueError(job)
        done.append(job)

    def connect() -> FakeRedis:
        if clock.now < 5:
            raise ConnectionError("not there yet")
        return FakeRedis(lists)

    consumer = recipe("redis_consumer").Consumer(handle, connect)
    with RunningTree(top(consumer)) as tree:
        assert tree.state("Consumer") is State.RESTARTING
        clock.advance(30)
        assert done == [b"1", b"2", b"3"]
        assert lists == {"jobs": [], "jobs:taken": []}


def test_a_record_that_crashes_one_partition_holds_up_no_other(clock: Any) -> None:
    module = recipe("log_consumer")
    log = module.MemoryLog(2)
    for record in ("a", "bad", "b"):
        log.append(0, record)
    log.append(1, "c")
    done: list[str] = []

    def handle(record: str) -> None:
        if record == "bad":
            raise ValueError(record)
        done.append(record)

    with RunningTree(module.consumers(log, handle)) as tree:
        clock.advance(1)
        assert done == ["a", "c"]
        log.append(1, "d")
        clock.advance(20)
        assert done == ["a", "c", "d"]
        assert log.committed(0) == 1
        assert tree.service("p0").snapshot().restarts >= 3
        assert tree.service("p1").snapshot().restarts == 0


def test_the_poller_is_patient_and_says_what_it_finds(clock: Any) -> None:
    module = recipe("poller")
    answers: list[Any] = [{"degrees": 7}, OSError("ill"), OSError("ill"), {"degrees": 9}]

    def fetch(url: str) -> Any:
        assert url == "http://there"
        if isinstance(found := answers.pop(0), Exception):
            raise found
        return found

    display, poller = module.Display(), module.Poller("http://there", fetch)
    with RunningTree(top(display, poller)):
        clock.advance(7)  # each call may come 6 seconds late
        assert display.last == {"degrees": 7}
        clock.advance(100)
        assert answers == []
        assert display.last == {"degrees": 9}
        assert poller.snapshot().restarts == 2


def test_the_schedule_keeps_the_times_of_its_place(clock: Any) -> None:
    done: list[str] = []
    app = recipe("schedule").calendar(lambda: done.append("tidy"), lambda: done.append("report"))

    with RunningTree(app):  # 2026-01-01, a Thursday, 01:00 in Berlin
        clock.advance(2 * 3600)
        assert done == ["tidy"]
        clock.advance(4 * 24 * 3600 + 6 * 3600)
        assert done.count("report") == 1
        assert done.count("tidy") == 5


def test_the_server_ends_its_connections_with_itself() -> None:
    echo = recipe("tcp_server").Echo(0)
    with echo:
        address = ("127.0.0.1", echo.port)
        client = gevent.get_hub().threadpool.apply(socket.create_connection, (address,))
        with client:
            client.sendall(b"hello\n")
            assert gevent.get_hub().threadpool.apply(client.recv, (10,)) == b"HELLO\n"
            assert echo.snapshot().owned.greenlets == 1
            echo.stop(1)
            assert gevent.get_hub().threadpool.apply(client.recv, (10,)) == b""


def test_the_feeder_restarts_with_celery_and_the_web_does_not(clock: Any) -> None:
    sent: list[int] = []
    with fake_programs() as programs:
        app = recipe("beside").shop(lambda: sent.append(1))
        with RunningTree(app) as tree:
            programs["shop/jobs"].exit(1)
            clock.advance(2)
            lives = [
                tree.service(each).snapshot().incarnation for each in ("web", "jobs", "feeder")
            ]
            assert lives == [1, 2, 2]
            clock.advance(60)
            assert sent


sys.modules["database"] = recipe("database")
of_the_database = recipe("test_database")
for _name in (
    "shop",
    "lives",
    *(each for each in dir(of_the_database) if each.startswith("test_")),
):
    globals()[_name] = getattr(of_the_database, _name)
