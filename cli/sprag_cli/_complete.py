"""Completion of live paths at a prompt: quick, and silent when there is nothing to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from sprag_cli._node import Node

_PATIENCE: Final = 0.3
"""Seconds that a press of the tab key may take."""


class ServicePath(click.ParamType[str]):
    """The path of a service of a running app."""

    name = "path"

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


def _paths(params: dict[str, Any], prefix: str) -> list[Node]:
    import os
    from pathlib import Path

    from sprag_cli._client import Client
    from sprag_cli._discover import Found, choose, find_apps, runtime_directory

    asked = params.get("app") or os.environ.get("SPRAG_APP") or None
    if asked is not None and "/" in asked:
        app = choose(Found(Path()), asked)
    else:
        app = choose(find_apps(runtime_directory(os.environ, os.getuid())), asked)
    told = Client(app, timeout=_PATIENCE).ask("/v1/paths", query={"prefix": prefix})
    paths = told.get("paths")
    return cast("list[Node]", paths) if isinstance(paths, list) else []
