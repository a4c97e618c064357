"""What a service asks for: how it is restarted, stopped, and how it supervises.

A `Policy` is frozen and checked when it is made, so a misspelt value raises where
it was written (`bad_combination`s: otp-rules 63), and one object serves all
instances of a class. Pure: no gevent, no clock.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Never, cast, final, get_args

from greenlet import GreenletExit

from sprag_supervisor.exceptions import BadPolicy
from sprag_supervisor.foreign import ancestors, is_a
from sprag_supervisor.rules.graph import Need
from sprag_supervisor.rules.groups import leaves_of
from sprag_supervisor.rules.seconds import Seconds, as_count, in_seconds
from sprag_supervisor.wording import choices, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]
Action = Literal["restart", "finish", "stop", "escalate"]
Shutdown = float | Literal["brutal_kill", "infinity"]


@dataclass(frozen=True, slots=True, init=False)
class Backoff:
    """The delay before a service is restarted: exponential, capped, with jitter.

    The n-th restart in a row waits ``initial * factor ** (n - 1)`` seconds, at most
    *maximum*, give or take the fraction *jitter*. A run of at least *reset_after*
    seconds starts the row anew. After *tries* restarts in a row the service is not
    restarted any more; None (default) for no limit. Times are seconds, or `timedelta`.

    Raises:
        BadPolicy: A value is out of range.
    """

    initial: float = 0.1
    maximum: float = 30.0
    factor: float = 2.0
    jitter: float = 0.1
    reset_after: float = 60.0
    tries: int | None = None

    def __init__(
        self,
        initial: Seconds = 0.1,
        *misplaced: Never,
        maximum: Seconds = 30.0,
        factor: float = 2.0,
        jitter: float = 0.1,
        reset_after: Seconds = 60.0,
        tries: int | None = None,
    ) -> None:
        if misplaced:
            accepted = f"keywords after the first, as in Backoff({shown(initial)}, maximum=30.0)"
            raise BadPolicy("backoff", misplaced[0], accepted)
        first = _number("backoff.initial", initial, minimum=0.0)
        highest = _number("backoff.maximum", maximum, minimum=first)
        factor = _number("backoff.factor", factor, minimum=1.0)
        if math.isinf(highest) or math.isinf(factor):
            infinite = "maximum" if math.isinf(highest) else "factor"
            raise BadPolicy(f"backoff.{infinite}", math.inf, "a finite number")
        jitter = _number("backoff.jitter", jitter, minimum=0.0, maximum=1.0)
        object.__setattr__(self, "initial", first)
        object.__setattr__(self, "maximum", highest)
        object.__setattr__(self, "factor", factor)
        object.__setattr__(self, "jitter", jitter)
        long_run = _number("backoff.reset_after", reset_after, minimum=0.0)
        object.__setattr__(self, "reset_after", long_run)
        if tries is not None:
            count = as_count(tries)
            if count < 1:
                raise BadPolicy("backoff.tries", tries, "a whole number, 1 or more, or None")
            tries = count
        object.__setattr__(self, "tries", tries)

    def is_over(self, restarts_in_a_row: int) -> bool:
        """Whether so many restarts in a row were the last."""
        return self.tries is not None and restarts_in_a_row >= self.tries

    def delay(self, restarts_in_a_row: int, random: Random) -> float:
        """Return the seconds to wait before restart number *restarts_in_a_row* (from 1)."""
        try:
            delay = self.initial * self.factor ** (restarts_in_a_row - 1)
        except OverflowError:
            delay = self.maximum if self.initial else 0.0
        delay = min(delay, self.maximum)
        return min(delay * (1.0 + self.jitter * (2.0 * random.random() - 1.0)), _LONGEST)

    def least(self, restarts: int) -> float:
        """Return the least seconds that so many delays in a row take together."""
        total, delay = 0.0, min(self.initial, self.maximum)
        for _ in range(min(restarts, 10_000)):
            total += delay * (1.0 - self.jitter)
            delay = min(delay * self.factor, self.maximum)
        return total


@final
@dataclass(frozen=True, slots=True, init=False)
class ExitApp:
    """What `on_failure` says of an exception that ends the app: as a SystemExit raised there.

    The root of the tree stops, and the process exits with *code*, 0 to 255; an embedded tree
    only stops.

    Raises:
        BadPolicy: *code* is no such number.
    """

    code: int

    def __init__(self, code: int) -> None:
        number = as_count(code)
        if not 0 <= number <= _HIGHEST_CODE:
            raise BadPolicy("ExitApp.code", code, "a whole number, 0 to 255")
        object.__setattr__(self, "code", number)


OnFailure = Action | Backoff | ExitApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All keywords a service class, its constructor's owner or `adopt` may give."""

    restart: Restart = "permanent"
    shutdown: Shutdown = 5.0
    start_timeout: float | None = None
    backoff: Backoff | None = None
    significant: bool = False
    strategy: Strategy = "one_for_one"
    max_restarts: int = 3
    max_seconds: float = 5.0
    auto_shutdown: AutoShutdown = "never"
    on_failure: Mapping[type[BaseException], OnFailure] = field(
        default_factory=dict[type[BaseException], OnFailure]
    )
    needs: Mapping[str, Need] | None = None
    retry_start: bool = False
    heartbeat: float | None = None
    autostart: bool = True
    asks_more: bool = field(init=False, repr=False, compare=False, default=False)
    """Whether to adopt it takes more than to start it."""

    def __post_init__(self) -> None:
        self._keep("restart", _choice("restart", self.restart, get_args(Restart)))
        self._keep("strategy", _choice("strategy", self.strategy, get_args(Strategy)))
        auto_shutdown = _choice("auto_shutdown", self.auto_shutdown, get_args(AutoShutdown))
        self._keep("auto_shutdown", auto_shutdown)
        if is_a(self.shutdown, str):
            words = ("brutal_kill", "infinity")
            self._keep("shutdown", _choice("shutdown", self.shutdown, words, "seconds, "))
        else:
            self._keep("shutdown", _number("shutdown", self.shutdown, minimum=0.0))
        if self.start_timeout is not None:
            seconds = _number("start_timeout", self.start_timeout, minimum=0.0)
            self._keep("start_timeout", seconds)
        if self.backoff is not None and not is_a(self.backoff, Backoff):
            raise BadPolicy("backoff", self.backoff, "sprag.Backoff(...) or None")
        for flag in ("significant", "retry_start", "autostart"):
            if type(value := getattr(self, flag)) is not bool:
                raise BadPolicy(flag, value, "True or False")
        count = as_count(self.max_restarts)
        if count < 0:
            raise BadPolicy("max_restarts", self.max_restarts, "a whole number, 0 or more")
        self._keep("max_restarts", count)
        self._keep("max_seconds", _above_0("max_seconds", self.max_seconds, "seconds above 0"))
        self._keep("on_failure", _rules(self.on_failure))
        if self.needs is not None:
            self._keep("needs", _needs(self.needs))
        if self.significant and self.restart == "permanent":
            # otp-rules 63: it would be started again, so its end can never shut anything down.
            raise BadPolicy("significant", True, "restart='transient' or 'temporary' with it")
        if self.heartbeat is not None:
            self._keep(
                "heartbeat", _above_0("heartbeat", self.heartbeat, "seconds above 0, or None")
            )
        self._keep("asks_more", self._is_demanding())

    @property
    def own_seconds(self) -> float:
        """Seconds that the service's own stop steps may take; infinite for "infinity"."""
        if self.shutdown == "infinity":
            return math.inf
        if self.shutdown == "brutal_kill":
            return 0.0
        return self.shutdown

    @property
    def healthy_after(self) -> float:
        """Seconds of a life after which its restarts are no longer in a row, for any backoff."""
        backoffs = [self.backoff, *self.on_failure.values()] if self.on_failure else [self.backoff]
        # Who has none waits by PATIENT if its first start is tried again.
        default = PATIENT.reset_after
        return max([each.reset_after for each in backoffs if is_a(each, Backoff)], default=default)

    def backoff_after(self, action: OnFailure | None) -> Backoff | None:
        """Return what delays a restart after a failure of which `on_failure` says *action*."""
        return action if is_a(action, Backoff) else self.backoff

    def _is_demanding(self) -> bool:
        more = self.significant or self.needs or self.retry_start or self.heartbeat
        return bool(more or not self.autostart)

    def _keep(self, keyword: str, value: object) -> None:
        """Remember what was given in its plainest form: a timedelta as a number, say."""
        object.__setattr__(self, keyword, value)

    def action_for(self, error: BaseException) -> OnFailure | None:
        """Return what `on_failure` says about *error*; the nearest of its classes decides.

        Of an exception group its members are asked, unless its own class is named, and the
        gravest answer counts: `ExitApp`, escalate, stop, a `Backoff`, restart. That it finishes
        counts only if all of them say so.
        """
        if not self.on_failure:
            return None
        classes = ancestors(type(error))
        if not is_a(error, BaseExceptionGroup):
            return self._action_for(classes)
        own: list[type] = [each for each in classes if issubclass(each, BaseExceptionGroup)]
        if (action := self._action_for(own)) is not None:
            return action
        found: list[OnFailure | None] = [
            self._action_for(ancestors(type(leaf))) for leaf in leaves_of(error)
        ]
        gravest = min(found, key=_rank, default=None)
        return None if gravest == "finish" and None in found else gravest

    def _action_for(self, classes: Sequence[type]) -> OnFailure | None:
        for kind in classes:
            for named, action in self.on_failure.items():
                if named is kind:  # by identity: hash and equality are its metaclass's
                    return action
        return None

    def with_(self, given: Mapping[str, object]) -> Policy:
        """Return this policy with the keywords *given* laid over it.

        Raises:
            BadPolicy: A keyword is unknown or its value is not accepted.
        """
        if not given:
            return self
        for keyword, value in given.items():
            if keyword not in KEYWORDS:
                raise BadPolicy(keyword, value, choices(keyword, KEYWORDS), is_known=False)
        return dataclasses.replace(self, **given)  # type: ignore[arg-type]


def _rules(given: Any) -> dict[type[BaseException], OnFailure]:
    """Return what `on_failure` is given, checked."""
    if not issubclass(type(given), Mapping):
        accepted = "actions by exception classes, as in {ValueError: 'stop'}"
        raise BadPolicy("on_failure", given, accepted)
    rules: dict[Any, Any] = dict(given)
    for kind, action in rules.items():
        if not (is_a(kind, type) and issubclass(cast("Any", kind), BaseException)):
            raise BadPolicy("on_failure", kind, "exception classes as its keys")
        if issubclass(cast("Any", kind), _NO_FAILURES):
            accepted = (
                "classes of failures as its keys: SystemExit ends the app, KeyboardInterrupt the "
                "program, GreenletExit a greenlet, and that is no failure"
            )
            raise BadPolicy("on_failure", kind, accepted)
        if not (is_a(action, Backoff) or is_a(action, ExitApp)):
            others = "sprag.Backoff(...), sprag.ExitApp(code), "
            rules[kind] = _choice("on_failure", action, get_args(Action), others)
    return rules


def is_grave(action: OnFailure | None) -> bool:
    """Whether *action* ends more than the service: its parent, or the app."""
    return action is not None and (action == "escalate" or is_a(action, ExitApp))


def _rank(action: OnFailure | None) -> int:
    """Return the place of *action* among others, the gravest first."""
    if is_a(action, ExitApp):
        return 0
    word: object = "backoff" if is_a(action, Backoff) else action
    return _GRAVEST.index(word)


def _needs(given: Any) -> dict[str, Need]:
    """Return what `needs` is given: by each sibling's name, what it has to be."""
    accepted = "a tuple of siblings' names, or a dict as in {'db': 'started'}, or None"
    if issubclass(type(given), Mapping):
        words: dict[object, object] = dict(given)
    elif issubclass(type(given), Iterable) and not is_a(given, str):
        names = tuple(given)
        given = names if issubclass(type(given), Iterator) else given
        if not all(is_a(name, str) for name in names):
            raise BadPolicy("needs", given, accepted)
        words = dict.fromkeys(names, "ready")
    else:
        raise BadPolicy("needs", given, accepted)
    needs: dict[str, Need] = {}
    for name, word in words.items():
        if not is_a(name, str) or not name or "/" in name:
            raise BadPolicy("needs", given, accepted)
        needs[str.__str__(name)] = cast("Need", _choice("needs", word, get_args(Need)))
    return needs


def check_need(name: str, need: Need, sibling: Policy) -> None:
    """Refuse to need of the sibling called *name* what it can never be.

    Raises:
        BadPolicy: It is to be finished, and comes back or is forgotten instead.
    """
    if need == "finished" and sibling.restart != "transient":
        accepted = f"'started' or 'ready': {name} is {sibling.restart}, and only what is transient"
        raise BadPolicy("needs", {name: need}, f"{accepted} stays finished")


def _choice(keyword: str, given: object, accepted: tuple[str, ...], others: str = "") -> str:
    """Return *given* as plain text, if it is one of the *accepted*."""
    word = str.__str__(given) if is_a(given, str) else None
    if word is None or word not in accepted:
        raise BadPolicy(keyword, given, others + choices(given, accepted))
    return word


def _number(keyword: str, given: Any, *, minimum: float, maximum: float = math.inf) -> float:
    """Return *given* as a float, in seconds if it is a timedelta.

    Raises:
        BadPolicy: It is no number, or out of range.
    """
    number = in_seconds(given)
    if not minimum <= number <= maximum:
        upper = f" to {maximum:g}" if maximum != math.inf else " or more"
        raise BadPolicy(keyword, given, f"a number, {minimum:g}{upper}")
    return number


def _above_0(keyword: str, given: Any, accepted: str) -> float:
    """Return *given*, which is not None, in seconds.

    Raises:
        BadPolicy: It is no number, or not above 0.
    """
    number = in_seconds(given)
    if not number > 0:
        raise BadPolicy(keyword, given, accepted)
    return number


_LONGEST: Final = sys.float_info.max
"""Jitter would make it infinite."""
_NO_FAILURES: Final = (SystemExit, KeyboardInterrupt, GreenletExit)
_GRAVEST: Final = ("exit", "escalate", "stop", "backoff", "restart", "finish", None)
_HIGHEST_CODE: Final = 255
KEYWORDS: Final = tuple(field.name for field in dataclasses.fields(Policy) if field.init)
DEFAULT: Final = Policy()
PATIENT: Final = Backoff()
"""What a first start that is tried again waits for, if nothing else is said."""
