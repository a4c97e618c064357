"""Which services a command is about: the same selectors for all of them.

- a path, full (``shop/fleet/courier``) or from the root's children on (``fleet/courier``); with a
  slash in front only the latter (``/fleet/courier``), and ``/`` is the app itself;
- a glob: ``fleet/*`` for one level, ``fleet/**`` for all below, ``*/cour?er``;
  never for the app itself;
- ``--failed``: of those, and of all below them, the ones that have failed.
"""

from __future__ import annotations

import re

from sprag._exit_codes import ExitCode
from sprag_cli.app.defaults import ANSWERING
from sprag_cli.app.told import NoSuchService, children_of, find, is_failed, located, text_of
from sprag_cli.term import deep_json
from sprag_cli.term.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from sprag_cli.app.client import Client
    from sprag_cli.app.told import Node

NOTHING_FAILED: Final = "nothing is failed\n"
"""What is said where ``--failed`` chooses nothing."""
_SPECIAL: Final = frozenset("*?[")


class Asked:
    """The options of all commands that are about services of a running app.

    `commands.options` explains them. No dataclass: to load what makes these is an eighth of a
    command's start.
    """

    paths: tuple[str, ...] = ()
    failed: bool = False
    json: bool = False
    app: str | None = None
    timeout: float = ANSWERING

    def __init__(self, **given: Any) -> None:
        """Take what is given, by name."""
        vars(self).update(given)


class NoMatch(CommandError):
    """Raised when a glob matches no service."""

    exit_code = ExitCode.NOT_FOUND

    def __init__(self, pattern: str) -> None:
        """Say which, and how globs work."""
        super().__init__(
            f"no service matches {pattern!r} — '*' stands for one level, '**' for all below "
            "— 'sprag tree' shows all"
        )


class SeveralNodes(CommandError):
    """Raised when paths of several nodes are given where they cannot be shown together."""

    exit_code = ExitCode.USAGE

    def __init__(self, nodes: list[str]) -> None:
        """Say which."""
        said = ", ".join(each or "this one" for each in nodes)
        super().__init__(
            f"paths at several nodes ({said}) — one node at a time, or all with --cluster"
        )


def is_glob(pattern: str) -> bool:
    """Tell whether *pattern* can stand for several services."""
    return not _SPECIAL.isdisjoint(pattern)


def chosen(client: Client, patterns: Sequence[str], *, failed: bool = False) -> list[str]:
    """Return the paths of the services that *patterns* stand for; ``""``, the root, without any.

    The tree is asked for only where a pattern may stand for several of them: a path is the
    app's to look up, in a tree of any size.

    Raises:
        CommandError: There is no such service.
    """
    if not failed and not any(map(is_glob, patterns)):
        return list(dict.fromkeys(patterns)) or [""]
    found: dict[str, None] = {}
    for node in dict.fromkeys(map(node_of, patterns)) or [""]:
        of_node = [each for each in patterns if node_of(each) == node]
        root, meant = tree_of(client, of_node)
        before = f"{text_of(root, 'node')}:" if text_of(root, "node") else ""
        for path, _ in select(root, meant, failed=failed):
            found[f"{before}{_unmistakable(path, root)}"] = None
    return list(found)


def node_of(pattern: str) -> str:
    """Return the node that *pattern* may have in front, ``n2`` of ``n2:shop/mail``; "" for none."""
    node, colon, _ = pattern.partition("/")[0].partition(":")
    return node if colon and not is_glob(node) else ""


def tree_of(client: Client, patterns: Sequence[str]) -> tuple[Node, list[str]]:
    """Return the tree that *patterns* are about, and what they are called in it.

    A service here whose name has a colon in it looks like one of another node's.

    Raises:
        CommandError: There is no such node, or several are meant.
    """
    nodes = list(dict.fromkeys(map(node_of, patterns)))
    if not any(nodes):
        return client.tree(), list(patterns)
    try:
        if len(nodes) > 1:
            raise SeveralNodes(nodes)
        root = client.tree(nodes[0])
    except CommandError:
        root = client.tree()
        try:
            select(root, patterns)
        except CommandError:
            pass
        else:
            return root, list(patterns)
        raise
    return root, [each.partition(":")[2] or "/" for each in patterns]


def _unmistakable(path: str, root: Node) -> str:
    """Return a full path so that it can mean nothing else, where it could."""
    name, _, relative = path.partition("/")
    is_doubtful = any(text_of(child, "name") == name for child in children_of(root))
    return f"/{relative}" if is_doubtful else path


def is_one(patterns: Sequence[str], *, failed: bool = False) -> bool:
    """Tell whether the user has named exactly one service; no name at all is the root's."""
    return len(patterns) < 2 and not failed and not any(map(is_glob, patterns))


def as_json(answers: Sequence[Node], *, one: bool) -> str:
    """Return one answer as an object, several as an array."""
    value: Any = answers[0] if one else list(answers)
    return deep_json.dumps(value, indent=2) + "\n"


def select(root: Node, patterns: Sequence[str], *, failed: bool = False) -> list[tuple[str, Node]]:
    """Return the services that *patterns* stand for, with their full paths, each once.

    Args:
        root: The tree.
        patterns: Paths and globs. None at all stands for the root.
        failed: Take the failed ones at and below them instead.

    Raises:
        NoSuchService: A path leads nowhere.
        AmbiguousPath: A path can mean two of them.
        NoMatch: A glob matches nothing.
    """
    places = list(located(root))
    chosen: dict[int, tuple[str, Node]] = {}
    for pattern in patterns or ["/"]:
        for path, node in _matching(root, pattern, places):
            if not failed:
                chosen[id(node)] = path, node
                continue
            below = f"{path}/"
            for other, each in places:
                if is_failed(each) and (other == path or other.startswith(below)):
                    chosen[id(each)] = other, each
    return list(chosen.values())


def _matching(root: Node, pattern: str, places: list[tuple[str, Node]]) -> list[tuple[str, Node]]:
    try:
        node = find(root, pattern)
    except NoSuchService:
        if not is_glob(pattern):
            raise
    else:
        return [(path, each) for path, each in places if each is node]
    matches = matcher(pattern)
    found = [(path, node) for path, node in places if matches(path) and node is not root]
    if not found:
        raise NoMatch(pattern)
    return found


class matcher:  # noqa: N801 - used as a function
    """Tells whether a full path is meant by a path or glob, given in full or from the root on."""

    def __init__(self, pattern: str) -> None:
        """Compile *pattern*."""
        self._regex = re.compile(_translated(pattern.strip("/")))
        self._is_from_root = pattern.startswith("/")
        self._may_be_root = not is_glob(pattern)

    def __call__(self, path: str) -> bool:
        """Tell whether *path* is meant."""
        _, slash, relative = path.partition("/")
        if self._regex.fullmatch(relative) and (slash or self._is_from_root):
            return True
        if self._is_from_root or not (slash or self._may_be_root):
            return False
        return self._regex.fullmatch(path) is not None

    def covers(self, path: str) -> bool:
        """Tell whether *path* is meant, or lies below one that is."""
        parts = path.split("/")
        return any(self("/".join(parts[:length])) for length in range(1, len(parts) + 1))


def _translated(pattern: str) -> str:
    """Return a regular expression for a glob; a slash is matched by ``**`` alone."""
    out: list[str] = []
    place = 0
    while place < len(pattern):
        letter = pattern[place]
        place += 1
        if letter == "*":
            if pattern[place : place + 1] == "*":
                place += 1
                out.append(".*")
            else:
                out.append("[^/]*")
        elif letter == "?":
            out.append("[^/]")
        elif letter == "[" and (end := _end_of_set(pattern, place)) > 0:
            out.append(_one_of(pattern[place:end]))
            place = end + 1
        else:
            out.append(re.escape(letter))
    return "".join(out)


_NOT: Final = ("!", "^")


def _end_of_set(pattern: str, place: int) -> int:
    """Return where the set ends that begins at *place*; a bracket that comes first is of it."""
    return pattern.find("]", place + 1 + pattern.startswith(_NOT, place))


def _one_of(inside: str) -> str:
    """Return a regular expression for a set; in a range that runs backwards there is nothing."""
    is_negated = inside.startswith(_NOT)
    left = inside[is_negated:]
    out: list[str] = []
    while left:
        first, dash, last = left[0], left[1:2], left[2:3]
        is_range = dash == "-" and last != ""
        if not is_range:
            out.append(re.escape(first))
        elif first <= last:
            out.append(f"{re.escape(first)}-{re.escape(last)}")
        left = left[3 if is_range else 1 :]
    if not out:
        return "[^/]" if is_negated else "(?!)"
    return f"(?!/)[{'^' if is_negated else ''}{''.join(out)}]"
