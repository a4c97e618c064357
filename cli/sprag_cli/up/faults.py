"""What is wrong with a file: where, which key, what was given, what is accepted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag_cli.term.errors import CommandError
from sprag_cli.term.plain import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Key = tuple[str, ...]
"""Where in a file: ``("program", "web", "ready", "every")``; a list's place by its number."""

_SHOWN: Final = 60
_SECRETS: Final = "env"
"""The key below which no value is shown."""
_TOLD: Final = 20
"""Faults that are told; a file that is none of ours has as many as it has lines."""


class BadFile(CommandError):
    """Raised when a file cannot be read, or says what cannot be meant."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: in which line (0: in none that could be named), and what."""

    line: int
    said: str


@dataclass(slots=True)
class Faults:
    """All that is found wrong with one file, so that it is told at once.

    Attributes:
        file: The file, as its user calls it.
        lines: The line of each key.
    """

    file: Path
    lines: Mapping[Key, int] = field(default_factory=dict["Key", int])
    found: list[Fault] = field(default_factory=list[Fault])

    def line_of(self, key: Key) -> int:
        """Return the line of *key*, or of the nearest above it; 0 if there is none."""
        for length in range(len(key), 0, -1):
            if (line := self.lines.get(key[:length])) is not None:
                return line
        return 0

    def add(self, key: Key, said: str) -> None:
        """Note what is wrong with the value of *key*, or with that it is there."""
        self.tell(self.line_of(key), f"{dotted(key)}: {said}" if key else said)

    def tell(self, line: int, what: str) -> None:
        """Note what is wrong with a line that has no key."""
        self.found.append(Fault(line, what))

    def refuse(self, key: Key, given: object, accepts: str) -> None:
        """Note that *key* is given a value that is not accepted."""
        what = "its value" if _SECRETS in key else said(given)
        self.add(key, f"{what} is not accepted — write {accepts}")

    def unknown(self, key: Key, known: Iterable[str], hint: str = "") -> None:
        """Note that there is no such key, and which one may be meant."""
        names = sorted(known)
        alike = get_close_matches(key[-1], names, n=1)
        what = f"did you mean {alike[0]!r}?" if alike else f"there are {', '.join(names)}"
        self.add(key, f"no such key — {hint or what}")

    def check(self) -> None:
        """Raise if anything was found.

        Raises:
            BadFile: The first fault on its line, and the others below it.
        """
        if self.found:
            told = [f"{self.place(each.line)}: {each.said}" for each in self.sorted()[:_TOLD]]
            if (left := len(self.found) - _TOLD) > 0:
                told.append(f"and {left} more")
            raise BadFile(*told)

    def sorted(self) -> list[Fault]:
        """Return what was found, from the first line to the last."""
        return sorted(self.found, key=lambda each: each.line)

    def place(self, line: int) -> str:
        """Return how a line of this file is called: ``sprag.toml:12``."""
        return f"{shown_path(self.file)}:{line}" if line else shown_path(self.file)


def read_text(file: Path) -> str:
    """Return what is in *file*.

    Raises:
        BadFile: It cannot be read, or is no text.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        fault = f"byte {error.start} is not UTF-8 — save it as UTF-8"
        raise BadFile(f"{shown_path(file)}: {fault}") from None
    except OSError as error:
        raise BadFile(f"{shown_path(file)}: {error.strerror or error}") from None


def shown_path(file: Path) -> str:
    """Return *file* as its user calls it: from here, if it lies at or below."""
    try:
        return str(file.relative_to(Path.cwd())) if file.is_absolute() else str(file)
    except (ValueError, OSError):
        return os.fspath(file)


def dotted(key: Key) -> str:
    """Return a key as it is written in the file: ``program.web.port``."""
    return ".".join(each if is_bare(each) else f'"{each}"' for each in key)


def is_bare(name: str) -> bool:
    """Whether a key needs no quotes."""
    return name.isascii() and name.replace("-", "_").replace("_", "a").isalnum()


def said(given: object) -> str:
    """Return a value as the file would write it, cut."""
    text = str(given).lower() if isinstance(given, bool) else repr(given)
    return shortened(text, _SHOWN)
