"""What a plan does to the tree that runs: in virtual time, with services in Python and fakes."""

from __future__ import annotations

import sys
from random import Random
from typing import TYPE_CHECKING, Any, cast

import gevent
import pytest

import sprag
from scripted import spawn
from sprag import Program, Service, State
from sprag.testing import VirtualClock, fake_programs, virtual_time
from sprag_cli.up.build import make_app
from sprag_cli.up.carry_out import Site, placed
from sprag_cli.up.plan import plan, without
from sprag_cli.up.sprag_toml import declared_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sprag_cli.up.declared import Group

USED = """\
import gevent
from sprag import Service

class Feed(Service):
    def __init__(self, size=1, ready=True):
        self.size, self.is_ready = size, ready

    def on_start(self):
        if self.size > 9:
            raise ValueError("too large")
        if not self.is_ready:
            self.set_ready(False)

class Other(Feed):
    pass

class Slow(Feed):
    def on_stop(self):
        gevent.sleep(3)

class Long(Feed):
    def on_start(self):
        gevent.sleep(3)
        super().on_start()
"""


class Up:
    """A file, and the app that runs as it says."""

    def __init__(self, folder: Path, text: str) -> None:
        self.file = folder / "sprag.toml"
        self.root = declared_in(text, self.file).root
        self.app = make_app(declared_in(text, self.file))
        self.site = Site(self.app, self.root)

    def save(self, text: str) -> set[str]:
        """Let the tree become what *text* says."""
        declared = declared_in(text, self.file)
        steps = plan(self.root, declared.root)
        failed = self.site.carry_out(steps, make_app(declared), declared.root)
        self.root = without(declared.root, failed)
        return failed

    def __getitem__(self, path: str) -> Any:
        found: sprag.Service = self.app
        for name in path.split("/"):
            found = cast("Service", (found._children_ or {})[name])
        return found

    def states(self, *paths: str) -> set[State]:
        """Return the states that those services are in."""
        return {self[path]._state_ for path in paths}

    def names(self, path: str = "") -> list[str]:
        """Return who is below a service, in start order."""
        return list((self[path] if path else self.app)._children_ or {})


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualClock]:
    (tmp_path / "used_by_up.py").write_text(USED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with virtual_time() as clock:
        yield clock
    sys.modules.pop("used_by_up", None)


def service(name: str, *lines: str, use: str = "Feed", group: str = "") -> str:
    return "\n".join([f"[{group}service.{name}]", f"use = 'used_by_up:{use}'", *lines, ""])


def sized(name: str, size: int, *lines: str, **more: str) -> str:
    return service(name, f"args = {{ size = {size} }}", *lines, **more)


G = "group.g."
ORDERED = "[group.g]\nstrategy = 'rest_for_one'\n"


def in_group(*names: str, size: int = 1) -> str:
    return ORDERED + "".join(sized(name, size, group=G) for name in names)


@pytest.mark.usefixtures("clock")
def test_what_restarts_is_the_same_object_with_its_new_arguments(tmp_path: Path) -> None:
    up = Up(tmp_path, sized("a", 1) + sized("b", 1))
    with up.app:
        a, b = up["a"], up["b"]
        assert up.save(sized("a", 2) + sized("b", 1)) == set()
        assert up["a"] is a
        assert (a.size, a._incarnation_) == (2, 2)
        assert b._incarnation_ == 1
        Service.stop(a)
        up.app.restart_child("a")
        assert a.size == 2
        assert up.names() == ["a", "b"]


@pytest.mark.usefixtures("clock")
def test_another_class_takes_its_place_and_its_name(tmp_path: Path) -> None:
    up = Up(tmp_path, in_group("a", "b"))
    with up.app:
        before = up["g/a"]
        up.save(in_group("a", "b").replace("Feed", "Other", 1))
        assert type(up["g/a"]).__name__ == "Other"
        assert before._parent_ is None
        assert up.names("g") == ["a", "b"]


def test_a_group_restarts_with_those_that_the_file_says(
    tmp_path: Path, clock: VirtualClock
) -> None:
    up = Up(tmp_path, in_group("a", "b", "c"))
    with up.app:
        up.save(in_group("d", "c", "b"))
        assert up.names("g") == ["d", "c", "b"]
        b, group = up["g/b"], up["g"]
        assert b._incarnation_ == 1
        up.app.terminate_child("g")
        up.app.restart_child("g")
        clock.settle()
        assert (up["g"], up["g/b"]) == (group, b)
        assert up.names("g") == ["d", "c", "b"]


@pytest.mark.usefixtures("clock")
def test_below_a_group_that_is_down_it_holds_from_its_next_start_on(tmp_path: Path) -> None:
    up = Up(tmp_path, in_group("a", "b"))
    with up.app:
        a = up["g/a"]
        up.app.terminate_child("g")
        assert up.save(in_group("a", "c", size=2)) == set()
        assert up["g"]._state_ is State.STOPPED
        up.app.restart_child("g")
        assert up.names("g") == ["a", "c"]
        assert up["g/a"] is a
        assert a.size == up["g/c"].size == 2


@pytest.mark.usefixtures("clock")
def test_a_group_that_restarts_does_so_with_all_below_it(tmp_path: Path) -> None:
    up = Up(tmp_path, service("db") + in_group("a"))
    with up.app:
        group = up["g"]
        up.save(service("db") + in_group("a", "b").replace("\n", "\nneeds = ['db']\n", 1))
        assert up["g"] is group
        assert group._incarnation_ == 2
        assert up.names("g") == ["a", "b"]
        assert up.states("g/a", "g/b") == {State.RUNNING}
        up.save(service("db") + in_group("a", "b", size=3).replace("\n", "\nneeds = ['db']\n", 1))
        assert (up["g/a"].size, group._incarnation_) == (3, 2)


@pytest.mark.usefixtures("clock")
def test_what_was_stopped_by_hand_stays_so_and_starts_with_what_the_file_says(
    tmp_path: Path,
) -> None:
    up = Up(tmp_path, sized("a", 1))
    with up.app:
        up.app.terminate_child("a")
        up.save(sized("a", 2))
        assert up["a"]._state_ is State.STOPPED
        up.app.restart_child("a")
        assert up["a"].size == 2


@pytest.mark.usefixtures("clock")
def test_what_runs_without_autostart_runs_again(tmp_path: Path) -> None:
    up = Up(tmp_path, sized("a", 1, "autostart = false"))
    with up.app:
        up.app.restart_child("a")
        up.save(sized("a", 2, "autostart = false"))
        assert (up["a"]._state_, up["a"].size) == (State.RUNNING, 2)


def test_a_new_policy_holds_at_once_and_in_each_life(tmp_path: Path, clock: VirtualClock) -> None:
    up = Up(tmp_path, service("a", "shutdown = 7", "restart = 'temporary'"))
    with up.app:
        up.save(service("a", "shutdown = 8", "backoff = { initial = 4, jitter = 0 }"))
        a = up["a"]
        for life in (1, 2):
            assert (a._incarnation_, a._policy_.shutdown, a._policy_.restart) == (
                life,
                8.0,
                "permanent",
            )
            a.spawn(lambda: 1 / 0)
            clock.settle()
            assert a._state_ is State.RESTARTING
            clock.advance(9.0)


def test_whoever_needs_another_starts_when_that_is_ready(
    tmp_path: Path, clock: VirtualClock
) -> None:
    db = "args = {{ size = {}, ready = false }}"
    up = Up(tmp_path, service("db", db.format(1)) + sized("web", 1))
    with up.app:
        up.save(
            service("z", "needs = ['web']")
            + sized("web", 2, "needs = ['db']")
            + service("db", db.format(2))
        )
        assert up.states("web", "z") == {State.RESTARTING}
        up["db"].set_ready()
        clock.settle()
        assert up["web"].size == up["db"].size == 2
        assert up.states("web", "z") == {State.RUNNING}


def test_who_is_needed_stops_behind_those_that_need_it(tmp_path: Path, clock: VirtualClock) -> None:
    told: list[str] = []
    up = Up(tmp_path, sized("web", 1, "needs = ['db']") + sized("db", 1) + sized("x", 1))
    with up.app:
        up.app.listen("sprag:stopped", lambda event: told.append(event.path.rpartition("/")[2]))
        up.save(sized("x", 1))
        clock.settle()
        assert told == ["web", "db"]
        assert up.names() == ["x"]


def test_those_that_need_nothing_of_each_other_stop_side_by_side(
    tmp_path: Path, clock: VirtualClock
) -> None:
    up = Up(tmp_path, "".join(service(name, use="Slow") for name in "abc") + service("d"))
    with up.app:
        up.save("".join(sized(name, 2, use="Slow") for name in "abc") + service("d"))
        assert clock.now == 3.0
        needs = sized("b", 2, "needs = ['a']", use="Slow")
        up.save(sized("a", 2, use="Slow") + needs + service("d"))
        assert clock.now == 6.0
        up.save(service("d"))
        assert clock.now == 12.0


def test_those_that_need_nothing_of_each_other_start_side_by_side(
    tmp_path: Path, clock: VirtualClock
) -> None:
    up = Up(tmp_path, in_group("z") + sized("a", 1, use="Long"))
    with up.app:
        began = clock.now
        up.save(
            sized("a", 2, use="Long")
            + sized("b", 1, use="Long")
            + sized("c", 1, "needs = ['b']", use="Long")
            + in_group("z")
            + sized("y", 1, use="Long", group=G)
        )
        assert up.states("a", "b", "c", "g/y") == {State.RUNNING}
        assert clock.now - began == 6
        assert up.names() == ["a", "b", "c", "g"]


def test_one_of_them_that_cannot_start_holds_up_nobody(tmp_path: Path, clock: VirtualClock) -> None:
    up = Up(tmp_path, sized("z", 1))
    with up.app:
        began = clock.now
        texts = [sized(name, size, use="Long") for name, size in (("a", 1), ("b", 10), ("c", 1))]
        waiting = sized("d", 1, "needs = ['b']")
        assert up.save(sized("z", 1) + "".join(texts) + waiting) == {"b"}
        assert up.states("a", "c") == {State.RUNNING}
        assert clock.now - began == 3
        assert up["d"].snapshot().waits_for == ("b",)
        assert up.save(sized("z", 1) + "".join(texts).replace("10", "2") + waiting) == set()
        clock.settle()
        assert up.states("a", "b", "c", "d") == {State.RUNNING}


def test_what_a_group_needs_starts_before_what_is_new_in_it(
    tmp_path: Path, clock: VirtualClock
) -> None:
    group = ORDERED + "needs = ['a']\n" + sized("z", 1, group=G)
    up = Up(tmp_path, sized("a", 1, use="Long") + group)
    with up.app:
        began = clock.now
        new = sized("y", 1, use="Long", group=G)
        saving = spawn(up.save, sized("a", 2, use="Long") + group + new)
        clock.advance(2)
        assert "y" not in up.names("g")
        clock.advance(4)
        assert saving.ready()
        assert clock.now - began == 6
        assert up.states("a", "g/y") == {State.RUNNING}


@pytest.mark.usefixtures("clock")
def test_one_that_cannot_start_is_left_out_and_tried_at_the_next_save(tmp_path: Path) -> None:
    up = Up(tmp_path, sized("a", 1) + sized("b", 1))
    with up.app:
        assert up.save(sized("a", 10) + sized("b", 2) + sized("c", 10)) == {"a", "c"}
        assert up.names() == ["b"]
        assert up["b"].size == 2
        assert up.save(sized("a", 3) + sized("b", 2) + sized("c", 10)) == {"c"}
        assert sorted(up.names()) == ["a", "b"]
        assert up["b"]._incarnation_ == 2


@pytest.mark.usefixtures("clock")
def test_one_with_retry_start_is_tried_again_by_itself(tmp_path: Path) -> None:
    up = Up(tmp_path, sized("a", 1))
    with up.app:
        assert up.save(sized("a", 10, "retry_start = true")) == set()
        assert up.states("a") == {State.RESTARTING}
        up.save(sized("a", 2))
        assert up.states("a") == {State.RUNNING}


@pytest.mark.usefixtures("clock")
def test_others_find_what_is_new_by_its_name_and_what_has_gone_no_more(tmp_path: Path) -> None:
    up = Up(tmp_path, service("a") + service("b"))
    with up.app:
        up.save(service("a") + service("c"))
        assert up["a"].service("c") is up["c"]
        with pytest.raises(LookupError):
            up["a"].service("b")


@pytest.mark.usefixtures("clock")
def test_the_replicas_of_a_program_have_its_new_policy(tmp_path: Path) -> None:
    given = "[program.a]\ncommand = ['x']\nreplicas = 2\n"
    with fake_programs():
        up = Up(tmp_path, given)
        with up.app:
            up.save(f"{given}shutdown = 3\n")
            assert isinstance(up["a"], Program)
            assert [up[f"a/{number}"]._policy_.shutdown for number in (1, 2)] == [3.0, 3.0]
            assert up["a/1"]._incarnation_ == 1


@pytest.mark.usefixtures("clock")
def test_there_are_more_or_fewer_replicas_and_the_others_run_on(tmp_path: Path) -> None:
    given = "[program.a]\ncommand = ['x']\nport = 8000\nreplicas = "
    with fake_programs():
        up = Up(tmp_path, f"{given}2\n")
        with up.app:
            first = up["a/1"]
            up.save(f"{given}3\n")
            assert up.names("a") == ["1", "2", "3"]
            up.save(f"{given}1\nshutdown = 3\n")
            assert up.names("a") == ["1"]
            assert up["a/1"] is first
            assert (first._incarnation_, first._policy_.shutdown) == (1, 3.0)
            up.app.terminate_child("a")
            up.save(f"{given}4\n")
            assert up.states("a") == {State.STOPPED}
            up.app.restart_child("a")
            assert len(up.names("a")) == 4
            up.save(f"{given}4\nenv = {{ X = '1' }}\n")
            assert (up["a"]._incarnation_, len(up.names("a"))) == (3, 4)


def test_the_app_may_stop_in_the_midst_of_it(tmp_path: Path, clock: VirtualClock) -> None:
    up = Up(tmp_path, service("a", use="Slow") + sized("b", 1))
    with up.app:
        changed = service("a", "args = { size = 2 }", use="Slow") + sized("b", 2) + service("c")
        failed: list[set[str]] = []
        gevent.spawn(lambda: failed.append(up.save(changed)))
        clock.advance(1.0)
        report = up.app.stop()
        assert report.clean == 2
        assert not report.killed
        clock.settle()
        assert failed == [set()]
        assert up.app._state_ is State.STOPPED
        assert not up.app._children_


@pytest.mark.usefixtures("clock")
def test_the_apps_own_policy_holds(tmp_path: Path) -> None:
    up = Up(tmp_path, service("a"))
    with up.app:
        up.save(f"[app]\nmax_restarts = 5\nstrategy = 'one_for_all'\n{service('a')}")
        assert (up.app._policy_.max_restarts, up.app._policy_.strategy) == (5, "one_for_all")
        assert up["a"]._incarnation_ == 1


@pytest.mark.usefixtures("clock")
def test_what_was_never_started_starts_as_the_file_says_then(tmp_path: Path) -> None:
    def saved(size: int) -> str:
        group = in_group("b", size=size).replace("\n", "\nautostart = false\n", 1)
        return sized("a", size, "autostart = false") + group

    up = Up(tmp_path, saved(1))
    with up.app:
        up.save(saved(2) + sized("c", 1, group=G))
        assert up.states("a", "g") == {State.STOPPED}
        up.app.restart_child("a")
        up.app.restart_child("g")
        assert (up["a"].size, up["g/b"].size) == (2, 2)
        assert up.names("g") == ["b", "c"]


@pytest.mark.usefixtures("clock")
def test_what_is_to_start_by_itself_now_does_if_it_restarts_anyway(tmp_path: Path) -> None:
    up = Up(tmp_path, sized("a", 1, "autostart = false") + sized("b", 1, "autostart = false"))
    with up.app:
        up.save(sized("a", 2) + sized("b", 1))
        assert (up["a"]._state_, up["a"].size) == (State.RUNNING, 2)
        assert up["b"]._state_ is State.STOPPED


@pytest.mark.parametrize("seed", range(8))
def test_one_file_after_another_leaves_the_tree_as_the_last_one_says(
    tmp_path: Path, clock: VirtualClock, seed: int
) -> None:
    choose = Random(seed)
    up = Up(tmp_path, some_file(choose))
    with up.app:
        for _ in range(6):
            _save_and_look(up, some_file(choose), clock)


def _save_and_look(up: Up, text: str, clock: VirtualClock) -> None:
    before = {path: (up[path], up[path]._incarnation_) for path, _ in placed_in(up.root)}
    after = declared_in(text, up.file).root
    steps = plan(up.root, after)
    assert up.save(text) == set()
    clock.settle()
    made = placed(make_app(declared_in(text, up.file)), after)
    for path, (like, policy) in made.items():
        found = up[path]
        assert type(found) is type(like)
        assert found._policy_ == like._policy_.with_(policy)
        assert found._state_ is State.RUNNING
        assert getattr(found, "size", None) == getattr(like, "size", None)
    for above in {path.rpartition("/")[0] for path in made}:
        names = [path.rpartition("/")[2] for path in made if path.rpartition("/")[0] == above]
        assert up.names(above) == names
    changed = steps.paths("added", "removed", "restarted")
    for path, (service, incarnation) in before.items():
        if not any(path == each or path.startswith(f"{each}/") for each in changed):
            assert (up[path], up[path]._incarnation_) == (service, incarnation)


def placed_in(root: Group) -> list[tuple[str, Any]]:
    return [(path.partition("/")[2], entry) for path, entry in root.placed()]


def some_file(choose: Random) -> str:
    """Return some services, in groups in groups, with some needs and policy."""

    def members(above: str, depth: int) -> str:
        lines: list[str] = []
        names = choose.sample("abcde", choose.randint(1, 4))
        for at, name in enumerate(names):
            needs = (
                f"needs = ['{choose.choice(names[:at])}']" if at and choose.random() < 0.3 else ""
            )
            if depth < 2 and choose.random() < 0.3:
                order = choose.choice(["", "strategy = 'rest_for_one'", "in_order = true"])
                lines += [f"[{above}group.{name}]", needs, order]
                lines.append(members(f"{above}group.{name}.", depth + 1))
            else:
                use, size = choose.choice(["Feed", "Other"]), choose.randint(1, 2)
                shutdown = f"shutdown = {choose.randint(1, 2)}"
                lines.append(sized(name, size, needs, shutdown, use=use, group=above))
        return "\n".join([*lines, ""])

    return members("", 0)
