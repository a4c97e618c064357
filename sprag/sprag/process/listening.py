"""Sockets to listen on: a TCP port, or a path in the file system; opened, or taken over."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from socket import AddressFamily, SocketKind
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gevent import socket

from sprag._unix_sockets import identity, listens
from sprag.exceptions import BadSocket, CannotListen
from sprag_supervisor import as_count
from sprag_supervisor.exceptions import BadValue

if TYPE_CHECKING:
    from enum import IntEnum

Address: TypeAlias = "tuple[str, int] | str"
"""A host and a port (0: any that is free), or the path of a Unix socket."""

_BACKLOG: Final = 1024
_REMEDIES: Final = {
    errno.EADDRINUSE: "stop the other program, or choose another port (0: any free)",
    errno.EADDRNOTAVAIL: "choose an address of this machine",
    errno.EACCES: "choose a port above 1023, or a folder that this user may write to",
    errno.ENOENT: "make the folder first",
}
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
_KINDS: Final = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFIFO: "a pipe",
}


def checked(address: Any) -> Address:
    """Return *address* if it is one.

    Raises:
        BadValue: It is not.
    """
    match address:
        case str() if address:
            return address
        case (str(host), given) if 0 <= (port := as_count(given)) <= 65535:
            return host, port
        case _:
            what = "(host, port) with a port from 0 to 65535, or the path of a Unix socket"
            raise BadValue("serve", address, what)


def listen(address: Address, mode: int | None = None) -> Any:
    """Return a non-blocking socket that listens on *address*.

    Args:
        address: Where.
        mode: The rights of a Unix socket; None: what the umask leaves.

    Raises:
        CannotListen: The address is taken, is not ours, or needs rights we do not have.
    """
    try:
        return _unix(address, mode) if isinstance(address, str) else _tcp(*address)
    except OSError as error:
        if isinstance(error, CannotListen):
            raise
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "choose another address")
        raise CannotListen(shown(address), reason, remedy) from None


def bind(address: Address) -> Any:
    """Return a socket that is bound to *address*, and does not listen yet.

    Raises:
        OSError: The address cannot be had.
    """
    assert not isinstance(address, str)
    return _bound(*address)


def taken_over(number: int, said: str, *, may_not_listen: bool = False) -> Any:
    """Return the listening socket of a descriptor that this process was started with.

    It is made non-blocking, and is not inherited any further.

    Args:
        number: Of the descriptor.
        said: Who names it, for the error: ``--fd 3``.
        may_not_listen: It is for us to have it listen, if we do.

    Raises:
        BadSocket: It is not open, no socket, of a family that nobody here can serve, or does
            not listen.
    """
    try:
        kind = stat.S_IFMT(os.fstat(number).st_mode)
    except OSError:
        raise BadSocket(said, number, "is not open", "pass it on, or leave it out") from None
    if kind != stat.S_IFSOCK:
        what = f"is {_KINDS.get(kind, 'something else')}, no socket"
        raise BadSocket(said, number, what, "pass a socket that listens")
    found = socket.socket(fileno=number)
    try:
        _check(found, said, number, may_not_listen=may_not_listen)
        os.set_inheritable(number, False)
        found.setblocking(False)
    except BaseException:
        found.detach()
        raise
    return found


def _check(found: Any, said: str, number: int, *, may_not_listen: bool) -> None:
    if found.family not in _FAMILIES:
        what = f"is a socket of the family {_named(found.family, AddressFamily)}"
        raise BadSocket(said, number, what, "pass one of TCP, or a Unix socket")
    if found.type != socket.SOCK_STREAM:
        what = f"is a socket of the kind {_named(found.type, SocketKind)}"
        raise BadSocket(said, number, what, "pass one of streams (ListenStream= of systemd)")
    if not (may_not_listen or is_listening(found)):
        what = "is a socket that does not listen"
        raise BadSocket(said, number, what, "have it listen before (with systemd: Accept=no)")


def is_listening(found: Any) -> bool:
    """Whether clients can connect to it already."""
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def begin(bound: Any) -> None:
    """Have a socket listen that is only bound; of one that listens it changes nothing."""
    if not is_listening(bound):
        bound.listen(_BACKLOG)


def _named(number: int, names: type[IntEnum]) -> str:
    with suppress(ValueError):
        return names(number).name
    return str(number)


def address_of(listener: Any) -> Address:
    """Return where *listener* listens."""
    name = listener.getsockname()
    if listener.family != socket.AF_UNIX:
        return str(name[0]), int(name[1])
    return os.fsdecode(name).replace("\0", "@") if name else "(unnamed)"


def shown(address: Address) -> str:
    """Return *address* as people write it."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _tcp(host: str, port: int) -> Any:
    listener = _bound(host, port)
    try:
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _bound(host: str, port: int) -> Any:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart must not wait for the last connections' TIME_WAIT to pass.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _unix(path: str, mode: int | None) -> Any:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        if mode is not None:
            Path(path).chmod(mode)  # nobody can connect before it listens
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove the socket of a program that has ended without doing so."""
    try:
        found = Path(path).lstat()
    except OSError:
        return  # nothing there, or bind will say what is wrong
    if not stat.S_ISSOCK(found.st_mode):
        raise CannotListen(shown(path), "there is a file of another kind", "choose another path")
    is_used = listens(path)
    if is_used:
        remedy = "stop the other program, or choose another path"
        raise CannotListen(shown(path), "another program listens there", remedy)
    if is_used is not None:  # else bind will say what is wrong
        Path(path).unlink()


def remove(path: str, made: tuple[int, int] | None) -> None:
    """Remove the Unix socket at *path*, if it still is the one that was *made*."""
    if made is not None and identity(path) == made:
        with suppress(OSError):
            Path(path).unlink()
