"""``/v1/hold`` and ``/v1/release``, and the start of one that waits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from controlled import aside, ask, check, served
from sprag import App, Backoff, DynamicSupervisor, Service, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Mail(Service):
    def fail(self) -> None:
        raise ValueError


class Patient(Mail, backoff=Backoff(3600.0, maximum=3600.0)):
    pass


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[App, Path]]:
    fleet = Supervisor([(Mail(), {"name": "courier"})], name="fleet")
    app = App(
        name="shop",
        providers={"fleet": fleet, "pool": DynamicSupervisor(), "patient": Patient()},
    )
    with served(app, tmp_path) as path:
        yield app, path


@pytest.fixture
def post(shop: tuple[App, Path]) -> Callable[..., Any]:
    def post(target: str, *, status: int = 200) -> Any:
        found, answer = aside(ask, shop[1], "POST", target)
        assert found == status, answer
        check(_kind(target, status), answer)
        return answer

    return post


def _kind(target: str, status: int) -> str:
    if status != 200:
        return "error"
    return "done" if target.startswith("/v1/start") else "holding"


def test_a_hold_is_the_asking_user_s_and_is_shown(
    shop: tuple[App, Path], post: Callable[..., Any]
) -> None:
    app, path = shop
    answer = post("/v1/hold/fleet?for=3600")
    assert (answer["path"], answer["state"], answer["was"]) == ("shop/fleet", "running", None)
    assert answer["held"]["by"] == os.getuid()
    assert post("/v1/hold/fleet")["was"] == answer["held"]
    _, tree = aside(ask, path, "GET", "/v1/tree")
    check("tree", tree)
    fleet = tree["children"][0]
    assert fleet["held"]["path"] == fleet["children"][0]["held"]["path"] == "shop/fleet"
    assert (fleet["ready"], fleet["children"][0]["ready"], tree["held"]) == (False, True, None)
    status, ready = aside(ask, path, "GET", "/v1/ready")
    assert status == 503
    assert ready["not_ready"] == [{"path": "shop/fleet", "state": "running", "reason": "held"}]

    assert post("/v1/release/shop/fleet")["was"]["by"] == os.getuid()
    assert post("/v1/release/fleet")["was"] is None
    _, told = aside(ask, path, "GET", "/v1/why/fleet/courier")
    check("why", told)
    uid = os.getuid()
    assert [(each["what"], each["by"], each["seconds"]) for each in told["holds"]] == [
        ("held", uid, 3600.0),
        ("held", uid, None),
        ("released", uid, None),
    ]
    assert app.not_ready() == {}


def test_one_that_is_still_held_with_what_is_above_it_says_so(post: Callable[..., Any]) -> None:
    post("/v1/hold/fleet")
    post("/v1/hold/fleet/courier")
    answer = post("/v1/release/fleet/courier")
    assert answer["was"]["path"] == "shop/fleet/courier"
    assert answer["held"]["path"] == "shop/fleet"


def test_a_path_where_nobody_is_any_more_can_be_released(
    shop: tuple[App, Path], post: Callable[..., Any]
) -> None:
    pool = shop[0].service("pool", DynamicSupervisor)
    job = pool.start_child(Mail(), restart="temporary", name="job")
    post("/v1/hold/pool/job")
    job.stop()
    answer = post("/v1/release/pool/job")
    assert (answer["state"], answer["held"]) == (None, None)
    assert answer["was"]["path"] == "shop/pool/job"
    post("/v1/release/pool/job", status=404)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/hold/nope", 404),
        ("/v1/hold", 404),
        ("/v1/release/nope", 404),
        ("/v1/hold/fleet?for=0", 400),
        ("/v1/hold/fleet?for=-1", 400),
        ("/v1/hold/fleet?for=long", 400),
    ],
)
def test_what_makes_no_sense_is_refused(post: Callable[..., Any], target: str, status: int) -> None:
    assert post(target, status=status)["error"]


def test_a_start_of_one_that_waits_starts_it_now(
    shop: tuple[App, Path], post: Callable[..., Any]
) -> None:
    app = shop[0]
    patient, courier = app.service("patient", Patient), app.service("fleet/courier", Mail)
    post("/v1/hold/fleet")
    patient.spawn(patient.fail)
    courier.spawn(courier.fail)
    gevent.sleep(0.05)
    for path in ("patient", "fleet/courier"):
        answer = post(f"/v1/start/{path}")
        assert (answer["before"], answer["state"]) == ("restarting", "running")
    assert post("/v1/start/patient", status=409)["name"] == "ChildRunning"


def test_a_hold_without_an_end_that_has_a_name_is_shown_all_the_same(
    shop: tuple[App, Path], post: Callable[..., Any]
) -> None:
    app, path = shop
    app.service("fleet/courier").hold_exits(1e18)
    status, answer = aside(ask, path, "GET", "/v1/tree")
    assert status == 200
    assert "9999-12-31" in str(answer)
    assert post("/v1/release/fleet/courier")["was"]["until"].startswith("9999-12-31")
