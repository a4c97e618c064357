"""``sprag convert``: a ``supervisord.conf`` as ``sprag.toml``, and what has no counterpart."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sprag._defaults import SHUTDOWN_TIMEOUT
from sprag._exit_codes import ExitCode
from sprag_cli.term.output import complain_at_length, write
from sprag_cli.up.faults import BadFile, shown_path
from sprag_cli.up.ini import Section, Unreadable, names, read_ini, variables, whole
from sprag_cli.up.sprag_toml import declared_in
from sprag_cli.up.supervisord import FIRST, WAIT, Common, Converted, converted
from sprag_cli.up.toml_text import Octal, Table, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sprag_cli.up.ini import Ini

_PIECES: Final = {
    "unix_http_server": "sprag has a socket of its own: 'sprag tree' finds it",
    "inet_http_server": "sprag listens at no port for those who manage it",
    "supervisorctl": "use sprag tree, status, start, stop, restart, events",
    "rpcinterface": "there is no XML-RPC: 'sprag tree --json' and curl ask the socket",
    "eventlistener": "who wants to hear of starts and crashes is a Python service, with listen()",
    "fcgi-program": "sprag hands on no FastCGI socket: let the program open it",
}
_OF_ALL: Final = {
    "user": "start sprag as that user, or give each program its user",
    "identifier": "sprag calls an app by its name",
    "nodaemon": "",
    "silent": "",
    "nocleanup": "",
    "strip_ansi": "sprag's log escapes control characters",
    "loglevel": "sprag up --log-level",
    "logfile": "sprag writes its log to stderr, for systemd or a container to keep",
    "logfile_maxbytes": "",
    "logfile_backups": "",
    "pidfile": "let systemd start it; 'sprag tree --json' tells the pid",
    "childlogdir": "what programs print is in sprag's log",
    "minprocs": "give programs their limits = { nproc = … }",
}


def convert(source: str, target: str | None) -> int:
    """Carry out ``sprag convert``.

    Args:
        source: The ``supervisord.conf``.
        target: The file to write; None: stdout.

    Raises:
        BadFile: *source* cannot be read, or is none; *target* is there, or cannot be written.
    """
    text, notes = toml_of(Path(source))
    if target is None:
        write(sys.stdout, text)
    else:
        try:
            with Path(target).open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise BadFile(f"{target} is there already: name another file, or remove it") from None
        except OSError as error:
            raise BadFile(f"{target}: {error.strerror or error}") from None
    if notes:
        complain_at_length("\n".join(["sprag: without a counterpart, or another:", *notes]))
    return ExitCode.WELL


def toml_of(file: Path, environ: Mapping[str, str] | None = None) -> tuple[str, list[str]]:
    """Return what *file* is as ``sprag.toml``, and a line for all that is not the same there.

    Raises:
        BadFile: It cannot be read, or supervisord would not read it.
    """
    ini = read_ini(file)
    work = _Conversion(ini, os.environ if environ is None else environ)
    text = work.text()
    declared_in(text, file.with_name("sprag.toml"))  # what we write is what we read
    return text, work.notes


@dataclass(slots=True)
class _Conversion:
    ini: Ini
    environ: Mapping[str, str]
    notes: list[str] = field(default_factory=list[str])

    def note(self, where: str, remedy: str) -> None:
        """Remember what has no counterpart, once."""
        line = f"  {where}: {remedy}"
        if line not in self.notes:
            self.notes.append(line)

    def text(self) -> str:
        common = self._common()
        groups = self._grouped(common)
        if not groups:
            raise BadFile(f"{shown_path(self.ini.file)}: it has no [program:…]")
        self._tell_of_pieces()
        tables = [each for group, programs in groups for each in self._tables(group, programs)]
        app: dict[str, Any] = {}
        waits = [[each.values.get("shutdown", WAIT) for each in members] for _, members in groups]
        seconds = max(max(each) for each in waits)
        if self._is_ordered([self._priority(*each) for each in groups], ""):
            app["in_order"] = True
            seconds = sum(max(each) for each in waits)  # they stop one after another, too
        if seconds > SHUTDOWN_TIMEOUT:
            app["shutdown_timeout"] = seconds
        if app:
            tables.insert(0, Table(("app",), app))
        return written(_head(self.ini.file, tables), tables)

    def _is_ordered(self, priorities: list[int], where: str) -> bool:
        """Whether the priorities are of use, which is told."""
        if len(set(priorities)) < 2:
            return False
        remedy = "in_order = true: each has settled before the next; better say who needs whom"
        self.note(f"{where} priority".strip(), remedy)
        return True

    def _common(self) -> Common:
        here = str(self.ini.file.absolute().parent)
        common = Common(here, platform.node(), {}, {}, self.environ, self.note)
        for section in self.ini.of_kind("supervisord"):
            given = section.values
            for key, value in given.items():
                try:
                    self._take(common, section, key, value)
                except (Unreadable, ValueError) as error:
                    raise self._bad(section, f"{key}: {error}") from None
        return common

    def _take(self, common: Common, section: Section, key: str, text: str) -> None:
        known = {"here": common.here, "host_node_name": common.host}

        def filled(value: str) -> str:
            return common.filled(value, known, section.title)

        if key == "directory":
            common.values["cwd"] = filled(text)
        elif key == "umask":
            common.values["umask"] = Octal(int(text, 8))
        elif key == "minfds":
            common.values["limits"] = {"nofile": whole(text)}
        elif key == "environment":
            found = variables(text)
            common.environment.update(
                {
                    name: filled(each)
                    for name, each in found.items()
                    if each != f"%(ENV_{name})s"  # it is inherited anyway
                }
            )
        elif remedy := _OF_ALL.get(key, "supervisord does not know it either"):
            self.note(f"{section.title} {key}", remedy)

    def _grouped(self, common: Common) -> list[tuple[Section | None, list[Converted]]]:
        """Return each group with its programs, and each program outside of any."""
        programs = {each.name: each for each in self.ini.of_kind("program")}
        found: list[tuple[Section | None, list[Converted]]] = []
        grouped: set[str] = set()
        for group in self.ini.of_kind("group"):
            members: list[Converted] = []
            for name in names(group.values.get("programs", "")):
                if name in programs:
                    grouped.add(name)
                    members += self._converted(programs[name], group.name, common)
                elif not any(each.name == name for each in self.ini.of_kind("fcgi-program")):
                    raise self._bad(group, f"programs: there is no program {name!r}")
            if members:
                found.append((group, members))
        for name, section in programs.items():
            if name not in grouped:
                alone = self._converted(section, name, common)
                whole_group = Section("group", name, section.file, section.values)
                found.append((whole_group if len(alone) > 1 else None, alone))
        return sorted(found, key=lambda each: self._priority(*each))

    def _priority(self, group: Section | None, programs: list[Converted]) -> int:
        if group is None or group.kind != "group":
            return programs[0].priority
        try:
            return whole(group.values.get("priority", str(FIRST)))
        except Unreadable as error:
            raise self._bad(group, f"priority: {error}") from None

    def _converted(self, section: Section, group: str, common: Common) -> list[Converted]:
        try:
            return converted(section, group, common)
        except Unreadable as error:
            raise self._bad(section, str(error)) from None

    def _bad(self, section: Section, fault: str) -> BadFile:
        return BadFile(f"{shown_path(section.file)}: {section.title} {fault}")

    def _tables(self, group: Section | None, programs: list[Converted]) -> list[Table]:
        above: tuple[str, ...] = () if group is None else ("group", group.name)
        ordered = sorted(programs, key=lambda each: each.priority)
        tables = [
            Table((*above, "program", each.name), each.values, [], each.beside) for each in ordered
        ]
        if group is not None:
            own: dict[str, Any] = {"strategy": "one_for_one"}
            if self._is_ordered([each.priority for each in programs], group.title):
                own["in_order"] = True
            tables.insert(0, Table(above, own))
        return tables

    def _tell_of_pieces(self) -> None:
        for section in self.ini.sections:
            if section.kind in _PIECES:
                self.note(section.title, _PIECES[section.kind])
            elif section.kind not in ("program", "group", "supervisord", "include"):
                self.note(section.title, "supervisord does not know it either")


def _head(file: Path, tables: list[Table]) -> list[str]:
    """Return the comment at the top of what is written."""
    said = [
        f"Converted from {file.name}: 'sprag up --check' looks at it, 'sprag up' runs it.",
        "A program without cwd runs in this file's folder.",
    ]
    if any(table.values.get("kill") == "process" for table in tables):
        said += [
            'kill = "process" is supervisord\'s way: leave it out, and what a program has started',
            "ends with it.",
        ]
    return said
