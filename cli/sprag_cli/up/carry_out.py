"""Carry out a plan in the tree that runs: what has changed stops, and starts again as declared.

What is to stop stops first, whom others need last. Then all that stays is declared anew, so that a
group that restarts from now on restarts as the file says. Then what is to start starts, side by
side, but each behind whom it needs.

The tree may end in the midst of it, or a group restart. Each step is then refused by the engine,
and there is nothing to undo: what is declared is declared, and what is down is down.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import gevent

import sprag
from sprag.exceptions import SpragError
from sprag.process.said import log
from sprag.programs.replicas import pass_on_policy
from sprag_cli.up.declared import Group
from sprag_cli.up.plan import REPLICAS
from sprag_supervisor import (
    ACTIVE,
    RUNNING,
    State,
    adopt_all,
    arguments_of,
    delete_child,
    order_children,
    path_of,
    renew,
    restart_child,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gevent import Greenlet

    from sprag_cli.up.plan import Plan
    from sprag_supervisor import Node

Made = tuple[sprag.Service, dict[str, Any]]
"""A service, and the policy that is laid over what it asks for."""


def placed(app: sprag.Supervisor, root: Group) -> dict[str, Made]:
    """Return what was made of a file by its path below the app, parents first, in start order."""
    found: dict[str, Made] = {}
    pending: list[tuple[str, sprag.Supervisor, Group]] = [("", app, root)]
    while pending:
        above, supervisor, group = pending.pop()
        groups = {each.name: each for each in group.members if isinstance(each, Group)}
        for service, name, policy in supervisor._static_:
            path = f"{above}{name}"
            found[path] = service, policy
            if name in groups:
                pending.append((f"{path}/", cast("sprag.Supervisor", service), groups[name]))
    return found


class Site:
    """The tree that runs, by the paths of the file.

    Args:
        app: The root.
        root: What the file declares.
    """

    def __init__(self, app: sprag.App, root: Group) -> None:
        self._app = app
        self._services = {path: made[0] for path, made in placed(app, root).items()}

    def carry_out(self, plan: Plan, fresh: sprag.App, root: Group) -> set[str]:
        """Let the tree become what the file says; blocks until all has stopped and started.

        Args:
            plan: What leads there.
            fresh: The app that was made of the file as it is now; it is never started.
            root: What the file declares now.

        Returns:
            The paths of those that could not be started, which have no place in the tree.
        """
        made = placed(fresh, root)
        anew = plan.paths("restarted")
        rested = {path for path in anew if self._rests(path, made)}
        self._stop(anew | plan.paths("removed"))
        for path in plan.paths("removed"):
            self._leave(path)
        self._declare(plan, fresh, made)
        self._scale(plan.paths("scaled"))
        return self._start(plan.paths("added"), anew - rested, made)

    def _rests(self, path: str, made: dict[str, Made]) -> bool:
        """Whether somebody has stopped it by hand: then it is only declared anew.

        Or it has waited for that without autostart; if it is to start by itself now, it does.
        """
        service = self._services[path]
        like, policy = made[path]
        autostart = policy.get("autostart", like._policy_.autostart)
        starts_now = autostart and not service._policy_.autostart
        return service._state_ is State.STOPPED and type(service) is type(like) and not starts_now

    def _stop(self, paths: Collection[str]) -> None:
        """Stop services side by side, but each behind those of them that need it."""
        stops: dict[str, Greenlet[..., None]] = {}
        for path in reversed(self._services):
            if path in paths:
                first = [each for other, each in stops.items() if self._is_needed(path, other)]
                stops[path] = gevent.spawn(self._stop_behind, first, self._services[path])
        gevent.joinall(list(stops.values()))

    @staticmethod
    def _stop_behind(others: list[Greenlet[..., None]], service: sprag.Service) -> None:
        gevent.joinall(others)
        sprag.Service.stop(service)

    def _is_needed(self, path: str, other: str) -> bool:
        """Whether *other*, which starts after it, needs it; who says nothing needs all before."""
        above, _, name = path.rpartition("/")
        needs = self._services[other]._policy_.needs
        return above == other.rpartition("/")[0] and (needs is None or name in needs)

    def _leave(self, path: str) -> None:
        """Take a service, which is down, out of the tree."""
        service = self._services[path]
        if (parent := service._parent_) is None:
            return  # a temporary one has left with its end
        try:
            delete_child(parent, service)
        except SpragError as error:  # somebody has started it meanwhile
            log(logging.ERROR, "it cannot be removed", path=path, error=str(error))

    def _declare(self, plan: Plan, fresh: sprag.App, made: dict[str, Made]) -> None:
        """Let all that stays be declared as *made* is."""
        anew = plan.paths("restarted")
        new = anew | plan.paths("added")
        there: dict[str, sprag.Service] = {}
        for path, (service, _) in made.items():
            kept = self._services.get(path)
            if kept is None or _is_within(path.rpartition("/")[0], new):
                there[path] = service
            elif path in anew and type(kept) is not type(service):
                self._leave(path)
                there[path] = service
            else:
                there[path] = kept
        self._services = there
        self._put_in_place(fresh, made, new)
        touched = anew | plan.paths("policy", "scaled")
        parents = _parents(made)
        for path in reversed(made):  # a group looks at those below it
            service, policy = made[path]
            kept = there[path]
            # Where a group starts in another order its members ask for other needs.
            is_meant = path in parents or not touched.isdisjoint((path, path.rpartition("/")[0]))
            if is_meant and kept is not service and type(kept) is type(service):
                renew(kept, service, policy)
                if isinstance(kept, sprag.Program):
                    pass_on_policy(kept)
        renew(self._app, fresh, {})
        self._furnish()

    def _put_in_place(self, fresh: sprag.App, made: dict[str, Made], new: Collection[str]) -> None:
        """Let groups that stay, and the app, be made with those below them that stay."""
        for path in _parents(made):
            if path and not _is_within(path, new):
                listed: list[Made] = arguments_of(made[path][0])[0][0]
                listed[:] = [
                    (self._services[f"{path}/{policy['name']}"], policy) for _, policy in listed
                ]
        providers: dict[str, Made] = arguments_of(fresh)[1]["providers"]
        for name, (_, policy) in providers.items():
            providers[name] = self._services[name], policy

    def _furnish(self) -> None:
        """Let services find those right below the app by their names, also before they start."""
        tree = self._app._tree_
        assert tree is not None
        tree.providers = {
            path: service for path, service in self._services.items() if "/" not in path
        }

    def _scale(self, paths: Collection[str]) -> None:
        for path in paths:
            program = self._services[path]
            if program._state_ not in ACTIVE or not isinstance(program, sprag.Program):
                continue  # it will start with as many as it is declared with
            try:
                program.scale(arguments_of(program)[1][REPLICAS])
            except SpragError as error:
                if self._app._state_ is RUNNING:
                    text = "it could not be scaled"
                    log(logging.ERROR, text, service=path_of(program), error=str(error))

    def _start(
        self, added: Collection[str], anew: Collection[str], made: dict[str, Made]
    ) -> set[str]:
        """Start services side by side, each behind whom it needs; return who could not."""
        paths = [path for path in made if path in added or path in anew]
        below: dict[str, list[str]] = {}
        for path in sorted(paths, key=lambda path: path.count("/")):  # of one level as they come
            below.setdefault(path.rpartition("/")[0], []).append(path)
        levels = {
            above: _Level(self._app, above, {each: self._services[each] for each in those})
            for above, those in below.items()
        }
        starts: dict[str, Greenlet[..., None]] = {}
        for above, level in levels.items():
            first = [starts[each] for each in self._levels_before(above, below)]
            starts[above] = gevent.spawn(self._start_level, level, first, anew, made)
        gevent.joinall(list(starts.values()))
        failed = set[str]().union(*(each.failed for each in levels.values()))
        for path in failed:
            for each in [each for each in self._services if _is_within(each, {path})]:
                del self._services[each]
        self._furnish()
        self._order(made)
        return failed

    def _levels_before(self, above: str, below: dict[str, list[str]]) -> Iterator[str]:
        """Yield the levels in which something starts that the group at *above* needs."""
        while above:
            level = above.rpartition("/")[0]
            if any(self._is_needed(path, above) for path in below.get(level, ())):
                yield level
            above = level

    def _start_level(
        self,
        level: _Level,
        first: list[Greenlet[..., None]],
        anew: Collection[str],
        made: dict[str, Made],
    ) -> None:
        gevent.joinall(first)
        parent = self._services[level.above] if level.above else self._app
        if parent._state_ not in ACTIVE:
            return  # they come with their parent
        level.place(parent, made)
        for path, service in level.services.items():
            if path in anew and service._parent_ is parent and service._state_ is State.STOPPED:
                level.start(parent, service)

    def _order(self, made: dict[str, Made]) -> None:
        """Let all come one after another as the file has them."""
        for above in _parents(made):
            parent = self._services.get(above) if above else self._app
            if parent is None or parent._state_ not in ACTIVE:
                continue
            names = [path.rpartition("/")[2] for path in made if path.rpartition("/")[0] == above]
            if [each for each in parent._children_ or {} if each in names] != names:
                order_children(parent, names)


class _Level:
    """Services that are to start right below one parent.

    Attributes:
        above: The path of that parent; "" for the app.
        services: They, by their paths, in start order.
        failed: The paths of those that could not be started, and have no place.
    """

    def __init__(self, app: sprag.App, above: str, services: dict[str, sprag.Service]) -> None:
        self._app = app
        self.above = above
        self.services = services
        self.failed: set[str] = set()
        self._paths = {id(service): path for path, service in services.items()}

    def place(self, parent: sprag.Service, made: dict[str, Made]) -> None:
        """Give them their places, and start them side by side, each behind whom it needs."""
        for service in self.services.values():
            try:
                if service._parent_ is parent:
                    delete_child(parent, service)  # to wait for what it needs, as at its first
            except SpragError as error:  # somebody has started it meanwhile
                self._tell(service, error)
        children = [
            (service, path.rpartition("/")[2], made[path][1])
            for path, service in self.services.items()
            if service._parent_ is None
        ]
        try:
            adopt_all(parent, children, by_needs=True, leave_out=self._leave_out)
        except SpragError as error:  # the group has ended, and they come with it again
            if self._app._state_ is RUNNING:
                log(logging.ERROR, "not all were started", below=path_of(parent), error=str(error))

    def start(self, parent: sprag.Service, service: sprag.Service) -> None:
        """Start one that has its place, and does not start by itself."""
        try:
            restart_child(service)
        except SpragError as error:
            if service._parent_ is not parent:
                self.failed.add(self._paths[id(service)])
            self._tell(service, error)

    def _leave_out(self, child: Node, error: SpragError) -> None:
        self.failed.add(self._paths[id(child)])
        self._tell(child, error)

    def _tell(self, child: Node, error: SpragError) -> None:
        if self._app._state_ is RUNNING:
            path = f"{path_of(self._app)}/{self._paths[id(child)]}"
            text = "it could not be started; the next save tries again"
            log(logging.ERROR, text, service=path, error=str(error))


def _parents(made: dict[str, Made]) -> set[str]:
    return {path.rpartition("/")[0] for path in made}


def _is_within(path: str, paths: Collection[str]) -> bool:
    """Whether one of *paths* is *path*, or lies above it."""
    return any(path == each or path.startswith(f"{each}/") for each in paths)
