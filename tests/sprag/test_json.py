"""The tree as JSON, as the control socket sends it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from sprag import Backoff, Service, Supervisor, to_json
from sprag.control.pictures import encode, iso
from sprag_cli.term.deep_json import loads
from sprag_supervisor import pictures

if TYPE_CHECKING:
    from collections.abc import Callable

    from sprag.testing import VirtualClock


class Idle(Service):
    pass


class Holds(Service, shutdown=2.5, backoff=Backoff(initial=0.5)):
    def on_start(self) -> None:
        self.interval(print, 60)
        self.timeout(print, 60)
        self.listen("order", print)
        self.add_cleanup(len, "")


KEYS = {
    "name",
    "path",
    "class",
    "kind",
    "state",
    "incarnation",
    "restarts",
    "uptime",
    "started_at",
    "ended_at",
    "policy",
    "owned",
    "last_failure",
    "next_try",
    "stragglers",
    "children",
    "ready",
    "unready",
    "status",
    "items",
    "held",
    "draining",
    "waits_for",
    "process",
    "down_because",
    "lease",
}


def as_text(root: Service, **extra: object) -> Any:
    return loads("".join(encode(pictures(root), **extra)))


def test_a_node_has_the_keys_of_the_contract(clock: VirtualClock) -> None:
    shop = Supervisor([Holds(), (Idle(), {"name": "idle"})], name="shop")
    with shop:
        clock.advance(2)
        node = to_json(shop.snapshot())
        holds, idle = node["children"]
    assert set(node) == set(holds) == set(idle) == KEYS
    assert (node["name"], node["path"], node["kind"]) == ("shop", "shop", "supervisor")
    assert (holds["name"], holds["path"], holds["class"]) == ("Holds", "shop/Holds", "Holds")
    assert (holds["kind"], holds["state"], holds["incarnation"]) == ("worker", "running", 1)
    assert holds["uptime"] == 2.0
    assert holds["owned"] == {
        "greenlets": 0,
        "timers": 2,
        "listeners": 1,
        "cleanups": 1,
        "tasks": 0,
    }
    assert (holds["last_failure"], holds["next_try"], holds["ended_at"]) == (None, None, None)
    assert idle["children"] == []


def test_the_policy_holds_every_keyword(clock: VirtualClock) -> None:
    node = to_json(Holds().snapshot())
    policy = node["policy"]
    assert set(policy) >= {"restart", "shutdown", "start_timeout", "backoff", "significant"}
    assert set(policy) >= {"strategy", "max_restarts", "max_seconds", "auto_shutdown"}
    assert policy["shutdown"] == 2.5
    assert policy["backoff"]["initial"] == 0.5


def test_a_service_that_was_never_started_has_no_times(clock: VirtualClock) -> None:
    node = to_json(Idle().snapshot())
    assert (node["state"], node["incarnation"]) == ("new", 0)
    assert [node[key] for key in ("uptime", "started_at", "ended_at")] == [None, None, None]


def test_a_crash_and_the_next_try_are_told(clock: VirtualClock) -> None:
    class Crashing(Service, backoff=Backoff(initial=8.0, jitter=0.0)):
        def on_start(self) -> None:
            self.timeout(self.crash, 1)

        def crash(self) -> None:
            raise ValueError("bad order 17")

    with Supervisor([Crashing()]) as shop:
        clock.advance(2)
        (node,) = to_json(shop.snapshot())["children"]
    assert node["state"] == "restarting"
    assert node["next_try"] == 7.0
    failure = node["last_failure"]
    assert (failure["type"], failure["message"]) == ("ValueError", "bad order 17")
    assert failure["at"].endswith("+00:00")
    assert node["ended_at"].endswith("+00:00")
    assert node["uptime"] is None


def test_the_text_says_what_the_dicts_say(clock: VirtualClock) -> None:
    with Supervisor([Holds(), Supervisor([Idle(), Idle()]), Idle()], name="shop") as shop:
        assert as_text(shop) == to_json(shop.snapshot())


def test_the_root_may_be_told_more(clock: VirtualClock) -> None:
    node = as_text(Supervisor([]), app="shop", pid=17, schema=1)
    assert (node["app"], node["pid"], node["schema"]) == ("shop", 17, 1)


def test_infinity_becomes_null(clock: VirtualClock) -> None:
    class Patient(Service, shutdown="infinity", max_seconds=math.inf):
        pass

    text = "".join(encode(pictures(Patient())))
    assert "Infinity" not in text
    assert json.loads(text)["policy"]["max_seconds"] is None


def as_dicts(root: Service) -> Any:
    return to_json(root.snapshot())


@pytest.mark.parametrize("convert", [as_dicts, as_text])
def test_no_depth_is_too_much(clock: VirtualClock, convert: Callable[[Service], Any]) -> None:
    root = node = Idle()
    root.start()
    for _ in range(1_200):
        node = node.adopt(Idle(), name="x")
    found = convert(root)
    root.stop()
    depth = 0
    while found["children"]:
        (found,) = found["children"]
        depth += 1
    assert depth == 1_200


def test_times_are_in_utc_to_the_millisecond() -> None:
    assert iso(1_767_268_800.1234) == "2026-01-01T12:00:00.123+00:00"
    assert iso(None) is None


def test_when_a_service_ended_stays_as_it_was(clock: VirtualClock) -> None:
    with Supervisor([Service()]) as top:
        clock.advance(3.0)
        child = top.service("Service")
        child.stop()
        ended = clock.wall
        clock.advance(5.0)
        assert (child.snapshot().started_at, child.snapshot().ended_at) == (None, ended)
