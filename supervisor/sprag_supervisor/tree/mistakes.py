"""What looks like a mistake in a service's class, and may be none.

Policy written into the body of the class, a misspelt hook, a method that hides one of
sprag's: nothing happens, and nothing says why. Each may also be what its author means, so
it is told as a warning when the class is made, and by ``sprag check``, and changes nothing.

What the user's own code mentions is taken to be the user's own: a handler passed to
`listen`, a number that a loop reads.
"""

from __future__ import annotations

import warnings
from difflib import SequenceMatcher, get_close_matches
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast, get_args

from sprag_supervisor.exceptions import BadPolicy, LikelyMistake
from sprag_supervisor.foreign import is_a, module_name
from sprag_supervisor.rules.backoff import Backoff
from sprag_supervisor.rules.policy import KEYWORDS, AutoShutdown, Policy, Restart, Strategy
from sprag_supervisor.tree.hooks import BODY, Hook, hooks_of
from sprag_supervisor.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS: Final = frozenset({"sprag", "sprag_supervisor", "sprag_cli"})
_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "restart": get_args(Restart),
    "strategy": get_args(Strategy),
    "auto_shutdown": get_args(AutoShutdown),
    "shutdown": ("brutal_kill", "infinity"),
}
_POLICIES: Final = (bool, int, float, tuple, list, dict)
_ALIKE: Final = 0.85
_MAX_WRAPPERS: Final = 20
_MEANT: Final = {
    "on_start": "on_startup on_starting on_init on_boot on_begin on_launch on_setup",
    "on_stop": "on_stopped on_stopping on_shutdown on_exit on_terminate on_teardown on_end on_quit",
    "on_drain": "on_draining on_drained",
    "on_reload": "on_reloaded on_reloading on_sighup on_hup on_reconfigure",
    "on_ready": "on_up on_booted on_available",
    BODY: "on_run on_running",
}
"""Other frameworks' words for sprag's hooks."""
_NO_HOOK: Final = {
    "on_restart": "a restart calls on_start again",
    "on_restarted": "a restart calls on_start again",
    "on_crash": "on_stop runs after a crash too, and others can listen to 'sprag:crashed'",
    "on_crashed": "on_stop runs after a crash too, and others can listen to 'sprag:crashed'",
    "on_failure": (
        "the policy on_failure={SomeError: 'stop'} is a keyword of the class; on_stop runs after "
        "a crash too"
    ),
}
_HIDING: Final = {"start": "on_start", "stop": "on_stop"}


class Mistake(NamedTuple):
    """Something that is likely meant in another way.

    Attributes:
        where: The class and its attribute.
        fault: What will happen, and why.
        remedy: What to do.
    """

    where: str
    fault: str
    remedy: str


def warn_of_mistakes(cls: type) -> None:
    """Warn, at the line of the class statement, of what is likely a mistake in it."""
    if is_ours(cls):
        return
    for where, fault, remedy in mistakes_in(cls):
        warnings.warn(f"{where} {fault}: {remedy}", LikelyMistake, stacklevel=3)


def is_ours(cls: type) -> bool:
    """Whether sprag has made the class."""
    return module_name(cls).partition(".")[0] in _OURS


def mistakes_in(cls: type) -> Iterator[Mistake]:
    """Yield what is likely a mistake in the body of *cls*."""
    yield from _policy_attributes(cls)
    yield from _misspelt_hooks(cls)
    for name, meant in _HIDING.items():
        if (hidden := _hides(cls, name)) is not None:
            yield Mistake(
                f"{cls.__name__}.{name}",
                f"hides {hidden.__name__}.{name}, and sprag never calls it",
                f"for what is to happen at a {name} write {meant}, else choose another name",
            )


def hidden_methods(cls: type) -> Iterator[Mistake]:
    """Yield which methods of sprag's own are hidden by something in the body of *cls*.

    That harms nobody but who wants to call them.
    """
    for name in vars(cls):
        if name not in _HIDING and (hidden := _hides(cls, name)) is not None:
            yield Mistake(
                f"{cls.__name__}.{name}",
                f"hides {hidden.__name__}.{name}, which cannot be called on this service",
                "choose another name, if you need sprag's",
            )


# -- policy ---------------------------------------------------------------------------


def _policy_attributes(cls: type) -> Iterator[Mistake]:
    for name in KEYWORDS:
        if name in vars(cls) and is_policy(name, value := vars(cls)[name], cls):
            bases = ", ".join(base.__name__ for base in cls.__bases__)
            yield Mistake(
                f"{cls.__name__}.{name}",
                f"= {shown(value)} is an attribute, and no policy",
                f"write 'class {cls.__name__}({bases}, {name}={shown(value)})'",
            )


def is_policy(name: str, value: object, cls: type) -> bool:
    """Whether an attribute called like a policy keyword is meant to be one."""
    if is_a(value, str):
        words = _WORDS.get(name, ())
        value = str.__str__(value)
        return bool(get_close_matches(value, words, n=1, cutoff=_ALIKE))
    if is_a(value, Backoff):
        return name == "backoff"
    if type(value) not in _POLICIES or not value:
        return False
    try:
        Policy(restart="transient").with_({name: value})
    except (BadPolicy, TypeError, ValueError):
        return False
    return name not in mentioned(cls)


# -- hooks ----------------------------------------------------------------------------


def _misspelt_hooks(cls: type) -> Iterator[Mistake]:
    known: set[str] | None = None
    for name, value in tuple(vars(cls).items()):
        if name.startswith("_") or not is_a(value, FunctionType) or vars(value):
            continue  # what a decorator has marked is the decorator's
        meant = None if name in _NO_HOOK else _hook_meant(cls, name)
        if meant is None and name not in _NO_HOOK:
            continue
        if any(name in vars(base) for base in cls.__mro__[1:]):
            continue  # another class has the word from somewhere else
        if name not in _NO_HOOK and value.__code__.co_argcount > 1:
            continue  # no hook takes arguments
        if known is None:
            known = mentioned(cls)
        if name in known:
            continue
        where = f"{cls.__name__}.{name}"
        if meant is None:
            yield Mistake(where, "is no hook, and nothing calls it", _NO_HOOK[name])
        else:
            fault = "is no hook of sprag's, and nothing in the class calls it"
            yield Mistake(where, fault, f"did you mean {meant}?")


def _hook_meant(cls: type, name: str) -> str | None:
    """Return the hook that *name* is a misspelling of, if any."""
    hooks = hooks_of(cls)
    if name in hooks:
        return None
    flat = name.replace("_", "").lower()
    for known in hooks:
        if flat == known.replace("_", ""):
            return known
    for known, others in _MEANT.items():
        if known in hooks and flat in others.replace("_", "").split():
            return known
    matcher = SequenceMatcher(b=flat)
    for known in hooks:
        whole = known.replace("_", "")
        matcher.set_seq1(whole)
        # `inspect` is a word of its own, and no misspelling of `on_inspect`.
        if known != BODY and whole != f"on{flat}" and matcher.ratio() >= _ALIKE:
            return known
    return None


# -- hiding ---------------------------------------------------------------------------


def _hides(cls: type, name: str) -> type | None:
    """Return the class of sprag's whose method *cls* hides, unless it calls it."""
    value: Any = vars(cls).get(name)
    if name.startswith("_") or value is None or is_a(value, Hook):
        return None
    if any(name in vars(base) for base in cls.__mro__[1:] if not is_ours(base)):
        return None
    for base in cls.__mro__[1:]:
        ours = vars(base).get(name)
        if ours is None or not is_ours(base):
            continue
        if is_a(ours, Hook) or not is_a(ours, FunctionType):
            return None
        if "__isabstractmethod__" in vars(ours):
            return None  # it is there to be defined
        return None if _passes_on(cls, value, name) else _whole(cls, base)
    return None


def _whole(cls: type, base: type) -> type:
    """Return the class of sprag's that users know: *base*, or what it is a part of."""
    if "_is_part_" not in vars(base):
        return base
    return [each for each in cls.__mro__ if is_ours(each) and issubclass(each, base)][-2]


def _passes_on(cls: type, value: object, name: str) -> bool:
    """Whether a method calls the one it hides: ``super().stop()``, ``Service.stop(self)``."""
    names = set(_names_in(value))
    return name in names and not names.isdisjoint({"super", *(b.__name__ for b in cls.__mro__)})


# -- what the user's own code mentions ---------------------------------------------------


def mentioned(cls: type) -> set[str]:
    """Return the names and texts in the code of *cls* and of those it is derived from."""
    found: set[str] = set()
    for base in cls.__mro__:
        if not is_ours(base):
            for value in tuple(vars(base).values()):
                found.update(_names_in(value))
    return found


def _names_in(value: object) -> Iterator[str]:
    if is_a(value, property):
        for part in (value.fget, value.fset, value.fdel):
            yield from _names_in(part)
        return
    function: object = value
    for _ in range(_MAX_WRAPPERS):
        if type(function) in (staticmethod, classmethod, MethodType):
            function = cast("MethodType", function).__func__
        elif type(function) is FunctionType and "__wrapped__" in function.__dict__:
            function = function.__dict__["__wrapped__"]
        else:
            break
    if type(function) is not FunctionType:
        return
    pending = [function.__code__]
    while pending:
        code = pending.pop()
        yield from code.co_names
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                pending.append(constant)
            elif isinstance(constant, str):
                yield constant
