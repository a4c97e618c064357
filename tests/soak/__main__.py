"""`python tests/soak`: run for a long time, with something new every time, and look for faults.

Each soak is a function that runs for so many seconds, raises or exits on a fault, and returns
a line about what it has done. `make soak ARGS="--minutes 90"` takes an hour and a half in all,
`make soak ARGS="--minutes 20 process"` does only the first, for twenty minutes.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypothesis.stateful import RuleBasedStateMachine

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))  # as pytest does for the suite


def said_by(script: str, *arguments: str) -> str:
    """Run a script of the tests; return what it has printed, or end with it if that fails."""
    command = [sys.executable, str(TESTS / script), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout}{' '.join(command)}: exit code {done.returncode}")
    return done.stdout.strip()


def soak_lifecycle(seconds: float, choices: random.Random) -> str:
    """Compare the engine with its model, in random stories."""
    from lifecycle.machine import LifecycleMachine

    for rounds, number in _numbers(seconds, choices):
        LifecycleMachine.looks_for_leaks = rounds % 10 == 0
        _tell(LifecycleMachine, number, 500 if LifecycleMachine.looks_for_leaks else 5000)
    return f"{LifecycleMachine.steps:,} steps"


def soak_machine(seconds: float, choices: random.Random) -> str:
    """Compare whole trees with the model of OTP's rules, in random stories."""
    from machine.test_machine import Machine

    for _, number in _numbers(seconds, choices):
        _tell(Machine, number, 5000)
    return f"{Machine.steps:,} steps"


def _numbers(seconds: float, choices: random.Random) -> Iterator[tuple[int, int]]:
    """Yield the number of each round, from 1, and a seed for it, until the time is over."""
    logging.getLogger("sprag").setLevel(logging.CRITICAL + 1)
    end = time.monotonic() + seconds
    for rounds in itertools.count(1):
        if time.monotonic() >= end:
            return
        number = choices.getrandbits(32)
        print(f"  seed {number}", end="\r", flush=True)
        yield rounds, number


def _tell(machine: type[RuleBasedStateMachine], number: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    from lifecycle.profile import seeded, settings_for

    run_state_machine_as_test(seeded(machine, number), settings=settings_for(steps, is_random=True))


def soak_process(seconds: float, choices: random.Random) -> str:
    """Run a deep tree under everything that can go wrong, in a process of its own."""
    seed = str(choices.getrandbits(32))
    return said_by("soak/process.py", "--seconds", str(seconds), "--seed", seed)


def soak_differential(seconds: float, choices: random.Random) -> str:
    """Compare sprag with a real OTP, on trees and operations nobody has seen before."""
    if shutil.which("escript") is None:
        return "left out: Erlang/OTP is not installed (erlang-base)"
    seed = str(choices.getrandbits(30))
    return said_by("differential/soak.py", "--minutes", str(seconds / 60), "--seed", seed)


def soak_faults(seconds: float, choices: random.Random) -> str:
    """Plant errors in the engine, at other places than the suite does."""
    from faults.planting import Planted
    from faults.stories import STORIES
    from faults.test_faults import happens_at, places

    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        name = choices.choice(list(STORIES))
        for place in places(name, choices):
            for error in (Planted, KeyboardInterrupt)[: 2 if place.event == "line" else 1]:
                count += 1
                if faults := happens_at(place, name, error):
                    raise SystemExit(f"in the story {name!r}: {faults[0]}")
    return f"{count:,} errors planted"


def soak_gevent(seconds: float, choices: random.Random) -> str:
    """Run gevent's own tests in a service, over and over: their timing is what differs."""
    from reliability.gevents_own import DIFFERENT

    until, rounds = time.monotonic() + seconds, 0
    while not rounds or time.monotonic() < until:
        different = said_by("reliability/gevents_own.py").splitlines()
        if surprises := sorted(set(different) - set(DIFFERENT)):
            raise SystemExit(f"gevent: different in a service: {', '.join(surprises)}")
        rounds += 1
    return f"{rounds} rounds of gevent's own tests"


def soak_workers(seconds: float, choices: random.Random) -> str:
    """Kill who works once, and replace workers under load; half of the time each."""
    from soak import fleet

    deaths = fleet.once(seconds / 2, choices)
    return f"{deaths}; {fleet.kept(max(seconds / 2, 30.0))}"


def soak_cluster(seconds: float, choices: random.Random) -> str:
    """Do random faults to nodes on real engines; a third of the time on each engine."""
    from pytest import skip  # noqa: PT013 - no test

    from cluster.campaign import campaign, two_primaries
    from servers import KINDS

    each = max(seconds / len(KINDS), 60.0)
    said: list[str] = []
    for kind in KINDS:
        seed = choices.getrandbits(30)
        try:
            said.append(campaign(kind, seed, faults=FAULTS // len(KINDS), seconds=each))
        except skip.Exception as skipped:
            said.append(f"left out: {skipped}")
        else:
            if kind == "postgres":
                said.append(two_primaries())
    return "; ".join(said)


FAULTS = 1_000
"""Done to nodes of a cluster, at most."""
SOAKS: dict[str, Callable[[float, random.Random], str]] = {
    "process": soak_process,
    "lifecycle": soak_lifecycle,
    "machine": soak_machine,
    "differential": soak_differential,
    "faults": soak_faults,
    "gevent": soak_gevent,
    "workers": soak_workers,
    "cluster": soak_cluster,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="for all together (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each time")
    parser.add_argument("soaks", nargs="*", metavar="SOAK", help=f"of: {', '.join(SOAKS)}")
    options = parser.parse_args()
    unknown = set(options.soaks) - set(SOAKS)
    if unknown:
        parser.error(f"no such soak: {', '.join(sorted(unknown))}")
    first = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    chosen = options.soaks or list(SOAKS)
    minutes = options.minutes / len(chosen)
    for name in chosen:
        print(f"{name}, seed {first}, {minutes:.1f} minutes", flush=True)
        print(f"{name}: {SOAKS[name](minutes * 60, random.Random(first))}", flush=True)


if __name__ == "__main__":
    main()
