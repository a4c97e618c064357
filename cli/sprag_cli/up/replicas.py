"""How many of each program run: ``web=2,worker=3``."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sprag_cli.up.declared import Entry, Group, Program
from sprag_cli.up.faults import BadFile, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sprag_cli.up.declared import Declared

_REST: Final = "all"


def parse_formation(given: str) -> dict[str, int]:
    """Return the numbers by name of ``web=2,worker=3``.

    Raises:
        ValueError: It has another form; the text says which is accepted.
    """
    found: dict[str, int] = {}
    for part in given.split(","):
        name, equals, count = part.strip().partition("=")
        if not equals or not name or not re.fullmatch(r"[0-9]{1,4}", count):
            raise ValueError(f"{part.strip()!r} is not NAME=NUMBER, as in web=2,worker=3 or all=2")
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = int(count)
    return found


def with_formation(declared: Declared, formation: Mapping[str, int]) -> Declared:
    """Return *declared* with so many of each program as *formation* says; ``all`` means the rest.

    Programs of groups are named by their paths. Of none, it is placed as stopped.

    Raises:
        BadFile: There is no such program.
    """
    paths = list(_programs(declared.root, ""))
    for name in formation:
        if name not in (*paths, _REST):
            where = shown_path(declared.file)
            raise BadFile(f"--formation: no program {name!r} in {where}: {', '.join(paths)}")
    return replace(declared, root=_counted(declared.root, "", formation))


def _programs(group: Group, above: str) -> Iterator[str]:
    for each in group.members:
        if isinstance(each, Program):
            yield f"{above}{each.name}"
        elif isinstance(each, Group):
            yield from _programs(each, f"{above}{each.name}/")


def _counted(group: Group, above: str, formation: Mapping[str, int]) -> Group:
    members: list[Entry] = []
    for each in group.members:
        path = f"{above}{each.name}"
        count = formation.get(path, formation.get(_REST))
        if isinstance(each, Group):
            members.append(_counted(each, f"{path}/", formation))
        elif isinstance(each, Program) and count is not None:
            more: dict[str, Any] = {"replicas": count} if count else {"autostart": False}
            members.append(replace(each, settings={**each.settings, **more}))
        else:
            members.append(each)
    return replace(group, members=tuple(members))
