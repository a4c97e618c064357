"""Who handles the items of a pool."""

from __future__ import annotations

from typing import Any

from sprag.services.service import Service
from sprag.services.workshop import Workshop
from sprag_supervisor import Node, attribute_of, check_callable, class_name
from sprag_supervisor.exceptions import BadValue


class Worker(Service):
    """One of the workers of a `WorkerPool`: subclass it and define `handle`.

    It is a service like any other, but for its `run`, which takes one item after another:
    ``on_start``, timers, listeners and policy are its own.
    """

    def __init_subclass__(cls, **policy: object) -> None:
        """Refuse a `run` of its own, and a `handle` that would never run."""
        super().__init_subclass__(**policy)
        if "run" in vars(cls):
            accepted = "handle(self, item): sprag calls it for each item, and run is its own here"
            raise BadValue(f"{cls.__name__}.run", vars(cls)["run"], accepted)
        if "handle" in vars(cls):
            check_callable(f"{cls.__name__}.handle", cls.handle)

    def handle(self, item: Any) -> Any:
        """Do the work for one item; what it returns is the result of its task.

        May block. An exception is my crash, and I am restarted; but it counts against the item,
        not toward the pool's limit. The item is tried again, by me or another, as often as the
        pool's ``retries`` say: so it may have had effects already. A stop waits until it is over,
        within my ``shutdown`` seconds; one that is killed is handled again.
        """
        raise NotImplementedError(f"{class_name(type(self))} needs a handle(self, item)")

    # Who defines it hides nothing (`hidden_methods`); for type checkers the class is whole.
    vars()["handle"].__isabstractmethod__ = True

    def run(self) -> None:
        """Take one item after another."""
        workshop = _workshop_of(self)
        if workshop is not None:
            workshop.employ(self, lambda item: self.handle(item))  # noqa: PLW0108 - looked up each time

    def _prepare_(self) -> None:
        if _workshop_of(self) is None:
            accepted = f"WorkerPool({class_name(type(self))}): a worker works in a pool"
            raise BadValue("worker", self, accepted)


def _workshop_of(worker: Node) -> Workshop | None:
    found = attribute_of(worker._parent_, "_workshop_")
    return found if type(found) is Workshop else None
