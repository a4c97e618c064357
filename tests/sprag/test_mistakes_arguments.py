"""What newcomers give as arguments, and what they are told: given, accepted, what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import App, Backoff, DynamicSupervisor, Service, Supervisor, host
from sprag.exceptions import (
    AlreadyAdopted,
    BadPolicy,
    BadValue,
    UnknownChild,
    UnknownService,
)
from sprag.web import Limits
from sprag_supervisor import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock


class Feed(Service):
    pass


an_app: Any = App
a_supervisor: Any = Supervisor
a_dynamicsupervisor: Any = DynamicSupervisor
a_backoff: Any = Backoff
limits: Any = Limits
feed: Any = Feed
run: Any = host.run

TOLD: list[tuple[Callable[[], object], str]] = [
    (
        lambda: an_app({"feed": Feed()}),
        "App's argument={'feed': .* use keywords, as in App(",
    ),
    (lambda: an_app(providers=[Feed()]), "providers=[<Feed .* use services by their names, as"),
    (
        lambda: an_app(providers={"f": int}),
        "providers['f']=<class .* use a service, or its class",
    ),
    (
        lambda: an_app(providers={"f": (Feed(), {}, "f")}),
        "providers['f']=(.* or a pair of one and its policy",
    ),
    (
        lambda: an_app(providers={"f": (Feed(), {"restarts": 1})}),
        "unknown policy keyword 'restarts' .* did you mean 'restart'",
    ),
    (lambda: an_app(providers={"a/b": Feed()}), "provider='a/b' .* holds no slash"),
    (
        lambda: an_app(name="a/b"),
        "name='a/b' is not accepted: use a text that is not empty",
    ),
    (lambda: run(None), "root=None is not accepted: use an instance of a Service"),
    (lambda: run(Feed), "root=<class .* use an instance of a Service: write Feed(...)"),
    (lambda: an_app(name=""), "name='' is not accepted: use a text that is not empty"),
    (lambda: a_supervisor(name="a/b"), "name='a/b' is not accepted"),
    (lambda: a_dynamicsupervisor(name="a/b"), "name='a/b' is not accepted"),
    (
        lambda: a_supervisor({"pool": Feed()}),
        "children={'pool': .* use a list; a name goes into",
    ),
    (lambda: a_supervisor(Feed(), Feed()), "children=(.* use one list of them: Supervisor([first"),
    (
        lambda: a_supervisor(Feed()),
        "children=<Feed .* use a list of services, as in Supervisor([",
    ),
    (lambda: a_supervisor(Feed), "use a list of services, .*: write Feed(...)"),
    (lambda: a_supervisor(None), "children=None .* use a list of services"),
    (lambda: a_supervisor("feed"), "children='feed' .* use a list of services"),
    (lambda: a_supervisor([int]), "child=<class .* a service or its class, or a pair (service"),
    (
        lambda: a_dynamicsupervisor([Feed()]),
        "use keywords, .* children are started with",
    ),
    (lambda: a_dynamicsupervisor(10), "argument=10 .* use keywords, as in max_children=10"),
    (lambda: a_backoff("1"), "policy backoff.initial='1' is not accepted: use a finite number of"),
    (lambda: a_backoff(1, 30), "policy backoff=30 .* keywords after the first, as in Backoff(1,"),
    (
        lambda: an_app(children=[Feed()]),
        "App's keyword='children' is not accepted: use 'providers', 'routes', .*",
    ),
    (lambda: an_app(provider={}), "App's keyword='provider' .* (did you mean 'providers'?)"),
    (
        lambda: a_supervisor([(Feed(), {"name": "a/b"})]),
        "name='a/b' is not accepted: use a text that is not empty and holds no slash",
    ),
    (lambda: a_supervisor([(Feed(), {"name": 5})]), "name=5 is not accepted: use a text"),
    (lambda: a_supervisor([(Feed(), {"name": ["a"]})]), "name=['a'] is not accepted: use a text"),
    (lambda: limits(head_timeout=timedelta(0)), "head_timeout=datetime.* is not accepted"),
    (lambda: run(Feed(), name="a/b"), "name='a/b' is not accepted"),
    (lambda: run(Feed(), shutdown_timeout="5"), "shutdown_timeout='5' is not accepted"),
    (lambda: feed().stop("5"), "timeout='5' is not accepted: use seconds, 0 or more, or None"),
    (lambda: feed().wait("5"), "timeout='5' is not accepted: use seconds, 0 or more, or None"),
]


@pytest.mark.parametrize(("call", "message"), TOLD)
def test_an_argument_of_the_wrong_shape_is_told_with_the_right_one(
    call: Callable[[], object], message: str
) -> None:
    with pytest.raises((BadValue, BadPolicy)) as caught:
        call()
    said, at = str(caught.value), 0
    for part in message.split(".*"):
        at = said.index(part.strip(), at)


def test_a_class_of_no_services_is_not_adopted(running: Service) -> None:
    anything: Any = dict
    with pytest.raises(BadValue, match="use a Service, or a class of them"):
        running.adopt(anything)


class Hostile:
    def __repr__(self) -> str:
        raise ZeroDivisionError


def test_what_is_said_about_a_value_is_short_and_does_not_raise_what_its_repr_raises() -> None:
    anything: Any = Supervisor
    with pytest.raises(BadValue, match="<Hostile, whose __repr__ raised ZeroDivisionError>"):
        anything([Hostile()])
    with pytest.raises(BadValue) as caught:
        anything("x" * 10_000_000)
    assert len(str(caught.value)) < 400


# -- times -----------------------------------------------------------------------------


def test_a_timedelta_is_accepted_wherever_seconds_are(clock: VirtualClock) -> None:
    second = timedelta(seconds=1)
    backoff = Backoff(second, maximum=timedelta(minutes=1), reset_after=timedelta(hours=1))
    assert backoff == Backoff(initial=1.0, maximum=60.0, reset_after=3600.0)
    policy: dict[str, Any] = {"shutdown": 2 * second, "start_timeout": second}

    class Timed(Service, **policy, max_seconds=timedelta(minutes=2)):
        pass

    assert Timed._class_policy_ == Policy(shutdown=2.0, start_timeout=1.0, max_seconds=120.0)
    assert App(max_seconds=second)._policy_.max_seconds == 1.0
    assert Limits(body_timeout=second).body_timeout == 1.0
    ticks: list[str] = []
    with Timed() as timed:
        timed.interval(ticks.append, second, "tick")
        timed.timeout(ticks.append, timedelta(milliseconds=1500), "once")
        clock.advance(2 * second)
        assert ticks == ["tick", "once", "tick"]
        assert timed.wait(second) is None
        assert clock.now == 3.0
        assert timed.adopt(Feed(), shutdown=second)._policy_.shutdown == 1.0
        assert timed.stop(5 * second).clean == 2


@pytest.mark.parametrize("given", [timedelta(0), -timedelta(seconds=1)])
def test_a_timedelta_is_checked_like_any_number(running: Service, given: timedelta) -> None:
    with pytest.raises(BadValue, match="seconds="):
        running.interval(int, given)
    with pytest.raises(BadPolicy, match="max_seconds="):
        Supervisor(max_seconds=given)


# -- texts that say what to do ---------------------------------------------------------


def test_a_start_waits_for_the_stop_that_is_in_progress(clock: VirtualClock) -> None:
    class Slow(Service):
        def on_stop(self) -> None:
            gevent.sleep(1.0)

    slow = Slow()
    slow.start()
    spawn: Any = gevent.spawn
    stopping = spawn(slow.stop)
    clock.settle()
    assert slow.snapshot().state.value == "stopping"
    slow.start()
    assert slow.snapshot().state.value == "running"
    assert clock.now == 1.0
    stopping.join()
    slow.stop()


def test_a_start_in_the_very_stop_says_that_it_is_stopping(clock: VirtualClock) -> None:
    class Eager(Service):
        def on_stop(self) -> None:
            self.start()

    with Eager() as eager:
        report = eager.stop()
    assert "still stopping: start it when it is down" in report.entries[0].detail


def test_a_stopped_child_is_not_adopted_elsewhere_and_the_text_says_the_way(
    clock: VirtualClock,
) -> None:
    with Service() as one, Supervisor() as other:
        child = one.adopt(Feed(), restart="transient")
        child.stop()
        with pytest.raises(AlreadyAdopted, match="restart='temporary' and stops"):
            other.adopt(child)
        brief = one.adopt(Feed(), restart="temporary")
        brief.stop()
        assert other.adopt(brief) is brief
        other.terminate_child("Feed")
        kept = other.adopt(Feed(), name="kept")
        kept.stop()
        other.delete_child("kept")
        assert one.adopt(kept) is kept


def test_a_dynamic_supervisor_with_children_does_not_say_that_it_has_none(
    clock: VirtualClock,
) -> None:
    with DynamicSupervisor() as fleet:
        fleet.start_child(Feed(), name="one")
        with pytest.raises(UnknownChild, match="has no child 'Feed': use 'one'"):
            fleet.terminate_child(Feed())
        with pytest.raises(BadValue, match="a child of mine, or its name"):
            fleet.terminate_child(anything(5))


def anything(given: object) -> Any:
    return given


def test_a_service_that_is_deeper_down_is_suggested_by_its_path(clock: VirtualClock) -> None:
    fleet = Supervisor([(Feed(), {"name": "courier"})])
    with App(providers={"fleet": fleet, "other": Feed()}) as app:
        with pytest.raises(UnknownService) as caught:
            app.service("courier")
        assert "(did you mean 'fleet/courier'?), or a path" in str(caught.value)


def test_the_choices_of_many_are_some(clock: VirtualClock) -> None:
    with DynamicSupervisor() as fleet:
        for number in range(200):
            fleet.start_child(Feed(), name=f"feed-{number}")
        with pytest.raises(UnknownChild, match=" and 180 more") as caught:
            fleet.terminate_child("fed-7")
    assert "did you mean 'feed-7'?" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_who_gives_up_over_a_backoff_says_how_little_it_waited(clock: VirtualClock) -> None:
    class Dead(Service, backoff=Backoff(jitter=0)):
        def run(self) -> None:
            raise OSError("nobody there")

    top = Supervisor([Dead()], name="top")
    top.start()
    clock.advance(10)
    ending = top.wait(0)
    assert ending is not None
    assert ending.failure is not None
    assert "nobody there; its backoff had waited 0.7 s in all: a longer init" in str(ending.failure)
