from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from drawn import plain
from processes import ran
from sprag import (
    App,
    Backoff,
    Cluster,
    DynamicSupervisor,
    Program,
    Service,
    Sharded,
    Singleton,
    Supervisor,
)
from sprag._exit_codes import ExitCode
from sprag.programs import Notify
from sprag_cli.check import asked as _asked
from sprag_cli.check.asked import asked_by, unknown
from sprag_cli.check.check import _refusals, plan_of, render
from sprag_cli.check.lint import RULES, lint
from sprag_cli.term.style import ASCII

if TYPE_CHECKING:
    import subprocess

Child = tuple[Service, dict[str, Any]]


class Beating(Service, heartbeat=10.0):
    def on_start(self) -> None:
        self.interval(lambda: self.beat(), 3.0)


class Quick(Service):
    pass


class Slow(Service, shutdown=20.0):
    def on_stop(self) -> None:
        pass


class Adopting(Service):
    def on_start(self) -> None:
        self.adopt(Quick())


def found(*children: Service | Child, budget: float = 30.0, **policy: Any) -> list[tuple[str, str]]:
    root = Supervisor(children, name="shop", **policy)
    return [(finding.rule, finding.path) for finding in lint(plan_of(root), budget)]


def nested(levels: int, **policy: Any) -> Supervisor:
    supervisor = Supervisor([Quick()], **policy)
    for _ in range(levels - 1):
        supervisor = Supervisor([supervisor], **policy)
    return supervisor


def test_a_plain_tree_has_nothing_wrong_with_it() -> None:
    assert found(Quick(), (Slow(), {"name": "slow"}), Adopting(), nested(2)) == []


@pytest.mark.parametrize(
    ("children", "policy", "rule", "path"),
    [
        ([nested(3)], {}, "limits-multiply", "shop/Supervisor/Supervisor/Supervisor"),
        ([Slow(), Slow()], {}, "stop-over-budget", "shop"),
        ([(Slow(), {"shutdown": "infinity"})], {}, "stop-without-limit", "shop/Slow"),
        (
            [
                Supervisor(
                    [(Quick(), {"restart": "transient", "significant": True})],
                    auto_shutdown="any_significant",
                )
            ],
            {},
            "permanent-auto-shutdown",
            "shop/Supervisor",
        ),
        ([Supervisor([Quick()], restart="temporary")], {}, "stays-down", "shop/Supervisor"),
        (
            [
                Supervisor(
                    [(Quick(), {"restart": "transient", "significant": True}), Quick()],
                    auto_shutdown="all_significant",
                    restart="transient",
                )
            ],
            {},
            "stays-down",
            "shop/Supervisor",
        ),
        ([Quick()], {"auto_shutdown": "any_significant"}, "nothing-significant", "shop"),
        (
            [(Quick(), {"restart": "transient", "significant": True})],
            {},
            "cannot-start",
            "shop/Quick",
        ),
        (
            [(Quick(), {"backoff": Backoff()})],
            {},
            "backoff-in-vain",
            "shop/Quick",
        ),
        (
            [(Quick(), {"heartbeat": 10.0, "name": "hangs"}), Beating()],
            {},
            "never-beats",
            "shop/hangs",
        ),
        (
            [(Quick(), {"start_timeout": 4.0}), (Quick(), {"start_timeout": 3.0})],
            {"start_timeout": 5.0},
            "start-timeout-too-short",
            "shop",
        ),
    ],
)
def test_each_rule_finds_its_case(
    children: list[Service | Child], policy: dict[str, Any], rule: str, path: str
) -> None:
    assert found(*children, **policy) == [(rule, path)]


def test_what_runs_once_must_stop_within_a_quarter_of_the_ttl() -> None:
    def of(ttl: float, child: Any) -> list[tuple[str, str]]:
        providers: Any = {"billing": Singleton(child), "other": Slow()}
        root = App(providers=providers, name="shop", cluster=Cluster("memory://", ttl=ttl))
        return [(each.rule, each.remedy) for each in lint(plan_of(root), 60.0)]

    assert of(10.0, Quick()) == of(80.0, Slow()) == []
    assert of(40.0, Slow()) == [
        (
            "stop-over-lease",
            "give what is below it a shutdown of 10 s, all together, or the cluster a ttl of 80",
        )
    ]
    rules = [rule for rule, _ in of(40.0, (Slow(), {"shutdown": "infinity"}))]
    assert rules == ["stop-over-lease", "stop-without-limit"]


def test_a_partition_must_stop_within_a_quarter_of_the_ttl_too() -> None:
    class Shard(Slow):
        def __init__(self, number: int) -> None:
            self.number = number

    def of(shard: Any, ttl: float = 40.0) -> list[tuple[str, str]]:
        cluster = Cluster("memory://", ttl=ttl)
        root = App(providers={"carts": Sharded(shard)}, name="shop", cluster=cluster)
        return [(each.rule, each.path) for each in lint(plan_of(root), 60.0)]

    assert of(Shard) == [("stop-over-lease", "shop/carts/0/Shard")]
    assert of(Shard, 80.0) == []

    def make(_number: int) -> Service:
        return Slow()

    assert of(make) == []  # nobody knows what it will make


def test_every_rule_has_a_case() -> None:
    (cases,) = [
        mark.args[1]
        for mark in vars(test_each_rule_finds_its_case)["pytestmark"]
        if mark.name == "parametrize"
    ]
    assert {case[2] for case in cases} | {"stop-over-lease"} == set(RULES)


def test_what_stops_together_takes_the_longest_time_only() -> None:
    assert found(Slow(), budget=20.0) == []
    assert found(Slow(), Slow(), budget=40.0) == []
    root = plan_of(Supervisor([Slow(), Slow()], name="shop"))
    root.stops_together = True
    assert lint(root, 20.0) == []


def test_a_backoff_that_outlasts_the_window_is_well_as_the_guide_says() -> None:
    assert found((Quick(), {"backoff": Backoff(1.0)})) == []
    assert found((Quick(), {"backoff": Backoff(initial=10)})) == []
    assert found((Quick(), {"backoff": Backoff()}), max_restarts=0) == []  # gives up at once
    assert found((Quick(), {"backoff": Backoff(0.5)})) == [("backoff-in-vain", "shop/Quick")]


def checked(tmp_path: Path, target: str, *options: str) -> tuple[int, str, str]:
    done = ran(*options, target, cwd=tmp_path)
    return done.returncode, done.stdout, done.stderr


def test_a_mistake_in_the_module_is_one_line_with_its_place(tmp_path: Path) -> None:
    tmp_path.joinpath("shop.py").write_text(
        "from sprag import App, Service\n\n\nclass Feed(Service, restart='tempory'):\n    pass\n"
    )
    for command in ("check", "run"):
        code, out, err = checked(tmp_path, "shop:app", command)
        assert (code, out) == (3, "")
        assert err == (
            "sprag: shop.py:4: policy restart='tempory' is not accepted: use 'permanent', "
            "'transient', 'temporary' (did you mean 'temporary'?)\n"
        )


def test_a_module_that_exits_has_not_been_checked(tmp_path: Path) -> None:
    tmp_path.joinpath("shop.py").write_text("import sys\nsys.exit()\n")
    code, out, err = checked(tmp_path, "shop:app", "check")
    assert (code, out) == (3, "")
    assert err.endswith("sprag: loading shop:app raised SystemExit; nothing was started\n")
    assert "sprag_cli" not in err


def test_a_mistake_in_a_hook_ends_with_a_traceback_of_the_users_lines_only(tmp_path: Path) -> None:
    tmp_path.joinpath("shop.py").write_text(
        "from sprag import App, Service\n\n\nclass Feed(Service):\n    def on_start(self):\n"
        "        self.interval(self.poll(), 1)\n\n    def poll(self):\n        pass\n\n\n"
        "app = App(providers={'feed': Feed()})\n"
    )
    code, _, err = checked(tmp_path, "shop:app", "run", "--no-control")
    assert code == 3
    assert "did you call it?" in err
    assert "shop.py" in err
    assert "sprag_supervisor/" not in err


def test_check_finds_what_run_would_refuse_in_routes_and_classes(tmp_path: Path) -> None:
    tmp_path.joinpath("shop.py").write_text(
        "from sprag import App, Service\n\n\nclass Feed(Service):\n"
        "    def __init__(self):\n        self.restart = 'temporary'\n\n"
        "    def on_started(self):\n        pass\n\n    def listen(self):\n        pass\n\n\n"
        "app = App(name='shop', providers={'feed': Feed()}, routes='pages')\n"
    )
    tmp_path.joinpath("pages.py").write_text(
        "from sprag import Controller\n\n\nclass Home(Controller):\n    path = '/home'\n\n"
        "    def load(self):\n        return {}\n\n\nclass Page(Controller):\n"
        "    route = '/page'\n    template = 'page.html'\n\n    def load(self):\n"
        "        return {}\n"
    )
    code, out, err = checked(tmp_path, "shop:app", "check", "--json")
    assert (code, err) == (1, "")
    told = [(each["rule"], each["path"], each["message"]) for each in json.loads(out)["findings"]]
    assert [each[:2] for each in told] == [
        ("likely-mistake", "Feed"),
        ("cannot-start", "shop"),
        ("likely-mistake", "shop.Feed.on_started"),
        ("hides-sprags", "shop.Feed.listen"),
        ("likely-mistake", "pages.Home.path"),
    ]
    assert "no file 'page.html'" in told[1][2]
    tmp_path.joinpath("pages.py").write_text("1 / 0\n")
    code, out, err = checked(tmp_path, "shop:app", "check")
    assert (code, out) == (3, "")
    assert err.endswith("loading the routes raised ZeroDivisionError; nothing was started\n")
    assert "sprag/web/" not in err


def test_check_finds_what_is_started_already_or_placed_twice() -> None:
    one = Quick()
    twice = Supervisor([Supervisor([one]), Supervisor([one])], name="shop")
    assert [each.path for each in _refusals(twice)] == ["Quick"]
    with Supervisor(name="shop") as up:
        assert [each.rule for each in _refusals(up)] == ["cannot-start"]


@pytest.mark.parametrize(
    ("folder", "target"),
    [
        ("dashboard", "app:app"),
        ("orders", "app:app"),
        ("flask_gunicorn", "background"),
        ("stack", "app:app"),
    ],
)
def test_the_shipped_examples_pass(folder: str, target: str) -> None:
    examples = Path(__file__).parents[2] / "docs" / "examples"
    code, out, err = checked(examples / folder, target, "check")
    assert (code, err) == (0, ""), out


def test_ignored_rules_are_not_applied() -> None:
    root = plan_of(Supervisor([nested(3), Slow(), Slow()], name="shop"))
    assert [each.rule for each in lint(root, 30.0, frozenset({"limits-multiply"}))] == [
        "stop-over-budget"
    ]


@pytest.mark.parametrize(
    ("needs", "strategy", "seconds"),
    [
        ((None, None, None), "one_for_one", 60),
        (((), (), ()), "one_for_one", 30),
        (((), ("a",), ()), "one_for_one", 30),
        (((), (), ("b",)), "rest_for_one", 50),
        (((), None, ("a",)), "one_for_one", 40),
    ],
)
def test_programs_stop_as_long_as_they_may_and_by_who_needs_whom(
    needs: tuple[Any, ...], strategy: Any, seconds: int
) -> None:
    lengths = {"a": 10.0, "b": 20.0, "c": 30.0}
    programs = [
        Program(name, name=name, shutdown=lengths[name], needs=each)
        for name, each in zip(lengths, needs, strict=True)
    ]
    root = plan_of(Supervisor(programs, name="shop", strategy=strategy))
    assert lint(root, seconds) == []
    (finding,) = lint(root, seconds - 1)
    assert (finding.rule, finding.path) == ("stop-over-budget", "shop")
    assert f"may take {seconds} s to stop" in finding.message


def test_whose_stops_are_slow_is_named() -> None:
    programs = [Program("x", name=f"p{at}", shutdown=float(at)) for at in range(10, 15)]
    (finding,) = lint(plan_of(Supervisor(programs, name="shop")), 30.0)
    assert "60 s to stop, one after another: p14 14 s, p13 13 s, p12 12 s and 2 more." in (
        finding.message
    )


def test_a_program_that_says_watchdog_is_not_told_to_beat() -> None:
    web = Program("web", ready=Notify(watchdog=10))
    assert found(web) == []
    assert found(Program("web", shutdown="infinity")) == [("stop-without-limit", "shop/web")]


def test_names_are_those_of_the_living_tree() -> None:
    app = App(name="shop", providers={"mail": Quick(), "fleet": Supervisor([Quick(), Quick()])})
    paths = [plan.path for plan in plan_of(app).walk()]
    assert paths == ["shop", "shop/mail", "shop/fleet", "shop/fleet/Quick", "shop/fleet/Quick-2"]
    with app:
        assert [path for path in paths if path.count("/") == 1] == [
            child.path for child in app.snapshot().children
        ]


def test_what_cannot_be_seen_is_named() -> None:
    root = plan_of(Supervisor([Adopting(), DynamicSupervisor(name="pool")], name="shop"))
    unseen = [plan.path for plan in root.walk() if plan.may_adopt]
    assert unseen == ["shop/Adopting", "shop/pool"]
    lines = render("shop", 3, [], unseen, width=50, charset=ASCII)
    assert "".join(f"{plain(line)}\n" for line in lines) == (
        "shop: 3 services, nothing found\n"
        "\n"
        "not seen: children that are adopted at run time,\n"
        "below shop/Adopting, shop/pool\n"
    )


@pytest.mark.slow
def test_the_app_is_imported_patched_and_not_started(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from gevent import monkey\n"
        "from sprag import *\n"
        "assert monkey.is_module_patched('socket')\n"
        "class Loud(Service, shutdown=31.0):\n"
        "    def on_start(self): print('started')\n"
        "    def on_stop(self): pass\n"
        "app = App(name='shop', providers={'loud': Loud()})\n"
    )

    def check(*arguments: str) -> subprocess.CompletedProcess[str]:
        return ran("check", "shop:app", *arguments, cwd=tmp_path)

    done = check()
    assert (done.returncode, done.stderr) == (ExitCode.FAILED, "")
    assert done.stdout.startswith("shop: 2 services, 1 finding\n\nshop  stop-over-budget\n")
    told = json.loads(check("--json").stdout)
    assert (told["services"], told["findings"][0]["rule"]) == (2, "stop-over-budget")
    for arguments in (("--ignore", "stop-over-budget"), ("--shutdown-timeout", "40")):
        done = check(*arguments)
        assert (done.returncode, done.stdout) == (0, "shop: 2 services, nothing found\n")


def test_a_supervisor_that_never_gives_up_ends_the_chain_of_limits() -> None:
    assert found(nested(4), max_restarts=math.inf) != []
    assert found(nested(4, max_restarts=math.inf), max_restarts=math.inf) == []


def test_a_singleton_s_child_counts_like_any_other() -> None:
    app = App(name="shop", providers={"slow": Singleton((Slow(), {"shutdown": 50.0}))})
    root = plan_of(app)
    assert [plan.path for plan in root.walk()] == ["shop", "shop/slow", "shop/slow/Slow"]
    assert [finding.rule for finding in lint(root, 30.0)] == ["stop-over-budget"]


class Stock(Service):
    pass


class Till(Service):
    def on_start(self) -> None:
        self.stock = self.service("stock", Stock)
        self.listen("sale", lambda _data: self.service("shop/stok"))

    def on_ready(self) -> None:
        self.service("/pool/any/one")
        self.service("shop")
        self.service("sto" + "ck")
        self.other = Other()
        self.other.service("elsewhere")

    def wrong(self) -> None:
        self.service("pool", Stock)


class Other:
    def service(self, name: str) -> str:
        return name


def test_who_is_asked_for_and_is_not_there_is_found() -> None:
    app = App(
        name="shop",
        providers={"stock": Stock(), "till": Till(), "pool": DynamicSupervisor()},
    )
    found = list(unknown(plan_of(app), [Till, Stock, Till]))
    assert [(each.rule, each.path.rpartition(".")[2]) for each in found] == [
        ("unknown-service", "on_start"),
        ("unknown-service", "wrong"),
    ]
    assert "'shop/stok', and there is none: shop has stock, till, pool" in found[0].message
    assert "as Stock, and it is a DynamicSupervisor" in found[1].message


def test_what_the_source_does_not_tell_is_passed_over() -> None:
    made: dict[str, Any] = {}
    exec("def on_start(self): self.service('nobody')", made)
    unseen = type("Unseen", (Service,), {"on_start": made["on_start"], "number": 3})
    assert list(unknown(plan_of(App(name="shop")), [unseen])) == []
    assert list(asked_by(Service)) == []


def test_an_app_that_may_adopt_may_have_anybody_later() -> None:
    app = App(name="shop", providers={"till": Till(), "late": Adopting(), "web": Program("true")})
    names = ("late/one", "shop/late/one", "web/1", "till/one", "none")
    found = [_asked._found(plan_of(app), name) for name in names]
    assert found == [True, True, True, None, None]
