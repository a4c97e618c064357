"""What is sharded: each partition once, where it is wanted; in virtual time over one engine."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from gevent import sleep

from scripted import spawn
from sprag import App, Backoff, Owner, Service, Sharded, State, Supervisor
from sprag.cluster.exceptions import EngineAway, NewerSchema, OtherPartitions
from sprag.cluster.partitions import Bidder, Placing, head_of
from sprag.cluster.rows import Row, row_of
from sprag.exceptions import BadPolicy, BadValue, NotRunning, StartFailed
from sprag.testing import LeakCheck, as_workers, check_invariants, virtual_time

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from sprag.testing import AsWorkers, VirtualClock

WORK: dict[int, int] = {}
"""The token of who is at work in each partition."""
BAD: set[tuple[str, int]] = set()
"""Where and for what a shard fails."""
ONCE: set[int] = set()
"""For what it does so once."""


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    WORK.clear()
    BAD.clear()
    ONCE.clear()
    with virtual_time() as clock, LeakCheck():
        yield clock


class CartShard(Service):
    """Works; two at work in one partition are an error, and so is a token that falls."""

    slow = 0.0

    def __init__(self, partition: int) -> None:
        self.partition = partition

    def on_start(self) -> None:
        assert self.partition not in WORK
        assert self.lease is not None
        if self._is_bad():
            raise ValueError("no database")
        WORK[self.partition] = self.lease.token
        self.add_cleanup(self._over)
        sleep(self.slow)

    def run(self) -> None:
        while True:
            sleep(1)
            if self._is_bad():
                raise ValueError("no database")
            if self.partition in ONCE:
                ONCE.discard(self.partition)
                raise ValueError("once")

    def _is_bad(self) -> bool:
        root: Any = self._tree_.root  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
        return (root.label, self.partition) in BAD

    def on_stop(self) -> None:
        sleep(0.2)

    def _over(self) -> None:
        del WORK[self.partition]


class Labelled(App):
    label = ""


def app(label: str = "", partitions: int = 32, shard: Any = CartShard, **policy: Any) -> Labelled:
    made = Labelled(providers={"carts": Sharded(shard, partitions=partitions, **policy)})
    made.label = label
    return made


def apps(count: int, **given: Any) -> list[Labelled]:
    return [app(f"worker-{each + 1}", **given) for each in range(count)]


@contextmanager
def workers(roots: list[Labelled], *, start: bool = True) -> Generator[AsWorkers]:
    with as_workers(*roots) as shared:
        for each in roots if start else ():
            each.start()
        try:
            yield shared
        finally:
            for each in roots:
                each.stop()


def here(root: App) -> list[int]:
    """Return the partitions of which a shard runs in *root*."""
    carts = root.snapshot().children[0]
    running = [
        one for one in carts.children if [each.state for each in one.children] == [State.RUNNING]
    ]
    return sorted(int(one.name) for one in running)


def wanted(count: int, partitions: int = 32) -> list[list[int]]:
    """Return where partitions are wanted that so many workers have."""
    placing = Placing("carts", partitions)
    bidders = [Bidder(str(each), f"worker-{each + 1}") for each in range(count)]
    found: list[list[int]] = [[] for _ in range(count)]
    for each in range(partitions):
        one = placing.wanted(each, bidders, Row())
        assert one is not None
        found[int(one.life)].append(each)
    return found


def status(root: App) -> str:
    return root.snapshot().children[0].status or ""


def carts(root: App) -> Sharded:
    return root.service("carts", Sharded)


# -- alone ---------------------------------------------------------------------------------


def test_alone_all_partitions_run_here(clock: VirtualClock) -> None:
    with app() as root:
        assert here(root) == list(range(32))
        assert status(root) == "32 of 32 partitions here"
        assert root.not_ready() == {}
        assert carts(root).owner("anna") == Owner(14, "app", None, root.service("carts/14"))
        assert root.service("carts/14").partition == 14
        check_invariants(root)
    assert WORK == {}


def test_partitions_come_up_and_go_down_side_by_side(clock: VirtualClock) -> None:
    class Slow(CartShard):
        slow = 3.0

    root = app(shard=Slow)
    before = clock.now
    root.start()
    assert clock.now - before == pytest.approx(3.0)
    before = clock.now
    root.stop()
    assert clock.now - before == pytest.approx(0.2)


def test_alone_a_first_start_that_fails_is_the_app_s(clock: VirtualClock) -> None:
    BAD.add(("", 7))
    with pytest.raises(StartFailed, match="no database"):
        app().start()
    assert WORK == {}


def test_a_shard_that_is_restarted_too_often_fails_and_the_others_live_on(
    clock: VirtualClock,
) -> None:
    with app() as root:
        BAD.add(("", 7))
        clock.advance(30)
        assert here(root) == [each for each in range(32) if each != 7]
        assert root.not_ready() == {
            "app/carts/7/CartShard": (State.FAILED, "ValueError: no database")
        }
        assert carts(root).owner("anna").node == "app"
        BAD.clear()
        root.service("carts/7").start()
        assert len(here(root)) == 32


def test_each_shard_has_its_own_limit(clock: VirtualClock) -> None:
    with app() as root:
        ONCE.update(range(10))
        clock.advance(1.5)
        assert set() == ONCE
        assert len(here(root)) == 32
        assert carts(root).snapshot().restarts == 0


# -- several -------------------------------------------------------------------------------


def test_each_partition_runs_once_and_in_the_end_where_it_is_wanted(clock: VirtualClock) -> None:
    roots = apps(3)
    with workers(roots):
        clock.settle()
        assert sorted(each for root in roots for each in here(root)) == list(range(32))
        clock.advance(30)
        assert [here(each) for each in roots] == wanted(3)
        assert [each.not_ready() for each in roots] == [{}, {}, {}]
        for each in roots:
            check_invariants(each)
        assert {status(each) for each in roots} == {
            f"{len(each)} of 32 partitions here" for each in wanted(3)
        }
    assert WORK == {}


def test_no_more_than_a_sixteenth_moves_within_a_ttl(clock: VirtualClock) -> None:
    roots = apps(2)
    with workers(roots, start=False) as shared:
        roots[0].start()
        tokens = dict(WORK)
        roots[1].start()
        moved: list[float] = []
        for _ in range(400):
            clock.advance(0.1)
            now = {each for each in WORK if WORK[each] != tokens[each]}
            moved += [clock.now] * (len(now) - len(moved))
        assert len(moved) == len(wanted(2)[1])
        slot = carts(roots[1]).snapshot().children[0]
        assert slot.status == "runs here: it is wanted in worker-2"
        for at in moved:  # 0.25: a stop, and what is looked at each tenth
            assert sum(at <= other < at + shared.members[0].ttl - 0.35 for other in moved) <= 4
        assert [here(each) for each in roots] == wanted(2)


def test_of_who_stops_others_take_all_at_once(clock: VirtualClock) -> None:
    roots = apps(3)
    with workers(roots):
        clock.advance(40)
        tokens = dict(WORK)
        gone = set(here(roots[2]))
        before = clock.now
        roots[2].stop()
        clock.advance(0.1)
        assert clock.now - before < 0.5
        assert [here(each) for each in roots[:2]] == wanted(2)  # nothing else has moved
        assert {each for each in WORK if WORK[each] != tokens[each]} == gone
        assert all(WORK[each] > tokens[each] for each in gone)
        assert roots[0].not_ready() == roots[1].not_ready() == {}


def test_nothing_is_taken_by_who_drains(clock: VirtualClock) -> None:
    class Drains(Service):
        def on_drain(self) -> None:
            sleep(3)

    def one(label: str) -> Labelled:
        providers = {"carts": Sharded(CartShard, partitions=32), "slow": Drains()}
        made = Labelled(providers=providers)
        made.label = label
        return made

    roots = [one(f"worker-{each}") for each in (1, 2, 3)]
    with workers(roots):
        clock.advance(40)
        ending = spawn(roots[0].stop)
        clock.advance(1)
        before = here(roots[0])
        assert before == wanted(3)[0]  # it works as long as it drains
        roots[1].terminate_child("carts")
        clock.advance(1)
        assert here(roots[0]) == before
        assert set(here(roots[2])) >= set(wanted(3)[1])
        clock.advance(3)
        assert ending.ready()
        assert here(roots[2]) == list(range(32))
        roots[1].restart_child("carts")


def test_of_who_was_reaped_others_take_over_at_once(clock: VirtualClock) -> None:
    roots = apps(3)
    with workers(roots) as shared:
        clock.advance(40)
        engine = shared.engine
        engine.is_closing = True  # its process is killed: it hands nothing over
        roots[0].stop()
        engine.is_closing = False
        assert len(WORK) < 32
        shared.reap(roots[0])
        clock.settle()
        clock.advance(0.1)
        assert [here(each) for each in roots[1:]] != wanted(2)  # names are those of 2 and 3
        assert sorted(here(roots[1]) + here(roots[2])) == list(range(32))
        assert Counter(carts(roots[1]).owner(each).node for each in range(100)).keys() == {
            "worker-2",
            "worker-3",
        }
        kept = engine.scan("sprag/app/sharded/carts/nodes/").value
        assert len(kept) == 2


def test_who_comes_back_under_its_name_gets_what_it_had(clock: VirtualClock) -> None:
    roots = apps(2)
    with workers(roots):
        clock.advance(40)
        before = here(roots[1])
        roots[1].stop()
        clock.advance(0.1)
        assert len(here(roots[0])) == 32
        roots[1].start()
        clock.advance(40)
        assert here(roots[1]) == before


def test_a_shard_that_fails_in_one_worker_is_tried_in_another(clock: VirtualClock) -> None:
    roots = apps(2, backoff=Backoff(initial=20))
    with workers(roots):
        clock.advance(40)
        first = wanted(2)[0][0]
        BAD.add(("worker-1", first))
        clock.advance(10)
        assert first in here(roots[1])
        clock.advance(100)  # it stays there, though it is wanted elsewhere and the backoff is over
        assert first in here(roots[1])
        assert str(first) not in {each.name for each in roots[0].snapshot().children[0].children}
        assert [roots[0].not_ready(), roots[1].not_ready()] == [{}, {}]


def test_when_all_have_tried_it_is_failed_where_it_was_tried_last(clock: VirtualClock) -> None:
    roots = apps(2)
    with workers(roots):
        clock.advance(40)
        BAD.update((f"worker-{each}", 5) for each in (1, 2))
        clock.advance(30)
        states = [
            [each.state for each in one.children]
            for root in roots
            for one in root.snapshot().children[0].children
            if one.name == "5"
        ]
        assert states == [[State.FAILED]]
        assert len(WORK) == 31


def test_a_partition_that_is_stopped_by_hand_goes_elsewhere_and_comes_back(
    clock: VirtualClock,
) -> None:
    roots = apps(2)
    with workers(roots):
        clock.advance(40)
        first = wanted(2)[0][0]
        slot = carts(roots[0])._children_[str(first)]  # type: ignore[index] # pyright: ignore[reportOptionalSubscript]
        Service.stop(slot)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        clock.advance(5)
        assert first in here(roots[0])
        assert len(WORK) == 32


def test_owner_tells_node_and_address_of_what_runs_elsewhere(clock: VirtualClock) -> None:
    roots = apps(2)
    with workers(roots, start=False) as shared:
        shared.members[1].address = "10.0.0.2:80"
        for each in roots:
            each.start()
        clock.advance(40)
        where = wanted(2)
        for key in range(200):
            owner = carts(roots[0]).owner(key)
            if owner.partition in where[0]:
                shard = roots[0].service(f"carts/{owner.partition}", CartShard)
                assert owner[1:] == ("worker-1", None, shard)
            else:
                assert owner[1:] == ("worker-2", "10.0.0.2:80", None)
        assert carts(roots[0]).owner("7").partition == carts(roots[1]).owner(7).partition
        assert carts(roots[0]).owner(b"7") == carts(roots[0]).owner("7")


# -- what must be the same everywhere ---------------------------------------------------------


def test_another_number_of_partitions_is_refused(clock: VirtualClock) -> None:
    roots = [app("worker-1"), app("worker-2", partitions=16)]
    with workers(roots, start=False) as shared:
        roots[0].start()
        with pytest.raises(StartFailed, match="partitions=16 here and 32 in worker-1") as failed:
            roots[1].start()
        assert isinstance(failed.value.__cause__, OtherPartitions) or "OtherPartitions" in str(
            failed.value
        )
        assert len(here(roots[0])) == 32
        assert len(shared.engine.scan("sprag/app/sharded/carts/nodes/").value) == 1
        roots[0].stop()
        roots[1].start()  # nobody runs it with 32 any more
        assert here(roots[1]) == list(range(16))
        with pytest.raises(StartFailed, match="OtherPartitions"):
            roots[0].start()


def test_what_is_kept_by_a_newer_version_is_refused(clock: VirtualClock) -> None:
    roots = apps(1)
    with workers(roots, start=False) as shared:
        shared.engine.cas("sprag/app/sharded/carts/head", None, b'{"schema":2,"partitions":32}')
        with pytest.raises(StartFailed, match=r"NewerSchema.*schema 2"):
            roots[0].start()
    assert NewerSchema("carts", 1, 2).found == 2


def test_what_others_have_written_is_kept(clock: VirtualClock) -> None:
    roots = apps(2)
    with workers(roots, start=False) as shared:
        engine = shared.engine
        engine.cas("sprag/app/sharded/carts/head", None, b'{"new":1}')
        engine.cas("sprag/app/rows/carts/3", None, b'{"new":2}')
        for each in roots:
            each.start()
        clock.advance(40)
        assert head_of(engine.get("sprag/app/sharded/carts/head").value).rest == {"new": 1}
        assert row_of(engine.get("sprag/app/rows/carts/3").value).rest == {"new": 2}


# -- the engine ------------------------------------------------------------------------------


def test_an_engine_that_is_away_is_asked_again(clock: VirtualClock) -> None:
    roots = apps(2)
    with workers(roots, start=False) as shared:
        member: Any = shared.members[1]
        engine = member.engine
        roots[0].start()
        member.engine = Away(engine)
        roots[1].start()
        assert status(roots[1]) == "0 of 32 partitions here; the engine at nowhere is away: a test"
        member.engine = engine
        clock.advance(60)
        assert [here(each) for each in roots] == wanted(2)


class Away:
    """An engine that nobody can ask, and that tells of news, should there be some."""

    def __init__(self, engine: Any) -> None:
        self.hint = engine.hint

    def __getattr__(self, verb: str) -> Any:
        raise EngineAway("nowhere", "a test")


def test_a_claim_whose_answer_was_lost_is_found(clock: VirtualClock) -> None:
    class Lossy:
        """Swaps, and does not say so, the first ten times a row is asked for."""

        def __init__(self, engine: Any) -> None:
            self._engine = engine
            self.lost = 0

        def cas(self, key: str, old: Any, new: Any) -> Any:
            answer = self._engine.cas(key, old, new)
            if "/rows/" in key and self.lost < 10:
                self.lost += 1
                raise EngineAway("nowhere", "a test")
            return answer

        def __getattr__(self, verb: str) -> Any:
            return getattr(self._engine, verb)

    roots = apps(2)
    with workers(roots, start=False) as shared:
        lossy: Any = Lossy(shared.engine)
        shared.members[0].engine = lossy
        for each in roots:
            each.start()
        clock.advance(60)
        assert lossy.lost == 10
        assert [here(each) for each in roots] == wanted(2)


def test_what_an_engine_has_forgotten_is_said_to_it_again(clock: VirtualClock) -> None:
    roots = apps(2)
    with workers(roots) as shared:
        clock.advance(40)
        before = dict(WORK)
        for prefix in ("sprag/app/sharded/carts/head", "sprag/app/sharded/"):
            for key, value in shared.engine.scan(prefix).value.items():
                shared.engine.cas(key, value, None)
            clock.advance(40)
            assert before == WORK
            assert head_of(shared.engine.get("sprag/app/sharded/carts/head").value).partitions == 32
            assert len(shared.engine.scan("sprag/app/sharded/carts/nodes/").value) == 2


# -- what is wrong -----------------------------------------------------------------------------


class Plain(Service):
    pass


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (CartShard(1), "use a subclass of Service"),
        (Plain, "takes the number of its partition"),
        (int, "a subclass of Service"),
        ("carts", "shard"),
        (lambda: None, "takes the number"),
    ],
)
def test_what_makes_no_shards_is_refused(given: Any, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        Sharded(given)


@pytest.mark.parametrize("given", [0, -1, 1025, 1.5, "64", True, None])
def test_a_number_of_partitions_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(BadValue):
        Sharded(CartShard, partitions=given)


def test_policies_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BadPolicy, match="strategy"):
        Sharded(CartShard, strategy="one_for_all")
    with pytest.raises(BadPolicy, match="auto_shutdown"):
        Sharded(CartShard, auto_shutdown="any_significant")
    misplaced: Any = 64
    with pytest.raises(BadValue, match="keywords"):
        Sharded(CartShard, misplaced)


def test_what_makes_something_else_than_a_new_service_fails_the_start(clock: VirtualClock) -> None:
    one = CartShard(1)

    def none(_partition: int) -> Any:
        return None

    def same(_partition: int) -> Any:
        return one

    def fails(partition: int) -> Any:
        return partition / 0

    for shard in (none, same, fails):
        with pytest.raises(StartFailed):
            app(shard=shard, partitions=2).start()
    WORK.clear()


def test_who_does_not_run_has_no_owners() -> None:
    with pytest.raises(NotRunning):
        Sharded(CartShard).owner("anna")


def test_a_key_is_a_text_bytes_or_a_number(clock: VirtualClock) -> None:
    with app(partitions=2) as root:
        for key in (None, 1.5, True, ("a",), object()):
            with pytest.raises(BadValue, match="a text, bytes, or a whole number"):
                carts(root).owner(key)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_its_words_are_not_called_through_what_users_derive(clock: VirtualClock) -> None:
    class Mine(Sharded):
        owner: Any = 3
        lives: Any = 3

    root = Labelled(providers={"carts": Mine(CartShard, partitions=4)})
    with root:
        assert here(root) == [0, 1, 2, 3]


def test_it_is_restarted_like_any_service(clock: VirtualClock) -> None:
    roots = apps(2)
    with workers(roots):
        clock.advance(40)
        carts(roots[0]).spawn(lambda: 1 / 0)
        clock.advance(40)
        assert [here(each) for each in roots] == wanted(2)
        assert carts(roots[0]).snapshot().restarts == 1


def test_below_a_supervisor_of_a_supervisor(clock: VirtualClock) -> None:
    class Shop(Supervisor):
        label = ""

    with Shop([Supervisor([Sharded(CartShard, partitions=4)], name="fleet")], name="shop") as root:
        assert len(WORK) == 4
        assert root.service("fleet/Sharded/2").partition == 2
