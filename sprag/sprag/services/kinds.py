"""`service(name, kind)`: that what is found is what was asked for."""

from __future__ import annotations

from typing import Any

from sprag.exceptions import WrongKind
from sprag_supervisor import is_a
from sprag_supervisor.exceptions import BadValue


def check_name(name: object) -> None:
    """Raise BadValue if nothing can be called so."""
    if not is_a(name, str):
        accepted = "the key of a provider or a path, and the class second: service('stock', Stock)"
        raise BadValue("name", name, accepted)


def of_kind(kind: type[Any] | None, name: str, found: object) -> Any:
    """Return *found* if it is of *kind*, or nothing was said of that.

    Raises:
        WrongKind: It is not.
        BadValue: *kind* is no class.
    """
    if kind is None:
        return found
    accepted = "a class, or a Protocol that is runtime_checkable"
    if not is_a(kind, type):
        raise BadValue("kind", kind, accepted)
    try:
        fits = isinstance(found, kind)
    except TypeError:  # a Protocol that nothing can be compared with
        raise BadValue("kind", kind, accepted) from None
    if not fits:
        raise WrongKind(name, type(found), kind)
    return found
