"""What can go wrong, one class per case.

Every error of sprag is a `SpragError` and carries the facts as attributes; the
message is made from them and says what was given, what is accepted and what to
do. They pickle and copy like plain exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sprag_supervisor.wording import SpragError, SpragFieldsError, choices

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "AfterFork",
    "AlreadyAdopted",
    "AlreadyPresent",
    "AlreadyStarted",
    "BadPolicy",
    "BadValue",
    "CalledInHub",
    "ChildRestarting",
    "ChildRunning",
    "EngineError",
    "Escalated",
    "Ignore",
    "LikelyMistake",
    "MaxRestartsExceeded",
    "NotRunning",
    "SpragError",
    "StartAborted",
    "StartFailed",
    "StartTimeout",
    "TriesExceeded",
    "UnknownChild",
    "Unresponsive",
    "WouldDeadlock",
    "WrongThread",
]


class LikelyMistake(UserWarning):
    """A class says something that sprag does not hear: a misspelt hook, policy as an attribute.

    A warning, because it may be meant: ``warnings.filterwarnings("ignore", category=…)``.
    """


class BadPolicy(SpragFieldsError, ValueError):
    """A policy keyword has a wrong name or a wrong value. Raised when the class is made."""

    keyword: str
    given: object
    accepted: str
    is_known: bool
    _template = "policy {keyword}={shown} is not accepted: use {accepted}"

    def __init__(
        self, keyword: str, given: object, accepted: str, *, is_known: bool = True
    ) -> None:
        super().__init__(keyword=keyword, given=given, accepted=accepted, is_known=is_known)

    def _message(self) -> str:
        if not self.is_known:
            return f"unknown policy keyword {self.keyword!r}: use {self.accepted}"
        return super()._message()


class BadValue(SpragFieldsError, ValueError):
    """An argument is of no use: a negative delay, an empty name, something not callable."""

    argument: str
    given: object
    accepted: str
    _template = "{argument}={shown} is not accepted: use {accepted}"

    def __init__(self, argument: str, given: object, accepted: str) -> None:
        super().__init__(argument=argument, given=given, accepted=accepted)


class NotRunning(SpragFieldsError):
    """The service must be starting or running for this, and is not."""

    path: str
    state: str
    action: str
    remedy: str
    _template = "{path} is {state}: cannot {action}; {remedy}"

    def __init__(self, path: str, state: str, action: str, remedy: str) -> None:
        super().__init__(path=path, state=state, action=action, remedy=remedy)


class StartFailed(SpragFieldsError):
    """A service could not be started. `__cause__` is what its `on_start` raised.

    It names the innermost service that failed, whatever the number of levels it
    passed on its way up (otp-rules 2).
    """

    path: str
    reason: str
    failure: object = None
    """What is remembered of it, where the engine has raised it; not part of a pickle."""
    _template = "{path} failed to start: {reason}"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path=path, reason=reason)


class StartTimeout(SpragFieldsError):
    """The service was not up, or not ready, within the `start_timeout` seconds it has.

    Attributes:
        seconds: The `start_timeout`.
        waits_for: Why it was not ready, in its own words; None: `on_start` has not returned.
    """

    seconds: float
    waits_for: str | None

    def __init__(self, seconds: float, waits_for: str | None = None) -> None:
        super().__init__(seconds=seconds, waits_for=waits_for)

    def _message(self) -> str:
        within = f"within {self.seconds:g} s (start_timeout)"
        if self.waits_for is None:
            return f"on_start did not return {within}"
        return f"not ready {within}" + (f": {self.waits_for}" if self.waits_for else "")


class Unresponsive(SpragFieldsError):
    """The service has not called `beat` for the `heartbeat` seconds within which it has to.

    Its notes are where its greenlets were then.
    """

    seconds: float
    _template = "no beat() within {seconds:g} s (heartbeat)"

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds=seconds)


class StartAborted(SpragFieldsError):
    """`on_start` was cut short: the service or its parent was asked to stop meanwhile."""

    why: str
    _template = "on_start was aborted: {why}"

    def __init__(self, why: str) -> None:
        super().__init__(why=why)


class Ignore(SpragFieldsError):
    """Raise it in `on_start` to say: start without me (OTP's `ignore`, otp-rules 4-6).

    The start counts as a success, the service is `stopped`, and a later group
    restart that covers it asks it again.
    """

    why: str
    _template = "{why}"

    def __init__(self, why: str = "ignored") -> None:
        super().__init__(why=why)


class EngineError(SpragFieldsError):
    """Something in sprag's own code has raised: a bug. `__cause__` is what.

    The service that was concerned has gone down as after a crash; its parent decides.
    """

    step: str
    _template = "a bug in sprag ({step}): please report it, with this traceback"

    def __init__(self, step: str) -> None:
        super().__init__(step=step)


class Escalated(SpragFieldsError):
    """A supervisor ended because a child's `on_failure` says that its crash is to be escalated."""

    path: str
    child: str
    last: str
    _template = "{path} gave up: the failure of {child} is to be escalated ({last})"

    def __init__(self, path: str, child: str, last: str) -> None:
        super().__init__(path=path, child=child, last=last)


class MaxRestartsExceeded(SpragFieldsError):
    """A supervisor gave up: more restarts than its limit allows (otp-rules 11-21)."""

    path: str
    child: str
    max_restarts: float
    max_seconds: float
    last: str
    _template = (
        "{path} gave up: more than {max_restarts} restarts within {max_seconds:g} s, "
        "the last for {child} ({last})"
    )

    def __init__(
        self, path: str, child: str, max_restarts: float, max_seconds: float, last: str
    ) -> None:
        super().__init__(
            path=path, child=child, max_restarts=max_restarts, max_seconds=max_seconds, last=last
        )


class TriesExceeded(SpragFieldsError):
    """A supervisor gave up: a child of its group failed as often as its Backoff allows."""

    path: str
    child: str
    tries: int
    last: str
    _template = "{path} gave up: {child} was tried {tries} times in a row ({last})"

    def __init__(self, path: str, child: str, tries: int, last: str) -> None:
        super().__init__(path=path, child=child, tries=tries, last=last)


_KEPT: Final = ("stopped", "finished", "failed")


class AlreadyAdopted(SpragFieldsError):
    """The service already has a place in a tree; one object cannot live in two."""

    path: str
    state: str

    def __init__(self, path: str, state: str = "running") -> None:
        super().__init__(path=path, state=state)

    def _message(self) -> str:
        remedy = "make another instance"
        if "/" not in self.path:
            remedy += ", or stop this one"
        elif self.state in _KEPT:
            remedy += (
                ", or start it where it is; a Supervisor lets go of it with delete_child(), "
                "any parent when it is adopted with restart='temporary' and stops"
            )
        return f"{self.path} already has a place in a tree ({self.state}): {remedy}"


class AlreadyStarted(SpragFieldsError):
    """`start` or `start_child` for something that runs (OTP: `already_started`)."""

    path: str
    state: str

    def __init__(self, path: str, state: str = "running") -> None:
        super().__init__(path=path, state=state)

    def _message(self) -> str:
        if self.state == "stopping":
            remedy = "start it when it is down, from a greenlet that does not end with it"
            return f"{self.path} is still stopping: {remedy}"
        return f"{self.path} is already started: stop it first, or choose another name"


class AlreadyPresent(SpragFieldsError):
    """The name belongs to a child that is kept but does not run (OTP: `already_present`)."""

    path: str
    state: str
    _template = "{path} is already there ({state}): start it again, or choose another name"

    def __init__(self, path: str, state: str) -> None:
        super().__init__(path=path, state=state)


class ChildRunning(SpragFieldsError):
    """The child is not down, so it can be neither restarted nor deleted (OTP: `running`)."""

    path: str
    state: str
    _template = "{path} is {state}: stop it first"

    def __init__(self, path: str, state: str = "running") -> None:
        super().__init__(path=path, state=state)


class ChildRestarting(SpragFieldsError):
    """The child is being restarted already (OTP: `restarting`)."""

    path: str
    _template = "{path} is being restarted already: wait for it, or stop it first"

    def __init__(self, path: str) -> None:
        super().__init__(path=path)


class UnknownChild(SpragFieldsError):
    """No child of that name (OTP: `not_found`). Names that look alike are listed."""

    parent: str
    name: str
    names: tuple[str, ...]

    def __init__(self, parent: str, name: str, names: Iterable[str]) -> None:
        super().__init__(parent=parent, name=name, names=tuple(names))

    def _message(self) -> str:
        if not self.names:
            return f"{self.parent} has no child {self.name!r}: it has no children"
        return f"{self.parent} has no child {self.name!r}: use {choices(self.name, self.names)}"


class WouldDeadlock(SpragFieldsError):
    """The call would wait for a supervisor that itself waits for the caller's hook."""

    path: str
    action: str
    _template = (
        "cannot {action}: {path} is waiting for the hook that makes this call; "
        "do it from a greenlet of your own: self.spawn(...)"
    )

    def __init__(self, path: str, action: str) -> None:
        super().__init__(path=path, action=action)


class CalledInHub(SpragFieldsError):
    """The call may have to wait, and came from gevent's hub, where nothing can be waited for.

    The hub runs the loop's callbacks (`rawlink`, `loop.timer`, `run_callback`) and, while all
    greenlets wait, Python's signal handlers.
    """

    path: str
    action: str
    _template = (
        "{path}: cannot {action} in the hub, in a callback of the loop or a signal handler, "
        "where nothing can wait: do it in a greenlet, gevent.spawn(fn)"
    )

    def __init__(self, path: str, action: str) -> None:
        super().__init__(path=path, action=action)


class WrongThread(SpragFieldsError):
    """The call came from another native thread than the one in which the tree was started."""

    path: str
    _template = (
        "{path} belongs to the thread that started its tree: "
        "hand the work over to it with call_from_thread(fn, *args)"
    )

    def __init__(self, path: str) -> None:
        super().__init__(path=path)


class AfterFork(SpragFieldsError):
    """The call came from a forked child: the tree runs in the parent, here is only a copy."""

    path: str
    process: int
    _template = (
        "{path} runs in process {process}, of which this one is a forked copy: "
        "no service runs here; make new ones, or fork before the tree is started"
    )

    def __init__(self, path: str, process: int) -> None:
        super().__init__(path=path, process=process)
