"""On which machine the apps are that a command asks: this one, unless ``-H`` says another."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sprag_cli.app.remote import Remote

_chosen: list[Remote] = []
"""That one; empty: this one."""


def choose(given: str | None) -> None:
    """Ask the apps of another machine from now on; None: of this one.

    Raises:
        BadRemote: *given* is no address.
    """
    _chosen.clear()
    if given is not None:
        from sprag_cli.app.remote import parsed

        _chosen.append(parsed(given))


def chosen() -> Remote | None:
    """Return the other machine; None: it is this one."""
    return _chosen[0] if _chosen else None
