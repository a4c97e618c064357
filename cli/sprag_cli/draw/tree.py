"""``sprag tree``: the living tree of a running app."""

from __future__ import annotations

import sys
import time

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client, TimedOut
from sprag_cli.app.defaults import EVERY
from sprag_cli.app.find import SeveralApps, find_app
from sprag_cli.app.select import NOTHING_FAILED, Asked, is_glob, is_one, select, tree_of
from sprag_cli.app.told import (
    Node,
    below,
    cut,
    find,
    full_path,
    is_failed,
    only,
    only_failed,
    text_of,
)
from sprag_cli.draw.render import render
from sprag_cli.term import deep_json
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import complain_at_length, discard, painted, write
from sprag_cli.term.screen import Screen, screen_of
from sprag_cli.term.words import counted, wrapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from sprag_cli.app.client import RunningApp
    from sprag_cli.draw.watch import Frame

_ROOT_KEYS = ("node", "app", "pid", "schema", "log_queue", "broadcasts", "crash_reports")


class TreeOptions(Asked):
    """The options of ``sprag tree``; `commands.tree` explains them."""

    watch: bool = False
    interval: float = EVERY
    depth: int | None = None
    cluster: bool = False
    ascii: bool = False


def show(options: TreeOptions, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Carry out ``sprag tree``.

    Args:
        options: What to show, and how.
        sleep: What waits between two looks with ``--watch``.

    Returns:
        The exit code.

    Raises:
        CommandError: There is nothing to show; the error says why.
    """
    is_of_one = bool(options.watch or options.cluster or options.paths)
    try:
        app = find_app(options.app, tells_ages=is_of_one)
    except SeveralApps as several:
        if is_of_one:
            raise
        return _show_all(several.apps, options)
    client = Client(app, timeout=options.timeout)
    if options.watch:
        return _watch(client, options, sleep)
    root, node, have_answered = _looked(client, options)
    shown = only_failed(node) if options.failed else node
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    write(sys.stdout, _text(root, node, shown, options, screen))
    has_failed = not have_answered or is_failed(node) or below(node).failed
    return ExitCode.FAILED if has_failed else ExitCode.WELL


def _show_all(apps: Sequence[RunningApp], options: TreeOptions) -> int:
    """Show the trees of several apps, one below the other; one that does not answer, by a word."""
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    trees: list[str] = []
    is_well = True
    for app in apps:
        try:
            root, node, _ = _looked(Client(app, timeout=options.timeout), options)
        except CommandError as error:
            complain_at_length(error.report())
            is_well = False
            continue
        is_well = is_well and not is_failed(node) and not below(node).failed
        shown = only_failed(node) if options.failed else node
        text = _text(root, node, shown, options, screen)
        if options.json:
            trees.append(text.rstrip("\n"))
        else:
            trees.append(f"{screen.charset.safe(str(app))}\n{text}")
    if options.json:
        write(sys.stdout, f'{{"apps": [{", ".join(trees)}]}}\n')
    else:
        write(sys.stdout, "\n".join(trees))
    return ExitCode.WELL if is_well else ExitCode.FAILED


def _looked(client: Client, options: TreeOptions) -> tuple[Node, Node, bool]:
    """Return what was told, the tree to show of it, and whether all that should have answered.

    Raises:
        CommandError: There is no such app, node or service.
    """
    if options.cluster:
        from sprag_cli.draw import seen

        told = seen.ask(client, options.paths)
        return told, seen.as_one(told), seen.have_answered(told)
    root, paths = tree_of(client, options.paths)
    node = _selected(root, paths)
    if text_of(root, "node") and not options.json:
        node = {**node, "name": full_path({**node, "node": root["node"]})}
    return root, node, True


def _selected(root: Node, paths: Sequence[str]) -> Node:
    """Return the tree to show: a part of *root*, or one without the branches not chosen.

    Raises:
        CommandError: There is no such service.
    """
    if not paths:
        return root
    if is_one(paths):
        return find(root, paths[0])
    return only(root, [node for _, node in select(root, paths)]) or root


def _text(root: Node, node: Node, shown: Node | None, options: TreeOptions, screen: Screen) -> str:
    if options.json and options.cluster:
        return deep_json.dumps(root, indent=None if options.watch else 2) + "\n"
    if options.json:
        return _as_json(root, node, shown, options)
    if shown is None:
        if len(options.paths) > 1 or any(map(is_glob, options.paths)):
            return NOTHING_FAILED
        services = below(node).services
        among = f" and the {counted(services, 'service')} below it" if services else ""
        said = f"nothing is failed: {screen.charset.safe(text_of(node, 'name'))}{among}"
        return "".join(f"{line}\n" for line in wrapped(said, screen.width))
    lines = render(
        shown, width=screen.width, now=time.time(), charset=screen.charset, depth=options.depth
    )
    return painted(lines, screen)


def _as_json(root: Node, node: Node, shown: Node | None, options: TreeOptions) -> str:
    if shown is None:
        shown = {**node, "children": []}
    if options.depth is not None:
        shown = cut(shown, options.depth)
    shown = {**{key: root[key] for key in _ROOT_KEYS if key in root}, **shown}
    return deep_json.dumps(shown, indent=None if options.watch else 2) + "\n"


def _watch(client: Client, options: TreeOptions, sleep: Callable[[float], None]) -> int:
    from sprag_cli.draw.watch import on_pipe, on_terminal

    stream = sys.stdout
    frames = _frames(client, options, stream, sleep)
    try:
        if screen_of(stream).moves and not options.json:
            on_terminal(frames, stream, client.app, options.interval)
        else:
            on_pipe(frames, stream)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        discard(stream)
    return ExitCode.WELL


def _frames(
    client: Client, options: TreeOptions, stream: TextIO, sleep: Callable[[float], None]
) -> Iterator[Frame]:
    """Look again and again; an app too busy to answer is shown as it was, for how long."""
    from sprag_cli.draw.watch import Frame, facts_of

    frame: Frame | None = None
    while True:
        try:
            root, node, _ = _looked(client, options)
        except TimedOut:
            if frame is None:
                raise
            frame = frame.late(options.timeout)
        else:
            screen = screen_of(stream, ascii_only=options.ascii)
            shown = only_failed(node) if options.failed else node
            text = _text(root, node, shown, options, screen)
            facts = () if shown is None else facts_of(shown, options.depth)
            frame = Frame(text, facts, screen)
        yield frame
        sleep(options.interval)
