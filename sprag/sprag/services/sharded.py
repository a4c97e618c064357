"""What runs in parts, each of them once, on the nodes of an app."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, Never

from sprag.cluster.partitions import MOST, partition_of
from sprag.services.partition import Partition
from sprag.services.service import Service
from sprag.services.sharding import Sharding
from sprag.services.singleton import of_what_runs_once
from sprag_supervisor import (
    as_count,
    called,
    check_callable,
    checked_name,
    class_name,
    is_a,
    is_at_work,
    not_active,
)
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable

_INHERITED = ("max_restarts", "max_seconds", "backoff")


class Owner(NamedTuple):
    """Who has the partition of a key, as it was seen last.

    Attributes:
        partition: Its number.
        node: The name of the node that runs it; None: nobody does, it is on its way.
        address: Where others reach that node, as it says; None: it does not say, or there is none.
        shard: What runs there, if that is here; None: it runs elsewhere, or is not up.
    """

    partition: int
    node: str | None
    address: str | None
    shard: Any


class Sharded(Service):
    """Runs a service in so many partitions, each of them once, on the nodes of an app.

        class CartShard(Service):
            def __init__(self, partition):
                self.partition = partition

        App(providers={"carts": Sharded(CartShard, partitions=64)})

    ``CartShard(17)`` runs on the node that has partition 17, below me as ``carts/17/CartShard``,
    and nowhere else. Which node that is depends on the names of the nodes that run me
    (rendezvous hashing): when one comes or goes, no other partition changes its place than those
    that it gets or had. What nobody runs is taken at once; what runs elsewhere than it is wanted
    moves a sixteenth at a time, its old node gives it up before the new one starts it.

    Each partition is a `Singleton` of its own, with its lease and its limits: what is said there
    of one that fails holds for it. I am `running` everywhere, and ready when what was to be had
    at my start has come up.

    Args:
        shard: A subclass of `Service` that is made of the number of its partition, 0 and up, or
            something callable that makes one. It is called when the partition comes here.
        partitions: How many there are; 1 to 1,024, the same everywhere. To change it, stop me on
            all nodes first.
        name: My name in the tree; default: its class's.
        **policy: Keywords as for `Service`, mine: ``max_restarts`` says how often each shard is
            restarted here, ``backoff`` when I try again where it has given up; not another
            ``strategy``, nor ``auto_shutdown``.

    Raises:
        BadValue: An argument is of no use.
        BadPolicy: A policy keyword is unknown, wrong, or of no use here.
    """

    _is_supervisor_ = True
    _stops_together_ = True
    _forgets_ended_ = True
    name: str | None = None
    _sharding_: Sharding | None = None
    _shard_: Callable[[int], Service] | None = None
    _partitions_ = 0

    def __init__(
        self,
        shard: Callable[[int], Service],
        *misplaced: Never,
        partitions: int = 64,
        name: str | None = None,
        **policy: Any,
    ) -> None:
        if misplaced:
            raise BadValue("Sharded's argument", misplaced[0], "keywords, as in partitions=64")
        _check_shard(shard)
        if name is not None:
            self.name = checked_name(name)
        count = as_count(partitions)
        if not 1 <= count <= MOST:
            raise BadValue("partitions", partitions, f"a whole number, 1 to {MOST:,}")
        self._shard_, self._partitions_ = shard, count
        self._policy_ = of_what_runs_once(self._policy_.with_(policy))

    def _prepare_(self) -> None:
        if self._shard_ is None:
            raise BadValue(
                f"the __init__ of {class_name(type(self))}",
                None,
                "super().__init__(shard, ...) in it: it does not know what it runs",
            )
        self._sharding_ = Sharding(self, self._made_, self._partitions_)
        self._sharding_.begin()

    def _made_(self, sharding: Sharding, number: int) -> Partition:
        assert self._shard_ is not None
        made: Any = self._shard_(number)
        if not is_a(made, Service) or made._parent_ is not None:
            accepted = f"a service that is new, for partition {number}{called(made)}"
            raise BadValue("what makes the shards", made, accepted)
        policy = {each: getattr(self._policy_, each) for each in _INHERITED}
        return Partition(made, sharding, str(number), **policy)

    def owner(self, key: str | bytes | int) -> Owner:
        """Return which partition *key* belongs to, and who has that.

        As this node has seen it last, so it does not block, and who is asked then may have given
        it up a moment ago. The partition is the same everywhere and for ever: the first 8 bytes of
        the SHA-256 of the key, as a big-endian number, modulo the number of partitions. Of a text
        its UTF-8 is taken, of a whole number its decimal digits.

        Args:
            key: Whose partition is wanted: a text, bytes, or a whole number.

        Raises:
            NotRunning: I do not run.
            BadValue: *key* is something else.
        """
        data = _bytes_of(key)
        sharding = self._sharding_
        if sharding is None or not is_at_work(self):
            raise not_active(self, "ask for an owner")
        partition = partition_of(data, self._partitions_)
        return Owner(partition, *sharding.found(partition))


def _bytes_of(key: object) -> bytes:
    if is_a(key, str):
        return str.encode(key, errors="surrogatepass")
    if is_a(key, bytes):
        return bytes(key)
    if is_a(key, int) and not is_a(key, bool):
        return b"%d" % key
    raise BadValue("key", key, "a text, bytes, or a whole number")


def _check_shard(given: object) -> None:
    """Refuse what makes no service of a number."""
    accepted = "a subclass of Service that takes the number of its partition, or what makes one"
    check: Any = given
    if is_a(given, Service) or (is_a(given, type) and not issubclass(check, Service)):
        raise BadValue("shard", given, f"{accepted}{called(given)}")
    check_callable("shard", check)
    # Of a class Python 3.11.2 takes the signature of what makes it, which accepts all.
    takes, given_to_it = (check.__init__, (None, 0)) if is_a(given, type) else (check, (0,))
    try:
        signature = inspect.signature(takes)
    except (TypeError, ValueError):
        return  # it does not say
    try:
        signature.bind(*given_to_it)
    except TypeError as error:
        raise BadValue("shard", given, f"{accepted}: {error}") from None
