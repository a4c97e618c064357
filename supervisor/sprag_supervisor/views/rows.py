"""The children in a picture, as rows of what differs from one to the next.

Nearly all of many run, have never crashed and have nothing to say. A `Snapshot` of each would
be an object that Python's garbage collector looks at: made a hundred thousand at a time, they
would have it look at everything there is, and hold the loop for that. So they lie in one list, as
numbers and texts one after another, and become a `Snapshot` when somebody asks. Guarded by
tests/sprag/test_pictures.py: it compares them with what is found of each alone, and counts what
the collector is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast, overload

from sprag_supervisor.foreign import class_name
from sprag_supervisor.rules.states import RUNNING
from sprag_supervisor.tree.holdings import Holdings
from sprag_supervisor.tree.node import Node
from sprag_supervisor.views.owned import owned_by
from sprag_supervisor.views.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sprag_supervisor.views.snapshot import Owned

Row: TypeAlias = "tuple[Any, ...]"
"""What differs, `_WIDTH` values. Or a `Snapshot`, and nothing in the other places."""
Look: TypeAlias = "tuple[str, str, type[Node]] | None"
"""The name and the kind of a class, and that; None: its services tell more."""

_WIDTH: Final = 9
_REST: Final = (None,) * (_WIDTH - 1)
_AS_MOST: Final = (None, None, None, None, False, (), None, None, None)
"""What most tell from `unready` on."""
_made_of: Final[Callable[[type[Snapshot], tuple[object, ...]], Snapshot]] = cast(
    "Any", tuple
).__new__
"""Make a picture of what is in it: `Snapshot` itself takes twice as long."""


class Rows(Sequence[Snapshot]):  # noqa: PLW1641 - a policy has none
    """Pictures of siblings; as a tuple of them, in what it is equal to, too."""

    __slots__ = ("_above", "_rows")

    def __init__(self, above: str, rows: list[Any]) -> None:
        """Take the path of their parent, and their rows one after another."""
        self._above = above
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows) // _WIDTH

    def __iter__(self) -> Iterator[Snapshot]:
        for at in range(0, len(self._rows), _WIDTH):
            yield self._at(at)

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Snapshot, ...]: ...

    def __getitem__(self, index: int | slice) -> Snapshot | tuple[Snapshot, ...]:
        places = range(0, len(self._rows), _WIDTH)
        if isinstance(index, slice):
            return tuple([self._at(at) for at in places[index]])
        return self._at(places[index])

    def _at(self, at: int) -> Snapshot:
        name, look, incarnation, restarts, since, now, wall, policy, owned = self._rows[
            at : at + _WIDTH
        ]
        if look is None:
            return cast("Snapshot", name)
        class_, kind, _ = look
        up = now - since
        fields = (name, f"{self._above}/{name}", class_, kind, RUNNING, incarnation, restarts, up)
        return _made_of(
            Snapshot, (*fields, wall - up, None, policy, owned, (), None, (), (), *_AS_MOST)
        )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Rows):
            return tuple(self) == tuple(other)
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a copy, and what is pickled, be a tuple: a class may have no name to be found by."""
        return tuple, (tuple(self),)


def whole(picture: Snapshot) -> Row:
    """Return the row of a service that is not as most are."""
    return (picture, *_REST)


class Known:
    """What the rows of a picture share: of classes, by id, and of what services hold."""

    __slots__ = ("looks", "owned")

    def __init__(self) -> None:
        self.looks: dict[int, Look] = {}  # a class's hash is its metaclass's, and so are its equals
        self.owned: dict[Owned, Owned] = {}


def row_of(node: Node, name: str, now: float, wall: float, known: Known) -> Row | None:
    """Return the row of a service without children; None: it is not as most are."""
    kind = type(node)
    try:
        look = known.looks[id(kind)]
    except KeyError:
        look = known.looks[id(kind)] = _look_of(kind)
    tree, holdings = node._tree_, node._holdings_
    if (
        look is None
        or node._state_ is not RUNNING
        or node._history_ is not None
        or tree is None
        or tree.holds is not None
    ):
        return None
    owned = owned_by(node)
    if type(holdings) is Holdings:
        if holdings.unready is not None or holdings.status is not None:
            return None
        owned = known.owned.setdefault(owned, owned)
    incarnation, restarts, since = node._incarnation_, node._restarts_, node._since_
    return name, look, incarnation, restarts, since, now, wall, node._policy_, owned


def _look_of(kind: type[Node]) -> Look:
    if (
        kind._load_ is not Node._load_
        or kind._pid_ is not Node._pid_
        or kind._ownership_ is not Node._ownership_
    ):
        return None
    return class_name(kind), "supervisor" if kind._is_supervisor_ else "worker", kind
