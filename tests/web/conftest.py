"""Apps with routes: in this process for a test client, and as real processes."""

from __future__ import annotations

import itertools
import sys
from contextlib import ExitStack
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from processes import run
from serving import Served
from werkzeug.test import Client

from sprag import App

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_numbers = itertools.count()


class Shop:
    """An app whose files a test has written, and a client of it.

    Attributes:
        name: The name of its package.
        folder: The package's folder.
        app: The app itself; started by `get` and its like.
    """

    def __init__(self, folder: Path, files: dict[str, str], **options: Any) -> None:
        self.name = folder.name
        self.folder = folder
        (folder / "__init__.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        self.app = App(**{"routes": f"{self.name}.routes", "name": "shop", **options})

    def start(self) -> Client:
        """Start the app and return a client."""
        self.app.start()
        return Client(self.app.wsgi)

    @property
    def client(self) -> Client:
        """A client of the app, started on first use."""
        if self.app.snapshot().state.value == "new":
            self.app.start()
        return Client(self.app.wsgi)

    def ask(self, path: str, method: str = "GET", accept: str = "*/*", **options: Any) -> Any:
        """Send a request and return Werkzeug's test response."""
        headers = {"Accept": accept, **options.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, buffered=True, **options)

    def page(self, path: str, **options: Any) -> str:
        """Return what a browser gets."""
        answer = self.ask(path, accept="text/html,application/xhtml+xml,*/*;q=0.8", **options)
        assert answer.content_type == "text/html; charset=utf-8"
        text: str = answer.text
        return text


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Shop]]:
    """Make an app from the text of its ``routes.py``, and more files by name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made: list[Shop] = []

    def make(routes: str = "", files: dict[str, str] | None = None, **options: Any) -> Shop:
        head = "from sprag import *\nfrom sprag import Controller, HTTPError, redirect, shell\n\n"
        named = {"routes.py": head + dedent(routes)} if routes else {}
        folder = tmp_path / f"shop_{next(_numbers)}"
        made.append(Shop(folder, {**named, **(files or {})}, **options))
        return made[-1]

    yield make
    for one in made:
        one.app.stop()
        for name in [each for each in sys.modules if each.split(".")[0] == one.name]:
            del sys.modules[name]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Run an app from the text of its routes, with ``sprag run``."""
    with ExitStack() as stack:

        def serve(
            routes: str, limits: str = "", *arguments: str, app: str = "", **options: Any
        ) -> Served:
            head = "from sprag import Controller, HTTPError, redirect\nimport gevent\n"
            (tmp_path / "routes.py").write_text(head + dedent(routes))
            (tmp_path / "app.py").write_text(
                "from sprag import App, Limits, Service\nimport gevent\n"
                + dedent(app or f"app = App(routes='routes', name='shop', limits=Limits({limits}))")
            )
            process = run(tmp_path, "--port", "0", *arguments, python=["-W", "error"], **options)
            return Served(stack.enter_context(process))

        yield serve
