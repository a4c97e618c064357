"""Which app a command talks to."""

from __future__ import annotations

import os
from pathlib import Path

from sprag_cli._client import Client
from sprag_cli._discover import (
    Found,
    RunningApp,
    SeveralApps,
    choose,
    find_apps,
    runtime_directory,
)
from sprag_cli._exit import CommandError
from sprag_cli._node import number_of
from sprag_cli._output import complain
from sprag_cli._words import duration

_QUICK_LOOK = 0.5


def find_app(asked: str | None, *, quiet: bool = False) -> RunningApp:
    """Return the app to talk to, and say on stderr if others have gone without a word.

    Args:
        asked: Name, pid or socket. ``None`` means the only one that runs.
        quiet: Do not say so.

    Raises:
        CommandError: There is none, or more than one.
    """
    if asked is not None and "/" in asked:
        return choose(Found(Path()), asked)
    found = all_apps()
    try:
        app = choose(found, asked)
    except SeveralApps as several:
        raise SeveralApps(several.apps, asked, _uptimes(several.apps)) from None
    if not quiet and (note := found.note()):
        complain(f"sprag: {note}")
    return app


def all_apps() -> Found:
    """Return the apps that a command may talk to, as the environment says.

    Where a directory is given, those in it; root sees everybody's else.
    """
    directory = runtime_directory(os.environ, os.getuid())
    return find_apps(directory, everywhere="SPRAG_RUNTIME_DIR" not in os.environ)


def _uptimes(apps: tuple[RunningApp, ...]) -> dict[Path, str]:
    uptimes: dict[Path, str] = {}
    for app in apps:
        try:
            uptime = number_of(Client(app, timeout=_QUICK_LOOK).tree(), "uptime")
        except CommandError:
            continue
        if uptime is not None:
            uptimes[app.socket] = f"up {duration(uptime)}"
    return uptimes
