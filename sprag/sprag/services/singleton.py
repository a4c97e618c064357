"""What runs once, however many trees there are of an app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never, cast

from sprag.services.bidding import Bidding
from sprag.services.service import Service
from sprag.services.supervisor import Child, checked_child
from sprag_supervisor import (
    Node,
    arguments_of,
    called,
    checked_name,
    class_name,
    is_class,
    remember_arguments,
)
from sprag_supervisor.exceptions import BadPolicy, BadValue

if TYPE_CHECKING:
    from sprag_supervisor import Failure, Policy


class Singleton(Service):
    """Runs a service once, of all the workers of an app.

        App(providers={"billing": Singleton(Billing()), "web": Web()})

    With ``sprag run --workers 4`` one of the four runs it; the others stand by, and one of them
    takes over as soon as that one has ended, or has stopped it. In a process that is alone it
    runs there. I am `running` in all of them, and ready where I stand by; my child is there only
    where it runs. ``app.service("billing")`` is that child, or, where it does not run, the same
    object at rest, whose ``lease`` is None.

    If it is restarted too often, or does not come up, another worker tries. When all have tried,
    it is `failed` where it was tried last, until somebody starts it by hand, or that worker ends;
    I, and the app, live on.

    Args:
        service: What runs once; or its class, or a pair with its policy, as for `Supervisor`.
        name: My name in the tree; default: "Singleton".
        **policy: Keywords as for `Service`, mine: ``max_restarts`` says how often it is restarted
            here, ``backoff`` when I try again where I have given up; not another ``strategy``, nor
            ``auto_shutdown``.

    Raises:
        BadPolicy: A policy keyword is unknown, wrong, or of no use here.
        BadValue: *service* is none.
    """

    _is_supervisor_ = True
    _outlives_limit_ = True
    name: str | None = None
    _bidding_: Bidding | None = None
    _only_: tuple[Service, str | None, dict[str, Any]] | None = None

    def __init__(
        self, service: Child, *misplaced: Never, name: str | None = None, **policy: Any
    ) -> None:
        if misplaced:
            accepted = f"one service: each has a Singleton of its own{called(service)}"
            raise BadValue("Singleton's argument", misplaced[0], accepted)
        if name is not None:
            self.name = checked_name(name)
        self._only_ = only = checked_child(service)
        args, kwargs = arguments_of(self)
        if is_class(service) and args[:1] == (service,):
            remember_arguments(self, (only[0], *args[1:]), kwargs)  # the same one in each life
        self._policy_ = of_what_runs_once(self._policy_.with_(policy))

    def _prepare_(self) -> None:
        if self._only_ is None:
            raise BadValue(
                f"the __init__ of {class_name(type(self))}",
                None,
                "super().__init__(service) in it: it does not know what it runs",
            )
        self._bidding_ = self._bidder_(*self._only_)
        self._bidding_.begin()

    def _bidder_(self, child: Node, name: str | None, policy: dict[str, Any]) -> Bidding:
        return Bidding(self, child, name, policy)

    def _ownership_(self) -> tuple[str | None, bool, int | None] | None:
        return None if self._bidding_ is None else self._bidding_.ownership

    def _meant_(self) -> Node:
        return self if self._only_ is None else self._only_[0]

    def _has_lost_(self, child: Node, failure: Failure | None) -> None:
        if self._bidding_ is not None:
            self._bidding_.has_lost(cast("Service", child), failure)


def of_what_runs_once(policy: Policy) -> Policy:
    """Return *policy*, if it makes sense where a row says who runs what.

    Raises:
        BadPolicy: It asks for something that siblings, or an end by themselves, would need.
    """
    if policy.strategy != "one_for_one":
        raise BadPolicy("strategy", policy.strategy, "'one_for_one', the only one here")
    if policy.auto_shutdown != "never":
        raise BadPolicy("auto_shutdown", policy.auto_shutdown, "'never' here")
    return policy
