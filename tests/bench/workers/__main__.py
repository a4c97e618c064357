"""`make bench ARGS=--workers`: `sprag run --workers` beside `gunicorn -k gevent`.

Both serve the same WSGI app, in turns, each started anew for each round; the client has a core of
its own where there are two. README.md beside this file says what is measured, and how.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Generator

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[2]
PATH: Final = "/orders/1234"
PATIENCE: Final = 60.0
"""Seconds that a server may take to come up, to replace a worker, or to go."""
CONNECTIONS: Final = 32
SETTLED: Final = 10.0
"""Seconds after which also the last worker has booted: a first generation may give up."""
_NONE: Final[dict[str, Any]] = {"wrong": {}}
ROWS: Final = {
    "first_answer": ("first answer after the start, s", "≤ 1.5"),
    "rate": ("requests a second", "≥ 0.95"),
    "p50_ms": ("half of the answers within, ms, at a fixed load", ""),
    "p99_ms": ("99 of 100 answers within, ms, at a fixed load", "≤ 1.05"),
    "pss_mb": ("memory (PSS) of all its processes, MB", "≤ 1.5"),
}
"""By the name of a figure: what it is, and what sprag's may be, in gunicorn's."""


class Server:
    """A server with its workers, as a process of its own."""

    name = ""

    def __init__(self, options: argparse.Namespace) -> None:
        self.count: int = options.count
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        sys.stderr.write(f"{self.name} at {self.url}\n")
        roots = [str(options.source / each) for each in ("supervisor", "sprag", "cli")]
        path = [str(HERE), *roots, os.environ.get("PYTHONPATH", "")]
        self.environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def command(self) -> list[str]:
        raise NotImplementedError

    @contextmanager
    def running(self, core: list[str]) -> Generator[float]:
        """Run it, on its core; yield the seconds from its start to its first answer."""
        began = time.monotonic()
        self.process = subprocess.Popen(
            [*core, sys.executable, *self.command()],
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _until(self._answers, f"{self.name} to answer", self.process)
            first = time.monotonic() - began
            _until(lambda: len(self.workers()) == self.count, "all workers", self.process)
            yield first
        finally:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def _answers(self) -> bool:
        try:
            with urlopen(self.url + PATH, timeout=PATIENCE) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def workers(self) -> set[int]:
        """Return the pids of its workers: those who have the listening socket, but its parent."""
        if self.count == 0:
            return set()
        return {pid for pid in _below(self.process.pid)[1:] if self._listens(pid)}

    def _listens(self, pid: int) -> bool:
        wanted = f":{self.port:04X} 00000000:0000 0A"
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()
            inodes = {line.split()[9] for line in lines if wanted in line}
            held = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
            return any(f"socket:[{inode}]" in held for inode in inodes)
        return False

    def replace_all(self) -> None:
        """Have each worker replaced, and wait until the old ones are gone and it answers.

        gunicorn ends the old ones before the new ones have loaded the app: to ask for the next
        replacement then would have nobody ever answer.
        """
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)

        def is_done() -> bool:
            now = self.workers()
            return len(now) == self.count and not now & old

        # One after another, each beside all clients on one core.
        _until(is_done, "the replacement", self.process, PATIENCE + 20 * self.count)
        _until(self._answers, "the next generation to answer", self.process)

    def memory(self) -> float:
        """Return the proportional set size of all its processes, in MB."""
        total = 0
        for pid in _below(self.process.pid):
            with suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(text.partition("\nPss:")[2].split()[0])
        return total / 1024


class Sprag(Server):
    name = "sprag"

    def command(self) -> list[str]:
        run = ["-m", "sprag_cli", "run", "served.shop:app", "--port", str(self.port)]
        run += ["--log-level", "warning", "--no-tree"]
        return [*run, *(["--workers", str(self.count)] if self.count else [])]


class Gunicorn(Server):
    name = "gunicorn"

    def command(self) -> list[str]:
        config = ["-c", str(HERE / "served" / "gunicorn_conf.py"), "-w", str(self.count or 1)]
        return [
            "-m",
            "gunicorn",
            *config,
            "-b",
            f"127.0.0.1:{self.port}",
            "served.shop:application",
        ]

    def workers(self) -> set[int]:
        return super().workers() if self.count else set()


class Granian(Server):
    """Threads instead of greenlets, and a server in Rust; the tree is in each worker as well."""

    name = "granian"

    def command(self) -> list[str]:
        options = ["--interface", "wsgi", "--workers", str(self.count or 1), "--no-ws"]
        options += ["--port", str(self.port), "--backpressure", str(CONNECTIONS * 2)]
        return ["-m", "granian", *options, "served.threads:application"]


CONTENDERS: Final[tuple[type[Server], ...]] = (Sprag, Gunicorn, Granian)


def _below(pid: int) -> list[int]:
    """Return *pid*, and all that it and those below it have started."""
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _until(
    over: Any, what: str, process: subprocess.Popen[bytes], patience: float = PATIENCE
) -> None:
    deadline = time.monotonic() + patience
    while not over():
        if process.poll() is not None:
            raise SystemExit(f"it has ended, code {process.returncode}, instead of {what}")
        if time.monotonic() > deadline:
            raise SystemExit(f"still no {what} after {patience:g} s")
        time.sleep(0.005)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def cores() -> tuple[list[str], list[str]]:
    """Return what pins servers, and what pins clients: to a core each, if there are two."""
    there = sorted(os.sched_getaffinity(0))
    if len(there) < 2 or shutil.which("taskset") is None:
        return [], []
    return ["taskset", "-c", str(there[0])], ["taskset", "-c", str(there[1])]


def closed_loop(url: str, seconds: float, core: list[str]) -> float:
    """Return the requests a second that wrk gets answered, on connections that are kept."""
    load = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", url + PATH]
    said = subprocess.run([*core, *load], capture_output=True, text=True, check=True).stdout
    for line in said.splitlines():
        if "Non-2xx" in line or "Socket errors" in line:
            sys.stderr.write(f"{url}: {line.strip()}\n")
    return float(said.partition("Requests/sec:")[2].split()[0])


def client(core: list[str], *arguments: object) -> subprocess.Popen[str]:
    words = [*core, sys.executable, str(HERE / "client.py"), *map(str, arguments)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def round_of(server: Server, options: argparse.Namespace) -> dict[str, float]:
    """Return the figures of one start."""
    ours, theirs = cores()
    with server.running(ours) as first:
        closed_loop(server.url, 1, theirs)  # first-time costs do not count
        rate = closed_loop(server.url, options.seconds, theirs)
        asking = client(theirs, "open", server.url + PATH, options.rate, options.seconds)
        open_loop = json.loads(asking.communicate()[0])
        if open_loop["wrong"]:
            raise SystemExit(f"{server.name}: {open_loop['wrong']}")
        return {
            "first_answer": first,
            "rate": rate,
            "p50_ms": open_loop["p50_ms"],
            "p99_ms": open_loop["p99_ms"],
            "pss_mb": server.memory(),
        }


def replacements(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    """Return what clients saw of so many replacements."""
    ours, theirs = cores()
    with server.running(ours):
        asking = client(theirs, "anew", server.url + "/waiting", CONNECTIONS)
        began = time.monotonic()
        done = 0
        while done < options.replacements:
            server.replace_all()
            done += server.count
        seconds = time.monotonic() - began
        found: dict[str, Any] = json.loads(asking.communicate("")[0])
        return {**found, "replacements": done, "seconds": round(seconds, 1)}


def kills(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    """Return what clients saw of so many workers killed by SIGKILL, at random moments."""
    ours, theirs = cores()
    chance = random.Random(options.kills)
    with server.running(ours):
        time.sleep(SETTLED)
        asking = client(theirs, "anew", server.url + "/waiting", CONNECTIONS)
        began = time.monotonic()
        done = 0
        while done < options.kills:
            if server.process.poll() is not None:
                raise SystemExit(f"{server.name} has given up: code {server.process.returncode}")
            time.sleep(chance.uniform(0.2, 1.6))
            there = sorted(server.workers())
            if len(there) > 1:  # who serves alone has nobody to take what is in the queue
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(there), signal.SIGKILL)
                    done += 1
        _until(lambda: len(server.workers()) == server.count, "all workers", server.process)
        seconds = time.monotonic() - began
        found: dict[str, Any] = json.loads(asking.communicate("")[0])
        return {**found, "kills": done, "seconds": round(seconds, 1)}


def is_their_own(what: str) -> bool:
    """Whether a request was lost as it was with the worker that was killed."""
    return "closed without an answer" in what or "reset by peer" in what


def report(rounds: dict[str, list[dict[str, float]]]) -> None:
    ours, *others = rounds
    peers = "".join(f" {each} | {ours} / {each} |" for each in others)
    print(f"| | {ours} |{peers} wanted of the first |")
    print("|---|---|" + "---|---|" * len(others) + "---|")
    for key, (title, wanted) in ROWS.items():
        mine = [each[key] for each in rounds[ours]]
        cells = [f"{statistics.median(mine):.4g}"]
        for other in others:
            theirs = [each[key] for each in rounds[other]]
            ratios = sorted(a / b for a, b in zip(mine, theirs, strict=True))
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            cells += [f"{statistics.median(theirs):.4g}", spread]
        print(f"| {title} | {' | '.join(cells)} | {wanted} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=--workers", description=__doc__)
    parser.add_argument("--workers", action="store_true", help="this benchmark")
    parser.add_argument("--count", type=int, default=2, help="workers; 0: one process without")
    parser.add_argument("--rounds", type=int, default=5, help="0: replacements alone")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load, of each kind")
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second, fixed load")
    parser.add_argument("--replacements", type=int, default=50, help="0: none")
    parser.add_argument("--kills", type=int, default=0, help="workers to kill with -9")
    parser.add_argument("--source", type=Path, default=ROOT, help="whose sprag")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("it needs wrk (apt-get install wrk)")
    found: dict[str, list[dict[str, float]]] = {each.name: [] for each in CONTENDERS}
    for number in range(options.rounds):
        first = number % len(CONTENDERS)
        for kind in (*CONTENDERS[first:], *CONTENDERS[:first]):
            found[kind.name].append(round_of(kind(options), options))
    if options.rounds:
        report(found)
    seen: dict[str, Any] = {}
    killed: dict[str, Any] = {}
    if options.replacements and options.count:
        for kind in (Sprag, Gunicorn):
            one = seen[kind.name] = replacements(kind(options), options)
            lost = sum(one["wrong"].values())
            print(
                f"\n{kind.name}: {one['replacements']} workers replaced in {one['seconds']} s: "
                f"{one['answered']:,} answers, {lost} lost: {one['wrong'] or 'none'}"
            )
    if options.kills and options.count:
        for kind in (Sprag, Gunicorn):
            one = killed[kind.name] = kills(kind(options), options)
            print(
                f"\n{kind.name}: {one['kills']} workers killed in {one['seconds']} s: "
                f"{one['answered']:,} answers, lost: {one['wrong'] or 'none'}"
            )
    if options.json:
        figures: dict[str, Any] = {
            "options": {**vars(options), "source": "", "json": ""},
            **found,
            "reset": seen,
            "killed": killed,
        }
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    others = [each for each in killed.get("sprag", _NONE)["wrong"] if not is_their_own(each)]
    if seen.get("sprag", _NONE)["wrong"] or others:
        sys.exit(1)


if __name__ == "__main__":
    main()
