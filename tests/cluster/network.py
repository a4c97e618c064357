"""The way of each node to its engine, which can be cut: a network namespace, or a relay.

Who is root has namespaces, each a machine of its own as TCP sees it: what is cut there is swallowed
by the kernel, as the frames go to an address that nobody has. Who is not has a relay for each node,
which swallows what it should (`relay`). Neither refuses or closes anything.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOBODY: Final = "02:00:00:00:00:01"
"""A hardware address that nobody has."""
_PLACES: Final = Path("/run/netns")
_SLOW: Final = ("rate", "200kbit", "burst", "3000", "latency", "400ms")
_SLOW_RELAY: Final = 0.06
_MOST: Final = 250


class Link(Protocol):
    """The way of one node.

    Attributes:
        namespace: What a node has to enter; "": nothing.
    """

    namespace: str

    def at(self, port: int) -> tuple[str, int]:
        """Return the host and port at which a node finds a server's port."""
        ...

    def cut(self, *, requests: bool = True, answers: bool = True) -> None:
        """Swallow what goes to the engine, what comes from there, or both."""
        ...

    def slow(self) -> None:
        """Have what goes there and comes back take long."""
        ...

    def heal(self) -> None:
        """Let all arrive again."""
        ...

    def close(self) -> None:
        """Be no more."""
        ...


class RelayLink:
    """A way through relays, one for each port of a server."""

    namespace = ""

    def __init__(self, ports: Iterable[int]) -> None:
        self._relays = {port: Relay(port) for port in ports}

    def at(self, port: int) -> tuple[str, int]:
        return "127.0.0.1", self._relays[port].port

    def cut(self, *, requests: bool = True, answers: bool = True) -> None:
        for each in self._relays.values():
            each.to_server, each.to_client = not requests, not answers

    def cut_from(self, port: int) -> None:
        """Swallow what goes to one port of a server, and what comes from there."""
        self._relays[port].cut()

    def slow(self) -> None:
        for each in self._relays.values():
            each.delay = _SLOW_RELAY

    def heal(self) -> None:
        for each in self._relays.values():
            each.heal()

    def close(self) -> None:
        for each in self._relays.values():
            each.close()


class NamespaceLink:
    """A way from a namespace of its own, over a pair of devices."""

    def __init__(self) -> None:
        for number in range(1, _MOST):
            self._here, self._there = f"spr{number}h", f"spr{number}n"
            with suppress(subprocess.CalledProcessError):  # taken, by other tests
                _ip(f"link add {self._here} address {_mac(number, 1)} type veth "
                    f"peer name {self._there} address {_mac(number, 2)}")  # fmt: skip
                break
        else:
            raise RuntimeError("no name for a device is free")
        self._number = number
        self.namespace = f"sprag-{os.getpid()}-{number}"
        self._prefix = f"10.213.{number}"
        _ip(f"netns add {self.namespace}")
        _ip(f"link set {self._there} netns {self.namespace}")
        _ip(f"addr add {self._prefix}.1/24 dev {self._here}")
        _ip(f"link set {self._here} up")
        self._ip_there(f"addr add {self._prefix}.2/24 dev {self._there}")
        self._ip_there(f"link set {self._there} up")
        self._ip_there("link set lo up")
        self.cut(requests=False, answers=False)

    def at(self, port: int) -> tuple[str, int]:
        return f"{self._prefix}.1", port

    def _ip_there(self, words: str) -> None:
        _ip(f"-n {self.namespace} {words}")

    def cut(self, *, requests: bool = True, answers: bool = True) -> None:
        to = NOBODY if requests else _mac(self._number, 1)
        self._ip_there(
            f"neigh replace {self._prefix}.1 lladdr {to} dev {self._there} nud permanent"
        )
        to = NOBODY if answers else _mac(self._number, 2)
        _ip(f"neigh replace {self._prefix}.2 lladdr {to} dev {self._here} nud permanent")

    def slow(self) -> None:
        _run("tc", "qdisc", "add", "dev", self._here, "root", "tbf", *_SLOW)

    def heal(self) -> None:
        self.cut(requests=False, answers=False)
        with suppress(subprocess.CalledProcessError):
            _run("tc", "qdisc", "del", "dev", self._here, "root")

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            _ip(f"link del {self._here}")
        with suppress(subprocess.CalledProcessError):
            _ip(f"netns del {self.namespace}")


def has_namespaces() -> bool:
    """Whether we may have namespaces; those of tests that were killed are removed."""
    if os.geteuid() != 0 or os.environ.get("SPRAG_RELAYS"):
        return False
    try:
        _run("tc", "-V")
        _ip(f"netns add sprag-try{os.getpid()}")
        _ip(f"netns del sprag-try{os.getpid()}")
    except (OSError, subprocess.CalledProcessError):
        return False
    for place in _PLACES.glob("sprag-*-*"):
        _, pid, number = place.name.split("-")
        if not Path(f"/proc/{pid}").exists():
            with suppress(subprocess.CalledProcessError):
                _ip(f"link del spr{number}h")
            with suppress(subprocess.CalledProcessError):
                _ip(f"netns del {place.name}")
    return True


def links(count: int, ports: Sequence[int], *, relays: bool = False) -> list[Link]:
    """Return ways for so many nodes to servers at these *ports* of ours; *relays*: no others."""
    if not relays and has_namespaces():
        return [NamespaceLink() for _ in range(count)]
    return [RelayLink(ports) for _ in range(count)]


def _mac(number: int, end: int) -> str:
    return f"02:53:50:52:{number:02x}:{end:02x}"


def _ip(words: str) -> None:
    _run("ip", *words.split())


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
