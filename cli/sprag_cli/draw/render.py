"""A tree as lines of text: a pure function of the tree, the width and the time.

A line holds these columns, as far as the tree has anything to say in them::

    tree  class  state  when  restarts  detail

The detail is what the service owns (greenlets, timers, listeners), then what earlier lives have
left behind, then its last failure.

What is owned is shown where there is room to spare. The other columns fall away as the window
narrows, in this order: class, detail, restarts, when, state. The tree column (guides, symbol,
name) stays. Before any of them falls, the tree column is cut to half of the width and the detail
to `_DETAIL_LEAST` cells; what is left over in the end goes back to names first, then to the
detail. No line is longer than the width. Where the detail has fallen away the state of a service
that runs and is not ready says that.

Guides may take half of the width. In a tree deeper than that all of them are held to a third: the
innermost levels are drawn, and a number says how many further levels lie above (``…988 ``).
"""

from __future__ import annotations

from sprag_cli.app.told import Node, walk
from sprag_cli.draw.row import Column, Row, row_of
from sprag_cli.term.cells import cell_len, cut, pad
from sprag_cli.term.style import UNICODE, Charset, Line, Tone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

_GAP: Final = 2
_LEVEL: Final = 3
_DETAIL_LEAST: Final = 24
_NAME_LEAST: Final = 8
_MESSAGE_LEAST: Final = 10

_FALLS: Final = (
    Column.CLASS,
    Column.DETAIL,
    Column.RESTARTS,
    Column.WHEN,
    Column.STATE,
)
_WORDS: Final[Mapping[Column, Tone | None]] = {
    Column.CLASS: Tone.DIM,
    Column.STATE: None,  # that of the state
    Column.WHEN: Tone.PLAIN,
    Column.RESTARTS: Tone.PLAIN,
}
"""The columns that hold a word or two, each with its tone."""


def render(
    root: Node,
    *,
    width: int,
    now: float,
    charset: Charset = UNICODE,
    depth: int | None = None,
) -> list[Line]:
    """Draw a tree.

    Args:
        root: The node to begin with, as the app tells it in JSON.
        width: Cells per line; no line is longer.
        now: The time, in seconds since 1970, that ages are counted from.
        charset: The characters to draw with.
        depth: Levels to draw below *root*. ``None`` draws all; a node whose children are left
            out says how many services are under it.

    Returns:
        One line per node.
    """
    guide = _guide_maker(root, width, charset, depth)
    rows = [
        row_of(node, guide(trail), now=now, charset=charset, ends_here=len(trail) == depth)
        for node, trail in walk(root, depth)
    ]
    widths = _layout(rows, width)
    if Column.DETAIL not in widths:
        rows = [row.but(words={**row.words, Column.STATE: row.state_alone}) for row in rows]
        widths = _layout(rows, width)
    owned = _shows_owned(rows, widths.get(Column.DETAIL, 0))
    return [_line(row, widths, charset, owned=owned) for row in rows]


def _guide_maker(
    root: Node, width: int, charset: Charset, depth: int | None
) -> Callable[[list[bool]], str]:
    deepest = max(len(trail) for _, trail in walk(root, depth))
    room = deepest * _LEVEL if deepest * _LEVEL <= width // 2 else width // 3
    marker = len(str(deepest)) + 2
    shown = max((room - marker) // _LEVEL, 0)

    def guide(trail: list[bool]) -> str:
        if not trail:
            return ""
        above, above_count = "", len(trail) * _LEVEL > room
        way = trail
        if above_count:
            way = trail[len(trail) - shown :]
            above = f"{charset.ellipsis}{len(trail) - shown}".ljust(marker)
        lines = [charset.blank if last else charset.through for last in way[:-1]]
        if way:
            lines.append(charset.last if way[-1] else charset.branch)
        return above + "".join(lines)

    return guide


def _layout(rows: list[Row], width: int) -> dict[Column, int]:
    """Share the width among the columns; the ones that fell away are not in the result."""
    natural = {column: max(cell_len(row.words[column]) for row in rows) for column in _WORDS}
    natural[Column.TREE] = max(map(_tree_cells, rows))
    natural[Column.DETAIL] = max(map(_detail_cells, rows))

    guides = max(len(row.guide) for row in rows)
    least = dict(natural)
    least[Column.TREE] = min(natural[Column.TREE], max(width // 2, guides + 2 + _NAME_LEAST))
    least[Column.DETAIL] = min(max(map(_trouble_cells, rows)), _DETAIL_LEAST)
    widths = {column: least[column] for column in Column if least[column]}
    for column in _FALLS:
        if _taken(widths) <= width:
            break
        widths.pop(column, None)

    widths[Column.TREE] = min(widths[Column.TREE], width)
    widths[Column.TREE] += min(width - _taken(widths), natural[Column.TREE] - widths[Column.TREE])
    if Column.DETAIL in widths:
        widths[Column.DETAIL] += width - _taken(widths)
    elif (spare := width - _taken(widths) - _GAP) > 0 and not least[Column.DETAIL]:
        widths[Column.DETAIL] = spare
    return widths


def _taken(widths: Mapping[Column, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _tree_cells(row: Row) -> int:
    return len(row.guide) + 2 + cell_len(row.name) + len(row.hidden)


def _failure_cells(row: Row) -> int:
    return cell_len(row.failure) + len(row.failure_age)


def _trouble_cells(row: Row) -> int:
    return cell_len(row.left) + (_GAP if row.left and row.failure else 0) + _failure_cells(row)


def _detail_cells(row: Row) -> int:
    trouble = _trouble_cells(row)
    return len(row.owned) + (_GAP if row.owned and trouble else 0) + trouble


def _shows_owned(rows: list[Row], room: int) -> bool:
    """Tell whether the detail column has room for what the services own: in all rows or none."""
    return all(_trouble_cells(row) or len(row.owned) <= room for row in rows)


def _line(row: Row, widths: Mapping[Column, int], charset: Charset, *, owned: bool) -> Line:
    line = _tree(row, widths[Column.TREE], charset)
    for column, tone in _WORDS.items():
        if column in widths:
            line.append((" " * _GAP + pad(row.words[column], widths[column]), tone or row.tone))
    if Column.DETAIL in widths:
        line += _detail(row, widths[Column.DETAIL], charset, owned=owned)
    while not line[-1][0].strip():
        line.pop()
    text, tone = line[-1]
    line[-1] = (text.rstrip(), tone)
    return line


def _detail(row: Row, room: int, charset: Charset, *, owned: bool) -> Line:
    """Say what there is room for: stragglers before the failure, and both before what is owned."""
    line: Line = []
    trouble = _trouble_cells(row)
    if row.owned and owned and (not trouble or _detail_cells(row) <= room):
        line.append((" " * _GAP + row.owned, Tone.DIM))
    if row.left:
        left = cut(row.left, room, charset.ellipsis)
        line.append((" " * _GAP + left, Tone.BAD))
        room -= cell_len(left) + _GAP
    if row.failure and room >= min(_failure_cells(row), _MESSAGE_LEAST):
        line.append((" " * _GAP + _fitted_failure(row, room, charset), row.failure_tone))
    return line


def _tree(row: Row, room: int, charset: Charset) -> Line:
    guide = cut(row.guide, max(room - 2, 0), charset.ellipsis)
    left = room - len(guide) - 2
    name_least = min(cell_len(row.name), _NAME_LEAST)
    hidden = row.hidden if len(row.hidden) <= left - name_least else ""
    name = cut(row.name, max(left - len(hidden), 0), charset.ellipsis)
    used = len(guide) + 2 + cell_len(name) + len(hidden)
    line: Line = [
        (guide, Tone.DIM),
        (row.symbol, row.tone),
        (f" {name}", Tone.NAME),
        (hidden, row.hidden_tone),
        (" " * (room - used), Tone.PLAIN),
    ]
    return [(text, tone) for text, tone in line if text]


def _fitted_failure(row: Row, room: int, charset: Charset) -> str:
    if _failure_cells(row) <= room:
        return row.failure + row.failure_age
    left = room - len(row.failure_age)
    if left < _MESSAGE_LEAST:
        return cut(row.failure, room, charset.ellipsis)
    return cut(row.failure, left, charset.ellipsis) + row.failure_age
