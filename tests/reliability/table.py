"""Print the table of docs/reliability.md: what became of each bad service.

python tests/reliability/table.py
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reliability.bad_services import BAD, attempt


def main() -> int:
    """Run them, two at a time, and print one row each."""
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


if __name__ == "__main__":
    sys.exit(main())
