"""``sprag observe``: finds the apps, and serves the page about them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sprag._exit_codes import ExitCode
from sprag.control.place import make_private, runtime_directory
from sprag_cli.app.elsewhere import chosen
from sprag_cli.app.find import all_apps, find_app
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import put

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sprag_cli.app.client import RunningApp


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveOptions:
    """The options of ``sprag observe``; `commands` explains them, and has their defaults."""

    app: str | None
    port: int
    write: bool
    browser: bool


class NoPort(CommandError):
    """Raised when nobody can listen at the port."""

    exit_code = ExitCode.FAILED

    def __init__(self, reason: str) -> None:
        """Say why, and what to do."""
        super().__init__(f"{reason} — give another one with --port, or none")


class FarAway(CommandError):
    """Raised when the apps of another machine are meant: a browser is not there."""

    exit_code = ExitCode.USAGE

    def __init__(self, host: object) -> None:
        """Say how to get there."""
        super().__init__(
            "-H is not for 'observe' — run it on that machine, and forward its port: "
            "ssh -L 8421:127.0.0.1:8421 HOST sprag observe --no-browser --port 8421",
            f"  HOST is {host}",
        )


def observe(options: ObserveOptions) -> int:
    """Carry out ``sprag observe``; serves until a signal.

    Raises:
        CommandError: There is no such app, or the port is taken; or it is elsewhere.
    """
    if (remote := chosen()) is not None:
        raise FarAway(remote)
    from sprag.observer.bridge import Bridge, PortTaken, Sockets, serve

    first = find_app(options.app) if options.app is not None else None
    directory = Path(runtime_directory())
    try:
        make_private(directory)
    except OSError as error:
        raise CommandError(str(error)) from None
    try:
        bridge = Bridge(Sockets(looker(first)), port=options.port, write=options.write)
    except PortTaken as taken:
        raise NoPort(str(taken)) from None
    serve(bridge, directory, lambda text: put(sys.stdout, f"{text}\n"), browser=options.browser)
    return ExitCode.WELL


def looker(only: RunningApp | None) -> Callable[[], Sequence[tuple[str, int | None, Path]]]:
    """Return what looks for apps.

    Args:
        only: The one that was asked for: it, and who is called alike after its end; None: all.
    """

    def look() -> list[tuple[str, int | None, Path]]:
        try:
            found = all_apps()
        except CommandError:  # others may write to the directory now: nobody there is trusted
            return []
        apps = [(app.name, app.pid, Path(app.socket)) for app in found.apps + found.others]
        if only is None:
            return apps
        itself = [each for each in apps if each[2] == Path(only.socket)]
        return itself or [each for each in apps if each[0] == only.name]

    return look
