"""Draw the tree that a file declares, for ``sprag up --dry-run``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from sprag_cli.term.cells import cell_len
from sprag_cli.term.plain import printable
from sprag_cli.term.style import Tone
from sprag_cli.term.words import counted, seconds
from sprag_cli.up.declared import Group, Program
from sprag_cli.up.kinds import is_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_cli.term.style import Charset, Line
    from sprag_cli.up.declared import Declared, Entry
    from sprag_cli.up.probes import Probe

_GAP: Final = "  "
_LEAST: Final = 10


def drawn(declared: Declared, *, width: int, charset: Charset) -> list[Line]:
    """Return the tree that would be, a line for each: its name, what it is, and how it is treated.

    Args:
        declared: What a file declares.
        width: Cells per line; what is longer is cut.
        charset: The characters to draw with.
    """
    rows = list(_rows(declared.root, charset))
    names = max(cell_len(guide + name) for guide, name, _ in rows)
    lines: list[Line] = []
    for guide, name, said in rows:
        left = guide + name
        room = max(width - names - len(_GAP), _LEAST)
        text = _cut(said, room, charset.ellipsis)
        pad = " " * (names - cell_len(left)) + _GAP
        lines.append([(guide, Tone.DIM), (name, Tone.NAME), (f"{pad}{text}".rstrip(), Tone.PLAIN)])
    return charset.lines(lines)


def _cut(text: str, room: int, ellipsis: str) -> str:
    while cell_len(text) > room:
        text = text[: min(len(text) - 2, room)].rstrip() + ellipsis
    return text


def _rows(root: Group, charset: Charset) -> Iterator[tuple[str, str, str]]:
    yield "", printable(root.name), _said(root, charset)
    pending: list[tuple[Entry, str, bool]] = _below(root, "")
    while pending:
        entry, above, is_last = pending.pop()
        name = printable(entry.name)
        yield above + (charset.last if is_last else charset.branch), name, _said(entry, charset)
        if isinstance(entry, Group):
            pending += _below(entry, above + (charset.blank if is_last else charset.through))


def _below(group: Group, above: str) -> list[tuple[Entry, str, bool]]:
    last = len(group.members) - 1
    return [(each, above, at == last) for at, each in enumerate(group.members)][::-1]


def _said(entry: Entry, charset: Charset) -> str:
    settings = entry.settings
    if isinstance(entry, Group):
        said = [str(settings.get("strategy", "one_for_one"))]
    elif isinstance(entry, Program):
        command = settings["command"]
        said = [command if isinstance(command, str) else shlex.join(command)]
    else:
        said = [settings["use"]]
    said += _marks(settings)
    return charset.between.join(map(printable, said))


def _marks(settings: Any) -> Iterator[str]:
    if (count := settings.get("replicas")) is not None:
        yield counted(count, "replica")
    if (port := settings.get("port")) is not None:
        yield f"port {port}"
    if (ready := settings.get("ready")) is not None:
        yield f"ready: {_probe(ready)}"
    if (alive := settings.get("alive")) is not None:
        yield f"alive: {_probe(alive)}"
    if (lifetime := settings.get("max_lifetime")) is not None:
        yield f"recycled after {seconds(lifetime)}"
    if needs := settings.get("needs"):
        names: dict[str, str] = needs if is_table(needs) else dict.fromkeys(needs, "ready")
        words = [each if state == "ready" else f"{each} {state}" for each, state in names.items()]
        yield f"needs {', '.join(words)}"
    if (restart := settings.get("restart", "permanent")) != "permanent":
        yield restart
    if settings.get("user") is not None:
        yield f"as {settings['user']}"
    if not settings.get("autostart", True):
        yield "not started"


def _probe(probe: Probe) -> str:
    if probe.kind == "line":
        return f"/{probe.value}/"
    if probe.kind == "command":
        return probe.value if isinstance(probe.value, str) else shlex.join(probe.value)
    return probe.kind if probe.value is None else f"{probe.kind} {probe.value}"
