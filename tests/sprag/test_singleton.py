"""What runs once: in one of several trees, and after its end in another; in virtual time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from gevent import GreenletExit, sleep
from gevent.event import Event

from scripted import spawn
from sprag import App, Backoff, Move, Service, Singleton, State, Supervisor
from sprag.cluster.exceptions import EngineAway
from sprag.cluster.member import member_of
from sprag.exceptions import BadPolicy, BadValue, StartFailed
from sprag.testing import as_workers, check_invariants
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag import Lifecycle
    from sprag.cluster.memory import MemoryEngine
    from sprag.testing import AsWorkers, VirtualClock

WORK: list[Any] = []
"""Who is at work now."""


class Billing(Service):
    """Works until it is told otherwise; two at work at once are an error."""

    bad = False

    def on_start(self) -> None:
        if self.bad:
            raise ValueError("no database")
        assert not WORK
        assert self.lease is not None
        WORK.append(self.lease.token)

    def run(self) -> None:
        while True:
            sleep(1)
            if self.bad:
                raise ValueError("no database")

    def on_stop(self) -> None:
        sleep(0.5)
        WORK.clear()


class Bad(Billing):
    bad = True


class Late:
    """An engine whose answers to swaps come a second after they were made."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine

    def cas(self, *swap: Any) -> Any:
        answer = self._engine.cas(*swap)
        sleep(1)
        return answer

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._engine, verb)


class Away:
    """An engine that nobody can ask."""

    def __getattr__(self, verb: str) -> Any:
        raise EngineAway("nowhere", "it is a test")


def app(billing: Any = Billing, **policy: Any) -> App:
    return App(providers={"billing": Singleton(billing, **policy), "other": Other()})


class Other(Service):
    pass


@contextmanager
def workers(*apps: App) -> Generator[AsWorkers]:
    WORK.clear()
    with as_workers(*apps) as shared:
        for each in apps:
            each.start()
        try:
            yield shared
        finally:
            for each in apps:
                each.stop()


def status(root: App) -> str:
    return root.snapshot().children[0].status or ""


def children(root: App) -> list[tuple[str, State]]:
    return [(each.name, each.state) for each in root.snapshot().children[0].children]


def test_alone_it_simply_runs(clock: VirtualClock) -> None:
    with app() as root:
        billing = root.service("billing", Billing)
        assert billing.lease is not None
        assert billing.snapshot().state is State.RUNNING
        assert status(root) == "runs here"
        assert root.not_ready() == {}
    assert billing.lease is None
    WORK.clear()
    clock.settle()


def test_alone_a_start_that_fails_is_the_app_s(clock: VirtualClock) -> None:
    with pytest.raises(StartFailed, match="no database"):
        app(Bad).start()
    clock.settle()


def test_one_runs_it_and_the_others_are_ready_without(clock: VirtualClock) -> None:
    apps = app(), app(), app()
    with workers(*apps):
        assert [children(each) for each in apps] == [[("Billing", State.RUNNING)], [], []]
        assert status(apps[0]) == "runs here"
        assert status(apps[1]) == "standby: runs in worker-1"
        assert [each.not_ready() for each in apps] == [{}, {}, {}]
        assert [each.service("billing").lease is None for each in apps] == [False, True, True]
        assert type(apps[1].service("billing")) is Billing
        for each in apps:
            check_invariants(each)
    clock.settle()


def test_a_standby_is_ready_for_who_needs_it(clock: VirtualClock) -> None:
    def one() -> App:
        needs: Any = (Other(), {"needs": ("billing",)})
        return App(providers={"billing": Singleton(Billing()), "other": needs})

    first, second = one(), one()
    with workers(first, second):
        assert second.service("other").snapshot().state is State.RUNNING
        clock.settle()


def test_the_next_begins_when_the_last_has_ended_and_not_before(clock: VirtualClock) -> None:
    first, second = app(), app()
    with workers(first, second):
        token = first.service("billing").lease.token
        first.stop()  # `on_start` of the second looks that nobody is at work
        clock.settle()
        assert second.service("billing").lease.token > token
        assert status(second) == "runs here: worker-1 has stopped it"
        first.start()
        assert status(first) == "standby: runs in worker-2"


def test_it_is_handed_over_by_hand_and_comes_back(clock: VirtualClock) -> None:
    first, second = app(), app()
    with workers(first, second):
        first.terminate_child("billing")
        clock.settle()
        assert children(second) == [("Billing", State.RUNNING)]
        assert first.not_ready() == {}  # stopped on purpose


def test_of_who_was_reaped_another_takes_over_at_once(clock: VirtualClock) -> None:
    first, second, third = app(), app(), app()
    with workers(first, second, third) as shared:
        engine = shared.engine
        before = clock.now
        engine.is_closing = True  # its process is killed: it hands nothing over
        first.stop()
        engine.is_closing = False
        assert children(second) == []
        shared.reap(first)
        clock.settle()
        assert clock.now - before < 1
        assert status(second) == "runs here: worker-1 was killed by SIGKILL"
        assert status(third) == "standby: runs in worker-2"


def test_who_is_ending_itself_takes_over_nothing(clock: VirtualClock) -> None:
    class Slow(Service):
        def on_stop(self) -> None:
            sleep(3)

    first = app()
    second = App(providers={"billing": Singleton(Billing()), "slow": Slow()})
    with workers(first, second):
        ending = [spawn(each.stop) for each in (second, first)]
        clock.advance(4)
        assert all(each.ready() for each in ending)
        assert second.service("billing")._incarnation_ == 0


def test_who_has_crashed_too_often_lets_others_try_and_the_app_lives_on(
    clock: VirtualClock,
) -> None:
    first, second = app(max_restarts=1), app(max_restarts=1)
    with workers(first, second):
        billing = first.service("billing")
        for _ in range(2):
            billing.bad = True
            clock.advance(1.5)
        assert children(first) == []
        assert "gave up here: ValueError: no database" in status(first)
        assert status(second).startswith("runs here: worker-1 gave up: ValueError")
        assert first.snapshot().state is State.RUNNING
        assert first.not_ready() == second.not_ready() == {}


def test_when_all_have_tried_it_is_failed_until_it_is_started_by_hand(clock: VirtualClock) -> None:
    first, second = app(Bad), app(Bad)
    with workers(first, second):
        clock.advance(10)
        holder, other = (first, second) if children(first) else (second, first)
        assert (children(holder), children(other)) == ([("Bad", State.FAILED)], [])
        assert status(holder) == "failed: all 2 have tried; 'sprag start' tries again"
        assert list(holder.not_ready()) == ["app/billing/Bad"]
        billing = holder.service("billing")
        billing_class: Any = cast("Any", type(billing))
        billing_class.bad = False
        try:
            billing.start()
            clock.settle()
            assert children(holder) == [("Bad", State.RUNNING)]
            assert status(holder) == "runs here: it was started by hand"
            clock.advance(10)
            assert children(other) == []
        finally:
            billing_class.bad = True


def test_who_has_given_up_does_not_bid_before_its_backoff_is_over(clock: VirtualClock) -> None:
    first = app(Bad, backoff=Backoff(20, jitter=0))
    second = app()
    with workers(first, second) as shared:
        clock.settle()
        assert children(second) == [("Billing", State.RUNNING)]
        second.stop()
        shared.reap(second)
        clock.advance(15)
        assert children(first) == []
        clock.advance(6)
        assert children(first) == [("Bad", State.FAILED)]


def test_where_all_are_replaced_it_goes_to_the_newer_code_at_once(clock: VirtualClock) -> None:
    first, second, third = app(), app(), app()
    with workers(first, second) as shared:
        shared.join(third, generation=2)
        third.start()
        first.stop()
        clock.settle()
        assert (children(second), children(third)) == ([], [("Billing", State.RUNNING)])
        third.stop()
        shared.reap(third)
        clock.advance(0.5)  # nobody newer is there any more
        assert children(second) == [("Billing", State.RUNNING)]


def test_where_newer_code_does_not_take_it_an_older_one_does(clock: VirtualClock) -> None:
    first, second = app(), app()
    idle = App(name="idle")
    with workers(first, second) as shared:
        shared.join(idle, generation=2)
        first.stop()
        clock.settle()
        assert children(second) == []
        clock.advance(0.4)
        assert children(second) == [("Billing", State.RUNNING)]


def test_the_ledger_tells_where_it_was_and_why_it_moved(clock: VirtualClock) -> None:
    first, second = app(Bad), app(Bad)
    with workers(first, second):
        clock.advance(10)
        told = [(each.what, each.because) for each in tree_of(first).ledger.moves]
        gave_up = "app/billing/Bad failed to start: ValueError: no database"
        assert told[:2] == [
            ("begins", "nobody had it yet"),
            ("ends", f"worker-1 gave up: {gave_up}"),
        ]
        last = [list(tree_of(each).ledger.moves)[-1].what for each in (first, second)]
        assert sorted(last) == ["ends", "stays failed"]


class Pager(Service):
    """Hears of moves."""

    def __init__(self) -> None:
        self.heard: list[Move] = []

    def on_start(self) -> None:
        self.listen("sprag:moved", self.heard.append)


def paged() -> tuple[App, Pager]:
    pager = Pager()
    return App(providers={"pager": pager, "billing": Singleton(Billing)}), pager


def test_a_move_is_told_where_it_has_come_to_with_the_place_it_came_from(
    clock: VirtualClock,
) -> None:
    (first, here), (second, there) = paged(), paged()
    with workers(first, second):
        told: list[Lifecycle] = []
        tree_of(second).observers.append(told.append)
        singleton: Any = first.service("billing")._parent_
        singleton.stop()
        clock.advance(1)
        (move,) = there.heard
        assert (move.event, move.path, move.context) == ("moved", "app/billing", "ownership")
        assert (move.origin, move.node) == ("worker-1", "worker-2")
        assert move.reason == "worker-1 has stopped it"
        assert [move.token] == WORK
        assert not here.heard
        (note,) = tree_of(second).ledger.moves
        assert (note.what, note.origin, note.token) == ("begins", "worker-1", move.token)
        assert tree_of(first).ledger.moves[0].origin is None  # nobody had it before
        assert [each.event for each in told] == ["moved", "started"]


def test_what_comes_back_to_where_it_was_has_not_moved(clock: VirtualClock) -> None:
    (first, here), (second, there) = paged(), paged()
    with workers(first, second):
        second.stop()
        singleton: Any = first.service("billing")._parent_
        singleton.stop()
        clock.advance(1)
        singleton.start()
        clock.advance(1)
        assert len(WORK) == 1
        assert [each.what for each in tree_of(first).ledger.moves] == ["begins", "ends", "begins"]
        assert not here.heard + there.heard


def test_what_still_runs_after_its_stop_keeps_it(clock: VirtualClock) -> None:
    over = Event()

    class Stubborn(Service):
        def run(self) -> None:
            while not over.is_set():
                try:
                    over.wait()
                except GreenletExit:
                    pass

    first, second = app(Stubborn), app()
    with workers(first, second) as shared:
        assert not first.stop().is_clean
        clock.advance(10)
        assert children(second) == []
        over.set()
        clock.settle()
        shared.reap(first)
        clock.settle()
        assert children(second) == [("Billing", State.RUNNING)]


@pytest.mark.parametrize("restart", ["temporary", "transient"])
def test_who_does_not_come_back_is_tried_elsewhere_too(clock: VirtualClock, restart: str) -> None:
    first, second = app((Bad(), {"restart": restart})), app()
    with workers(first, second):
        clock.advance(1)
        assert (children(first), children(second)) == ([], [("Billing", State.RUNNING)])
        assert first.snapshot().state is State.RUNNING


def test_one_that_has_finished_is_not_done_again_elsewhere(clock: VirtualClock) -> None:
    class Job(Service, restart="transient"):
        def run(self) -> None:
            sleep(1)

    first, second = app(Job), app(Job)
    with workers(first, second):
        clock.advance(10)
        assert children(first) == [("Job", State.FINISHED)]
        assert children(second) == []


def test_a_stop_before_the_answer_has_come_leaves_it_to_the_next(clock: VirtualClock) -> None:
    first, second, third = app(), app(), app()
    with workers(first, second, third) as shared:
        tree_of(second).cluster.engine = Late(shared.engine)
        first.stop()
        clock.advance(0.5)
        assert status(third) == "standby: runs in worker-2"
        assert children(second) == []  # it does not know yet
        second.stop()
        clock.settle()
        assert status(third) == "runs here: worker-2 was stopped before it could begin"


def test_an_engine_that_is_away_moves_nobody_and_is_asked_again(clock: VirtualClock) -> None:
    first, second = app(), app()
    with workers(first, second) as shared:
        engine = shared.engine
        away: Any = Away()
        for root in (first, second):
            tree_of(root).cluster.engine = away
        billing: Any = first._children_
        billing["billing"]._bidding_.look_soon()
        billing = second._children_
        billing["billing"]._bidding_.look_soon()
        clock.advance(5)
        assert children(first) == [("Billing", State.RUNNING)]
        assert status(second) == "standby; the engine at nowhere is away: it is a test"
        for root in (first, second):
            tree_of(root).cluster.engine = engine
        clock.advance(2)
        assert status(second) == "standby: runs in worker-1"


def test_stops_in_the_midst_of_a_take_over_leave_it_to_the_next(clock: VirtualClock) -> None:
    class Slow(Billing):
        def on_start(self) -> None:
            sleep(5)
            super().on_start()

    first, second, third = app(), app(Slow), app()
    with workers(first, second, third):
        first.stop()
        clock.advance(1)
        assert children(second) == [("Slow", State.STARTING)]
        assert list(second.not_ready()) == ["app/billing/Slow"]
        second.stop()
        clock.settle()
        assert children(third) == [("Billing", State.RUNNING)]


def test_a_policy_of_no_use_is_refused() -> None:
    with pytest.raises(BadPolicy, match="one_for_one"):
        Singleton(Billing, strategy="one_for_all")
    with pytest.raises(BadPolicy, match="never"):
        Singleton(Billing, auto_shutdown="any_significant")
    with pytest.raises(BadValue, match="child"):
        Singleton(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadValue, match="Singleton of its own"):
        Singleton(Billing(), Billing())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_user_s_own_lease_is_theirs(clock: VirtualClock) -> None:
    class Flat(Service):
        def on_start(self) -> None:
            mine: Any = self
            mine.lease, mine.broadcast = "two years", 3

    with App(providers={"flat": Singleton(Flat)}) as root:
        flat = root.service("flat")
        assert (flat.lease, flat.broadcast) == ("two years", 3)
    clock.settle()


def test_what_is_below_it_has_its_lease(clock: VirtualClock) -> None:
    class Inner(Service):
        pass

    with App(providers={"all": Singleton(Supervisor([Inner()]))}) as root:
        inner = root.service("all/Supervisor/Inner")
        assert inner.lease is not None
        assert root.lease is None
        assert inner.lease == root.service("all").lease
    clock.settle()


def test_its_class_is_made_once_for_all_its_lives(clock: VirtualClock) -> None:
    with App(providers={"billing": Singleton(Billing)}, strategy="one_for_all") as root:
        before = root.service("billing")
        root.terminate_child("billing")
        root.restart_child("billing")
        assert root.service("billing") is before
        assert member_of(tree_of(root)).where == ""
    WORK.clear()
    clock.settle()
