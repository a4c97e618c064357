"""`python tests/bench`: run the benchmark in an environment of its own, made on first use.

The Python peers stay out of the environment sprag is developed in. Where they cannot be installed
(no network) the interpreter at hand measures what it can import; the table says what is missing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
# Inside the developer's environment, so that what removes the one removes the other.
PLACE = HERE.parents[1] / ".venv" / "bench"


def interpreter() -> str:
    """Return the Python of the benchmark's environment, made anew where it is out of date."""
    python = PLACE / "bin" / "python"
    made_of = hashlib.sha256(REQUIREMENTS.read_bytes() + str(PLACE).encode()).hexdigest()
    stamp = PLACE / f".made-{made_of[:12]}"
    if stamp.exists() and python.exists():
        return str(python)
    sys.stderr.write(f"set-up: the peers to compare with, into {os.path.relpath(PLACE)}\n")
    shutil.rmtree(PLACE, ignore_errors=True)
    venv.create(PLACE, with_pip=True)
    install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    done = subprocess.run([*install, "-r", str(REQUIREMENTS)], check=False)
    if done.returncode:
        sys.stderr.write("the peers could not be installed; measuring without them\n")
        return sys.executable
    stamp.touch()
    return str(python)


if __name__ == "__main__":
    for kind in ("cluster", "unread"):  # which have no peers
        if f"--{kind}" in sys.argv:
            words = [each for each in sys.argv[1:] if each != f"--{kind}"]
            os.execv(sys.executable, [sys.executable, str(HERE / kind), *words])
    python = interpreter()
    for kind in ("programs", "workers"):
        if f"--{kind}" in sys.argv:
            os.execv(python, [python, str(HERE / kind), *sys.argv[1:]])
    os.execv(python, [python, str(HERE / "run.py"), *sys.argv[1:]])
