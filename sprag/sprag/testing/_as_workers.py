"""Several trees in one process, as the workers of one app: what runs once, what is broadcast."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sprag.cluster.member import Member
from sprag.cluster.memory import MemoryEngine
from sprag.cluster.reaping import reap
from sprag.services.service import Service
from sprag_supervisor import called, is_a, tree_of
from sprag_supervisor.exceptions import AlreadyStarted, BadValue

if TYPE_CHECKING:
    from collections.abc import Generator


class AsWorkers:
    """Trees that are workers of one app.

    Attributes:
        engine: What they share, in memory.
        members: What each is in it, in their order.
    """

    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.members: list[Member] = []

    def join(self, root: Service, generation: int = 1) -> None:
        """Let *root*, which has not been started, be the next one: worker-1, then worker-2.

        Raises:
            BadValue: It is no service, or no root.
            AlreadyStarted: It has shared something before, be it with itself.
        """
        if not is_a(root, Service) or root._parent_ is not None:
            raise BadValue("root", root, f"the root of a tree{called(root)}")
        tree = tree_of(root)
        if tree.cluster is not None:
            raise AlreadyStarted(root._name_ or "", root._state_.value)
        where = f"worker-{len(self.members) + 1}"
        tree.cluster = member = Member(
            tree, self.engine, app="app", where=where, generation=generation
        )
        member.join()
        self.members.append(member)

    def reap(self, root: Service, how: str = "was killed by SIGKILL") -> None:
        """Let the others have what *root* had, as if its process had ended. It must be stopped."""
        for member in self.members:
            if member.tree.root is root:
                member.leave()
                reap(self.engine, member.life, f"{member.where} {how}")

    def end(self) -> None:
        """Share nothing any more."""
        for member in self.members:
            member.leave()
            member.tree.cluster = None


@contextmanager
def as_workers(*roots: Service) -> Generator[AsWorkers]:
    """Let *roots*, in this process, be the workers of one app, as below ``sprag run --workers``.

    For instance::

        first, second = App(providers={"billing": Singleton(Billing())}), …
        with virtual_time(), as_workers(first, second), first, second:
            assert second.service("billing").lease is None
            first.stop()
            …

    Args:
        *roots: In this order they are worker-1, worker-2, …; not started yet.

    Raises:
        BadValue: One is no root.
        AlreadyStarted: One has been started, and has used what it would share now.
    """
    shared = AsWorkers()
    try:
        for root in roots:
            shared.join(root)
        yield shared
    finally:
        shared.end()
