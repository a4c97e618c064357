"""No two modules import each other, not even for annotations, and not by way of others."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sprag
import sprag_cli
import sprag_supervisor

if TYPE_CHECKING:
    from types import ModuleType

PACKAGES: list[ModuleType] = [sprag, sprag_cli, sprag_supervisor]
FROM_OUTSIDE = {"__main__.py", "testing/plugin.py"}
"""Loaded by Python and by pytest: nobody in the package knows them."""


def imports(package: ModuleType) -> dict[str, set[str]]:
    """Return for each module of *package* which of its modules it imports, wherever in it.

    A package's own `__init__`, which hands on what lies in it, is a face, and left out.
    """
    assert package.__file__ is not None
    root = Path(package.__file__).parent
    files = {
        ".".join([root.name, *path.relative_to(root).with_suffix("").parts]): path
        for path in root.rglob("*.py")
        if path.name != "__init__.py"
    }
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                wanted.add(node.module)
                wanted.update(f"{node.module}.{alias.name}" for alias in node.names)
        found[module] = (wanted & files.keys()) - {module}
    return found


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_there_is_no_circle_of_imports(package: ModuleType) -> None:
    graph = imports(package)
    assert any(graph.values())
    assert list(TopologicalSorter(graph).static_order())


def test_a_circle_would_be_found() -> None:
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_no_module_of_a_package_asks_its_face_for_what_lies_in_it(package: ModuleType) -> None:
    """Else all that the face hands on would reach it, and be reached by it."""
    assert package.__file__ is not None
    root = Path(package.__file__).parent
    asked = [
        f"{path.relative_to(root)}: {alias.name}"
        for path in root.rglob("*.py")
        if path != root / "__init__.py" and str(path.relative_to(root)) not in FROM_OUTSIDE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == package.__name__
        for alias in node.names
        if not any(root.joinpath(alias.name + end).exists() for end in ("", ".py"))
    ]
    assert asked == []
