"""What the Python contenders share: the command line, the clock, memory, the crash that is thrown.

A contender is run as `python -m contenders.x_bench CASE N COUNT`. It measures one case in a fresh
process and writes one line of JSON: `{"metrics": {name: number}, "version": text}`, or
`{"skip": reason}` where it cannot do the case. A case that breaks ends the process with a
traceback; the runner shows its last line.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Case = Callable[[int, int], "Metrics"]  # (n, count)

Metrics = dict[str, float]

MICRO: Final = 1e6
MILLI: Final = 1e3
WARM_UP: Final = 200
HOUR: Final = 3600.0

clock: Final = time.perf_counter


class SkipCase(Exception):
    """The contender has nothing that does this case; the text says why."""


class Boom(Exception):
    """What a crashing service raises."""


def rss() -> int:
    """Return the resident memory of this process in bytes, after a full collection."""
    gc.collect()
    try:
        statm = Path("/proc/self/statm").read_text()
        return int(statm.split()[1]) * resource.getpagesize()
    except FileNotFoundError:  # no /proc: the peak, which is the same while memory only grows
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def life(n: int, started: float, before: int, after: int, stopped: float) -> Metrics:
    """Return the figures of n services that were started and stopped: seconds in, µs each out."""
    return {
        "start_us": started / n * MICRO,
        "bytes": (after - before) / n,
        "stop_us": stopped / n * MICRO,
    }


def greenlets() -> int:
    """Count the living greenlets besides this one and its hub."""
    import greenlet  # not every contender has it

    return sum(isinstance(o, greenlet.greenlet) and bool(o) for o in gc.get_objects()) - 2


def nowhere() -> TextIO:
    """Open what swallows all that is written: the price of logs without a terminal."""
    return Path(os.devnull).open("w")


def spread(count: int, n: int) -> list[int]:
    """Return `count` different places, spread evenly over `n`."""
    return [i * n // count for i in range(count)]


def typical(call: Callable[[Any], object], things: Sequence[Any], parts: int = 20) -> float:
    """Return the typical µs of `call(thing)`, made for all things in their order.

    The median over so many parts: a full garbage collection in one of them is amortised over all
    that was made before, and says nothing about the call.
    """
    size = max(1, len(things) // parts)
    times: list[float] = []
    for at in range(0, len(things) - size + 1, size):
        part = things[at : at + size]
        began = clock()
        for thing in part:
            call(thing)
        times.append((clock() - began) / size * MICRO)
    return statistics.median(times)


def per_call(batch: Callable[[int], float], count: int, batches: int = 7) -> float:
    """Return the median µs per call; `batch(count)` makes the calls and returns the seconds."""
    batch(max(1, count // 10))
    return statistics.median(batch(count) for _ in range(batches)) / count * MICRO


def bare_call(count: int) -> float:
    """Return what a plain method call in a loop costs here, in µs: the yardstick for `emit`."""

    class Plain:
        def hear(self, data: object) -> None:
            pass

    plain = Plain()

    def batch(calls: int) -> float:
        began = clock()
        for _ in range(calls):
            plain.hear(1)
        return clock() - began

    return per_call(batch, count)


def import_ms(statement: str, beyond: str, repeats: int = 7) -> Metrics:
    """Time an import in clean interpreters that have imported the module `beyond` already.

    The statement names what a first program needs, so that a package whose names are loaded lazily
    shows its price.
    """
    code = (
        f"import time, {beyond}; began = time.perf_counter(); {statement}; "
        "print(time.perf_counter() - began)"
    )

    def once() -> float:
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        return float(done.stdout) * MILLI

    once()  # writes the .pyc files
    return {"import_ms": statistics.median(once() for _ in range(repeats))}


def command_ms(*arguments: str, repeats: int = 7) -> float:
    """Time a whole `python ARGUMENTS` process, start to end, in milliseconds."""

    def once() -> float:
        began = clock()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return (clock() - began) * MILLI

    once()
    return statistics.median(once() for _ in range(repeats))


def check(expected: object, actual: object, what: str) -> None:
    """End the measurement when the work was not done: a fast wrong answer is none."""
    if expected != actual:
        raise AssertionError(f"{what}: {expected!r} expected, {actual!r} found")


def version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def not_installed(distribution: str) -> NoReturn:
    """End here: there is nothing to measure."""
    answer({"skip": f"{distribution} is not installed"})


def answer(line: Mapping[str, object]) -> NoReturn:
    """Write the line the runner waits for, and end."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what 100,000 greenlets do while an interpreter ends is nobody's figure


def main(cases: Mapping[str, Case], versions: Callable[[], str]) -> None:
    """Run the one case that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", help=f"one of: {', '.join(cases)}")
    parser.add_argument("n", type=int, help="services (or intervals, or nodes)")
    parser.add_argument("count", type=int, nargs="?", default=100, help="crashes, or calls")
    arguments = parser.parse_args()
    try:
        if arguments.case not in cases:
            raise SkipCase("has no such case")
        metrics = cases[arguments.case](arguments.n, arguments.count)
    except SkipCase as skip:
        answer({"skip": str(skip)})
    answer({"metrics": metrics, "version": versions()})
