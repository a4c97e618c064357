"""Print the tables of docs/reliability.md: what became of each bad service, and bad program.

python tests/reliability/table.py
"""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

os.environ.setdefault("SPRAG_BAD_PROGRAMS_SHARE", "1")

from reliability.bad_programs import CASES, attempt_case
from reliability.bad_services import BAD, attempt


def programs() -> int:
    """Run the bad programs, one app after another."""
    print("| a program that … | the app | exit code |")
    print("|---|---|---|")
    wrong = 0
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as directory:
            outcome = attempt_case(case, Path(directory))
        for row in case.rows:
            print(f"| {row.does} | {row.then} | {shown(outcome.code)} |")
        if outcome.code != case.code:
            wrong = 1
            print(f"{name}: expected {case.code}\n{outcome.err}", file=sys.stderr)
    return wrong


def shown(code: int) -> str:
    """Return an exit code as the table has it."""
    return str(code) if code >= 0 else "killed"


def services() -> int:
    """Run the bad services, two at a time."""
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(2) as pool:
        found = [pool.submit(attempt, bad, Path(directory) / name) for name, bad in BAD.items()]
        outcomes = dict(zip(BAD, [each.result() for each in found], strict=True))
        print("| a service that … | the app | exit code | seconds |")
        print("|---|---|---|---|")
        for name, bad in BAD.items():
            outcome = outcomes[name]
            seconds = f"{outcome.seconds:.1f}" if bad.asked else "by itself"
            print(f"| {bad.does} | {bad.then} | {outcome.code} | {seconds} |")
        wrong = [name for name, bad in BAD.items() if outcomes[name].code != bad.code]
        for name in wrong:
            print(f"{name}: expected {BAD[name].code}\n{outcomes[name].err}", file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    """Run them all, and print one row each."""
    return services() | programs()


if __name__ == "__main__":
    sys.exit(main())
