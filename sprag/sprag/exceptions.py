"""All errors of sprag; each is a `SpragError` and carries the facts as attributes.

Those of the engine, those of a cluster, and what can go wrong with what only the library knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag.cluster import exceptions as _cluster
from sprag.cluster.exceptions import *  # noqa: F403
from sprag_supervisor import SpragFieldsError, choices, module_name, qualified_name
from sprag_supervisor import exceptions as _engine
from sprag_supervisor.exceptions import *  # noqa: F403

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__: list[str] = [
    "BadSocket",
    "CannotListen",
    "MaxChildren",
    "NoSocket",
    "NoThread",
    "PoisonItem",
    "ProbeFailed",
    "QueueFull",
    "TaskCancelled",
    "TaskTimeout",
    "UnknownService",
    "WrongKind",
]
__all__ += _engine.__all__
__all__ += _cluster.__all__


class BadSocket(SpragFieldsError):
    """A socket that the process was started with is of no use.

    Attributes:
        said: What names it: ``LISTEN_FDS=2``.
        number: Of its descriptor; None: the variables are wrong.
        problem: What it is.
        remedy: What to do.
    """

    said: str
    number: int | None
    problem: str
    remedy: str

    def __init__(self, said: str, number: int | None, problem: str, remedy: str) -> None:
        super().__init__(said=said, number=number, problem=problem, remedy=remedy)

    def _message(self) -> str:
        which = "" if self.number is None else f": descriptor {self.number}"
        return f"{self.said}{which} {self.problem} — {self.remedy}"


class CannotListen(SpragFieldsError, OSError):
    """There is no socket to be had at an address: the port is taken, say."""

    address: str
    reason: str
    remedy: str
    _template = "cannot listen on {address}: {reason} — {remedy}"

    def __init__(self, address: str, reason: str, remedy: str) -> None:
        super().__init__(address=address, reason=reason, remedy=remedy)


class NoThread(SpragFieldsError, RuntimeError):
    """The system gives this process no more native threads."""

    reason: str
    _template = (
        "no native thread can be started: {reason} — raise the user's limit (ulimit -u) or the "
        "container's (pids.max)"
    )

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class MaxChildren(SpragFieldsError):
    """A DynamicSupervisor has as many children as it may have."""

    path: str
    max_children: int
    _template = "{path} has {max_children} children, its max_children: stop one first"

    def __init__(self, path: str, max_children: int) -> None:
        super().__init__(path=path, max_children=max_children)


class NoSocket(SpragFieldsError, KeyError):
    """`sprag.host.sockets` has none of that name."""

    name: str
    names: tuple[str, ...]
    __str__ = Exception.__str__  # a KeyError's puts the message into quotes

    def __init__(self, name: str, names: Iterable[str]) -> None:
        super().__init__(name=name, names=tuple(names))

    def _message(self) -> str:
        there = f"use {choices(self.name, self.names)}, or pass it" if self.names else "pass it"
        how = f"--bind {self.name}=HOST:PORT, or FileDescriptorName={self.name} of systemd"
        return f"no socket {self.name!r}: {there} with {how}"


class PoisonItem(SpragFieldsError):
    """An item of a pool has crashed a worker each time it was tried.

    `__cause__` is what the last one has raised.
    """

    path: str
    crashes: int
    last: str
    _template = "{path}: an item has crashed {crashes} workers, the last with {last}"

    def __init__(self, path: str, crashes: int, last: str) -> None:
        super().__init__(path=path, crashes=crashes, last=last)

    def _message(self) -> str:
        message = super()._message()
        return message.replace(" 1 workers,", " a worker,")


class ProbeFailed(SpragFieldsError):
    """A probe of the service has failed too often in a row, which is a crash.

    `__cause__` is what the last one has raised; None if it said False, or did not answer in time.

    Attributes:
        probe: The name of the function.
        failures: How often.
        last: What the last failure was.
    """

    probe: str
    failures: int
    last: str

    def __init__(self, probe: str, failures: int, last: str) -> None:
        super().__init__(probe=probe, failures=failures, last=last)

    def _message(self) -> str:
        if self.failures == 1:
            return f"the probe {self.probe} has failed: {self.last}"
        times = f"{self.failures} times in a row"
        return f"the probe {self.probe} has failed {times}, the last: {self.last}"


class QueueFull(SpragFieldsError):
    """As many items wait in a pool as may, and its ``when_full`` is "refuse"."""

    path: str
    queue: int
    _template = "{path}: {queue} items wait, its queue is full: submit it later"

    def __init__(self, path: str, queue: int) -> None:
        super().__init__(path=path, queue=queue)


class TaskCancelled(SpragFieldsError):
    """A task has no result: it was cancelled, or has ended with its service."""

    path: str
    task: str
    why: str
    _template = "{path}: {task} has no result: {why}"

    def __init__(self, path: str, task: str, why: str) -> None:
        super().__init__(path=path, task=task, why=why)


class TaskTimeout(SpragFieldsError, TimeoutError):
    """A task was not done in time: in the seconds that who asked gave it, or `map` an item."""

    path: str
    task: str
    seconds: float
    _template = "{path}: {task} was not done within {seconds:g} s"

    def __init__(self, path: str, task: str, seconds: float) -> None:
        super().__init__(path=path, task=task, seconds=seconds)


class UnknownService(SpragFieldsError, LookupError):
    """`service(name)` found neither a provider of that name nor a path below the service."""

    name: str
    names: tuple[str, ...]

    def __init__(self, name: str, names: Iterable[str]) -> None:
        super().__init__(name=name, names=tuple(names))

    def _message(self) -> str:
        if not self.names:
            return f"no service {self.name!r}: this tree has no providers and no such path"
        return f"no service {self.name!r}: use {choices(self.name, self.names)}, or a path"


class WrongKind(SpragFieldsError, TypeError):
    """`service(name, kind)` found a service of another class."""

    name: str
    found: type
    kind: type

    def __init__(self, name: str, found: type, kind: type) -> None:
        super().__init__(name=name, found=found, kind=kind)

    def _message(self) -> str:
        found, kind = qualified_name(self.found), qualified_name(self.kind)
        if found == kind:
            found, kind = (
                f"{module_name(one)}.{qualified_name(one)}" for one in (self.found, self.kind)
            )
        return f"the service {self.name!r} is of {found}, not of {kind}: ask for what it is"
