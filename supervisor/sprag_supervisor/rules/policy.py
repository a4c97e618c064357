"""What a service asks for: how it is restarted, stopped, and how it supervises.

A `Policy` is frozen and checked when it is made, so a misspelt value raises where
it was written (`bad_combination`s: otp-rules 63), and one object serves all
instances of a class. Pure: no gevent, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from greenlet import GreenletExit

from sprag_supervisor.exceptions import BadPolicy
from sprag_supervisor.foreign import ancestors, is_a
from sprag_supervisor.record import Record
from sprag_supervisor.rules.backoff import PATIENT, Backoff, ExitApp
from sprag_supervisor.rules.graph import Need
from sprag_supervisor.rules.groups import leaves_of
from sprag_supervisor.rules.seconds import LEAST, as_count, as_number, seconds_of
from sprag_supervisor.wording import choices

if TYPE_CHECKING:
    from collections.abc import Sequence

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]
Action = Literal["restart", "finish", "stop", "escalate"]
Shutdown = float | Literal["brutal_kill", "infinity"]


OnFailure = Action | Backoff | ExitApp


class _Known:
    """What is known of a policy besides its keywords."""

    asks_more: bool
    """Whether to adopt it takes more than to start it."""
    comes_back: bool
    """Whether a crash is followed by a restart at once, if there have not been too many: what
    `decide.ruling` says of most services, where their `on_failure` says nothing."""
    own: Policy | None
    """What the service asks for itself, if something else is laid over that: `given`."""
    given: Mapping[str, object] | None
    """What it was adopted with: that wins, and survives its restarts."""


class Policy(_Known, Record, kw_only=True):
    """All keywords a service class, its constructor's owner or `adopt` may give."""

    restart: Restart = "permanent"
    shutdown: Shutdown = 5.0
    start_timeout: float | None = None
    backoff: Backoff | None = None
    significant: bool = False
    strategy: Strategy = "one_for_one"
    max_restarts: float = 3
    """A whole number; infinite: no limit."""
    max_seconds: float = 5.0
    auto_shutdown: AutoShutdown = "never"
    on_failure: Mapping[type[BaseException], OnFailure] = MappingProxyType({})
    needs: Mapping[str, Need] | None = None
    retry_start: bool = False
    heartbeat: float | None = None
    autostart: bool = True

    def __post_init__(self) -> None:
        self._keep("restart", _choice("restart", self.restart, get_args(Restart)))
        self._keep("strategy", _choice("strategy", self.strategy, get_args(Strategy)))
        auto_shutdown = _choice("auto_shutdown", self.auto_shutdown, get_args(AutoShutdown))
        self._keep("auto_shutdown", auto_shutdown)
        if is_a(self.shutdown, str):
            words = ("brutal_kill", "infinity")
            self._keep("shutdown", _choice("shutdown", self.shutdown, words, "seconds, "))
        else:
            words_too = ", 'brutal_kill' or 'infinity'"
            self._keep_seconds("shutdown", 0.0, endless=True, also=words_too)
        if self.start_timeout is not None:
            self._keep_seconds("start_timeout", endless=True, also=", or None")
        if self.heartbeat is not None:
            self._keep_seconds("heartbeat", also=", or None")
        if self.backoff is not None and not is_a(self.backoff, Backoff):
            raise BadPolicy("backoff", self.backoff, "sprag.Backoff(...) or None")
        for flag in ("significant", "retry_start", "autostart"):
            if type(value := getattr(self, flag)) is not bool:
                raise BadPolicy(flag, value, "True or False")
        if as_number(self.max_restarts) != math.inf:
            count = as_count(self.max_restarts)
            if count < 0:
                accepted = "a whole number, 0 or more, or math.inf for no limit"
                raise BadPolicy("max_restarts", self.max_restarts, accepted)
            self._keep("max_restarts", count)
        self._keep_seconds("max_seconds", endless=True)
        self._keep("on_failure", _rules(self.on_failure))
        if self.needs is not None:
            self._keep("needs", _needs(self.needs))
        if self.significant and self.restart == "permanent":
            # otp-rules 63: it would be started again, so its end can never shut anything down.
            raise BadPolicy("significant", True, "restart='transient' or 'temporary' with it")
        # In the object itself, where it is found ten times as fast as in the class.
        self._keep("asks_more", self._is_demanding())
        self._keep("comes_back", self.restart != "temporary" and self.backoff is None)
        self._keep("own", None)
        self._keep("given", None)

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
        more = self.significant or self.needs is not None or self.retry_start or self.heartbeat
        return bool(more or not self.autostart)

    def _keep(self, keyword: str, value: object) -> None:
        """Remember what was given in its plainest form: a timedelta as a number, say."""
        object.__setattr__(self, keyword, value)

    def _keep_seconds(
        self, keyword: str, least: float = LEAST, *, endless: bool = False, also: str = ""
    ) -> None:
        given = getattr(self, keyword)
        seconds = seconds_of(keyword, given, least, endless=endless, also=also, refusal=BadPolicy)
        self._keep(keyword, seconds)

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
        return self.but(**given)

    def overlaid(self, given: Mapping[str, object]) -> Policy:
        """Return what a service that asks for this one gets, if it is adopted with *given*.

        Raises:
            BadPolicy: As `with_` does.
        """
        policy = self.with_(given)
        if policy is not self:
            policy._keep("own", self)
            policy._keep("given", dict(given))
        return policy


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


_NO_FAILURES: Final = (SystemExit, KeyboardInterrupt, GreenletExit)
_GRAVEST: Final = ("exit", "escalate", "stop", "backoff", "restart", "finish", None)
KEYWORDS: Final = tuple(Policy._types_)
DEFAULT: Final = Policy()
