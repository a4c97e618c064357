"""A remembered crash reads like the one that happened, and holds on to nothing of it."""

from __future__ import annotations

import gc
import traceback
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprag import Service, Supervisor
from sprag.exceptions import WouldDeadlock
from sprag.testing import virtual_time
from sprag_supervisor.facts.crash import is_plain, remember, shortened
from sprag_supervisor.facts.folding import folded, said_of

if TYPE_CHECKING:
    from sprag_supervisor.facts.failure import Failure


def fail(message: str) -> NoReturn:
    raise ValueError(message)


def caught(function: object, *args: object) -> BaseException:
    try:
        function(*args)  # type: ignore[operator]
    except BaseException as error:  # noqa: BLE001 - whatever it raises
        return error
    raise AssertionError("it raised nothing")


def raised_from() -> None:
    try:
        fail("first")
    except ValueError as error:
        raise RuntimeError("second") from error


def raised_while_handling() -> None:
    try:
        fail("first")
    except ValueError:
        raise RuntimeError("second")  # noqa: B904 - on purpose


def raised_from_none() -> None:
    try:
        fail("first")
    except ValueError:
        raise RuntimeError("second") from None


def raised_three_deep() -> None:
    try:
        raised_while_handling()
    except RuntimeError as error:
        raise OSError(5, "third") from error


def without_message() -> None:
    raise KeyError


def of_several_lines() -> None:
    fail("one line\nand another")


class Odd(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class Local(Exception):
    pass


def of_a_class_of_its_own() -> None:
    raise Local("here")


def with_a_note() -> None:
    error = ValueError("wrong")
    error.add_note("and this is why")
    raise error


STORIES = [
    lambda: fail("plain"),
    raised_from,
    raised_while_handling,
    raised_from_none,
    raised_three_deep,
    without_message,
    of_several_lines,
    of_a_class_of_its_own,
    with_a_note,
]


def as_python_prints_it(error: BaseException) -> str:
    # Python 3.11 and later mark the column below some lines; that is not remembered.
    lines = "".join(traceback.format_exception(error)).splitlines(keepends=True)
    return "".join(line for line in lines if set(line.strip()) - {"^", "~"} or not line.strip())


@pytest.mark.parametrize("story", STORIES)
def test_a_failure_reads_as_python_prints_the_exception(story: object) -> None:
    error = caught(story)
    assert remember(error, 1).format() == as_python_prints_it(error)


def test_a_failure_in_one_line_is_its_type_and_message() -> None:
    assert str(remember(caught(fail, "bad order 17"), 1)) == "ValueError: bad order 17"
    assert str(remember(caught(without_message), 1)) == "KeyError"


def test_a_class_of_the_user_is_named_with_its_module() -> None:
    failure = remember(caught(of_a_class_of_its_own), 1)
    assert failure.type == f"{__name__}.Local"
    assert failure.message == "here"


def test_an_exception_that_cannot_be_printed_is_remembered_all_the_same() -> None:
    assert remember(Odd(), 1).message == "<its __str__ raised ZeroDivisionError>"


def test_a_failure_says_when_and_in_which_life() -> None:
    with virtual_time() as clock:
        clock.advance(12.5)
        failure = remember(ValueError("x"), 7)
        assert failure.at == clock.wall
    assert failure.incarnation == 7


def test_the_causes_are_remembered_innermost_first() -> None:
    failure = remember(caught(raised_three_deep), 1)
    assert failure.type == "OSError"
    assert failure.cause is not None
    assert str(failure.cause) == "RuntimeError: second"
    assert failure.cause.cause is not None
    assert str(failure.cause.cause) == "ValueError: first"
    assert failure.cause.cause.cause is None


def test_a_given_cause_takes_the_place_of_the_exceptions_own() -> None:
    last = remember(caught(fail, "the last crash"), 3)
    failure = remember(caught(raised_from), 1, cause=last)
    assert failure.cause is last


def test_a_ring_of_causes_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    failure = remember(one, 1)
    assert failure.cause is not None
    assert failure.cause.cause is None


def test_a_long_chain_is_cut_at_its_old_end() -> None:
    error = ValueError("0")
    for number in range(1, 100):
        newer = ValueError(str(number))
        newer.__cause__ = error
        error = newer
    failure = remember(error, 1)
    messages: list[str] = []
    link: Failure | None = failure
    while link is not None:
        messages.append(link.message)
        link = link.cause
    assert messages == [str(number) for number in range(99, 89, -1)]


def test_of_a_deep_stack_the_innermost_frames_are_kept() -> None:
    def dig(depth: int) -> None:
        if depth:
            dig(depth - 1)
        fail("bottom")

    failure = remember(caught(dig, 200), 1)
    assert len(failure.frames) == 50
    assert failure.frames[-1][0] is fail.__code__


def test_a_failure_keeps_neither_the_exception_nor_its_locals_alive() -> None:
    class Heavy:
        pass

    heavy = Heavy()
    gone = weakref.ref(heavy)

    def crash(_thing: Heavy) -> NoReturn:
        raise ValueError("with a heavy local")

    failure = remember(caught(crash, heavy), 1)
    del heavy
    gc.collect()
    assert gone() is None
    assert "with a heavy local" in failure.format()


def test_an_exception_group_is_remembered_with_its_members_and_their_causes() -> None:
    def fail() -> None:
        try:
            raise OSError("no route")
        except OSError as error:
            first = ValueError("bad order")
            first.__cause__ = error
        inner = ExceptionGroup("inner", [KeyError("a")])
        raise ExceptionGroup("both", [first, inner])

    with pytest.raises(ExceptionGroup) as raised:
        fail()
    failure = remember(raised.value, 1)
    assert str(failure) == "ExceptionGroup: both (2 sub-exceptions)"
    first, inner = failure.members
    assert (str(first), str(first.cause)) == ("ValueError: bad order", "OSError: no route")
    assert [str(each) for each in inner.members] == ["KeyError: 'a'"]
    text = failure.format()
    for line in ("  +---------------- 2 ----------------", "  | OSError: no route"):
        assert line in text.splitlines()
    assert "  |   | KeyError: 'a'" in text


def test_groups_in_groups_are_remembered_so_far_and_no_further() -> None:
    error: Exception = ValueError("the innermost")
    for depth in range(100):
        below: list[Exception] = [error] * 100
        error = ExceptionGroup(f"group {depth}", below)
    failure = remember(error, 1)
    levels = 0
    while failure.members:
        assert len(failure.members) <= 15
        failure = next(iter(failure.members))
        levels += 1
    assert levels == 3


@pytest.mark.parametrize(("error", "shown"), [(WouldDeadlock("a", "b"), 0), (ValueError(), 1)])
def test_an_error_of_sprags_own_is_told_without_the_engines_frames(
    error: Exception, shown: int
) -> None:
    engine: dict[str, Any] = {"__name__": "sprag_supervisor._made_up"}
    exec("def fail(error): raise error", engine)
    with pytest.raises(type(error)) as raised:
        engine["fail"](error)
    outermost = raised.value.__traceback__
    assert outermost is not None
    assert len(remember(error, 1).frames) == 1 + shown  # a call of the user's has led there
    error.__traceback__ = outermost.tb_next
    assert len(remember(error, 1).frames) == shown


def ping(times: int) -> None:
    if not times:
        fail("at last")
    pong(times - 1)


def pong(times: int) -> None:
    ping(times)


def recurse(times: int) -> None:
    if not times:
        fail("at last")
    recurse(times - 1)


@pytest.mark.parametrize(
    ("function", "told"), [(ping, "[Previous 2 frames repeated "), (recurse, "[Previous line ")]
)
def test_the_rounds_of_a_recursion_are_told_once(function: Any, told: str) -> None:
    text = remember(caught(function, 40), 1).format()
    assert text.count(told) == 1
    assert text.count("\n") < 20
    assert text.endswith("ValueError: at last\n")


def test_of_a_long_traceback_the_log_says_how_many_frames_it_leaves_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Supervisor() as top:
        top.adopt(Service()).spawn(ping, 200)
        gevent.idle()
    (crash,) = [each for each in caplog.messages if "service crashed" in each]
    assert "frames_left_out=" in crash


def test_of_a_long_traceback_the_first_frames_are_kept_and_more_of_the_last() -> None:
    source = "def f99(): 1 / 0\n" + "\n".join(f"def f{n}(): f{n + 1}()" for n in range(99))
    functions: dict[str, Any] = {}
    exec(source, functions)
    with pytest.raises(ZeroDivisionError) as caught:
        functions["f0"]()
    short, left_out = shortened(caught.value.__traceback__)
    names = [each.f_code.co_name for each, _ in traceback.walk_tb(short)]
    here, *first = names[:15]
    assert (here, first) == (caught.traceback[0].name, [f"f{n}" for n in range(14)])
    assert names[15:] == [f"f{n}" for n in range(55, 100)]
    assert left_out == 101 - 60


def test_a_class_that_says_not_where_it_was_made_is_not_plain() -> None:
    nowhere = eval("type('Nowhere', (Exception,), {})", {})
    with pytest.raises(AttributeError):
        _ = nowhere.__module__
    assert is_plain(ValueError())
    assert not is_plain(nowhere())


@pytest.mark.parametrize(
    ("frames", "pieces"),
    [
        ("", []),
        ("abc", [("abc", 0)]),
        ("abab", [("abab", 0)]),
        ("xababababy", [("x", 0), ("ab", 3), ("y", 0)]),
        ("aaaaaab", [("aa", 0), ("a", 3), ("b", 0)]),
        ("aaa", [("aaa", 0)]),
        ("aabaabaabaab", [("aab", 3)]),
        ("abcdabcdabcdxyxyxyxy", [("abcd", 2), ("xy", 3)]),
        ("aaaaabaaaaab", [("aa", 0), ("a", 2), ("b", 0), ("aa", 0), ("a", 2), ("b", 0)]),
        ("aaaaab" * 3, [("aaaaab", 2)]),
        ("abababcdefghijkl", [("ab", 2), ("cdefghijkl", 0)]),
        ("abcdefghijkl" * 3, [("abcdefghijkl", 2)]),
        ("abcdefghijklm" * 3, [("abcdefghijklm" * 3, 0)]),
    ],
)
def test_what_follows_itself_is_one_piece(frames: str, pieces: list[tuple[str, int]]) -> None:
    found = [(piece, more) for piece, more in folded(frames) if piece]
    assert found == pieces


def test_how_often_is_said_as_python_says_it() -> None:
    assert said_of(1, 1) == "[Previous line repeated 1 more time]"
    assert said_of(1, 2) == "[Previous line repeated 2 more times]"
    assert said_of(3, 1) == "[Previous 3 frames repeated 1 more time]"


@given(st.text("abc", max_size=60))
def test_nothing_is_lost_by_folding(frames: str) -> None:
    assert "".join(str(piece) * (more + 1) for piece, more in folded(frames)) == frames


@pytest.mark.parametrize(
    "error",
    [
        *(AttributeError(), NameError(), UnboundLocalError(), ImportError(), SyntaxError()),
        ExceptionGroup("two", [ValueError(), KeyError()]),
    ],
)
def test_an_error_that_formatters_look_into_is_not_plain(error: Exception) -> None:
    assert is_plain(ValueError())
    assert not is_plain(error)


def test_its_repr_has_no_code_objects() -> None:
    failure = remember(caught(raised_three_deep), 3)
    assert "code object" not in repr(failure)
    assert repr(failure).startswith("Failure(type='OSError', message='[Errno 5] third', at=")
    assert "cause=Failure(type='RuntimeError', message='second'" in repr(failure)
    assert len(repr(remember(ValueError("x" * 10**6), 1))) < 1000
