"""Records for clients, which have to start fast.

What `dataclasses`, or `typing` with its `NamedTuple`, take to be loaded, and then for each class,
is a tenth of the start of ``sprag tree`` and more. So no module that it loads imports them:
`TYPE_CHECKING` is a constant there, which type checkers know by its name.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform

    @dataclass_transform(frozen_default=True)
    class _LikeDataclass:
        """What type checkers take a record for."""
else:
    _LikeDataclass = object


class Record(_LikeDataclass):
    """Named values, given by place or by name; a class says which, with its annotations.

    For type checkers a frozen dataclass. While it runs, nobody looks at what is given.
    """

    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        """Take the names of the class, behind those of the one it is made from."""
        cls._names = (*cls._names, *cls.__annotations__)

    def __init__(self, *values: Any, **given: Any) -> None:
        """Take what is given."""
        vars(self).update(zip(self._names, values, strict=False), **given)

    def __eq__(self, other: object) -> bool:
        """Tell whether both have the same values."""
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        """Return that of the values."""
        return hash(self._values())

    def __repr__(self) -> str:
        """Return the call that makes it."""
        given = (f"{name}={getattr(self, name)!r}" for name in self._names)
        return f"{type(self).__name__}({', '.join(given)})"

    def but(self, **given: Any) -> Self:
        """Return a copy with other values."""
        return type(self)(**{**vars(self), **given})

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._names)
