"""Read ``sprag.toml``: what it declares, or all that is wrong with it, line by line."""

from __future__ import annotations

import shlex
import tomllib
from typing import TYPE_CHECKING, Any, Final

from sprag_cli.up.declared import Declared, Entry, Group, Program, PythonService
from sprag_cli.up.faults import BadFile, Faults, dotted, read_text, shown_path
from sprag_cli.up.keys import APP, KINDS
from sprag_cli.up.kinds import REFUSED, is_list, is_table, taken
from sprag_cli.up.probes import HIGHEST_PORT
from sprag_cli.up.toml_lines import lines_of
from sprag_cli.up.values import NAME

if TYPE_CHECKING:
    from pathlib import Path

    from sprag_cli.up.faults import Key

_TOP: Final = ("app", *KINDS)
_DEEPEST: Final = 20


def read_toml(file: Path) -> Declared:
    """Return what *file* declares.

    Raises:
        BadFile: It cannot be read, is no TOML, or says what cannot be meant: all of that, each
            with its line.
    """
    return declared_in(read_text(file), file)


def declared_in(text: str, file: Path) -> Declared:
    """Return what *text*, which is that of *file*, declares.

    Raises:
        BadFile: As for `read_toml`.
    """
    try:
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadFile(f"{shown_path(file)}: no TOML: {error}") from None
    faults = Faults(file, lines_of(text))
    root = _root(given, faults)
    faults.check()
    return Declared(file, file.absolute().parent, root)


def _root(given: dict[str, Any], faults: Faults) -> Group:
    for name in given:
        if name not in _TOP:
            faults.unknown((name,), _TOP, _misplaced(name))
    app = given.get("app", {})
    settings: dict[str, Any] = {}
    if is_table(app):
        settings = taken(app, ("app",), faults, APP)
    else:
        faults.refuse(("app",), app, "a table: [app]")
    name = settings.pop("name", "") or faults.file.absolute().parent.name or "app"
    root = Group(
        name,
        faults.line_of(("app",)),
        settings,
        _lines(("app",), app, faults),
        _members(given, (), faults),
    )
    if not root.members and not faults.found:
        faults.add((), "there is nothing to run: write [program.NAME], with its command")
    return root


def _misplaced(name: str) -> str:
    for kind, keys in KINDS.items():
        if name in keys:
            return f"it belongs below a table, as in [{kind}.NAME]"
    return ""


def _members(given: dict[str, Any], above: Key, faults: Faults) -> tuple[Entry, ...]:
    """Return what is declared below a group, or the root, in the order of the file."""
    if len(above) > 2 * _DEEPEST:
        faults.add(above, f"groups lie in each other more than {_DEEPEST} deep")
        return ()
    found: list[tuple[int, Entry]] = []
    names: dict[str, str] = {}
    for kind in KINDS:
        tables = given.get(kind, {})
        if not is_table(tables):
            faults.refuse((*above, kind), tables, f"a table for each: [{kind}.NAME]")
            continue
        for name, table in tables.items():
            key = (*above, kind, name)
            NAME.take(name, key, faults)
            if (taken_by := names.setdefault(name, kind)) != kind:
                faults.add(key, f"there is a {taken_by} of that name already")
            if not is_table(table):
                known = KINDS[kind]
                hint = f"[{kind}.NAME] needs a name" if name in known else f"[{kind}.{name}]"
                faults.refuse(key, table, f"a table: {hint}")
                continue
            found.append((faults.line_of(key), _entry(kind, name, table, key, faults)))
    entries = tuple(entry for _, entry in sorted(found, key=lambda each: each[0]))
    _check_needs(entries, given, above, faults)
    return entries


def _entry(kind: str, name: str, table: dict[str, Any], key: Key, faults: Faults) -> Entry:
    line = faults.line_of(key)
    lines = _lines(key, table, faults)
    if kind == "group":
        own = {each: value for each, value in table.items() if each not in KINDS}
        settings = taken(own, key, faults, KINDS[kind])
        members = _members(table, key, faults)
        if not members and not faults.found:
            faults.add(key, f"the group is empty: write [{dotted(key)}.program.NAME]")
        return Group(name, line, settings, lines, members)
    if kind == "program" and "heartbeat" in table:
        remedy = "write ready = { notify = true, watchdog = 30 }"
        faults.add((*key, "heartbeat"), f"a program cannot call beat() — {remedy}")
        table = {name: value for name, value in table.items() if name != "heartbeat"}
    settings = taken(table, key, faults, KINDS[kind])
    needed = "command" if kind == "program" else "use"
    if needed not in table:
        faults.add(key, f"it has no {needed}")
    if kind == "program":
        _check_program(settings, key, faults)
        return Program(name, line, settings, lines)
    return PythonService(name, line, settings, lines)


def _lines(key: Key, table: Any, faults: Faults) -> dict[str, int]:
    return {each: faults.line_of((*key, each)) for each in table} if is_table(table) else {}


def _check_program(settings: dict[str, Any], key: Key, faults: Faults) -> None:
    """Tell of keys that contradict each other."""
    command = settings.get("command")
    if settings.get("shell") and isinstance(command, tuple):
        faults.add((*key, "shell"), "a shell takes one line: write the command as a text")
    elif not settings.get("shell") and isinstance(command, str):
        try:
            shlex.split(command)
        except ValueError as error:
            remedy = "write a list of words, or shell = true"
            faults.add((*key, "command"), f"{str(error).lower()} — {remedy}")
    ready, output = settings.get("ready", REFUSED), settings.get("output", "log")
    if ready is not REFUSED and ready.kind == "line" and output == "inherit":
        faults.add((*key, "ready"), 'no line is seen with output = "inherit": leave that out')
    if settings.get("pty") and output == "inherit":
        faults.add((*key, "pty"), 'it writes where sprag does with output = "inherit": choose one')
    for probe in ("ready", "alive"):
        found = settings.get(probe)
        is_own = found is not None and (
            (found.kind == "port" and found.value is None)
            or (found.kind == "http" and found.value[0] == "/" and "port" not in found.more)
        )
        if is_own and "port" not in settings:
            faults.add((*key, probe), "at which port? Give the program its port, as in port = 8000")
    last = settings.get("port", 0) + settings.get("replicas", 1) - 1
    if last > HIGHEST_PORT:
        faults.add((*key, "port"), f"that of the last replica would be {last}: begin with less")
    both = set(settings.get("success_codes", ())) & set(settings.get("fatal_codes", ()))
    if both:
        faults.add((*key, "fatal_codes"), f"{min(both)} is among the success_codes, too")


def _check_needs(
    entries: tuple[Entry, ...], given: dict[str, Any], above: Key, faults: Faults
) -> None:
    """Tell of needs that name no sibling; whether they make a circle, sprag itself says."""
    names = {entry.name for entry in entries}
    for kind in KINDS:
        tables = given.get(kind, {})
        for name, table in tables.items() if is_table(tables) else ():
            needs: Any = table.get("needs", ()) if is_table(table) else ()
            for wanted in needs if is_list(needs) or is_table(needs) else ():
                if isinstance(wanted, str) and wanted not in names:
                    key = (*above, kind, name, "needs")
                    others = sorted(names - {name})
                    there = f"there are {', '.join(others)}" if others else "there are none"
                    faults.add(key, f"{wanted!r} is no sibling of it — {there}")
