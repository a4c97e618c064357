"""`needs` as a graph: who starts after whom, side by side, and what is waited for."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripted import Journal, Scripted, crash, spawn, states
from sprag import Backoff, DynamicSupervisor, Service, StartFailed, State, Supervisor
from sprag.exceptions import AlreadyStarted, BadPolicy, WouldDeadlock
from sprag.testing import check_invariants
from sprag_supervisor.life.placing import Needed
from sprag_supervisor.rules.graph import (
    NeedsThemselvesError,
    called_for,
    seconds_after,
    start_order,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("no_bugs")

told: list[str] = []


class Part(Service):
    """Takes its time to come up, and says when it begins and when it is up."""

    def __init__(self, name: str, takes: float = 1.0, *, ready: bool = True) -> None:
        self.name = name
        self.takes = takes
        self.ready = ready

    def on_start(self) -> None:
        told.append(f"{self.name}?")
        if not self.ready:
            self.set_ready(False, "warming up")
        gevent.sleep(self.takes)
        told.append(self.name)
        if self.takes < 0.5:
            raise OSError("not today")


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    told.clear()


def listed(*parts: tuple[Part, Any]) -> list[Any]:
    return [(part, {"needs": needs}) for part, needs in parts]


# -- the start ----------------------------------------------------------------------------


def test_independent_ones_start_side_by_side_and_who_needs_them_after_them(
    clock: VirtualClock,
) -> None:
    children = listed((Part("a"), ()), (Part("b"), ()), (Part("c"), ("a", "b")))
    with Supervisor(children) as top:
        assert clock.now == pytest.approx(2.0)
        assert states(top) == dict.fromkeys("abc", "running")
    assert told == ["a?", "b?", "a", "b", "c?", "c"]


def test_the_list_need_not_be_in_order(clock: VirtualClock) -> None:
    with Supervisor(
        listed((Part("web"), ("api",)), (Part("api"), ("db",)), (Part("db"), ()))
    ) as top:
        assert list(states(top)) == ["db", "api", "web"]
        assert told[1::2] == ["db", "api", "web"]


def test_who_says_nothing_comes_after_all_before_it(clock: VirtualClock) -> None:
    with Supervisor(listed((Part("a", 2), ()), (Part("b"), None), (Part("c"), ()))):
        assert told == ["a?", "c?", "c", "a", "b?", "b"]


def test_a_list_without_needs_starts_as_it_ever_did(clock: VirtualClock) -> None:
    with Supervisor([Part("a"), Part("b")]):
        assert told == ["a?", "a", "b?", "b"]


def test_a_need_of_ready_waits_for_it_and_holds_up_nobody(clock: VirtualClock) -> None:
    db = Part("db", ready=False)
    with Supervisor(listed((db, ()), (Part("api"), ("db",)), (Part("log"), None))) as top:
        assert states(top) == {"db": "running", "api": "restarting", "log": "running"}
        picture = top.snapshot().children[1]
        assert picture.waits_for == ("db",)
        assert top.not_ready()["Supervisor/api"].reason == "waits for db"
        db.set_ready()
        clock.advance(1)
        assert states(top)["api"] == "running"
        assert not top.not_ready()


def test_what_is_ready_while_others_still_start_is_waited_for_no_longer(
    clock: VirtualClock,
) -> None:
    db = Part("db", ready=False)
    children = listed((db, ()), (Part("slow", 5), ()), (Part("api"), ("db",)))
    start = spawn(Supervisor(children).start)
    clock.advance(2)
    db.set_ready()
    clock.advance(1.5)
    assert "api" in told
    assert not start.ready()
    clock.advance(2)
    assert start.successful()


def test_started_is_less_than_ready(clock: VirtualClock) -> None:
    db = Part("db", ready=False)
    with Supervisor(listed((db, ()), (Part("api"), {"db": "started"}))) as top:
        assert states(top)["api"] == "running"


def test_finished_is_what_a_transient_sibling_may_be(clock: VirtualClock) -> None:
    class Migration(Service, restart="transient"):
        def run(self) -> None:
            gevent.sleep(3)

    children: list[Any] = [Migration(), (Part("api"), {"needs": {"Migration": "finished"}})]
    with Supervisor(children) as top:
        assert states(top)["api"] == "restarting"
        clock.advance(5)
        assert states(top) == {"Migration": "finished", "api": "running"}


def test_who_had_finished_and_was_deleted_is_waited_for_again(clock: VirtualClock) -> None:
    class Migration(Service, restart="transient"):
        def run(self) -> None:
            gevent.sleep(1)

    db = Part("db", ready=False)
    needs = {"Migration": "finished", "db": "ready"}
    with Supervisor([Migration(), (db, {"needs": ()}), (Part("api"), {"needs": needs})]) as top:
        clock.advance(2)
        top.delete_child("Migration")  # of which nobody is told
        db.set_ready()
        clock.advance(2)
        assert states(top) == {"db": "running", "api": "restarting"}
        assert top.snapshot().children[1].waits_for == ("Migration",)
        top.adopt(Migration())
        clock.advance(3)
        assert states(top)["api"] == "running"


def test_a_start_that_fails_calls_the_others_off(clock: VirtualClock) -> None:
    top = Supervisor(listed((Part("a", 9), ()), (Part("bad", 0.2), ()), (Part("c"), ("a",))))
    with pytest.raises(StartFailed, match="Supervisor/bad failed to start: OSError"):
        top.start()
    assert clock.now < 1
    assert told == ["a?", "bad?", "bad"]


def test_a_first_start_that_is_tried_again_is_waited_for_by_those_that_need_it(
    clock: VirtualClock,
) -> None:
    bad = Part("db", 0.2)
    children: list[Any] = [
        (bad, {"needs": (), "retry_start": True, "backoff": Backoff(1, jitter=0)}),
        (Part("api"), {"needs": ("db",)}),
        (Part("log"), {"needs": ()}),
    ]
    with Supervisor(children) as top:
        assert states(top) == {"db": "restarting", "api": "restarting", "log": "running"}
        bad._arguments_ = ("db", 1.0)
        clock.advance(5)
        assert set(states(top).values()) == {"running"}


def test_a_kill_of_who_starts_them_cuts_all_short(clock: VirtualClock) -> None:
    top = Supervisor(listed((Part("a", 9), ()), (Part("b", 9), ())))
    start = spawn(top.start)
    clock.advance(1)
    start.kill()
    assert top.snapshot().state is not State.RUNNING
    assert not top.snapshot().children


def test_a_stop_cuts_short_what_still_starts(clock: VirtualClock) -> None:
    top = Supervisor(listed((Part("a", 9), ()), (Part("b", 9), ()), (Part("c"), ("a",))))
    start = spawn(top.start)
    clock.advance(1)
    top.stop()
    assert isinstance(start.exception, StartFailed)
    assert clock.now == pytest.approx(1.0)


def test_who_is_stopped_while_it_waits_does_not_start(clock: VirtualClock) -> None:
    top = Supervisor(listed((Part("a", 3), ()), (Part("b"), ("a",))))
    start = spawn(top.start)
    clock.advance(1)
    top.service("b").stop()
    clock.advance(5)
    assert start.successful()
    assert states(top) == {"a": "running", "b": "stopped"}
    top.stop()


def test_a_child_that_asks_its_starting_parent_for_a_change_is_told_of_the_deadlock(
    clock: VirtualClock,
) -> None:
    class Asks(Service):
        def on_start(self) -> None:
            with pytest.raises(WouldDeadlock):
                top.adopt(Service())
            told.append("asked")

    top = Supervisor([(Asks(), {"needs": ()}), (Part("b"), {"needs": ("Asks",)})])
    with top:
        assert "asked" in told


# -- adopt --------------------------------------------------------------------------------


def test_adopt_returns_who_waits_for_what_it_needs(clock: VirtualClock) -> None:
    with Supervisor() as top:
        db = top.adopt(Part("db", ready=False))
        api = top.adopt(Part("api"), needs=("db",))
        assert api.snapshot().state is State.RESTARTING
        db.set_ready()
        clock.advance(1)
        assert api.snapshot().state is State.RUNNING


def test_a_first_start_that_has_waited_is_a_start_and_no_restart(clock: VirtualClock) -> None:
    with Supervisor() as top:
        heard: list[str] = []
        for event in ("sprag:started", "sprag:restarted"):
            top.listen(event, lambda record: heard.append(f"{record.event} {record.path}"))
        db = top.adopt(Part("db", ready=False))
        api = top.adopt(Part("api"), needs=("db",))
        db.set_ready()
        clock.advance(1)
        assert heard[-1] == "started Supervisor/api"
        assert (api.snapshot().incarnation, api.snapshot().restarts) == (1, 0)


def test_adopt_refuses_a_need_of_what_is_not_there(clock: VirtualClock) -> None:
    with Supervisor() as top:
        top.adopt(Service(), name="db")
        with pytest.raises(StartFailed, match="it needs 'bd', which is no"):
            top.adopt(Service(), name="api", needs=("bd",))
        assert list(states(top)) == ["db"]


def test_a_name_that_is_taken_is_refused_for_that_whatever_it_needs(clock: VirtualClock) -> None:
    with Supervisor([Service()]) as top:
        top.adopt(Part("a"), needs={"Service": "started"})
        with pytest.raises(AlreadyStarted):
            top.adopt(Service(), name="Service", needs=("a",))


def test_its_first_start_counts_as_a_restart_once_it_has_waited(clock: VirtualClock) -> None:
    with Supervisor(max_restarts=0) as top:
        db = top.adopt(Part("db", ready=False))
        top.adopt(Part("bad", 0.2), needs=("db",))
        db.set_ready()
        clock.advance(1)
        assert top.snapshot().state is State.FAILED


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_a_significant_one_that_cannot_start_when_it_has_waited_ends_its_supervisor(
    clock: VirtualClock, auto_shutdown: str
) -> None:
    with Supervisor() as root:
        top = root.adopt(Supervisor(auto_shutdown=auto_shutdown), restart="transient")
        db = top.adopt(Part("db", ready=False))
        top.adopt(Part("bad", 0.2), needs=("db",), restart="temporary", significant=True)
        db.set_ready()
        clock.advance(1)
        assert top.snapshot().state is State.FINISHED


def test_with_retry_start_its_first_start_is_tried_again_and_counts_nothing(
    clock: VirtualClock,
) -> None:
    class Api(Service, needs=("db",), retry_start=True):
        tries = 0

        def on_start(self) -> None:
            type(self).tries += 1
            if self.tries < 5:
                raise OSError("not yet")

    with Supervisor([(Part("db", ready=False), {"needs": ()}), Api()], max_restarts=0) as top:
        assert states(top) == {"db": "running", "Api": "restarting"}
        top.service("db", Part).set_ready()
        clock.advance(60)
        assert states(top) == {"db": "running", "Api": "running"}
        assert Api.tries == 5


# -- restarts -----------------------------------------------------------------------------


def test_a_restart_waits_for_its_needs_and_counts_once(clock: VirtualClock) -> None:
    db = Part("db")
    children: list[Any] = [
        (db, {"needs": (), "backoff": Backoff(0.5, jitter=0)}),
        (Part("api"), {"needs": ("db",)}),
    ]
    with Supervisor(children, max_restarts=2) as top:
        crash(db)
        clock.settle()
        crash(top.service("api"))
        clock.settle()
        assert top.service("api").snapshot().waits_for == ("db",)
        clock.advance(5)
        assert states(top) == {"db": "running", "api": "running"}
        assert [each.restarts for each in _ledger(top)] == [1, 2]


def test_a_need_that_crashes_or_gets_unready_later_stops_nobody(clock: VirtualClock) -> None:
    db = Part("db")
    with Supervisor(listed((db, ()), (Part("api"), ("db",)))) as top:
        db.set_ready(False)
        crash(db)
        clock.advance(5)
        assert top.service("api").snapshot().incarnation == 1


def test_rest_for_one_restarts_who_needs_it_directly_or_not(clock: VirtualClock) -> None:
    children = listed(
        (Part("web"), ("api",)), (Part("api"), ("db",)), (Part("db"), ()), (Part("log"), ())
    )
    with Supervisor(children, strategy="rest_for_one") as top:
        crash(top.service("db"))
        clock.advance(10)
        lives = {child.name: child.incarnation for child in top.snapshot().children}
        assert lives == {"db": 2, "api": 2, "web": 2, "log": 1}


def test_in_a_group_restart_too_each_waits_for_what_it_needs(clock: VirtualClock) -> None:
    db = Part("db", ready=False)
    children = listed((db, ()), (Part("api"), ("db",)), (Part("log"), ()))
    with Supervisor(children, strategy="one_for_all") as top:
        db.set_ready()
        clock.advance(2)
        crash(top.service("log"))
        clock.advance(5)
        assert states(top) == {"db": "running", "api": "restarting", "log": "running"}
        db.set_ready()
        clock.advance(2)
        assert {each.incarnation for each in top.snapshot().children} == {2}


def test_who_waits_is_stopped_with_its_parent(clock: VirtualClock) -> None:
    db = Part("db", ready=False)
    with Supervisor(listed((db, ()), (Part("api"), ("db",)))) as top:
        pass
    assert top.snapshot().state is State.STOPPED


def test_what_does_not_come_by_itself_is_told_once(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with Supervisor(listed((Part("db"), ()), (Part("api"), ("db",)))) as top:
        api = top.service("api")
        top.service("db").stop()
        crash(api)
        clock.advance(3)
        assert api.snapshot().waits_for == ("db",)
        hopeless = [each for each in caplog.messages if "does not come by itself" in each]
        assert len(hopeless) == 1
        assert "db (stopped)" in hopeless[0]
        top.service("db").start()
        clock.advance(2)
        assert api.snapshot().state is State.RUNNING


def test_what_fails_to_come_when_it_is_asked_to_is_not_told_again(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Db(Service):
        is_there = True

        def on_start(self) -> None:
            if not self.is_there:
                raise OSError("not today")

    db, api = Db(), Part("api")
    with Supervisor([(db, {"name": "db", "needs": ()}), (api, {"needs": ("db",)})]):
        db.stop()
        crash(api)
        clock.advance(3)
        Db.is_there = False
        for _ in range(2):
            with pytest.raises(StartFailed):
                db.start()
        clock.advance(3)
        assert api.snapshot().waits_for == ("db",)
        assert len([each for each in caplog.messages if "does not come by itself" in each]) == 1


def test_who_has_waited_long_enough_below_a_hold_waits_for_nothing_but_that(
    clock: VirtualClock,
) -> None:
    db = Part("db", ready=False)
    with Supervisor(listed((db, ()), (Part("api"), ("db",)))) as top:
        top.hold_exits()
        db.set_ready()
        clock.settle()
        check_invariants(top)
        assert states(top)["api"] == "restarting"
        top.release_exits()
        clock.advance(2)
        assert states(top)["api"] == "running"


def test_nothing_observes_the_tree_once_nobody_waits(clock: VirtualClock) -> None:
    db = Part("db", ready=False)
    with Supervisor(listed((db, ()), (Part("api"), ("db",)))) as top:
        tree = top._tree_
        assert tree is not None
        assert len(tree.observers) == 1
        top.service("api").stop()
        assert not tree.observers


def test_who_is_stopped_in_the_midst_of_a_start_is_told_of_once(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    top = Supervisor(listed((Part("db", 3), ()), (Part("api"), ("db",)), (Part("web"), ("api",))))
    start = spawn(top.start)
    clock.advance(1)
    top.service("api").stop()
    clock.advance(5)
    assert start.successful()
    assert states(top)["web"] == "restarting"
    assert len([each for each in caplog.messages if "does not come by itself" in each]) == 1
    top.stop()


def test_what_finishes_and_leaves_is_nothing_to_wait_for(clock: VirtualClock) -> None:
    with DynamicSupervisor() as top:
        top.adopt(Service(), name="migration", restart="transient")
        with pytest.raises(BadPolicy, match="who has finished leaves DynamicSupervisor"):
            top.adopt(Service(), name="api", needs={"migration": "finished"})
        assert list(states(top)) == ["migration"]


def test_who_waits_names_also_who_has_got_unready_meanwhile(clock: VirtualClock) -> None:
    parts = [(Part("db"), ()), (Part("cache", ready=False), ()), (Part("api"), ("db", "cache"))]
    with Supervisor(listed(*parts), name="top") as top:
        db = top.service("db", Part)
        db.set_ready(False, "recovering")
        assert top.not_ready()["top/api"].reason == "waits for cache, db"
        db.set_ready()
        assert top.not_ready()["top/api"].reason == "waits for cache"


# -- the stop -----------------------------------------------------------------------------


class Leaving(Service):
    """Takes its time to go down, and says when it begins and when it is down."""

    def __init__(self, name: str, takes: float = 1.0) -> None:
        self.name = name
        self.takes = takes

    def on_stop(self) -> None:
        told.append(f"{self.name}?")
        gevent.sleep(self.takes)
        told.append(self.name)


def test_independent_ones_stop_side_by_side_and_after_those_that_need_them(
    clock: VirtualClock,
) -> None:
    parts = [("db", ()), ("cache", ()), ("api", ("db",)), ("web", ("api", "cache"))]
    top = Supervisor([(Leaving(name), {"needs": needs}) for name, needs in parts])
    top.start()
    report = top.stop()
    assert clock.now == pytest.approx(3.0)
    assert told == ["web?", "web", "api?", "cache?", "api", "cache", "db?", "db"]
    assert (report.clean, report.killed) == (5, 0)


def test_who_says_nothing_stops_before_all_that_come_before_it(clock: VirtualClock) -> None:
    parts: list[tuple[str, Any]] = [("a", ()), ("b", None), ("c", ()), ("d", ())]
    top = Supervisor([(Leaving(name), {"needs": needs}) for name, needs in parts])
    top.start()
    top.stop()
    assert told == ["d?", "c?", "b?", "d", "c", "b", "a?", "a"]


def test_who_is_adopted_and_needs_nobody_stops_beside_the_others(clock: VirtualClock) -> None:
    with Supervisor([Leaving("a")]) as top:
        top.adopt(Leaving("b"), needs=())
        top.stop()
    assert told == ["b?", "a?", "b", "a"]


def test_a_stop_by_needs_keeps_its_budget_and_names_who_did_not_end(clock: VirtualClock) -> None:
    parts = [("db", ()), ("api", ("db",)), ("log", ())]
    top = Supervisor([(Leaving(name, 99), {"needs": needs}) for name, needs in parts])
    top.start()
    report = top.stop(2.0)
    assert clock.now <= 2.5
    assert report.killed == 3


def test_of_a_budget_that_is_short_each_gets_its_part_along_its_own_chain(
    clock: VirtualClock,
) -> None:
    parts = [("db", ()), ("api", ("db",)), ("web", ("api",)), ("log", ())]
    top = Supervisor(
        [(Leaving(name, 2.0), {"needs": needs, "shutdown": 6.0}) for name, needs in parts]
    )
    top.start()
    report = top.stop(9.0)
    assert report.is_clean
    assert clock.now == pytest.approx(6.0)
    top = Supervisor(
        [(Leaving(name, 9.0), {"needs": needs, "shutdown": 6.0}) for name, needs in parts]
    )
    before = clock.now
    top.start()
    report = top.stop(9.0)
    took = {path.rpartition("/")[2]: seconds for path, seconds in report.slowest}
    assert took == pytest.approx({"web": 3.0, "api": 3.0, "db": 3.0, "log": 6.0}, abs=0.2)
    assert clock.now - before == pytest.approx(9.0, abs=0.2)


def test_ends_without_hooks_are_over_on_the_spot_in_the_order_of_needs(
    clock: VirtualClock,
) -> None:
    size = 2000
    chain: list[Any] = [
        (Service(), {"name": str(at), "needs": (str(at + 1),) if at + 1 < size else ()})
        for at in range(size)
    ]
    top = Supervisor(chain)
    top.start()
    for name in (str(size - 1), "0"):
        top.service(name).add_cleanup(told.append, name)
    report = top.stop()
    assert told == ["0", str(size - 1)]
    assert report.clean == size + 1


def test_one_that_is_caught_while_it_starts_holds_up_those_only_that_it_needs(
    clock: VirtualClock,
) -> None:
    deaf = Scripted("deaf", Journal(), needs=("db",), deaf=True, shutdown=3.0)
    parts = [("db", ()), ("api", ()), ("web", ("api",))]
    children: list[Any] = [(Leaving(name), {"needs": needs}) for name, needs in parts]
    top = Supervisor([*children, deaf])
    top.start()
    deaf.script.start_takes = 50.0
    crash(deaf)
    clock.settle()
    began = clock.now
    spawn(top.stop)
    clock.advance(2.5)
    assert told == ["web?", "web", "api?", "api"]
    clock.advance(2.5)
    assert told[4:] == ["db?", "db"]
    assert top.snapshot().state is State.STOPPED
    assert clock.now - began == 5.0
    clock.advance(50.0)


def test_a_child_that_is_stopping_already_is_waited_for(clock: VirtualClock) -> None:
    parts = [("db", ()), ("api", ("db",))]
    top = Supervisor([(Leaving(name, 2), {"needs": needs}) for name, needs in parts])
    top.start()
    stop = spawn(top.service("api").stop)
    clock.advance(1)
    top.stop()
    assert stop.successful()
    assert told == ["api?", "api", "db?", "db"]


@pytest.mark.parametrize("needs", [{}, {"needs": ()}])
def test_who_has_come_back_behind_those_that_need_it_stops_after_them(
    needs: Any, clock: VirtualClock
) -> None:
    with Supervisor([(Leaving("db"), {"needs": ()}), (Leaving("api"), {"needs": ("db",)})]) as top:
        top.terminate_child("db")
        top.delete_child("db")
        top.adopt(Leaving("db"), **needs)
        told.clear()
        report = top.stop(timeout=9)
        assert (report.clean, report.errors) == (3, 0)
    assert told == ["api?", "api", "db?", "db"]


def test_who_comes_back_may_not_need_who_needs_it(clock: VirtualClock) -> None:
    children = [(Leaving("db"), ()), (Leaving("api"), ("db",)), (Leaving("web"), ("api",))]
    with Supervisor([(each, {"needs": needs}) for each, needs in children]) as top:
        top.terminate_child("db")
        top.delete_child("db")
        with pytest.raises(BadPolicy, match="no circle: db -> web -> api -> db"):
            top.adopt(Leaving("db"), needs=("web",))
        assert list(states(top)) == ["api", "web"]


def test_names_that_nobody_needs_any_more_are_forgotten_when_there_are_many_of_them() -> None:
    kept: Any = {f"kept-{number}": "ready" for number in range(60)}
    child = SimpleNamespace(_policy_=SimpleNamespace(needs=kept))
    parent: Any = SimpleNamespace(_children_={"child": child})
    needed = Needed()
    for names, most in (("gone", 100), ("later", 220)):  # 100 beside twice what is needed
        needed.note(kept, parent)
        rest = [f"{names}-{number}" for number in range(most - 60)]
        for name in rest:
            needed.note({name: "ready"}, parent)
        assert all(name in needed for name in (*kept, *rest))
        needed.note({"one more": "ready"}, parent)
        assert not any(name in needed for name in (*rest, "one more"))
        assert all(name in needed for name in kept)


def test_that_is_so_however_many_have_come_and_gone(clock: VirtualClock) -> None:
    del clock
    pool = DynamicSupervisor()
    with pool:
        pool.adopt(Part("db"))
        pool.adopt(Part("api"), needs=("db",))
        pool.terminate_child("db")
        for number in range(300):
            pool.adopt(Service(), name=f"{number}")
            pool.adopt(Service(), name="guest", needs=(f"{number}",))
            pool.terminate_child("guest")
            pool.terminate_child(f"{number}")
        assert len(pool._supervision_.needed._names) < 210  # type: ignore[union-attr]
        with pytest.raises(BadPolicy, match=r"db -> api -> db"):
            pool.adopt(Part("db"), needs=("api",))


# -- autostart ----------------------------------------------------------------------------


def test_without_autostart_it_is_placed_as_stopped_and_all_is_ready(clock: VirtualClock) -> None:
    with Supervisor([(Part("spare"), {"autostart": False}), Service()]) as top:
        assert states(top)["spare"] == "stopped"
        assert not top.not_ready()
        top.service("spare").start()
        assert states(top)["spare"] == "running"


def test_a_need_starts_it(clock: VirtualClock) -> None:
    children: list[Any] = [
        (Part("db"), {"autostart": False, "needs": ()}),
        (Part("api"), {"needs": ("db",)}),
        (Part("spare"), {"autostart": False, "needs": ()}),
    ]
    with Supervisor(children) as top:
        assert states(top) == {"db": "running", "api": "running", "spare": "stopped"}


def test_a_need_that_comes_later_starts_it_too(clock: VirtualClock) -> None:
    with Supervisor([(Part("db"), {"autostart": False})]) as top:
        top.adopt(Part("api"), needs=("db",))
        clock.advance(3)
        assert states(top) == {"db": "running", "api": "running"}


def test_it_is_started_when_it_comes_back_and_somebody_waits_for_it(clock: VirtualClock) -> None:
    with Supervisor([(Part("db", ready=False), {"needs": ()})]) as top:
        top.adopt(Part("api"), needs={"db": "ready"})
        top.terminate_child("db")
        top.delete_child("db")
        top.adopt(Part("db"), autostart=False)
        clock.advance(3)
        assert states(top) == {"api": "running", "db": "running"}


def test_a_group_restart_starts_it(clock: VirtualClock) -> None:
    children: list[Any] = [(Part("spare"), {"autostart": False}), Service()]
    with Supervisor(children, strategy="one_for_all") as top:
        crash(top.service("Service"))
        clock.advance(3)
        assert states(top)["spare"] == "running"


@pytest.mark.parametrize("needs", [{}, {"needs": ()}])
def test_it_is_stopped_again_when_its_parent_is_restarted(
    needs: dict[str, Any], clock: VirtualClock
) -> None:
    inner = Supervisor([(Part("spare"), {"autostart": False, **needs})], name="inner")
    with Supervisor([inner]) as top:
        inner.service("inner/spare").start()
        crash(inner)
        clock.advance(3)
        assert inner.snapshot().children[0].state is State.STOPPED
        assert top.snapshot().state is State.RUNNING


# -- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needs", "text"),
    [
        ({"a": ("b",), "b": ("a",)}, "a -> b -> a"),
        ({"a": ("a",)}, "a -> a"),
        ({"a": ("c",), "b": None, "c": None}, "no circle"),
        ({"a": ("x",)}, "'x'.* names of siblings"),
        ({"a": (), "b": {"a": "finished"}}, "a is permanent"),
        ({"a": {"b": "up"}, "b": ()}, "'up'.*'ready', 'started', 'finished'"),
        ({"a": "b", "b": ()}, "a tuple of siblings' names"),
        ({"a": [3]}, "a tuple of siblings' names"),
        ({"a": {"": "ready"}}, "a tuple of siblings' names"),
    ],
)
def test_needs_that_can_never_be_met_are_refused_when_the_list_is_made(
    needs: dict[str, Any], text: str
) -> None:
    with pytest.raises(BadPolicy, match=text):
        Supervisor([(Part(name), {"needs": given}) for name, given in needs.items()])


@pytest.mark.parametrize("flag", [0, "no", None])
def test_autostart_is_a_flag(flag: Any) -> None:
    with pytest.raises(BadPolicy, match="autostart"):
        Supervisor([(Part("a"), {"autostart": flag})])


# -- the order, pure ----------------------------------------------------------------------

graphs = st.integers(0, 12).flatmap(
    lambda size: st.lists(
        st.one_of(st.none(), st.sets(st.integers(0, max(size - 1, 0)), max_size=3)),
        min_size=size,
        max_size=size,
    )
)


@given(graphs)
def test_everyone_comes_after_what_it_needs_or_there_is_a_circle(
    graph: list[set[int] | None],
) -> None:
    needs = {
        str(at): None if wanted is None else {str(each) for each in wanted}
        for at, wanted in enumerate(graph)
    }

    def all_of(name: str) -> set[str]:
        wanted = needs[name]
        return {str(at) for at in range(int(name))} if wanted is None else wanted

    circle: Sequence[str] = ()
    order: list[str] = []
    try:
        order = start_order(needs)
    except NeedsThemselvesError as error:
        circle = error.circle
    if circle:
        assert circle[0] == circle[-1]
        assert all(b in all_of(a) for a, b in pairwise(circle))
        return
    assert sorted(order) == sorted(needs)
    for name in needs:
        assert all(order.index(each) < order.index(name) for each in all_of(name))


def test_a_list_that_is_in_order_keeps_it() -> None:
    assert start_order({"a": None, "b": (), "c": ("a",), "d": None}) == ["a", "b", "c", "d"]


def test_a_long_chain_that_is_listed_backwards_meets_no_recursion_limit() -> None:
    size = 20_000
    needs = {str(at): (str(at + 1),) if at + 1 < size else () for at in range(size)}
    assert start_order(needs)[0] == str(size - 1)


@given(graphs, st.data())
def test_what_ends_after_one_is_the_longest_chain_of_those_it_needs(
    graph: list[set[int] | None], data: st.DataObject
) -> None:
    needs = [
        None if wanted is None else [each for each in wanted if each < at]
        for at, wanted in enumerate(graph)
    ]
    seconds = [float(data.draw(st.integers(0, 5))) for _ in needs]

    def longest(at: int) -> float:
        wanted = needs[at]
        below = range(at) if wanted is None else wanted
        return max((longest(each) + seconds[each] for each in below), default=0.0)

    assert seconds_after(needs, seconds) == [longest(at) for at in range(len(needs))]


def test_called_for_is_all_that_is_needed_directly_or_not() -> None:
    needs = {"a": ("b",), "b": ("c",), "c": None, "d": ("a",)}
    assert called_for(needs, ["a"]) == {"a", "b", "c"}


def _ledger(top: Supervisor) -> list[Any]:
    tree = top._tree_
    assert tree is not None
    return list(tree.ledger)
