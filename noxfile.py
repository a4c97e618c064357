"""The suite on each Python, and with the oldest of what it needs: `nox`, `nox -s tests-3.13`.

The tests that start real processes are left out; `make test` has them, on one Python.
"""

import re
import tomllib
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False  # what is not there is told, and left out

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def oldest() -> list[str]:
    """Return the requirements of pyproject.toml, each at the oldest version that is allowed."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [each for extra in sorted(extras) for each in extras[extra]]
    bound = re.compile(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)")
    return ["{}=={}".format(*found.groups()) for each in wanted if (found := bound.match(each))]


def run(session: nox.Session) -> None:
    """Run the quick tests, or what is given after --, on what is installed."""
    session.run("python", "-m", "pytest", "-q", "-m", "not slow", "-n", "auto", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run them with the newest of each."""
    session.install("-e", ".[test]")
    run(session)


@nox.session(name="oldest", python="3.11")
def with_the_oldest(session: nox.Session) -> None:
    """Run them with the oldest of each, on the oldest Python."""
    # Not into `create_tmp`: that becomes TMPDIR, in which paths are too long for sockets.
    constraints = Path(session.virtualenv.location) / "oldest.txt"
    constraints.write_text("\n".join(oldest()), encoding="utf-8")
    session.install("-e", ".[test]", "-c", str(constraints))
    run(session)
