"""Measure what a cluster promises, on real engines: `python tests/bench/cluster [ENGINE…]`.

README.md beside this file says what each row is.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cluster.fleet import Fleet, Seat, now
from processes import app, run
from servers import KINDS, Redis

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

WAYS: Final = ("killed", "stopped", "cut")
PATIENCE: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_TALK: Final = """
from pathlib import Path

now = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)

class Talks(Service, restart="transient"):
    def run(self):
        while not os.path.exists("talk"):
            gevent.sleep(0.02)
        rate, seconds = map(float, Path("talk").read_text().split())
        counts = self._tree_.cluster.counts
        began = due = now()
        said = 0
        while now() < began + seconds:
            if rate:
                due += 1 / rate
                gevent.sleep(max(0, due - now()))
            else:
                gevent.sleep(0)
                if counts()["waiting"] > 200:
                    gevent.sleep(0.002)
                    continue
            self.broadcast("tick", now())
            said += 1
        Path("said").write_text(str(said))

class Hears(Service):
    def on_start(self):
        self.listen("tick", self.hear)
        self.heard = []
        self.interval(self.tell, 0.5)

    def hear(self, at):
        self.heard.append((now(), now() - at))

    def tell(self):
        heard, self.heard = self.heard, []
        with open("heard", "a") as file:
            file.writelines(f"{at} {took}\\n" for at, took in heard)

app = App(
    name="talk",
    cluster=Cluster(os.environ["URL"], node=os.environ["NODE"]),
    providers={"it": Talks() if os.environ["NODE"] == "n1" else Hears()},
)
"""


@contextmanager
def fleet(kind: str, **options: Any) -> Generator[Fleet]:
    """Run nodes, all of them at work."""
    with tempfile.TemporaryDirectory() as name, Fleet(kind, Path(name), **options) as made:
        yield made
        assert not made.wrong(), made.wrong()


def owner(nodes: Fleet) -> Seat:
    """Return the node that the singleton is at work in."""
    pid = nodes.holders()["billing"]
    return next(seat for seat in nodes.regular if seat.process is not None and seat.pid == pid)


def until_taken(nodes: Fleet, had: set[str], old: int, since: float) -> float:
    """Wait until others are at work on all that *old* had; return how long that was."""
    deadline = time.monotonic() + PATIENCE
    while True:
        begun = {
            span.what: span.began
            for span in nodes.spans()
            if span.began > since and span.pid != old and span.what in had
        }
        if begun.keys() == had:
            return max(begun.values()) - since
        assert time.monotonic() < deadline, had - begun.keys()
        time.sleep(0.02)


def take_over(kind: str, rounds: int, most: float) -> dict[str, Any]:
    """Return seconds from the end of a node to when others have all that it had.

    Args:
        kind: Of the engine.
        rounds: How often.
        most: Seconds after which no other round is begun.
    """
    until = time.monotonic() + most
    seconds: dict[str, list[float]] = {each: [] for each in WAYS}
    with fleet(kind, nodes=3, ttl=3.0) as nodes:
        for way in itertools.islice(itertools.cycle(WAYS), rounds):
            if time.monotonic() > until:
                break
            seat = owner(nodes)
            old = seat.pid
            had = {what for what, pid in nodes.holders().items() if pid == old}
            seat.is_meant = False
            since = now()
            if way == "killed":
                seat.send(signal.SIGKILL)
            elif way == "stopped":
                seat.send(signal.SIGSTOP)
            else:
                seat.link.cut()
            seconds[way].append(until_taken(nodes, had, old, since))
            seat.link.heal()
            seat.kill()
            seat.start()
            nodes.settle()
    every = list(itertools.chain.from_iterable(seconds.values()))
    worst = {f"worst, {way}": max(each) for way, each in seconds.items() if each}
    return {"rounds": len(every), "worst": max(every), "median": statistics.median(every), **worst}


def hand_over(kind: str, rounds: int) -> dict[str, Any]:
    """Return seconds from a SIGTERM to when others have all that the node had."""
    seconds: list[float] = []
    of_one: list[float] = []
    held: list[float] = []
    with fleet(kind, nodes=3, ttl=3.0) as nodes:
        for _ in range(rounds):
            seat = owner(nodes)
            old = seat.pid
            had = {what for what, pid in nodes.holders().items() if pid == old}
            seat.is_meant = False
            others = [each.pid for each in nodes.regular if each is not seat]
            for pid in others:
                nodes.beat_anew(pid)
            since = now()
            seat.send(signal.SIGTERM)
            of_one.append(until_taken(nodes, {"billing"}, old, since))
            seconds.append(until_taken(nodes, had, old, since))
            held += [nodes.longest(pid)[1] for pid in others]
            assert seat.process is not None
            code = seat.process.ends()
            assert code == 0, (code, (nodes.directory / f"log-{seat.number}").read_text()[-3000:])
            seat.close()
            seat.start()
            nodes.sleep(2.0)
            nodes.settle()
    return {
        "rounds": rounds,
        "worst": max(seconds),
        "median": statistics.median(seconds),
        "worst, singleton": max(of_one),
        "median, singleton": statistics.median(of_one),
        "of a processor, ms": 1000 * max(held),
    }


def engine_back(kind: str, rounds: int) -> dict[str, Any]:
    """Return how many moved as the engine was killed, and how long it was away."""
    away: list[float] = []
    with fleet(kind, nodes=3, ttl=10.0, partitions=4) as nodes:
        nodes.sleep(25.0)  # until none moves to where it is wanted
        before = nodes.holders()
        for _ in range(rounds):
            since = now()
            nodes.server.kill()
            time.sleep(max(0.0, 2.2 - (now() - since)))
            nodes.server.start()
            away.append(now() - since)
            nodes.sleep(8.0)
        moved = sum(pid != before[what] for what, pid in nodes.holders().items())
    return {"rounds": rounds, "moved": moved, "longest away": max(away), "of ttl": 10.0}


def idle_cost(kind: str, seconds: float) -> dict[str, Any]:
    """Return what of a processor a node takes that has nothing to do, and its longest hold."""
    with fleet(kind, nodes=3, ttl=10.0) as nodes:
        seats = nodes.regular
        for seat in seats:
            seat.rest(rests=True)
        nodes.sleep(8.0)
        before = [_used(seat) for seat in seats]
        began = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        used = [_used(seat) - was for seat, was in zip(seats, before, strict=True)]
        for seat in seats:
            seat.rest(rests=False)
        time.sleep(1.0)
        for seat in seats:
            nodes.beat_anew(seat.pid)
        time.sleep(seconds)
        held = [nodes.longest(seat.pid) for seat in seats]
    return {
        "percent": 100 * max(used) / took,
        "longest between beats, ms": 1000 * max(each[0] for each in held),
        "of a processor, ms": 1000 * max(each[1] for each in held),
    }


def _used(seat: Seat) -> float:
    assert seat.process is not None
    fields = Path(f"/proc/{seat.process.popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def broadcasts(rate: float, seconds: float, *, fsync: str = "everysec") -> dict[str, Any]:
    """Return how broadcasts went from one node to another by a Redis.

    Args:
        rate: How many a second; 0: all it can.
        seconds: How long.
        fsync: When Redis has the disk keep what it has written.
    """
    server = Redis("--appendonly", "yes", "--appendfsync", fsync)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        app(directory, _TALK)
        server.start()
        try:
            with (
                run(directory, environ={"URL": server.url, "NODE": "n1"}) as first,
                run(directory, environ={"URL": server.url, "NODE": "n2"}) as second,
            ):
                first.says("up")
                second.says("up")
                time.sleep(2)
                (directory / "talk").write_text(f"{rate} {seconds}")
                deadline = time.monotonic() + seconds + PATIENCE
                while not (directory / "said").exists():
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                time.sleep(2)
                lines = [
                    (float(at), float(took))
                    for at, took in map(str.split, (directory / "heard").read_text().splitlines())
                ]
                said = int((directory / "said").read_text())
        finally:
            server.close()
    took = sorted(1000 * each for _, each in lines)
    span = lines[-1][0] - lines[0][0]
    return {
        "said": said,
        "heard": len(lines),
        "a second": len(lines) / span,
        "p50, ms": took[len(took) // 2],
        "p99, ms": took[len(took) * 99 // 100],
    }


def tree_of_all(kind: str, count: int, rounds: int) -> dict[str, Any]:
    """Return seconds of `sprag tree --cluster`, its own start included."""
    seconds: list[float] = []
    with fleet(kind, nodes=count, ttl=10.0, partitions=64) as nodes:
        for seat in nodes.regular:
            seat.rest(rests=True)
        nodes.sleep(10.0)
        environ = {**os.environ, "SPRAG_RUNTIME_DIR": str(nodes.directory / "run")}
        socket = min((nodes.directory / "run").glob("*.sock"))
        command = [sys.executable, "-m", "sprag_cli", "tree", "--cluster", "--app", str(socket)]
        for _ in range(rounds):
            began = time.monotonic()
            done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
            seconds.append(time.monotonic() - began)
            answered = done.stdout.count("Singleton")
            assert answered == count, done.stdout
    return {"nodes": count, "worst": max(seconds), "median": statistics.median(seconds)}


def main() -> None:
    """Measure, and print a line for each row."""
    rows: dict[str, Callable[[str], dict[str, Any]]] = {
        "take-over": lambda kind: take_over(kind, options.rounds, options.seconds),
        "hand-over": lambda kind: hand_over(kind, max(options.rounds // 4, 1)),
        "engine back": lambda kind: engine_back(kind, 2),
        "idle": lambda kind: idle_cost(kind, 20.0),
        "tree": lambda kind: tree_of_all(kind, 20, 5),
        "broadcasts": lambda kind: {
            "as fast as it can": broadcasts(0, 5.0),
            "500 a second": broadcasts(500, 10.0),
            "500 a second, each on the disk": broadcasts(500, 10.0, fsync="always"),
        },
    }
    parser = argparse.ArgumentParser(prog="python tests/bench/cluster", description=__doc__)
    parser.add_argument("engines", nargs="*", default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--rows", default=",".join(rows), help="by commas (default: all)")
    parser.add_argument("--rounds", type=int, default=40, help="of take-over (default: 40)")
    parser.add_argument("--seconds", type=float, default=600.0, help="of take-over, at most")
    options = parser.parse_args()
    for row in options.rows.split(","):
        for kind in options.engines:
            if row != "broadcasts" or kind == "redis":
                print(f"{row}, {kind}: {json.dumps(_short(rows[row](kind)))}", flush=True)


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 3) if isinstance(value, (int, float)) else _short(value)
        for name, value in figures.items()
    }


if __name__ == "__main__":
    main()
