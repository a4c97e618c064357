"""Services that do nothing but supervise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from sprag._service import Service
from sprag_supervisor import _supervising
from sprag_supervisor.exceptions import AlreadyPresent, BadValue

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

Child = Service | tuple[Service, dict[str, Any]]


class Supervisor(Service):
    """Starts a fixed list of children in order and supervises them, and any it adopts.

        with Supervisor(children=[Feed(), (Store(), {"restart": "transient"})]) as sup:
            ...

    Embedded like this it touches no signal handler, no logging configuration and no
    other global; services run whenever the program's greenlets yield.

    Args:
        children: Services, or pairs of a service and its policy keywords, among them
            ``name``. All are checked before any is started (otp-rules 7).
        name: The supervisor's name in its tree; default: its class's.
        **policy: Keywords as for `Service`; they win over the class's.

    Raises:
        BadPolicy: A policy keyword is unknown or wrong.
        BadValue: A child is no service, or the same one is given twice.
        AlreadyPresent: Two children are given the same name.
    """

    _is_supervisor_ = True
    _static_: tuple[tuple[Service, str | None, dict[str, Any]], ...] = ()
    name: str | None = None

    def __init__(
        self, children: Iterable[Child] = (), *, name: str | None = None, **policy: Any
    ) -> None:
        if name is not None:
            self.name = name
        self._policy_ = self._policy_.with_(policy)
        children = tuple(children)
        # A restart runs __init__ again with the same arguments: an iterator would be empty.
        if self._args_:
            self._args_ = (children, *self._args_[1:])
        elif self._kwargs_ and "children" in self._kwargs_:
            self._kwargs_["children"] = children
        self._static_ = tuple(map(_checked, children))
        _check_distinct(self, self._static_)

    def _prepare_(self) -> None:
        for child, name, policy in self._static_:
            _supervising.adopt(self, child, name, policy)

    def __enter__(self) -> Self:
        """Start, and stop at the end of the block."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _checked(given: object) -> tuple[Service, str | None, dict[str, Any]]:
    match given:
        case Service():
            return given, None, {}
        case (Service() as service, dict() as options):
            policy = dict(options)
            name = policy.pop("name", None)
            service._policy_.with_(policy)
            return service, name, policy
        case _:
            raise BadValue("child", given, "a service, or a pair (service, {policy})")


def _check_distinct(
    supervisor: Supervisor, children: tuple[tuple[Service, str | None, dict[str, Any]], ...]
) -> None:
    seen: set[Service] = set()
    names: set[str] = set()
    for service, name, _policy in children:
        if service in seen:
            raise BadValue("child", service, "each service once: make another instance")
        seen.add(service)
        if name is not None:
            if name in names:
                raise AlreadyPresent(f"{supervisor.name or 'supervisor'}/{name}", "new")
            names.add(name)
