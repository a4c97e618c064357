"""Lines of proof for docs/comparison.md about trees, in virtual time; see `world`."""

from __future__ import annotations

from socket import socket
from typing import TYPE_CHECKING, Any, Final

import gevent
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from comparison.world import Tally, Told, Warm, raised
from scripted import spawn
from sprag import (
    Backoff,
    ChildCounts,
    DynamicSupervisor,
    ExitApp,
    Service,
    State,
    Supervisor,
    Worker,
    WorkerPool,
    current_service,
    own_greenlets,
)
from sprag.exceptions import StartTimeout
from sprag.integrations import otel
from sprag.metrics import Collector
from sprag.testing import FakeProgram

if TYPE_CHECKING:
    from collections.abc import Callable

    from comparison.world import World

SECOND: Final = Backoff(initial=1.0, jitter=0.0)
ONCE: Final[dict[str, Any]] = {"restart": "transient", "significant": True}
ACTIONS: Final = {OSError: SECOND, KeyError: "finish", ImportError: ExitApp(78)}
UP: Final = {"Warm": "running", "a": "running"}
STORY: Final = ["started", "crashed", "restarted"]


def pool(w: World, *names: str, **orders: Any) -> World:
    """Run a DynamicSupervisor, which is given parts of these names."""
    root = DynamicSupervisor(name="top", max_children=3)
    w.starts(root)
    for name in names:
        root.start_child(w.part(name, **orders))
    return w


def bare_greenlet(w: World) -> Any:
    """Run a service that spawns a greenlet behind sprag's back, and return that greenlet."""
    with own_greenlets():
        service = w.runs(Tally()).service("Tally")
        return service.spawn(lambda: spawn(gevent.sleep, 3600)).get()


def delay(w: World, name: str, backoff: Backoff | None = None) -> float:
    """Let the service crash, wait for its restart, and return how long that took, in seconds."""
    if backoff is not None:
        w.runs(w.part(name, backoff=backoff), max_restarts=99)
    seconds = w.crash(name).picture(name).next_try
    assert seconds is not None
    w.after(seconds)
    return seconds


def measured(root: Any) -> list[str]:
    """Return the names of all metrics there are of *root*."""
    collector = Collector(root)
    names = [metric.name for metric in collector.collect()]
    collector.close()
    return names


def traced() -> list[str]:
    """Run a tree, and return the spans of what happens in it."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    root = Supervisor([Tally()], name="top")
    tracing = otel.trace(root, tracer_provider=provider)
    with root:
        tracing.flush()
    tracing.flush()
    return [span.name.removeprefix("sprag ") for span in exporter.get_finished_spans()]


class Lent(Service):
    """Is lent a socket."""

    def __init__(self, lent: socket) -> None:
        self.socket = lent


class Beats(Service, heartbeat=10):
    """Says that it lives."""

    def on_start(self) -> None:
        self.interval(self.beat, 5)


class Packer(Worker):
    """Takes so many seconds, and notes that it is done."""

    def handle(self, item: tuple[list[str], str, float]) -> str:
        heard, name, seconds = item
        gevent.sleep(seconds)
        heard.append(name)
        return name


IN_VIRTUAL_TIME: Final[dict[str, Callable[[World], object]]] = {
    # -- who is restarted
    "Restart the one that failed": lambda w: w.runs(*"abc").crash("b").told == "-b +b",
    "Restart all of a group": (
        lambda w: w.runs(*"abc", strategy="one_for_all").crash("b").told == "-b -c -a +a +b +c"
    ),
    "Restart it and those after it": (
        lambda w: w.runs(*"abc", strategy="rest_for_one").crash("b").told == "-b -c +b +c"
    ),
    "Children that come and go": lambda w: pool(w, *"abc", stop_takes=4).stopped().seconds == 4,
    "Give up one child, not the group": (
        lambda w: (
            w.runs(w.part("a", on_failure={OSError: "stop"}), "b").crash("a", OSError()).states
            == {"a": "failed", "b": "running"}
        )
    ),
    "Recycle after a lifetime": (
        lambda w: (
            w.runs(p := FakeProgram("web", name="web", max_lifetime=100)).after(115).told == ""
            and p.snapshot().incarnation == 2
        )
    ),
    "Begin in the first state": (
        lambda w: w.runs(t := Tally(5)) and t.add() == 6 and w.crash("Tally") and t.count == 5
    ),
    # -- what a child is
    "A name of its own among its siblings": (
        lambda w: raised(w.runs("a").root.start_child, Service(), name="a") == "AlreadyStarted"
    ),
    "A child as data: class and arguments": (
        lambda w: w.runs(Tally(5)).root.get_childspec("Tally").args == (5,)
    ),
    "Restart types": (
        lambda w: (
            w.runs("a", w.part("b", restart="transient"), w.part("c", restart="temporary"))
            .finish("a")
            .finish("b")
            .finish("c")
            .states
            == {"a": "running", "b": "finished"}
        )
    ),
    "How a child is stopped, for each": (
        lambda w: (
            w.runs(
                w.part("a", stop_takes=9, shutdown=2),
                w.part("b", stop_takes=9, shutdown="brutal_kill"),
                w.part("c", stop_takes=9, shutdown="infinity"),
            )
            .stopped()
            .seconds
            == 2 + 0 + 9
        )
    ),
    "Workers and supervisors told apart": (
        lambda w: (
            [each.kind for each in w.runs("a", Supervisor()).root.which_children()]
            == ["worker", "supervisor"]
        )
    ),
    "Children that matter": (
        lambda w: (
            raised(w.runs, w.part("a", **ONCE)) == "StartFailed"
            and w.runs(w.part("a", **ONCE), auto_shutdown="any_significant").finish("a").state()
            == "finished"
        )
    ),
    "Defaults for a class, other values for one use": (
        lambda w: (
            w.runs((w.part("a", shutdown=60), {"shutdown": 1}))
            .root.get_childspec("a")
            .policy.shutdown
            == 1
        )
    ),
    "Read back how a child is treated": (
        lambda w: w.runs("a").root.get_childspec("a").policy.max_seconds == 5.0
    ),
    # -- what an end means
    "Always restarted": lambda w: w.runs("a").finish("a").crash("a").told == "-a +a -a +a",
    "Restarted after a failure": (
        lambda w: (
            w.runs(w.part("a", restart="transient")).crash("a").told == "-a +a"
            and w.finish("a").state("a") == "finished"
        )
    ),
    "Never restarted": (
        lambda w: (
            w.runs(w.part("a", restart="temporary"), "b").crash("a").states == {"b": "running"}
        )
    ),
    "What a clean end is": (
        lambda w: (
            w.runs(w.part("a", restart="transient"), "b").finish("a").ended("a").is_clean
            and w.service("b").stop().is_clean
            and w.ended("b").is_clean
            and not w.runs("a", max_restarts=0).crash("a").ended().is_clean
        )
    ),
    "Ends that always or never restart": (
        lambda w: (
            w.runs(w.part("a", on_failure={KeyError: "stop", OSError: "restart"}))
            .crash("a", OSError())
            .state("a")
            == "running"
            and w.crash("a", KeyError()).state("a") == "failed"
        )
    ),
    "By the class of the exception": (
        lambda w: (
            w.runs(w.part("a", on_failure={LookupError: "escalate"})).crash("a", KeyError()).state()
            == "failed"
        )
    ),
    "Restarted for one kind of failure only": (
        lambda w: (
            w.runs(w.part("a", restart="temporary", on_failure={StartTimeout: "restart"}))
            .crash("a", StartTimeout(1))
            .state("a")
            == "running"
            and w.crash("a", ValueError()).states == {}
        )
    ),
    "A failed start is not a crash": (
        lambda w: (
            raised(w.runs, "a", w.part("b", fail_starts=1), max_restarts=0) == "StartFailed"
            and w.runs("a", w.part("b", fail_starts=3, retry_start=True), max_restarts=0).states
            == {"a": "running", "b": "restarting"}
            and w.after(1).state("b") == "running"
        )
    ),
    # -- how often
    "A limit: so many in so long": (
        lambda w: (
            w.runs("a").crash("a", times=9, every=1.7).state() == "running"
            and w.crash("a", times=2).state() == "failed"
        )
    ),
    "The limit, unless told otherwise": (
        lambda w: (
            w.runs("a").crash("a", times=3).state() == "running"
            and w.crash("a").state() == "failed"
        )
    ),
    "Whose crashes add up": (
        lambda w: (
            w.runs(*"ab").crash("a", times=2).crash("b", times=2).state() == "failed"
            and w.runs(w.part("a", backoff=Backoff(tries=1)), "b")
            .crash("a")
            .after(1)
            .crash("a")
            .states
            == {"a": "failed", "b": "running"}
        )
    ),
    "What happens beyond it": (
        lambda w: (
            w.runs(*"abc", max_restarts=0).crash("b").told == "-b -c -a"
            and w.ended().reason.value == "gave_up"
        )
    ),
    "It goes up the tree": (
        lambda w: (
            w.runs(Supervisor([w.part("a")], name="inner"))
            .crash("inner/a", times=4)
            .picture("inner")
            .incarnation
            == 2
        )
    ),
    "Begin to count anew, by hand": (
        lambda w: (
            w.runs(Supervisor([w.part("a")], name="inner")).crash("inner/a", times=3)
            and w.service("inner").stop()
            and not w.service("inner").start()
            and w.crash("inner/a", times=3).picture("inner").incarnation == 2
        )
    ),
    "A delay before a restart": (
        lambda w: (
            w.runs((Tally(), {"backoff": SECOND})).crash("Tally").after(0.9).state("Tally")
            == "restarting"
            and w.after(0.1).state("Tally") == "running"
        )
    ),
    "A delay that grows": (
        lambda w: [delay(w, "a", SECOND)] + [delay(w, "a") for _ in range(3)] == [1, 2, 4, 8]
    ),
    "A delay that varies": (
        lambda w: (
            delay(w, "a", Backoff(1, jitter=0.5, factor=1))
            and len({delay(w, "a") for _ in range(5)}) > 1
        )
    ),
    "A delay that a good life resets": (
        lambda w: [delay(w, "a", SECOND), delay(w, "a"), w.after(60) and delay(w, "a")] == [1, 2, 1]
    ),
    "Who waits holds up nobody": (
        lambda w: w.runs(w.part("a", backoff=SECOND), "b").crash("a").crash("b").told == "-a -b +b"
    ),
    # -- when the work is done
    "End when one that matters has ended": (
        lambda w: (
            w.runs(w.part("a", **ONCE), "b", auto_shutdown="any_significant").finish("a").told
            == "-a -b"
            and w.ended().reason.value == "shutdown"
        )
    ),
    "End when all that matter have ended": (
        lambda w: (
            w.runs(w.part("a", **ONCE), w.part("b", **ONCE), auto_shutdown="all_significant")
            .finish("a")
            .state()
            == "running"
            and w.finish("b").state() == "finished"
        )
    ),
    # -- by hand
    "Add a child and start it": (
        lambda w: w.runs("a").root.start_child(w.part("b")) and w.told == "+b"
    ),
    "Stop a child and keep it": (
        lambda w: (
            w.runs(*"ab").root.terminate_child("a") and w.states == {"a": "stopped", "b": "running"}
        )
    ),
    "Start a child that was stopped": (
        lambda w: (
            w.runs("a").root.terminate_child("a")
            and w.root.restart_child("a")
            and w.told == "-a +a"
        )
    ),
    "Forget a child": (
        lambda w: (
            w.runs(*"ab").root.terminate_child("a")
            and w.root.delete_child("a") is None
            and w.states == {"b": "running"}
        )
    ),
    "List the children": (
        lambda w: [each.name for each in w.runs(*"ab").root.which_children()] == ["a", "b"]
    ),
    "Find one by its name": lambda w: w.runs(t := Tally()).root.service("Tally") is t,
    "Count them": (
        lambda w: (
            w.runs("a", Supervisor()).root.count_children()
            == ChildCounts(specs=2, active=2, supervisors=1, workers=1)
        )
    ),
    "At most so many": (
        lambda w: raised(pool(w, *"abc").root.start_child, w.part("d")) == "MaxChildren"
    ),
    "Stop the supervisor itself": (
        lambda w: w.runs(*"ab").stopped().is_clean and w.state() == "stopped"
    ),
    # -- up and down
    "Start in order, each waits for the one before": (
        lambda w: w.runs(w.part("a", start_takes=2), w.part("b", start_takes=3)).clock.now == 5
    ),
    "Stop in reverse, one at a time": (
        lambda w: w.runs(*"abc").stopped().clean == 4 and w.told == "-c -b -a"
    ),
    "Siblings that need each other": (
        lambda w: (
            w.runs(
                w.part("c", start_takes=1, needs=("a", "b")),
                w.part("a", start_takes=2, needs=()),
                w.part("b", start_takes=3, needs=()),
            ).clock.now
            == 3 + 1
            and w.stopped().is_clean
            and w.told[:2] == "-c"
        )
    ),
    "Wait until it is started, ready or finished": (
        lambda w: (
            w.runs(
                Warm(),
                w.part("a", needs={"Warm": "started"}),
                w.part("b", needs={"Warm": "ready"}),
                w.part("job", restart="transient"),
                w.part("c", needs={"job": "finished"}),
            ).states
            == {**UP, "b": "restarting", "job": "running", "c": "restarting"}
            and w.after(5).finish("job").states
            == {**UP, "b": "running", "job": "finished", "c": "running"}
        )
    ),
    "A time limit for the start": (
        lambda w: (
            raised(w.runs, w.part("a", start_takes=9, start_timeout=1)) == "StartFailed"
            and w.clock.now == 1
        )
    ),
    "A failed start takes back the siblings'": (
        lambda w: (
            raised(w.runs, *"ab", w.part("c", fail_starts=1)) == "StartFailed"
            and w.told == "+a +b +c -b -a"
        )
    ),
    "A child that chooses not to start": (
        lambda w: (
            w.runs(w.part("a", ignore_starts=1), "b").states == {"a": "stopped", "b": "running"}
        )
    ),
    "The slow part of a start, apart": (
        lambda w: w.runs(Warm(), "b").clock.now == 0 and list(w.root.not_ready()) == ["top/Warm"]
    ),
    "Phases of a start": (
        lambda w: (
            w.runs(Told(w.heard), Told(w.heard))
            and w.heard[:2] + w.heard[-2:] == ["on_start", "on_start", "on_ready", "on_ready"]
        )
    ),
    "A hook for the first start only": (
        lambda w: (
            [w.runs("a").picture("a").incarnation, w.crash("a").picture("a").incarnation] == [1, 2]
        )
    ),
    # -- with one another
    "Hear of somebody's end": (
        lambda w: (
            w.runs("a", b := w.part("b"))
            and b.watch(w.service("a"), lambda end: w.heard.append(end.reason.value))
            and w.crash("a").finish("a").heard == ["crashed", "finished"]
        )
    ),
    "A result that somebody waits for": (
        lambda w: (
            w.runs(t := Tally())
            and raised(t.task(int, "two").get) == "ValueError"
            and list(t.map(abs, [-3, -2, -1], limit=2)) == [3, 2, 1]
            and w.picture("Tally").restarts == 0
        )
    ),
    "Find by name from anywhere": (
        lambda w: (
            w.runs(Supervisor([t := Tally()], name="inner"), a := w.part("a"))
            and a.service("inner/Tally") is t
        )
    ),
    "Events for whoever listens": (
        lambda w: w.runs(t := Tally()).root.emit("add", 3) == 1 and t.count == 3
    ),
    "The same key in order": (
        lambda w: (
            w.runs(p := WorkerPool(Packer, size=4))
            and [p.submit((w.heard, str(n), n), key="ann") for n in (3, 2, 1)]
            and w.after(6).heard == ["3", "2", "1"]
        )
    ),
    "A pool of workers": (
        lambda w: (
            w.runs(p := WorkerPool(Packer, size=3))
            and [p.submit((w.heard, str(n), n)) for n in (3, 2, 1)]
            and raised(p.submit("cannot be unpacked").get) == "PoisonItem"
            and w.after(3).heard == ["1", "2", "3"]
        )
    ),
    # -- how it is
    "Ready, apart from started": (
        lambda w: (
            w.runs(Warm()).root.not_ready()["top/Warm"].reason == "warming up"
            and w.after(5).root.not_ready() == {}
        )
    ),
    "A heartbeat that is missed": (
        lambda w: (
            w.runs((Tally(), {"heartbeat": 10, "restart": "temporary"}), Beats(), max_restarts=0)
            .after(60)
            .states
            == {"Beats": "running"}
            and w.tree.events[-1].exception == "Unresponsive"
        )
    ),
    "A status in one's own words": (
        lambda w: w.runs(Warm()).picture("Warm").status == "1 of 3 shelves"
    ),
    "Timers": (
        lambda w: w.runs(t := Tally()).after(3600) and (t.timer.ticks, t.timer.missed) == (60, 0)
    ),
    "Probes that restart": (
        lambda w: (
            w.runs(Tally()).service("Tally").probe(lambda: False, every=5, failures=3)
            and "has failed 3 times in a row" in str(w.after(16).picture("Tally").last_failure)
            and w.picture("Tally").restarts == 1
        )
    ),
    "Times of the calendar": (
        lambda w: (
            (
                cron := w.runs(t := Tally())
                .service("Tally")
                .cron("5 3 * * *", t.add, tz="Asia/Tokyo")
            )
            and w.after(3 * 86_400)
            and (cron.ticks, cron.next_run.isoformat()) == (3, "2026-01-05T03:05:00+09:00")
        )
    ),
    # -- as a process
    "A socket that outlives a crash": (
        lambda w: (
            w.runs(lent := Lent(w.keeps(socket()))).crash("Lent")
            and lent.socket.fileno() > 0
            and w.picture("Lent").incarnation == 2
        )
    ),
    # -- seen from outside
    "A record of each change": lambda w: w.runs("a").crash("a").tree.events_of("a") == STORY,
    "Why it changed": (
        lambda w: (
            w.runs("a").crash("a", OSError("no route")).tree.events[-2].exception == "OSError"
            and w.root.stop()
            and w.tree.events[-1].reason == "stopped"
        )
    ),
    "A crash told with where and why": (
        lambda w: (
            w.runs(Supervisor([w.part("a")], name="inner")).crash("inner/a", OSError("no route"))
            and "top/inner/a: service crashed" in w.log
            and "OSError: no route" in w.log
            and "Traceback" in w.log
        )
    ),
    "Words for the states": (
        lambda w: (
            [Service().snapshot().state, w.runs("a", w.part("b", backoff=SECOND)).tree.state("a")]
            == [State.NEW, State.RUNNING]
            and w.crash("b").state("b") == "restarting"
            and w.root.terminate_child("a")
            and w.state("a") == "stopped"
        )
    ),
    "Keep one from being restarted for a while": (
        lambda w: (
            w.runs(*"ab", strategy="one_for_all").hold("a").crash("a").after(3600).states
            == {"a": "restarting", "b": "running"}
            and w.release("a").told == "-a -b +a +b"
        )
    ),
    "Subscribe to changes": (
        lambda w: (
            w.runs("a").root.listen("sprag:crashed", w.hears) and w.crash("a").heard == ["top/a"]
        )
    ),
    "Help for tests": (
        lambda w: (
            w.runs(w.part("a", backoff=SECOND))
            .fail_next_start("a", times=2)
            .crash("a")
            .after(1 + 2 + 4)
            .tree.events_of("a")
            == ["started", "crashed", "crashed", "crashed", "restarted"]
        )
    ),
    "Finish the work before the end": (
        lambda w: (
            w.runs(w.part("a", drain_takes=3), w.part("b", drain_takes=2)).stopped().seconds == 3
            and w.told == "-b -a"
        )
    ),
    "What would not stop, named": (
        lambda w: (
            w.runs("a", w.part("b", stop_takes=60), w.part("c", stop_raises=True))
            .stopped(timeout=2)
            .entries[1]
            .path
            == "top/b"
        )
    ),
    "Hooks around a life": (
        lambda w: (
            w.runs(Told(w.heard)).stopped()
            and w.heard == ["on_start", "run", "on_ready", "on_drain", "on_stop"]
        )
    ),
    "What was acquired is given back": (
        lambda w: w.runs(w.part("a", cleanup_takes=0)).crash("a").steps == ["-a", "xa", "+a"]
    ),
    # -- rare
    "Every greenlet has an owner": (
        lambda w: (g := bare_greenlet(w)) and not g.dead and w.crash("Tally") and g.dead
    ),
    "What will not die is fenced": (
        lambda w: (
            w.runs((Tally(), {"shutdown": 1})).hang("Tally").crash("Tally").after(9).state("Tally")
            == "running"
            and w.picture("Tally").stragglers[0].incarnation == 1
        )
    ),
    "One time limit for a whole stop": (
        lambda w: w.runs(*(w.part(each, stop_takes=60) for each in "abc")).stopped(8).seconds == 8
    ),
    "Delay, limit and escalation together": (
        lambda w: (
            w.runs(
                Supervisor([w.part("a", backoff=Backoff(0.1, jitter=0)), w.part("b")], name="inner")
            )
            .crash("inner/a", times=4, every=0.9)
            .picture("inner")
            .incarnation
            == 2
        )
    ),
    "An action for each exception": (
        lambda w: (
            w.runs(w.part("a", restart="transient", on_failure=ACTIONS)).crash("a", OSError())
            and w.picture("a").next_try == 1
            and w.after(1).crash("a", KeyError()).state("a") == "finished"
            and w.runs(w.part("a", on_failure=ACTIONS)).crash("a", ImportError()).state()
            == "stopped"
        )
    ),
    "A graph of needs inside a process": (
        lambda w: (
            w.runs("a", w.part("b", needs=("a",)), w.part("c", needs=()), strategy="rest_for_one")
            .crash("a")
            .told
            == "-a -b +a +b"
        )
    ),
    "Metrics for others to collect": (
        lambda w: "sprag_service_restarts" in measured(w.runs("a").root)
    ),
    "Trace calls and messages": (
        lambda _w: traced() == ["start top/Tally", "start top", "stop top/Tally", "stop top"]
    ),
    "Readiness that adds up": (
        lambda w: (
            list(w.runs(Supervisor([Warm()], name="inner"), Warm()).root.not_ready())
            == ["top/inner/Warm", "top/Warm"]
        )
    ),
    "The same course in every test": (
        lambda w: pool(w, *"abc").after(86400).clock.now == 86400 and w.stopped().is_clean
    ),
    "Log records that say whose they are": (
        lambda w: (
            w.runs(Tally()).service("Tally").log.warning("low", left=3) is None
            and "top/Tally: low (left=3)" in w.log
        )
    ),
    "Code that knows whose it is": (
        lambda w: w.runs(t := Tally()) and t.spawn(current_service).get() is t
    ),
    "Misspelt policy is refused": (
        lambda w: (
            raised(type, "Feed", (Service,), {}, restrat="temporary") == "BadPolicy"
            and raised(w.part, "a", restart="allways") == "BadPolicy"
        )
    ),
    "State handed to the next life": (
        lambda w: (
            w.runs((Told(w.heard), {"name": "a"})).crash("a") and w.heard.count("on_start") == 2
        )
    ),
}
