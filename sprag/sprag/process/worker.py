"""Whether this process is a worker, one of several of an app: what its parent says of that.

Or whether it is the app below ``sprag run --reload``, which is no worker, but has its sockets from
a parent as well. Said in the environment, and taken out of it: what the user's code starts,
another ``sprag run`` say, is none.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from sprag.process.sd_notify import Notifier

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from sprag_supervisor import Failure

SLOT: Final = "SPRAG_WORKER"
GENERATION: Final = "SPRAG_GENERATION"
PATH: Final = "SPRAG_WORKER_PATH"
CONTROL: Final = "SPRAG_WORKER_CONTROL"
COUNT: Final = "SPRAG_WORKER_COUNT"
ENGINE: Final = "SPRAG_WORKER_ENGINE"
LIFE: Final = "SPRAG_WORKER_LIFE"
TOLD: Final = (SLOT, GENERATION, PATH, CONTROL, COUNT, ENGINE, LIFE)
"""The variables by which the parent says it."""
RELOADER: Final = "SPRAG_RELOADER"
"""The variable by which ``--reload`` tells the app its own process id, and how many came before."""
_PR_SET_PDEATHSIG: Final = 1


class Worker(NamedTuple):
    """A worker, as its parent has told it.

    Attributes:
        slot: Its number, from 1; the process that takes its place has the same.
        generation: Of the code it runs: one more with each replacement of all.
        path: What its root is called: ``shop/worker-2``.
        control: Where its control socket is to be; None: it has none.
        workers: How many workers there are.
        engine: Where that is asked what they agree on; None: nowhere.
        life: What this process is known by there, and to nobody else.
    """

    slot: int
    generation: int
    path: str
    control: str | None
    workers: int = 1
    engine: str | None = None
    life: str = ""

    @property
    def app(self) -> str:
        """What the app is called, by the parent and by all workers."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """What it is called among them: ``worker-2``."""
        return self.path.rpartition("/")[2]


_told: Final[list[Worker]] = []  # one, if this is a worker
_reloads: Final[list[int]] = []  # one number, if this is the app below --reload


def take_up(environ: MutableMapping[str, str] = os.environ) -> None:
    """Learn whether this is a worker, and take what says so out of the environment."""
    said = {name: environ.pop(name, "") for name in TOLD}
    slot, generation = said[SLOT], said[GENERATION]
    if slot.isdecimal() and generation.isdecimal() and said[PATH]:
        count = int(said[COUNT]) if said[COUNT].isdecimal() else 1
        where = said[CONTROL] or None
        engine = said[ENGINE] or None
        _told[:] = [
            Worker(int(slot), int(generation), said[PATH], where, count, engine, said[LIFE])
        ]
    parent, _, number = environ.pop(RELOADER, "").partition(":")
    if parent.isdecimal() and number.isdecimal():
        _reloads[:] = [int(number)]
        _end_with(int(parent))


def worker() -> Worker | None:
    """Return which worker this process is; None: none."""
    return _told[-1] if _told else None


def reloads() -> int | None:
    """Return the how manieth process of the app below ``--reload`` this is, from 1; None: none."""
    return _reloads[-1] if _reloads else None


def has_its_sockets() -> bool:
    """Whether a parent, of workers or of ``--reload``, has opened the sockets, and keeps them."""
    return bool(_told or _reloads)


def _end_with(parent: int) -> None:
    """Be killed when *parent* ends, or now if it has."""
    import ctypes  # who runs without --reload loads none

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def tell_why(reason: str) -> bool:
    """Tell the parent why this worker does not come up, or ends; return whether there is one."""
    return bool(_told) and Notifier().error(reason)


def place_of(failure: Failure) -> str:
    """Return the file and line at which an exception has arisen, as near as may be to the app's."""
    while failure.cause is not None and not failure.frames:
        failure = failure.cause
    here = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 - names of code are text
    places = [(code.co_filename, line) for code, line in failure.frames]
    ours = [each for each in places if each[0].startswith(here)]
    for name, line in (ours or places)[-1:]:
        return f"{name.removeprefix(here)}:{line}"
    return ""


def forget() -> None:
    """Be none, in a forked child."""
    _told.clear()
    _reloads.clear()


os.register_at_fork(after_in_child=forget)
