"""What the workers of an app are: how many, of which command line, with what around them."""

from __future__ import annotations

import math
import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sprag.process.worker import CONTROL, COUNT, ENGINE, GENERATION, LIFE, PATH, SLOT, TOLD
from sprag.programs.env_file import read_env_file
from sprag.programs.exceptions import CannotRun

if TYPE_CHECKING:
    from collections.abc import Mapping

MARGIN: Final = 2.0
"""Seconds that a worker may take for its stop beyond what it gives its own tree."""
FOR_ONE_ALONE: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)
"""Variables that a service manager means for the process it has started, not for its children."""
_CPU_MAX: Final = "cpu.max"
_CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The workers of an app.

    Attributes:
        name: The app's.
        count: How many.
        words: The command line of each.
        cwd: Where it is run, as it was given: what a symlink points to is looked at each time.
        env_file: Read at each start, over our environment; None: none.
        sockets: Descriptors that all of them have, …
        socket_names: … and what each is called.
        sockets_outlive_us: Whoever has started us keeps one of them for who comes after us.
        control: Where their control sockets are; None: they have none.
        engine: Where they ask what they agree on; None: nowhere.
        watchdog: Seconds within which a worker has to show that its loop turns.
        shutdown: Seconds that a worker gives its own tree for the stop.
        max_lifetime: Seconds after which a worker is replaced, give or take a tenth; None: never.
        max_memory: Bytes of resident memory above which it is; None: never.
    """

    name: str
    count: int
    words: tuple[str, ...]
    cwd: Path
    env_file: Path | None = None
    sockets: tuple[int, ...] = ()
    socket_names: tuple[str, ...] = ()
    sockets_outlive_us: bool = False
    control: Path | None = None
    engine: Path | None = None
    watchdog: float
    shutdown: float
    max_lifetime: float | None = None
    max_memory: int | None = None

    @property
    def budget(self) -> float:
        """Seconds after which a worker that was asked to end is killed."""
        return self.shutdown + MARGIN

    def environment(
        self, slot: int, generation: int, serial: int, ours: Mapping[str, str] = os.environ
    ) -> dict[str, str]:
        """Return what a worker finds in its environment, but for what its sockets need.

        Raises:
            CannotRun: The env file cannot be read.
            BadEnvFile: A line of it is none.
        """
        not_theirs = {*FOR_ONE_ALONE, *TOLD}
        found = {name: value for name, value in ours.items() if name not in not_theirs}
        if self.env_file is not None:
            try:
                found.update(read_env_file(self.cwd / self.env_file))
            except OSError as error:
                why = f"its env file, {self.env_file}: {error.strerror or error}"
                raise CannotRun("a worker", why) from None
        found[SLOT], found[GENERATION] = str(slot), str(generation)
        found[PATH] = f"{self.name}/{called(slot)}"
        if self.control is not None:
            found[CONTROL] = str(self.control_of(slot, serial))
        found[COUNT] = str(self.count)
        if self.engine is not None:
            found[ENGINE], found[LIFE] = str(self.engine), secrets.token_hex(16)
        if self.sockets:
            found["LISTEN_FDNAMES"] = ":".join(self.socket_names)
        found["WATCHDOG_USEC"] = str(int(self.watchdog * 1e6))
        return found

    def control_of(self, slot: int, serial: int) -> Path:
        """Return where the control socket of a worker's process is, if it has one."""
        assert self.control is not None
        return self.control / f"{slot}.{serial}"


def called(slot: int) -> str:
    """Return the name of a worker."""
    return f"worker-{slot}"


def same_command() -> tuple[str, ...]:
    """Return our own command line, as it was given: by a symlink, it is the newest release's."""
    return (sys.executable or "python3", *sys.orig_argv[1:])


def same_directory(ours: Mapping[str, str] = os.environ) -> Path:
    """Return where we are, as whoever has started us calls it."""
    here = Path.cwd()
    with suppress(OSError, ValueError):
        given = Path(ours.get("PWD", ""))
        if given.is_absolute() and given.samefile(here):
            return given
    return here


def cores() -> int:
    """Return how many cores we may run on: by affinity, and by the quota of our cgroup."""
    allowed = len(os.sched_getaffinity(0))
    quota = min(map(_quota, _cgroup_and_above()), default=math.inf)
    return max(min(allowed, math.ceil(quota) if quota < math.inf else allowed), 1)


def _cgroup_and_above() -> list[Path]:
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, _controllers, path = line.split(":", 2)
            if number == "0":
                inner = _CGROUPS / path.lstrip("/")
                return [each for each in (inner, *inner.parents) if each.is_relative_to(_CGROUPS)]
    except (OSError, ValueError):
        pass
    return [_CGROUPS]


def _quota(group: Path) -> float:
    """Return the cores that a cgroup grants; infinity: as many as there are."""
    try:
        most, period = (group / _CPU_MAX).read_text().split()
        return math.inf if most == "max" else int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
