"""The commands that look at many nodes, on real processes that share a real engine."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from processes import PATIENCE, app, ran, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.long]

APP = """
    import os

    class Billing(Service, shutdown=0.5):
        def run(self):
            gevent.sleep(1000)

    app = App(
        name="shop",
        cluster=Cluster(os.environ["ENGINE"], ttl=3.0, node=os.environ["NODE"], control="full"),
        providers={"mail": Billing(), "billing": Singleton(Billing())},
    )
"""


def test_nodes_are_workers_and_processes_and_each_command_reaches_them(
    started: Callable[[str], Server], tmp_path: Path
) -> None:
    url = started("redis").url
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        app(tmp_path / name, APP)
    given = {"ENGINE": url}
    with (
        run(tmp_path / "one", "--workers", "2", environ={**given, "NODE": "n1"}) as first,
        run(tmp_path / "two", environ={**given, "NODE": "n2"}) as second,
    ):

        def sprag(*words: str, fails: bool | None = False) -> Any:
            environ = {**os.environ, "SPRAG_RUNTIME_DIR": str(second.runtime)}
            done = ran(*words, "--app", "shop", "--json", env=environ)
            assert fails in (None, bool(done.returncode)), done.stderr
            return json.loads(done.stdout) if done.stdout.startswith("{") else done.stderr

        second.says('"up"')
        first.says('"up"')
        names: dict[str, Any] = {}
        until = time.monotonic() + PATIENCE
        while not (len(names) == 3 and any(each["runs"] for each in names.values())):
            assert time.monotonic() < until, names
            # It fails where one does not answer yet.
            names = {each["name"]: each for each in sprag("nodes", fails=None)["nodes"]}
        assert set(names) == {"n1-1", "n1-2", "n2"}
        (owner,) = [name for name, each in names.items() if each["runs"]]
        owners: dict[str, Any] = {}
        billing: dict[str, Any] = {}
        while set(owners.values()) != {owner}:  # as each sees it
            assert time.monotonic() < until, owners
            trees = {
                each["name"]: each["tree"]
                for each in sprag("tree", "--cluster", fails=None)["nodes"]
            }
            billing = {
                name: next(each for each in tree["children"] if each["name"] == "billing")
                for name, tree in trees.items()
            }
            owners = {name: each["lease"]["node"] for name, each in billing.items()}
        assert [name for name, each in billing.items() if each["lease"]["here"]] == [owner]
        assert [name for name, each in billing.items() if each["children"]] == [owner]
        told = sprag("status", "n1-2:mail")
        assert (told["node"], told["path"], told["state"]) == (
            "n1-2",
            "app/worker-2/mail",
            "running",
        )
        sprag("restart", "n1-1:mail")
        assert sprag("status", "n1-1:mail")["incarnation"] == 2
        assert "n1-1" in sprag("status", "n3:mail", fails=True)
        # A planned end hands over, whoever has it.
        leaves = second if owner == "n2" else first
        leaves.send(15)
        if leaves is first:
            assert first.ends() == 0
            told = sprag("status", "billing")
            until = time.monotonic() + PATIENCE
            while not told["lease"]["here"]:
                assert time.monotonic() < until
                told = sprag("status", "billing")
            assert told["lease"]["token"] > 0
