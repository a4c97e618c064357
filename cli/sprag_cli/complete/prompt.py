"""Completion of live paths and apps at a prompt: quick, and silent when there is nothing to say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, cast

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
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


def _paths(params: dict[str, Any], prefix: str) -> list[Node]:
    from pathlib import Path

    from sprag_cli.app.client import Client
    from sprag_cli.app.find import Found, all_apps, choose

    asked = params.get("app") or os.environ.get("SPRAG_APP") or None
    if asked is not None and "/" in asked:
        app = choose(Found(Path()), asked)
    else:
        app = choose(all_apps(), asked)
    told = Client(app, timeout=_PATIENCE).ask("/v1/paths", query={"prefix": prefix})
    paths = told.get("paths")
    return cast("list[Node]", paths) if isinstance(paths, list) else []
