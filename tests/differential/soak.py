"""Compare sprag and OTP for as long as you like, with scenarios nobody has seen before.

::

    python tests/differential/soak.py --scenarios 5000
    python tests/differential/soak.py --minutes 10
    python tests/differential/soak.py --seed 17 --scenarios 1
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from differential.compare import Oracle, Tally, compare_seeds


def run(
    *, scenarios: int | None = None, minutes: float | None = None, seed: int | None = None
) -> Tally:
    """Compare so many scenarios, or for so long; print the seed, and what differs.

    Args:
        scenarios: How many; None for as many as fit into *minutes*.
        minutes: How long; None for as long as it takes.
        seed: Of the first scenario; the next have the next seeds. None for a random one.
    """
    logging.getLogger("sprag").setLevel(logging.CRITICAL + 1)  # thousands of planned crashes
    if seed is None:
        seed = random.randrange(10**9)
    print(f"differential: the first seed is {seed}", flush=True)
    until = None if minutes is None else time.monotonic() + 60 * minutes
    seeds = count(seed) if scenarios is None else range(seed, seed + scenarios)
    with Oracle() as oracle:
        tally = compare_seeds(
            oracle, seeds, goes_on=lambda: until is None or time.monotonic() < until
        )
    for each, verdict in tally.differing:
        print(f"\nScenario {each} differs; made small, for regressions/ if sprag is wrong:")
        print(verdict)
    print(tally, flush=True)
    return tally


def main() -> int:
    """Return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenarios", type=int, help="how many; default: 5000, or what fits")
    parser.add_argument("--minutes", type=float, help="how long at most")
    parser.add_argument("--seed", type=int, help="of the first scenario; default: random")
    given = parser.parse_args()
    scenarios = given.scenarios
    if scenarios is None and given.minutes is None:
        scenarios = 5000
    tally = run(scenarios=scenarios, minutes=given.minutes, seed=given.seed)
    return 1 if tally.differing else 0


if __name__ == "__main__":
    sys.exit(main())
