"""Unix sockets in the file system: who listens there, and whose they are.

The command line looks for running apps without loading gevent, so this module imports nothing
else of the library.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def listens(path: str | os.PathLike[str]) -> bool | None:
    """Tell whether somebody listens at *path*, without waiting for them.

    Returns:
        None if it cannot be told: there is no such socket, say, or we may not connect to it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:  # its queue is full: it is there, and busy
            return True
        except ConnectionRefusedError:
            return False
        except OSError:
            return None
        return True


def identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return what tells the file at *path* from one that is put there later; None for no file."""
    with suppress(OSError):
        found = os.lstat(path)
        return found.st_dev, found.st_ino
    return None
