"""What a program is declared to be: all that its constructor takes, checked."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

from sprag.programs.probes import (
    ALIVE,
    READY,
    Command,
    Http,
    Line,
    Notify,
    Port,
    checked_command,
    checked_port,
)
from sprag_supervisor import as_count, choices, class_name, is_a, seconds_of
from sprag_supervisor.exceptions import BadPolicy, BadValue

if TYPE_CHECKING:
    from collections.abc import Sequence

Kill: TypeAlias = Literal["group", "process", "tree"]
Outlet: TypeAlias = Literal["pipes", "terminal", "ours"]
ReadyProbe: TypeAlias = "Port | Http | Command | Line | Notify"
AliveProbe: TypeAlias = "Port | Http | Command"
OUTPUT_LIMIT: Final = 20_000
REPLICA: Final = "{replica}"
_LARGEST_CODE: Final = 255


@dataclass(frozen=True, slots=True)
class Settings:
    """One program, as it was declared. See `Program` for what each is."""

    command: tuple[str, ...]
    shell: bool
    cwd: Path | None
    env: dict[str, str]
    env_file: Path | None
    user: str | int | None
    group: str | int | None
    umask: int | None
    limits: dict[int, tuple[int, int]]
    port: int | None
    ready: ReadyProbe | None
    alive: AliveProbe | None
    settle: float
    success_codes: frozenset[int]
    fatal_codes: frozenset[int]
    stop_signal: signal.Signals
    kill: Kill
    output: str | Path
    pty: bool
    output_limit: int
    max_lifetime: float | None
    replicas: int | None

    @property
    def outlet(self) -> Outlet:
        """What its output comes through."""
        if self.output == "inherit":
            return "ours"
        return "terminal" if self.pty else "pipes"

    @property
    def file(self) -> Path | None:
        """Where its output is copied to; None: it is not."""
        return self.output if isinstance(self.output, Path) else None

    @property
    def called(self) -> str:
        """What it is called, if it has no other name."""
        return called(self.command[2].split() if self.shell else self.command)


def called(words: Sequence[str]) -> str:
    """Return the name of the binary among *words*, as of a service."""
    return os.path.basename(words[0].rstrip("/")) or "program"  # noqa: PTH119 - words are no paths


def checked(given: dict[str, Any]) -> Settings:
    """Return what `Program` was given, checked.

    Raises:
        BadValue: An argument is of no use.
        BadPolicy: Its output is not read, and ``ready`` waits for a line of it.
    """
    shell = _flag("shell", given["shell"])
    settings = Settings(
        command=_command(given["command"], shell=shell),
        shell=shell,
        cwd=_path("cwd", given["cwd"]),
        env=checked_env("env", given["env"]),
        env_file=_path("env_file", given["env_file"]),
        user=_who("user", given["user"]),
        group=_who("group", given["group"]),
        umask=_umask(given["umask"]),
        limits=_limits(given["limits"]),
        port=None if given["port"] is None else checked_port("port", given["port"]),
        ready=_probe("ready", given["ready"], READY),
        alive=_probe("alive", given["alive"], ALIVE),
        settle=seconds_of("settle", given["settle"], 0.0),
        success_codes=_codes("success_codes", given["success_codes"]),
        fatal_codes=_codes("fatal_codes", given["fatal_codes"]),
        stop_signal=checked_signal("stop_signal", given["stop_signal"]),
        kill=_word("kill", given["kill"], get_args(Kill)),
        output=_output(given["output"]),
        pty=_flag("pty", given["pty"]),
        output_limit=_count("output_limit", given["output_limit"], 1),
        max_lifetime=_lifetime(given["max_lifetime"]),
        replicas=None if given["replicas"] is None else checked_size(given["replicas"]),
    )
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    if both := settings.success_codes & settings.fatal_codes:
        accepted = f"codes that are not success_codes, too, as {min(both)} is"
        raise BadValue("fatal_codes", set(settings.fatal_codes), accepted)
    if settings.outlet == "ours" and (type(settings.ready) is Line or settings.pty):
        why = "pty=True" if settings.pty else "ready=Line(...)"
        accepted = f"'log' or a path with {why}: it is not read otherwise"
        raise BadPolicy("output", settings.output, accepted)
    for argument, probe in (("ready", settings.ready), ("alive", settings.alive)):
        needs_port = type(probe) is Port and probe.port is None
        if (needs_port or (type(probe) is Http and not probe.has_port)) and settings.port is None:
            raise BadValue(argument, probe, "a probe with a port, or port=… for the program")


def checked_size(given: Any) -> int:
    """Return how many replicas there are to be.

    Raises:
        BadValue: It is no whole number above 0.
    """
    return _count("replicas", given, 1)


def checked_signal(argument: str, given: Any) -> signal.Signals:
    """Return the signal that is meant: ``"TERM"``, ``"SIGTERM"``, 15 or the enum's member.

    Raises:
        BadValue: There is no such signal.
    """
    names = sorted(name.removeprefix("SIG") for name in signal.Signals.__members__)
    if is_a(given, str):
        word = str.__str__(given).upper().removeprefix("SIG")
        if word in names:
            return signal.Signals[f"SIG{word}"]
        if not word.isdecimal():
            raise BadValue(argument, given, f"a signal: {choices(word, names)}")
        given = int(word)
    number = as_count(given)
    try:
        return signal.Signals(number)
    except ValueError:
        raise BadValue(argument, given, "a signal: 'TERM', or its number") from None


def _command(given: Any, *, shell: bool) -> tuple[str, ...]:
    return () if given is None and not shell else words_of("command", given, shell=shell)


def words_of(argument: str, given: Any, *, shell: bool) -> tuple[str, ...]:
    """Return the words that are run for a command.

    Raises:
        BadValue: It is none.
    """
    if not shell or is_a(given, tuple):
        return checked_command(argument, given)
    if not is_a(given, str) or not given.strip() or "\0" in given:
        raise BadValue(argument, given, "one line of text with shell=True")
    return ("/bin/sh", "-c", str.__str__(given))


def _flag(argument: str, given: Any) -> bool:
    if type(given) is not bool:
        raise BadValue(argument, given, "True or False")
    return given


def _path(argument: str, given: Any, accepted: str = "a path, or None") -> Path | None:
    if given is None:
        return None
    try:
        text = os.fspath(cast("str | os.PathLike[str]", given))
    except TypeError:
        raise BadValue(argument, given, accepted) from None
    if not isinstance(text, str) or not text or "\0" in text:
        raise BadValue(argument, given, accepted)
    return Path(text)


def checked_env(argument: str, given: Any) -> dict[str, str]:
    """Return variables as plain text by their names.

    Raises:
        BadValue: They are none.
    """
    if given is None:
        return {}
    accepted = "variables by their names, as in {'LEVEL': 'debug'}"
    if not issubclass(type(given), Mapping):
        # It may hold secrets: only its type is told.
        raise BadValue(argument, class_name(cast("Any", type(given))), accepted)
    found: dict[str, str] = {}
    for name, value in dict(given).items():
        is_text = is_a(name, str) and is_a(value, str)
        if not is_text or not name or "=" in name or "\0" in name + value:
            # Its value may be a secret: only the name is told.
            raise BadValue(argument, name, f"{accepted}, names without '=', and str values")
        found[str.__str__(name)] = str.__str__(value)
    return found


def _who(argument: str, given: Any) -> str | int | None:
    if given is None or (is_a(given, str) and given):
        return None if given is None else str.__str__(given)
    number = as_count(given)
    if number < 0:
        raise BadValue(argument, given, "a name or a number")
    return number


def _umask(given: Any) -> int | None:
    if given is None:
        return None
    number = as_count(given)
    if not 0 <= number <= 0o777:
        raise BadValue("umask", given, "a number from 0 to 0o777, as 0o027")
    return number


def _limits(given: Any) -> dict[int, tuple[int, int]]:
    if given is None:
        return {}
    known = {
        name.removeprefix("RLIMIT_").lower(): getattr(resource, name)
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    }
    if not issubclass(type(given), Mapping):
        raise BadValue("limits", given, "numbers by names, as in {'nofile': 65536}")
    found: dict[int, tuple[int, int]] = {}
    for name, value in dict(given).items():
        if not is_a(name, str) or name.lower() not in known:
            raise BadValue("limits", name, choices(name, sorted(known)))
        pair: list[Any] = [*value] if issubclass(type(value), tuple) else [value, value]
        if len(pair) != 2:
            raise BadValue(f"limits[{name!r}]", value, "a number, or (soft, hard)")
        soft, hard = (_limit(name, each) for each in pair)
        found[known[name.lower()]] = (soft, hard)
    return found


def _limit(name: str, given: Any) -> int:
    if given is None or given == "unlimited":
        return resource.RLIM_INFINITY
    number = as_count(given)
    if number < 0:
        raise BadValue(f"limits[{name!r}]", given, "a number, 0 or more, or 'unlimited'")
    return number


def _probe(argument: str, given: Any, kinds: tuple[type, ...]) -> Any:
    if given is None or type(given) in kinds:
        return given
    names = ", ".join(f"{kind.__name__}(...)" for kind in kinds)
    raise BadValue(argument, given, f"one of sprag.programs: {names}; or None")


def _lifetime(given: Any) -> float | None:
    if given is None:
        return None
    return seconds_of("max_lifetime", given, also=", or None")


def _codes(argument: str, given: Any) -> frozenset[int]:
    accepted = f"exit codes, as in {{0, 2}}: numbers from 0 to {_LARGEST_CODE}"
    if is_a(given, str) or not issubclass(type(given), Iterable):
        raise BadValue(argument, given, accepted)
    each: Iterable[Any] = given
    codes = frozenset(as_count(code) for code in each)
    if not all(0 <= code <= _LARGEST_CODE for code in codes):
        raise BadValue(argument, given, accepted)
    return codes


def _word(argument: str, given: Any, accepted: tuple[Kill, ...]) -> Kill:
    for word in accepted:
        if is_a(given, str) and given == word:
            return word
    raise BadValue(argument, given, choices(given, accepted))


def _output(given: Any) -> str | Path:
    if is_a(given, str) and given in ("log", "inherit"):
        return str.__str__(given)
    accepted = "'log', 'inherit', or the path of a file"
    path = _path("output", given, accepted)
    if path is None:
        raise BadValue("output", given, accepted)
    return path


def _count(argument: str, given: Any, least: int) -> int:
    number = as_count(given)
    if number < least:
        raise BadValue(argument, given, f"a whole number, {least} or more")
    return number
