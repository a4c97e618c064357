"""Bare greenlets born inside a service belong to it while `own_greenlets` is in force."""

from __future__ import annotations

import contextlib
import contextvars
from typing import TYPE_CHECKING, Any, cast

import gevent
import gevent.monkey
import pytest
from gevent import GreenletExit
from gevent.hub import Hub
from gevent.pool import Pool

from sprag import Service, State, Supervisor, current_service, own_greenlets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock


spawn: Any = gevent.spawn
ForeignEvent: Any = gevent.monkey.get_original("threading", "Event")


class Library:
    """Spawns by itself, as libraries do."""

    def __init__(self) -> None:
        self.seen: list[Service | None] = []
        self.greenlets: list[Any] = []

    def work(self, seconds: float = 1000.0) -> None:
        def body() -> None:
            self.seen.append(current_service())
            gevent.sleep(seconds)

        self.greenlets.append(gevent.spawn(body))

    def crash(self) -> None:
        def body() -> None:
            raise OSError("line is dead")

        self.greenlets.append(gevent.spawn(body))


class User(Service):
    def __init__(self, library: Library) -> None:
        self.library = library

    def on_start(self) -> None:
        self.library.work()


@pytest.fixture
def library(clock: VirtualClock) -> Iterator[Library]:
    assert clock.now == 0
    with own_greenlets():
        yield Library()


def test_a_librarys_greenlet_knows_its_service_and_ends_with_it(
    library: Library, clock: VirtualClock
) -> None:
    with Supervisor() as top:
        user = top.adopt(User(library))
        clock.settle()
        assert library.seen == [user]
        assert user.snapshot().owned.greenlets == 1
        user.stop()
        assert library.greenlets[0].dead


def test_its_crash_is_the_services_crash_and_is_reported_once(
    library: Library, clock: VirtualClock, log: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with Supervisor() as top:
        user = top.adopt(User(library))
        user.timeout(library.crash, 1)
        clock.advance(2)
        assert user.snapshot().incarnation == 2
        assert [record.sprag["event"] for record in log.at_least(40)] == ["service crashed"]
    assert capfd.readouterr() == ("", "")


def test_restarts_leave_no_greenlets_of_earlier_lives(
    library: Library, clock: VirtualClock
) -> None:
    with Supervisor(max_restarts=100) as top:
        user = top.adopt(User(library))
        for _ in range(5):
            user.timeout(library.crash, 1)
            clock.advance(2)
        assert sum(not each.dead for each in library.greenlets) == 1
        assert user.snapshot().state is State.RUNNING


def test_a_greenlet_that_a_greenlet_of_the_service_spawns_is_the_services_too(
    library: Library, clock: VirtualClock
) -> None:
    with Supervisor() as top:
        user = top.adopt(User(library))
        gevent.spawn(gevent.sleep, 5)  # nobody's
        user.spawn(gevent.spawn, lambda: library.work(3))
        clock.advance(1)
        assert library.seen == [user, user]
        assert user.snapshot().owned.greenlets == 2
        clock.advance(5)
        assert user.snapshot().owned.greenlets == 1


def test_outside_the_block_nothing_is_touched(clock: VirtualClock) -> None:
    hub = gevent.get_hub()
    before = dict(hub.__dict__)
    with own_greenlets(), own_greenlets():
        pass
    assert hub.__dict__ == before
    library = Library()
    with Supervisor() as top:
        top.adopt(User(library))
        clock.settle()
        assert library.seen == [None]
    gevent.killall(library.greenlets)


def test_the_end_of_an_inner_block_is_not_that_of_the_outer(
    library: Library, clock: VirtualClock
) -> None:
    with own_greenlets():
        pass
    with Supervisor() as top:
        user = top.adopt(User(library))
        clock.settle()
        assert library.seen == [user]


def test_another_thread_that_has_copied_the_context_is_not_the_services(
    library: Library, clock: VirtualClock
) -> None:
    foreign: list[Any] = []

    def work() -> None:
        context = contextvars.copy_context()

        def elsewhere() -> None:
            foreign.append(context.run(gevent.spawn, int))
            foreign[0].join()
            gevent.get_hub().destroy(destroy_loop=True)

        start = gevent.monkey.get_original("threading", "Thread")(target=elsewhere)
        start.start()
        start.join()

    with Supervisor() as top:
        user = top.adopt(User(library))
        user.spawn(work)
        clock.settle()
        assert user.snapshot().owned.greenlets == 1
        assert user.snapshot().incarnation == 1
        assert foreign[0].successful()


class Reporter:
    """Wants to hear of every exception, as error reporters do."""

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self.heard: list[type] = []

    def install(self) -> None:
        self.earlier = self.hub.handle_error
        self.hub.handle_error = self.handle

    def handle(self, context: object, kind: type, value: object, traceback: object) -> None:
        self.heard.append(kind)
        self.earlier(context, kind, value, traceback)

    def remove(self) -> None:
        del self.hub.handle_error


@pytest.fixture
def untouched(clock: VirtualClock) -> Iterator[None]:
    """Check that gevent's hub is as it was before."""
    assert clock.now == 0
    hub = gevent.get_hub()
    before = {**vars(Hub), **vars(hub)}
    yield
    after = {**vars(Hub), **vars(hub)}
    changed = {name for name in after if after[name] is not before.get(name)}
    assert changed <= {"_hub_counter"}


@pytest.mark.parametrize("order", ["ABba", "ABab", "AabB", "ABCbca", "ABCacb"])
@pytest.mark.usefixtures("untouched", "clock")
def test_blocks_may_be_left_in_any_order(order: str) -> None:
    open_blocks: dict[str, Any] = {}
    for step in order:
        if step.isupper():
            open_blocks[step] = own_greenlets()
            open_blocks[step].__enter__()
        elif step.upper() in open_blocks:
            open_blocks.pop(step.upper()).__exit__(None, None, None)
        assert owns() is bool(open_blocks)
    for block in open_blocks.values():
        block.__exit__(None, None, None)
    assert not owns()


def owns() -> bool:
    """Whether a service owns what it spawns."""
    owner = User(Library())
    with Supervisor([owner]):
        is_owned = owner.snapshot().owned.greenlets == 1
    gevent.killall(owner.library.greenlets)
    return is_owned


@pytest.mark.parametrize("order", ["RBrb", "RBbr", "BRrb", "BRbr"])
@pytest.mark.usefixtures("untouched")
def test_a_handle_error_of_somebody_else_hears_of_everything_and_is_left_alone(
    order: str, clock: VirtualClock, log: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    block, reporter = own_greenlets(), Reporter(gevent.get_hub())
    steps: dict[str, Any] = {
        "R": reporter.install,
        "r": reporter.remove,
        "B": block.__enter__,
        "b": lambda: block.__exit__(None, None, None),
    }
    for step in order[:2]:
        steps[step]()
    library = Library()
    with Supervisor([User(library)]) as top:
        cast("Service", top.which_children()[0].service).spawn(library.crash)
        clock.advance(1)
    for step in order[2:]:
        steps[step]()
    assert reporter.heard == [OSError]
    assert len([each for each in log.at_least(40) if each.sprag["event"] == "service crashed"]) == 1
    assert capfd.readouterr().err == ""
    gevent.killall(library.greenlets)


@pytest.mark.usefixtures("clock")
def test_a_step_of_the_hub_that_somebody_has_replaced_meanwhile_stays_theirs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []
    block = own_greenlets()
    block.__enter__()
    ours: Any = Hub.print_exception

    def theirs(hub: Any, context: object, kind: Any, value: Any, traceback: Any) -> None:
        seen.append(kind)
        ours(hub, context, kind, value, traceback)

    with monkeypatch.context() as patch:
        patch.setattr(Hub, "print_exception", theirs)
        block.__exit__(None, None, None)
        assert Hub.print_exception is theirs
        with own_greenlets():  # and once more, on top
            pass
        gevent.spawn(divmod, 1, 0).join()
    assert seen == [ZeroDivisionError]
    assert "ZeroDivisionError" in capfd.readouterr().err
    monkeypatch.setattr(Hub, "print_exception", ours.__closure__[0].cell_contents)


@pytest.mark.usefixtures("untouched")
def test_blocks_of_two_hubs_may_overlap(clock: VirtualClock) -> None:
    entered, leave = ForeignEvent(), ForeignEvent()

    def elsewhere() -> None:
        with own_greenlets():
            entered.set()
            leave.wait(10)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = gevent.monkey.get_original("threading", "Thread")(target=elsewhere)
    with own_greenlets():
        thread.start()
        entered.wait(10)
    assert owns()
    leave.set()
    thread.join()
    assert not owns()


def test_an_error_of_the_loop_is_printed_but_does_not_hit_who_waits_for_the_tree(
    clock: VirtualClock, capfd: pytest.CaptureFixture[str]
) -> None:
    with own_greenlets(), Supervisor() as top:
        hub: Any = gevent.get_hub()
        hub.loop.run_callback(hub.handle_error, None, OSError, OSError("a signal's callback"), None)
        clock.advance(1)
        assert top.snapshot().state is State.RUNNING
    assert "a signal's callback" in capfd.readouterr().err


class Provider(Service):
    """Spawns what it needs when it needs it."""

    def __init__(self) -> None:
        self.pump: Any = None

    def fetch(self) -> object:
        if self.pump is None:
            self.pump = gevent.spawn(gevent.sleep, 1000)
        return self.pump

    def call(self, fn: Any) -> None:
        fn()


class Caller(Service):
    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.greenlets: list[Any] = []

    def spawn_bare(self) -> None:
        self.greenlets.append(gevent.spawn(gevent.sleep, 1000))


def owned(service: Service) -> int:
    return service.snapshot().owned.greenlets


@pytest.mark.usefixtures("library")
def test_what_a_providers_method_starts_is_the_providers_whoever_calls_it(
    clock: VirtualClock,
) -> None:
    provider = Provider()
    caller = Caller(provider)
    with Supervisor([provider, caller]) as top:
        caller.timeout(provider.fetch, 1)
        clock.advance(2)
        assert (owned(provider), owned(caller)) == (1, 0)
        top.terminate_child("Caller")
        assert not provider.pump.dead
        top.terminate_child("Provider")
        assert provider.pump.dead


@pytest.mark.usefixtures("library")
def test_a_method_that_a_provider_calls_back_is_its_own_services_code(clock: VirtualClock) -> None:
    provider = Provider()
    caller = Caller(provider)
    with Supervisor([provider, caller]):
        caller.timeout(lambda: provider.call(caller.spawn_bare), 1)
        provider.listen("now", lambda _: provider.fetch())
        caller.timeout(lambda: caller.emit("now"), 1)
        clock.advance(2)
        assert (owned(provider), owned(caller)) == (1, 1)


@pytest.mark.usefixtures("library")
def test_a_listener_without_a_self_is_its_services_code_not_its_emitters(
    clock: VirtualClock,
) -> None:
    provider = Provider()
    caller = Caller(provider)
    with Supervisor([provider, caller]):
        provider.listen("now", lambda _: spawn(gevent.sleep, 1000))
        caller.timeout(lambda: caller.emit("now"), 1)
        clock.advance(2)
        assert (owned(provider), owned(caller)) == (1, 0)


@pytest.mark.usefixtures("library")
def test_what_a_method_starts_from_outside_of_any_service_is_its_services(
    clock: VirtualClock,
) -> None:
    provider = Provider()
    with Supervisor([provider]):
        provider.fetch()
        clock.settle()
        assert owned(provider) == 1
    assert provider.pump.dead


@pytest.mark.usefixtures("library")
def test_a_service_that_is_down_owns_nothing(clock: VirtualClock) -> None:
    provider = Provider()
    caller = Caller(provider)
    with Supervisor([provider, caller]) as top:
        top.terminate_child("Provider")
        caller.timeout(provider.fetch, 1)
        clock.advance(2)
        assert owned(caller) == 1
    assert provider.pump.dead


@pytest.mark.usefixtures("library")
def test_a_shared_pool_of_greenlets_goes_on_when_a_service_that_uses_it_crashes(
    clock: VirtualClock,
) -> None:
    pool = Pool(2)
    provider, caller = Provider(), Caller(Provider())
    with Supervisor([provider, caller]):
        caller.timeout(lambda: [pool.spawn(gevent.sleep, 1000) for _ in range(2)], 1)
        clock.advance(2)
        assert pool.full()
        caller.spawn(divmod, 1, 0)
        clock.advance(1)
        assert pool.free_count() == 2
        results: list[object] = []
        provider.spawn(lambda: results.append(pool.spawn(int, "7").get()))
        clock.advance(1)
        assert results == [7]


@pytest.mark.parametrize("when", ["on_stop", "a clean-up", "a greenlet that is being killed"])
@pytest.mark.usefixtures("library")
def test_what_is_started_during_a_stop_ends_with_the_service(
    when: str, clock: VirtualClock
) -> None:
    born: list[Any] = []

    class Late(Service, shutdown=3):
        def on_start(self) -> None:
            self.add_cleanup(self.start_one, "a clean-up")
            self.spawn(self.hold)

        def hold(self) -> None:
            try:
                gevent.sleep(1000)
            finally:
                self.start_one("a greenlet that is being killed")

        def on_stop(self) -> None:
            self.start_one("on_stop")

        def start_one(self, name: str) -> None:
            if name == when:
                born.append(gevent.spawn(gevent.sleep, 1000))

    late = Late()
    with Supervisor([late]):
        clock.advance(1)
        report = late.stop()
        assert born[0].dead
        assert report.stragglers == 0


@pytest.mark.usefixtures("library")
def test_what_swallows_its_kill_in_a_clean_up_is_named_once(clock: VirtualClock, log: Any) -> None:
    class Stubborn(Service, shutdown=1):
        def on_start(self) -> None:
            self.over = False
            self.add_cleanup(self.start_one_more)
            gevent.spawn(self.swallow)

        def start_one_more(self) -> None:
            gevent.spawn(self.swallow)
            gevent.sleep(1)

        def swallow(self) -> None:
            while not self.over:
                with contextlib.suppress(GreenletExit):
                    gevent.sleep(0.01)

    stubborn = Stubborn()
    with Supervisor([stubborn]):
        clock.advance(1)
        assert stubborn.stop().stragglers == 1
        stubborn.over = True
        clock.advance(1)
    named = [each for each in log.at_least(40) if each.sprag["event"] == "straggler left behind"]
    assert len(named) == 2
