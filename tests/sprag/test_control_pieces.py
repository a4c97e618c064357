"""However much is asked for, an answer holds the loop for a moment at a time."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sprag import Service, Supervisor
from sprag.control import http, pieces
from sprag.control.desk import Desk
from sprag.control.http import Answer, Request
from sprag.control.routes import answer
from sprag_supervisor.loop import pace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag.testing import VirtualClock

KEYS = st.text(max_size=3)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(KEYS, PLAIN, max_size=4))
def test_an_answer_in_pieces_is_the_answer(body: dict[str, Any]) -> None:
    assert "".join(pieces.encoded(body)) == json.dumps(body)


def test_each_item_of_an_answer_is_a_piece_of_its_own() -> None:
    body = {"count": 2, "rows": [{"of": [1, 2]}, {"of": [3]}], "lives": {"a": [1, 2], "b": [3]}}
    assert '{"of": [1, 2]}' in pieces.encoded(body)
    assert "[1, 2]" in pieces.encoded(body)
    assert len(list(pieces.encoded({"rows": [0] * 500}))) > 500


class Fails(Service):
    def on_start(self) -> None:
        self.timeout(self.boom, 1)

    def boom(self) -> None:
        raise ValueError("x")


class Work:
    """What is worked, as time: so much for a call, and for a byte of JSON that is put together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = 0.0
        self.turns: list[float] = []
        dumps = json.dumps

        def counted(*args: Any, **kwargs: Any) -> str:
            text = dumps(*args, **kwargs)
            self.done += len(text) * 3e-8
            return text

        monkeypatch.setattr(json, "dumps", counted)
        monkeypatch.setattr(pace, "clock", SimpleNamespace(now=lambda: self.done))
        monkeypatch.setattr(pace, "let_others_run", self.turn)

    def turn(self) -> None:
        self.turns.append(self.done - sum(self.turns))

    def _called(self, _frame: object, event: str, _more: object) -> None:
        if event in ("call", "c_call"):
            self.done += 3e-7

    def __enter__(self) -> Self:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        self.turn()


class Socket:
    """Takes everything."""

    def settimeout(self, seconds: float) -> None: ...
    def setsockopt(self, *option: int) -> None: ...
    def sendall(self, data: bytes) -> None: ...


@pytest.fixture
def crowd(clock: VirtualClock) -> Iterator[Desk]:
    """Hold 300 services, each of which has crashed once."""
    groups = [Supervisor([Fails() for _ in range(75)], max_restarts=1000) for _ in range(4)]
    with Supervisor(groups, name="top") as top:
        desk = Desk(top)
        desk.open()
        clock.advance(1.5)
        yield desk
        desk.close()


ASKED: list[tuple[str, dict[str, str]]] = [
    ("/v1/tree", {}),
    ("/v1/decisions", {"limit": "1000"}),
    ("/v1/history", {}),
    ("/v1/top", {"seconds": "0", "limit": "500"}),
    ("/v1/events", {"all": "1"}),
    ("/v1/stacks", {}),
    ("/v1/why", {"path": "top"}),
]
"""What the page asks for."""


@pytest.mark.parametrize(("others", "least", "most"), [(0, 0.002, 0.005), (4, 0.0, 0.002)])
def test_answers_about_many_services_hold_the_loop_for_four_milliseconds_all_together(
    crowd: Desk, monkeypatch: pytest.MonkeyPatch, others: int, least: float, most: float
) -> None:
    beside = [pieces.looking() for _ in range(others)]
    longest: dict[str, float] = {}
    for path, query in ASKED:
        with monkeypatch.context() as patch, Work(patch) as work:
            send(answer(crowd, Request("GET", path, query), lambda: True))
        longest[path] = max(work.turns)
    assert least < max(longest.values()) < most, (longest, beside)


def send(told: Answer) -> None:
    if told.is_stream:  # what was: then it waits for what comes
        begun: list[bytes] = []
        for piece in cast("Iterator[bytes]", told.body):
            begun.append(piece)
            if b'"live"' in piece:
                break
        told = Answer(begun)
    http.send(cast("Any", Socket()), told)
