"""Exceptions, groups and objects that nobody can look at without harm: the users' own."""

from __future__ import annotations

import functools
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import gevent
import pytest

from sprag import Ignore, StartFailed
from sprag_supervisor.facts.crash import remember

if TYPE_CHECKING:
    from collections.abc import Callable


class Touched(Exception):
    """What looking at a hostile object raises; nobody expects it anywhere."""


class TouchedHard(BaseException):
    """The same, past `except Exception`."""


def _raise(*_args: object, **_kwargs: object) -> NoReturn:
    raise Touched


def _raise_hard(*_args: object, **_kwargs: object) -> NoReturn:
    raise TouchedHard


def _raising(*names: str, base: type[Any] = Exception, with_: Any = _raise) -> type[Any]:
    """Return an exception class with properties that raise."""
    return type("Raising", (base,), dict.fromkeys(names, property(with_)))


def _methods(*names: str, base: type[Any] = Exception, with_: Any = _raise) -> type[Any]:
    """Return an exception class with methods that raise."""
    return type("Odd", (base,), dict.fromkeys(names, with_))


def _lying(kind: type[Any]) -> type[Any]:
    return type("Lying", (Exception,), {"__class__": property(lambda _self: kind)})


class _Meta(type):
    """Raises whatever a class is asked for."""

    __getattribute__ = _raise
    __eq__ = _raise
    __hash__ = _raise
    __bool__ = _raise
    __instancecheck__ = _raise
    __subclasscheck__ = _raise


class _Unhashable(type):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(cls, other: object) -> bool:
        raise Touched


class _Proxied(Exception):
    """Passes on what it does not have, to something that is not there any more."""

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["wrapped"][name]


class _Endless(Exception):
    def __getattr__(self, name: str) -> Any:
        return getattr(self, name)


class _Guarded(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise Touched


class _GuardedHard(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise TouchedHard


class _Slow(Exception):
    def __str__(self) -> str:
        gevent.sleep(0.01)
        return "slow"


class _Number(Exception):
    def __str__(self) -> Any:
        return 5  # noqa: PLE0307 - the point


class _Texts(str):
    __slots__ = ()
    __len__ = _raise
    __eq__ = _raise
    __hash__ = _raise
    __getitem__ = _raise
    __format__ = _raise
    __str__ = _raise
    __contains__ = _raise
    startswith = _raise


class _OddText(Exception):
    def __str__(self) -> str:
        return _Texts("odd")


class _Empty(Exception):
    """Holds errors, none so far: false, like any container."""

    def __len__(self) -> int:
        return 0


def _with(error: BaseException, **attributes: Any) -> BaseException:
    for name, value in attributes.items():
        BaseException.__setattr__(error, name, value)
    return error


class _Untellable:
    __str__ = _raise_hard
    __repr__ = _raise_hard
    __eq__ = _raise_hard
    __hash__ = _raise_hard
    __bool__ = _raise_hard


class _Notes(list[Any]):
    __len__ = _raise
    __iter__ = _raise
    __getitem__ = _raise


class _Unlisted:
    __dir__ = _raise_hard


class _Attributes(dict[str, Any]):
    __contains__ = _raise
    __len__ = _raise
    __iter__ = _raise
    __getitem__ = _raise
    __bool__ = _raise


def _unmade(kind: type[Any]) -> Any:
    made: Any = kind
    return made.__new__(made)


def _syntax_error() -> BaseException:
    odd: Any = (5, "one", "two", 7)
    return SyntaxError("odd", odd)


def _in_chain(link: str) -> BaseException:
    inner = _raising("__class__", "__notes__", "__cause__", "__traceback__")()
    return _with(ValueError("outer"), **{link: inner})


def tellable(test: Callable[..., None]) -> Callable[..., None]:
    """Let a test fail with plain text: pytest cannot show hostile exceptions either."""

    @functools.wraps(test)
    def telling(*args: object, **kwargs: object) -> None:
        failure = None
        try:
            test(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again
            failure = remember(error, 0).format()
        if failure is not None:
            pytest.fail(failure, pytrace=False)

    return telling


def dead_proxy() -> Any:
    """Return a proxy whose object is gone: nearly everything raises ReferenceError."""

    class Gone:
        pass

    return weakref.proxy(Gone())


_CHAIN: Final = (
    "__cause__",
    "__context__",
    "__suppress_context__",
    "__traceback__",
    "__notes__",
    "args",
    "with_traceback",
    "add_note",
)

sys.modules["unlisted"] = cast("Any", _Unlisted())

ASKED_BY_GREENLET: Final = "its class cannot be asked"
"""Throwing one of these raises something else, in greenlet's own code."""

ERRORS: Final[dict[str, Callable[[], BaseException]]] = {
    "its __class__ raises": lambda: _raising("__class__")(),
    "its __class__ raises past Exception": lambda: _raising("__class__", with_=_raise_hard)(),
    "its __class__ says SystemExit": lambda: _lying(SystemExit)(),
    "its __class__ says KeyboardInterrupt": lambda: _lying(KeyboardInterrupt)(),
    "its __class__ says GreenletExit": lambda: _lying(gevent.GreenletExit)(),
    "its __class__ says Ignore": lambda: _lying(Ignore)(),
    "its __class__ says StartFailed": lambda: _lying(StartFailed)(),
    "its __class__ says Timeout": lambda: _lying(gevent.Timeout)(),
    "its __class__ says RecursionError": lambda: _lying(RecursionError)(),
    "its __class__ says group": lambda: _lying(BaseExceptionGroup)(),
    "its __class__ says SyntaxError": lambda: _lying(SyntaxError)(),
    "its __class__ is no class": lambda: _lying(5)(),  # type: ignore[arg-type]
    "its __getattr__ raises KeyError": _Proxied,
    "its __getattr__ recurs": _Endless,
    "its __getattribute__ raises": _Guarded,
    "its __getattribute__ raises past Exception": _GuardedHard,
    "its attributes of exceptions raise": lambda: _raising(*_CHAIN)(),
    "its attributes of exceptions raise past Exception": lambda: _raising(
        *_CHAIN, with_=_raise_hard
    )(),
    "its notes are no notes": lambda: _with(ValueError("noted"), __notes__=_Untellable()),
    "its notes cannot be told": lambda: _with(ValueError("noted"), __notes__=[_Untellable()]),
    "its notes are an odd list": lambda: _with(ValueError("noted"), __notes__=_Notes(["a"])),
    "its attributes lie in an odd dict": lambda: _with(ValueError("odd"), __dict__=_Attributes()),
    "its __str__ raises": lambda: _methods("__str__", "__repr__")(),
    "its __str__ raises past Exception": lambda: _methods(
        "__str__", "__repr__", with_=_raise_hard
    )(),
    "its __str__ returns a number": _Number,
    "its __str__ returns odd text": _OddText,
    "its __str__ blocks": _Slow,
    "its args cannot be told": lambda: ValueError(_Untellable()),
    "its arg is a dead proxy": lambda: ValueError(dead_proxy()),
    "it compares with nothing": lambda: _methods("__eq__", "__hash__", "__ne__")(),
    "it has no truth": lambda: _methods("__bool__", with_=_raise_hard)(),
    "it is false": _Empty,
    "it has no length": lambda: _methods("__len__")(),
    "its class cannot be asked": lambda: _Meta("Asked", (Exception,), {})(),
    "its class has no hash": lambda: _Unhashable("Unhashable", (Exception,), {})(),
    "its module is no text": lambda: type("Lost", (Exception,), {"__module__": _Untellable()})(),
    "its module is odd text": lambda: type("Lost", (Exception,), {"__module__": _Texts("m")})(),
    "it is a group that hides its members": lambda: _raising(
        "exceptions", "message", "__class__", base=ExceptionGroup
    )("group", [ValueError("one")]),
    "it is a group whose methods raise": lambda: _methods(
        "derive", "split", "subgroup", "__str__", base=ExceptionGroup
    )("group", [ValueError("one")]),
    "it is a group of hostile ones": lambda: ExceptionGroup(
        "group", [_Guarded(), _raising("__class__")(), _raising(*_CHAIN)()]
    ),
    "its cause is hostile": lambda: _in_chain("__cause__"),
    "its context is hostile": lambda: _in_chain("__context__"),
    "it is a StartFailed without a path": lambda: _with(
        StartFailed("a", "b"), path=5, reason=_Untellable()
    ),
    "it is a StartFailed whose fields raise": lambda: _raising(
        "path", "reason", "failure", base=StartFailed
    )("a", "b"),
    "it is a StartFailed with a lie for a failure": lambda: _with(
        StartFailed("a", "b"), failure=_Untellable(), path=_Texts("x/")
    ),
    "it is a Timeout without a timer": lambda: _unmade(
        _raising("timer", "pending", base=gevent.Timeout)
    ),
    "it is a SyntaxError of odd fields": _syntax_error,
    "it is an OSError of odd fields": lambda: OSError(_Untellable(), _Untellable(), _Untellable()),
    "it is an AttributeError of what cannot be listed": lambda: AttributeError(
        "odd", name="orders", obj=_Unlisted()
    ),
    "it is an ImportError of what cannot be listed": lambda: _with(
        ImportError("odd", name="unlisted"), name_from="orders"
    ),
}


class _OddInt(int):
    __eq__ = _raise
    __hash__ = _raise
    __bool__ = _raise
    __int__ = _raise
    __index__ = _raise
    __str__ = _raise
    __repr__ = _raise


EXITS: Final[dict[str, tuple[Callable[[], BaseException], int]]] = {
    "a code that cannot be told": (lambda: SystemExit(_Untellable()), 1),
    "a code that is a dead proxy": (lambda: SystemExit(dead_proxy()), 1),
    "a code that hides its number": (lambda: SystemExit(_OddInt(7)), 7),
    "a truth for a code": (lambda: SystemExit(True), 1),
    "a code that lies": (lambda: SystemExit(_lying(int)()), 1),
    "a property for a code": (lambda: _raising("code", base=SystemExit)(6), 6),
    "a __class__ that raises": (lambda: _raising("__class__", base=SystemExit)(5), 5),
    "a __getattribute__ that raises": (
        lambda: _methods("__getattribute__", "__str__", base=SystemExit)(4),
        4,
    ),
    "no truth": (lambda: _methods("__bool__", "__eq__", "__len__", base=SystemExit)(3), 3),
    "a group around it": (
        lambda: _raising("exceptions", "__class__", base=BaseExceptionGroup)(
            "group", [_raising("code", base=SystemExit)(2)]
        ),
        2,
    ),
}
