"""How probes connect: by gevent's own sockets, patched or not, and in bounded time."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from gevent import Timeout
from gevent import socket as gsocket

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def at_most(seconds: float) -> Generator[None]:
    """Raise a TimeoutError in what is done within, after so many seconds.

    The timeout of a socket bounds each of its steps: who sends a byte now and then takes for ever.
    """
    timeout = Timeout.start_new(seconds)
    try:
        yield
    except Timeout as error:
        if error is not timeout:
            raise
        why = "timed out"
        raise TimeoutError(why) from None
    finally:
        timeout.close()


def connected(host: str, port: int, timeout: float) -> Any:
    """Connect; an address that is none of letters needs no look-up, which takes a thread."""
    for family in (gsocket.AF_INET, gsocket.AF_INET6):
        with suppress(OSError):
            gsocket.inet_pton(family, host)
            break
    else:
        return gsocket.create_connection((host, port), timeout)
    connection: Any = gsocket.socket(family, gsocket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect((host, port))
    except BaseException:
        connection.close()
        raise
    return connection


def is_of_this_machine(host: str) -> bool:
    """Whether an address, or ``localhost``, is one of this machine's own; of names it says no."""
    for family in (gsocket.AF_INET, gsocket.AF_INET6):
        with suppress(OSError), gsocket.socket(family, gsocket.SOCK_DGRAM) as one:
            gsocket.inet_pton(family, host)
            one.bind((host, 0))
            return True
    return host == "localhost"
