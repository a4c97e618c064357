"""A partition of what is `Sharded`, on the node that has it: a singleton that bids when told to."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from sprag.services.bidding import AWAY, Bidding
from sprag.services.singleton import Singleton
from sprag_supervisor import ACTIVE, name_of, say

if TYPE_CHECKING:
    from sprag.cluster.claim import SeenRow
    from sprag.cluster.engine import Hint
    from sprag.cluster.rows import Row
    from sprag.services.supervisor import Child
    from sprag_supervisor import Moved, Node


class Others(Protocol):
    """Who else runs partitions of the same."""

    is_starting: bool
    """What is sharded is on its way up, and waits for its partitions."""

    def lives(self) -> set[str]:
        """Return who does, this one too."""
        ...

    def row_of(self, name: str) -> SeenRow | None:
        """Return the row of the partition of that name as it was seen just now, once; or None."""
        ...


class PartitionBidding(Bidding):
    """What a `Partition` does in one life: it bids at once, and then when it is told to."""

    events: ClassVar[dict[Moved | Literal["kept"], str]] = {
        "begins": "partition begins here",
        "ends": "partition ends here",
        "stays failed": "partition stays failed here",
        "kept": "partition is not handed over",
    }
    level = logging.DEBUG  # there are many; what is sharded says how many are here

    def __init__(
        self, node: Node, child: Node, name: str | None, policy: dict[str, Any], others: Others
    ) -> None:
        super().__init__(node, child, name, policy)
        self._others = others

    def begin(self) -> None:
        """Bid; wait for what comes of that only where all of them come up side by side."""
        if self._others.is_starting:
            super().begin()
        else:
            self._promise()
            self.look_soon()

    def _watch(self) -> Hint:
        return self._claim.watch(self.look_soon)

    def _take(self) -> tuple[Row | None, Row]:
        return self._claim.take(self._others.row_of(name_of(self._node)))

    def _give_up(self, why: str) -> None:
        if self._member.keeper is None or self._tree.root._state_ in ACTIVE:
            super()._give_up(why)
        else:
            # The whole node goes: what stops after all its partitions does not wait for the engine.
            self._claim.done_with()
            self._has_let_go(why)
            self._member.free_soon(partial(self._free, why))

    def _free(self, why: str) -> None:
        try:
            self._claim.free(why)
        except AWAY as error:
            say(logging.WARNING, self._node, self.events["kept"], reason=str(error))

    def _lets_pass(self) -> bool:
        return False  # the place of a partition depends on names, and newer code has the same

    def _present(self) -> set[str]:
        return self._others.lives()


class Partition(Singleton):
    """One partition, where it is.

    Args:
        service: What runs in it.
        others: Who else runs partitions.
        name: Its number.
        **policy: As for `Singleton`.
    """

    _others_: Others

    def __init__(self, service: Child, others: Others, name: str, **policy: Any) -> None:
        super().__init__(service, name=name, **policy)
        self._others_ = others

    def _bidder_(self, child: Node, name: str | None, policy: dict[str, Any]) -> Bidding:
        return PartitionBidding(self, child, name, policy, self._others_)
