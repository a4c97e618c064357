"""The tree of the process soak: deep, busy, and made of services that fail now and then."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from typing import Final

import gevent

from sprag import Backoff, DynamicSupervisor, Service, Supervisor

choices = random.Random()

LEVELS: Final = 5
WIDTH: Final = 3
LEAVES: Final = 3
LIMITLESS: Final = 1_000_000
STRATEGIES: Final = ("one_for_one", "one_for_all", "rest_for_one")

open_things: int = 0
"""Acquired by services and not given back: 0 at the end."""


class Mishap(Exception):
    """What services of the soak crash with."""


def sometimes(probability: float) -> bool:
    return choices.random() < probability


class Leaf(Service, shutdown=0.3, max_restarts=LIMITLESS):
    """Holds one of each, and has bad days."""

    def on_start(self) -> None:
        global open_things
        if sometimes(0.001):
            raise Mishap("on_start")
        reading, writing = os.pipe()
        open_things += 1
        self.add_cleanup(self.give_back, reading, writing)
        self.interval(self.tick, 0.2 + choices.random(), jitter=0.5)
        self.listen("soak:news", self.heard)
        self.spawn(gevent.sleep, 3600)
        gevent.spawn(gevent.sleep, 3600)  # as a library does
        if sometimes(0.002):
            self.run_program()
        if sometimes(0.05):
            gevent.sleep(0.001)

    def on_stop(self) -> None:
        if sometimes(0.01):
            raise Mishap("on_stop")
        if sometimes(0.01):
            gevent.sleep(0.01)

    def give_back(self, *descriptors: int) -> None:
        global open_things
        for each in descriptors:
            os.close(each)
        open_things -= 1

    def run_program(self) -> None:
        # Not subprocess: gevent's Popen yields while it is made, and a kill that comes just then
        # loses the process.
        pid = os.posix_spawnp("sleep", ["sleep", "30"], os.environ)
        self.add_cleanup(end_program, pid)

    def tick(self) -> None:
        if sometimes(0.001):
            self.emit("soak:news", self)

    def heard(self, _sender: object) -> None:
        if sometimes(0.001):
            raise Mishap("listener")

    def crash(self) -> None:
        raise Mishap("crash")


def end_program(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):  # gevent's loop may have waited for it already
        os.waitpid(pid, 0)


class Patient(Leaf, backoff=Backoff(initial=0.01, maximum=0.05)):
    """Waits before it comes back."""


class Stubborn(Leaf, shutdown=0.05):
    """Swallows its first kill, now and then."""

    def run(self) -> None:
        try:
            gevent.sleep(3600)
        except gevent.GreenletExit:
            if sometimes(0.9):
                raise
        gevent.sleep(3600)


class Pool(DynamicSupervisor, max_restarts=LIMITLESS):
    """Children that come and go."""


KINDS: Final = (Leaf, Leaf, Leaf, Patient, Stubborn)


def make_tree(level: int = LEVELS) -> list[Service]:
    """Return the children of one supervisor, with all below them."""
    children: list[Service] = [choices.choice(KINDS)() for _ in range(LEAVES)]
    if level:
        children.extend(
            Supervisor(
                make_tree(level - 1),
                name=f"level-{level}-{number}",
                strategy=choices.choice(STRATEGIES),
                max_restarts=LIMITLESS if sometimes(0.8) else 20,
                max_seconds=1.0,
            )
            for number in range(WIDTH if level > 2 else 1)
        )
    children.append(Pool())
    return children
