"""Ask the app about each of the services that the user has chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sprag_cli import _json
from sprag_cli._node import children_of, text_of
from sprag_cli._select import is_glob, select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sprag_cli._client import Client
    from sprag_cli._node import Node


def chosen(client: Client, patterns: Sequence[str], *, failed: bool = False) -> list[str]:
    """Return the paths of the services that *patterns* stand for.

    The tree is asked for only where a pattern may stand for several of them: a path is the
    app's to look up, in a tree of any size.

    Raises:
        CommandError: There is no such service.
    """
    if patterns and not failed and not any(map(is_glob, patterns)):
        return list(dict.fromkeys(patterns))
    root = client.tree()
    return [_unmistakable(path, root) for path, _ in select(root, patterns, failed=failed)]


def _unmistakable(path: str, root: Node) -> str:
    """Return a full path so that it can mean nothing else, where it could."""
    name, _, relative = path.partition("/")
    is_doubtful = any(text_of(child, "name") == name for child in children_of(root))
    return f"/{relative}" if is_doubtful else path


def is_one(patterns: Sequence[str], *, failed: bool = False) -> bool:
    """Tell whether the user has named exactly one service."""
    return len(patterns) == 1 and not failed and not is_glob(patterns[0])


def as_json(answers: Sequence[Node], *, one: bool) -> str:
    """Return one answer as an object, several as an array."""
    value: Any = answers[0] if one else list(answers)
    return _json.dumps(value, indent=2) + "\n"
