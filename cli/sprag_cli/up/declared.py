"""What a file declares, as it stands there: nothing is made of it yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that has a place in the tree.

    Attributes:
        name: Its name below its parent.
        line: Where it begins, from 1; 0: not in the file.
        settings: The values of the keys that are given, each in its plain form.
        lines: The line of each of them.
    """

    name: str
    line: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lines: Mapping[str, int] = field(default_factory=dict[str, int], compare=False)


@dataclass(frozen=True, slots=True)
class Program(Entry):
    """A program: ``[program.NAME]``, or a line of a Procfile."""


@dataclass(frozen=True, slots=True)
class PythonService(Entry):
    """A service that is written in Python: ``[service.NAME]``."""


@dataclass(frozen=True, slots=True)
class Group(Entry):
    """A supervisor: ``[group.NAME]``, and what is declared below it, in the file's order."""

    members: tuple[Entry, ...] = ()

    def walk(self) -> Iterator[Entry]:
        """Go through all that is declared below the group, parents first."""
        return (entry for _, entry in self.placed())

    def placed(self) -> Iterator[tuple[str, Entry]]:
        """Go through the same, each with its path, which begins with the group's own name."""
        pending: list[tuple[str, Entry]] = [(self.name, self)]
        while pending:
            path, entry = pending.pop()
            if entry is not self:
                yield path, entry
            if isinstance(entry, Group):
                pending += [(f"{path}/{each.name}", each) for each in reversed(entry.members)]


@dataclass(frozen=True, slots=True)
class Declared:
    """A file that has been read.

    Attributes:
        file: The file, as its user calls it.
        folder: Where relative paths of it begin: the folder that it lies in.
        root: The app: its name, its settings, and all that it has.
    """

    file: Path
    folder: Path
    root: Group
