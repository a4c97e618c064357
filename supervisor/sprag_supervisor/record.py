"""Frozen records that load fast: dataclasses for type checkers, and for who uses them.

To load `dataclasses`, and to have it compile the methods of a dozen classes, was a third of what
importing the library took. Here a record's methods are its base's, and `dataclasses` is loaded
when somebody asks for what it has: its `fields`, `replace` and `asdict` take a record like any of
their own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from typing import dataclass_transform

    @dataclass_transform(frozen_default=True)
    class _LikeDataclass:
        """What type checkers take a record for."""

        def __post_init__(self) -> None: ...
else:
    _LikeDataclass = object


class _OfDataclass:
    """What `dataclasses` puts on its classes under this name, made when somebody looks for it."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, _record: object, kind: type[Record]) -> Any:
        twin: Any = _twin
        return getattr(twin(kind), self._name)


class _SignatureOfDataclass:
    """What `inspect.signature` and `help` show of a class whose values the base takes."""

    def __get__(self, _record: object, kind: type[Record]) -> Any:
        if kind.__init__ is not Record.__init__:
            raise AttributeError("__signature__")
        from inspect import signature

        twin: Any = _twin
        return signature(twin(kind))


class Record(_LikeDataclass):
    """Named values that stay as they are, given by place or by name.

    A class says which with its annotations, and gives defaults as a dataclass does; with
    ``kw_only=True`` all go by name. A `__post_init__` of its own may check what was given.
    """

    __dataclass_fields__: ClassVar[Any] = _OfDataclass()
    __dataclass_params__: ClassVar[Any] = _OfDataclass()
    __signature__: ClassVar[Any] = _SignatureOfDataclass()
    _by_place_: ClassVar[tuple[str, ...]] = ()
    _types_: ClassVar[dict[str, Any]] = {}
    _defaults_: ClassVar[dict[str, Any]] = {}
    _checks_: ClassVar[bool] = False

    def __init_subclass__(cls, *, kw_only: bool = False, **others: Any) -> None:
        """Take the names of the class, behind those of the one it is made from."""
        super().__init_subclass__(**others)  # of a mix-in of the user's
        if super(cls, cls).__init__ is not Record.__init__:
            return  # that one takes its values itself, and no others: what is added is no value
        cls._types_ = {**cls._types_, **cls.__annotations__}
        cls._defaults_ = {**cls._defaults_}
        for name in [name for name in cls.__annotations__ if name in vars(cls)]:
            cls._defaults_[name] = vars(cls)[name]
            delattr(cls, name)  # what the class has, too, Python finds ten times as slowly
        cls._checks_ = hasattr(cls, "__post_init__")
        cls._by_place_ = () if kw_only else tuple(cls._types_)
        cls.__match_args__ = cls._by_place_  # type: ignore[misc, assignment]

    def __init__(self, *values: Any, **given: Any) -> None:
        """Take what is given.

        Raises:
            TypeError: Not each name has one value, or something else was given.
        """
        if given or len(values) != len(self._types_):
            self.__dict__.update(self._completed(values, given))
        else:
            self.__dict__.update(zip(self._by_place_, values, strict=True))
        if self._checks_:
            self.__post_init__()

    def _completed(self, values: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
        """Return *values* by name, with what was *given* by name and the defaults."""
        names = self._by_place_[: len(values)]
        found = {**self._defaults_, **dict(zip(names, values, strict=False)), **given}
        if (
            len(names) < len(values)
            or found.keys() != self._types_.keys()
            or not given.keys().isdisjoint(names)
        ):
            raise TypeError(f"{type(self).__qualname__} is made of: {', '.join(self._types_)}")
        return found

    def __setattr__(self, name: str, value: object) -> None:
        self._must_be_free("assign to", name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._must_be_free("delete", name)
        object.__delattr__(self, name)

    def _must_be_free(self, what: str, name: str) -> None:
        """Refuse to change a value; what a user's subclass adds to `Backoff`, say, is none."""
        if name in self._types_ or "_types_" in vars(type(self)):
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot {what} field {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values_() == other._values_()

    def __hash__(self) -> int:
        return hash(self._values_())

    def __repr__(self) -> str:
        given = (f"{name}={getattr(self, name)!r}" for name in self._types_)
        return f"{type(self).__qualname__}({', '.join(given)})"

    def but(self, **given: Any) -> Self:
        """Return a copy with other values."""
        return type(self)(**{**self.as_dict(), **given})

    __replace__ = but

    def as_dict(self) -> dict[str, Any]:
        """Return its values by name, each as it is."""
        return {name: getattr(self, name) for name in self._types_}

    def _values_(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self._types_])


@cache
def _twin(kind: type[Record]) -> type:
    """Return a dataclass with the fields of *kind*."""
    from collections.abc import Hashable
    from dataclasses import field, make_dataclass

    def with_default(value: Any) -> Any:
        return (
            field(default=value)
            if isinstance(value, Hashable)
            else field(default_factory=lambda: value)
        )

    return make_dataclass(
        kind.__name__,
        [
            (name, type_, with_default(kind._defaults_[name]))
            if name in kind._defaults_
            else (name, type_)
            for name, type_ in kind._types_.items()
        ],
        frozen=True,
        kw_only=not kind._by_place_,
    )
