"""Why a service is down: in the picture of the tree, in a word, and whom that has to do with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

import scripted
from controlled import check
from sprag import Backoff, DynamicSupervisor, Ignore, Service, Supervisor, to_json
from sprag.control import acting
from sprag.control.desk import Desk
from sprag.control.http import Request
from sprag.control.pictures import node_to_json
from sprag_supervisor import picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock

pytestmark = pytest.mark.usefixtures("clock", "no_bugs")

TEN_SECONDS = Backoff(initial=10.0, factor=1.0, jitter=0.0)


class Idle(Service):
    pass


class Fails(Service, backoff=TEN_SECONDS):
    def run(self) -> None:
        raise ValueError("x")


class Ends(Service, restart="transient"):
    def run(self) -> None:
        pass


class Absent(Service):
    def on_start(self) -> None:
        raise Ignore


def why(root: Supervisor) -> dict[str, Any]:
    """Return why each child is down, held against the schema."""
    told = to_json(root.snapshot())
    check("node", told)
    return {each["name"]: each["down_because"] for each in told["children"]}


def because(by: str, of: str | None = None) -> dict[str, Any]:
    return {"by": by, "with": of}


def asked(root: Supervisor, action: Callable[..., Any], path: str) -> None:
    action(Desk(root), Request("POST", f"/v1/stop/{path}"), path, None)


def test_who_runs_has_no_reason_to_be_down() -> None:
    with Supervisor(children=[Idle()], name="top") as top:
        assert why(top) == {"Idle": None}
        assert to_json(top.snapshot())["down_because"] is None


def test_its_own_end_is_the_reason_of_one_that_ended_by_itself() -> None:
    children: list[Any] = [(Fails(), {"name": "fails"}), Ends(), Absent()]
    stays = (Fails(), {"name": "stays", "restart": "temporary", "backoff": None})
    with Supervisor(children=[*children, stays], name="top") as top:
        gevent.sleep(1)
        assert why(top) == {
            "fails": because("crashed"),
            "Ends": because("finished"),
            "Absent": because("ignored"),
        }


def test_who_failed_for_good_is_down_of_what_it_died_of() -> None:
    kept = (Fails(), {"name": "kept", "on_failure": {ValueError: "stop"}})
    with Supervisor(children=[kept], name="top") as top:
        gevent.sleep(1)
        assert why(top) == {"kept": because("crashed")}


def test_an_operator_is_told_apart_from_the_apps_own_code() -> None:
    with Supervisor(children=[(Idle(), {"name": "a"}), (Idle(), {"name": "b"})], name="top") as top:
        asked(top, acting.stop, "a")
        top.service("b").stop()
        assert why(top) == {"a": because("operator"), "b": because("code")}
        # What follows is another life.
        asked(top, acting.restart, "a")
        assert why(top)["a"] is None
        top.service("a").stop()
        assert why(top)["a"] == because("code")
        asked(top, acting.stop, "a")  # it is down already
        assert why(top)["a"] == because("code")


def test_who_waits_with_its_group_says_for_whom(clock: VirtualClock) -> None:
    crashes = Fails()
    children = [(Idle(), {"name": "a"}), (crashes, {"name": "b"}), (Idle(), {"name": "c"})]
    with Supervisor(children=children, strategy="one_for_all", name="top") as top:
        clock.advance(1)
        with_b = because("group", "top/b")
        assert why(top) == {"a": with_b, "b": because("crashed"), "c": with_b}
        # Whose restart is called off takes those along who have waited for it.
        asked(top, acting.stop, "b")
        assert why(top) == {"a": with_b, "b": because("operator"), "c": with_b}


def test_who_waits_for_what_it_needs_says_for_whom() -> None:
    class Down(Service):
        def on_start(self) -> None:
            raise ValueError("x")

    db = Down(), {"name": "db", "retry_start": True, "backoff": TEN_SECONDS}
    children: list[Any] = [db, (Idle(), {"name": "web", "needs": ("db",)})]
    with Supervisor(children=children, name="top") as top:
        gevent.sleep(1)
        assert why(top) == {"db": because("start_failed"), "web": because("needs", "top/db")}


def test_one_that_is_not_started_by_itself_says_so() -> None:
    with Supervisor(children=[(Idle(), {"name": "a", "autostart": False})], name="top") as top:
        assert why(top) == {"a": because("autostart")}


def test_what_is_held_says_what_holds_it() -> None:
    with Supervisor(name="top") as top:
        a = top.start_child(Idle(), name="a")
        a.hold_exits()

        def crash() -> None:
            raise ValueError("x")

        a.spawn(crash)
        gevent.sleep(1)
        assert why(top) == {"a": because("held", "top/a")}


def test_a_hold_keeps_down_those_only_whom_nothing_else_does() -> None:
    with Supervisor([Fails(), Idle()], name="top") as top:
        gevent.sleep(1)
        top.service("Fails").hold_exits()
        scripted.crash(top.service("Idle"))  # of which nothing has been decided yet
        assert why(top) == {"Fails": because("crashed"), "Idle": because("crashed")}
        gevent.sleep(20)
        assert why(top) == {"Fails": because("held", "top/Fails"), "Idle": None}


def test_a_supervisor_that_gave_up_says_so(clock: VirtualClock) -> None:
    frail = Supervisor(children=[(Fails(), {"backoff": None})], max_restarts=0, name="frail")
    children: list[Any] = [(frail, {"restart": "temporary"})]
    with Supervisor(children=children, name="top", max_restarts=0) as top:
        clock.advance(1)
        assert why(top) == {}
        assert node_to_json(picture(frail))["down_because"] == because("gave_up")


def test_a_child_that_has_its_place_until_its_parent_is_down_is_down_with_that(
    clock: VirtualClock,
) -> None:
    class Lingers(Service):
        def on_stop(self) -> None:
            gevent.sleep(3)

    pool = DynamicSupervisor()
    with Supervisor(children=[(pool, {"name": "pool"})], name="top"):
        pool.start_child(Lingers(), name="lingers")
        pool.start_child(Idle(), name="idle")
        gevent.spawn(pool.stop)
        clock.advance(1)
        told = {each.name: each.because for each in pool.snapshot().children}
        assert told == {"lingers": None, "idle": ("parent", "top/pool")}
