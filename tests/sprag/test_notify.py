"""What systemd is told."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sprag.process.sd_notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Return the manager's socket and what stands in NOTIFY_SOCKET."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@sprag-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[1:] if address[0] == "@" else address)
        receiver.settimeout(5)
        yield receiver, address


def test_every_message_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    receiver, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.status("12 services\nrunning")
    notifier.alive()
    notifier.stopping()
    notifier.give_time(2.5)
    notifier.give_time(1e300)
    notifier.status("no such file: caf\udce9")
    received = [receiver.recv(1000).decode() for _ in range(7)]
    assert received.pop() == "STATUS=no such file: caf\\udce9"
    assert received == [
        *("READY=1", "STATUS=12 services running", "WATCHDOG=1", "STOPPING=1"),
        *("EXTEND_TIMEOUT_USEC=2500000", "EXTEND_TIMEOUT_USEC=1000000000000000"),
    ]


def test_a_manager_that_is_busy_hears_all_the_same_what_it_has_to_know(
    manager: tuple[socket.socket, str],
) -> None:
    receiver, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    filled = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                other.sendto(b"x", receiver.getsockname())
                filled += 1
        notifier.status("starting")
        notifier.ready()
        notifier.ready()
        notifier.alive()
        notifier.stopping()
    assert [receiver.recv(1000) for _ in range(filled)] == [b"x"] * filled
    notifier.catch_up()
    notifier.alive()
    assert [receiver.recv(1000).decode() for _ in range(3)] == [
        "READY=1",
        "STOPPING=1",
        "WATCHDOG=1",
    ]
    receiver.setblocking(False)
    with pytest.raises(BlockingIOError):
        receiver.recv(1)


def test_nobody_is_told_where_nobody_asks(tmp_path: Path) -> None:
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "9" * 400}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
        ({"WATCHDOG_USEC": "\N{SUPERSCRIPT TWO}"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/x", **environ}).watchdog_seconds == seconds
    assert Notifier(environ).watchdog_seconds is None
