"""What newcomers write, and what they are told: what was given, what is accepted, what to do."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import warnings
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import attrs
import gevent
import pytest
from gevent import GreenletExit

from scripted import crash, states
from sprag import App, Backoff, DynamicSupervisor, Service, Supervisor, host
from sprag.exceptions import (
    AlreadyAdopted,
    BadPolicy,
    BadValue,
    LikelyMistake,
    StartFailed,
    UnknownChild,
    UnknownService,
)
from sprag.web import Limits
from sprag_supervisor import Policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sprag.testing import VirtualClock

PLAIN = "a plain function: under gevent it may block, and needs neither async nor yield"


async def coroutine_function(*_: Any) -> None:
    pass


def generator_function(*_: Any) -> Iterator[None]:
    yield


async def async_generator_function(*_: Any) -> AsyncIterator[None]:
    yield


class AsyncCallable:
    async def __call__(self, *_: Any) -> None:
        pass

    async def method(self, *_: Any) -> None:
        pass

    @staticmethod
    async def static(*_: Any) -> None:
        pass

    @classmethod
    async def of_class(cls, *_: Any) -> None:
        pass


NEVER_RUN: list[Callable[..., Any]] = [
    coroutine_function,
    generator_function,
    async_generator_function,
    functools.partial(coroutine_function, 1),
    functools.partial(functools.partial(generator_function, 1), 2),
    AsyncCallable(),
    AsyncCallable().method,
    AsyncCallable.static,
    AsyncCallable.of_class,
    functools.partial(AsyncCallable()),
    functools.partial(AsyncCallable().method, 1),
]


@pytest.fixture
def running(clock: VirtualClock) -> Iterator[Service]:
    """A service that runs."""
    with Supervisor(children=[one := Service()]):
        yield one


TAKING: dict[str, Callable[[Service, Any], object]] = {
    "listen": lambda one, fn: one.listen("order", fn),
    "listen to sprag": lambda one, fn: one.listen("sprag:started", fn),
    "spawn": lambda one, fn: one.spawn(fn),
    "interval": lambda one, fn: one.interval(fn, 1.0),
    "timeout": lambda one, fn: one.timeout(fn, 1.0),
    "add_cleanup": lambda one, fn: one.add_cleanup(fn),
    "call_from_thread": lambda one, fn: one.call_from_thread(fn),
}


@pytest.mark.parametrize("fn", NEVER_RUN)
@pytest.mark.parametrize("taking", TAKING)
def test_what_would_never_run_is_refused_wherever_a_function_is_taken(
    running: Service, taking: str, fn: Callable[..., Any]
) -> None:
    with pytest.raises(BadValue, match=f"^fn=.* is not accepted: use {PLAIN}$"):
        TAKING[taking](running, fn)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "something callable, not what a call has returned: did you call it?"),
        (generator_function(), "not a generator, which never runs: did you call it?"),
        ("self.poll", "something callable, as in self.method, without brackets"),
        (5, "something callable, as in self.method, without brackets"),
    ],
)
@pytest.mark.parametrize("taking", TAKING)
def test_a_function_that_was_called_instead_of_passed_is_told(
    running: Service, taking: str, given: object, message: str
) -> None:
    with pytest.raises(BadValue) as caught:
        TAKING[taking](running, given)
    assert message in str(caught.value)


def test_a_coroutine_that_was_made_by_calling_is_told_without_a_warning_of_pythons(
    running: Service,
) -> None:
    with pytest.raises(BadValue, match="not a coroutine, which never runs: did you call"):
        running.interval(coroutine_function(), 1.0)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("fn", NEVER_RUN)
@pytest.mark.parametrize("taking", TAKING)
def test_what_could_not_be_seen_beforehand_is_a_crash_that_says_so(
    clock: VirtualClock, log: Any, taking: str, fn: Callable[..., Any]
) -> None:
    if taking == "spawn" and inspect.isgeneratorfunction(fn):
        pytest.skip("who asks for the greenlet's value may want that: see below")
    with Supervisor(children=[one := Service()]):
        TAKING[taking](one, forwarding(fn))
        if taking == "listen to sprag":
            Service.adopt(one, Service())
        one.emit("order")
        clock.advance(1.5)
        one.stop()
    told = [str(record.exc_info[1]) for record in log.records if record.exc_info]
    assert len(told) == 1
    assert f"is not accepted: use {PLAIN}" in told[0]
    assert "never runs by itself" in told[0]


def forwarding(fn: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return fn(*args)

    return call


def test_a_greenlet_may_hand_out_a_generator(running: Service) -> None:
    made = running.spawn(lambda: (n for n in range(3))).get()
    assert list(made) == [0, 1, 2]


def test_a_listener_that_returns_a_coroutine_is_its_own_services_crash(clock: VirtualClock) -> None:
    class Deaf(Service):
        def on_start(self) -> None:
            self.listen("order", lambda data: coroutine_function(data))

    with Supervisor(children=[deaf := Deaf(), shop := Service()]) as top:
        shop.emit("order", 1)
        clock.settle()
        assert states(top) == {"Deaf": "running", "Service": "running"}
        assert deaf.snapshot().restarts == 1


def bridged(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Run an async function to its end, as a bridge to asyncio does."""

    @functools.wraps(fn)
    def run(*args: Any) -> Any:
        return asyncio.run(fn(*args))

    return run


def test_a_decorator_that_runs_an_async_function_is_left_alone(running: Service) -> None:
    class Bridged(Service):
        @bridged
        async def on_start(self) -> None:
            self.started = True

    assert running.adopt(Bridged()).started
    running.spawn(bridged(coroutine_function)).get()


# -- hooks ---------------------------------------------------------------------------

HOOKS = ["on_start", "on_ready", "on_drain", "on_stop", "run"]


def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def call(*args: Any) -> Any:
        return fn(*args)

    return call


async def async_hook(_self: Any) -> None:
    pass


def generator_hook(_self: Any) -> Iterator[None]:
    yield


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    "fn",
    [
        async_hook,
        generator_hook,
        staticmethod(coroutine_function),
        classmethod(async_hook),
        functools.partialmethod(async_hook),
        functools.partial(coroutine_function),
        AsyncCallable(),
    ],
)
def test_a_hook_that_would_never_run_is_refused_when_the_class_is_made(hook: str, fn: Any) -> None:
    mixin = type("Mixin", (), {hook: fn})
    plain: Any = Service
    between = type("Between", (mixin,), {})
    ways: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((plain,), {hook: fn}),
        ((mixin, plain), {}),
        ((between, plain), {}),
    ]
    for bases, body in ways:
        with pytest.raises(BadValue) as caught:
            type("Feed", bases, body)
        assert str(caught.value).startswith(f"Feed.{hook}=")
        assert str(caught.value).endswith(f" is not accepted: use {PLAIN}")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("fn", [async_hook, generator_hook])
def test_a_decorated_hook_that_never_ran_is_told_when_it_is_called(
    clock: VirtualClock, log: Any, hook: str, fn: Any
) -> None:
    feed: Any = type("Feed", (Service,), {hook: logged(fn)}, restart="temporary")
    with Supervisor() as top:
        with nullcontext() if hook != "on_start" else pytest.raises(StartFailed, match=hook):
            top.adopt(feed())
        clock.settle()
    told = [str(record.exc_info[1]) for record in log.records if record.exc_info]
    assert len(told) == 1
    assert f"use {PLAIN}" in told[0]


def needs_more(_self: Any, _app: Any) -> None:
    pass


def takes_more(_self: Any, _app: Any = None, *_more: Any, _flag: bool = True, **_rest: Any) -> None:
    pass


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_takes_no_arguments(hook: str) -> None:
    with pytest.raises(BadValue, match=rf"Feed.{hook}=.*'def {hook}\(self\)': .* without arg"):
        type("Feed", (Service,), {hook: needs_more})
    type("Feed", (Service,), {hook: takes_more})
    type("Feed", (Service,), {hook: staticmethod(lambda: None)})


@pytest.mark.parametrize("given", [None, True, "later"])
def test_a_hook_is_a_method(given: object) -> None:
    with pytest.raises(BadValue, match=r"Feed\.on_stop=.*: use a method, 'def on_stop\(self\)'"):
        type("Feed", (Service,), {"on_stop": given})
    type("Feed", (Service,), {"run": given})  # a flag


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_set_on_the_instance_is_refused_where_it_is_set(hook: str) -> None:
    class Feed(Service):
        def __init__(self) -> None:
            setattr(self, hook, self.other)

        def other(self) -> None:
            pass

    match = rf"self\.{hook}=.* use a method of the class, 'def {hook}\(self\)', .* in Feed only"
    with pytest.raises(BadValue, match=match):
        Feed()
    with pytest.raises(BadValue, match=rf"self\.{hook}="):
        setattr(Service(), hook, lambda: None)


def test_a_hook_of_the_class_may_be_replaced_on_an_instance_and_is_run(clock: VirtualClock) -> None:
    said: list[str] = []

    class Feed(Service):
        def on_start(self) -> None:
            self.on_stop = lambda: said.append("stop")  # type: ignore[method-assign]

        def on_stop(self) -> None:
            raise AssertionError

    with Feed():
        pass
    assert said == ["stop"]


def test_an_attribute_called_run_is_the_users_own() -> None:
    class Feed(Service):
        def __init__(self) -> None:
            self.run = 17

    one = Feed()
    assert one.run == 17
    del one.run
    assert not hasattr(one, "run")
    assert not hasattr(Service(), "run")
    assert not hasattr(Service, "run")


def test_a_hook_of_the_base_may_be_called_by_its_class() -> None:
    class Feed(Service):
        def on_start(self) -> None:
            Service.on_start(self)
            super().on_start()
            Service().on_stop()

    with Feed() as feed:
        assert feed.snapshot().state.value == "running"


# -- what is likely a mistake ------------------------------------------------------------

LIKELY: list[tuple[str, str]] = [
    ("restart = 'temporary'", "write 'class Feed(Service, restart='temporary')'"),
    ("restart = 'tempory'", "Feed.restart = 'tempory' is an attribute, and no policy"),
    ("restart: str = 'transient'", "Feed.restart = 'transient' is an attribute"),
    ("strategy = 'one_for_all'", "write 'class Feed(Service, strategy='one_for_all')'"),
    ("shutdown = 'infinity'", "shutdown='infinity'"),
    ("shutdown = 30", "shutdown=30"),
    ("max_restarts = 10", "max_restarts=10"),
    ("backoff = Backoff()", "backoff=Backoff("),
    ("needs = ('db',)", "needs=('db',)"),
    ("on_failure = {OSError: 'stop'}", "on_failure={"),
    ("significant = True", "significant=True"),
    (
        "def on_started(self): pass",
        "Feed.on_started is no hook of sprag's, .* mean on_start?",
    ),
    ("def onStart(self): pass", "did you mean on_start?"),
    ("def on_strat(self): pass", "did you mean on_start?"),
    ("def OnStop(self): pass", "did you mean on_stop?"),
    ("def on_shutdown(self): pass", "did you mean on_stop?"),
    ("def on_stopped(self): pass", "did you mean on_stop?"),
    ("def on_draining(self): pass", "did you mean on_drain?"),
    ("def on_restart(self): pass", "is no hook, and nothing calls it: a restart calls on_start"),
    ("def on_crash(self, error): pass", "on_stop runs after a crash too"),
    ("def on_failure(self, error): pass", "a keyword of the class"),
    ("def start(self): pass", "hides Service.start, and sprag never calls it: .* write on_start"),
    ("def stop(self): self.server.stop()", "hides Service.stop, .* write on_stop"),
]


def made(body: str) -> list[str]:
    """Make a service class with *body*; return what was warned of."""
    names: dict[str, Any] = {"__name__": "feed", "Backoff": Backoff, "Service": Service}
    source = f"\nclass Feed(Service):\n    {body}\n"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(source, "feed.py", "exec"), names)
    assert all(each.category is LikelyMistake for each in caught)
    assert all((each.filename, each.lineno) == ("feed.py", 2) for each in caught)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize(("body", "message"), LIKELY)
def test_what_is_likely_a_mistake_is_told_at_the_class(body: str, message: str) -> None:
    (told,) = made(body)
    first, *rest = message.split(".*")
    assert first.strip() in told
    assert all(each.strip() in told for each in rest)


@pytest.mark.parametrize(
    "body",
    [
        "name = 'feed'",
        "state = 'new'",
        "restart = 'every monday'",
        "shutdown = False",
        "strategy = object()",
        "backoff = None",
        "def on_order(self, data): pass",
        "def on_message(self): pass",
        "def on_started(self, motor): pass",
        "def on_connect(self): pass",
        "def on_start_pressed(self): pass",
        "on_started = None",
        "def setup(self): self.listen('motor', self.on_started)\n    def on_started(self): pass",
        "def poll(self): return self.backoff\n    backoff = 2.0",
        "def poll(self): return getattr(self, 'max_restarts')\n    max_restarts = 2",
        "def shutdown(self): pass",
        "def restart(self): pass",
        "def stop(self, timeout=None): return super().stop(timeout)",
        "def stop(self, timeout=None): return Service.stop(self, timeout)",
        "def task(self): pass",
        "def map(self): pass",
        "def cron(self): pass",
        "def watch(self): pass",
        "def probe(self): pass",
        "def hold(self): pass",
        "def beat(self): pass",
        "def inspect(self): pass",
        "def heartbeat(self): pass",
        "heartbeat = 10.0",
        "def set_ready(self): pass",
        "def set_status(self): pass",
        "def on_inspect(self): pass",
        "def status(self): pass",
        "def listen(self): pass",
        "def emit(self): pass",
        "def spawn(self): pass",
        "def wait(self): pass",
        "def service(self): pass",
    ],
)
def test_what_may_well_be_meant_is_not_warned_of(body: str) -> None:
    assert made(body) == []


def test_a_handler_that_another_base_asks_for_is_not_warned_of() -> None:
    class Handler:
        def on_started(self) -> None:
            """Called by somebody else."""

    class Feed(Service, Handler):
        def on_started(self) -> None:
            pass

    assert Feed().on_started() is None  # type: ignore[func-returns-value]


def test_own_methods_called_like_the_engines_break_nothing(clock: VirtualClock) -> None:
    """The engine never calls its own words through the instance."""

    def odd(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    words = [
        name
        for name in dir(Service)
        if not name.startswith("_") and name not in HOOKS and callable(getattr(Service, name))
    ]
    with pytest.warns(LikelyMistake):
        feed_class: Any = type("Feed", (Service,), dict.fromkeys(words, odd))
    feed = feed_class()
    with feed:
        gevent.sleep(0)
        assert Service.snapshot(feed).state.value == "running"
    assert Service.snapshot(feed).state.value == "stopped"


# -- arguments -------------------------------------------------------------------------


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
        lambda: an_app(providers={"f": Feed}),
        "providers['f']=<class .* calling the class: Feed(...)",
    ),
    (
        lambda: an_app(providers={"f": (Feed(), {})}),
        "providers['f']=(.* its policy is given",
    ),
    (lambda: an_app(providers={"a/b": Feed()}), "provider='a/b' .* holds no slash"),
    (
        lambda: an_app(name="a/b"),
        "name='a/b' is not accepted: use a text that is not empty",
    ),
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
    (lambda: a_supervisor([Feed]), "child=<class .* a service, or a pair .*: write Feed(...)"),
    (
        lambda: a_dynamicsupervisor([Feed()]),
        "use keywords, .* children are started with",
    ),
    (lambda: a_dynamicsupervisor(10), "argument=10 .* use keywords, as in max_children=10"),
    (lambda: a_backoff("1"), "policy backoff.initial='1' is not accepted: use a number, 0 or more"),
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


def test_a_class_is_not_adopted(running: Service) -> None:
    anything: Any = Feed
    with pytest.raises(BadValue, match=r"use an instance of a Service: write Feed\(\.\.\.\)"):
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


# -- exception groups ------------------------------------------------------------------


def test_on_failure_looks_into_exception_groups() -> None:
    policy = Policy(on_failure={OSError: "restart", KeyError: "stop", MemoryError: "escalate"})

    def action(*errors: Exception) -> str | None:
        return policy.action_for(ExceptionGroup("several", errors))

    assert action(ValueError()) is None
    assert action(ConnectionError(), ValueError()) == "restart"
    assert action(ConnectionError(), KeyError()) == "stop"
    assert action(KeyError(), ExceptionGroup("inner", [MemoryError()])) == "escalate"
    named = Policy(on_failure={ExceptionGroup: "stop", Exception: "escalate"})
    assert named.action_for(ExceptionGroup("several", [OSError()])) == "stop"
    assert named.action_for(BaseExceptionGroup("several", [GreenletExit()])) is None
    whole = Policy(on_failure={Exception: "stop", ValueError: "restart"})
    assert whole.action_for(ExceptionGroup("several", [ValueError()])) == "restart"


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", [BaseExceptionGroup("inner", [ValueError(), *errors])])


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("taking", [name for name in TAKING if name != "listen to sprag"])
def test_a_group_that_holds_a_system_exit_asks_the_app_to_stop(
    clock: VirtualClock, log: Any, taking: str
) -> None:
    top = Supervisor(children=[one := Service()])
    top.start()
    TAKING[taking](one, raising(group(SystemExit(7))))
    one.emit("order")
    if taking == "add_cleanup":
        one.stop()
    clock.advance(1.5)
    ending = top.wait(0)
    assert ending is not None
    assert (ending.code, ending.reason.value) == (7, "stopped")
    assert not any(record.getMessage().count("crashed") for record in log.records)


@pytest.mark.parametrize("hook", ["on_start", "run"])
def test_a_hook_that_raises_such_a_group_does_so_too(clock: VirtualClock, hook: str) -> None:
    leaving: Any = type("Leaving", (Service,), {hook: raising(group(SystemExit(7)))})
    top = Supervisor()
    top.start()
    with nullcontext() if hook == "run" else pytest.raises(StartFailed):
        top.adopt(leaving())
    clock.settle()
    ending = top.wait(0)
    assert ending is not None
    assert ending.code == 7


def test_a_group_that_holds_a_keyboard_interrupt_is_the_programs(clock: VirtualClock) -> None:
    interrupted: Any = type("Ctrl", (Service,), {"on_start": raising(group(KeyboardInterrupt()))})
    with Supervisor(children=[one := Service()]) as top:
        with pytest.raises(KeyboardInterrupt):
            top.adopt(interrupted())
        one.spawn(raising(group(KeyboardInterrupt())))
        with pytest.raises(KeyboardInterrupt):
            clock.settle()
        assert states(top) == {"Service": "running"}


def test_a_group_of_kills_is_a_kill(clock: VirtualClock, log: Any) -> None:
    kills = BaseExceptionGroup("killed", [GreenletExit(), GreenletExit()])

    class Body(Service, restart="transient"):
        run = raising(kills)

    with Supervisor(children=[body := Body(), one := Service()]):
        one.spawn(raising(kills))
        clock.settle()
        assert body.snapshot().state.value == "finished"
        assert one.snapshot().restarts == 0
    assert [record for record in log.records if record.levelname == "ERROR"] == []


# -- classes ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Frozen(Service):
    url: str
    starts: list[str] = dataclasses.field(default_factory=list[str])

    def on_start(self) -> None:
        self.starts.append(self.url)


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots(Service):
    url: str

    def on_start(self) -> None:
        pass


@attrs.define
class Defined(Service, restart="transient"):
    url: str = attrs.field(validator=attrs.validators.instance_of(str))

    def on_start(self) -> None:
        self.url += "!"


@attrs.frozen
class DefinedFrozen(Service):
    url: str


@attrs.define(slots=False)
class DefinedOpen(Service):
    url: str


class Watched(Service):
    """Refuses what it does not know, as some validating base classes do."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __setattr__(self, name: str, value: object) -> None:
        if name != "url":
            raise TypeError(name)
        super().__setattr__(name, value)


class Once(Service):
    """A singleton, whose __new__ passes nothing on."""

    made: ClassVar[dict[type, Any]] = {}

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        if cls not in cls.made:
            cls.made[cls] = super().__new__(cls)
        return cast("Self", cls.made[cls])

    def __init__(self, url: str) -> None:
        self.url = url


class OnceMore(Once):
    pass


class Single:
    """The same as a mixin."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        return super().__new__(cls)


class Mixed(Single, Service):
    def __init__(self, url: str) -> None:
        self.url = url


@pytest.mark.parametrize(
    "kind",
    [Frozen, FrozenSlots, Defined, DefinedFrozen, DefinedOpen, Watched, Once, OnceMore, Mixed],
)
def test_a_class_of_whatever_make_lives_and_is_restarted(clock: VirtualClock, kind: Any) -> None:
    one = kind("amqp://")
    with Supervisor(children=[one]) as top:
        before = one.url
        crash(one)
        clock.settle()
        assert states(top) == {kind.__name__: "running"}
        assert Service.snapshot(one).restarts == 1
        assert one.url == before


def test_a_frozen_service_stays_frozen_for_its_own_fields() -> None:
    one: Any = Frozen("amqp://")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.url = "http://"
    assert Defined._class_policy_.restart == "transient"


def test_a_new_that_would_not_be_called_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(BadValue, match=r"it in front of Service, 'class Late\(Single, Service\)'"):
        type("Late", (Service, Single), {})


def test_keywords_of_the_engines_names_are_passed_on(clock: VirtualClock) -> None:
    said: list[dict[str, Any]] = []

    def take(**given: Any) -> None:
        said.append(given)

    words = {"fn": 1, "self": 2, "run": 3, "node": 4, "args": 5, "kwargs": 6}
    with Service() as one:
        one.spawn(take, **words)
        one.spawn(take, self=1)
        one.add_cleanup(take, **words)
        clock.settle()
    assert said == [words, {"self": 1}, words]


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
