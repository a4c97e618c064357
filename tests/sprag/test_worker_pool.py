"""A pool of workers: each item is done, poison or dropped, and a bad one harms nobody else."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import GreenletExit, get_hub, sleep

from scripted import spawn
from sprag import Service, State, Supervisor, Worker, WorkerPool
from sprag.exceptions import (
    BadPolicy,
    BadValue,
    CalledInHub,
    NotRunning,
    PoisonItem,
    QueueFull,
    StartFailed,
    TaskCancelled,
    WouldDeadlock,
)
from sprag.services.pool import size_of
from sprag.testing import RunningTree, check_invariants
from sprag_supervisor import hidden_methods, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag import Task
    from sprag.testing import VirtualClock

Pool = WorkerPool


class Bad(Exception):
    pass


class Packer(Worker):
    """Takes as many seconds as the item says; a negative one crashes it then."""

    def handle(self, item: float) -> float:
        sleep(abs(item))
        if item < 0:
            raise Bad(item)
        return item


@pytest.fixture
def top(clock: VirtualClock) -> Iterator[Supervisor]:
    with Supervisor(name="top") as top:
        yield top
        clock.settle()


def pool_in(top: Supervisor, worker: Any = Packer, **given: Any) -> WorkerPool:
    policy: dict[str, Any] = {"name": "pool", "size": 2, **given}
    return top.start_child(WorkerPool(worker, **policy))


def items(pool: WorkerPool) -> tuple[int, ...]:
    found = pool.snapshot().items
    assert found is not None
    return tuple(found)


def ends(tasks: list[Task[Any]]) -> list[object]:
    return [end(task) for task in tasks]


def end(task: Task[Any]) -> object:
    try:
        return task.get(timeout=0)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return type(error)


def restarts(top: Supervisor) -> Counter[str]:
    pool = top.snapshot().children[0]
    return Counter({child.name: child.restarts for child in pool.children}) + Counter()


def test_so_many_items_are_handled_at_a_time(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top)
    tasks = [pool.submit(1) for _ in range(5)]
    clock.settle()
    assert items(pool) == (3, 2, 0, 0, 0)
    clock.advance(1)
    assert items(pool) == (1, 2, 2, 0, 0)
    clock.advance(2)
    assert items(pool) == (0, 0, 5, 0, 0)
    assert ends(tasks) == [1] * 5
    assert [child.name for child in pool.snapshot().children] == ["worker-1", "worker-2"]


def test_a_bad_item_is_tried_again_and_is_poison_then(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top)
    task = pool.submit(-1)
    with pytest.raises(PoisonItem, match=r"top/pool: an item has crashed 2 workers.*Bad: -1") as e:
        task.get()
    assert isinstance(e.value.__cause__, Bad)
    assert items(pool) == (0, 0, 0, 1, 0)
    clock.settle()
    assert restarts(top).total() == 2


def test_crashes_on_items_count_toward_no_limit(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top, max_restarts=0, retries=2)
    tasks = [pool.submit(-0.01) for _ in range(20)]
    clock.advance(5)
    assert items(pool) == (0, 0, 0, 20, 0)
    assert restarts(top).total() == 60
    assert pool.snapshot().state is State.RUNNING
    assert pool.snapshot().restarts == 0
    tree = pool._tree_
    assert tree is not None
    assert {(r.decision, r.restarts) for r in tree.ledger} == {("restart", 0)}
    assert set(ends(tasks)) == {PoisonItem}


def test_a_crash_without_an_item_counts(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top, max_restarts=1)
    task = pool.submit(50)
    for _ in range(2):
        clock.settle()
        top.service("pool/worker-2").spawn(lambda: 1 / 0)
    clock.advance(6)
    assert pool.snapshot().restarts == 1
    assert end(task) is TaskCancelled
    assert items(pool) == (0, 0, 0, 0, 0)


def test_a_crash_in_on_start_counts(top: Supervisor, clock: VirtualClock) -> None:
    fails: list[bool] = []

    class Fails(Packer):
        def on_start(self) -> None:
            if fails:
                raise OSError("no printer")

    pool = pool_in(top, Fails, max_restarts=2)
    fails.append(True)
    pool.submit(-1)
    clock.advance(1.5)
    assert pool.snapshot().state is not State.RUNNING


def test_a_crash_elsewhere_in_a_worker_counts_against_the_item_that_it_has_in_hand(
    top: Supervisor, clock: VirtualClock
) -> None:
    class Spawns(Worker):
        def handle(self, item: float) -> None:
            self.spawn(self.fail)
            sleep(item)

        def fail(self) -> None:
            raise Bad

    pool = pool_in(top, Spawns, max_restarts=0)
    task = pool.submit(5)
    clock.advance(1)
    with pytest.raises(PoisonItem, match=r"crashed 2 workers, the last with .*Bad"):
        task.get()
    assert pool.snapshot().state is State.RUNNING


def test_what_on_failure_says_of_an_item_s_exception_is_done(
    top: Supervisor, clock: VirtualClock
) -> None:
    class Strict(Packer, on_failure={Bad: "escalate"}):
        pass

    pool = pool_in(top, Strict)
    pool.submit(-1)
    clock.advance(9)
    assert pool.snapshot().restarts == 1


def test_items_of_one_key_run_one_after_another_on_whoever_is_free(
    top: Supervisor, clock: VirtualClock
) -> None:
    begun: list[tuple[str, str]] = []

    class Notes(Worker):
        def handle(self, item: str) -> None:
            begun.append((item, path_of(self).rpartition("/")[2]))
            sleep(1)
            if item == "a1" and len(begun) < 3:
                raise Bad

    pool = pool_in(top, Notes)
    tasks = [pool.submit(item, key=item[0]) for item in ("a1", "a2", "a3", "b1")]
    clock.settle()
    assert [item for item, _ in begun] == ["a1", "b1"]
    clock.advance(10)
    assert [item for item, _ in begun] == ["a1", "b1", "a1", "a2", "a3"]
    assert ends(tasks) == [None] * 4
    assert len({worker for _, worker in begun}) == 2


def test_a_stop_waits_until_all_is_done(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top)
    tasks = [pool.submit(1) for _ in range(6)]
    report = pool.stop()
    assert (report.is_clean, report.seconds, report.dropped) == (True, 3, 0)
    assert ends(tasks) == [1] * 6


def test_what_a_stop_has_no_time_for_is_dropped_and_counted(
    top: Supervisor, clock: VirtualClock
) -> None:
    pool = pool_in(top, shutdown=2)
    tasks = [pool.submit(1) for _ in range(3)] + [pool.submit(99) for _ in range(4)]
    clock.settle()
    report = pool.stop()
    assert report.dropped == 4
    assert [(e.path, e.step, e.detail) for e in report.entries if e.path == "top/pool"] == [
        ("top/pool", "drain", "4 items left undone")
    ]
    assert ends(tasks) == [1, 1, 1] + [TaskCancelled] * 4


def test_a_pool_is_done_before_those_end_that_its_workers_need(clock: VirtualClock) -> None:
    class Press(Service):
        def print(self, item: int) -> int:
            self.spawn(sleep, 0)  # which only one that works can do
            return item

    class Prints(Worker):
        def handle(self, item: int) -> int:
            sleep(1)
            press: Press = self.service("inner/press")
            return press.print(item)

    inner = Supervisor([(Press(), {"name": "press"})], name="inner")
    pool = WorkerPool(Prints, size=2, name="pool")
    top = Supervisor([pool, inner], name="top")
    with top:
        tasks = [pool.submit(number) for number in range(6)]
        clock.settle()
        report = top.stop()
    assert report.is_clean
    assert ends(tasks) == list(range(6))


def test_a_bad_item_during_the_drain_costs_no_worker(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top, size=1)
    tasks = [pool.submit(seconds) for seconds in (0.5, -0.5, 0.5, -0.5, 0.5)]
    clock.settle()
    tree = pool._tree_
    assert tree is not None
    assert tree.drainers
    pool.stop()
    assert ends(tasks) == [0.5, PoisonItem, 0.5, PoisonItem, 0.5]
    assert not tree.drainers


def test_who_waits_for_a_place_gets_it_in_order_and_is_told_of_a_stop(
    top: Supervisor, clock: VirtualClock
) -> None:
    pool = pool_in(top, size=1, queue=1)
    pool.submit(1)
    clock.settle()
    pool.submit(1)
    waiting = [spawn(lambda: pool.submit(1)) for _ in range(3)]
    clock.settle()
    assert items(pool) == (1, 1, 0, 0, 0)
    clock.advance(1)
    assert [one.ready() for one in waiting] == [True, False, False]
    stopping = spawn(pool.stop)
    clock.settle()
    for one in waiting[1:]:
        with pytest.raises(NotRunning, match="submit an item"):
            one.get()
    with pytest.raises(NotRunning):
        pool.submit(1)
    assert stopping.get().is_clean
    assert items(pool) == (0, 0, 3, 0, 0)


def test_a_full_queue_can_refuse_or_drop(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top, size=1, queue=1, when_full="refuse")
    pool.submit(1)
    clock.settle()
    pool.submit(1)
    with pytest.raises(QueueFull, match="top/pool: 1 items wait"):
        pool.submit(1)
    assert items(pool) == (1, 1, 0, 0, 0)
    top.terminate_child("pool")
    top.delete_child("pool")

    pool = pool_in(top, size=1, queue=1, when_full="drop")
    pool.submit(1)
    clock.settle()
    pool.submit(1)
    dropped = pool.submit(1)
    with pytest.raises(TaskCancelled, match="the queue is full"):
        dropped.get()
    assert items(pool) == (1, 1, 0, 0, 1)


def test_workers_that_all_wait_for_a_place_in_their_own_pool_are_told(
    top: Supervisor, clock: VirtualClock
) -> None:
    class Splits(Worker):
        def handle(self, item: int) -> None:
            if item:
                pool.submit(item - 1)
                pool.submit(item - 1)

    pool = pool_in(top, Splits, size=2, queue=1, retries=0)
    tasks = [pool.submit(9), pool.submit(9)]
    clock.advance(1)
    causes = {type(task._error.__cause__) for task in tasks if task._error is not None}
    assert causes <= {WouldDeadlock}
    assert items(pool)[3]
    clock.settle()
    assert items(pool)[:2] == (0, 0)


def test_in_the_hub_a_place_cannot_be_waited_for(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top, size=1, queue=1)
    seen: list[object] = []

    def submit() -> None:
        try:
            seen.append(pool.submit(1).done)
        except CalledInHub:
            seen.append("cannot wait")

    for _ in range(3):
        get_hub().loop.run_callback(submit)
        clock.settle()
    assert seen == [False, False, "cannot wait"]


def test_an_item_that_nobody_has_begun_with_can_be_cancelled(
    top: Supervisor, clock: VirtualClock
) -> None:
    pool = pool_in(top, size=1)
    first, second, third = (pool.submit(1, key="k") for _ in range(3))
    clock.settle()
    assert second.cancel()
    assert not first.cancel()
    clock.advance(2)
    assert ends([first, second, third]) == [1, TaskCancelled, 1]
    assert items(pool) == (0, 0, 2, 0, 1)


def test_a_worker_that_is_stopped_finishes_what_it_has_in_hand(
    top: Supervisor, clock: VirtualClock
) -> None:
    pool = pool_in(top, size=1)
    tasks = [pool.submit(2), pool.submit(1)]
    clock.settle()
    report = top.service("pool/worker-1").stop()
    assert (report.is_clean, report.seconds) == (True, 2)
    assert ends(tasks)[0] == 2
    assert items(pool) == (1, 0, 1, 0, 0)
    pool.scale(1)
    clock.advance(1)
    assert items(pool) == (0, 0, 2, 0, 0)


def test_what_a_killed_worker_had_in_hand_goes_to_another(
    top: Supervisor, clock: VirtualClock
) -> None:
    pool = pool_in(top, size=2)
    task = pool.submit(4)
    clock.settle()
    top.service("pool/worker-1").stop(timeout=1)
    assert items(pool)[:2] in {(0, 1), (1, 0)}
    clock.advance(4)
    assert end(task) == 4


def test_the_number_of_workers_can_be_changed(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top, size=2)
    pool.scale(4)
    assert pool.snapshot().children[-1].name == "worker-4"
    busy = [pool.submit(3) for _ in range(2)]
    clock.settle()
    before = clock.now
    pool.scale(2)
    assert clock.now == before  # the idle ones went
    pool.scale(1)
    assert clock.now == before + 3  # who was busy has finished first
    assert len(pool.snapshot().children) == 1
    assert ends(busy) == [3, 3]
    more = [pool.submit(1) for _ in range(2)]
    clock.advance(2)
    assert ends(more) == [1, 1]
    for size in (0, -1, True, "3", None):
        with pytest.raises(BadValue, match="size"):
            pool.scale(size)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    pool.stop()
    with pytest.raises(NotRunning):
        pool.scale(3)


def test_a_pool_that_restarts_begins_anew_and_its_tasks_are_told(
    top: Supervisor, clock: VirtualClock
) -> None:
    pool = pool_in(top, queue=5)
    pool.scale(3)
    tasks = [pool.submit(50) for _ in range(6)]
    waits = spawn(lambda: [pool.submit(1) for _ in range(9)])
    clock.settle()
    pool.spawn(lambda: 1 / 0)
    clock.advance(9)
    assert ends(tasks) == [TaskCancelled] * 6
    with pytest.raises(NotRunning):
        waits.get()
    assert pool.snapshot().incarnation == 2
    assert items(pool) == (0, 0, 0, 0, 0)
    assert len(pool.snapshot().children) == 2
    task = pool.submit(1)
    clock.advance(1)
    assert end(task) == 1


def test_a_worker_is_a_service_whose_state_is_renewed_by_a_crash(
    top: Supervisor, clock: VirtualClock
) -> None:
    class Counts(Worker):
        def on_start(self) -> None:
            self.seen = 0

        def handle(self, item: object) -> int:
            self.seen += 1
            if item == "bad":
                raise Bad
            return self.seen

    pool = pool_in(top, Counts, size=1, retries=0)
    tasks = [pool.submit(item) for item in ("x", "x", "bad", "x")]
    clock.settle()
    assert ends(tasks) == [1, 2, PoisonItem, 1]


def test_a_kill_of_its_greenlet_in_the_midst_of_an_item_ends_neither_pool_nor_item(
    top: Supervisor, clock: VirtualClock
) -> None:
    class Quits(Worker):
        def handle(self, item: object) -> object:
            if item == "quit":
                raise GreenletExit
            return item

    pool = pool_in(top, Quits, size=1)
    tasks = [pool.submit("quit"), pool.submit("x")]
    clock.settle()
    assert ends(tasks) == [PoisonItem, "x"]


def test_a_straggler_of_a_worker_comes_too_late(top: Supervisor, clock: VirtualClock) -> None:
    class Deaf(Worker, shutdown=1):
        def handle(self, item: float) -> str:
            until = clock.now + item
            while clock.now < until:
                try:
                    sleep(until - clock.now)
                except GreenletExit:
                    continue
            return "late"

    pool = pool_in(top, Deaf, size=1, shutdown=1)
    task = pool.submit(60)
    clock.settle()
    report = pool.stop()
    assert (report.stragglers, report.dropped) == (1, 1)
    clock.advance(60)
    assert end(task) is TaskCancelled
    assert items(pool) == (0, 0, 0, 0, 1)


def test_its_crashes_are_restarts_in_the_ledger_and_among_the_events(clock: VirtualClock) -> None:
    pool = WorkerPool(Packer, size=1, name="pool", retries=0)
    with RunningTree(Supervisor([pool], name="top")) as tree:
        pool.submit(-1).cancel()
        pool.submit(-1)
        clock.advance(1)
        told = [(e.event, e.path) for e in tree.events if e.event in {"crashed", "restarted"}]
        assert told == [("crashed", "top/pool/worker-1"), ("restarted", "top/pool/worker-1")]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"size": 0}, "size=0"),
        ({"queue": 0}, "queue=0"),
        ({"queue": 1.5}, "queue=1.5"),
        ({"retries": -1}, "retries=-1"),
        ({"when_full": "drops"}, "did you mean 'drop'"),
        ({"worker": Packer()}, "its class: WorkerPool\\(Packer\\)"),
        ({"worker": Service}, "a subclass of Worker"),
        ({"worker": None}, "worker=None"),
        ({"name": ""}, "name"),
    ],
)
def test_bad_input_is_refused(given: dict[str, Any], named: str) -> None:
    with pytest.raises(BadValue, match=named):
        WorkerPool(given.pop("worker", Packer), **given)


def test_policy_of_no_use_is_refused() -> None:
    with pytest.raises(BadPolicy):
        WorkerPool(Packer, strategy="one_for_all")
    with pytest.raises(BadPolicy):
        WorkerPool(Packer, auto_shutdown="any_significant")


def test_a_worker_that_needs_arguments_is_given_as_what_makes_one(
    top: Supervisor, clock: VirtualClock
) -> None:
    class Printer(Worker):
        def __init__(self, port: int) -> None:
            self.port = port

        def handle(self, item: str) -> str:
            return f"{item} on {self.port}"

    with pytest.raises(BadValue, match=r"WorkerPool\(lambda: Printer\(...\)\).*'port'"):
        WorkerPool(Printer)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    pool = pool_in(top, lambda: Printer(9))
    assert pool.submit("label").get() == "label on 9"
    with pytest.raises(StartFailed, match="a subclass of Worker"):
        pool_in(top, lambda: Service(), name="other")


def test_a_worker_has_no_run_of_its_own_and_works_in_a_pool(
    top: Supervisor, clock: VirtualClock
) -> None:
    with pytest.raises(BadValue, match=r"handle\(self, item\)"):

        class Runs(Worker):  # pyright: ignore[reportUnusedClass]
            def run(self) -> None:
                """Not called."""

    with pytest.raises(BadValue, match="neither async nor yield"):

        class Yields(Worker):  # pyright: ignore[reportUnusedClass]
            def handle(self, item: Any) -> Any:
                yield item

    with pytest.raises(StartFailed, match=r"WorkerPool\(Packer\)"):
        top.adopt(Packer())

    pool = pool_in(top, Worker, retries=0)
    task = pool.submit(1)
    clock.settle()
    assert end(task) is PoisonItem


def test_a_handle_hides_nothing_and_a_scale_does() -> None:
    class Hides(WorkerPool):
        def scale(self, size: int) -> None:
            """Not call the other one."""

    assert list(hidden_methods(Packer)) == []
    assert [each.where for each in hidden_methods(Hides)] == ["Hides.scale"]


def test_a_key_needs_a_hash(top: Supervisor, clock: VirtualClock) -> None:
    pool = pool_in(top)
    with pytest.raises(BadValue, match="key"):
        pool.submit(1, key=[])  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_the_user_s_own_names_hide_ours_and_break_nothing(clock: VirtualClock) -> None:
    class Mine(WorkerPool):
        def __init__(self) -> None:
            super().__init__(Packer, size=1, name="mine")
            vars(self).update(scale=2.5, submit=None, size=9, queue=[], task=1, spawn=2, adopt=3)

    with Supervisor([mine := Mine()]):
        task = WorkerPool.submit(mine, 1)
        WorkerPool.scale(mine, 2)
        clock.advance(1)
        assert end(task) == 1
    gevent.sleep(0)


def test_a_pool_whose_init_was_not_called_says_so(top: Supervisor, clock: VirtualClock) -> None:
    class Forgets(WorkerPool):
        def __init__(self) -> None:  # pyright: ignore[reportMissingSuperCall]
            """Not call the other one."""

    with pytest.raises(NotRunning):
        Forgets().submit(1)
    with pytest.raises(StartFailed, match=r"super\(\).__init__\(worker, ...\)"):
        top.adopt(Forgets())


def test_several_who_scale_at_once_wait_for_each_other_and_the_last_one_has_its_size(
    top: Supervisor, clock: VirtualClock
) -> None:
    class Slow(Worker):
        def on_start(self) -> None:
            sleep(1)

        def handle(self, item: object) -> None:
            pass

    pool = pool_in(top, Slow)
    scaling = [spawn(pool.scale, size) for size in (4, 8, 3)]
    clock.advance(20)
    assert all(greenlet.ready() for greenlet in scaling)
    assert size_of(pool) == 3


def test_who_scales_a_pool_that_ends_meanwhile_is_told(
    top: Supervisor, clock: VirtualClock
) -> None:
    class Slow(Worker):
        def on_start(self) -> None:
            sleep(1)

        def handle(self, item: object) -> None:
            pass

    pool = pool_in(top, Slow)
    told: list[str] = []

    def scale(size: int) -> None:
        try:
            pool.scale(size)
        except (NotRunning, StartFailed) as error:
            told.append(type(error).__name__)

    scaling = [spawn(scale, size) for size in (4, 8)]
    clock.advance(0.5)
    pool.stop()
    clock.advance(5)
    assert all(greenlet.ready() for greenlet in scaling)
    assert told == ["StartFailed", "NotRunning"]


def test_a_pool_that_is_idle_is_in_order_and_keeps_nothing_of_what_it_was_given(
    top: Supervisor, clock: VirtualClock
) -> None:
    class Thing:
        pass

    class Handler(Worker):
        def handle(self, item: object) -> object:
            return item

    pool = pool_in(top, Handler, size=1)
    thing = Thing()
    gone = weakref.ref(thing)
    pool.submit(thing)
    del thing
    clock.advance(1)
    gc.collect()
    assert gone() is None
    check_invariants(top)
