"""What the control socket tells of a singleton: whose it is, and why it moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

from controlled import aside, ask, check, served
from sprag import App, Service, Singleton
from sprag.testing import as_workers

if TYPE_CHECKING:
    from pathlib import Path


class Billing(Service):
    def fail(self) -> None:
        raise ValueError("no database")


def made() -> App:
    return App(name="shop", providers={"billing": Singleton(Billing(), max_restarts=0)})


def test_why_and_status_tell_of_its_moves(tmp_path: Path) -> None:
    first, second = made(), made()
    with as_workers(first, second) as shared, served(first, tmp_path) as path, second:
        billing = first.service("billing")
        billing.spawn(billing.fail)
        for _ in range(20):
            gevent.sleep(0)
        status, told = aside(ask, path, "GET", "/v1/why/billing")
        assert status == 200
        check("why", told)
        assert [each["what"] for each in told["moves"]] == ["begins", "ends"]
        assert told["moves"][1]["because"] == "worker-1 gave up: ValueError: no database"
        assert told["moves"][0]["token"] > 0
        status, told = aside(ask, path, "GET", "/v1/service/billing")
        check("service", told)
        assert told["status"].startswith("standby: runs in worker-2; gave up here")
        assert shared.engine.scan("sprag/app/rows/").value
