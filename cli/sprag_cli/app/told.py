"""A node of the living tree, as an app tells it in JSON.

Everything but ``name`` and ``state`` is optional, and what is not understood is passed over: an
older command line reads a newer app. No function here recurses, so that no depth of tree can
reach the recursion limit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from itertools import islice

from sprag._exit_codes import ExitCode
from sprag_cli.record import Record
from sprag_cli.term import deep_json
from sprag_cli.term.errors import CommandError
from sprag_cli.term.plain import printable
from sprag_cli.term.words import counted, duration, seconds, seconds_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

Node = Mapping[str, object]

_NAMES_LISTED: Final = 6
_NAMES_COMPARED: Final = 1000
_ALIKE: Final = 3
_MESSAGE_MOST: Final = 2000


class NoSuchService(CommandError):
    """Raised when a path leads to no service of the tree."""

    exit_code = ExitCode.NOT_FOUND

    def __init__(self, path: str, parent: str, names: list[str], matches: list[str]) -> None:
        """Say where the path breaks off.

        Args:
            path: The path as it was given.
            parent: The path of the last service on the way that does exist.
            names: The names of that service's children.
            matches: The paths that look like the one given.
        """
        listed = ", ".join(names[:_NAMES_LISTED])
        if len(names) > _NAMES_LISTED:
            listed += f" and {len(names) - _NAMES_LISTED} more"
        held = f"{parent} has {listed or 'no children'}"
        remedy = f"did you mean {' or '.join(matches)}?" if matches else "'sprag tree' shows all"
        super().__init__(f"no service {path!r} — {held} — {remedy}")


class AmbiguousPath(CommandError):
    """Raised when a path can mean two services: the app, or a child, is called like the root."""

    exit_code = ExitCode.USAGE

    def __init__(self, path: str, root: str, first: str, second: str) -> None:
        """Say which two.

        Args:
            path: The path as it was given.
            root: The name of the root.
            first: The one, from the root's children on; ``""`` for the root itself.
            second: The other.
        """
        meant = [
            (f"{root}/{each}" if each else f"the app {root}", each) for each in (first, second)
        ]
        said = " or ".join(what for what, _ in meant)
        remedy = " or ".join(f"'/{each}' for {what}" for what, each in meant)
        super().__init__(f"{path!r} can mean {said}: write {remedy}")


class Below(Record):
    """How much is under a node: services, and failed ones among them."""

    services: int
    failed: int


def text_of(node: Node, key: str) -> str:
    """Return the text under *key*, or ``""`` if there is none."""
    value = node.get(key)
    return value if isinstance(value, str) else ""


def full_path(answer: Node) -> str:
    """Return the path of a service, with its node in front if that is another."""
    node, path = text_of(answer, "node"), text_of(answer, "path")
    return f"{node}:{path}" if node else path


def number_of(node: Node, key: str) -> float | None:
    """Return the number under *key*, or ``None`` if there is none that can be reckoned with."""
    value = node.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def count_of(node: Node, key: str) -> int:
    """Return the whole number under *key*, or 0 if there is none."""
    return int(number_of(node, key) or 0) if node.get(key) else 0  # which most are


def mapping_of(node: Node, key: str) -> Node:
    """Return the mapping under *key*, or an empty one if there is none."""
    value = node.get(key)
    return value if deep_json.is_object(value) else {}


def list_of(node: Node, key: str) -> list[Node]:
    """Return the mappings listed under *key*, or none if there is no list."""
    value = node.get(key)
    return list(filter(deep_json.is_object, value)) if deep_json.is_array(value) else []


def texts_of(node: Node, key: str) -> list[str]:
    """Return the texts listed under *key*, or none if there is no list."""
    value = node.get(key)
    return [each for each in value if isinstance(each, str)] if deep_json.is_array(value) else []


def failure_text(failure: Node) -> str:
    """Say what went wrong, on one line: ``ValueError: bad order 17``."""
    kind, message = text_of(failure, "type").rpartition(".")[2], text_of(failure, "message")
    message = message[:_MESSAGE_MOST]  # an exception may hold a whole document
    return printable(": ".join(filter(None, [kind, message])))


def held_text(node: Node, *, now: float) -> str:
    """Say what holds a service, and for how long still; "" if nothing does."""
    held = mapping_of(node, "held")
    path = text_of(held, "path")
    if not path:
        return ""
    if path != text_of(node, "path"):
        return f"held with {printable(path)}"
    left, by = seconds_to(text_of(held, "until"), now), number_of(held, "by")
    for_ = "" if left is None else f" for {duration(math.ceil(left))}"
    return f"held{for_}" if by is None else f"held{for_} by uid {by:g}"


def because_text(node: Node) -> str:
    """Say why a service is down, where neither its state nor its last failure tells; else ""."""
    if not (because := mapping_of(node, "down_because")):
        return ""
    by, other = text_of(because, "by"), text_of(because, "with").rpartition("/")[2]
    if by == "group":
        return f"with {other}" if text_of(node, "state") == "stopped" else f"restarts with {other}"
    if by == "parent":
        return f"with {other}"
    return _BECAUSE.get(by, "")


_BECAUSE: Final = {
    "operator": "by an operator",
    "code": "by the app itself",
    "ignored": "its on_start raised Ignore",
    "autostart": "not started by itself",
    "shutdown": "its significant children have ended",
    "recycled": "recycled",
}


def output_of(record: Node) -> str | None:
    """Return the line of a log record that is output of a program; None of any other record."""
    fields = mapping_of(record, "fields")
    if text_of(record, "event") == "output" and "line" in fields and "stream" in fields:
        return text_of(fields, "line")
    return None


def last_output_of(failure: Node, traceback: str) -> list[str]:
    """Return the last lines that a program has written, as its failure has them."""
    if text_of(failure, "type").rpartition(".")[2] not in _OF_PROGRAMS:
        return []
    _, _, after = traceback.partition("\nIts last output:\n")
    return [line.removeprefix("  ") for line in after.rstrip("\n").splitlines()]


_OF_PROGRAMS: Final = ("ProgramExited", "ProgramKilled", "FatalExit")


def limit_text(node: Node) -> str:
    """Say a restart limit: ``3 restarts within 5 s``; "" where there is none."""
    most, within = number_of(node, "max_restarts"), number_of(node, "max_seconds")
    if most is None:
        return ""
    return f"{counted(most, 'restart')} within {seconds(within, 'any time')}"


def children_of(node: Node) -> list[Node]:
    """Return the children of *node* in start order."""
    return list_of(node, "children")


def walk(root: Node, depth: int | None = None) -> Iterator[tuple[Node, list[bool]]]:
    """Go through a tree, parents before children.

    Args:
        root: Where to begin.
        depth: How many levels below the root to visit. ``None`` means all.

    Yields:
        The node and its trail: for each level from the root's children down to the node, whether
        the way goes through the last child. The list is one and the same, changed at each step.
    """
    trail: list[bool] = []
    pending: list[tuple[Node, int, bool]] = [(root, 0, True)]
    while pending:
        node, level, last = pending.pop()
        if level:
            del trail[level - 1 :]
            trail.append(last)
        yield node, trail
        if depth is None or level < depth:
            children = children_of(node)
            newest = len(children) - 1
            pending.extend(
                (children[index], level + 1, index == newest) for index in range(newest, -1, -1)
            )


def located(root: Node) -> Iterator[tuple[str, Node]]:
    """Go through a tree, parents before children, each with its full path."""
    pending = [(text_of(root, "name"), root)]
    while pending:
        path, node = pending.pop()
        yield path, node
        pending.extend(
            (f"{path}/{text_of(child, 'name')}", child) for child in reversed(children_of(node))
        )


def items_text(node: Node) -> list[str]:
    """Say what a pool of workers has to do and has done, as far as there is any; [] of others."""
    if not (items := mapping_of(node, "items")):
        return []
    return [f"{number} {key}" for key in _ITEMS if (number := count_of(items, key))]


_ITEMS: Final = ("queued", "running", "done", "poison", "dropped")


def state_text(node: Node) -> str:
    """Return the state of *node* in words: of one that stops and still works, that it drains."""
    state = text_of(node, "state")
    return f"{state} (draining)" if node.get("draining") is True else state


def is_failed(node: Node) -> bool:
    """Tell whether the node itself has failed."""
    return node.get("state") == "failed"


def below(node: Node) -> Below:
    """Count what is under *node*, without the node itself."""
    services = failed = 0
    for each, trail in walk(node):
        if trail:
            services += 1
            failed += is_failed(each)
    return Below(services, failed)


def find(root: Node, path: str) -> Node:
    """Return the node at *path*.

    Args:
        root: The root of the tree.
        path: A full path (``shop/fleet/courier``) or one from the root's children on
            (``fleet/courier``); the latter only with a slash in front (``/fleet/courier``).

    Raises:
        NoSuchService: The path leads nowhere. Names that look alike are listed.
        AmbiguousPath: It can be read both ways.
    """
    parts = [part for part in path.split("/") if part]
    name = text_of(root, "name")
    ways = [parts]
    if parts and parts[0] == name and not path.startswith("/"):
        ways.insert(0, parts[1:])
    ends = [_descend(root, way) for way in ways]
    found = [
        (way, node) for way, (node, walked) in zip(ways, ends, strict=True) if walked == len(way)
    ]
    if len(found) > 1:
        raise AmbiguousPath(path, name, *("/".join(way) for way, _ in found))
    if found:
        return found[0][1]
    # A root's name in front may also be the beginning of a relative path: which came further?
    best = 0 if ends[0][1] or _child(root, ways[-1][0]) is None else -1
    raise _nowhere(path, root, ways[best], ends[best][1])


def only_failed(root: Node) -> Node | None:
    """Return the tree without the branches in which nothing has failed.

    Returns:
        A copy that holds the failed services and the way to them, or ``None`` if there are none.
    """
    nodes, parents = _listed(root)
    return _with_ways(nodes, parents, [is_failed(node) for node in nodes])


def only(root: Node, chosen: Collection[Node]) -> Node | None:
    """Return the tree without the branches in which nothing is chosen.

    Returns:
        A copy that holds the chosen services, all below them, and the way to them; ``None`` if
        there are none.
    """
    nodes, parents = _listed(root)
    wanted = set(map(id, chosen))
    kept: list[bool] = []
    for node, parent in zip(nodes, parents, strict=True):
        kept.append(id(node) in wanted or (parent >= 0 and kept[parent]))
    return _with_ways(nodes, parents, kept)


def cut(root: Node, depth: int) -> Node:
    """Return a copy that ends *depth* levels below the root.

    A node whose children are left out says in ``hidden`` how many services are under it.
    """
    nodes, parents = _listed(root, depth)
    copy: list[dict[str, object]] = []
    for node, (_, trail) in zip(nodes, walk(root, depth), strict=True):
        own = dict(node)
        if len(trail) == depth and children_of(node):
            own["hidden"] = below(node).services
        copy.append(own)
    return _copy(copy, parents, [True] * len(copy))


def _child(node: Node, name: str) -> Node | None:
    return next((child for child in children_of(node) if text_of(child, "name") == name), None)


def _descend(node: Node, parts: list[str]) -> tuple[Node, int]:
    for walked, part in enumerate(parts):
        child = _child(node, part)
        if child is None:
            return node, walked
        node = child
    return node, len(parts)


def _nowhere(path: str, root: Node, parts: list[str], walked: int) -> NoSuchService:
    parent, _ = _descend(root, parts[:walked])
    names = [text_of(child, "name") for child in children_of(parent)]
    before = "/".join([text_of(root, "name"), *parts[:walked]])
    return NoSuchService(path, before, names, _alike(root, before, parts[walked:], names))


def _alike(root: Node, before: str, rest: list[str], names: list[str]) -> list[str]:
    """Return the paths that *rest*, which leads nowhere from *before* on, may have meant."""
    from difflib import get_close_matches

    near = get_close_matches(rest[0], names[:_NAMES_COMPARED], n=_ALIKE)
    if near:
        return [f"{before}/{name}" for name in near]
    same = (path for path, node in located(root) if text_of(node, "name") == rest[-1])
    return list(islice(same, _ALIKE))


def _listed(root: Node, depth: int | None = None) -> tuple[list[Node], list[int]]:
    nodes: list[Node] = []
    parents: list[int] = []
    way: list[int] = []
    for node, trail in walk(root, depth):
        del way[len(trail) :]
        parents.append(way[-1] if way else -1)
        way.append(len(nodes))
        nodes.append(node)
    return nodes, parents


def _with_ways(nodes: list[Node], parents: list[int], kept: list[bool]) -> Node | None:
    """Copy what is kept, and the way to it; *kept* is used up."""
    for index in range(len(nodes) - 1, 0, -1):
        kept[parents[index]] |= kept[index]
    return _copy(nodes, parents, kept) if kept[0] else None


def _copy(
    nodes: list[Node] | list[dict[str, object]], parents: list[int], kept: list[bool]
) -> Node:
    children: list[list[object]] = [[] for _ in nodes]
    copies: list[dict[str, object]] = []
    for index, node in enumerate(nodes):
        copies.append({**node, "children": children[index]})
        if kept[index] and index:
            children[parents[index]].append(copies[index])
    return copies[0]


def dropped_text(node: Node) -> str:
    """Return how much of the log is missing, "" for nothing. Only a root, or one service, says."""
    dropped = count_of(mapping_of(node, "log_queue"), "dropped")
    return f"{dropped:,} log record{'' if dropped == 1 else 's'} dropped" if dropped else ""


def lost_text(node: Node) -> str:
    """Return how many broadcasts are lost, "" for none. Only a root, or one service, says."""
    if not (counts := mapping_of(node, "broadcasts")):
        return ""
    lost = count_of(counts, "dropped") + count_of(counts, "missed")
    return f"{counted(lost, 'broadcast')} lost" if lost else ""


def untold_text(node: Node) -> str:
    """Return how many crashes `on_crash` was not told of, "" for none; likewise."""
    untold = count_of(mapping_of(node, "crash_reports"), "dropped")
    return f"{untold:,} crash{'' if untold == 1 else 'es'} not told" if untold else ""
