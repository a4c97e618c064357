"""Random faults, done to real nodes with a real engine: `python tests/cluster/campaign.py --help`.

In a round a few faults overlap, for as long as chance has it; then of all that was written so far
nothing must be wrong (`witness`), and everything must find an owner.

Whatever breaks it off, a server that does not come up or something without an owner, what was
written until then is judged all the same; and what has broken it off is said apart.

A busy machine may keep a node from its lease: then it ends at its deadline, as it should, and is
started again. How often is counted, and is nobody's fault.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cluster.faults import (
    BY_A_GUEST,
    FORGETTING,
    JUMPING,
    OF_ENGINES,
    OF_NODES,
    OF_ONE_KIND,
    World,
)
from cluster.fleet import Fleet
from cluster.network import RelayLink
from cluster.witness import doubled, fallen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.faults import Fault

_UNTIL_CLOCKS_JUMP: Final = 0.8
"""Of all faults, or of the time: from then on clocks jump, and no engine forgets any more."""

_SHOWN: Final = 10
"""Of what is wrong."""


class Campaign:
    """Faults, one round after the other.

    Args:
        fleet: Which is up.
        choices: Where chance comes from.
        at_once: Faults that overlap, at most.

    Attributes:
        done: How often each fault was done.
        settled: Seconds until everything had an owner, after each round.
        is_over: Whether the round in progress is the last.
    """

    def __init__(self, fleet: Fleet, choices: random.Random, *, at_once: int = 3) -> None:
        self.fleet = fleet
        self.done: Counter[str] = Counter()
        self.settled: list[float] = []
        self.is_over = False
        self._choices = choices
        self._at_once = at_once
        self._engines = (*OF_ENGINES, *FORGETTING, *OF_ONE_KIND.get(fleet.kind, ()))

    def run(self, *, faults: int, seconds: float) -> None:
        """Do so many faults, or as many as there are in so many seconds.

        It ends as soon as something is wrong, which whoever has begun it sees for himself.

        Raises:
            AssertionError: Somebody found no owner.
        """
        began = time.monotonic()
        deck: list[Fault] = []
        do_jump = False
        while not self.is_over and self.done.total() < faults:
            spent = time.monotonic() - began
            if spent >= seconds:
                break
            now_jump = (
                self.done.total() >= _UNTIL_CLOCKS_JUMP * faults
                or spent >= _UNTIL_CLOCKS_JUMP * seconds
            )
            if now_jump and not do_jump:
                do_jump, deck = True, []
            most = min(self._at_once, faults - self.done.total())
            self._round(self._drawn(deck, self._choices.randint(min(2, most), most), do_jump))
            if self.fleet.wrong():
                break

    def _drawn(self, deck: list[Fault], count: int, do_jump: bool) -> list[Fault]:
        """Take so many faults from the deck that go together, and what is left out comes later."""
        drawn: list[Fault] = []
        kinds: Counter[str] = Counter()
        at = 0
        while len(drawn) < count:
            if at >= len(deck):
                deck += self._shuffled(do_jump)
            kind = self._kind(deck[at])
            if kinds[kind] < (len(self.fleet.regular) if kind == "node" else 1):
                kinds[kind] += 1
                drawn.append(deck.pop(at))
            else:
                at += 1
        return drawn

    def _shuffled(self, do_jump: bool) -> list[Fault]:
        every = [*OF_NODES, *(JUMPING if do_jump else ())]
        every += OF_ENGINES if do_jump else self._engines
        self._choices.shuffle(every)
        return every

    def _kind(self, fault: Fault) -> str:
        if fault in self._engines:
            return "engine"
        return "guest" if fault in BY_A_GUEST else "node"

    def _round(self, faults: Sequence[Fault]) -> None:
        """Do these faults, which overlap, and wait until everything has an owner."""
        fleet = self.fleet
        world = World(fleet, list(fleet.regular), self._choices)
        with ExitStack() as stack:
            for fault in faults:
                name = fault.__name__
                fleet.note(name)
                self.done[name] += 1
                stack.enter_context(fault(world))
                fleet.sleep(world.ttls(0, 0.3))
            fleet.sleep(world.ttls(0, 2.2))
            fleet.note("all is put right")
        self.settled.append(fleet.settle())
        fleet.note(f"all have owners after {self.settled[-1]:.2f} s")

    def report(self) -> str:
        """Return what was done, and what came of it where nothing was wrong."""
        spans, worst = len(self.fleet.spans()), max(self.settled, default=0.0)
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))
        ended = ", ".join(f"{why} {count}" for why, count in self.fleet.ended.items())
        return (
            f"{self.fleet.kind}: {self.done.total()} faults ({done}); {spans} times somebody was "
            f"at work on one of {len(self.fleet.wanted)}, never two at once; no token fell; all "
            f"had owners {worst:.1f} s after each round; ended by themselves: {ended or 'none'}"
        )


def complaint(wrong: Sequence[str], spans: int, broken_off: Exception | None) -> str:
    """Return what is to be said against a campaign; "": nothing. Pure.

    Args:
        wrong: What must not be, of all that was written.
        spans: How often somebody was at work, which was judged.
        broken_off: What has ended it before its time; None: nothing.
    """
    said = [f"wrong: {each}" for each in wrong[:_SHOWN]]
    if len(wrong) > _SHOWN:
        said.append(f"wrong: {len(wrong) - _SHOWN} more")
    if broken_off is not None:
        if not wrong:
            said.append(f"nothing was wrong until then, of {spans} times somebody was at work")
        said.append(f"broken off: {type(broken_off).__name__}: {broken_off}")
    return "\n".join(said)


def campaign(
    kind: str,
    seed: int,
    *,
    faults: int,
    seconds: float,
    nodes: int = 3,
    ttl: float = 1.0,
    partitions: int = 64,
    at_once: int = 3,
    patience: float = 300.0,
) -> str:
    """Run one on an engine of that *kind*; return what came of it.

    Raises:
        AssertionError: Something is wrong, or it was broken off, by whatever: it says which, and
            where all that was written lies.
    """
    broken_off: Exception | None = None
    directory = Path(tempfile.mkdtemp(prefix=f"sprag-faults-{kind}-"))
    with Fleet(
        kind, directory, nodes=nodes, ttl=ttl, partitions=partitions, patience=patience
    ) as fleet:
        found = Campaign(fleet, random.Random(seed), at_once=at_once)
        _under_way.append(found)
        try:
            found.run(faults=faults, seconds=seconds)
        except Exception as error:  # noqa: BLE001 - what was written is judged, whatever it is
            broken_off = error
            fleet.note(f"broken off: {error!r}")
        finally:
            _under_way.remove(found)
        against = complaint(fleet.wrong(), len(fleet.spans()), broken_off)
        said = found.report()
    if against:
        where = f"{kind}, seed {seed}, after {found.done.total()} faults, see {directory}"
        raise AssertionError(f"{where}:\n{against}") from broken_off
    shutil.rmtree(directory)
    return said


def two_primaries(*, nodes: int = 3, partitions: int = 64) -> str:
    """Promote a standby while the old primary lives, and some nodes reach that; the case apart.

    Two are at work then: each of them is right about its engine. What is left is the token: of the
    later one it is the higher, so who checks it takes no more from the other.

    Raises:
        AssertionError: A token did not rise, or nobody has seen two.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        Fleet(
            "postgres", Path(name), nodes=nodes, ttl=3, partitions=partitions, relays=True
        ) as fleet,
    ):
        before = fleet.server.port
        old = fleet.promote(old_lives=True)
        assert old is not None
        try:
            for seat in fleet.regular[1:]:
                link = seat.link
                assert isinstance(link, RelayLink)
                link.cut_from(before)
            fleet.sleep(6 * fleet.ttl)
        finally:
            old.close()
        fleet.sleep(2 * fleet.ttl)
        spans = fleet.spans()
        two, falls = doubled(spans), fallen(spans)
    assert two, "nobody was at work with each of them"
    assert not falls, "\n".join(falls[:10])
    return (
        f"two primaries: {len(two)} times two were at work on one of {len(fleet.wanted)}, "
        f"and the token of the later one was always the higher"
    )


_under_way: list[Campaign] = []


def _end(*_: object) -> None:
    """End well, with a report."""
    for each in _under_way:
        each.is_over = True


def main() -> None:
    """Do faults until there were enough, or the time is over."""
    parser = argparse.ArgumentParser(
        prog="python tests/cluster/campaign.py", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("engines", nargs="+", help="postgres, redis, etcd; two-primaries")
    parser.add_argument("--faults", type=int, default=100, help="on each engine (default: 100)")
    parser.add_argument("--minutes", type=float, default=60.0, help="for each, at most")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each time")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--ttl", type=float, default=1.0, help="a busy machine needs more")
    parser.add_argument("--partitions", type=int, default=64)
    parser.add_argument("--at-once", type=int, default=3, help="faults that overlap, at most")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    seed = random.SystemRandom().getrandbits(30) if options.seed is None else options.seed
    against: list[str] = []
    for kind in options.engines:
        if kind == "two-primaries":
            print(two_primaries(nodes=options.nodes, partitions=options.partitions), flush=True)
            continue
        print(f"{kind}, seed {seed}", flush=True)
        try:
            said = campaign(
                kind,
                seed,
                faults=options.faults,
                seconds=options.minutes * 60,
                nodes=options.nodes,
                ttl=options.ttl,
                partitions=options.partitions,
                at_once=options.at_once,
            )
        except AssertionError as error:  # the other engines are tried all the same
            against.append(said := str(error))
        print(said, flush=True)
    if against:
        raise SystemExit("\n".join(["", "in short:", *against]))


if __name__ == "__main__":
    main()
