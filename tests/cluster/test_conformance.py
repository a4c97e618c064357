"""What every engine does: in memory, over the parent's socket, and in servers that people run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.event import Event

from sprag.cluster import memory
from sprag.cluster.engines import limits
from sprag.cluster.exceptions import EngineFull

if TYPE_CHECKING:
    from places import Place
    from sprag.cluster.engine import Answer, Engine


def test_a_value_is_swapped_only_by_who_knows_it(place: Place) -> None:
    engine, p = place.open(), place.prefix
    value = bytes(range(256))
    assert engine.get(f"{p}a/1").value is None
    assert not engine.cas(f"{p}a/1", b"", value).value
    assert not engine.cas(f"{p}a/1", b"", None).value
    assert engine.cas(f"{p}a/1", None, value).value
    assert not engine.cas(f"{p}a/1", None, b"other").value
    assert not engine.cas(f"{p}a/1", value + b"\0", b"other").value
    assert not engine.cas(f"{p}a/1", b"", None).value
    assert engine.get(f"{p}a/1").value == value
    assert engine.cas(f"{p}a/1", value, b"").value
    assert not engine.cas(f"{p}a/1", None, b"other").value
    assert engine.get(f"{p}a/1").value == b""
    assert engine.cas(f"{p}a/1", b"", value).value
    assert engine.cas(f"{p}a/1", value, None).value
    assert engine.get(f"{p}a/1").value is None
    assert not engine.cas(f"{p}a/1", value, b"other").value


def test_what_is_found_below_a_prefix_is_all_that_begins_with_it(place: Place) -> None:
    engine, p = place.open(), place.prefix
    names = ["a/1", "a/2", "a%/1", "a_/1", "b/1", "a/\u00e9\\'", "A/1", "a*/1", "a"]
    for name in names:
        assert engine.cas(p + name, None, name.encode()).value
    engine.publish(f"{p}topics/a", b"x")
    for prefix in ("a/", "a%", "a_", "a*", "", "b/1", "b/1/"):
        expected = {p + name: name.encode() for name in names if name.startswith(prefix)}
        assert engine.scan(p + prefix).value == expected


def test_each_answer_says_the_same_of_who_has_given_it(place: Place) -> None:
    engine, other, p = place.open(), place.open(), place.prefix
    answers: list[Answer[Any]] = [
        engine.get(f"{p}a"),
        engine.scan(p),
        engine.cas(f"{p}a", None, b"1"),
        engine.cas(f"{p}a", None, b"1"),
        engine.publish(f"{p}topics/a", b"x"),
        engine.read(f"{p}topics/a", None),
        other.get(f"{p}a"),
    ]
    assert len({answer.identity for answer in answers}) == 1
    for answer in answers:
        if answer.now is not None:
            assert abs(answer.now / 1000 - time.time()) < 60


def test_of_many_that_swap_at_once_one_has_swapped(place: Place) -> None:
    key = f"{place.prefix}counter"

    def count(engine: Engine) -> None:
        for _ in range(10):
            while True:
                value = engine.get(key).value
                if engine.cas(key, value, b"%d" % (int(value or b"0") + 1)).value:
                    break
                gevent.sleep(0)

    clients: list[Any] = [gevent.spawn(count, place.open()) for _ in range(8)]
    gevent.joinall(clients, raise_error=True)
    assert place.open().get(key).value == b"80"


def test_of_many_that_create_one_has_created_and_of_many_that_remove_one_has_removed(
    place: Place,
) -> None:
    engines = [place.open() for _ in range(8)]
    for number in range(10):
        key = f"{place.prefix}{number}"
        for old, new in ((None, b"x"), (b"x", None)):
            tries: list[Any] = [gevent.spawn(each.cas, key, old, new) for each in engines]
            gevent.joinall(tries, raise_error=True)
            assert sum(each.get().value for each in tries) == 1


def test_a_change_wakes_whoever_has_asked_for_it_in_every_process(place: Place) -> None:
    engine, other, p = place.open(), place.open(), place.prefix
    changed, others = Event(), Event()
    hint = engine.hint(f"{p}a/", changed.set)
    engine.hint(f"{p}topics/", others.set)
    _settle(changed, others, place)
    other.cas(f"{p}a/1", None, b"x")
    assert changed.wait(10)
    assert not others.is_set()
    changed.clear()
    hint.cancel()
    hint.cancel()
    other.cas(f"{p}a/2", None, b"x")
    other.publish(f"{p}topics/a", b"x")
    assert others.wait(10)
    assert not changed.is_set()


def _settle(changed: Event, others: Event, place: Place) -> None:
    """Wait until it listens: then it wakes all, as much may have changed before."""
    if place.server is not None:
        assert changed.wait(10)
        assert others.wait(10)
        changed.clear()
        others.clear()


def test_what_is_published_is_read_from_a_cursor_on(place: Place) -> None:
    engine, other, topic = place.open(), place.open(), f"{place.prefix}topics/a"
    first = engine.read(topic, None).value
    assert (first.messages, first.missed) == ((), 0)
    data = bytes(range(256))
    engine.publish(topic, data)
    engine.publish(topic, b"")
    assert other.read(topic, first.cursor).value.messages == (data, b"")
    page = engine.read(topic, first.cursor).value
    assert (page.messages, page.missed) == ((data, b""), 0)
    assert engine.read(topic, page.cursor).value == page._replace(messages=())
    now = other.read(topic, None).value.cursor
    other.publish(topic, b"3")
    other.publish(f"{place.prefix}topics/b", b"4")
    assert engine.read(topic, now).value.messages == (b"3",)
    assert engine.read(topic, page.cursor).value.messages == (b"3",)


def test_much_is_read_in_pages(place: Place) -> None:
    engine, topic = place.open(), f"{place.prefix}topics/a"
    cursor = engine.read(topic, None).value.cursor
    sent = [b"%d" % number for number in range(230)] + [b"x" * 60_000, b"y" * 60_000, b"z" * 60_000]
    for data in sent:
        engine.publish(topic, data)
    came: list[bytes] = []
    pages = 0
    while messages := (page := engine.read(topic, cursor).value).messages:
        assert len(messages) <= 100
        assert sum(map(len, messages)) < 200_000
        assert page.missed == 0
        came += messages
        cursor = page.cursor
        pages += 1
    assert came == sent
    assert pages > 3


def test_who_reads_late_is_told_how_much_he_has_missed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MOST_MESSAGES", 20)
    monkeypatch.setattr(limits, "MOST_EVENTS", 20)
    engine, topic = place.open(), f"{place.prefix}topics/a"
    cursor = engine.read(topic, None).value.cursor
    for number in range(200):
        engine.publish(topic, b"%d" % number)
    page = engine.read(topic, cursor).value
    assert page.missed >= 100
    assert page.messages == tuple([b"%d" % number for number in range(page.missed, 200)])
    assert engine.read(topic, page.cursor).value.missed == 0


def test_of_many_that_publish_nothing_is_read_twice_or_left_out(place: Place) -> None:
    topic = f"{place.prefix}topics/a"
    reader = place.open()
    cursor = reader.read(topic, None).value.cursor

    def publish(number: int) -> None:
        engine = place.open()
        for each in range(25):
            engine.publish(topic, b"%d %d" % (number, each))

    publishers: list[Any] = [gevent.spawn(publish, number) for number in range(6)]
    came: list[bytes] = []
    is_last = False
    while not is_last:
        is_last = all(each.ready() for each in publishers)
        while (page := reader.read(topic, cursor).value).messages:
            came += page.messages
            cursor = page.cursor
        gevent.sleep(0)
    gevent.joinall(publishers, raise_error=True)
    for number in range(6):
        mine = [data for data in came if data.startswith(b"%d " % number)]
        assert mine == [b"%d %d" % (number, each) for each in range(25)]


def test_what_is_too_large_is_refused(place: Place) -> None:
    engine, p = place.open(), place.prefix
    assert engine.cas(f"{p}a", None, b"\xff" * limits.LARGEST).value
    assert engine.get(f"{p}a").value == b"\xff" * limits.LARGEST
    assert engine.cas(f"{p}a", b"\xff" * limits.LARGEST, b"").value
    engine.publish(f"{p}topics/a", b"\xff" * limits.LARGEST)
    with pytest.raises(EngineFull, match="bytes in one value"):
        engine.cas(f"{p}a", b"", b"x" * (limits.LARGEST + 1))
    with pytest.raises(EngineFull, match="bytes in one value"):
        engine.publish(f"{p}topics/a", b"x" * (limits.LARGEST + 1))


def test_apps_that_share_a_server_share_nothing(place: Place) -> None:
    if place.server is None:
        pytest.skip("it is one app's alone")
    engine, p = place.open(), place.prefix
    place.app += "2"
    other, q = place.open(), place.prefix
    engine.cas(f"{p}a", None, b"1")
    other.cas(f"{q}a", None, b"2")
    assert engine.scan(p).value == {f"{p}a": b"1"}
    assert other.scan(q).value == {f"{q}a": b"2"}


def test_nothing_is_wrong_with_it(engine: Engine) -> None:
    assert engine.warnings() == ()


def test_who_has_closed_it_is_woken_no_more(place: Place) -> None:
    engine, other, p = place.open(), place.open(), place.prefix
    woken = Event()
    engine.hint(p, woken.set)
    if place.server is None:
        pytest.skip("it is one app's alone")
    assert woken.wait(10)
    engine.close()
    engine.close()
    woken.clear()
    other.cas(f"{p}a", None, b"x")
    gevent.sleep(0.05)
    assert not woken.is_set()
