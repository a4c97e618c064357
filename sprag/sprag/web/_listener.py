"""Sockets to listen on: a TCP port, or a path in the file system."""

from __future__ import annotations

import errno
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from gevent import socket

from sprag._unix_sockets import identity, listens
from sprag.web.exceptions import CannotListen
from sprag_supervisor import as_count
from sprag_supervisor.exceptions import BadValue

Address: TypeAlias = "tuple[str, int] | str"
"""A host and a port (0: any that is free), or the path of a Unix socket."""

_BACKLOG: Final = 1024
_REMEDIES: Final = {
    errno.EADDRINUSE: "stop the other program, or choose another port with --port (0: any free)",
    errno.EADDRNOTAVAIL: "choose an address of this machine with --host",
    errno.EACCES: "choose a port above 1023, or a folder that this user may write to",
    errno.ENOENT: "make the folder first",
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


def listen(address: Address) -> Any:
    """Return a non-blocking socket that listens on *address*.

    Raises:
        CannotListen: The address is taken, is not ours, or needs rights we do not have.
    """
    try:
        return _unix(address) if isinstance(address, str) else _tcp(*address)
    except OSError as error:
        if isinstance(error, CannotListen):
            raise
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, "choose another address")
        raise CannotListen(shown(address), reason, remedy) from None


def shown(address: Address) -> str:
    """Return *address* as people write it."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _tcp(host: str, port: int) -> Any:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart must not wait for the last connections' TIME_WAIT to pass.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _unix(path: str) -> Any:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
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
        remedy = "stop the other program, or choose another path with --unix-socket"
        raise CannotListen(shown(path), "another program listens there", remedy)
    if is_used is not None:  # else bind will say what is wrong
        Path(path).unlink()


def remove(path: str, made: tuple[int, int] | None) -> None:
    """Remove the Unix socket at *path*, if it still is the one that was *made*."""
    if made is not None and identity(path) == made:
        with suppress(OSError):
            Path(path).unlink()
