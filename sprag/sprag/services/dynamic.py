"""A supervisor for children that are started on demand."""

from __future__ import annotations

from typing import Any, Never, TypeVar, cast

from sprag.exceptions import MaxChildren
from sprag.services.service import Service
from sprag_supervisor import (
    ChildCounts,
    ChildInfo,
    Node,
    StopReport,
    adopt,
    as_count,
    called,
    checked_name,
    child_of,
    count_children,
    is_a,
    name_of,
    path_of,
    which_children,
)
from sprag_supervisor.exceptions import BadPolicy, BadValue, UnknownChild

NodeT = TypeVar("NodeT", bound=Node)
ServiceT = TypeVar("ServiceT", bound=Service)


class DynamicSupervisor(Service):
    """Supervises children that come and go: Elixir's DynamicSupervisor.

    One for one only. Children are forgotten when they are terminated, whatever their
    restart type, and are all stopped together, within the longest of their ``shutdown``
    times instead of the sum. Starting and removing a child costs the same beside one
    sibling and beside 100,000.

    Args:
        max_children: How many there may be, those waiting for a restart included
            (otp-rules 62); None for no limit.
        name: The supervisor's name in its tree; default: its class's.
        **policy: Keywords as for `Service`, but for another ``strategy`` and for
            ``auto_shutdown``.

    Raises:
        BadPolicy: A policy keyword is unknown, wrong, or of no use here.
        BadValue: *max_children* is not a whole number.
    """

    _is_supervisor_ = True
    _stops_together_ = True
    _forgets_ended_ = True
    name: str | None = None
    max_children: int | None = None

    def __init__(
        self,
        *misplaced: Never,
        max_children: int | None = None,
        name: str | None = None,
        **policy: Any,
    ) -> None:
        if misplaced:
            accepted = "keywords, as in max_children=10; children are started with start_child()"
            raise BadValue("DynamicSupervisor's argument", misplaced[0], accepted)
        if name is not None:
            self.name = checked_name(name)
        count = None if max_children is None else as_count(max_children)
        if count is not None and count < 0:
            raise BadValue("max_children", max_children, "a whole number, 0 or more, or None")
        self.max_children = count
        self._policy_ = self._policy_.with_(policy)
        if self._policy_.strategy != "one_for_one":
            raise BadPolicy("strategy", self._policy_.strategy, "'one_for_one', the only one here")
        if self._policy_.auto_shutdown != "never":
            raise BadPolicy("auto_shutdown", self._policy_.auto_shutdown, "'never' here")

    def start_child(
        self, service: ServiceT | type[ServiceT], *, name: str | None = None, **policy: Any
    ) -> ServiceT:
        """Start *service*, or one of that class, as a child; return it when it has started.

        Blocks as long as its `on_start` does. A service that raises `Ignore` is returned,
        and is no child.

        Raises:
            MaxChildren: There are as many children as there may be.
            StartFailed: It could not be started, and is no child.
            AlreadyStarted, AlreadyPresent: The service is a child already, or *name* belongs
                to another one.
            BadValue: *service* is none, and no class that makes one without arguments.
            NotRunning, AlreadyAdopted, BadPolicy, WouldDeadlock, CalledInHub: As for `adopt`.
        """
        given: Any = service
        if self.max_children is not None and not (is_a(given, Service) and given._parent_ is self):
            self._check_room_()  # at once, and again under the turn; a child is refused as that
        return adopt(self, given, name, policy)  # type: ignore[return-value] # a cast is a call

    def _check_room_(self) -> None:
        limit = self.max_children
        if limit is not None and len(self._children_ or ()) >= limit:
            raise MaxChildren(path_of(self), limit)

    def adopt(self, child: NodeT | type[NodeT], *, name: str | None = None, **policy: Any) -> NodeT:
        """Do the same as `start_child`."""
        given = cast("Any", child)  # what it is, is looked at there
        return cast("NodeT", self.start_child(given, name=name, **policy))

    def terminate_child(self, child: Service | str) -> StopReport:
        """Stop a child, given as the service or by its name, and forget it.

        Blocks until it is down.

        Raises:
            UnknownChild: It is not one of my children.
            BadValue: It is neither a service nor a name.
        """
        service: Any = child_of(self, child) if is_a(child, str) else child
        if not is_a(service, Service):
            raise BadValue("child", service, f"a child of mine, or its name{called(service)}")
        if service._parent_ is not self:
            raise UnknownChild(path_of(self), name_of(service), self._children_ or {})
        return Service.stop(service)

    def which_children(self) -> list[ChildInfo]:
        """Return name, state, service, restart type and kind of each child, in start order."""
        return which_children(self)

    def count_children(self) -> ChildCounts:
        """Return how many children there are: specs, active, supervisors, workers."""
        return count_children(self)
