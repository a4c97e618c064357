"""All errors of sprag; each is a `SpragError` and carries the facts as attributes.

Those of the engine, and what can go wrong with what only the library knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag_supervisor import SpragFieldsError, choices, module_name, qualified_name
from sprag_supervisor import exceptions as _engine
from sprag_supervisor.exceptions import *  # noqa: F403

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__: list[str] = [
    "MaxChildren",
    "PoisonItem",
    "ProbeFailed",
    "QueueFull",
    "TaskCancelled",
    "TaskTimeout",
    "UnknownService",
    "WrongKind",
]
__all__ += _engine.__all__


class MaxChildren(SpragFieldsError):
    """A DynamicSupervisor has as many children as it may have."""

    path: str
    max_children: int
    _template = "{path} has {max_children} children, its max_children: stop one first"

    def __init__(self, path: str, max_children: int) -> None:
        super().__init__(path=path, max_children=max_children)


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
