"""What has changed from one reading of a file to the next, and what that means for what runs.

Pure: nothing is looked at but the two readings, and nothing is carried out here. What the words of
policy say is asked at each decision, so a new one holds from the next decision on, and restarts
nothing. All else a life begins with; so do `needs`, by which it starts, and a heartbeat. Only of
replicas there may be more or fewer, while the others run on.

In which order things stand in the file means something only where they start one after another: in
a group with ``rest_for_one`` or ``in_order``. There they change places, and nothing restarts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from sprag_cli.up.declared import Entry, Group
from sprag_cli.up.values import LIMIT, POLICY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

What = Literal["added", "removed", "restarted", "scaled", "policy"]
POLICY_ONLY: Final = frozenset({*POLICY, *LIMIT, "auto_shutdown"}) - {"needs"}
"""The keys whose change restarts nothing."""
ENV_FILE: Final = "env_file"
REPLICAS: Final = "replicas"
KIND: Final = "kind"
ORDER: Final = "order"
NAME: Final = "name"
_OF_THE_RUN: Final = (NAME, "shutdown_timeout")
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one entry.

    Attributes:
        path: Its path below the app: ``backend/api``; "" for the app.
        what: That.
        keys: Those that have changed; ``kind`` for a program that has become a service, say,
            ``order`` for a group's members that have changed places.
    """

    path: str
    what: What
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        changes: Of a group that is added, removed or restarted with all below it only itself.
            In the order of the file, and those that have gone behind their siblings.
        out_of_reach: Keys of the app that hold for a whole run: it has to be started anew.
    """

    changes: tuple[Change, ...] = ()
    out_of_reach: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.out_of_reach)

    def paths(self, *what: What) -> set[str]:
        """Return the paths of those to whom that happens."""
        return {each.path for each in self.changes if each.what in what}

    def told(self) -> dict[str, str]:
        """Return it as the fields of a log record."""
        return {
            "starts": self._listed("added"),
            "stops": self._listed("removed"),
            "restarts": self._listed("restarted"),
            "scales": self._listed("scaled"),
            "new_policy": self._listed("policy"),
            "needs_a_restart_of_the_app": ", ".join(self.out_of_reach),
        }

    def said(self) -> str:
        """Return it in words; "" if nothing is to be done."""
        words = {key.replace("_", " "): each for key, each in self.told().items()}
        return "; ".join(f"{key} {each}" for key, each in words.items() if each)

    def _listed(self, what: What) -> str:
        found = [_said(each) for each in self.changes if each.what == what]
        more = len(found) - _SHOWN
        return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _said(change: Change) -> str:
    path = change.path or "the app"
    return f"{path} ({', '.join(change.keys)})" if change.keys else path


def plan(before: Group, after: Group, stale: Collection[str] = ()) -> Plan:
    """Return what leads from one reading to the next.

    Args:
        before: What runs.
        after: What is to run.
        stale: Env files that have changed, as the file calls them.
    """
    changed = _changed(before, after)
    if before.name != after.name:
        changed.insert(0, NAME)
    ours = tuple(each for each in changed if each not in _OF_THE_RUN)
    own = [Change("", "policy", ours)] if ours else []
    return Plan(
        (*own, *_below(before, after, "", frozenset(stale))),
        tuple(each for each in changed if each in _OF_THE_RUN),
    )


def _below(before: Group, after: Group, above: str, stale: frozenset[str]) -> Iterator[Change]:
    old = {each.name: each for each in before.members}
    for entry in after.members:
        path = f"{above}{entry.name}"
        if (former := old.pop(entry.name, None)) is None:
            yield Change(path, "added")
        else:
            yield from _of(former, entry, path, stale)
    yield from (Change(f"{above}{name}", "removed") for name in old)


def _of(before: Entry, after: Entry, path: str, stale: frozenset[str]) -> Iterator[Change]:
    if type(before) is not type(after):
        yield Change(path, "restarted", (KIND,))
        return
    keys = _changed(before, after)
    if after.settings.get(ENV_FILE) in stale and ENV_FILE not in keys:
        keys.append(ENV_FILE)
    of_life = {*keys} - POLICY_ONLY - {ORDER}
    if of_life:
        are_several = REPLICAS in before.settings and REPLICAS in after.settings
        is_scaled = are_several and of_life == {REPLICAS}
        yield Change(path, "scaled" if is_scaled else "restarted", tuple(keys))
        return
    if keys:
        yield Change(path, "policy", tuple(keys))
    if isinstance(before, Group) and isinstance(after, Group):
        yield from _below(before, after, f"{path}/", stale)


def _changed(before: Entry, after: Entry) -> list[str]:
    """Return the keys whose values differ, in the order of the file."""
    names = dict.fromkeys((*after.settings, *before.settings))
    nothing = object()
    keys = [
        name
        for name in names
        if not _is_same(before.settings.get(name, nothing), after.settings.get(name, nothing))
    ]
    if isinstance(before, Group) and isinstance(after, Group) and starts_in_order(after):
        there = {each.name for each in after.members}
        kept = [each.name for each in before.members if each.name in there]
        if kept != [each.name for each in after.members if each.name in set(kept)]:
            keys.append(ORDER)
    return keys


def _is_same(one: object, other: object) -> bool:
    """Whether two values are equal, and written alike: ``True`` is not ``1``."""
    return one == other and repr(one) == repr(other)


def starts_in_order(group: Group) -> bool:
    """Whether the members of *group* start one after another, as they are listed."""
    by_strategy = group.settings.get("strategy") == "rest_for_one"
    return bool(group.settings.get("in_order", by_strategy))


def without(group: Group, paths: Collection[str], above: str = "") -> Group:
    """Return *group* without the entries of those *paths*, and what is below them."""
    members = [
        without(each, paths, f"{above}{each.name}/") if isinstance(each, Group) else each
        for each in group.members
        if f"{above}{each.name}" not in paths
    ]
    return replace(group, members=tuple(members))
