"""Services that are equal to others, or have no hash: dataclasses. The engine goes by identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sprag import Service, State, Supervisor
from sprag.testing import check_invariants

if TYPE_CHECKING:
    from sprag.testing import VirtualClock


@dataclass
class Unhashable(Service):
    url: str = "same"


@dataclass(unsafe_hash=True)
class Equal(Service):
    url: str = "same"


@pytest.mark.parametrize("kind", [Unhashable, Equal])
def test_a_snapshot_shows_each_of_them(clock: VirtualClock, kind: type[Service]) -> None:
    with Supervisor() as top:
        for _ in range(2):
            top.adopt(kind()).adopt(kind())
        picture = top.snapshot()
    name = kind.__name__
    paths = [each.path for child in picture.children for each in (child, *child.children)]
    below = [f"Supervisor/{name}", f"Supervisor/{name}-2"]
    assert paths == [below[0], f"{below[0]}/{name}", below[1], f"{below[1]}/{name}"]


@pytest.mark.parametrize("kind", [Unhashable, Equal])
def test_their_invariants_are_checked_like_any_others(
    clock: VirtualClock, kind: type[Service]
) -> None:
    with Supervisor() as top:
        top.adopt(kind())
        second = top.adopt(kind())
        second.listen("order", print)
        check_invariants(top)
        second._state_ = State.STOPPED
        with pytest.raises(AssertionError, match=f"{kind.__name__}-2: listens to 'order'"):
            check_invariants(top)
        second._state_ = State.RUNNING
