"""Events that must not be lost: each is heard by each group, at least once; in virtual time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from gevent import GreenletExit, get_hub, sleep

from sprag import App, Cluster, Event, Service, State, Supervisor, current_event
from sprag.cluster import memory
from sprag.cluster.engine import Page
from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag.cluster.groups import Place, event_of, message_of, place_of
from sprag.cluster.rows import Row, row_of
from sprag.exceptions import BadValue, CalledInHub, NotRunning
from sprag.testing import as_workers
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag import Subscription
    from sprag.testing import AsWorkers, VirtualClock

HEARD: list[tuple[str, Any]] = []
"""Who has heard what, from the beginning of each test."""
EVENTS: list[Event] = []
BAD: list[Any] = []
"""What is too much for everybody."""


class Intake(Service):
    slow = 0.0
    retries: int | None = None
    group = "intake"
    sub: Subscription

    def on_start(self) -> None:
        self.sub = self.subscribe("order:paid", self._paid, group=self.group, retries=self.retries)

    def _paid(self, data: Any) -> None:
        event = current_event()
        assert event is not None
        EVENTS.append(event)
        sleep(self.slow)
        if data in BAD:
            raise ValueError("no database")
        HEARD.append((self.label(), data))

    def label(self) -> str:
        root: Any = tree_of(self).root
        return str(root.label)


class Labelled(App):
    label = ""


@pytest.fixture(autouse=True)
def _nothing_heard() -> None:
    HEARD.clear()
    EVENTS.clear()
    BAD.clear()


def app(label: str = "app", intake: Any = Intake, **more: Any) -> Labelled:
    made = Labelled(providers={"intake": intake, **more})
    made.label = label
    return made


@contextmanager
def workers(*roots: Labelled) -> Generator[AsWorkers]:
    with as_workers(*roots) as shared:
        for each in roots:
            each.start()
        try:
            yield shared
        finally:
            for each in roots:
                each.stop()


def heard() -> list[Any]:
    return [data for _who, data in HEARD]


# -- hearing -------------------------------------------------------------------------------


def test_what_is_published_is_heard_once_and_in_order(clock: VirtualClock) -> None:
    with app() as root:
        for each in range(250):
            root.publish("order:paid", {"order": each})
        root.publish("order:lost", {"order": 0})
        clock.settle()
        assert heard() == [{"order": each} for each in range(250)]
        assert root.service("intake").sub.heard == 250
        assert root.service("intake").sub.reads


def test_listeners_do_not_hear_what_is_published_nor_groups_what_is_emitted(
    clock: VirtualClock,
) -> None:
    with app() as root:
        other: list[Any] = []
        root.listen("order:paid", other.append)
        root.publish("order:paid", 1)
        root.broadcast("order:paid", 2)
        root.emit("order:paid", 3)
        clock.settle()
        assert heard() == [1]
        assert sorted(other) == [2, 3]


def test_each_event_has_an_id_which_its_subscriber_may_ask_for(clock: VirtualClock) -> None:
    with app() as root:
        first = root.publish("order:paid", 1)
        second = root.publish("order:paid", 2, event_id="order-2")
        clock.settle()
        assert second == "order-2"
        assert len(first) == 32
        at = clock.wall
        assert [Event(each, "order:paid", at, 1) for each in (first, second)] == EVENTS
    assert current_event() is None


def test_one_reads_at_a_time_and_another_goes_on_where_it_has_stopped(clock: VirtualClock) -> None:
    first, second = app("one"), app("two")
    with workers(first, second):
        for each in range(5):
            second.publish("order:paid", each)
        clock.settle()
        assert {who for who, _ in HEARD} == {"one"}
        assert [each.service("intake").sub.reads for each in (first, second)] == [True, False]
        first.stop()
        for each in range(5, 8):
            second.publish("order:paid", each)
        clock.settle()
        assert HEARD[5:] == [("two", each) for each in range(5, 8)]
        assert heard() == list(range(8))


def test_each_group_hears_all(clock: VirtualClock) -> None:
    class Stock(Intake):
        group = "stock"

        def label(self) -> str:
            return "stock"

    with app(stock=Stock()) as root:
        root.publish("order:paid", 1)
        clock.settle()
        assert sorted(HEARD) == [("app", 1), ("stock", 1)]


def test_two_of_one_tree_and_group_share_the_work(clock: VirtualClock) -> None:
    with app(other=Intake()) as root:
        root.publish("order:paid", 1)
        clock.settle()
        assert heard() == [1]
        assert root.service("intake").sub.reads
        root.terminate_child("intake")
        root.publish("order:paid", 2)
        clock.settle()
        assert heard() == [1, 2]
        assert root.service("other").sub.reads


def test_what_is_published_while_nobody_reads_is_heard_later(clock: VirtualClock) -> None:
    first, second = app("one"), app("two", Service)
    with workers(first, second):
        clock.settle()
        first.stop()
        for each in range(3):
            second.publish("order:paid", each)
        clock.advance(1000)
        assert heard() == []
        first.start()
        clock.settle()
        assert heard() == [0, 1, 2]


def test_a_group_begins_with_its_first_subscription(clock: VirtualClock) -> None:
    with app("app", Service) as root:
        root.publish("order:paid", 1)
        intake: Any = Intake()
        root.adopt(intake)
        root.publish("order:paid", 2)
        clock.settle()
        assert heard() == [2]


def test_of_who_was_killed_what_was_in_hand_comes_again(clock: VirtualClock) -> None:
    class Slow(Intake):
        slow = 0.5

    first, second = app("one", Slow()), app("two", Slow())
    with workers(first, second) as shared:
        for each in range(4):
            second.publish("order:paid", each)
        clock.advance(1.2)  # the third is in hand
        assert heard() == [0, 1]
        shared.engine.is_closing = True  # its process is killed: it hands nothing over
        first.stop(timeout=0)
        shared.engine.is_closing = False
        shared.reap(first)
        clock.advance(3)
        assert HEARD == [("one", 0), ("one", 1), ("two", 2), ("two", 3)]


# -- the end -------------------------------------------------------------------------------


def test_a_stop_waits_for_what_is_in_hand_and_takes_no_more(clock: VirtualClock) -> None:
    class Slow(Intake):
        slow = 2.0

    first, second = app("one", Slow()), app("two", Slow())
    with workers(first, second):
        for each in range(2):
            second.publish("order:paid", each)
        clock.advance(0.5)
        report = first.stop()
        assert report.is_clean
        assert HEARD == [("one", 0)]
        clock.advance(2)
        assert HEARD == [("one", 0), ("two", 1)]


def test_who_cancels_hears_no_more_and_others_go_on(clock: VirtualClock) -> None:
    first, second = app("one"), app("two")
    with workers(first, second):
        sub = first.service("intake").sub
        clock.settle()
        sub.cancel()
        sub.cancel()
        clock.settle()
        assert not sub.active
        first.publish("order:paid", 1)
        clock.settle()
        assert HEARD == [("two", 1)]


# -- what goes wrong ------------------------------------------------------------------------


def test_an_event_that_crashes_who_hears_it_comes_again_and_counts_toward_no_limit(
    clock: VirtualClock,
) -> None:
    with app() as root:
        BAD.append(1)
        for each in range(3):
            root.publish("order:paid", each)
        clock.advance(60)
        intake = root.service("intake")
        assert heard() == [0]  # those behind it wait
        assert intake.snapshot().state is State.RUNNING
        assert 5 < intake.snapshot().restarts < 20  # with pauses that grow
        assert EVENTS[-1].tries == intake.snapshot().restarts
        assert len({event.id for event in EVENTS}) == 2
        BAD.clear()
        clock.advance(20)
        assert heard() == [0, 1, 2]
        assert EVENTS[-1].tries == 1


def test_one_that_has_crashed_too_often_is_poison(clock: VirtualClock, caplog: Any) -> None:
    class Strict(Intake):
        retries = 2

    with app("app", Strict()) as root:
        BAD.append(1)
        for each in range(3):
            event_id = f"order-{each}"
            root.publish("order:paid", each, event_id=event_id)
        clock.advance(60)
        assert heard() == [0, 2]
        assert [event.tries for event in EVENTS if event.id == "order-1"] == [1, 2, 3]
        assert root.service("intake").snapshot().restarts == 3
        [said] = [each for each in caplog.records if "poison" in each.getMessage()]
        assert "order-1" in said.getMessage()
        assert "tries=3" in said.getMessage()


def test_who_crashes_of_something_else_counts_as_ever(clock: VirtualClock) -> None:
    with app() as root:
        for _ in range(4):
            intake = root.service("intake")
            intake.spawn(lambda: 1 / 0)
            clock.settle()
        assert root.snapshot().state is State.FAILED


def test_another_worker_tries_what_has_crashed_the_first(clock: VirtualClock) -> None:
    first, second = app("one"), app("two")
    with workers(first, second):
        BAD.append(1)
        first.publish("order:paid", 1)
        clock.advance(10)
        restarts = [each.service("intake").snapshot().restarts for each in (first, second)]
        assert all(restarts)
        BAD.clear()
        clock.advance(20)
        assert heard() == [1]


def test_what_the_engine_drops_is_counted_and_told(clock: VirtualClock, caplog: Any) -> None:
    first, second = app("one"), app("two", Service)
    with workers(first, second) as shared:
        clock.settle()
        first.stop()
        for each in range(memory.MOST_MESSAGES + 7):
            second.publish("order:paid", each)
        first.start()
        clock.advance(5)
        assert heard() == list(range(7, memory.MOST_MESSAGES + 7))
        assert first.service("intake").sub.missed == 7
        [said] = [each for each in caplog.records if "events are lost" in each.getMessage()]
        assert "missed=7" in said.getMessage()
        row = row_of(shared.engine.get("sprag/app/rows//groups/intake/order:paid").value)
        assert place_of(row) == Place(str(memory.MOST_MESSAGES + 7))


class Flaky:
    """An engine that is away now and then."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.is_away = False
        self.loses: list[str] = []
        """Verbs whose next answer is lost: it was done."""

    def __getattr__(self, verb: str) -> Any:
        found = getattr(self._engine, verb)
        if verb not in {"get", "scan", "cas", "publish", "read"}:
            return found

        def ask(*args: Any) -> Any:
            if self.is_away:
                raise EngineAway("nowhere", "a test")
            answer = found(*args)
            if verb in self.loses:
                self.loses.remove(verb)
                raise EngineAway("nowhere", "a test")
            return answer

        return ask


def flaky(shared: AsWorkers) -> Flaky:
    found = Flaky(shared.engine)
    for member in shared.members:
        engine: Any = found
        member.engine = engine
    return found


def test_an_engine_that_is_away_loses_nothing(clock: VirtualClock) -> None:
    first, second = app("one"), app("two")
    with as_workers(first, second) as shared:
        engine = flaky(shared)
        with first, second:
            for each in range(20):
                engine.is_away = True
                with pytest.raises(EngineAway):
                    second.publish("order:paid", each)
                clock.advance(3)
                engine.is_away = False
                second.publish("order:paid", each)
                clock.advance(1.5)
            assert heard() == list(range(20))


def test_who_publishes_again_what_may_be_kept_gives_it_the_same_id(clock: VirtualClock) -> None:
    with as_workers(root := app()) as shared:
        engine = flaky(shared)
        with root:
            engine.loses = ["publish"]
            with pytest.raises(EngineAway):
                root.publish("order:paid", 1, event_id="order-1")
            root.publish("order:paid", 1, event_id="order-1")
            clock.settle()
            assert [event.id for event in EVENTS] == ["order-1", "order-1"]


@pytest.mark.parametrize("verb", ["get", "cas", "read"])
def test_an_answer_that_is_lost_stops_nobody(clock: VirtualClock, verb: str) -> None:
    first, second = app("one"), app("two")
    with as_workers(first, second) as shared:
        engine = flaky(shared)
        engine.loses = [verb] * 3
        with first, second:
            clock.advance(5)
            for each in range(30):
                engine.loses = [verb]
                second.publish("order:paid", each)
                clock.advance(2.5)
            assert sorted(set(heard())) == list(range(30))
        with first:
            pass
    assert heard() == sorted(heard())


def test_who_subscribes_while_the_engine_is_away_begins_when_it_is_back(
    clock: VirtualClock,
) -> None:
    with as_workers(root := app()) as shared:
        engine = flaky(shared)
        engine.is_away = True
        with root:
            clock.advance(5)
            engine.is_away = False
            clock.advance(2)
            root.publish("order:paid", 1)
            clock.settle()
            assert heard() == [1]


def test_what_is_no_event_is_passed_over(clock: VirtualClock, caplog: Any) -> None:
    with workers(root := app()) as shared:
        topic = "sprag/app/topics/events/order:paid"
        for junk in (b"", b"[]", b"{", b"\xff", b'{"id":1}', b'{"id":"a","event":"b"}'):
            shared.engine.publish(topic, junk)
        root.publish("order:paid", 1)
        clock.settle()
        assert heard() == [1]
        said = [each for each in caplog.records if "is no event" in each.getMessage()]
        assert len(said) == 6


# -- bad input -----------------------------------------------------------------------------


def test_what_cannot_be_published_is_refused(clock: VirtualClock) -> None:
    with app() as root:
        for event in ("", "sprag:started", "x" * 201, 3, None):
            with pytest.raises(BadValue):
                root.publish(event, 1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        for data in ({1: 2}, object(), float("nan"), b"x", "x" * 60_001):
            with pytest.raises(BadValue, match="data"):
                root.publish("order:paid", data)
        for event_id in ("", 3, "x" * 201):
            with pytest.raises(BadValue, match="event_id"):
                root.publish("order:paid", 1, event_id=event_id)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        for each in range(memory.MOST_TOPICS):
            root.publish(f"kind-{each}", 1)
        with pytest.raises(EngineFull, match="topics"):
            root.publish("kind-100", 1)
    with pytest.raises(NotRunning):
        Service().publish("order:paid")


def test_what_cannot_be_subscribed_to_is_refused(clock: VirtualClock) -> None:
    with app() as root:

        def subscribe(event: Any = "e", fn: Any = print, **more: Any) -> None:
            given: Any = {"group": "g", **more}
            root.subscribe(event, fn, **given)

        for event in ("", "sprag:started", 3):
            with pytest.raises(BadValue):
                subscribe(event)
        for group in ("", "a/b", 3, None, "x" * 201):
            with pytest.raises(BadValue):
                subscribe(group=group)
        for retries in (-1, 1.5, "2"):
            with pytest.raises(BadValue):
                subscribe(retries=retries)
        with pytest.raises(BadValue, match="fn"):
            subscribe(fn=3)
    with pytest.raises(NotRunning):
        root.subscribe("e", print, group="g")


def test_neither_is_for_the_hub(clock: VirtualClock) -> None:
    errors: list[type[BaseException]] = []
    with app() as root:

        def in_hub() -> None:
            for call in (
                lambda: root.publish("e"),
                lambda: root.subscribe("e", print, group="g"),
            ):
                try:
                    call()
                except CalledInHub as error:
                    errors.append(type(error))

        get_hub().loop.run_callback(in_hub)
        clock.settle()
    assert errors == [CalledInHub, CalledInHub]


def test_names_of_a_user_s_own_hide_these_and_break_nothing(clock: VirtualClock) -> None:
    class Mine(Intake):
        publish: Any = 3
        current_event: Any = 4

        def label(self) -> str:
            self.heard = self.missed = 5
            return "mine"

    class Other(Service):
        subscribe: Any = 3

    with app("app", Mine(), other=Other()) as root:
        root.publish("order:paid", 1)
        clock.settle()
        assert HEARD == [("mine", 1)]


def test_who_publishes_in_a_subscriber_is_heard_by_the_next(clock: VirtualClock) -> None:
    class Relay(Service):
        def on_start(self) -> None:
            self.subscribe("order:new", self._new, group="relay")

        def _new(self, data: Any) -> None:
            event = current_event()
            assert event is not None
            self.publish("order:paid", data, event_id=event.id)

    with app(relay=Relay()) as root:
        given = root.publish("order:new", 7)
        clock.settle()
        assert heard() == [7]
        assert EVENTS[0].id == given


# -- how far a group is ------------------------------------------------------------------------


def test_a_place_is_kept_in_its_row_beside_what_others_wrote() -> None:
    row = Row(rest={"new": 1})
    kept = Place("7", 3, 1).kept_in(row)
    assert place_of(row_of(kept.as_bytes())) == Place("7", 3, 1)
    assert kept.rest["new"] == 1
    for junk in (3, {}, {"cursor": 3}, {"cursor": None, "done": 3}):
        assert place_of(Row(rest={"place": junk})) == Place()
    assert place_of(Row(rest={"place": {"cursor": "7", "done": "x", "tries": None}})) == Place("7")


def test_what_is_done_of_a_page_is_not_left_and_what_was_dropped_is_lost() -> None:
    page = Page((b"a", b"b", b"c"), "9", 2)  # two more were dropped before them
    assert list(Place("4").left(page)) == [(2, b"a"), (3, b"b"), (4, b"c")]
    assert Place("4").lost(page) == 2
    assert list(Place("4", 4).left(page)) == [(4, b"c")]
    assert Place("4", 4).lost(page) == 0
    assert Place("4", 1).lost(page) == 1
    assert Place("4", 2, 5).passed(2) == Place("4", 3, 0)
    assert Place("4", 2).tried() == Place("4", 2, 1)
    assert Place("4", 2, 1).over(page) == Place("9")


def test_an_event_is_read_as_it_was_written() -> None:
    message = message_of("id-1", 'a"b', 1.5, '{"x":[1]}')
    assert event_of(message, 2) == (Event("id-1", 'a"b', 1.5, 2), {"x": [1]})


def test_below_any_supervisor(clock: VirtualClock) -> None:
    class Top(Supervisor):
        label = "top"

    with Top([Supervisor([Intake()], name="deep")]) as root:
        root.publish("order:paid", 1)
        clock.settle()
        assert HEARD == [("top", 1)]


# -- nodes with leases ---------------------------------------------------------------------------


def test_a_node_that_loses_its_lease_calls_off_what_it_has_in_hand_and_lives_on(
    clock: VirtualClock,
) -> None:
    ended: list[tuple[str, float]] = []

    class Slow(Intake):
        def _paid(self, data: Any) -> None:
            try:
                sleep(25)
            except GreenletExit:
                ended.append((self.label(), clock.now))
                raise
            HEARD.append((self.label(), data))

    def node(name: str) -> Labelled:
        cluster = Cluster("memory://groups", ttl=10, node=name)
        made = Labelled(name="shop", cluster=cluster, providers={"intake": Slow()})
        made.label = name
        return made

    first, second = node("n1"), node("n2")
    with first, second:
        member: Any = tree_of(first).cluster
        line = Flaky(member.engine)
        member.engine = member.keeper._engine = line
        clock.advance(12)
        assert first.service("intake").sub.reads
        second.publish("order:paid", 1)
        clock.advance(2)
        began = clock.now
        line.is_away = True
        clock.advance(13)
        [(who, at)] = ended
        assert who == "n1"
        assert at - began < 0.85 * 10
        assert [each.service("intake").sub.reads for each in (first, second)] == [False, True]
        line.is_away = False
        clock.advance(30)
        assert HEARD == [("n2", 1)]
        assert first.service("intake").snapshot().restarts == 0
        second.stop()
        first.publish("order:paid", 2)
        clock.advance(40)
        assert HEARD == [("n2", 1), ("n1", 2)]
