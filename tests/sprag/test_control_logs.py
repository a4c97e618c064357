"""``/v1/logs``: what services have logged, at once or as it comes."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.threadpool import ThreadPool

from controlled import Connection, aside, ask, check, served
from sprag import Service, Supervisor
from sprag.control import logs
from sprag.control.desk import Desk
from sprag.control.http import Request
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Talker(Service):
    def __init__(self, name: str) -> None:
        self.name = name

    def say(self, text: str, **fields: Any) -> None:
        self.log.warning(text, **fields)


@pytest.fixture
def top(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[tuple[Supervisor, Path]]:
    caplog.set_level(logging.INFO)
    fleet = Supervisor([Talker("a"), Talker("b")], name="fleet")
    top = Supervisor([Talker("mail"), fleet], name="shop")
    with served(top, tmp_path) as path:
        yield top, path


def talker(top: Supervisor, path: str) -> Talker:
    found = tree_of(top).root
    for name in path.split("/"):
        found = (found._children_ or {})[name]
    assert isinstance(found, Talker)
    return found


def lines_of(path: Path, target: str) -> list[Any]:
    with closing(Connection(path)) as connection:
        connection.request("GET", target)
        response = connection.getresponse()
        assert response.status == 200
        return [json.loads(line) for line in response.read().splitlines()]


def events(told: list[Any]) -> list[Any]:
    return [each["event"] for each in told if each["kind"] == "record"]


def test_the_last_records_of_a_service_and_of_all_below_it_are_told(
    top: tuple[Supervisor, Path],
) -> None:
    shop, path = top
    for number in range(3):
        talker(shop, "mail").say(f"mail {number}", port=25)
        talker(shop, "fleet/a").say(f"a {number}")
        talker(shop, "fleet/b").say(f"b {number}")
    told = aside(lines_of, path, "/v1/logs/fleet?lines=3")
    for each in told:
        check("log_line", each)
    assert events(told) == ["b 1", "a 2", "b 2"]
    assert told[-1]["kind"] == "end"
    assert told[-1]["path"] == "shop/fleet"
    assert events(aside(lines_of, path, "/v1/logs/shop/mail"))[-3:] == [
        "mail 0",
        "mail 1",
        "mail 2",
    ]
    assert events(aside(lines_of, path, "/v1/logs?lines=2")) == ["a 2", "b 2"]
    assert events(aside(lines_of, path, "/v1/logs?lines=0")) == []
    (mail,) = aside(lines_of, path, "/v1/logs/mail?lines=1")[:1]
    assert (mail["path"], mail["level"], mail["fields"]) == ("shop/mail", "warning", {"port": "25"})


def test_what_is_older_than_asked_for_is_left_out(top: tuple[Supervisor, Path]) -> None:
    shop, path = top
    talker(shop, "mail").say("long ago")
    gevent.sleep(0.3)
    talker(shop, "mail").say("now")
    assert events(aside(lines_of, path, "/v1/logs/mail?age=0.2")) == ["now"]
    assert "long ago" in events(aside(lines_of, path, "/v1/logs/mail?age=100"))


def test_what_is_of_no_service_belongs_to_the_app(top: tuple[Supervisor, Path]) -> None:
    _shop, path = top
    logging.getLogger("some.library").warning("hello")
    (told, _end) = aside(lines_of, path, "/v1/logs?lines=1")
    check("log_line", told)
    assert (told["path"], told["event"], told["logger"]) == (None, "hello", "some.library")
    assert "hello" not in events(aside(lines_of, path, "/v1/logs/mail"))


def test_an_unknown_path_is_refused_but_not_one_that_has_left_the_tree(
    top: tuple[Supervisor, Path],
) -> None:
    shop, path = top
    late = shop.adopt(Talker("late"), restart="temporary")
    late.say("good bye")
    late.stop()
    assert "good bye" in events(aside(lines_of, path, "/v1/logs/late"))
    status, told = aside(ask, path, "GET", "/v1/logs/nope")
    assert (status, told["name"]) == (404, "UnknownService")


@pytest.mark.parametrize("query", ["lines=-1", "lines=many", "age=-1", "age=nan"])
def test_bad_numbers_are_refused(top: tuple[Supervisor, Path], query: str) -> None:
    status, told = aside(ask, top[1], "GET", f"/v1/logs?{query}")
    assert status == 400
    assert "is not accepted: use" in told["error"]


def test_to_follow_is_to_be_told_of_each_record_as_it_is_made(
    top: tuple[Supervisor, Path],
) -> None:
    shop, path = top
    mail = talker(shop, "mail")
    mail.say("before")
    with closing(Connection(path)) as connection:

        def begun() -> Any:
            connection.request("GET", "/v1/logs/mail?lines=1&follow=1")
            return connection.getresponse()

        response = aside(begun)

        def next_line() -> Any:
            return json.loads(response.readline())

        assert aside(next_line)["event"] == "before"
        live = aside(next_line)
        check("log_line", live)
        assert (live["kind"], live["path"]) == ("live", "shop/mail")
        talker(shop, "fleet/a").say("not asked for")
        mail.say("one")
        assert aside(next_line)["event"] == "one"
        threads = ThreadPool(1)
        threads.apply(mail.say, ("from a thread",))
        threads.kill()
        assert aside(next_line)["event"] == "from a thread"


@pytest.fixture
def desk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Desk]:
    caplog.set_level(logging.INFO)
    with Talker("shop") as shop:
        desk = Desk(shop)
        desk.open()
        yield desk
        desk.close()


def following(desk: Desk, gone: Callable[[], bool] = lambda: False) -> Iterator[Any]:
    answer = logs.answer(desk, Request("GET", "/v1/logs", {"lines": "0", "follow": "1"}), "", gone)
    assert answer.is_stream
    assert not isinstance(answer.body, dict)
    for piece in answer.body:
        yield from map(json.loads, piece.splitlines())


def test_what_does_not_fit_into_the_queue_of_a_client_is_counted(desk: Desk) -> None:
    told = following(desk)
    assert next(told)["kind"] == "live"
    next_one = logging.getLogger("x").warning
    next_one("first")
    assert next(told)["event"] == "first"
    for number in range(logs.QUEUE + 7):
        next_one("%d", number)
    rest = [next(told) for _ in range(logs.QUEUE + 1)]
    assert rest[-2]["event"] == str(logs.QUEUE - 1)
    check("log_line", rest[-1])
    assert rest[-1] == {"kind": "lost", "count": 7}
    next_one("on it goes")
    assert next(told)["event"] == "on it goes"


def test_who_follows_is_told_of_the_end_of_the_app(desk: Desk) -> None:
    told = following(desk)
    next(told)
    logging.getLogger("x").warning("the last")
    desk.close()
    assert [each.get("event", each["kind"]) for each in told] == ["the last", "end"]
    assert not desk.farewells
    desk.open()


def test_nothing_is_kept_for_a_client_that_has_gone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LOOK", 0.01)
    told = following(desk, lambda: True)
    assert next(told)["kind"] == "live"
    assert list(told) == []
    assert desk.ring._followers == ()
    assert not desk.farewells
