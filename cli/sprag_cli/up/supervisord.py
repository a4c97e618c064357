"""What a ``[program:…]`` of supervisord's is in ``sprag.toml``."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sprag_cli.up.ini import (
    Unreadable,
    expanded,
    names,
    names_in,
    truth,
    variables,
    whole,
)
from sprag_cli.up.toml_text import Octal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sprag_cli.up.ini import Section

_SETTLE: Final = 1
_TRIES: Final = 3
WAIT: Final = 10
"""Seconds that a program may take to stop, where nothing is said."""
FIRST: Final = 999
"""The priority of what has none."""
_STREAMS: Final = ("/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1")
_IGNORED: Final = frozenset(
    {
        *("command", "process_name", "numprocs", "numprocs_start", "priority", "directory"),
        *("autostart", "autorestart", "startsecs", "startretries", "exitcodes", "stopsignal"),
        *("stopwaitsecs", "stopasgroup", "killasgroup", "user", "umask", "environment"),
        *("redirect_stderr", "stdout_logfile", "stderr_logfile"),
    }
)
"""Keys that are seen to here; or for which there is nothing to do."""
_WITHOUT: Final = {
    "stdout_logfile_maxbytes": "rotation",
    "stdout_logfile_backups": "rotation",
    "stderr_logfile_maxbytes": "rotation",
    "stderr_logfile_backups": "rotation",
    "stdout_capture_maxbytes": "events",
    "stderr_capture_maxbytes": "events",
    "stdout_events_enabled": "events",
    "stderr_events_enabled": "events",
    "stdout_syslog": "syslog",
    "stderr_syslog": "syslog",
    "serverurl": "the XML-RPC server",
}
_REMEDIES: Final = {
    "rotation": "let logrotate do it, and send sprag SIGUSR2, at which it opens its files anew",
    "events": "who wants to hear of starts and crashes is a Python service, with listen()",
    "syslog": "sprag's log has all lines: hand that on",
    "the XML-RPC server": "sprag status, start, stop … ask over its own socket",
}


@dataclass(slots=True)
class Converted:
    """A program, as it is to be written.

    Attributes:
        name: Its name.
        values: Its keys.
        beside: Comments behind them.
        priority: Supervisord's: those with a smaller one start before.
    """

    name: str
    values: dict[str, Any]
    beside: dict[str, str]
    priority: int


@dataclass(slots=True)
class Common:
    """What ``[supervisord]`` says for all programs, and what is told of those it is said for.

    Attributes:
        here: The folder of the file.
        values: Keys that every program has, unless it has its own.
        environment: Variables of all.
        environ: Those that supervisord would inherit: ``%(ENV_x)s``.
        note: Tells of what has no counterpart: where it stands, and what to do.
    """

    here: str
    host: str
    values: dict[str, Any]
    environment: dict[str, str]
    environ: Mapping[str, str]
    note: Callable[[str, str], None]

    def filled(self, text: str, known: Mapping[str, object], where: str) -> str:
        """Return *text* with its ``%(name)s`` filled in, and tell of variables that are read now.

        Raises:
            Unreadable: A name is not known, or a ``%`` means nothing.
        """
        found = dict(known)
        for name in names_in(text):
            if name in found or not name.startswith("ENV_"):
                continue
            variable = name.removeprefix("ENV_")
            found[name] = self.environ.get(variable, f"${variable}")
            is_set = variable in self.environ
            missing = f"it is not set here: write it for ${variable}"
            remedy = "it is filled in now, with what it is here" if is_set else missing
            self.note(f"{where} %({name})s", remedy)
        return expanded(text, found)


def converted(section: Section, group: str, common: Common) -> list[Converted]:
    """Return what *section* is: one program, or as many as its numprocs where each is another.

    Raises:
        Unreadable: Supervisord would not read it; the text names the key.
    """
    return _Program(section, group, common).all()


@dataclass(slots=True)
class _Program:
    section: Section
    group: str
    common: Common
    names: dict[str, object] = field(default_factory=dict[str, object])

    def all(self) -> list[Converted]:
        section, own = self.section, self.section.values
        self.names = {
            "here": self.common.here,
            "host_node_name": self.common.host,
            "program_name": section.name,
            "group_name": self.group,
        }
        if "command" not in own:
            raise Unreadable("it has no command")
        count = self._value("numprocs", whole, 1)
        first = self._value("numprocs_start", whole, 0)
        if count < 1:
            raise Unreadable(f"numprocs: {count} is none: leave the section out")
        self._tell_of_others()
        if count == 1:
            return [self._one(section.name, first, count)]
        numbered = {
            key: each
            for key, each in own.items()
            if key != "process_name" and "process_num" in names_in(each)
        }
        is_ours = first == 1 and set(numbered) <= _FILLED and all(map(_is_plain, numbered.values()))
        if not numbered or is_ours:
            one = self._one(section.name, "{replica}", count)
            one.values = {"command": one.values.pop("command"), "replicas": count, **one.values}
            return [one]
        pattern = own.get("process_name", "%(program_name)s")
        if "process_num" not in names_in(pattern):
            raise Unreadable("process_name: it has no %(process_num)s, and numprocs is above 1")
        return [
            self._one(self._expand(pattern, number, count), number, count)
            for number in range(first, first + count)
        ]

    def _one(self, name: str, number: object, count: int) -> Converted:
        """Return the process of a number; ``{replica}`` for any."""
        self.names |= {"process_num": number, "numprocs": count}
        environment = {**self.common.environment, **self._environment()}
        self.names |= {f"ENV_{name}": value for name, value in environment.items()}
        values: dict[str, Any] = {**self._command(), **self.common.values}
        beside: dict[str, str] = {}
        values |= self._place()
        if environment:
            values["env"] = environment
        values |= self._life(beside)
        values |= self._end()
        values |= self._output()
        return Converted(name, values, beside, self._value("priority", whole, FIRST))

    def _value(self, key: str, read: Callable[[str], Any], default: Any) -> Any:
        text = self.section.values.get(key)
        if text is None:
            return default
        try:
            return read(self._expand(text))
        except Unreadable as error:
            raise Unreadable(f"{key}: {error}") from None

    def _expand(self, text: str, number: object = None, count: int = 0) -> str:
        known = dict(self.names)
        if number is not None:
            known |= {"process_num": number, "numprocs": count}
        if known.get("process_num") == "{replica}":
            text = re.sub(r"%\(process_num\)[a-z0-9]*[a-z]", "%(process_num)s", text)
        return self.common.filled(text, known, self.section.title)

    def _note(self, what: str, remedy: str) -> None:
        self.common.note(f"{self.section.title} {what}", remedy)

    def _environment(self) -> dict[str, str]:
        text = self.section.values.get("environment", "")
        try:
            found = variables(text)
            # What is handed on under its own name is inherited anyway.
            return {
                name: self._expand(value)
                for name, value in found.items()
                if value != f"%(ENV_{name})s"
            }
        except Unreadable as error:
            raise Unreadable(f"environment: {error}") from None

    def _command(self) -> dict[str, Any]:
        """Return the command: its words; a line for the shell where a variable is to be put in."""
        text = self.section.values["command"]
        variables_in = [each for each in names_in(text) if each.startswith("ENV_")]
        marks = {each: f"\0{each.removeprefix('ENV_')}\0" for each in variables_in}
        plain = re.sub(r"%\((ENV_[^)]*)\)s", lambda found: marks[found[1]], text)
        try:
            words = shlex.split(self._expand(plain))
        except ValueError as error:
            raise Unreadable(f"command: {error}") from None
        if not words:
            raise Unreadable("command: it is empty")
        if not variables_in:
            return {"command": words}
        line = "exec " + " ".join(map(_for_shell, words))
        return {"command": line, "shell": True}

    def _place(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if directory := self._value("directory", str, ""):
            found["cwd"] = directory
        if user := self._value("user", str, ""):
            found["user"] = int(user) if user.isdecimal() else user
        if umask := self._value("umask", str, ""):
            found["umask"] = Octal(_octal(umask))
        return found

    def _life(self, beside: dict[str, str]) -> dict[str, Any]:
        """Return how it is started and restarted, with supervisord's defaults."""
        found: dict[str, Any] = {}
        if not self._value("autostart", truth, default=True):
            found["autostart"] = False
        restart = self._value("autorestart", str.lower, "unexpected")
        if restart == "unexpected":
            found["restart"] = "transient"
            beside["restart"] = "autorestart = unexpected"
        elif not truth(restart):
            found |= {"restart": "transient", "on_failure": {"Exception": "stop"}}
            beside["restart"] = "autorestart = false"
        codes = self._value("exitcodes", names, ["0"])
        if codes != ["0"]:
            found["success_codes"] = [whole(each) for each in codes]
        settle = self._value("startsecs", whole, _SETTLE)
        tries = self._value("startretries", whole, _TRIES)
        if settle:
            found["settle"] = settle
        if tries == 0:
            self._note("startretries = 0", "it is tried once more: tries = 1")
        found["backoff"] = {"initial": 1, "reset_after": settle, "tries": max(tries, 1)}
        return found

    def _end(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        signal = self._value("stopsignal", str.upper, "TERM").removeprefix("SIG")
        if signal != "TERM":
            found["stop_signal"] = int(signal) if signal.isdecimal() else signal
        wait = self._value("stopwaitsecs", whole, WAIT)
        if wait != WAIT:
            found["shutdown"] = wait
        as_group = self._value("stopasgroup", truth, default=False)
        kills_group = self._value("killasgroup", truth, default=as_group)
        if as_group and not kills_group:
            raise Unreadable("stopasgroup: it is true, and killasgroup false")
        if not kills_group:
            found["kill"] = "process"
        return found

    def _output(self) -> dict[str, Any]:
        merged = self._value("redirect_stderr", truth, default=False)
        out = self._value("stdout_logfile", str, "AUTO")
        err = out if merged else self._value("stderr_logfile", str, "AUTO")
        words = {each.upper() for each in (out, err)}
        if words <= {"NONE", "OFF"}:
            return {"output": "/dev/null"}
        if out in _STREAMS or err in _STREAMS:
            return {"output": "inherit"}
        files = [each for each in (out, err) if each.upper() not in ("AUTO", "NONE", "OFF")]
        if not files:
            return {}
        if out != err:
            self._note("stderr_logfile", f"one file takes both streams: {files[0]}")
        self._note("rotation", _REMEDIES["rotation"])
        return {"output": files[0]}

    def _tell_of_others(self) -> None:
        for key, value in self.section.values.items():
            if key in _IGNORED:
                continue
            what = _WITHOUT.get(key)
            if what is None:
                self._note(key, "supervisord does not know it either")
            elif what != "rotation" and value.lower() not in ("0", "false", "no", "off", ""):
                self._note(key, _REMEDIES[what])


_FILLED: Final = frozenset({"command", "environment"})
"""Where ``{replica}`` is the number of one."""


def _is_plain(text: str) -> bool:
    """Whether each number that *text* fills in is written as it is, without zeros in front."""
    return not re.search(r"%\(process_num\)(?!s|d)", text)


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise Unreadable(f"umask: {text!r} is not octal") from None


def _for_shell(word: str) -> str:
    """Return *word* for a shell: quoted, but for the variables in it."""
    parts = word.split("\0")
    plain, variable = parts[::2], parts[1::2]
    said = "".join(
        (shlex.quote(before) if before else "") + f'"${name}"'
        for before, name in zip(plain, variable, strict=False)
    )
    return said + (shlex.quote(plain[-1]) if plain[-1] or not variable else "")
