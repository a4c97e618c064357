"""What may happen to nodes, to the network between them and their engine, and to the engine.

Each fault is a context: what happens at its beginning is put right again at its end. Chance has it
to whom it happens; `campaign` has it when, for how long, and beside which others.
"""

from __future__ import annotations

import shutil
import signal
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator

    from cluster.fleet import Fleet, Seat


class World(NamedTuple):
    """What a fault is done to.

    Attributes:
        fleet: All of it.
        seats: Of nodes to which no other fault is done now.
        choices: Where chance comes from.
    """

    fleet: Fleet
    seats: list[Seat]
    choices: random.Random

    def ttls(self, least: float, most: float) -> float:
        """Return seconds: so many ttls, by chance."""
        return self.choices.uniform(least, most) * self.fleet.ttl

    @contextmanager
    def one(self) -> Generator[Seat]:
        """Choose a node, and do no other fault to it meanwhile."""
        seat = self.seats.pop(self.choices.randrange(len(self.seats)))
        self.fleet.note(f"  to {seat.node}")
        try:
            yield seat
        finally:
            self.seats.append(seat)

    @contextmanager
    def link(self) -> Generator[Seat]:
        """Choose a node, whose link is whole at the end."""
        with self.one() as seat:
            try:
                yield seat
            finally:
                seat.link.heal()

    @contextmanager
    def guest(self, *, ttl: float, node: str = "guest", schema: int = 1) -> Generator[Seat]:
        """Let one more node come, which is killed at the end."""
        seat = self.fleet.guest
        seat.ttl, seat.node, seat.schema = ttl, node, schema
        seat.start()
        try:
            yield seat
        finally:
            seat.is_meant = False
            seat.kill()


# -- nodes ---------------------------------------------------------------------------------


@contextmanager
def killed(world: World) -> Generator[None]:
    """By kill -9; it comes back."""
    with world.one() as seat:
        seat.is_meant = False
        seat.kill()
        yield
        seat.start()


@contextmanager
def drained(world: World) -> Generator[None]:
    """By SIGTERM, as a deployment does; it comes back."""
    with world.one() as seat:
        seat.is_meant = False
        seat.send(signal.SIGTERM)
        yield
        seat.close()
        seat.start()


@contextmanager
def paused(world: World) -> Generator[None]:
    """By SIGSTOP; some of them for longer than the deadline."""
    with world.one() as seat:
        seat.send(signal.SIGSTOP)
        yield
        seat.send(signal.SIGCONT)


@contextmanager
def flapping(world: World) -> Generator[None]:
    """Killed and started again and again, before it is up and after."""
    with world.one() as seat:
        for _ in range(world.choices.randint(2, 4)):
            seat.is_meant = False
            seat.kill()
            seat.start()
            world.fleet.sleep(world.ttls(0, 0.8))
        yield


@contextmanager
def held(world: World) -> Generator[None]:
    """Its loop is held, by Python or by C code that holds the interpreter."""
    with world.one() as seat:
        seat.hold(world.ttls(0.2, 3), in_c=world.choices.random() < 0.6)
        yield


@contextmanager
def jumping(world: World) -> Generator[None]:
    """Its wall clock jumps, or the engine's, as it sees that; both go wrong by hours."""
    with world.one() as seat:
        seat.jump(world.choices.uniform(-1e4, 1e4), world.choices.uniform(-1e4, 1e4))
        yield
        seat.jump(0, 0)


@contextmanager
def twin(world: World) -> Generator[None]:
    """Another one comes that is called the same."""
    with world.guest(ttl=world.fleet.ttl, node=world.choices.choice(world.fleet.regular).node):
        yield


@contextmanager
def slower(world: World) -> Generator[None]:
    """One comes, and is killed, whose ttl is longer."""
    with world.guest(ttl=2 * world.fleet.ttl):
        world.fleet.sleep(world.ttls(0, 1))
        yield


@contextmanager
def newer(world: World) -> Generator[None]:
    """One comes with newer code, and is killed; what it has written nobody else may touch."""
    with world.guest(ttl=world.fleet.ttl, node="newer", schema=2):
        world.fleet.sleep(world.ttls(1, 3))
        world.fleet.has_newer = True
        yield


# -- the network -----------------------------------------------------------------------------


@contextmanager
def cut(world: World) -> Generator[None]:
    """It is cut off."""
    with world.link() as seat:
        seat.link.cut()
        yield


@contextmanager
def deaf(world: World) -> Generator[None]:
    """Answers are lost: what it asks for arrives."""
    with world.link() as seat:
        seat.link.cut(requests=False)
        yield


@contextmanager
def dumb(world: World) -> Generator[None]:
    """What it asks for is lost."""
    with world.link() as seat:
        seat.link.cut(answers=False)
        yield


@contextmanager
def slow(world: World) -> Generator[None]:
    """Its link is slow."""
    with world.link() as seat:
        seat.link.slow()
        yield


@contextmanager
def losing(world: World) -> Generator[None]:
    """Answers are lost for moments, again and again."""
    with world.link() as seat:
        for _ in range(world.choices.randint(3, 8)):
            seat.link.cut(requests=False)
            world.fleet.sleep(world.ttls(0, 0.2))
            seat.link.heal()
            world.fleet.sleep(world.ttls(0, 0.2))
        yield


# -- the engine ------------------------------------------------------------------------------


@contextmanager
def restarted(world: World) -> Generator[None]:
    """Killed, and started again at once."""
    world.fleet.server.kill()
    world.fleet.server.start()
    yield


@contextmanager
def away(world: World) -> Generator[None]:
    """It ends, and comes back later."""
    world.fleet.server.stop()
    yield
    world.fleet.server.start()


@contextmanager
def hanging(world: World) -> Generator[None]:
    """It stands still, and goes on."""
    world.fleet.server.pause()
    yield
    world.fleet.server.go_on()


@contextmanager
def forgetful(world: World) -> Generator[None]:
    """It loses its last writes."""
    server = world.fleet.server
    server.keep()
    yield
    server.kill()
    server.put_back()
    server.start()


@contextmanager
def emptied(world: World) -> Generator[None]:
    """It loses all."""
    server = world.fleet.server
    server.kill()
    shutil.rmtree(server.data)
    shutil.copytree(server.folder / "empty", server.folder / "kept")
    shutil.move(server.folder / "kept", server.data)
    server.keep("kept")
    server.put_back()  # with the owner it should have
    server.start()
    yield


@contextmanager
def promoted(world: World) -> Generator[None]:
    """Killed, and a standby takes its place, which may not have the last writes."""
    world.fleet.promote()
    yield


Fault: TypeAlias = "Callable[[World], AbstractContextManager[None]]"
OF_NODES: Final[tuple[Fault, ...]] = (
    *(killed, drained, paused, flapping, held, twin, slower, newer),
    *(cut, deaf, dumb, slow, losing),
)
OF_ENGINES: Final[tuple[Fault, ...]] = (restarted, away, hanging)
FORGETTING: Final[tuple[Fault, ...]] = (forgetful, emptied)
"""Where no clock has jumped before: of an engine that has forgotten a token its clock is all that
is left, or, where it has none, the nodes'."""
JUMPING: Final[tuple[Fault, ...]] = (jumping,)
OF_ONE_KIND: Final[dict[str, tuple[Fault, ...]]] = {"postgres": (promoted,)}
BY_A_GUEST: Final[tuple[Fault, ...]] = (twin, slower, newer)
