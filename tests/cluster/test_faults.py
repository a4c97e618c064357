"""Eight faults of all kinds on each engine; `make soak` does a thousand."""

from __future__ import annotations

import pytest

from cluster.campaign import campaign
from servers import KINDS


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_happens_there_are_never_two_tokens_rise_and_all_find_an_owner(kind: str) -> None:
    few = {"nodes": 3, "partitions": 8, "at_once": 5}
    said = campaign(kind, 1, faults=8, seconds=120, ttl=1.5, patience=90, **few)
    assert said.startswith(f"{kind}: 8 faults")
