"""Nodes that look at each other, through the engine that they share; in virtual time."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import pytest
from gevent import Greenlet, sleep

from controlled import check
from places import Line
from sprag import App, Cluster, Service, Singleton, Supervisor
from sprag.cluster import asking
from sprag.cluster.asks import LARGEST, Ask, ask_of
from sprag.cluster.engines import open_engine
from sprag.control import routes
from sprag.control.desk import desk_of
from sprag.control.http import Refused, Request
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from sprag.testing import VirtualClock

URL = ["memory://seen"]
TTL = 10.0


class Mail(Service):
    def run(self) -> None:
        while True:
            sleep(1)

    def fail(self) -> None:
        raise ValueError("the secret is 42")


def node(name: str, control: Any = "off", **rest: Any) -> App:
    return App(
        name="shop",
        cluster=Cluster(URL[0], ttl=TTL, node=name, control=control, address=f"10.0.0.{name[-1]}"),
        providers={"mail": Mail(), "billing": Singleton(Mail()), **rest},
    )


@contextmanager
def nodes(clock: VirtualClock, *apps: App) -> Generator[list[Line]]:
    keeps = open_engine(URL[0], app="shop")
    lines: list[Line] = []
    for each in apps:
        each.start()
        member = tree_of(each).cluster
        line: Any = Line(member.engine)
        member.engine = member.keeper._engine = line
        member.asking.engine = member.asking._sweeping.engine = line
        lines.append(line)
    clock.advance(TTL + 2)
    try:
        yield lines
    finally:
        for each in apps:
            each.stop()
        URL[0] += "x"
        clock.advance(130)  # what was left is swept
        assert not keeps.scan("sprag//").value
        clock.settle()


def ask(root: App, target: str, method: str = "GET", **query: str) -> Any:
    answer = routes.answer(desk_of(root), Request(method, target, query, by=0), bool)
    body = answer.body
    if isinstance(body, dict):
        return json.loads(json.dumps(body))
    return json.loads(b"".join(body))


def refused(root: App, target: str, method: str = "GET", **query: str) -> Refused:
    with pytest.raises(Refused) as caught:
        ask(root, target, method, **query)
    return caught.value


def names(root: dict[str, Any]) -> list[str]:
    return [child["name"] for child in root["children"]]


def test_who_runs_what_runs_once_is_told_by_all(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    with nodes(clock, first, second):
        (here,) = [e for e in ask(first, "/v1/tree")["children"] if e["name"] == "billing"]
        assert here["lease"]["node"] == "n1"
        assert here["lease"]["here"]
        told = ask(second, "/v1/service/billing")
        assert told["lease"] == {**here["lease"], "here": False}
        assert ask(second, "/v1/service/mail")["lease"] is None
        check("service", told)
        first.stop()
        clock.advance(2)
        then = ask(second, "/v1/service/billing")["lease"]
        assert (then["node"], then["here"]) == ("n2", True)
        assert then["token"] > here["lease"]["token"]
    alone = App(name="shop", providers={"billing": Singleton(Mail())})
    with alone:
        lease = ask(alone, "/v1/service/billing")["lease"]
        assert (lease["node"], lease["here"]) == (None, True)


def test_each_node_tells_of_all(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    with nodes(clock, first, second):
        told = ask(first, "/v1/nodes")
        check("nodes", told)
        one, two = told["nodes"]
        assert (one["name"], one["here"], one["state"], one["answered"]) == ("n1", True, "up", True)
        assert (two["name"], two["here"], two["state"], two["answered"]) == (
            "n2",
            False,
            "up",
            True,
        )
        assert (two["address"], two["ttl"], two["generation"]) == ("10.0.0.2", TTL, 1)
        assert one["engine"] == two["engine"] == told["engine"]
        assert [run["name"] for run in one["runs"]] == ["billing"]
        assert two["runs"] == []
        check("self", ask(first, "/v1/node"))


def test_a_node_that_is_silent_is_lost_with_its_age_and_holds_up_nobody(
    clock: VirtualClock,
) -> None:
    first, second, third = node("n1"), node("n2"), node("n3")
    with nodes(clock, first, second, third) as lines:
        lines[1].is_cut = True
        clock.advance(1)
        began = clock.now
        told = ask(first, "/v1/nodes")
        assert clock.now - began < 2.5
        assert [each["answered"] for each in told["nodes"]] == [True, False, True]
        assert told["nodes"][1]["state"] == "up"
        clock.advance(7)
        began = clock.now
        told = ask(first, "/v1/nodes")
        assert clock.now - began < 0.1  # it is not asked any more
        assert [each["state"] for each in told["nodes"]] == ["up", "lost", "up"]
        clock.advance(60)
        told = ask(first, "/v1/nodes")
        assert [each["name"] for each in told["nodes"]] == ["n1", "n3", "n2"]
        lost = told["nodes"][2]
        assert lost["state"] == "lost"
        assert 60 < lost["age"] < 75
        assert refused(first, "/v1/service/n2:mail").name == "NodeLost"
        lines[1].is_cut = False
        clock.advance(5)
        told = ask(first, "/v1/nodes")
        assert [each["state"] for each in told["nodes"]] == ["up", "up", "up"]


def test_a_node_that_has_stopped_is_not_lost(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    with nodes(clock, first, second):
        second.stop()
        clock.advance(30)
        assert [each["name"] for each in ask(first, "/v1/nodes")["nodes"]] == ["n1"]


def test_the_trees_of_all_are_one_answer(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2", extra=Mail())
    with nodes(clock, first, second):
        told = ask(first, "/v1/tree", cluster="1")
        check("trees", told)
        one, two = told["nodes"]
        assert names(one["tree"]) == ["mail", "billing"]
        assert names(two["tree"]) == ["mail", "billing", "extra"]
        assert two["tree"]["children"][1]["status"] == "standby: runs in n1"
        told = ask(first, "/v1/tree", cluster="1", path="extra")
        assert "no service 'extra'" in told["nodes"][0]["error"]
        assert told["nodes"][1]["tree"]["name"] == "extra"


def test_who_is_away_sees_itself_and_why_not_the_others(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2")
    with nodes(clock, first, second) as lines:
        lines[0].is_cut = True
        told = ask(first, "/v1/tree", cluster="1")
        check("trees", told)
        assert told["nodes"][0]["tree"]["name"] == "shop"
        assert "the line is cut" in told["nodes"][1]["error"]
        assert "the line is cut" in told["why_not"]
        found = refused(first, "/v1/tree", path="n2:")
        assert (found.status, found.name) == (HTTPStatus.SERVICE_UNAVAILABLE, "EngineAway")


def test_without_a_word_others_see_the_tree_and_nothing_that_services_have_said(
    clock: VirtualClock,
) -> None:
    first, second = node("n1"), node("n2")
    with nodes(clock, first, second):
        mail = second.service("mail")
        mail.spawn(mail.fail)
        clock.settle()
        told = ask(first, "/v1/tree", path="n2:mail")
        check("tree", told)
        assert (told["node"], told["path"], told["restarts"]) == ("n2", "shop/mail", 1)
        assert told["last_failure"]["type"] == "ValueError"
        assert told["last_failure"]["message"] == ""
        found = refused(first, "/v1/service/n2:mail")
        assert (found.status, found.name) == (HTTPStatus.FORBIDDEN, "NotAllowed")
        assert str(found).startswith("n2: other nodes may see the tree here, and no more")
        assert "control='read'" in str(found)
        assert "control='full'" in str(refused(first, "/v1/stop/n2:mail", "POST"))
        assert second.service("mail").snapshot().state.value == "running"


def test_completion_knows_the_nodes_and_what_they_have(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2", extra=Mail())
    with nodes(clock, first, second):

        def offered(prefix: str) -> list[str]:
            told = ask(first, "/v1/paths", prefix=prefix)
            check("paths", told)
            return [each["path"] for each in told["paths"]]

        assert "n2:" in offered("")
        assert offered("n2") == ["n2:"]
        assert offered("n2:e") == ["n2:extra"]
        assert offered("n2:shop/m") == ["n2:shop/mail"]
        assert offered("n7:e") == []


def test_who_may_read_reads_what_the_control_socket_tells(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2", control="read")
    with nodes(clock, first, second):
        mail = second.service("mail")
        mail.spawn(mail.fail)
        clock.settle()
        told = ask(first, "/v1/service/n2:shop/mail")
        check("service", told)
        assert (told["node"], told["last_failure"]["message"]) == ("n2", "the secret is 42")
        told = ask(first, "/v1/why/n2:mail")
        check("why", told)
        assert told["rulings"][0]["decision"] == "restart"
        told = ask(first, "/v1/top", path="n2:", seconds="0.1")
        check("top", told)
        told = ask(first, "/v1/stacks", path="n2:mail")
        check("stacks", told)
        assert "change nothing" in str(refused(first, "/v1/restart/n2:mail", "POST"))
        found = refused(first, "/v1/service/n2:nail")
        assert (found.status, found.name) == (HTTPStatus.NOT_FOUND, "UnknownService")
        assert "did you mean" in str(found)
        assert refused(first, "/v1/events", path="n2:").name == "NotFollowed"


def test_what_was_asked_for_elsewhere_is_logged_and_in_the_ledger(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = node("n1"), node("n2", control="full")
    with nodes(clock, first, second):
        before = second.service("mail").snapshot().incarnation
        told = ask(first, "/v1/restart/n2:mail", "POST")
        check("done", told)
        assert (told["node"], told["done"], told["state"]) == ("n2", True, "running")
        assert second.service("mail").snapshot().incarnation == before + 1
        (note,) = ask(second, "/v1/why/mail")["asks"]
        assert (note["what"], note["by"], note["refused"]) == ("restart", "root on n1", "")
        assert "another node asks" in caplog.text
        assert refused(first, "/v1/stop/n2:", "POST").name == "WholeApp"
        assert "without a path" in ask(second, "/v1/why")["asks"][-1]["refused"]
        assert "no app is ended" in str(refused(first, "/v1/stop/n2:", "POST", whole="1"))
        assert second.snapshot().state.value == "running"


def test_a_request_that_nobody_waits_for_any_more_is_never_carried_out(
    clock: VirtualClock,
) -> None:
    first, second = node("n1"), node("n2", control="full")
    with nodes(clock, first, second) as lines:
        lines[1].is_cut = True
        found = refused(first, "/v1/stop/n2:mail", "POST", timeout="1")
        assert found.name == "NodeSilent"
        assert str(found).endswith("has not begun, nor will it")
        lines[1].is_cut = False
        tree_of(second).cluster.asking.read_soon()
        clock.advance(3)
        assert second.service("mail").snapshot().state.value == "running"


def test_no_such_node_is_told_with_those_that_look_alike(clock: VirtualClock) -> None:
    first, second = node("node1"), node("node2")
    with nodes(clock, first, second):
        found = refused(first, "/v1/service/node3:mail")
        assert (found.status, found.name) == (HTTPStatus.NOT_FOUND, "UnknownNode")
        assert "there are node1, node2" in str(found)
        assert "did you mean node" in str(found)


def test_a_nodes_own_name_means_itself_whatever_others_may_ask(clock: VirtualClock) -> None:
    first = node("n1")
    with nodes(clock, first):
        assert ask(first, "/v1/service/n1:mail")["path"] == "shop/mail"
        assert ask(first, "/v1/tree", path="n1:")["name"] == "shop"
        assert ask(first, "/v1/stop/n1:mail", "POST")["state"] == "stopped"


def test_a_service_that_is_called_like_a_path_at_a_node_comes_first(clock: VirtualClock) -> None:
    first, second = node("n1", **{"n2:mail": Mail()}), node("n2")
    with nodes(clock, first, second):
        assert "node" not in ask(first, "/v1/service/n2:mail")


def test_an_app_without_a_cluster_says_how_it_has_one(clock: VirtualClock) -> None:
    app = App(name="shop", providers={"mail": Mail()})
    with app:
        for target, query in (
            ("/v1/nodes", {}),
            ("/v1/tree", {"cluster": "1"}),
            ("/v1/tree", {"path": "n2:"}),
        ):
            found = refused(app, target, **query)
            assert found.name == "NoCluster"
            assert "App(cluster=Cluster(" in str(found)
    clock.settle()


def test_two_nodes_with_one_name_are_seen_both_and_asked_neither(clock: VirtualClock) -> None:
    first, second, third = node("n1"), node("n2"), node("n2")
    with nodes(clock, first, second, third):
        told = ask(first, "/v1/nodes")
        assert [each["name"] for each in told["nodes"]] == ["n1", "n2", "n2"]
        assert refused(first, "/v1/service/n2:mail").name == "AmbiguousNode"


class Many(Supervisor):
    def on_start(self) -> None:
        for number in range(1000):
            self.adopt(Service(), name=f"service-{number}")


def test_a_node_with_a_thousand_services_is_seen_whole(clock: VirtualClock) -> None:
    first, second = node("n1"), node("n2", many=Many())
    with nodes(clock, first, second):
        told = ask(first, "/v1/tree", path="n2:many")
        assert len(told["children"]) == 1000
        told = ask(first, "/v1/tree", cluster="1")
        assert len(told["nodes"][1]["tree"]["children"][2]["children"]) == 1000


def test_an_answer_that_is_too_large_says_so(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sprag.cluster import asks

    monkeypatch.setattr(asks, "LARGEST", 1000)
    first, second = node("n1"), node("n2", many=Many())
    with nodes(clock, first, second):
        found = refused(first, "/v1/tree", path="n2:")
        assert (found.status, found.name) == (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "TooLarge")
        assert ask(first, "/v1/tree", path="n2:mail")["name"] == "mail"
    assert LARGEST == 1_000_000


def test_more_requests_than_a_node_answers_at_a_time_are_told_to_come_back(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MOST", 1)
    first, second = node("n1"), node("n2", control="read")
    with nodes(clock, first, second):
        slow = cast("Any", Greenlet).spawn(ask, first, "/v1/top", path="n2:", seconds="2")
        clock.advance(0.1)
        assert "already" in str(refused(first, "/v1/service/n2:mail"))
        clock.advance(3)
        assert slow.value["node"] == "n2"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b"{}",
        b'{"id":1}',
        b"\xff",
        b"[" * 5000,
        b'{"id":"a","to":"x","method":"GET","path":"/","query":[],"where":"","user":"","uid":0}',
        b'{"id":"a","to":[1],"method":"GET","path":"/","query":{},"where":"","user":"","uid":0}',
        b'{"id":"a","to":[],"method":"GET","path":"/","query":{"a":1},"where":"","user":"","uid":0}',
    ],
)
def test_what_no_node_could_have_asked_is_no_request(message: bytes) -> None:
    assert ask_of(message) is None


def test_a_request_is_what_was_asked() -> None:
    asked = Ask("a", ("b", "c"), "GET", "/v1/tree", {"path": "x"}, "n1", "root", 0, True)
    assert ask_of(asked.as_bytes()) == asked
    assert asked.by == "root on n1"


@pytest.mark.parametrize("control", ["off", "read"])
def test_what_a_failure_says_leaves_a_node_only_if_others_may_read_it(
    clock: VirtualClock, control: str
) -> None:
    class Failing(Mail):
        def on_start(self) -> None:
            if tree_of(self).cluster.where == "n1":
                self.fail()

    first = node("n1", control, ledgers=Singleton(Failing()))
    second = node("n2", "read", ledgers=Singleton(Failing()))
    with nodes(clock, first, second):
        clock.advance(5)
        (begun,) = [
            each.because for each in tree_of(second).ledger.moves if each.path == "shop/ledgers"
        ]
        assert "n1 gave up" in begun
        assert "ValueError" in begun
        kept = b"".join(open_engine(URL[0], app="shop").scan("").value.values())
        assert (b"secret" in kept) == ("secret" in begun) == (control == "read")
