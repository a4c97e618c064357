"""``sprag _stdio``: the other end of ``sprag -H``, started by ssh on the machine that is asked.

See `remote` for what is said. Whoever has come here is logged in as this user, and could do all of
it without sprag.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
from typing import Any, Final, cast

from sprag_cli.app.find import all_apps
from sprag_cli.term.errors import CommandError

_LONGEST_LINE: Final = 1 << 16
_PIECE: Final = 1 << 16


def serve(come: int, go: int) -> int:
    """Do what is wanted; return 0, or 1 where it could not be done.

    Args:
        come: The descriptor that says what is wanted.
        go: The one that is told.
    """
    wanted = _line(come)
    try:
        if wanted.get("want") == "apps":
            _say(go, {"apps": _apps()})
            return 0
        if wanted.get("want") == "socket" and isinstance(path := wanted.get("path"), str):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as app:
                app.connect(path)
                _say(go, {"connected": path})
                _pass_on(app, come, go)
            return 0
        _say(go, {"error": "this version of sprag does not know what is wanted"})
    except CommandError as error:
        _say(go, {"error": error.in_short()})
    except OSError as error:
        _say(go, {"error": f"the app is gone: {error.strerror or error}"})
    return 1


def _apps() -> list[dict[str, Any]]:
    found = all_apps()
    return [
        {"name": app.name, "pid": app.pid, "socket": app.socket, "user": app.user}
        for app in (*found.apps, *found.others)
    ]


def _line(come: int) -> dict[str, Any]:
    """Return what is wanted; what stands behind it is for the app."""
    read = b""
    while not read.endswith(b"\n") and len(read) < _LONGEST_LINE:
        piece = os.read(come, 1)
        if not piece:
            break
        read += piece
    try:
        wanted = json.loads(read)
    except ValueError:
        return {}
    return cast("dict[str, Any]", wanted) if isinstance(wanted, dict) else {}


def _say(go: int, told: dict[str, Any]) -> None:
    _write(go, json.dumps(told).encode() + b"\n")


def _pass_on(app: socket.socket, come: int, go: int) -> None:
    """Pass on all that both say, until one of them has gone."""
    with selectors.DefaultSelector() as ready:
        ready.register(come, selectors.EVENT_READ)
        ready.register(app, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is app:
                    piece = app.recv(_PIECE)
                    _write(go, piece)
                else:
                    piece = os.read(come, _PIECE)
                    app.sendall(piece)
                if not piece:
                    return


def _write(go: int, data: bytes) -> None:
    while data:
        data = data[os.write(go, data) :]
