"""``sprag nodes``: the nodes of an app, and what each runs once of all."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client
from sprag_cli.app.find import find_app
from sprag_cli.app.told import Node, count_of, list_of, number_of, text_of
from sprag_cli.term import deep_json
from sprag_cli.term.cells import cell_len, cut, pad
from sprag_cli.term.output import painted, write
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import Charset, Line, Tone
from sprag_cli.term.words import counted, duration, seconds, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable

_GAP: Final = 2
_TITLES: Final = ("NODE", "STATE", "SEEN", "ADDRESS", "TTL", "GEN", "RUNS")
_FALLS: Final = ("GEN", "TTL", "ADDRESS", "SEEN")
"""What is left out as the window narrows, first to last."""
_RUNS_LEAST: Final = 12
_PART: Final = re.compile(r"(.+)/(\d{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesOptions:
    """The options of ``sprag nodes``; `commands` explains them, and has their defaults."""

    json: bool
    ascii: bool
    app: str | None
    timeout: float


def show(options: NodesOptions) -> int:
    """Carry out ``sprag nodes`` and return the exit code.

    Raises:
        CommandError: There is nothing to show; the error says why.
    """
    client = Client(find_app(options.app), timeout=options.timeout)
    answer = client.ask("/v1/nodes")
    if options.json:
        write(sys.stdout, deep_json.dumps(answer, indent=2) + "\n")
    else:
        screen = screen_of(sys.stdout, ascii_only=options.ascii)
        write(sys.stdout, painted(render(answer, screen.width, screen.charset), screen))
    return ExitCode.WELL if all(map(is_well, list_of(answer, "nodes"))) else ExitCode.FAILED


def is_well(node: Node) -> bool:
    """Tell whether a node is up, and has answered."""
    return text_of(node, "state") == "up" and node.get("answered") is True


def summary(answer: Node) -> str:
    """Say how many nodes there are, and how many of them are lost: ``3 nodes, 1 lost``."""
    nodes = list_of(answer, "nodes")
    lost = sum(text_of(each, "state") == "lost" for each in nodes)
    silent = sum(text_of(each, "state") != "lost" and not is_well(each) for each in nodes)
    parts = [counted(len(nodes), "node")]
    parts += [f"{lost} lost"] if lost else []
    parts += [f"{silent} without an answer"] if silent else []
    return ", ".join(parts)


def render(answer: Node, width: int, charset: Charset) -> list[Line]:
    """Draw the nodes as a table.

    Args:
        answer: The answer of ``/v1/nodes``.
        width: Cells per line; columns fall away.
        charset: The characters to draw with.
    """
    nodes = list_of(answer, "nodes")
    engines = {text_of(each, "engine") for each in nodes} - {""}
    engine = text_of(answer, "engine") or "none seen yet"
    head = f"{text_of(answer, 'app')}: {summary(answer)}{charset.between}engine {engine}"
    lines: list[Line] = [
        [(line, Tone.PLAIN)] for line in wrapped(charset.safe(head), max(width, 1))
    ]
    if why := text_of(answer, "why_not"):
        seen = number_of(answer, "seen")
        age = "" if seen is None else f" (seen {duration(seen)} ago)"
        lines += [[(line, Tone.BAD)] for line in wrapped(charset.safe(f"{why}{age}"), width)]
    rows = [_cells(each, charset) for each in nodes]
    lines += _table(rows, nodes, width, charset)
    if len(engines) > 1:
        for each in nodes:
            if other := text_of(each, "engine"):
                said = f"{text_of(each, 'name')} is on {other}"
                lines.append([(cut(charset.safe(said), width, charset.ellipsis), Tone.BAD)])
    return charset.lines(lines)


def _table(
    rows: list[dict[str, str]], nodes: list[Node], width: int, charset: Charset
) -> list[Line]:
    sizes = {
        title: max([cell_len(title), *(cell_len(row[title]) for row in rows)])
        for title in _TITLES
        if title == "NODE" or any(row[title] for row in rows)
    }
    runs = sizes.pop("RUNS", 0)

    def room() -> int:
        return width - 2 - sum(sizes.values()) - _GAP * len(sizes)

    for title in _FALLS:
        if room() >= min(runs, _RUNS_LEAST):
            break
        sizes.pop(title, None)
    left = max(room(), 0)
    header = "".join(pad(title, size + _GAP) for title, size in sizes.items())
    header = f"  {header}{'RUNS' if runs and left >= len('RUNS') else ''}".rstrip()
    lines: list[Line] = [[(cut(header, width, charset.ellipsis), Tone.DIM)]]
    for row, node in zip(rows, nodes, strict=True):
        is_up, tone = is_well(node), Tone.GOOD if is_well(node) else Tone.BAD
        text = "".join(pad(row[title], size + _GAP) for title, size in sizes.items())
        text = cut((text + cut(row["RUNS"], left, charset.ellipsis)).rstrip(), width - 2, "")
        symbol = charset.symbol("running" if is_up else "")
        lines.append([(f"{symbol} ", tone), (text, Tone.PLAIN if is_up else Tone.BAD)])
    return lines


def _cells(node: Node, charset: Charset) -> dict[str, str]:
    age, ttl = number_of(node, "age"), number_of(node, "ttl")
    said = {
        "NODE": text_of(node, "name"),
        "STATE": _state(node),
        "SEEN": "" if age is None else f"{duration(age)} ago",
        "ADDRESS": text_of(node, "address"),
        "TTL": seconds(ttl) if ttl else "",
        "GEN": str(count_of(node, "generation")),
        "RUNS": runs_text(text_of(each, "name") for each in list_of(node, "runs")),
    }
    return {title: charset.safe(text) for title, text in said.items()}


def _state(node: Node) -> str:
    state, standing = text_of(node, "state"), text_of(node, "standing")
    if state == "up" and standing not in ("", "held"):
        state = {"over": "lease lost"}.get(standing, standing)
    if node.get("here") is True:
        return f"{state}, this one"
    if state == "up" and node.get("answered") is not True:
        return "no answer"
    return state


def runs_text(names: Iterable[str]) -> str:
    """Say what a node runs, partitions by their numbers: ``billing, carts 0-15 20``."""
    whole: list[str] = []
    parts: dict[str, list[int]] = {}
    for name in names:
        if (found := _PART.fullmatch(name)) is not None:
            parts.setdefault(found[1], []).append(int(found[2]))
        else:
            whole.append(name)
    said = [f"{name} {_ranges(sorted(numbers))}" for name, numbers in sorted(parts.items())]
    return ", ".join([*sorted(whole), *said])


def _ranges(numbers: list[int]) -> str:
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return " ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)
