"""What a claim asks of the engine: as little as it can, and never less than it must."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from sprag import App
from sprag.cluster import boottime
from sprag.cluster.claim import Claim, SeenRow
from sprag.cluster.exceptions import EngineAway
from sprag.cluster.member import Member
from sprag.cluster.memory import MemoryEngine
from sprag.cluster.records import Record
from sprag.cluster.rows import Row, row_of
from sprag_supervisor import tree_of

KEY = "sprag/shop/rows/carts/7"


class Asked:
    """An engine that notes what it is asked, and may keep an answer to itself."""

    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.verbs: list[str] = []
        self.loses = False

    def __getattr__(self, verb: str) -> Any:
        def ask(*args: Any) -> Any:
            self.verbs.append(verb)
            answer = getattr(self.engine, verb)(*args)
            if self.loses:
                raise EngineAway("nowhere", "the answer is lost")
            return answer

        return ask

    def row(self) -> Row:
        return row_of(self.engine.get(KEY).value)


@pytest.fixture
def engine() -> Asked:
    return Asked()


@pytest.fixture
def claim(engine: Asked) -> Claim:
    member = Member(tree_of(App(name="shop")), cast("Any", engine), app="shop", where="n1")
    return Claim(member, "carts/7")


def test_who_gives_a_row_back_asks_once(engine: Asked, claim: Claim) -> None:
    assert claim.take()[0] is not None
    engine.verbs.clear()
    claim.free("n1 has stopped it")
    assert engine.verbs == ["cas"]
    assert engine.row().owner is None
    assert engine.row().why == "n1 has stopped it"


def test_a_row_that_others_have_written_to_is_read_first(engine: Asked, claim: Claim) -> None:
    claim.take()
    kept = engine.engine.get(KEY).value
    noted = replace(row_of(kept), rest={"newer": "keys"}).as_bytes()
    engine.engine.cas(KEY, kept, noted)
    engine.verbs.clear()
    claim.free("n1 has stopped it")
    assert engine.verbs == ["cas", "get", "cas"]
    assert engine.row().owner is None
    assert engine.row().rest == {"newer": "keys"}


def test_a_row_that_is_anothers_by_now_is_left_alone(engine: Asked, claim: Claim) -> None:
    claim.take()
    theirs = Row("another", "n2", 9).as_bytes()
    engine.engine.cas(KEY, engine.engine.get(KEY).value, theirs)
    claim.free("n1 has stopped it")
    assert engine.engine.get(KEY).value == theirs


def test_after_an_answer_that_was_lost_the_row_is_read(engine: Asked, claim: Claim) -> None:
    claim.take()
    engine.loses = True
    with pytest.raises(EngineAway):
        claim.change(lambda row: replace(row, why="first"))
    engine.loses = False
    engine.verbs.clear()
    assert claim.change(lambda row: replace(row, why=f"{row.why}, then")) is not None
    assert engine.verbs == ["get", "cas"]
    assert engine.row().why == "first, then"


def seen_by(claim: Claim, engine: Asked) -> SeenRow:
    """Return the row as it is, seen in passing."""
    return SeenRow(engine.engine.get(KEY), claim.member.life, boottime.now())


def test_who_has_just_seen_the_row_is_not_made_to_ask_for_it(engine: Asked, claim: Claim) -> None:
    row, before = claim.take(seen_by(claim, engine))
    assert engine.verbs == ["cas"]
    assert row == engine.row()
    assert before == Row()


def test_a_scan_tells_whether_our_record_is_there(claim: Claim) -> None:
    member = claim.member
    key = f"sprag/shop/nodes/{member.life}"
    assert not member.is_in({})
    assert not member.is_in({key: Record("another").as_bytes()})
    assert member.is_in({key: Record(member.life).as_bytes()})


def test_what_another_life_has_seen_is_asked_for(engine: Asked, claim: Claim) -> None:
    """The engine may have forgotten who had the row since: its token was lower than theirs."""
    seen = seen_by(claim, engine)._replace(life="before its lease was lost")
    row, _ = claim.take(seen)
    assert engine.verbs == ["get", "cas"]
    assert row == engine.row()


def test_a_token_goes_by_the_engines_clock_as_it_is_when_the_row_is_taken(
    engine: Asked, claim: Claim
) -> None:
    engine.engine.cas(KEY, None, Row(None, "n2", 70).as_bytes())
    seen = seen_by(claim, engine)
    then = seen.answer._replace(now=1_000)
    row, _ = claim.take(seen._replace(answer=then, at=seen.at - 5.0))
    assert engine.verbs == ["cas"]
    assert row is not None
    assert 6_000 <= row.epoch < 60_000


def test_what_was_seen_and_is_so_no_more_is_asked_for(engine: Asked, claim: Claim) -> None:
    seen = seen_by(claim, engine)
    engine.engine.cas(KEY, None, Row(None, "n2", 70, "n2 has stopped it").as_bytes())
    row, before = claim.take(seen)
    assert row is not None
    assert row.epoch > 70
    assert before.why == "n2 has stopped it"
    engine.engine.cas(KEY, engine.engine.get(KEY).value, Row("another", "n3", 99).as_bytes())
    assert claim.take(seen) == (None, Row("another", "n3", 99))
