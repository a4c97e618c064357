"""Measure how an app gets on in a storm of crashes whose log nobody reads.

`python tests/bench/unread`; README.md beside this file says what each row is.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from controlled import ask
from processes import app, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processes import Process

SIZES: Final = (100, 1_000)
CRASHES: Final = 10_000
APP: Final = """
SERVICES, CRASHES = %d, %d

class Mortal(Service):
    def on_start(self):
        self.listen("storm", self.die)

    def die(self, _):
        raise ValueError("storm")


class Storm(Service):
    def run(self):
        for _ in range(SERVICES):
            mortals.start_child(Mortal())
        say("ready")
        while not os.path.exists("begin"):
            gevent.sleep(0.02)
        for _ in range(CRASHES // SERVICES):
            self.emit("storm")
            while mortals.count_children().active < SERVICES:
                gevent.sleep(0.001)


mortals = DynamicSupervisor(max_restarts=10**9)
app = App(name="shop", providers={"mortals": mortals, "storm": Storm()})
"""


def told(process: Process) -> tuple[int, int]:
    """Return how many crashes the app tells of, and how many records it has dropped."""
    status, tree = ask(process.socket(), "GET", "/v1/tree")
    assert status == 200, tree
    mortals = next(each for each in tree["children"] if each["name"] == "mortals")
    return sum(each["restarts"] for each in mortals["children"]), tree["log_queue"]["dropped"]


def tree(process: Process) -> None:
    """Look at the tree as an operator does."""
    command = [sys.executable, "-m", "sprag_cli", "tree"]
    environ = {**os.environ, "SPRAG_RUNTIME_DIR": str(process.runtime)}
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)


def timed(times: list[float], what: Any, process: Process) -> Any:
    began = time.perf_counter()
    answer = what(process)
    times.append((time.perf_counter() - began) * 1e3)
    return answer


def one_round(services: int, answers: list[float], commands: list[float]) -> tuple[int, float]:
    """Let the storm pass once; return the records dropped, and the seconds that the stop took."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        app(folder, APP % (services, CRASHES))
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        process = stack.enter_context(run(folder, stderr=writing))
        os.close(writing)
        process.says("ready")
        told(process)  # once for what is only imported now
        (folder / "begin").touch()
        crashes = dropped = 0
        while crashes < CRASHES:
            crashes, dropped = timed(answers, told, process)
            if len(answers) % 10 == 0 and crashes < CRASHES:
                timed(commands, tree, process)
        began = time.perf_counter()
        process.send(signal.SIGTERM)
        process.ends()
        return dropped, time.perf_counter() - began


def percentile(times: Sequence[float], of_100: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[of_100 - 1]


def measure(services: int, rounds: int) -> bool:
    """Print the rows of one size; return whether what was dropped was told every time."""
    answers: list[float] = []
    commands: list[float] = []
    ends = [one_round(services, answers, commands) for _ in range(rounds)]
    print(f"{CRASHES:,} crashes of {services:,} services, {rounds} rounds; nobody reads the log")
    print(
        f"  answer      {statistics.median(answers):6.0f} ms, 95 of 100 within"
        f" {percentile(answers, 95):.0f} ms, worst {max(answers):.0f} ms of {len(answers)}"
    )
    print(
        f"  sprag tree  {statistics.median(commands):6.0f} ms,"
        f" worst {max(commands):.0f} ms of {len(commands)}"
    )
    print(f"  dropped     {min(dropped for dropped, _ in ends):6,} records at least")
    print(f"  stop        {max(stop for _, stop in ends) * 1e3:6.0f} ms at most")
    return all(dropped for dropped, _ in ends)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    are_told = [measure(services, rounds) for services in SIZES]
    return 0 if all(are_told) else 1


if __name__ == "__main__":
    sys.exit(main())
