"""What is remembered of a tree is bounded in size, whatever users put into their exceptions."""

from __future__ import annotations

import gc
import logging
import random
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from sprag import Service, State, Supervisor
from sprag_supervisor import Policy
from sprag_supervisor.facts import memory as _memory
from sprag_supervisor.facts.crash import remember
from sprag_supervisor.facts.memory import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sprag.testing import VirtualClock

MB = 1_000_000
HUGE = 20 * MB

_ELSEWHERE = (type, types.ModuleType, types.FunctionType, types.CodeType, types.FrameType, Service)


def bytes_reachable(*roots: object) -> int:
    """Return the size of all that *roots* keep alive: no services, and no code."""
    seen: set[int] = set()
    pending: list[Any] = list(roots)
    size = 0
    while pending:
        one = pending.pop()
        if id(one) in seen or issubclass(type(one), _ELSEWHERE):
            continue
        seen.add(id(one))
        size += sys.getsizeof(one)
        pending.extend(gc.get_referents(one))
    return size


class Plain(Service):
    """Does nothing."""


class Parent(Service, max_restarts=10**6):
    """Never gives up."""


@pytest.fixture
def root(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the running root of a tree that ends with the test.

    Nothing is logged: pytest would keep gigabytes of what the tree does not.
    """
    monkeypatch.setattr(logging.getLogger("sprag"), "disabled", True)
    del clock
    root = Parent()
    root.start()
    yield root
    root.stop()


def raises(error: BaseException) -> None:
    raise error


class Talkative(Exception):
    """Has nothing in it, and much to say."""

    def __str__(self) -> str:
        return "x" * HUGE


class Text(str):  # noqa: SLOT000 - it is to keep something
    """A text that keeps something."""

    luggage = ""


class Odd(Exception):
    def __str__(self) -> str:
        text = Text("short")
        text.luggage = "x" * HUGE
        return text


def of_long_text() -> BaseException:
    return ValueError("x" * HUGE)


def with_a_long_note() -> BaseException:
    error = ValueError("short")
    error.add_note("x" * HUGE)
    return error


def with_many_notes() -> BaseException:
    error = ValueError("short")
    for number in range(20_000):
        error.add_note(f"{number} {'x' * 1000}")
    return error


def chained() -> BaseException:
    error: BaseException = ValueError("x" * MB)
    for _ in range(20):
        following = ValueError("x" * MB)
        following.__cause__ = error
        error = following
    return error


def grouped() -> BaseException:
    def group(depth: int) -> Exception:
        if not depth:
            return ValueError("x" * 10_000)
        return ExceptionGroup("x" * 10_000, [group(depth - 1) for _ in range(12)])

    return group(3)


def of_a_long_type() -> BaseException:
    kind: type[BaseException] = type("x" * HUGE, (Exception,), {})
    return kind("short")


ERRORS = [
    of_long_text,
    Talkative,
    Odd,
    with_a_long_note,
    with_many_notes,
    chained,
    grouped,
    of_a_long_type,
]


@pytest.mark.parametrize("make", ERRORS)
def test_ten_huge_crashes_keep_less_than_a_megabyte(
    root: Parent, clock: VirtualClock, make: Any
) -> None:
    child = root.adopt(Plain())
    for _ in range(12):
        child.spawn(raises, make())
        clock.settle()
    assert len(child.snapshot().failures) == 10
    tree: Any = root._tree_
    assert bytes_reachable(child._history_) < MB
    assert bytes_reachable(child._history_, tree.ledger, tree.memories) < 1.2 * MB


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    failure = remember(ValueError("ab" * 10_000), 1)
    assert failure.message == "ab" * 2048 + "… (15904 more characters)"
    assert remember(ValueError("x" * 4096), 1).message == "x" * 4096
    noted = ValueError("x")
    for number in range(30):
        noted.add_note(str(number))
    assert remember(noted, 1).notes == (*map(str, range(20)), "… and 10 more notes")
    del noted.__notes__[20:]
    assert remember(noted, 1).notes == (*map(str, range(20)),)


def test_the_outermost_text_of_a_long_chain_is_kept_longest() -> None:
    failure = remember(chained(), 1)
    lengths: list[int] = []
    one: Any = failure
    while one is not None:
        lengths.append(len(one.message))
        one = one.cause
    assert len(lengths) == 10
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 4096
    assert lengths[-1] > 200


def test_the_members_of_a_group_are_bounded_in_all() -> None:
    def count(failure: Any) -> int:
        return 1 + sum(map(count, failure.members))

    failure = remember(grouped(), 1)
    assert len(failure.members) == 12
    assert 20 < count(failure) <= 61


class Hidden(Exception):
    """Lets nobody read its attributes."""

    def __getattr__(self, name: str) -> object:
        raise KeyError(name)

    __cause__ = property(lambda _self: 1 / 0)  # pyright: ignore[reportAssignmentType]
    __traceback__ = property(lambda _self: 1 / 0)  # pyright: ignore[reportAssignmentType]


class NotedOddly(Exception):
    __notes__ = property(lambda _self: 1 / 0)  # pyright: ignore[reportAssignmentType]


@pytest.mark.parametrize("kind", [Hidden, NotedOddly])
def test_an_exception_that_cannot_be_read_is_remembered_all_the_same(
    root: Parent, clock: VirtualClock, kind: type[Exception]
) -> None:
    child = root.adopt(Plain())
    child.spawn(raises, kind("here"))
    clock.settle()
    assert child.snapshot().incarnation == 2
    (failure,) = child.snapshot().failures
    assert failure.message == "here"
    assert failure.frames


def test_a_service_remembers_its_last_ten_failures(root: Parent, clock: VirtualClock) -> None:
    child = root.adopt(Plain())
    for number in range(13):
        child.spawn(raises, ValueError(number))
        clock.settle()
    messages = [failure.message for failure in child.snapshot().failures]
    assert messages == [str(number) for number in range(3, 13)]


def test_many_services_together_remember_so_much_and_each_its_last(
    root: Parent, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_memory, "_BYTES_OF_FAILURES", MB)
    children = [root.adopt(Plain(), name=f"child {number}") for number in range(50)]
    for number in range(12):
        for child in children:
            child.spawn(raises, ValueError(f"{number}" + "x" * 5000))
            clock.settle()
    tree: Any = root._tree_
    kept = sum(one.size for child in children for one in child.snapshot().failures)
    assert MB / 2 < kept < 1.2 * MB
    assert tree.memories._size <= MB
    for child in children:
        last = child.snapshot().failures[-1]
        assert last.message.startswith("11xxx")
        assert child.snapshot().last_failure is last
    assert len(children[-1].snapshot().failures) > len(children[0].snapshot().failures)
    # All others are older than these: of them there is a line each, without a traceback.
    for number in range(300):
        children[0].spawn(raises, ValueError(f"again {number}" + "x" * 5000))
        children[1].spawn(raises, ValueError(f"again {number}" + "x" * 5000))
        clock.settle()
    assert len(children[0].snapshot().failures) == 10
    assert len(children[-1].snapshot().failures) >= 1


def test_a_failure_in_brief_is_followed_by_others(
    root: Parent, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = root.adopt(Plain())
    monkeypatch.setattr(_memory, "_BYTES_OF_FAILURES", 100)
    child.spawn(raises, ValueError("x" * 5000))
    clock.settle()
    (failure,) = child.snapshot().failures
    assert (
        failure.message
        == "x" * 200 + f"… ({len('x' * 4096 + '… (904 more characters)') - 200} more characters)"
    )
    assert not failure.frames
    monkeypatch.setattr(_memory, "_BYTES_OF_FAILURES", MB)
    for number in range(11):
        child.spawn(raises, ValueError(number))
        clock.settle()
        assert child.snapshot().failures[-1].message == str(number)
    assert [failure.message for failure in child.snapshot().failures] == [
        str(number) for number in range(1, 11)
    ]


def test_what_a_service_remembers_goes_with_it(root: Parent, clock: VirtualClock) -> None:
    tree: Any = root._tree_
    for _ in range(20):
        root.adopt(Plain(), restart="temporary").spawn(raises, ValueError("x"))
        clock.settle()
    assert tree.memories._size == 0
    assert tree.memories._gone == len(tree.memories._row)
    assert not any(failure or owner for failure, owner in tree.memories._row)


def test_what_a_service_remembers_comes_with_it(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("sprag"), "disabled", True)
    monkeypatch.setattr(_memory, "_BYTES_OF_FAILURES", MB)
    children = [Plain() for _ in range(200)]
    below = Supervisor(children, name="below", max_restarts=10**6)
    with Supervisor([below]) as top:
        tree: Any = top._tree_
        for _ in range(4):
            for child in children:
                child.spawn(raises, ValueError("x" * 4096))
            clock.settle()
            top.terminate_child("below")
            top.restart_child("below")  # it adopts the same ones again
        kept = sum(one.size for child in children for one in child.snapshot().failures)
        assert tree.memories._size == kept
        assert MB / 2 < kept <= MB
        assert all(child.snapshot().failures for child in children)


def test_what_a_root_remembers_comes_with_it_when_it_is_adopted(
    root: Parent, clock: VirtualClock
) -> None:
    child = Plain()
    child.start()
    child.spawn(raises, ValueError("as a root"))
    clock.settle()
    tree: Any = root._tree_
    root.adopt(child)
    (failure,) = child.snapshot().failures
    assert tree.memories._size == failure.size


def test_of_those_that_have_gone_none_is_counted_when_their_turn_to_be_forgotten_comes(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_memory, "_BYTES_OF_FAILURES", 20_000)
    memories, stays = _memory.Memories(), _memory.History()
    for number in range(500):
        goes = _memory.History()
        memories.add(goes, remember(ValueError(number), 1))
        memories.leave(goes)
        memories.add(stays, remember(ValueError("x" * 4096), 1))
        assert memories._gone == sum(owner is None for _, owner in memories._row)
    assert memories._size <= 20_000
    assert len(memories._row) < 100


def test_a_service_that_fails_for_ever_leaves_room_for_what_others_remember(
    root: Parent, clock: VirtualClock
) -> None:
    tree: Any = root._tree_
    quiet = root.adopt(Plain())
    quiet.spawn(raises, ValueError("once"))
    clock.settle()
    busy = _memory.History()
    for _ in range(2000):
        tree.memories.add(busy, remember(ValueError("again"), 1))
    assert len(tree.memories._row) < 100
    assert len(tree.memories._row) - tree.memories._gone == 11
    (failure,) = quiet.snapshot().failures
    assert failure.frames


def test_what_a_service_remembers_no_more_takes_no_room_from_others(
    root: Parent, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_memory, "_BYTES_OF_FAILURES", MB)
    tree: Any = root._tree_
    quiet = root.adopt(Plain())
    quiet.spawn(raises, ValueError("once"))
    clock.settle()
    busy, passing = _memory.History(), _memory.History()
    large = remember(ValueError("again"), 1)._replace(size=MB // 40)
    for _ in range(100):
        tree.memories.add(busy, large)
        tree.memories.add(passing, large)
        tree.memories.leave(passing)
        tree.memories.join(passing)
    tree.memories.leave(passing)
    assert passing.failures == busy.failures == (large,) * 10
    (failure,) = quiet.snapshot().failures
    assert failure.frames


class Wide(Service, strategy="one_for_all", max_restarts=10**6):
    """Restarts all its children when one fails."""


class Narrow(Service, strategy="rest_for_one", max_restarts=10**6):
    """Restarts those after the one that failed."""


@pytest.mark.parametrize("kind", [Wide, Narrow])
def test_a_thousand_rulings_over_two_thousand_children_keep_little(
    clock: VirtualClock, kind: type[Service]
) -> None:
    root = kind()
    root.start()
    for number in range(2001):
        root.adopt(Plain(), name=f"a child with a name {number}")
    tree: Any = root._tree_
    enter = random.Random(7)
    rulings = 1000
    # A restart of all takes a while: a few are carried out, and entered as often as it takes.
    for _ in range(5):
        child = enter.choice(list((root._children_ or {}).values()))
        spawn_failing(child)
        clock.settle()
    for ruling in list(tree.ledger):
        assert ruling.covered_count == len(ruling.names)
    some = list(tree.ledger)
    for number in range(rulings):
        ruling = some[number % len(some)]
        names = ruling.names if kind is Wide else tuple(list(ruling.names[number:]) or ["last"])
        tree.ledger.enter(ruling._replace(names=names, covered_count=len(names)))
    assert len(list(tree.ledger)) == rulings
    assert bytes_reachable(tree.ledger) < 5 * MB
    root.stop()


def spawn_failing(child: Any) -> None:
    child.spawn(raises, ValueError("x"))


def test_one_group_restarted_again_and_again_is_listed_once(clock: VirtualClock) -> None:
    root = Wide()
    root.start()
    first = root.adopt(Plain(), name="first")
    root.adopt(Plain(), name="second")
    for _ in range(3):
        spawn_failing(first)
        clock.settle()
    tree: Any = root._tree_
    one, two, three = tree.ledger
    assert one.names == ("first", "second")
    assert one.names is two.names is three.names
    assert one.covered(10) == ["Wide/first", "Wide/second"]
    assert one.concerns("Wide/second/below")
    assert not one.concerns("Wide/second one")
    root.stop()


def ruling_of(number: int, *, covers: int, message: int) -> _memory.Ruling:
    names = tuple([f"{number}-{each}" for each in range(covers)])
    failure = remember(ValueError("x" * message), 1)
    return _memory.Ruling(
        number, "top", names[0], 1, _reason(), failure, "restart", names,
        Policy(strategy="one_for_all"), 1, 0.0, len(names),
    )  # fmt: skip


def test_an_old_ruling_is_kept_in_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "_BYTES_OF_RULINGS", 20_000)
    monkeypatch.setattr(_memory, "_KEPT_RULINGS", 10)
    ledger = Ledger()
    for number in range(12):
        ledger.enter(ruling_of(number, covers=500, message=5000))
    old, *_, last = ledger
    assert len(list(ledger)) == 10
    assert (old.at, last.at) == (2, 11)
    assert (len(old.names), old.covered_count) == (50, 500)
    assert (len(last.names), last.covered_count) == (500, 500)
    assert old.failure is not None
    assert len(old.failure.message) < 250
    assert last.failure is not None
    assert len(last.failure.message) > 4000


def test_a_ledger_keeps_a_thousand_rulings_and_fewer_of_what_is_rarer() -> None:
    ledger = Ledger()
    for number in range(1002):
        ledger.enter(ruling_of(number, covers=1, message=1))
    assert [number for number, _ in ledger.numbered()] == list(range(3, 1003))
    assert (ledger.first, ledger.last) == (3, 1002)
    rarer = (ledger.holds, ledger.moves, ledger.asks, ledger.replacements)
    assert [each.maxlen for each in rarer] == [100, 500, 100, 100]


def test_rulings_that_are_small_are_kept_whole_however_many_have_come_and_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_memory, "_KEPT_RULINGS", 10)
    ledger = Ledger()
    for number in range(12):
        ledger.enter(ruling_of(number, covers=60, message=500))
    kept = list(ledger)
    assert [each.at for each in kept] == list(range(2, 12))
    assert {len(each.names) for each in kept} == {60}
    assert {len(each.failure.message) > 400 for each in kept if each.failure} == {True}


def test_the_last_ruling_is_kept_whole_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "_BYTES_OF_RULINGS", 1000)
    ledger = Ledger()
    for number in range(3):
        ledger.enter(ruling_of(number, covers=500, message=50))
        assert [len(each.names) for each in ledger] == [*[50] * number, 500]


def _reason() -> Any:
    from sprag_supervisor import Reason

    return Reason.CRASHED


def test_the_last_report_of_a_stop_holds_no_long_texts(clock: VirtualClock) -> None:
    class Rude(Service):
        def on_stop(self) -> None:
            raise ValueError("x" * MB)

    root = Rude()
    root.start()
    report = root.stop()
    assert report.errors == 1
    assert len(report.entries[0].detail) < 5000
    assert root.snapshot().state is State.STOPPED


def test_the_message_of_an_exit_is_cut(root: Parent, clock: VirtualClock, caplog: Any) -> None:
    child = root.adopt(Plain())
    with caplog.at_level("WARNING", logger="sprag"):
        child.spawn(raises, SystemExit("x" * MB))
        clock.settle()
    assert all(len(record.getMessage()) < 1000 for record in caplog.records)
    assert all(len(str(value)) < 5000 for record in caplog.records for value in _fields(record))


def _fields(record: Any) -> Iterable[object]:
    fields: dict[str, object] = record.sprag
    return fields.values()
