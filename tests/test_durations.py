"""One rule says which times are accepted, wherever one is given: `rules/seconds.seconds_of`.

The times are found, not listed: parameters annotated `Seconds`, keywords of a policy and of a probe
that take a `timedelta`, options of the command line, numbers in a ``sprag.toml``. One that is new
fails here until it stands in a table, with what 0 and infinity mean.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

import click
import pytest

import sprag.programs
import sprag.testing
import sprag.web
from sprag import App, Backoff, Cluster, Program, Service, Supervisor, _defaults, host
from sprag.exceptions import BadPolicy, BadValue
from sprag.owned.tasks import Task
from sprag.process.watchdog import Watchdog
from sprag.testing import FaultyEngine, ForgetfulEngine, RunningTree, virtual_time
from sprag.web import Limits
from sprag_cli.commands.group import commands
from sprag_cli.commands.options import Duration, Seconds
from sprag_cli.up.schema import schema
from sprag_supervisor import LEAST, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclasses.dataclass(frozen=True)
class Time:
    """A time that users give.

    Attributes:
        use: Gives it. What is raised for other reasons is no matter here.
        least: What is accepted at least.
        endless: Whether infinity is.
    """

    use: Callable[[Any], object]
    least: float = LEAST
    endless: bool = False


def _keyword(kind: Callable[..., object], name: str, *others: object) -> Callable[[Any], object]:
    """Return what gives a time by its keyword."""
    return lambda given: kind(*others, **{name: given})


def _probe(kind: Any, *others: object) -> dict[str, Time]:
    return {
        f"{kind.__name__}.{name}": Time(_keyword(kind, name, *others))
        for name in ("every", "timeout")
    }


def _engine() -> FaultyEngine:
    return FaultyEngine(ForgetfulEngine())


def _below() -> App:
    """Return an app that has a parent, and so does not run."""
    app = App()
    app._parent_ = Supervisor([])
    return app


def _done() -> Task[None]:
    """Return a task for whose result nobody has to wait."""
    task = Task[None](Service(), "what")
    task._is_done = True
    return task


def _advance(given: Any) -> None:
    with virtual_time() as clock:
        clock.advance(given)


NO_ROOT: Final[Any] = None
NOTHING: Final = 0.0
"""0 means something: at once, or no time at all."""
TIMES: Final[dict[str, Time]] = {
    "Service.interval.seconds": Time(lambda given: Service().interval(int, given)),
    "Service.timeout.seconds": Time(lambda given: Service().timeout(int, given), NOTHING),
    "Service.probe.every": Time(lambda given: Service().probe(int, every=given)),
    "Service.probe.timeout": Time(lambda given: Service().probe(int, timeout=given)),
    "Service.map.item_timeout": Time(lambda given: Service().map(int, [], item_timeout=given)),
    "Service.hold_exits.seconds": Time(lambda given: Service().hold_exits(given)),
    "Service.stop.timeout": Time(lambda given: Service().stop(given), NOTHING, endless=True),
    "Service.wait.timeout": Time(lambda given: Service().wait(given), NOTHING, endless=True),
    "Service.reload_tree.timeout": Time(
        lambda given: Service().reload_tree(given), NOTHING, endless=True
    ),
    "App.stop.timeout": Time(lambda given: App().stop(given), NOTHING, endless=True),
    "App.run.shutdown_timeout": Time(
        lambda given: _below().run(shutdown_timeout=given), NOTHING, endless=True
    ),
    "Task.get.timeout": Time(lambda given: _done().get(given), NOTHING, endless=True),
    "Watchdog.seconds": Time(Watchdog),
    "run.shutdown_timeout": Time(
        lambda given: host.run(NO_ROOT, shutdown_timeout=given), NOTHING, endless=True
    ),
    "run.watchdog": Time(lambda given: host.run(NO_ROOT, watchdog=given)),
    "run.drain_delay": Time(lambda given: host.run(NO_ROOT, drain_delay=given), NOTHING),
    "Backoff.initial": Time(Backoff),
    "Backoff.maximum": Time(lambda given: Backoff(LEAST, maximum=given)),
    "Backoff.reset_after": Time(lambda given: Backoff(reset_after=given), NOTHING, endless=True),
    "Policy.heartbeat": Time(lambda given: Policy(heartbeat=given)),
    "Policy.start_timeout": Time(lambda given: Policy(start_timeout=given), endless=True),
    "Policy.max_seconds": Time(lambda given: Policy(max_seconds=given), endless=True),
    "Policy.shutdown": Time(lambda given: Policy(shutdown=given), NOTHING, endless=True),
    "App.max_seconds": Time(lambda given: App(max_seconds=given), endless=True),
    "Program.settle": Time(lambda given: Program("a", settle=given), NOTHING),
    "Program.max_lifetime": Time(lambda given: Program("a", max_lifetime=given)),
    "Notify.watchdog": Time(lambda given: sprag.programs.Notify(watchdog=given)),
    **_probe(sprag.programs.Port, 80),
    **_probe(sprag.programs.Http, "/"),
    **_probe(sprag.programs.Command, "true"),
    **{
        f"Limits.{name}": Time(_keyword(Limits, name), NOTHING if name == "keep_alive" else LEAST)
        for name in ("head_timeout", "body_timeout", "send_timeout", "keep_alive", "shutdown")
    },
    "Cluster.ttl": Time(lambda given: Cluster("redis://a", ttl=given), 0.5),
    "AsNodes.ttl": Time(lambda given: sprag.testing.AsNodes(given).join(App()), 0.5),
    "as_nodes.ttl": Time(lambda given: sprag.testing.as_nodes(App(), ttl=given).__enter__(), 0.5),
    "FaultyEngine.timeout": Time(lambda given: FaultyEngine(ForgetfulEngine(), given)),
    "FaultyEngine.delay.requests": Time(lambda given: _engine().delay(requests=given), NOTHING),
    "FaultyEngine.delay.answers": Time(lambda given: _engine().delay(answers=given), NOTHING),
    "RunningTree.stop.timeout": Time(
        lambda given: RunningTree(Supervisor([])).stop(given), NOTHING, endless=True
    ),
    "VirtualClock.advance.seconds": Time(_advance, NOTHING),
}

BOUNDED: Final = ("Cluster.ttl", "AsNodes.ttl", "as_nodes.ttl", "VirtualClock.advance.seconds")
"""What refuses the largest of all numbers."""
OPTIONS: Final = {"--shutdown-timeout": 0.0, "--drain-delay": 0.0, "--interval": 0.1}
"""Those that do not begin with a millisecond."""
OR_0: Final = {"settle", "shutdown", "shutdown_timeout", "reset_after"}
"""Keys of a file of which 0 has a meaning."""
NUMBERS: Final = {
    *("Service.interval.jitter", "Backoff.factor", "Backoff.jitter", "Backoff.least.restarts"),
    *("App.max_restarts", "VirtualClock.set_wall.moment"),
    *("VirtualLoop.timer.after", "VirtualLoop.timer.repeat"),  # gevent's own: what it is, it says
}
"""What is a float, and no time that users give; a time is annotated as `Seconds`."""
MADE: Final = {"Crash", "Lifecycle", "Move", "ReloadEntry", "ReloadReport", "StopReport"}
"""What sprag makes, and users read."""
NO_TIMES: Final[tuple[Any, ...]] = (
    *(math.nan, -math.inf, -1, -LEAST, True, False, "5", b"5", 1 + 0j, [5], 10**400),
    timedelta(seconds=-1),
)
PUBLIC: Final = (Service, App, Task, Watchdog, host.run, Backoff, Program, Limits, Cluster)
"""Of several classes that have the same method, the first is where it is listed."""
FROZEN: Final[dict[type, tuple[object, ...]]] = {
    Policy: (),
    sprag.programs.Port: (80,),
    sprag.programs.Http: ("/",),
    sprag.programs.Command: ("true",),
    sprag.programs.Line: ("up",),
    sprag.programs.Notify: (),
}
"""What keeps a time as a number: which of its keywords are times, only a `timedelta` can tell."""


def public() -> Iterator[Any]:
    yield from PUBLIC
    for module in (sprag, sprag.programs, sprag.testing, sprag.web):
        yield from (getattr(module, name) for name in module.__all__)


def annotated() -> Iterator[str]:
    """Yield which parameters of what is public are times, as their annotations say."""
    seen: set[object] = set()
    for one in public():
        if one in FROZEN:
            continue
        functions = {one.__name__: one} if inspect.isfunction(one) else {}
        if inspect.isclass(one):
            functions = {
                one.__name__ if name == "__init__" else f"{one.__name__}.{name}": function
                for name, function in inspect.getmembers(one, inspect.isfunction)
                if name == "__init__" or not name.startswith("_")
            }
        for name, function in functions.items():
            plain = inspect.unwrap(function)
            if plain in seen:
                continue
            seen.add(plain)
            for parameter, what in inspect.get_annotations(plain).items():
                where = f"{name}.{parameter}"
                is_number = "float" in str(what) and name not in MADE and where not in NUMBERS
                if parameter != "return" and ("Seconds" in str(what) or is_number):
                    yield where


def kept_as_seconds() -> Iterator[str]:
    for kind, given in FROZEN.items():
        for each in dataclasses.fields(kind):
            with suppress(BadValue, BadPolicy, TypeError):
                kept = kind(*given, **{each.name: timedelta(seconds=2)})
                assert getattr(kept, each.name) == 2.0
                yield f"{kind.__name__}.{each.name}"


def said(use: Callable[[Any], object], given: object) -> str:
    """Return what is raised when *given* is a time: "" for nothing."""
    try:
        use(given)
    except Exception as error:  # noqa: BLE001 - whatever it says, it is about the time or not
        return str(error)
    return ""


def test_all_times_are_in_the_table() -> None:
    assert {*annotated(), *kept_as_seconds()} == set(TIMES)


def test_one_rule_says_which_times_are_accepted() -> None:
    for name, time in TIMES.items():
        argument = name.rpartition(".")[2]
        refused = [*NO_TIMES, math.nextafter(time.least, -1.0)]
        refused += [0, 5e-324, time.least / 2, timedelta(0)] if time.least else []
        refused += [] if time.endless else [math.inf]
        for given in refused:
            told = said(time.use, given)
            assert f"{argument}=" in told, (name, given)
            assert "is not accepted: use" in told
            assert ("0.001 or more" in told) == (time.least == LEAST), (name, given, told)
        for given in (time.least, timedelta(seconds=time.least), 3600, sys.float_info.max):
            if given == sys.float_info.max and name in BOUNDED:
                continue
            assert f"{argument}=" not in said(time.use, given), (name, given)


def test_the_command_line_goes_by_the_same_rule() -> None:
    found = {}
    context = click.Context(commands)
    for command in commands.commands.values():
        for option in command.params:
            kind = option.type
            if not isinstance(kind, (Seconds, Duration)):
                continue
            name = option.opts[0]
            least = OPTIONS.get(name, LEAST)
            shorter = ["0", "-inf", "1e-9"] if least else []
            for text in ("nan", "-1", "x", "", str(least / 2 or -1), *shorter):
                with pytest.raises(click.UsageError):
                    kind.convert(text, option, context)
            assert kind.convert(str(least), option, context) == least
            found[name] = least
    assert found.keys() > OPTIONS.keys()
    assert _defaults.LEAST == LEAST


def numbers(part: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the numbers of a schema that need not be whole, by their names."""
    if isinstance(part, dict):
        keys = cast("dict[str, Any]", part)
        if keys.get("type") == "number":
            yield name, keys
        for key, each in keys.items():
            known = key in ("anyOf", "properties", "additionalProperties")
            yield from numbers(each, name if known else key)
    elif isinstance(part, list):
        parts: list[Any] = part  # pyright: ignore[reportUnknownVariableType]
        for each in parts:
            yield from numbers(each, name)


def test_and_so_does_the_file() -> None:
    found = dict.fromkeys(name for name, _ in numbers(schema()))
    for name, number in numbers(schema()):
        if name not in ("factor", "jitter"):
            assert number["minimum"] == (0 if name in OR_0 else LEAST), name
    assert {"every", "timeout", "watchdog", "heartbeat", "initial", "max_lifetime"} < set(found)
    assert set(found) > OR_0
