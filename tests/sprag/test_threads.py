"""Native threads and trees: one way in, and a clear no everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import App, DynamicSupervisor, Service, Supervisor
from sprag.exceptions import BadValue, NotRunning, WrongThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gevent.threadpool import ThreadPool


class Worker(Service):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def note(self, *what: object) -> None:
        self.seen.extend(what)


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    """Native threads, gone at the end."""
    pool = gevent.get_hub().threadpool_class(3, hub=gevent.get_hub())
    yield pool
    pool.kill()


def wait_for(condition: Callable[[], object]) -> None:
    with gevent.Timeout(10):
        while not condition():
            gevent.sleep(0.001)


def test_a_call_from_a_thread_runs_as_the_services_code(threads: ThreadPool) -> None:
    worker = Worker()

    def work() -> None:
        worker.note(worker.spawn(int).parent is gevent.get_hub())

    with Supervisor([worker]):
        for number in range(100):
            threads.apply(worker.call_from_thread, (worker.note, number))
        threads.apply(worker.call_from_thread, (work,))
        wait_for(lambda: len(worker.seen) == 101)
        assert worker.seen == [*range(100), True]


def test_it_wakes_a_loop_that_has_nothing_else_to_do(threads: ThreadPool) -> None:
    worker = Worker()
    with Supervisor([worker], name="top") as top:
        main = gevent.getcurrent()
        worker.spawn(gevent.sleep, 60)
        threads.spawn(worker.call_from_thread, top.stop)
        assert top.wait(10) is not None
        assert main is gevent.getcurrent()


def test_its_exception_is_the_services_crash(threads: ThreadPool, log: Any) -> None:
    worker = Worker()

    def boom() -> None:
        raise ValueError("boom")

    with Supervisor([worker]):
        threads.apply(worker.call_from_thread, (boom,))
        wait_for(lambda: worker.snapshot().incarnation == 2)
    assert [each.sprag["event"] for each in log.at_least(40)] == ["service crashed"]


def test_a_call_for_a_service_that_does_not_run_is_dropped_with_a_warning(
    threads: ThreadPool, log: Any
) -> None:
    worker = Worker()
    with Supervisor([worker]) as top:
        top.terminate_child("Worker")
        threads.apply(worker.call_from_thread, (worker.note, 1))
        wait_for(lambda: log.at_least(30))
    worker.call_from_thread(worker.note, 2)  # nor when the whole tree is down
    assert worker.seen == []
    said = [each.getMessage() for each in log.at_least(30)]
    dropped = "Worker: call from a thread dropped (function='Worker.note', state='stopped')"
    assert said == [f"Supervisor/{dropped}", dropped]


def test_a_call_that_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(NotRunning):
        Worker().call_from_thread(print)
    with Supervisor([Worker()]) as top, pytest.raises(BadValue):
        top.call_from_thread("print")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def calls(top: Supervisor, worker: Worker, pool: DynamicSupervisor) -> list[Callable[[], object]]:
    timer = worker.interval(int, 60)
    return [
        lambda: worker.interval(int, 1),
        lambda: worker.timeout(int, 1),
        lambda: worker.spawn(int),
        lambda: worker.listen("x", print),
        lambda: worker.emit("x"),
        lambda: worker.adopt(Service()),
        lambda: worker.add_cleanup(int),
        lambda: worker.watch(pool, print),
        lambda: worker.service("Worker"),
        lambda: worker.start(),
        lambda: worker.stop(),
        lambda: worker.finish(),
        lambda: worker.wait(0),
        lambda: worker.snapshot(),
        lambda: worker.not_ready(),
        lambda: worker.beat(),
        lambda: worker.hold_exits(),
        lambda: worker.release_exits(),
        lambda: worker.reload_tree(),
        lambda: top.start_child(Service()),
        lambda: top.terminate_child("Worker"),
        lambda: top.restart_child("Worker"),
        lambda: top.delete_child("Worker"),
        lambda: top.which_children(),
        lambda: top.count_children(),
        lambda: top.get_childspec("Worker"),
        lambda: pool.start_child(Service()),
        lambda: pool.terminate_child("Service"),
        lambda: pool.which_children(),
        lambda: pool.count_children(),
        timer.cancel,
    ]


def test_every_other_call_from_a_wrong_thread_is_refused(threads: ThreadPool) -> None:
    worker, pool = Worker(), DynamicSupervisor()
    with App(providers={"Worker": worker, "pool": pool}) as top:
        before = top.snapshot()
        for call in calls(top, worker, pool):
            with pytest.raises(WrongThread, match="call_from_thread"):
                threads.apply(call)
        assert [each.state for each in top.snapshot().children] == [
            each.state for each in before.children
        ]


def test_a_tree_that_has_ended_may_be_started_in_another_thread(threads: ThreadPool) -> None:
    top = Supervisor([Worker()])
    with top:
        pass

    def elsewhere() -> str:
        with top:
            return top.snapshot().state.value

    assert threads.apply(elsewhere) == "running"
    with top:
        assert top.snapshot().incarnation == 3
