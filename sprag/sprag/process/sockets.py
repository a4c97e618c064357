"""The listening sockets that a process was started with, or has opened before its tree: by name.

They are there before the first service starts, and stay for as long as the process lives: a
service that restarts finds its own again, and so do many workers on one port. Whoever listens
is handed a descriptor of its own, which it may close as it likes.

Those that were inherited are not ours alone: other workers accept from the same queue, or the
service manager keeps it for who comes after us. Nobody here may empty that queue, shut the
socket down, or remove its path, until it is said that nobody comes after us (`end_with_us`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sprag._unix_sockets import identity
from sprag.exceptions import BadSocket, NoSocket
from sprag.process.listening import bind, is_listening, listen, remove, taken_over

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, MutableMapping

    from sprag.process.listening import Address

WEB: Final = "web"
"""The name of what has none: it is the web server's."""
FIRST: Final = 3
"""The number of the first descriptor that a service manager passes."""

_VARIABLES: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_NO_NAMES: Final = frozenset({"", "unknown", "stored", "connection"})
"""What systemd calls a descriptor that nobody has named, beside its unit."""


@dataclass(slots=True)
class _Held:
    socket: Any
    is_inherited: bool
    path: str = ""
    made: tuple[int, int] | None = None


class Sockets(Mapping[str, Any]):
    """The listening sockets of this process, by name.

    Each look-up returns a new socket object for the same queue, non-blocking: it is yours to
    close. What has no name is called `web`; more of one name are `name-2`, `name-3`.

    A look-up raises `NoSocket` if there is none of that name. `get` returns None.
    """

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._end_with_us = False
        self._handed_over = 0.0
        self.are_shared = False
        """Whether other workers of the same app have those that were inherited, too."""

    def __getitem__(self, name: str) -> Any:
        held = self._held.get(name)
        if held is None:
            raise NoSocket(name, tuple(self._held))
        made = held.socket.dup()
        made.settimeout(None)  # an `accept` waits, as one expects
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"<sockets {', '.join(self._held) or 'none'}>"


sockets: Final = Sockets()
"""Those of this process: ``sprag.host.sockets``."""


def for_web() -> list[str]:
    """Return the names of those that are the web server's."""
    return [each for each in sockets if re.fullmatch(rf"{WEB}(-\d+)?", each)]


def adopt(environ: MutableMapping[str, str], *, is_worker: bool) -> None:
    """Take over what a service manager, or a parent, has passed by LISTEN_FDS.

    The variables are taken out of *environ*: they are meant for this process alone. What they
    say of another process is passed over.

    Args:
        environ: The process's own.
        is_worker: A parent of ours has started it: LISTEN_PID may be missing, and a socket that
            is the web server's by default need not listen yet.

    Raises:
        BadSocket: One is no listening socket, or the variables do not fit together.
    """
    sockets.are_shared = is_worker
    given = {name: environ.pop(name, None) for name in _VARIABLES}
    count, pid, names = (given[name] for name in _VARIABLES[:3])
    if count is None:
        return
    said = f"LISTEN_FDS={count}"
    if pid is None and not is_worker:
        why = "comes without LISTEN_PID, so it is not said whom it is for"
        raise BadSocket(said, None, why, f"set that, too, or use --fd {FIRST}")
    if pid is not None and pid != str(os.getpid()):
        return
    if re.fullmatch(r"[0-9]{1,6}", count) is None:
        raise BadSocket(said, None, "is no number", "give the number of sockets")
    called = [""] * int(count) if names is None else names.split(":") if int(count) else []
    if len(called) != int(count):
        why = f"does not fit LISTEN_FDNAMES={names}"
        raise BadSocket(said, None, why, "give each socket a name, with colons between them")
    for number, name in enumerate(called, FIRST):
        held = _Held(taken_over(number, said, may_not_listen=is_worker), is_inherited=True)
        _add(_own_name(name), held)


def keep(number: int, name: str, said: str) -> None:
    """Take over one descriptor that the process was started with.

    Raises:
        BadSocket: It is no listening socket.
    """
    _add(name, _Held(taken_over(number, said), is_inherited=True))


def open_named(name: str, address: Address, mode: int | None) -> None:
    """Listen on *address* from now on; see `listen`.

    Raises:
        CannotListen: See there.
    """
    held = _Held(listen(address, mode), is_inherited=False)
    if isinstance(address, str):
        held.path, held.made = address, identity(address)
    _add(name, held)


def open_for_workers(address: Address) -> None:
    """Bind *address* for workers, of which those with routes will listen there.

    Where it cannot be had, it is theirs to say so, if they need it.
    """
    with suppress(OSError):
        _add(WEB, _Held(bind(address), is_inherited=False))


def numbers() -> dict[str, int]:
    """Return the descriptors by name: what workers are to inherit."""
    return {name: held.socket.fileno() for name, held in sockets._held.items()}


def listens(name: str) -> bool:
    """Whether clients can connect to it already."""
    return is_listening(sockets._held[name].socket)


def outlive_us() -> bool:
    """Whether any was inherited: its queue is somebody else's, also when all is over here."""
    return any(each.is_inherited for each in sockets._held.values())


def end_with_us() -> None:
    """Nobody comes after this process: who drains from now on empties the queues first."""
    sockets._end_with_us = True


def hand_over(patience: float) -> None:
    """Others have taken the place of this process already: it is in no hurry to end.

    Args:
        patience: Seconds for which it may keep clients that are idle.
    """
    sockets._handed_over = patience


def handed_over() -> float:
    """Return for how many seconds a process whose place is taken may keep idle clients; else 0."""
    return sockets._handed_over


def is_left_to_others(name: str) -> bool:
    """Whether others accept from its queue, now or later, when this process does no more."""
    held = sockets._held.get(name)
    return held is not None and held.is_inherited and not sockets._end_with_us


def close(names: Iterable[str] | None = None) -> None:
    """Let go of the sockets: who connects from now on is refused, unless others listen, too.

    Args:
        names: Which; None: all.
    """
    for name in tuple(sockets) if names is None else names:
        held = sockets._held.pop(name, None)
        if held is not None:
            held.socket.close()
            remove(held.path, held.made)


def _own_name(given: str) -> str:
    return WEB if given in _NO_NAMES or given.endswith(".socket") else given


def _add(name: str, held: _Held) -> None:
    name = name or WEB
    number = 1
    key = name
    while key in sockets:
        number += 1
        key = f"{name}-{number}"
    sockets._held[key] = held
