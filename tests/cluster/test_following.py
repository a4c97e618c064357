"""What a node has seen of others, and what follows from it: pure. Times are seconds."""

from __future__ import annotations

import math
from dataclasses import replace

from sprag.cluster.following import (
    GRACE,
    Following,
    Picture,
    engine_as_bytes,
    left_over,
    picture_of,
)
from sprag.cluster.records import Record, record_of, tombstone
from sprag.cluster.rows import Row

TTL = 10.0
YOU = Record("you", "n2", 7, 1, TTL)


def picture(*records: Record, known: str | None = "engine", **rows: Row) -> Picture:
    found = {f"sprag/shop/nodes/{each.owner}": each.as_bytes() for each in records}
    found |= {f"sprag/shop/rows/{name}": row.as_bytes() for name, row in rows.items()}
    if known is not None:
        found["sprag/shop/engine"] = engine_as_bytes(known)
    return picture_of(found, "sprag/shop/")


def see(following: Following, what: Picture, now: float, identity: str = "engine") -> None:
    following.see(what, identity, {"me"}, now)


def names(following: Following, now: float) -> list[str]:
    return [each.life for each in following.still(now)]


# -- rule 3: whoever stands still for a whole ttl --------------------------------------------


def test_rule_3_who_stands_still_for_a_whole_ttl_may_be_buried() -> None:
    following = Following(TTL)
    see(following, picture(YOU), 0.0)
    see(following, picture(YOU), 6.0)
    assert names(following, 9.9) == []
    assert following.next_at() == 10.0
    (still,) = following.still(10.0)
    assert (still.life, still.value, still.where) == ("you", YOU.as_bytes(), "n2")


def test_rule_3_any_change_begins_it_anew() -> None:
    following = Following(TTL)
    see(following, picture(YOU), 0.0)
    see(following, picture(YOU.renewed(2)), 9.0)
    assert names(following, 18.9) == []
    assert names(following, 19.0) == ["you"]
    see(following, picture(replace(YOU, beat=2, rest={"colour": "red"})), 19.0)
    assert names(following, 19.0) == []


def test_rule_3_the_longer_ttl_counts() -> None:
    for mine, theirs in ((30.0, 10.0), (10.0, 30.0)):
        following = Following(mine)
        see(following, picture(replace(YOU, ttl=theirs)), 0.0)
        assert names(following, 29.9) == []
        assert names(following, 30.0) == ["you"]


def test_rule_3_an_owner_without_a_record_is_one_that_stands_still() -> None:
    following = Following(TTL)
    row = Row(owner="you", where="n2", ttl=30.0)
    see(following, picture(billing=row), 0.0)
    assert names(following, 29.9) == []
    (still,) = following.still(30.0)
    assert (still.value, still.where) == (None, "n2")
    see(following, picture(YOU, billing=row), 30.0)
    assert names(following, 30.0) == []


def test_rule_3_of_who_is_ours_or_buried_nothing_is_followed() -> None:
    following = Following(TTL)
    grave = {"sprag/shop/nodes/you": tombstone(YOU.as_bytes(), "", "it was silent")}
    found = picture_of(grave | {"sprag/shop/engine": engine_as_bytes("engine")}, "sprag/shop/")
    see(following, found, 0.0)
    assert following.next_at() == math.inf
    see(following, picture(replace(YOU, owner="me")), 0.0)
    assert following.next_at() == math.inf


# -- rule 4: an engine that is new, or has forgotten ------------------------------------------


def test_rule_4_an_engine_that_all_have_waited_for_grants_at_once() -> None:
    following = Following(TTL)
    see(following, picture(YOU), 0.0)
    assert following.grants("engine", 0.0)
    assert not following.grants("other", 0.0)


def test_rule_4_an_empty_store_grants_nothing_for_a_ttl_and_a_second() -> None:
    following = Following(TTL)
    see(following, picture(known=None), 5.0)
    assert following.next_at() == 5.0 + TTL + GRACE
    assert not following.grants("engine", 5.0 + TTL + GRACE - 0.1)
    assert not following.waited_for(5.0 + TTL)
    assert following.grants("engine", 5.0 + TTL + GRACE)
    assert following.waited_for(5.0 + TTL + GRACE)
    see(following, picture(), 16.5)
    assert not following.waited_for(16.5)
    assert following.grants("engine", 16.5)


def test_rule_4_whoever_sees_another_engine_begins_anew() -> None:
    following = Following(TTL)
    see(following, picture(replace(YOU, ttl=20.0)), 0.0)
    see(following, picture(replace(YOU, ttl=20.0)), 19.0, "other")
    assert names(following, 20.0) == []
    assert following.grants_at == 19.0 + 20.0 + GRACE
    assert names(following, 39.9) == []
    assert names(following, 40.0) == ["you"]


def test_rule_4_who_comes_new_to_an_engine_that_has_forgotten_waits_too() -> None:
    following = Following(TTL)
    see(following, picture(known="engine"), 0.0, "other")
    assert not following.grants("other", TTL)
    assert following.grants("other", TTL + GRACE)


def test_rule_4_a_store_that_was_emptied_is_one_that_has_forgotten() -> None:
    following = Following(TTL)
    see(following, picture(), 0.0)
    see(following, picture(YOU, known=None), 20.0)
    assert following.grants_at == 20.0 + TTL + GRACE
    see(following, picture(YOU, known=None), 25.0)
    assert following.grants_at == 20.0 + TTL + GRACE
    see(following, picture(known=None), 26.0)  # who was there is not: it was emptied once more
    assert following.grants_at == 26.0 + TTL + GRACE


def test_rule_4_an_engine_that_comes_back_is_another_once_more() -> None:
    following = Following(TTL)
    see(following, picture(), 0.0)
    see(following, picture(), 20.0, "other")
    see(following, picture(), 21.0)
    assert not following.grants("engine", 31.0)


# -- rules 5 and 8: what is written -----------------------------------------------------------


def test_rule_5_a_tombstone_goes_when_no_row_names_it() -> None:
    stone = tombstone(YOU.as_bytes(), "", "n2 was silent")
    found = {"sprag/shop/nodes/you": stone}
    assert left_over(picture_of(found, "sprag/shop/")) == {"you": stone}
    found["sprag/shop/rows/billing"] = Row(owner="you").as_bytes()
    assert left_over(picture_of(found, "sprag/shop/")) == {}
    assert record_of(stone).where == "n2"


def test_rule_6_a_token_rises_with_the_engine_s_clock_and_without() -> None:
    row = Row(epoch=5)
    assert row.taken("me", "n1", now=3).epoch == 6
    assert row.taken("me", "n1", now=3000).epoch == 3000


def test_rule_8_what_is_unknown_is_kept() -> None:
    value = b'{"owner":"you","beat":1,"colour":"red","schema":2}'
    assert b'"colour":"red"' in record_of(value).renewed(2).as_bytes()
    assert b'"schema":2' in record_of(value).renewed(2).as_bytes()
    for nonsense in (b"", b"[]", b"\xff", b'{"owner":1,"beat":"x","ttl":-1,"epoch":null}'):
        assert record_of(nonsense) == replace(Record(), rest=record_of(nonsense).rest)
