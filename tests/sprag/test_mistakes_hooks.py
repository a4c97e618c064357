"""Hooks that would never run, and what is likely a mistake in a class: told when it is made."""

from __future__ import annotations

import functools
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from sprag import Backoff, Service, Supervisor
from sprag.exceptions import (
    BadValue,
    LikelyMistake,
    StartFailed,
)
from taking import PLAIN, AsyncCallable, coroutine_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag.testing import VirtualClock

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


def no_self() -> None:
    pass


def a_keyword(_self: Any, *, _app: Any) -> None:
    pass


def anything(*_more: Any) -> None:
    pass


@pytest.mark.parametrize("fn", [no_self, a_keyword])
def test_a_hook_takes_itself_and_nothing_that_nobody_passes(fn: Callable[..., None]) -> None:
    with pytest.raises(BadValue, match=r"Feed.on_stop=.*'def on_stop\(self\)': .* without arg"):
        type("Feed", (Service,), {"on_stop": fn})
    type("Feed", (Service,), {"on_stop": anything})


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


def test_hooks_that_a_class_is_given_later_are_hooks_too(clock: VirtualClock) -> None:
    said: list[str] = []

    def named(hook: str) -> Callable[[object], None]:
        def say(_self: object) -> None:
            said.append(hook)
            gevent.sleep(1000.0 if hook == "run" else 0.0)

        return say

    def with_hooks(cls: type[Service]) -> type[Service]:
        for hook in ("on_start", "run", "on_ready", "on_drain", "on_stop"):
            setattr(cls, hook, named(hook))
        return cls

    @with_hooks
    class Feed(Service):
        pass

    with Supervisor([Feed()]):
        clock.settle()
    assert sorted(said) == ["on_drain", "on_ready", "on_start", "on_stop", "run"]


def test_a_base_that_keeps_init_subclass_to_itself_hides_no_hook(clock: VirtualClock) -> None:
    said: list[str] = []

    class Base(Service):
        def __init_subclass__(cls, **_given: object) -> None:
            pass

    class Feed(Base):
        def run(self) -> None:
            said.append("run")
            gevent.sleep(1000.0)

    class Never(Base):
        async def run(self) -> None:
            pass

    with Supervisor([Feed()]):
        clock.settle()
    assert said == ["run"]
    with pytest.raises(BadValue, match="under gevent it may block"):
        Never()


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
    ("def Run(self): pass", "did you mean run?"),
    ("def on_shutdown(self): pass", "did you mean on_stop?"),
    ("def on_stopped(self): pass", "did you mean on_stop?"),
    ("def on_draining(self): pass", "did you mean on_drain?"),
    ("def on_reloaded(self): pass", "did you mean on_reload?"),
    ("def on_sighup(self): pass", "did you mean on_reload?"),
    ("def on_hup(self): pass", "did you mean on_reload?"),
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


def test_a_method_that_is_hidden_is_told_once_at_the_class_that_has_done_it_first() -> None:
    body = "def start(self): pass\nclass More(Feed):\n    def start(self): print(self)"
    (told,) = made(body)
    assert "Feed.start hides" in told


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
        "def stop(self, timeout=None): return (lambda: Service.stop(self, timeout))()",
        "def task(self): pass",
        "def map(self): pass",
        "def cron(self): pass",
        "def watch(self): pass",
        "def probe(self): pass",
        "def hold(self): pass",
        "def beat(self): pass",
        "def inspect(self): pass",
        "def heartbeat(self): pass",
        "pulse = 10.0",
        "def set_ready(self): pass",
        "def set_status(self): pass",
        "def on_inspect(self): pass",
        "def reload(self): pass",
        "def on_reload(self): pass",
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


def test_sprags_own_classes_are_not_looked_at() -> None:
    body = "__module__ = 'sprag.feed'\n    def start(self): print(self)"
    assert made(body) == []
    assert made(body.replace("sprag.", "shop.")) != []


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
