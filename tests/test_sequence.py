"""What takes long begins first, with half of the workers, and all else stays as it is."""

from __future__ import annotations

from sequence import begun_apart, long_first


def order(tests: str, workers: int) -> str:
    return "".join(long_first(tests, str.isupper, workers))


def pieces(*each: str) -> str:
    return "".join(each)


def test_half_of_the_workers_begin_with_what_takes_long() -> None:
    assert order("abCdeFghIjkl", 4) == pieces("CIa", "Fbd", "egh", "jkl")
    assert order("abCdeFghIjk", 5) == pieces("CI", "Fa", "bd", "eg", "hjk")
    assert order("abCdEf", 2) == pieces("CEa", "bdf")
    assert order("abcd", 3) == "abcd"


def test_none_is_lost_where_nearly_all_take_long_and_alone_they_keep_their_order() -> None:
    assert order("ABCdE", 4) == "ACBEd"
    assert order("AB", 2) == "AB"
    assert order("", 4) == ""
    assert order("abCdE", 1) == "abCdE"


def test_each_worker_begins_elsewhere_and_looks_at_all() -> None:
    assert ["".join(begun_apart("abcdef", each, 3)) for each in range(3)] == [
        "abcdef",
        "cdefab",
        "efabcd",
    ]
    assert begun_apart("ab", 0, 4) == begun_apart("ab", 1, 4) == ["a", "b"]
    assert begun_apart("", 1, 2) == []
