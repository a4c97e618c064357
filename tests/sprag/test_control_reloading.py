"""``/v1/reload``: the hooks `on_reload`, called from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
import pytest

from controlled import aside, ask, check, served
from sprag import App, Service, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Reads(Service):
    times = 0

    def on_reload(self) -> None:
        self.times += 1


class Bad(Service):
    def on_reload(self) -> None:
        raise ValueError("postgres://me:hunter2@db is not there")


class Hangs(Service):
    def on_reload(self) -> None:
        gevent.sleep(3600)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[App, Path]]:
    fleet = Supervisor([(Bad(), {"name": "bad"}), (Hangs(), {"name": "hangs"})])
    app = App(name="shop", providers={"reads": Reads(), "fleet": fleet, "last": Reads()})
    with served(app, tmp_path) as path:
        yield app, path


@pytest.fixture
def post(shop: tuple[App, Path]) -> Callable[..., Any]:
    def post(target: str, *, status: int = 200, method: str = "POST") -> Any:
        found, answer = aside(ask, shop[1], method, f"/v1/reload{target}")
        assert found == status, answer
        check("reload" if status == 200 else "error", answer)
        assert "hunter2" not in str(answer)
        return answer

    return post


def outcomes(answer: Any) -> list[tuple[str, str]]:
    return [(each["path"], each["outcome"]) for each in answer["entries"]]


def test_without_a_path_the_whole_app_reloads(
    shop: tuple[App, Path], post: Callable[..., Any]
) -> None:
    answer = post("?timeout=0.2")
    assert (answer["path"], answer["dry_run"]) == ("shop", False)
    assert outcomes(answer) == [
        ("shop/reads", "reloaded"),
        ("shop/fleet/bad", "failed"),
        ("shop/fleet/hangs", "late"),
        ("shop/last", "late"),
    ]
    counts = [answer[each] for each in ("reloaded", "failed", "late", "skipped", "more")]
    assert counts == [1, 1, 2, 0, 0]
    assert shop[0].service("reads", Reads).times == 1


def test_a_plan_reloads_nobody(shop: tuple[App, Path], post: Callable[..., Any]) -> None:
    shop[0].service("last").stop()
    answer = post("?dry_run=1")
    assert answer["dry_run"] is True
    assert [each for _, each in outcomes(answer)] == ["planned", "planned", "planned", "skipped"]
    assert shop[0].service("reads", Reads).times == 0


def test_a_path_reloads_what_is_there_and_below(post: Callable[..., Any]) -> None:
    assert outcomes(post("/reads")) == [("shop/reads", "reloaded")]
    assert outcomes(post("/fleet/bad"))[0][1] == "failed"


def test_what_makes_no_sense_is_refused(post: Callable[..., Any]) -> None:
    post("/nope", status=404)
    post("?timeout=soon", status=400)
    post("", status=405, method="GET")
