"""Apps with routes: in this process for a test client, and as real processes."""

from __future__ import annotations

import itertools
import sys
from contextlib import ExitStack, contextmanager
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from processes import run
from serving import Served, Shop

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

_numbers = itertools.count()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Shop]]:
    """Make an app from the text of its ``routes.py``, and more files by name."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
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


@contextmanager
def serving_in(folder: Path) -> Generator[Callable[..., Served]]:
    with ExitStack() as stack:

        def serve(
            routes: str, limits: str = "", *arguments: str, app: str = "", **options: Any
        ) -> Served:
            head = "from sprag import Controller, HTTPError, current_service, redirect\n"
            head += "import gevent\n"
            (folder / "routes.py").write_text(head + dedent(routes))
            (folder / "app.py").write_text(
                "from sprag import App, Limits, Service\nimport gevent\n"
                + dedent(app or f"app = App(routes='routes', name='shop', limits=Limits({limits}))")
            )
            process = run(folder, "--port", "0", *arguments, python=["-W", "error"], **options)
            one = Served(stack.enter_context(process))
            stack.callback(one.close)
            return one

        yield serve


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Run an app from the text of its routes, with ``sprag run``."""
    with serving_in(tmp_path) as serve:
        yield serve


@pytest.fixture(scope="module")
def served_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """The same for an app that all tests of a file ask."""
    with serving_in(tmp_path_factory.mktemp("served")) as serve:
        yield serve
