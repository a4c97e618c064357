"""A task is work that somebody waits for: what it raises is for who asks, and never lost."""

from __future__ import annotations

import gc
import logging
import pickle
import threading
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import GreenletExit, Timeout, get_hub, sleep

from scripted import spawn
from sprag import Service, State, Supervisor, Task, current_service
from sprag.exceptions import (
    BadValue,
    CalledInHub,
    NotRunning,
    TaskCancelled,
    TaskTimeout,
    WouldDeadlock,
    WrongThread,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock

UNASKED = "a task failed, and nobody asked for its result"


class Plain(Service):
    pass


class Stubborn(Service, shutdown=3):
    def on_stop(self) -> None:
        """Have one, so that its time is seen."""


@pytest.fixture
def service(clock: VirtualClock) -> Iterator[Plain]:
    with Supervisor([plain := Plain()], name="top"):
        yield plain
        clock.settle()


def after(seconds: float, result: object = None) -> Any:
    sleep(seconds)
    return result


def boom() -> None:
    raise ValueError("no")


def unasked(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if UNASKED in r.getMessage()]


def test_the_result_is_waited_for_and_may_be_asked_for_again(
    service: Plain, clock: VirtualClock
) -> None:
    before = clock.now
    task = service.task(after, 2, "tea")
    assert not task.done
    assert task.get() == task.get() == "tea"
    assert clock.now - before == 2
    assert task.done


def test_what_it_raises_is_for_who_asks_and_no_crash(service: Plain, clock: VirtualClock) -> None:
    task = service.task(boom)
    for _ in range(2):
        with pytest.raises(ValueError, match="no") as caught:
            task.get()
        assert [entry.name for entry in caught.traceback][-1] == "boom"
    clock.settle()
    assert service.snapshot().restarts == 0


def test_a_failure_is_logged_when_the_task_is_dropped_before_anybody_has_asked(
    service: Plain, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    task = service.task(boom)
    clock.settle()
    assert not unasked(caplog)
    del task
    clock.settle()
    assert unasked(caplog) == [f"top/Plain: {UNASKED} (task='boom')"]
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_failure_is_logged_when_the_service_ends_and_once_only(
    service: Plain, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    task, late = service.task(boom), service.task(boom)
    clock.settle()
    service.stop()
    assert len(unasked(caplog)) == 2
    with pytest.raises(ValueError, match="no"):
        task.get()
    del task, late
    clock.settle()
    assert len(unasked(caplog)) == 2


def test_a_failure_that_was_asked_for_is_not_logged(
    service: Plain, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    task = service.task(boom)
    with pytest.raises(ValueError, match="no"):
        task.get()
    cancelled = service.task(boom)
    clock.settle()
    assert not cancelled.cancel()  # too late; but nobody is interested any more
    del task, cancelled
    service.stop()
    gc.collect()
    clock.settle()
    assert not unasked(caplog)


def test_what_is_told_at_the_end_is_only_of_that_life(
    service: Plain, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    tasks: list[Task[None]] = []
    for _ in range(3):
        tasks.append(service.task(boom))
        clock.settle()
        assert service.snapshot().owned.cleanups == 1
    service.stop()
    service.start()
    service.stop()
    assert len(unasked(caplog)) == 3


def test_a_cancelled_task_is_killed_where_it_waits(service: Plain, clock: VirtualClock) -> None:
    killed: list[str] = []

    def wait() -> None:
        try:
            sleep(100)
        except GreenletExit:
            killed.append("killed")
            raise

    task = service.task(wait)
    clock.settle()
    assert task.cancel()
    assert task.done
    with pytest.raises(TaskCancelled, match="wait has no result: it was cancelled"):
        task.get()
    clock.settle()
    assert killed == ["killed"]
    assert service.snapshot().owned.tasks == 0
    assert not task.cancel()


def test_a_task_that_is_cancelled_before_its_turn_never_begins(
    service: Plain, clock: VirtualClock
) -> None:
    begun: list[int] = []
    task = service.task(begun.append, 1)
    task.cancel()
    clock.settle()
    assert begun == []
    assert service.snapshot().owned.tasks == 0
    with pytest.raises(TaskCancelled):
        task.get()


def test_a_time_limit_of_who_asks_is_no_end_of_the_task(
    service: Plain, clock: VirtualClock
) -> None:
    task = service.task(after, 5, "late")
    with pytest.raises(TaskTimeout) as caught:
        task.get(timeout=2)
    assert isinstance(caught.value, TimeoutError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(TaskTimeout):
        task.get(timeout=0)
    assert task.get(timeout=3) == "late"


def test_a_timeout_of_the_caller_s_own_reaches_the_caller(
    service: Plain, clock: VirtualClock
) -> None:
    task = service.task(after, 5, "late")
    with pytest.raises(Timeout), Timeout(1):
        task.get()
    assert task.get() == "late"


def test_a_stop_waits_for_tasks_as_long_as_the_service_has_time(clock: VirtualClock) -> None:
    with Supervisor([slow := Stubborn()]):
        task = slow.task(after, 2, "done")
        clock.settle()
        report = slow.stop()
        assert report.is_clean
        assert report.seconds == 2
        assert task.get() == "done"

        slow.start()
        task = slow.task(after, 50)
        clock.settle()
        report = slow.stop()
        assert (report.seconds, report.dropped, report.killed) == (3, 1, 1)
        assert [(e.step, e.detail) for e in report.entries] == [("drain", "1 task left undone")]
        with pytest.raises(TaskCancelled, match="its service has ended"):
            task.get()


def test_a_stop_without_time_waits_for_no_task(clock: VirtualClock) -> None:
    class Brutal(Service, shutdown="brutal_kill"):
        pass

    with Supervisor([brutal := Brutal()]):
        task = brutal.task(after, 2)
        clock.settle()
        report = brutal.stop()
        assert (report.seconds, report.dropped) == (0, 1)
        with pytest.raises(TaskCancelled):
            task.get()


def test_a_crash_waits_for_no_task_and_takes_them_down(service: Plain, clock: VirtualClock) -> None:
    task, waits = service.task(after, 50), spawn(lambda: raised(waiting))
    waiting = service.task(after, 60)
    clock.settle()
    service.spawn(boom)
    clock.settle()
    assert service.snapshot().incarnation == 2
    assert clock.now < 50
    assert waits.get() == "TaskCancelled"
    assert raised(task) == "TaskCancelled"


def raised(task: Task[Any]) -> str:
    try:
        task.get()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return type(error).__name__
    return "nothing"


def test_a_task_that_swallows_its_kill_is_named_as_a_straggler(clock: VirtualClock) -> None:
    def deaf() -> None:
        until = clock.now + 50
        while clock.now < until:
            try:
                sleep(until - clock.now)
            except GreenletExit:
                continue

    with Supervisor([plain := Plain()]) as top:
        task = plain.task(deaf)
        clock.settle()
        report = top.terminate_child("Plain")
        assert report.stragglers == 1
        assert [entry.step for entry in report.entries] == ["drain", "task"]
        assert not task.done
        clock.advance(60)
        assert task.get() is None


def test_its_code_runs_as_the_service_s(service: Plain) -> None:
    assert service.task(current_service).get() is service


def test_tasks_are_counted_beside_greenlets(service: Plain, clock: VirtualClock) -> None:
    tasks = [service.task(after, 1) for _ in range(3)]
    service.spawn(sleep, 1)
    assert service.snapshot().owned._asdict() == {
        "greenlets": 1,
        "timers": 0,
        "listeners": 0,
        "cleanups": 0,
        "tasks": 3,
    }
    clock.advance(1)
    assert service.snapshot().owned.tasks == 0
    assert all(task.done for task in tasks)


def test_a_system_exit_asks_the_app_to_stop_as_everywhere(clock: VirtualClock) -> None:
    with Supervisor([plain := Plain()], name="top") as top:
        task = plain.task(exit, 7)
        clock.settle()
        assert top.wait(1) is not None
        assert raised(task) == "TaskCancelled"
        ending = top.wait(0)
        assert ending is not None
        assert ending.code == 7


def test_a_task_cannot_wait_for_itself(service: Plain) -> None:
    tasks: list[Task[Any]] = []

    def ask() -> object:
        return tasks[0].get()

    tasks.append(service.task(ask))
    with pytest.raises(WouldDeadlock):
        tasks[0].get()


def test_in_the_hub_only_what_is_done_can_be_asked_for(service: Plain, clock: VirtualClock) -> None:
    task = service.task(after, 1, "tea")
    seen: list[object] = []

    def ask() -> None:
        try:
            seen.append(task.get())
        except CalledInHub:
            seen.append("cannot wait")
        seen.append(service.task(after, 0).done)

    get_hub().loop.run_callback(ask)
    clock.advance(2)
    get_hub().loop.run_callback(ask)
    clock.settle()
    assert seen == ["cannot wait", False, "tea", False]


def test_from_another_thread_a_task_can_neither_be_begun_nor_waited_for(service: Plain) -> None:
    seen: list[str] = []
    task = service.task(after, 0)

    def use() -> None:
        for call in (lambda: service.task(after, 0), task.get, task.cancel):
            try:
                call()
            except WrongThread:
                seen.append("refused")

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == ["refused"] * 3
    task.get()


def test_a_failed_task_may_be_dropped_in_any_thread(
    service: Plain, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = [service.task(boom)]
    clock.settle()
    thread = threading.Thread(target=tasks.clear)
    thread.start()
    thread.join()
    gevent.sleep(0.1)
    assert len(unasked(caplog)) == 1


def test_bad_input_is_refused(service: Plain) -> None:
    async def never() -> None:
        """Not run."""

    def coroutine() -> object:
        return never()

    with pytest.raises(BadValue):
        service.task(never)
    with pytest.raises(BadValue):
        service.task(None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(BadValue):
        service.task(boom).get(timeout=-1)
    with pytest.raises(BadValue, match="never runs by itself"):
        service.task(coroutine).get()
    service.stop()
    with pytest.raises(NotRunning, match="start a task"):
        service.task(boom)


def test_the_user_s_own_names_hide_ours_and_break_nothing(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Mine(Service):
        def __init__(self) -> None:
            vars(self).update(task=3, map={})

    with Supervisor([mine := Mine()]):
        task = Service.task(mine, boom)
        results = Service.map(mine, after, [1, 2])
        clock.settle()
        assert mine.snapshot().owned.tasks == 2
        assert list(results) == [None, None]
    assert mine.snapshot().state is State.STOPPED
    assert len(unasked(caplog)) == 1
    assert task.done


@pytest.fixture(autouse=True)
def _errors_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


def test_a_function_of_pythons_own_goes_by_its_name(service: Plain) -> None:
    assert repr(service.task(len, "ab")).startswith("<Task len of ")
    assert repr(service.task("a b".split)).startswith("<Task split of ")
