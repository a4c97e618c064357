"""One listening socket of the server: where connections are accepted, in the hub."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub, socket

from sprag._unix_sockets import identity
from sprag.process.listening import address_of, begin, listen, remove, shown
from sprag.process.sockets import close, is_left_to_others, sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.process.listening import Address

_AT_A_TIME: Final = 100
"""Connections that are accepted before others have a turn."""
_SHARE: Final = 16
"""The same where others accept from the same queue, at most."""
_ANSWERS: Final = 4
"""So many answers since the last look make it one more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server is to listen.

    Attributes:
        address: There; None with *inherited*.
        inherited: The name of the socket in `sprag.host.sockets` to use instead.
        mode: The rights of a Unix socket; None: what the umask leaves.
    """

    address: Address | None
    inherited: str = ""
    mode: int | None = None


class Door:
    """Accepts connections at one place.

    Attributes:
        place: Where it listens; with the port that 0 has led to.
        url: The same as people write it.
        environ: What a request's WSGI environ says of it.

    Raises:
        CannotListen: The address cannot be had.
        NoSocket: No socket of that name was inherited.
    """

    def __init__(self, place: Place) -> None:
        self._made: tuple[int, int] | None = None
        self._watcher: Any = None
        if place.address is None:
            self._socket: Any = sockets[place.inherited]
            begin(self._socket)
            address = address_of(self._socket)
        else:
            self._socket = listen(place.address, place.mode)
            address = place.address
            if isinstance(address, str):
                self._made = identity(address)
            else:
                address = address[0], self._socket.getsockname()[1]
            place = replace(place, address=address)
        self.place = place
        self.url = shown(address)
        server = ("localhost", "") if isinstance(address, str) else self._socket.getsockname()
        self.environ: dict[str, Any] = {
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
            "wsgi.multiprocess": bool(place.inherited) and sockets.are_shared,
        }

    @property
    def is_closed(self) -> bool:
        """Whether its socket is closed, by whomever."""
        return bool(self._socket.fileno() < 0)

    @property
    def is_left_to_others(self) -> bool:
        """Whether others accept from its queue when this process does no more."""
        return bool(self.place.inherited) and is_left_to_others(self.place.inherited)

    def at_a_time(self, answers: int) -> int:
        """Return how many connections to accept before others have a turn.

        Where others accept from the same queue, one leaves them their share of a rush. Who is
        busy looks seldom, and whoever still waits then has been left by all of them: who has
        answered much since its last look takes more, or new clients would wait for ever.

        Args:
            answers: How many there were since the last look.
        """
        if not self.place.inherited:
            return _AT_A_TIME
        return min(1 + answers // _ANSWERS, _SHARE)

    def accept(self) -> Any:
        """Return a connection and its address; None if nobody is there.

        Raises:
            OSError: As the system says.
        """
        raw = self._socket._sock
        try:
            number, address = raw._accept()
        except BlockingIOError:
            return None
        return socket.socket(raw.family, raw.type, raw.proto, fileno=number), address

    def watch(self, arrived: Callable[[Door], None]) -> None:
        """Have *arrived* called in the hub whenever somebody is there."""
        if self._watcher is None:
            self._watcher = get_hub().loop.io(self._socket.fileno(), 1)
            self._watcher.start(arrived, self)

    def look_away(self) -> None:
        """Accept nothing for now."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def close(self) -> None:
        """Listen no more. A queue that others accept from stays theirs."""
        self.look_away()
        self._socket.close()
        if isinstance(self.place.address, str):
            remove(self.place.address, self._made)
        if self.place.inherited and not self.is_left_to_others:
            close([self.place.inherited])
