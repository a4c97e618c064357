"""What of this machine a file relies on: binaries, directories, users, files of variables.

``sprag up --check`` tells what is missing, and goes on: the file may be meant for another machine.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
from typing import TYPE_CHECKING, Any

from sprag_cli.up.declared import Program
from sprag_cli.up.faults import Faults, shown_path
from sprag_cli.up.permissions import exposed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sprag_cli.up.declared import Declared


def missing(declared: Declared) -> list[str]:
    """Return a line for each thing that is not there, with its place in the file."""
    places = Faults(declared.file)
    return [
        f"{places.place(entry.lines.get(key, entry.line))}: {path}: {said}"
        for path, entry in declared.root.placed()
        if isinstance(entry, Program)
        for key, said in _missing(entry.settings, declared.folder)
    ]


def exposed_files(declared: Declared) -> Iterator[tuple[str, Path, str]]:
    """Yield each env file that others may read or write: whose it is, and what they may."""
    seen: set[Path] = set()
    for path, entry in declared.root.placed():
        name = entry.settings.get("env_file")
        if name is None or (file := declared.folder / name) in seen:
            continue
        seen.add(file)
        if may := exposed(file):
            yield path, file, may


def _missing(settings: Any, folder: Path) -> Iterator[tuple[str, str]]:
    cwd = folder / settings.get("cwd", "")
    if not cwd.is_dir():
        yield "cwd", f"there is no directory {shown_path(cwd)}"
    env: dict[str, str] = {}
    if "env_file" in settings:
        file = folder / settings["env_file"]
        try:
            from sprag.programs.env_file import read_env_file

            env = read_env_file(file)
        except OSError as error:
            yield "env_file", f"{shown_path(file)}: {error.strerror or error}"
        except ValueError as error:
            yield "env_file", str(error)
    if not settings.get("shell") and (said := _binary(settings, cwd, env)):
        yield "command", said
    for key, find in _IDS.items():
        if isinstance(given := settings.get(key), str) and not _is_there(find, given):
            yield key, f"there is no {key} {given!r}"


def _binary(settings: Any, cwd: Path, env: dict[str, str]) -> str:
    command = settings["command"]
    name = (shlex.split(command) if isinstance(command, str) else command)[0]
    if "{" in name:
        return ""  # a replica's number belongs there
    path = {**os.environ, **env, **settings.get("env", {})}.get("PATH", os.defpath)
    where = str(cwd / name) if "/" in name else name
    if shutil.which(where, path=path) is not None:
        return ""
    return f"there is no program {name!r}" + ("" if "/" in name else " in PATH")


def _is_there(find: Callable[[str], object], name: str) -> bool:
    try:
        find(name)
    except KeyError:
        return name.isdecimal()
    return True


_IDS = {"user": pwd.getpwnam, "group": grp.getgrnam}
