"""`make bench ARGS=--programs`: programs under sprag, supervisord and honcho, side by side.

All are watched from outside, by what the kernel tells of the manager and its children, and take
turns within each round, so that a machine that gets busier hits all alike. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

SOURCES = [str(Path(__file__).parents[3] / name) for name in ("supervisor", "sprag", "cli")]
BIN = Path(sys.executable).parent
LINES = 200_000
LINE = 100
AT_REST = 2.0
"""Seconds from the writer's first line to the others: the manager's own start is another row."""
QUIET = 1.0
WRITER = f"""
import os, time
os.write(1, b"begin\\n")
time.sleep({AT_REST})
for first in range(0, {LINES}, 100):
    os.write(1, b"".join(b"%0{LINE - 1}d\\n" % n for n in range(first, first + 100)))
open("done", "w").close()
"""
SLEEPER = "sleep"
PATIENCE = 60.0


class Manager:
    """One of those that are compared: how it is told what to run, and started."""

    name = ""
    restarts = True

    def command(self, directory: Path, count: int) -> list[str]:
        """Write its configuration for so many sleepers; return what starts it."""
        raise NotImplementedError

    def writer(self, directory: Path, out: Path) -> list[str]:
        """The same for one program that writes, into a file."""
        raise NotImplementedError


class Sprag(Manager):
    name = "sprag"

    def command(self, directory: Path, count: int) -> list[str]:
        (directory / "app.py").write_text(
            "from sprag import App, Program\n"
            f"app = App(name='bench', max_restarts=10**9, providers={{f'p{{n}}': "
            f"Program(['{SLEEPER}', '1000'], needs=()) for n in range({count})}})\n"
        )
        return [str(sys.executable), "-m", "sprag_cli", "run", "app:app", "--log-level", "warning"]

    def writer(self, directory: Path, out: Path) -> list[str]:
        self._write(directory, f"output={str(out)!r}")
        return [str(sys.executable), "-m", "sprag_cli", "run", "app:app", "--log-level", "warning"]

    def _write(self, directory: Path, more: str) -> None:
        (directory / "app.py").write_text(
            "from sprag import App, Program\n"
            f"app = App(name='bench', providers={{'w': Program([{sys.executable!r}, '-S', "
            f"'writer.py'], restart='transient', {more})}})\n"
        )


class SpragLog(Sprag):
    """Each line a JSON record in the log."""

    name = "sprag, as log records"

    def writer(self, directory: Path, out: Path) -> list[str]:
        self._write(directory, "output_limit=10**9")
        run = f"exec {sys.executable} -m sprag_cli run app:app --log-format json 2> {out}"
        return ["sh", "-c", run]


class Supervisord(Manager):
    name = "supervisord"

    def command(self, directory: Path, count: int) -> list[str]:
        self._write(
            directory,
            f"[program:p]\ncommand={SLEEPER} 1000\nprocess_name=p%(process_num)d\n"
            f"numprocs={count}\nstartsecs=0\nautorestart=true\n",
        )
        return [str(BIN / "supervisord"), "-n", "-c", "supervisord.conf"]

    def writer(self, directory: Path, out: Path) -> list[str]:
        self._write(
            directory,
            f"[program:w]\ncommand={sys.executable} -S writer.py\nstartsecs=0\n"
            f"autorestart=false\nstdout_logfile={out}\nstdout_logfile_maxbytes=0\n",
        )
        return [str(BIN / "supervisord"), "-n", "-c", "supervisord.conf"]

    @staticmethod
    def _write(directory: Path, programs: str) -> None:
        (directory / "supervisord.conf").write_text(
            f"[supervisord]\nlogfile={directory}/main.log\npidfile={directory}/pid\n"
            f"childlogdir={directory}\nminfds=4096\n\n{programs}"
        )


class Honcho(Manager):
    name = "honcho"
    restarts = False

    def command(self, directory: Path, count: int) -> list[str]:
        lines = [f"p{n}: exec {SLEEPER} 1000" for n in range(count)]
        (directory / "Procfile").write_text("\n".join(lines) + "\n")
        return [str(BIN / "honcho"), "start"]

    def writer(self, directory: Path, out: Path) -> list[str]:
        (directory / "Procfile").write_text(f"w: exec {sys.executable} -S writer.py\n")
        return ["sh", "-c", f"exec {BIN / 'honcho'} start > {out}"]


MANAGERS = (Sprag(), SpragLog(), Supervisord(), Honcho())


@contextmanager
def running(
    manager: Manager, words: list[str], directory: Path
) -> Generator[subprocess.Popen[bytes]]:
    """Start a manager; whatever happens, nothing of it is left."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(SOURCES),
        "SPRAG_RUNTIME_DIR": str(directory / "run"),
    }
    process = subprocess.Popen(
        words,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        subprocess.run(["pkill", "-9", "-f", f"{SLEEPER} 1000"], check=False)


def sleepers(pid: int) -> set[int]:
    """Return those of a manager's children, and theirs, that sleep."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        with suppress(OSError):
            for child in map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split()):
                waiting.append(child)
                with suppress(OSError):
                    if Path(f"/proc/{child}/comm").read_text().strip() == SLEEPER:
                        found.add(child)
    return found


def until(condition: Callable[[], bool]) -> float:
    """Wait for a condition; return the seconds that took."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > PATIENCE:
            raise TimeoutError
        time.sleep(0.0005)
    return time.perf_counter() - began


def memory(pid: int) -> float:
    """Return the memory of a process that is its own, in MB (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(pid)


def processor(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def scheduled(pid: int) -> float:
    """Return the same to the nanosecond, of all its threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def lives(manager: Manager, count: int, kills: int, rest: float) -> dict[str, float]:
    """Measure a manager of so many sleepers."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        words = manager.command(directory, count)
        with running(manager, words, directory) as process:
            found["start"] = until(lambda: len(sleepers(process.pid)) >= count)
            time.sleep(1.5)
            if manager.restarts:
                times = [_restart(process.pid, count) for _ in range(kills)]
                found["restart"] = statistics.median(times)
                found["restart p99"] = sorted(times)[min(len(times) - 1, len(times) * 99 // 100)]
            used = processor(process.pid)
            time.sleep(rest)
            found["cpu at rest"] = (processor(process.pid) - used) / rest
            found["memory"] = memory(process.pid)
            began = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            found["stop"] = time.perf_counter() - began
    return found


def _restart(pid: int, count: int) -> float:
    before = sleepers(pid)
    os.kill(next(iter(before)), signal.SIGKILL)
    seconds = until(lambda: bool(sleepers(pid) - before))
    until(lambda: len(sleepers(pid)) >= count)
    return seconds


def lines(manager: Manager) -> dict[str, float]:
    """Return how many lines a second go through a manager, and what each million costs it."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "writer.py").write_text(WRITER)
        out = directory / "out"
        with running(manager, manager.writer(directory, out), directory) as process:
            until(lambda: out.exists() and b"begin" in out.read_bytes())
            time.sleep(AT_REST / 2)
            first, used = out.stat().st_size, scheduled(process.pid)
            until(lambda: out.stat().st_size > first)
            seconds = _until_quiet(out, directory / "done")
            used = scheduled(process.pid) - used
        there = out.read_bytes().count(b"0" * (LINE // 2))
    return {"lines": there / seconds, "cpu of lines": used / there * 1e6}


def _until_quiet(out: Path, done: Path) -> float:
    """Wait until a file does not grow any more; return the seconds until it had not."""
    began = grown = time.perf_counter()
    size = 0
    while not done.exists() or time.perf_counter() - grown < QUIET:
        if (now := out.stat().st_size) != size:
            size, grown = now, time.perf_counter()
        if time.perf_counter() - began > PATIENCE:
            raise TimeoutError
        time.sleep(0.0005)
    return grown - began


ROWS = {
    "start": ("start of all", "s", False),
    "restart": ("restart after kill -9", "s", False),
    "restart p99": ("the same, p99", "s", False),
    "stop": ("stop of all", "s", False),
    "lines": ("lines a second into a file", "", True),
    "cpu of lines": ("CPU of the manager for a million of them", "s", False),
    "memory": ("memory at rest (PSS)", "MB", False),
    "cpu at rest": ("CPU at rest", "of a core", False),
}


def main() -> None:
    """Measure, and print a table of medians with ratios to sprag."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=--programs", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="programs [200]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds [3]")
    parser.add_argument("--kills", type=int, default=50, help="restarts in a round [50]")
    parser.add_argument("--rest", type=float, default=5.0, help="seconds of rest [5]")
    parser.add_argument("--lines", action="store_true", help="only what is written")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args([each for each in sys.argv[1:] if each != "--programs"])
    needed = {"supervisord": BIN / "supervisord", "honcho": BIN / "honcho"}
    managers = [each for each in MANAGERS if needed.get(each.name, Path("/")).exists()]
    figures: dict[str, dict[str, list[float]]] = {each.name: {} for each in managers}
    for number in range(options.rounds):
        for manager in managers:
            sys.stderr.write(f"round {number + 1}: {manager.name}\n")
            measured = lines(manager)
            if not isinstance(manager, SpragLog) and not options.lines:
                measured |= lives(manager, options.count, options.kills, options.rest)
            for row, figure in measured.items():
                figures[manager.name].setdefault(row, []).append(figure)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    _print(
        {
            name: {row: statistics.median(all_) for row, all_ in rows.items()}
            for name, rows in figures.items()
        },
        options.count,
    )


def _print(medians: dict[str, dict[str, float]], count: int) -> None:
    print(f"{count} programs; medians, and sprag's figure over theirs in brackets\n")
    print("| row |" + "".join(f" {name} |" for name in medians))
    print("|---|" + "---|" * len(medians))
    ours = medians["sprag"]
    for row, (title, unit, more_is_better) in ROWS.items():
        cells: list[str] = []
        for name, rows in medians.items():
            if row not in rows:
                cells.append("-")
                continue
            text = f"{rows[row]:,.0f}" if more_is_better else f"{rows[row]:.4g}"
            ratio = "" if name == "sprag" or not rows[row] else f" ({ours[row] / rows[row]:.2f})"
            cells.append(f"{text}{ratio}")
        print(f"| {title}{', ' + unit if unit else ''} |" + "".join(f" {each} |" for each in cells))


if __name__ == "__main__":
    if shutil.which("pkill") is None:
        sys.exit("it needs pkill, of Debian's procps")
    main()
