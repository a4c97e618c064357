"""The sockets of ``sprag run``: opened or taken over, and given to the app's web server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import sprag
from sprag._defaults import HOST, PORT
from sprag._exit_codes import ExitCode
from sprag.process import sockets
from sprag.process.worker import has_its_sockets, worker
from sprag_cli.run.binding import shown
from sprag_cli.term.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sprag_cli.run.binding import Bind


class BadAddress(CommandError):
    """Raised when the options for the web server have no use."""

    exit_code = ExitCode.USAGE


def open_sockets(binds: Iterable[Bind], mode: int | None) -> None:
    """Take over what the process was started with, and listen for services that ask by name.

    A worker, or the app below ``--reload``, has all its sockets from its parent, which was given
    the same options.

    Args:
        binds: Where to listen.
        mode: The rights of Unix sockets; None: what the umask leaves.

    Raises:
        BadSocket: What it was started with is no listening socket.
        CannotListen: An address cannot be had.
    """
    has_them = has_its_sockets()
    sockets.adopt(os.environ, is_worker=has_them)
    sockets.sockets.are_shared = worker() is not None
    for each in () if has_them else binds:
        if isinstance(each.address, int):
            sockets.keep(each.address, each.name, f"--fd {each.address}")
        elif each.name:
            sockets.open_named(each.name, each.address, mode)


def open_for_workers(binds: Iterable[Bind], mode: int | None) -> None:
    """Open or take over all that workers are to inherit; `sockets.numbers` has it then.

    Args:
        binds: Where to listen.
        mode: The rights of Unix sockets; None: what the umask leaves.

    Raises:
        BadSocket: What the process was started with is no listening socket.
        CannotListen: An address cannot be had.
        BadAddress: There is a socket for the web server already.
    """
    named = [each for each in binds if each.name or isinstance(each.address, int)]
    ours = [each for each in binds if not each.name and not isinstance(each.address, int)]
    open_sockets([each for each in named if isinstance(each.address, int)], mode)
    _check_one_way(ours, len([each for each in named if not each.name]))
    for each in (*ours, *named):
        if not isinstance(each.address, int):
            sockets.open_named(each.name, each.address, mode)
    if not sockets.for_web():
        # Whether the app has routes is for its workers to find out.
        sockets.open_for_workers((HOST, PORT))


def serve(root: sprag.Service, target: str, binds: Iterable[Bind], mode: int | None) -> None:
    """Tell the app where to listen: if it has routes, or if it was asked for.

    Args:
        root: What is to be run.
        target: What the user calls it.
        binds: Where to listen.
        mode: The rights of Unix sockets; None: what the umask leaves.

    Raises:
        BadAddress: It has no web server, or was given a socket already.
    """
    asked = [] if has_its_sockets() else [each for each in binds if not each.name]
    here = [each for each in asked if not isinstance(each.address, int)]
    if not isinstance(root, sprag.App):
        if asked:
            where = ", ".join(shown(each.address) for each in asked)
            raise BadAddress(
                f"{target!r} is no App, and only an App has a web server: leave out {where}, or "
                f"name it for a service that listens itself, as in feed={shown(asked[0].address)}"
            )
        return
    _check_one_way(here, len(asked) - len(here))
    from sprag.web._door import Place  # most apps have no pages

    # Of a worker's, that of the default address listens only if it is wanted.
    names = [each for each in sockets.for_web() if root.has_routes or sockets.listens(each)]
    places = [Place(None, inherited=each) for each in names]
    places += [Place(each.address, mode=mode) for each in here if not isinstance(each.address, int)]
    if not places and root.has_routes:
        places = [Place((HOST, PORT))]
    root._serve_ = tuple(places)


def _check_one_way(asked: list[Bind], numbers: int) -> None:
    """Refuse addresses for the web server where sockets for it were passed.

    Raises:
        BadAddress: There are more than the *numbers* that options name.
    """
    if asked and len(sockets.for_web()) > numbers:
        where = ", ".join(shown(each.address) for each in asked)
        raise BadAddress(
            f"the web server was passed a socket (LISTEN_FDS), and is to listen on {where}, too: "
            "leave out one of them"
        )
