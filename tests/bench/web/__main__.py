"""Measure the web server under load beside bare pywsgi + Werkzeug: `python tests/bench/web`.

All servers run all the time; the load goes to one after the other, slice by slice, so that a
machine that gets busier hits all of them. README.md beside this file says what is asked and
checked. The exit code is 1 if an answer was lost or wrong, or if nothing crashed; being slow is
no failure.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[2]
ROUNDS: Final = 10
PATH: Final = "/orders/1234"
SPRAG: Final = "sprag"
BARE: Final = "bare"
LOGS: Final = {True: "access log written", False: "no access log"}
PATIENCE: Final = 20.0  # seconds that a server may take to come up or go


@dataclasses.dataclass(frozen=True, slots=True)
class Slice:
    """What one stretch of load came to.

    Attributes:
        answered: Requests.
        seconds: Time it took.
        wrong: Answers that were not the one wanted.
        lost: Requests without an answer.
        p99_ms: 99 of 100 answers came within so many milliseconds.
        cpu: Seconds of CPU time that the server took, all its threads.
        crashes: How often the service crashed meanwhile.
    """

    answered: int
    seconds: float
    wrong: int
    lost: int
    p99_ms: float
    cpu: float
    crashes: int

    @property
    def rate(self) -> float:
        return self.answered / self.seconds

    @property
    def cost(self) -> float:
        """CPU time for each request, in microseconds."""
        return self.cpu / self.answered * 1e6


Results: TypeAlias = dict[str, list[Slice]]
"""By the server's name, in the order of the rounds."""


class Server:
    """A server as a process of its own, with its logs going nowhere."""

    def __init__(self, name: str, command: Sequence[str], port: int) -> None:
        self.name = name
        self.port = port
        roots = [str(ROOT / each) for each in ("supervisor", "sprag", "cli")]
        path = [str(HERE), *roots, os.environ.get("PYTHONPATH", "")]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.usage()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        self.process.kill()
        raise SystemExit(f"{self.name} does not come up: {self.process.args!r}")

    def __exit__(self, *_exc: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def ask(self, path: str) -> str:
        client = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            client.request("GET", path)
            return client.getresponse().read().decode()
        finally:
            client.close()

    def usage(self) -> dict[str, Any]:
        """Return what the server says of itself: CPU seconds, crashes."""
        found: dict[str, Any] = json.loads(self.ask("/usage"))
        return found

    def wanted(self) -> str:
        """Return the part of the answer that is the same each time: all but the counter."""
        same, _, _ = self.ask(PATH).partition(', "seen"')
        return same

    def slice(self, options: argparse.Namespace, seconds: float, wanted: str) -> Slice:
        """Put the server under load for a while."""
        url = f"http://127.0.0.1:{self.port}{PATH}"
        before = self.usage()
        found = CLIENTS[options.client](url, seconds, options.connections, wanted)
        after = self.usage()
        crashes = after["crashes"] - before["crashes"]
        return Slice(**found, cpu=after["cpu"] - before["cpu"], crashes=crashes)


def wrk(url: str, seconds: float, connections: int, wanted: str) -> dict[str, Any]:
    script = ["-s", str(HERE / "check.lua"), url, "--", wanted]
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    return _figures(["wrk", *options, *script])


def gevent_client(url: str, seconds: float, connections: int, wanted: str) -> dict[str, Any]:
    arguments = [url, str(seconds), str(connections), wanted]
    return _figures([sys.executable, str(HERE / "load.py"), *arguments])


CLIENTS: Final[dict[str, Callable[[str, float, int, str], dict[str, Any]]]] = {
    "wrk": wrk,
    "gevent": gevent_client,
}


def _figures(command: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def servers() -> list[Server]:
    """Return the four contenders: each as it comes, and each without its access log."""
    made: list[Server] = []
    for log in (True, False):
        port, other = free_port(), free_port()
        run = ["-m", "sprag_cli", "run", "served.shop:app", "--port", str(port)]
        bare = ["-m", "served.bare", str(other)]
        run += [] if log else ["--log-level", "warning"]
        bare += [] if log else ["--no-log"]
        made += [Server(f"{SPRAG}, {LOGS[log]}", run, port)]
        made += [Server(f"{BARE}, {LOGS[log]}", bare, other)]
    return made


def measure(options: argparse.Namespace) -> Results:
    """Return the slices of all servers."""
    found: Results = {}
    with ExitStack() as stack:
        running = [stack.enter_context(one) for one in servers()]
        answers = {one.wanted() for one in running}
        if len(answers) > 1:
            raise SystemExit(f"they do not answer alike: {answers}")
        (wanted,) = answers
        for one in running:
            one.slice(options, 1.0, wanted)  # first-time costs do not count
        for number in range(ROUNDS):
            for one in running if number % 2 else reversed(running):
                part = one.slice(options, options.seconds / ROUNDS, wanted)
                found.setdefault(one.name, []).append(part)
    return found


def show(ours: Sequence[Slice], bare: Sequence[Slice]) -> None:
    print(f"{'':24}{SPRAG:>10}{BARE:>10}   ratio: median (least to most)")
    rows: list[tuple[str, Callable[[Slice], float]]] = [
        ("requests per second", lambda one: one.rate),
        ("CPU µs per request", lambda one: one.cost),
        ("99 of 100 within, ms", lambda one: one.p99_ms),
    ]
    for title, figure in rows:
        ratios = sorted(figure(a) / figure(b) for a, b in zip(ours, bare, strict=True))
        figures = [statistics.median(map(figure, each)) for each in (ours, bare)]
        cells = "".join(f"{each:>10.{0 if each > 100 else 1}f}" for each in figures)
        spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{title:24}{cells}   {statistics.median(ratios):.2f} {spread}")
    for name in ("answered", "lost", "wrong", "crashes"):
        totals = [sum(getattr(one, name) for one in each) for each in (ours, bare)]
        print(f"{name:24}" + "".join(f"{each:>10}" for each in totals))


def is_well(found: Results) -> bool:
    every = [one for slices in found.values() for one in slices]
    crashed = [sum(one.crashes for one in found[f"{SPRAG}, {log}"]) for log in LOGS.values()]
    return all(crashed) and all(one.answered and not one.lost + one.wrong for one in every)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/bench/web", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of load for each server")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--client", choices=sorted(CLIENTS), help="default: wrk, if there is one")
    parser.add_argument("--json", type=Path, help="write every slice into this file")
    options = parser.parse_args()
    options.client = options.client or ("wrk" if shutil.which("wrk") else "gevent")
    found = measure(options)
    print(f"{options.client}, {options.connections} connections")
    for log in LOGS.values():
        print(f"\n{log}")
        show(found[f"{SPRAG}, {log}"], found[f"{BARE}, {log}"])
    if options.json:
        slices = {name: [dataclasses.asdict(one) for one in each] for name, each in found.items()}
        options.json.write_text(json.dumps(slices, indent=1))
    return 0 if is_well(found) else 1


if __name__ == "__main__":
    sys.exit(main())
