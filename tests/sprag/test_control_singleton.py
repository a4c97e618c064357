"""What the control socket tells of what several trees share: singletons, and broadcasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent

from controlled import aside, ask, check, served
from sprag import App, Lifecycle, Move, Service, Singleton
from sprag.cluster import member
from sprag.control.events import change_to_json
from sprag.testing import as_workers

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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


def test_a_move_is_an_event_of_its_own(tmp_path: Path) -> None:
    said = ("moved", "shop/billing", 1, "ownership", "n1 has stopped it", None, None, 0, 12.0)
    told = change_to_json(Move(*said, origin="n1", node="n2", token=1_700_000_000_000))
    check("event", told)
    assert (told["origin"], told["node"], told["token"]) == ("n1", "n2", 1_700_000_000_000)
    assert "origin" not in change_to_json(
        Lifecycle("started", "shop/billing", 1, "started", None, None, None, 0, 12.0)
    )


def test_how_many_broadcasts_are_lost_is_told_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member, "MOST", 3)
    app = App(name="shop", providers={"ears": Service()})

    def told() -> Any:
        found: list[Any] = []
        for kind in ("tree", "service"):
            status, said = aside(ask, path, "GET", f"/v1/{kind}")
            assert status == 200
            check(kind, said)
            found.append(said["broadcasts"])
        assert found[0] == found[1]
        return found[0]

    with served(app, tmp_path) as path:
        assert told() is None
        for _ in range(5):
            app.broadcast("news")
        gevent.sleep(0.01)
        assert told() == {"sent": 3, "dropped": 2, "missed": 0, "waiting": 0}
