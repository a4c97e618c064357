"""Services that do nothing but supervise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Never, TypeVar, cast

from sprag.services.ordering import in_order_of_needs, policy_of
from sprag.services.service import Service
from sprag_supervisor import (
    ChildCounts,
    ChildInfo,
    ChildSpec,
    StopReport,
    adopt,
    adopt_all,
    arguments_of,
    called,
    checked_name,
    child_of,
    childspec_of,
    count_children,
    delete_child,
    is_a,
    is_class,
    made_of,
    refuse_present,
    remember_arguments,
    restart_child,
    which_children,
)
from sprag_supervisor.exceptions import AlreadyPresent, BadValue

ServiceT = TypeVar("ServiceT", bound=Service)
_ACCEPTED: Final = "a service or its class, or a pair (service, {policy})"
Made = Service | type[Service]
Child = Made | tuple[Made, dict[str, Any]]


class Supervisor(Service):
    """Starts a fixed list of children in order and supervises them, and any it adopts.

        with Supervisor(children=[Feed(), (Store(), {"restart": "transient"})]) as sup:
            ...

    Embedded like this it touches no signal handler, no logging configuration and no
    other global; services run whenever the program's greenlets yield.

    Args:
        children: Services, or pairs of a service and its policy keywords, among them
            ``name``. A class stands for a service that is made without arguments. All are
            checked before any is started (otp-rules 7).
        name: The supervisor's name in its tree; default: its class's.
        **policy: Keywords as for `Service`; they win over the class's.

    Raises:
        BadPolicy: A policy keyword is unknown or wrong.
        BadValue: A child is no service, or the same one is given twice.
        AlreadyPresent: Two children are given the same name.
    """

    _is_supervisor_ = True
    _static_: tuple[tuple[Service, str | None, dict[str, Any]], ...] = ()
    _by_needs_: bool = False
    """A child says what it needs: they start side by side, in the order of that."""
    name: str | None = None

    def __init__(
        self,
        children: Iterable[Child] = (),
        *more: Never,
        name: str | None = None,
        **policy: Any,
    ) -> None:
        _check_shape(children, more)
        if name is not None:
            self.name = checked_name(name)
        self._policy_ = self._policy_.with_(policy)
        listed = tuple(children)
        self._static_ = tuple(map(checked_child, listed))
        if issubclass(type(children), Iterator) or any(map(has_class, listed)):
            # A restart runs __init__ again with the same arguments: it would be empty then, or
            # others would be made.
            self._instead_of_(children, tuple(map(_as_pair, self._static_)))
        _check_distinct(self, self._static_)
        if any(policy_of(child, given).needs is not None for child, _name, given in self._static_):
            self._by_needs_, self._static_ = True, in_order_of_needs(self._static_)

    def _instead_of_(self, given: object, children: object) -> None:
        """Put *children* into the arguments; those of a subclass's own __init__ may be others."""
        args, kwargs = arguments_of(self)
        remember_arguments(
            self,
            tuple(children if each is given else each for each in args),
            {keyword: children if each is given else each for keyword, each in kwargs.items()},
        )

    def _prepare_(self) -> None:
        adopt_all(self, self._static_, by_needs=self._by_needs_)

    # -- OTP's management calls; results as in otp-rules appendix A ----------------------

    def start_child(
        self, service: ServiceT | type[ServiceT], *, name: str | None = None, **policy: Any
    ) -> ServiceT:
        """Add *service* as the last child and start it; return it when it has started.

        Blocks as long as its `on_start` does. Never counts toward the restart limit.

        Raises:
            AlreadyStarted: *name*, or the service itself, is a running child.
            AlreadyPresent: Likewise, of a child that is kept but does not run.
            StartFailed: It could not be started, and is no child (otp-rules 55).
            BadValue: *service* is none, and no class that makes one without arguments.
            NotRunning, AlreadyAdopted, BadPolicy, WouldDeadlock, CalledInHub: As for `adopt`.
        """
        given: Any = service
        if issubclass(type(given), Service) and given._parent_ is self:
            refuse_present(self, given)
        return cast("ServiceT", adopt(self, given, name, policy))

    def terminate_child(self, name: str) -> StopReport:
        """Stop the child called *name* and keep it; a temporary one leaves the tree.

        Blocks until it is down. A child that is down already is left as it is; one that
        waits for its restart is not restarted (otp-rules 43, 58).

        Raises:
            UnknownChild: There is no such child.
        """
        return Service.stop(cast("Service", child_of(self, name)))

    def restart_child(self, name: str) -> Service:
        """Start a child that is kept but down, and return it (otp-rules 56).

        Raises:
            UnknownChild: There is no such child.
            ChildRunning: It runs, or is about to.
            ChildRestarting: It waits for its restart.
            AlreadyStarted: It is stopping, and the caller would end with it, or is what the
                stop waits for.
            StartFailed: It could not be started; it is kept.
            WouldDeadlock: I wait for the very hook that makes this call.
        """
        child = cast("Service", child_of(self, name))
        restart_child(child)
        return child

    def delete_child(self, name: str) -> None:
        """Forget a child that is down (otp-rules 57).

        Raises:
            UnknownChild: There is no such child.
            ChildRunning: It runs, or is still stopping: terminate it first.
            ChildRestarting: It waits for its restart: terminate it first.
            WouldDeadlock: I wait for the very hook that makes this call.
        """
        delete_child(self, child_of(self, name))

    def which_children(self) -> list[ChildInfo]:
        """Return name, state, service, restart type and kind of each child, in start order."""
        return which_children(self)

    def count_children(self) -> ChildCounts:
        """Return how many children there are: specs, active, supervisors, workers."""
        return count_children(self)

    def get_childspec(self, name: str) -> ChildSpec:
        """Return how the child called *name* is made and treated.

        Raises:
            UnknownChild: There is no such child.
        """
        return childspec_of(child_of(self, name))


def has_class(given: object) -> bool:
    """Whether *given*, which is a child, is a class, or a pair with one."""
    return not is_a(given, Service) and (
        is_class(given) or is_class(next(iter(cast("Iterable[object]", given))))
    )


def _as_pair(
    child: tuple[Service, str | None, dict[str, Any]],
) -> tuple[Service, dict[str, Any]]:
    service, name, policy = child
    return service, policy if name is None else {"name": name, **policy}


def checked_child(given: object) -> tuple[Service, str | None, dict[str, Any]]:
    """Return what is given for a child: the service, its name if it was given one, its policy.

    Raises:
        BadValue: It is none.
        BadPolicy: Its policy is wrong.
    """
    if is_class(given):
        given = made_of(given, "child", _ACCEPTED)
    if is_a(given, Service):
        return given, None, {}
    if type(given) in (tuple, list) and len(pair := tuple(cast("list[object]", given))) == 2:
        first, policy = pair
        has_policy = issubclass(type(policy), dict)
        if has_policy and is_class(first):
            first = made_of(first, "child", _ACCEPTED)
        if has_policy and is_a(first, Service):
            keywords = dict(cast("dict[str, Any]", policy))
            name = keywords.pop("name", None)
            name = None if name is None else checked_name(name)
            first._policy_.with_(keywords)
            return first, name, keywords
    raise BadValue("child", given, _ACCEPTED)


def _check_shape(children: Any, more: tuple[object, ...]) -> None:
    """Refuse what is no list of children, before its parts are taken for children."""
    if more:
        given: object = (children, *more)
        raise BadValue("children", given, "one list of them: Supervisor([first, second])")
    kind = type(cast("object", children))
    if issubclass(kind, Mapping):
        accepted = "a list; a name goes into a pair: [(Pool(), {'name': 'pool'})]"
        raise BadValue("children", cast("object", children), accepted)
    if issubclass(kind, (str, type, Service)) or not issubclass(kind, Iterable):
        accepted = f"a list of services, as in Supervisor([Feed()]){called(children)}"
        raise BadValue("children", cast("object", children), accepted)


def _check_distinct(
    supervisor: Supervisor, children: tuple[tuple[Service, str | None, dict[str, Any]], ...]
) -> None:
    seen: set[int] = set()  # by identity: a dataclass is equal to others, and has no hash
    names: set[str] = set()
    for service, name, _policy in children:
        if id(service) in seen:
            raise BadValue("child", service, "each service once: make another instance")
        seen.add(id(service))
        if name is not None:
            if name in names:
                raise AlreadyPresent(f"{supervisor.name or 'supervisor'}/{name}", "new")
            names.add(name)
