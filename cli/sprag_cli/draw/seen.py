"""``sprag tree --cluster``: the trees of all nodes, as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sprag._exit_codes import ExitCode
from sprag_cli.app.select import is_glob
from sprag_cli.app.told import list_of, mapping_of, text_of
from sprag_cli.draw.nodes import is_well, summary
from sprag_cli.term.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sprag_cli.app.client import Client
    from sprag_cli.app.told import Node


class OnePath(CommandError):
    """Raised when more than a path is asked for of all nodes."""

    exit_code = ExitCode.USAGE

    def __init__(self) -> None:
        """Say what can be asked for."""
        super().__init__(
            "--cluster takes one path, and no glob — as in 'sprag tree --cluster fleet' "
            "— or ask a node: 'sprag tree \"n2:fleet/*\"'"
        )


def ask(client: Client, paths: Sequence[str]) -> Node:
    """Return what all nodes tell of their trees, or of what is below a path in each.

    Raises:
        CommandError: There is no cluster, or it is not one path.
    """
    if len(paths) > 1 or any(map(is_glob, paths)):
        raise OnePath
    return client.ask("/v1/tree", query={"cluster": 1, "path": paths[0] if paths else None})


def have_answered(answer: Node) -> bool:
    """Whether all that should be there are, and have told of their trees."""
    return all(map(is_well, list_of(answer, "nodes")))


def as_one(answer: Node) -> Node:
    """Return the trees of all nodes as one, with a node for each."""
    return {
        "name": text_of(answer, "app"),
        "class": "Cluster",
        "state": "running",
        "status": summary(answer),
        "children": [_tree(each) for each in list_of(answer, "nodes")],
    }


def _tree(node: Node) -> Node:
    name, tree = text_of(node, "name"), mapping_of(node, "tree")
    if tree:
        return {**tree, "name": f"{name}:{text_of(tree, 'path') or text_of(tree, 'name')}"}
    state = "lost" if text_of(node, "state") == "lost" else "not shown"
    return {
        "name": f"{name}:",
        "state": state,
        "last_failure": {"message": text_of(node, "error")},
        "children": [],
    }
