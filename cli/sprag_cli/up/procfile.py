"""Read a Procfile, as foreman and honcho do: a name, a colon and a line for the shell."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from sprag_cli.up.declared import Declared, Group, Program
from sprag_cli.up.faults import BadFile, Faults, read_text, said, shown_path
from sprag_cli.up.probes import HIGHEST_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LINE: Final = re.compile(r"([A-Za-z0-9_-]+)[ \t]*:[ \t]*(\S.*)")
_FIRST_PORT: Final = 5000
_STEP: Final = 100
ENV_FILE: Final = ".env"


def is_procfile(file: Path) -> bool:
    """Whether *file* is a Procfile, by its name: whatever does not end with .toml."""
    return file.suffix != ".toml"


def read_procfile(file: Path, environ: Mapping[str, str] | None = None) -> Declared:
    """Return what *file* declares: each line a program that a shell runs, with a PORT of its own.

    The ports begin at the PORT of ``.env`` beside the file, or of *environ*, or at 5000, and go
    up by 100 with each line.

    Raises:
        BadFile: It cannot be read, or lines of it are none: all of them, or ``.env`` is wrong.
    """
    environ = os.environ if environ is None else environ
    folder = file.absolute().parent
    env_file = folder / ENV_FILE
    env = _read_env(env_file) if env_file.exists() else None
    faults = Faults(file)
    found: dict[str, Program] = {}
    base = _first_port({**environ, **(env or {})}.get("PORT"))
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        matched = _LINE.fullmatch(text)
        if matched is None:
            faults.tell(number, f"{said(text)} is no process — write NAME: COMMAND")
            continue
        name, command = matched.groups()
        if name in found:
            faults.tell(number, f"{name!r} stands in line {found[name].line}, too: rename one")
            continue
        port = base + _STEP * len(found)
        if port > HIGHEST_PORT:
            faults.tell(number, f"its PORT would be {port}: begin with a smaller one")
        settings: dict[str, Any] = {"command": command, "shell": True, "port": port}
        if env is not None:
            settings["env_file"] = ENV_FILE
        found[name] = Program(name, number, settings, dict.fromkeys(settings, number))
    if not found and not faults.found:
        faults.tell(0, "there is nothing to run: write NAME: COMMAND")
    faults.check()
    return Declared(file, folder, Group(folder.name or "app", members=tuple(found.values())))


def _read_env(file: Path) -> dict[str, str]:
    from sprag.programs.env_file import parse_env
    from sprag.programs.exceptions import BadEnvFile

    try:
        return parse_env(read_text(file), shown_path(file))
    except BadEnvFile as error:
        raise BadFile(str(error)) from None


def _first_port(given: str | None) -> int:
    if given is None:
        return _FIRST_PORT
    if not re.fullmatch("[0-9]{1,5}", given):
        raise BadFile(f"PORT is {said(given)}: write a number, or leave it out for {_FIRST_PORT}")
    return int(given)
