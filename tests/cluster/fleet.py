"""Nodes of one app, each a real process, with a real engine: what faults are done to."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, Self

from cluster.network import links
from cluster.noded import APP, LATER
from cluster.witness import Event, Span, doubled, fallen, ownerless, read, spans_of
from processes import Process, app, run
from servers import KINDS, Postgres, Server, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.network import Link

PATIENCE: Final = 60.0
"""Seconds within which everything has an owner, if the machine is not too busy for nodes."""
_TICK: Final = 0.02
_LATE: Final = 0.05
"""Of a ttl: who wakes up so late has no processor, and neither have the nodes."""
_HELD_IN_C, _SPINS, _RESTS, _AHEAD = 0, 1, 2, 8
_LOWER: Final = """
import json, sys
from sprag.cluster.engines import open_engine

engine = open_engine(sys.argv[1], app="shop", timeout=10)
for key, value in engine.scan("sprag/shop/").value.items():
    said = json.loads(value)
    if said.get("schema") == 2:
        engine.cas(key, value, json.dumps({**said, "schema": 1}).encode())
"""
_BY_THEMSELVES: Final = {4: "its deadline", -signal.SIGKILL: "its deadline", 3: "no engine"}
"""How a node may end of which nobody wants it: a busy machine keeps some from their leases."""


def now() -> float:
    """Return the time on the clock of the lease."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Seat:
    """A node's place: its process comes and goes.

    Attributes:
        node: What it is called.
        process: What runs there, or has run last.
        is_meant: Whether it should run; else somebody has taken it out.
        link: Its way to the engine.
    """

    def __init__(self, fleet: Fleet, number: int, link: Link) -> None:
        self.number = number
        self.node = f"n{number}"
        self.link = link
        self.ttl = fleet.ttl
        self.schema = 1
        self.process: Process | None = None
        self.is_meant = False
        self._life = 0
        self._fleet = fleet
        self._log: IO[bytes] | None = None
        self._page = _mapped(fleet.directory / f"seat-{number}", 64)

    def start(self) -> None:
        """Start a process here."""
        self._page[:] = bytes(64)
        self.is_meant = True
        self._life = self._fleet.next_life()
        self._log = (self._fleet.directory / f"log-{self.number}").open("ab")
        environ = {
            "NODE": self.node,
            "SEAT": str(self.number),
            "LIFE": str(self._life),
            "NAMESPACE": self.link.namespace,
            "URL": self._fleet.url_for(self.link),
            "TTL": str(self.ttl),
            "SCHEMA": str(self.schema),
            "PARTITIONS": str(self._fleet.partitions),
        }
        self.process = run(
            self._fleet.directory,
            *("--shutdown-timeout", "2", "--log-level", "debug"),
            environ=environ,
            stdout=self._log,
            stderr=self._log,
        )

    def send(self, number: int) -> None:
        """Send its process a signal."""
        if self.process is not None:
            self.process.send(number)

    @property
    def code(self) -> int | None:
        """How it has ended; None: it has not."""
        return None if self.process is None else self.process.popen.poll()

    @property
    def pid(self) -> int:
        """Of its process, and of no other there ever was: the kernel gives its own away again."""
        assert self.process is not None
        return self._life << LATER | self.process.popen.pid

    def close(self) -> None:
        """End its process, and wait for that."""
        if self.process is not None:
            self.process.__exit__()
            self.process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def kill(self) -> None:
        """End its process by SIGKILL."""
        self.send(signal.SIGKILL)
        self.close()

    # -- what is put on its page ------------------------------------------------------

    def hold(self, seconds: float, *, in_c: bool) -> None:
        """Have its loop be held."""
        self._page[_HELD_IN_C if in_c else _SPINS] = max(1, min(255, int(seconds * 10)))

    def rest(self, *, rests: bool) -> None:
        """Have it beat seldom, which costs nothing, or as always."""
        self._page[_RESTS] = int(rests)

    def jump(self, seconds: float, engine_seconds: float) -> None:
        """Have its wall clock, and the engine's as it sees it, be ahead."""
        struct.pack_into("dd", self._page, _AHEAD, seconds, engine_seconds)


class Fleet:
    """An engine, and nodes.

    Args:
        kind: Of the engine.
        directory: Where all is written.
        nodes: How many there are; one more has a seat, and comes with some faults.
        ttl: Seconds.
        partitions: Beside one singleton.
        patience: Seconds within which everything has an owner, however busy the machine is.
        relays: Whether their links are relays, also where there could be namespaces.

    Attributes:
        server: The engine; with PostgreSQL another one may come in its place.
        ended: How nodes have ended by themselves, counted.
        has_newer: Whether newer code was there, and has gone.
    """

    def __init__(
        self,
        kind: str,
        directory: Path,
        *,
        nodes: int = 3,
        ttl: float = 1.0,
        partitions: int = 64,
        patience: float = 300.0,
        relays: bool = False,
    ) -> None:
        self.kind = kind
        self.directory = directory
        self.ttl = ttl
        self.partitions = partitions
        self.patience = patience
        self.has_newer = False
        self.wanted = ["billing", *map(str, range(partitions))]
        self.ended: Counter[str] = Counter()
        self.server: Server = KINDS[kind]()
        self.server.listens = "0.0.0.0"  # who comes from another namespace, too
        self._ports = [self.server.port, *([free_port()] if kind == "postgres" else [])]
        app(directory, APP)
        ways = links(nodes + 1, self._ports, relays=relays)
        self.seats = [Seat(self, number, link) for number, link in enumerate(ways)]
        self._holders = _mapped(directory / "holders", 16 * (partitions + 1))
        self._events: list[Event] = []
        self._read = 0
        self._lives = 0

    def __enter__(self) -> Self:
        try:
            self.server.start()
            self.server.keep("empty")
            for seat in self.regular:
                seat.start()
            self.settle()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all that runs."""
        for seat in self.seats:
            seat.close()
            seat.link.close()
        self.server.close()

    def next_life(self) -> int:
        """Return the number of the process that is started next, from 1."""
        self._lives += 1
        return self._lives

    @property
    def regular(self) -> list[Seat]:
        """All seats but the last, which is for guests."""
        return self.seats[:-1]

    @property
    def guest(self) -> Seat:
        """The seat of who comes with a fault."""
        return self.seats[-1]

    def url_for(self, link: Link) -> str:
        """Return the engine's URL as a node sees it that has this link."""
        places = [link.at(port) for port in self._ports]
        if self.kind == "postgres":
            hosts = ",".join(f"{host}:{port}" for host, port in places)
            return f"postgres://sprag@{hosts}/postgres"
        host, port = places[0]
        return self.server.url_at(port, host)

    # -- the engine -------------------------------------------------------------------

    def promote(self, *, old_lives: bool = False) -> Server | None:
        """Have a standby take the place of the server; return that if it is to live on."""
        old = self.server
        assert isinstance(old, Postgres)
        new = Postgres()
        new.listens = old.listens
        (new.port,) = set(self._ports) - {old.port}
        new.follow(old)
        time.sleep(random.random() * self.ttl)
        if not old_lives:
            old.kill()
        new.promote()
        self.server = new
        if old_lives:
            return old
        old.close()
        new.keep("empty")
        return None

    def _lower_schema(self) -> None:
        """Have old code take what newer code has written, as who goes back to that must do."""
        self.has_newer = False
        command = [sys.executable, "-c", _LOWER, self.server.url]
        subprocess.run(command, check=True, timeout=PATIENCE)

    # -- what is to be seen -----------------------------------------------------------

    def tend(self) -> None:
        """Start who has ended by itself."""
        for seat in self.seats:
            code = seat.code
            if code is None or not seat.is_meant:
                continue
            why = _BY_THEMSELVES.get(code)
            if why is None:
                log = (self.directory / f"log-{seat.number}").read_text()[-5000:]
                raise AssertionError(f"{seat.node} has ended with code {code}:\n{log}")
            self.note(f"{seat.node} has ended by itself: {code}")
            self.ended[why] += 1
            seat.close()
            if seat is not self.guest:
                seat.start()

    def sleep(self, seconds: float) -> None:
        """Wait, and tend them."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.tend()
            time.sleep(min(left, 0.1))

    def holders(self) -> dict[str, int]:
        """Return which process is at work on each, or was when it was killed; 0: none."""
        numbered = [*self.wanted[1:], self.wanted[0]]
        return {
            what: struct.unpack_from("qq", self._holders, 16 * number)[0]
            for number, what in enumerate(numbered)
        }

    def idle(self) -> list[str]:
        """Return what no living process is at work on."""
        alive = {seat.pid for seat in self.seats if seat.process is not None and seat.code is None}
        return ownerless(self.holders(), alive)

    def longest(self, pid: int) -> tuple[float, float]:
        """Return the longest time between two beats, and the most of a processor, in seconds."""
        _at, between, used, _ = struct.unpack("dddq", (self.directory / f"beat-{pid}").read_bytes())
        return between, used

    def beat_anew(self, pid: int) -> None:
        """Forget what was the longest."""
        page = _mapped(self.directory / f"beat-{pid}", 32)
        page[8:24] = bytes(16)

    def settle(self) -> float:
        """Wait until everything has an owner; return for how many seconds."""
        if self.has_newer:
            self._lower_schema()
        began = at = well_since = time.monotonic()
        ended = self.ended.total()
        while left := self.idle():
            self.tend()
            time.sleep(_TICK)
            before, at = at, time.monotonic()
            if self.ended.total() > ended or at - before > _TICK + _LATE * self.ttl:
                ended, well_since = self.ended.total(), at
            if at - well_since > PATIENCE or at - began > self.patience:
                raise AssertionError(f"nobody finds {len(left)} of them: {left[:8]}")
        return at - began

    def note(self, what: str) -> None:
        """Write down what was done to them."""
        with (self.directory / "done").open("a") as done:
            done.write(f"{now():.3f} {what}\n")

    def spans(self) -> list[Span]:
        """Return all work so far."""
        path = self.directory / "written"
        if path.exists():
            with path.open() as file:
                file.seek(self._read)
                text = file.read()
            whole = text[: text.rfind("\n") + 1]
            self._read += len(whole)
            self._events += read(whole)
        beats: dict[int, float] = {}
        for pid in {event.pid for event in self._events}:
            with suppress(OSError, struct.error):
                beats[pid] = struct.unpack("d", (self.directory / f"beat-{pid}").read_bytes()[:8])[
                    0
                ]
        return spans_of(self._events, beats)

    def wrong(self) -> list[str]:
        """Return what must not be, of all so far."""
        spans = self.spans()
        return [*map(str, doubled(spans)), *fallen(spans)]


def _mapped(path: Path, size: int) -> mmap.mmap:
    with path.open("a+b") as file:
        os.ftruncate(file.fileno(), size)
        return mmap.mmap(file.fileno(), size)
