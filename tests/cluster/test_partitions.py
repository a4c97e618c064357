"""Who runs which partition: balance, stability, and what moves when; pure, so by properties."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sprag.cluster.partitions import (
    Bidder,
    Head,
    Placing,
    bidder_of,
    head_of,
    moves_at_once,
    partition_of,
    said_by,
    to_give,
    to_take,
)
from sprag.cluster.rows import Row

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
nodes = st.lists(names, min_size=1, max_size=8, unique=True)
FREE = Row()


def bidders_of(given: list[str]) -> tuple[Bidder, ...]:
    return tuple(Bidder(f"life-{place}", name) for place, name in enumerate(given))


def places(bidders: tuple[Bidder, ...], partitions: int = 64) -> list[str | None]:
    placing = Placing("carts", partitions)
    found = [placing.wanted(each, bidders, FREE) for each in range(partitions)]
    return [None if one is None else one.node for one in found]


def test_a_key_belongs_where_the_documentation_says() -> None:
    # python -c "import hashlib; print(int.from_bytes(hashlib.sha256(b'anna').digest()[:8], 'big'))"
    assert [partition_of(key, 64) for key in (b"anna", b"", b"7")] == [14, 20, 14]


@given(st.binary(), st.integers(1, 1024))
def test_each_key_has_a_partition(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


@settings(max_examples=30)
@given(nodes, st.randoms())
def test_the_order_in_which_nodes_are_known_does_not_matter(given: list[str], rng: object) -> None:
    bidders = bidders_of(given)
    shuffled = list(bidders)
    rng.shuffle(shuffled)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    assert places(bidders) == places(tuple(shuffled))


@given(nodes, names)
def test_a_node_that_comes_takes_from_others_and_moves_nothing_between_them(
    given: list[str], new: str
) -> None:
    if new in given:
        return
    before, after = places(bidders_of(given)), places(bidders_of([*given, new]))
    assert all(now in (was, new) for was, now in zip(before, after, strict=True))


@given(nodes)
def test_the_life_of_a_node_does_not_matter_but_its_name(given: list[str]) -> None:
    again = tuple(Bidder(f"other-{place}", name) for place, name in enumerate(given))
    assert places(bidders_of(given)) == places(again)


def test_partitions_are_balanced() -> None:
    # Each node's share is binomial: within 5 standard deviations, for each of 20 clusters.
    for cluster in range(20):
        for size in (2, 3, 5, 10):
            given = [f"host-{cluster}-{each}" for each in range(size)]
            counts = Counter(places(bidders_of(given), 1024))
            share = 1024 / size
            deviation = (share * (1 - 1 / size)) ** 0.5
            assert len(counts) == size
            assert all(abs(each - share) < 5 * deviation for each in counts.values())


def test_of_two_with_one_name_the_higher_id_is_wanted() -> None:
    placing = Placing("carts", 4)
    first, second = Bidder("a", "host"), Bidder("b", "host")
    for each in range(4):
        assert placing.wanted(each, (second, first), FREE) == second


def test_who_has_given_up_on_a_partition_is_wanted_last() -> None:
    placing = Placing("carts", 8)
    bidders = bidders_of(["one", "two", "three"])
    for each in range(8):
        best, *others = placing.ranked(each, bidders, FREE)
        tried = replace(FREE, tried={best.life: "no database"})
        assert placing.ranked(each, bidders, tried) == [*others, best]


def test_what_nobody_runs_is_taken_by_who_is_wanted_and_by_others_if_that_takes_long() -> None:
    placing = Placing("carts", 1)
    bidders = bidders_of(["one", "two", "three"])
    ranked = placing.ranked(0, bidders, FREE)
    lives = {one.life for one in bidders}

    def takers(waits: float, row: Row = FREE) -> list[Bidder]:
        waiting = {0: waits}
        return [
            one
            for one in ranked
            if to_take(placing, one.life, bidders, lives, {0: row}, waiting) == [0]
        ]

    assert takers(0.9) == ranked[:1]
    assert takers(1) == ranked[:2]
    assert takers(9) == ranked
    gone, here = replace(FREE, owner="gone"), replace(FREE, owner=ranked[2].life)
    assert takers(0, gone) == ranked[:1]
    assert takers(9, here) == [ranked[2]]  # what may be a claim of its own


def test_what_is_wanted_elsewhere_is_given() -> None:
    placing = Placing("carts", 64)
    bidders = bidders_of(["one", "two"])
    rows = {each: replace(FREE, owner="life-0") for each in range(64)}
    give = to_give(placing, "life-0", bidders, rows)
    assert list(give) == [at for at, node in enumerate(places(bidders)) if node == "two"]
    assert {one.node for one in give.values()} == {"two"}
    assert to_give(placing, "life-1", bidders, rows) == {}


def test_a_sixteenth_moves_in_a_round_and_one_at_least() -> None:
    assert [moves_at_once(each) for each in (1, 15, 16, 64, 100, 1024)] == [1, 1, 1, 4, 6, 64]
    head = Head(partitions=64)
    head, granted = head.moved(30, is_quiet=True)
    assert granted == 4
    assert head.moved(1, is_quiet=False) == (head, 0)
    head, granted = head.moved(3, is_quiet=True)
    assert (granted, head.left) == (3, 1)
    assert head.moved(9, is_quiet=False)[1] == 1


@settings(deadline=None, max_examples=25)
@given(st.data(), nodes, nodes)
def test_all_is_where_it_is_wanted_in_the_end_and_no_faster_than_it_may(
    data: st.DataObject, given: list[str], later: list[str]
) -> None:
    """Nodes come and go; each looks when it likes, at what may be old, and swaps what it saw."""
    placing = Placing("carts", 32)
    rows = dict.fromkeys(range(32), FREE)
    head = Head(partitions=32)
    round_since = 0
    for phase in (given, later):
        bidders = bidders_of(phase)
        bidders = tuple(one._replace(life=f"life of {one.node}") for one in bidders)
        lives = {one.life for one in bidders}
        for _round in range(60):
            order = data.draw(st.permutations(bidders))
            for one in order:
                for each in to_take(placing, one.life, bidders, lives, rows, {}):
                    rows[each] = rows[each].taken(one.life, one.node, 0)
                give = to_give(placing, one.life, bidders, rows)
                if give:
                    head, granted = head.moved(len(give), is_quiet=_round > round_since)
                    if granted:
                        round_since = _round
                    assert granted <= moves_at_once(32)
                    for each in list(give)[:granted]:
                        rows[each] = rows[each].freed("moves")
        for one in bidders:
            for each in to_take(placing, one.life, bidders, lives, rows, {}):
                rows[each] = rows[each].taken(one.life, one.node, 0)
        round_since = 0
        assert [rows[each].owner for each in range(32)] == [
            f"life of {node}" for node in places(bidders, 32)
        ]


def test_what_newer_versions_have_written_is_kept_and_what_is_none_is_nothing() -> None:
    head = head_of(b'{"partitions":8,"round":2,"left":1,"joined":3,"schema":1,"new":[1]}')
    assert (head.partitions, head.round, head.left, head.joined) == (8, 2, 1, 3)
    assert head_of(head.as_bytes()) == head
    assert head.rest == {"new": [1]}
    for nothing in (None, b"", b"[]", b"{", b'{"partitions":"8"}', b'{"partitions":true}'):
        assert head_of(nothing).partitions == 0
    one = Bidder("life", "host", "10.0.0.1:80")
    assert bidder_of("life", said_by(one)) == one
    assert bidder_of("life", b"[1]") == Bidder("life", "")
