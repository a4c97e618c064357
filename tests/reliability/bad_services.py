"""Services that behave as badly as they can, and what `sprag run` makes of each.

Each is run as a real process, with `BUDGET` seconds for the stop. `table.py` prints
what came out for docs/reliability.md; `test_reliability.py` demands it.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from processes import app, run

if TYPE_CHECKING:
    from pathlib import Path

BUDGET: Final = 1.0
GRACE: Final = 1.0
"""Seconds past the budget in which the process must have ended, whatever the service does."""
SECOND: Final = 0.5
"""Likewise after a second signal."""


@dataclass(frozen=True, slots=True)
class Bad:
    """One bad service.

    Attributes:
        does: What it does, for the table.
        source: The app; `app` is its root. It says "ready" when the signal may come.
        code: The exit code.
        then: What the app does about it, for the table.
        says: What must be in its log, besides.
        asked: Whether it gets a SIGTERM; else it ends by itself.
        budget: Seconds for the stop.
        again: Whether a second signal is worth a try: it does not end at once.
    """

    does: str
    source: str
    code: int
    then: str
    says: tuple[str, ...] = ()
    asked: bool = True
    budget: float = BUDGET
    again: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a process did: its exit code, the seconds since the signal, all it said."""

    code: int
    seconds: float
    out: str
    err: str


def attempt(bad: Bad, directory: Path, *, again: bool = False) -> Outcome:
    """Run *bad* in a process of its own and stop it; with *again*, by two signals."""
    directory.mkdir(parents=True, exist_ok=True)
    app(directory, bad.source)
    with run(directory, "--shutdown-timeout", str(bad.budget)) as process:
        began = time.monotonic()
        if bad.asked:
            process.says("ready")
            time.sleep(0.1)
            process.send(signal.SIGTERM)
            if again:
                time.sleep(0.2)
                process.send(signal.SIGTERM)
            began = time.monotonic()
        code = process.ends()
        return Outcome(code, time.monotonic() - began, process.out, process.err)


BAD: Final = {
    "spin": Bad(
        "spins in pure Python",
        """
        class Bad(Service):
            def run(self):
                gevent.sleep(0.1)
                say("ready")
                while True:
                    pass
        app = Supervisor([Bad()], name="app")
        """,
        4,
        "the stacks go to stderr, the process ends",
        says=("in run", "out of time"),
        again=True,
    ),
    "c-block": Bad(
        "blocks in a C call",
        """
        from gevent.monkey import get_original
        class Bad(Service):
            def run(self):
                gevent.sleep(0.1)
                say("ready")
                get_original("time", "sleep")(60)
        app = Supervisor([Bad()], name="app")
        """,
        4,
        "the stacks go to stderr, the process ends",
        says=("in run", "out of time"),
        again=True,
    ),
    "swallow": Bad(
        "swallows every kill",
        """
        class Bad(Service):
            def run(self):
                say("ready")
                while True:
                    try:
                        gevent.sleep(60)
                    except BaseException:
                        pass
        app = Supervisor([Bad()], name="app")
        """,
        4,
        "left behind as a straggler, with its stack",
        says=("straggler left behind", "gevent.sleep(60)"),
        again=True,
    ),
    "swallow-in-on_stop": Bad(
        "swallows every kill in `on_stop`",
        """
        class Bad(Service):
            def on_start(self):
                say("ready")
            def on_stop(self):
                while True:
                    try:
                        gevent.sleep(60)
                    except BaseException:
                        pass
        app = Supervisor([Bad()], name="app")
        """,
        4,
        "left behind as a straggler, with its stack",
        says=("straggler left behind",),
    ),
    "on_start-blocks": Bad(
        "blocks in `on_start`",
        """
        class Bad(Service):
            def on_start(self):
                say("ready")
                gevent.sleep(60)
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "the start is called off",
    ),
    "on_drain-blocks": Bad(
        "blocks in `on_drain`",
        """
        class Bad(Service):
            def on_start(self):
                say("ready")
            def on_drain(self):
                gevent.sleep(60)
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "killed when a third of the budget is used up",
        says=('"killed": 1',),
    ),
    "on_stop-blocks": Bad(
        "blocks in `on_stop`",
        """
        class Bad(Service):
            def on_start(self):
                say("ready")
            def on_stop(self):
                gevent.sleep(60)
        app = Supervisor([Bad()], name="app")
        """,
        4,
        "killed when the budget is used up",
        says=('"killed": 1',),
        again=True,
    ),
    "on_stop-blocks-briefly": Bad(
        "blocks in `on_stop`, with a `shutdown` of 0.2",
        """
        class Bad(Service, shutdown=0.2):
            def on_start(self):
                say("ready")
            def on_stop(self):
                gevent.sleep(60)
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "killed at its own limit",
        says=('"killed": 1',),
    ),
    "clean-up-blocks": Bad(
        "blocks in a clean-up",
        """
        class Bad(Service):
            def on_start(self):
                self.add_cleanup(gevent.sleep, 60)
                say("ready")
        app = Supervisor([Bad()], name="app")
        """,
        4,
        "killed when the budget is used up",
        says=('"killed": 1',),
    ),
    "spin-in-on_stop": Bad(
        "spins in `on_stop`",
        """
        class Bad(Service):
            def on_start(self):
                say("ready")
            def on_stop(self):
                while True:
                    pass
        app = Supervisor([Bad()], name="app")
        """,
        4,
        "the stacks go to stderr, the process ends",
        says=("in on_stop", "out of time"),
        again=True,
    ),
    "on_start-raises": Bad(
        "raises in `on_start`",
        """
        class Bad(Service):
            def on_start(self):
                raise ValueError("bad")
        app = Supervisor([Bad()], name="app")
        """,
        3,
        "the app never comes up",
        says=("service failed to start", "never came up"),
        asked=False,
    ),
    "stop-hooks-raise": Bad(
        "raises in `on_drain`, `on_stop` and a clean-up",
        """
        class Bad(Service):
            def on_start(self):
                self.add_cleanup(self.bad)
                say("ready")
            def bad(self):
                raise ValueError("bad")
            on_drain = on_stop = bad
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "each is logged, the stop goes on",
        says=("service raised while stopping", '"errors": 1'),
    ),
    "init-raises": Bad(
        "raises in `__init__` when it is restarted",
        """
        lives = []
        class Bad(Service):
            def __init__(self):
                lives.append(1)
                if len(lives) > 1:
                    raise ValueError("bad")
            def run(self):
                gevent.sleep(0.3)  # till the app is ready, else it never came up
                raise ValueError("first")
        app = Supervisor([Bad()], name="app")
        """,
        1,
        "tried again up to the limit, then the app gives up",
        says=("supervisor gave up",),
        asked=False,
    ),
    "recursion": Bad(
        "recurses without end",
        """
        class Bad(Service):
            def run(self):
                self.run()
        app = Supervisor([Bad()], name="app")
        """,
        1,
        "a crash; restarted up to the limit",
        says=("RecursionError", "supervisor gave up"),
        asked=False,
    ),
    "memory": Bad(
        "runs out of memory",
        """
        class Bad(Service):
            def run(self):
                b"x" * (1 << 62)
        app = Supervisor([Bad()], name="app")
        """,
        1,
        "a crash; restarted up to the limit",
        says=("MemoryError", "supervisor gave up"),
        asked=False,
    ),
    "timeouts": Bad(
        "leaks Timeouts that nobody closes",
        """
        class Bad(Service):
            def run(self):
                gevent.Timeout(0.05).start()
                gevent.sleep(60)
        app = Supervisor([Bad()], name="app")
        """,
        1,
        "a crash; restarted up to the limit",
        says=("Timeout", "supervisor gave up"),
        asked=False,
    ),
    "kills-itself": Bad(
        "kills its own greenlet",
        """
        class Bad(Service):
            def run(self):
                gevent.getcurrent().kill()
        app = Supervisor([Bad()], name="app")
        """,
        1,
        "counts as finished; a permanent one comes back, up to the limit",
        says=("supervisor gave up",),
        asked=False,
    ),
    "finishes-in-on_start": Bad(
        "finishes in `on_start`",
        """
        class Bad(Service):
            def on_start(self):
                self.finish()
        app = Supervisor([Bad()], name="app")
        """,
        1,
        "started, then finished; a permanent one comes back, up to the limit",
        says=("supervisor gave up",),
        asked=False,
    ),
    "exits": Bad(
        "calls `sys.exit(7)`",
        """
        class Bad(Service):
            def run(self):
                sys.exit(7)
        app = Supervisor([Bad()], name="app")
        """,
        7,
        "the app stops, with that code",
        says=("service asked the app to exit",),
        asked=False,
    ),
    "signals-itself": Bad(
        "sends its own process a SIGTERM",
        """
        import os, signal
        class Bad(Service):
            def run(self):
                os.kill(os.getpid(), signal.SIGTERM)
                gevent.sleep(60)
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "the app stops as after any SIGTERM",
        says=("SIGTERM",),
        asked=False,
    ),
    "stops-its-parent": Bad(
        "stops its parent from its own `run`",
        """
        class Bad(Service):
            def run(self):
                app.stop()
                gevent.sleep(60)
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "carried out once it has yielded",
        asked=False,
    ),
    "adopts-in-on_stop": Bad(
        "adopts a child in `on_stop`",
        """
        class Bad(Service):
            def on_start(self):
                say("ready")
            def on_stop(self):
                self.adopt(Service())
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "refused: NotRunning, logged",
        says=("NotRunning",),
    ),
    "spawns-in-on_stop": Bad(
        "starts 100 greenlets in `on_stop`",
        """
        class Bad(Service):
            def on_start(self):
                say("ready")
            def on_stop(self):
                for _ in range(100):
                    gevent.spawn(gevent.sleep, 60)
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "they are the service's, and end with it",
    ),
    "10000-stubborn": Bad(
        "has 10,000 greenlets that swallow their first kill",
        """
        class Bad(Service, shutdown=0.3):
            def on_start(self):
                for _ in range(10000):
                    self.spawn(self.stubborn)
                self.timeout(say, 0.1, "ready")
            def stubborn(self):
                try:
                    gevent.sleep(60)
                except gevent.GreenletExit:
                    gevent.sleep(60)
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "killed again at its own limit of 0.3 s",
        says=('"killed": 1',),
        budget=8.0,
    ),
    "forks": Bad(
        "forks a child that goes on by itself",
        """
        import os
        parent = os.getpid()
        class Ticker(Service):
            def on_start(self):
                self.interval(self.tick, 0.01)
            def tick(self):
                if os.getpid() != parent:
                    say("ticks in the child")
        class Bad(Service):
            def run(self):
                if os.fork() == 0:
                    gevent.sleep(0.3)
                    say("child done")
                    return
                gevent.sleep(0.5)
                say("ready")
                gevent.sleep(60)
        app = Supervisor([Ticker(), Bad()], name="app")
        """,
        0,
        "no service runs in the child, which ends with what it does",
        says=("child done",),
    ),
    "processes": Bad(
        "starts processes, with `multiprocessing` and `subprocess`",
        """
        import multiprocessing, subprocess
        class Bad(Service):
            def on_start(self):
                child = multiprocessing.get_context("fork").Process(target=gevent.sleep, args=(60,))
                child.daemon = True
                child.start()
                self.popen = subprocess.Popen(["sleep", "60"])
                self.add_cleanup(self.popen.kill)
                self.timeout(say, 0.2, "ready")
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "they work, and end as the app says",
    ),
    "threads": Bad(
        "starts threads, daemons and others, that never end",
        """
        import threading
        class Bad(Service):
            def on_start(self):
                for daemon in (True, False):
                    threading.Thread(target=gevent.sleep, args=(60,), daemon=daemon).start()
                self.timeout(say, 0.1, "ready")
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "under `sprag run` threads are greenlets: the service's",
    ),
    "native-threads": Bad(
        "keeps a native thread busy that is no daemon",
        """
        from gevent.monkey import get_original
        import threading
        def work():
            get_original("time", "sleep")(60)
        class Bad(Service):
            def on_start(self):
                gevent.get_hub().threadpool.spawn(work)
                lock = get_original("_thread", "allocate_lock")()
                lock.acquire()
                get_original("_thread", "start_new_thread")(lock.acquire, ())
                self.timeout(say, 0.1, "ready")
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "nobody waits for it",
    ),
    "wrong-thread": Bad(
        "calls `stop()` and `spawn()` from a native thread",
        """
        class Bad(Service):
            def run(self):
                for call in (self.stop, lambda: self.spawn(int)):
                    try:
                        gevent.get_hub().threadpool.apply(call)
                    except SpragError as error:
                        say(type(error).__name__)
                say("ready")
                gevent.sleep(60)
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "refused: WrongThread",
        says=("WrongThread",),
    ),
    "generator": Bad(
        "has an `on_start` with a `yield`",
        """
        class Bad(Service):
            def on_start(self):
                yield
        app = Supervisor([Bad()], name="app")
        """,
        3,
        "refused when the class is made",
        says=("Bad.on_start",),
        asked=False,
    ),
    "async": Bad(
        "has an `async def run`",
        """
        class Bad(Service):
            async def run(self):
                pass
        app = Supervisor([Bad()], name="app")
        """,
        3,
        "refused when the class is made",
        says=("Bad.run",),
        asked=False,
    ),
    "del": Bad(
        "raises in `__del__`",
        """
        class Thing:
            def __del__(self):
                raise ValueError("bad")
        class Bad(Service):
            def on_start(self):
                self.thing = Thing()
                self.interval(self.renew, 0.01)
                self.timeout(say, 0.1, "ready")
            def renew(self):
                self.thing = Thing()
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "Python prints it; nothing else happens",
        says=("Exception ignored in",),
    ),
    "closed-stdout": Bad(
        "prints to a stdout that it has closed",
        """
        import os
        class Bad(Service):
            def run(self):
                sys.stdout.close()
                print("hello")
        app = Supervisor([Bad()], name="app")
        """,
        1,
        "a crash; restarted up to the limit",
        says=("I/O operation on closed file", "supervisor gave up"),
        asked=False,
    ),
    "steals-the-signals": Bad(
        "installs a handler of its own for SIGTERM",
        """
        import signal
        class Bad(Service):
            def on_start(self):
                signal.signal(signal.SIGTERM, lambda *_: None)
                say("ready")
        app = Supervisor([Bad()], name="app")
        """,
        4,
        "nobody stops the tree, so the process ends when the budget is used up",
        says=("out of time",),
    ),
    "listener-blocks": Bad(
        "has a listener that holds whoever emits",
        """
        class Bad(Service):
            def on_start(self):
                self.listen("x", lambda _: gevent.sleep(60))
        class Emitter(Service):
            def run(self):
                say("ready")
                self.emit("x")
        app = Supervisor([Bad(), Emitter()], name="app")
        """,
        0,
        "ends with the emitter, which is killed",
    ),
    "crashes-while-stopping": Bad(
        "crashes again and again while it stops",
        """
        class Bad(Service, shutdown=0.5):
            def on_start(self):
                self.interval(self.bad, 0.01, immediate=False)
                say("ready")
            def bad(self):
                if self.snapshot().state is State.STOPPING:
                    raise ValueError("bad")
            def on_stop(self):
                gevent.sleep(0.1)
        app = Supervisor([Bad()], name="app")
        """,
        0,
        "logged; no restart",
        says=("service raised while stopping",),
    ),
}
