"""Whatever breaks a campaign off, what was written until then is judged; both are said apart."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import pytest

from cluster import campaign as module
from cluster.campaign import complaint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TWO = "two at work on billing: 7 (5) and 8 (6) at 12.000, for 0.100 s at least"


class Up:
    """A fleet that is up, and of which this is wrong."""

    kind, wanted, ended = "redis", ("billing",), Counter[str]()

    def __init__(self, wrong: list[str]) -> None:
        self.found = wrong
        self.notes: list[str] = []

    def __call__(self, *_: object, **_options: object) -> Up:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def regular(self) -> list[object]:
        return [object()] * 3

    def wrong(self) -> list[str]:
        return self.found

    def spans(self) -> list[object]:
        return [object()] * 12

    def note(self, what: str) -> None:
        self.notes.append(what)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a campaign keeps that is not well."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def run(
    monkeypatch: pytest.MonkeyPatch, fleet: Up, round_: Callable[..., None], faults: int = 2
) -> str:
    monkeypatch.setattr(module, "Fleet", fleet)
    monkeypatch.setattr(module.Campaign, "_round", round_)
    return module.campaign("redis", 1, faults=faults, seconds=60.0)


def done(found: module.Campaign, faults: list[Any]) -> None:
    found.done.update(each.__name__ for each in faults)


def breaks(_found: module.Campaign, _faults: list[Any]) -> None:
    raise TimeoutError("not within 30.0 s: redis-server answers")


def ignored(_number: int, _handler: object) -> None:
    """Install no handler."""


def test_nothing_is_said_against_one_that_was_well() -> None:
    assert not complaint([], 12, None)


def test_what_has_broken_it_off_is_no_finding_and_is_said_so() -> None:
    said = complaint([], 12, TimeoutError("no server"))
    assert said.splitlines() == [
        "nothing was wrong until then, of 12 times somebody was at work",
        "broken off: TimeoutError: no server",
    ]


def test_what_is_wrong_is_said_before_what_has_broken_it_off() -> None:
    said = complaint([TWO] * 12, 12, TimeoutError("no server")).splitlines()
    assert said[:10] == [f"wrong: {TWO}"] * 10
    assert said[10:] == ["wrong: 2 more", "broken off: TimeoutError: no server"]


def test_one_that_is_broken_off_by_a_server_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Up([TWO])
    with pytest.raises(AssertionError, match="redis, seed 1, after 0 faults") as raised:
        run(monkeypatch, fleet, breaks)
    wrong, broken_off = str(raised.value).splitlines()[1:]
    assert wrong == f"wrong: {TWO}"
    assert broken_off.startswith("broken off: TimeoutError: not within")
    assert fleet.notes[-1].startswith("broken off: TimeoutError")
    assert not module._under_way


def test_it_ends_with_the_first_round_after_which_something_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(AssertionError, match=r"after [23] faults") as raised:
        run(monkeypatch, Up([TWO]), done, faults=50)
    assert "broken off" not in str(raised.value)
    assert run(monkeypatch, Up([]), done, faults=50).startswith("redis: 50 faults")


def test_the_other_engines_are_tried_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def each(kind: str, *_: object, **_options: object) -> str:
        if kind == "redis":
            raise AssertionError("redis: wrong")
        return f"{kind}: well"

    monkeypatch.setattr(module, "campaign", each)
    monkeypatch.setattr("signal.signal", ignored)
    monkeypatch.setattr("sys.argv", ["campaign.py", "redis", "etcd", "--seed", "3"])
    with pytest.raises(SystemExit, match="redis: wrong"):
        module.main()
    assert "etcd: well" in capsys.readouterr().out
