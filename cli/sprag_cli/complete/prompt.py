"""Completion of live paths and apps at a prompt: quick, and silent when there is nothing to say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, cast

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from sprag_cli.app.told import Node

_PATIENCE: Final = 0.3
"""Seconds that a press of the tab key may take."""


class ServicePath(click.ParamType[str]):
    """The path of a service of a running app."""

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path that was typed: UTF-8, whatever the locale says."""
        del param, ctx
        return os.fsencode(value).decode(errors="replace")

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the live paths that begin with *incomplete*, one level deep.

        Where there is one only, those below it too: so the shell does not put a space behind
        a service that has children.
        """
        del param
        from click.shell_completion import CompletionItem

        try:
            found = _paths(ctx.params, incomplete)
            if len(found) == 1 and found[0].get("has_children"):
                found += _paths(ctx.params, f"{found[0]['path']}/")
        except Exception:  # noqa: BLE001 - a prompt is no place for an error
            return []
        return [
            CompletionItem(path, help=f"{each.get('class', '')} {each.get('state', '')}".strip())
            for each in found
            if isinstance(path := each.get("path"), str)
        ]


class AppName(click.ParamType[str]):
    """The name of a running app; also its pid, or the path of its socket."""

    name = "app"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names of the apps that run, and the pids where a name is not enough."""
        del ctx, param
        from click.shell_completion import CompletionItem

        from sprag_cli.app.find import all_apps

        try:
            found = all_apps()
            apps = found.apps + found.others
        except Exception:  # noqa: BLE001 - a prompt is no place for an error
            return []
        names = [app.name for app in apps]
        said = [app.name if names.count(app.name) == 1 else str(app.pid) for app in apps]
        return [
            CompletionItem(value, help=str(app))
            for value, app in zip(said, apps, strict=True)
            if value.startswith(incomplete)
        ]


class FileName(click.ParamType[str]):
    """The path of a file.

    Args:
        patterns: Names of files that are offered, as globs; directories always are.
    """

    name = "file"

    def __init__(self, *patterns: str) -> None:
        self._patterns = patterns

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the files and directories that begin with *incomplete*.

        Where there is one directory only, what is in it too, as for paths of services.
        """
        del ctx, param
        from click.shell_completion import CompletionItem

        found = self._beginning(incomplete)
        if len(found) == 1 and found[0].endswith("/"):
            found += self._beginning(found[0])
        return [CompletionItem(each) for each in found]

    def _beginning(self, begun: str) -> list[str]:
        from fnmatch import fnmatchcase
        from pathlib import Path

        folder, slash, name = begun.rpartition("/")
        found: list[str] = []
        try:
            for each in sorted(Path(folder + slash or ".").iterdir()):
                is_hidden = each.name.startswith(".") and not name.startswith(".")
                if is_hidden or not each.name.startswith(name):
                    continue
                if each.is_dir():
                    found.append(f"{folder}{slash}{each.name}/")
                elif any(fnmatchcase(each.name, pattern) for pattern in self._patterns):
                    found.append(f"{folder}{slash}{each.name}")
        except OSError:  # a prompt is no place for an error
            return []
        return found


def _paths(params: dict[str, Any], prefix: str) -> list[Node]:
    from sprag_cli.app.client import Client
    from sprag_cli.app.find import Found, all_apps, choose

    asked = params.get("app") or os.environ.get("SPRAG_APP") or None
    if asked is not None and "/" in asked:
        app = choose(Found(""), asked)
    else:
        app = choose(all_apps(), asked)
    told = Client(app, timeout=_PATIENCE).ask("/v1/paths", query={"prefix": prefix})
    paths = told.get("paths")
    return cast("list[Node]", paths) if isinstance(paths, list) else []
