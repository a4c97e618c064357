"""``sprag top``: what each service uses, live."""

from __future__ import annotations

import os
import select
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

from sprag._defaults import MOST_ROWS
from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client
from sprag_cli.app.find import find_app
from sprag_cli.app.select import NOTHING_FAILED, Asked, is_one, matcher
from sprag_cli.app.select import select as select_services
from sprag_cli.app.told import Node, count_of, is_failed, list_of, mapping_of, number_of, text_of
from sprag_cli.term import deep_json
from sprag_cli.term.cells import cell_len, cut, joined, pad
from sprag_cli.term.fullscreen import full_screen
from sprag_cli.term.output import discard, painted, put, write
from sprag_cli.term.screen import Screen, screen_of
from sprag_cli.term.style import TONES, Charset, Line, Tone
from sprag_cli.term.words import counted, size

if TYPE_CHECKING:
    from collections.abc import Callable

_GAP: Final = 2
_PATH_LEAST: Final = 14


class TopOptions(Asked):
    """The options of ``sprag top``; `commands` explains them, and has their defaults."""

    once: bool
    interval: float
    sort: str
    limit: int
    ascii: bool


def show(options: TopOptions) -> int:
    """Carry out ``sprag top`` and return the exit code.

    Raises:
        CommandError: There is no such app or service.
    """
    app = find_app(options.app)
    client = Client(app, timeout=options.interval + options.timeout)
    if options.failed or not is_one(options.paths):
        found = select_services(client.tree(), options.paths, failed=options.failed)
        if not found and not options.json:
            write(sys.stdout, NOTHING_FAILED)
            return ExitCode.WELL
    try:
        if screen_of(sys.stdout).moves and not options.once and not options.json:
            _live(client, options, sys.stdout)
        else:
            _printed(client, options)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        discard(sys.stdout)
    return ExitCode.WELL


def measure(client: Client, options: TopOptions, sort: str, limit: int) -> Node:
    """Have the app measure for one interval.

    The app knows of one path only. Of several, of globs and of ``--failed`` the rows are picked
    here, out of as many as the app tells: in a tree of more than 1000 services, the first 1000.
    """
    query = {"path": None, "seconds": options.interval, "sort": sort, "limit": limit}
    if not options.paths and not options.failed:
        return client.ask("/v1/top", query=query)
    if is_one(options.paths, failed=options.failed):
        return client.ask("/v1/top", query={**query, "path": options.paths[0]})
    answer = client.ask("/v1/top", query={**query, "limit": MOST_ROWS})
    rows = list(filter(_wanted(options), list_of(answer, "services")))
    return {**answer, "count": len(rows), "services": rows[:limit]}


def _wanted(options: TopOptions) -> Callable[[Node], bool]:
    matchers = [matcher(pattern) for pattern in options.paths]

    def wanted(row: Node) -> bool:
        path = text_of(row, "path")
        if options.failed and not is_failed(row):
            return False
        return not matchers or any(each.covers(path) for each in matchers)

    return wanted


def _printed(client: Client, options: TopOptions) -> None:
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    while True:
        answer = measure(client, options, options.sort, options.limit)
        if options.json:
            text = deep_json.dumps(answer, indent=2 if options.once else None) + "\n"
        else:
            lines = render(answer, width=screen.width, charset=screen.charset, sort=options.sort)
            text = painted(lines, screen)
        put(sys.stdout, text if options.once or options.json else f"{text}\n")
        if options.once:
            return


# -- live ----------------------------------------------------------------------------


def _live(client: Client, options: TopOptions, stream: TextIO) -> None:
    """Draw in place until q or Ctrl-C."""
    sort = options.sort
    answer: Node | None = None
    with full_screen(stream, keys=True) as place:
        while True:
            screen = screen_of(stream, ascii_only=options.ascii)
            text = painted(_picture(answer, screen, sort), screen)
            place.draw(text.splitlines()[: screen.height], text)
            pending = _Pending(client, options, sort)
            try:
                key = pending.wait(place.keys)
                if key in {"q", "Q", "\x03", "\x1b"}:
                    return
                if key is None:
                    answer = pending.answer()
                elif key.lower() in KEYS:
                    sort = KEYS[key.lower()]
                    if answer is not None:
                        answer = resorted(answer, sort)
            finally:
                pending.close()


def _picture(answer: Node | None, screen: Screen, sort: str) -> list[Line]:
    if answer is None:
        return [[(f"measuring {screen.charset.ellipsis}", Tone.DIM)]]
    return render(
        answer,
        width=screen.width,
        charset=screen.charset,
        sort=sort,
        height=screen.height,
        keys=True,
    )


class _Pending:
    """A measurement under way, in a thread: it must not keep a key from being heard."""

    def __init__(self, client: Client, options: TopOptions, sort: str) -> None:
        import threading

        self._reading, self._writing = os.pipe()
        self._result: Node | BaseException | None = None
        arguments = (client, options, sort)
        self._thread = threading.Thread(target=self._measure, args=arguments, daemon=True)
        self._thread.start()

    def _measure(self, client: Client, options: TopOptions, sort: str) -> None:
        try:
            self._result = measure(client, options, sort, MOST_ROWS)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._result = error
        os.close(self._writing)  # the other end becomes readable

    def wait(self, keys: int | None) -> str | None:
        """Return the key that was pressed, or ``None`` when the measurement is there."""
        sources = [self._reading] if keys is None else [self._reading, keys]
        ready, _, _ = select.select(sources, [], [])
        if self._reading in ready or keys is None:
            return None
        return os.read(keys, 8).decode(errors="replace")[:1] or "q"

    def answer(self) -> Node:
        """Return what was measured."""
        self._thread.join()
        if isinstance(self._result, BaseException):
            raise self._result
        assert self._result is not None
        return self._result

    def close(self) -> None:
        """Forget it."""
        os.close(self._reading)


def resorted(answer: Node, sort: str) -> Node:
    """Return the same measurement in another order."""
    rows = list_of(answer, "services")
    if sort == "path":
        rows.sort(key=lambda row: text_of(row, "path"))
    else:
        value = _by(sort)
        rows.sort(key=lambda row: (-value(row), text_of(row, "path")))
    return {**answer, "services": rows, "sort": sort}


# -- the picture ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    key: str
    letter: str
    text: Callable[[Node], str]
    falls: int
    """In which order it falls away as the window narrows; 0 stays."""


def _whole(key: str) -> Callable[[Node], str]:
    def text(row: Node) -> str:
        return str(count_of(row, key)) if count_of(row, key) else "-"

    return text


def _rate(key: str) -> Callable[[Node], str]:
    def text(row: Node) -> str:
        rate = number_of(row, key) or 0.0
        return "-" if not rate else f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"

    return text


def _process(text: Callable[[Node], str]) -> Callable[[Node], str]:
    def of_process(row: Node) -> str:
        process = mapping_of(row, "process")
        return text(process) if process else "-"

    return of_process


def _cpu(row: Node) -> float:
    """Return the share of the loop's time, and of a program what its process uses."""
    return (number_of(row, "cpu") or 0.0) + (number_of(mapping_of(row, "process"), "cpu") or 0.0)


def _by(sort: str) -> Callable[[Node], float]:
    if sort == "cpu":
        return _cpu
    if sort == "rss":
        return lambda row: number_of(mapping_of(row, "process"), "rss") or 0.0
    return lambda row: number_of(row, sort) or 0.0


def _percent(part: float) -> str:
    return f"{part * 100:.1f}"


_COLUMNS: Final = (
    _Column("CPU%", "cpu", "c", lambda row: _percent(_cpu(row)), 0),
    _Column("GREENLETS", "greenlets", "g", _whole("greenlets"), 4),
    _Column("TIMERS", "timers", "t", _whole("timers"), 2),
    _Column("TICKS/S", "ticks", "k", _rate("ticks"), 1),
    _Column("EVENTS/S", "events", "e", _rate("events"), 3),
    _Column("RESTARTS", "restarts", "r", _whole("restarts"), 5),
)


def _rss(process: Node) -> str:
    rss = number_of(process, "rss")
    return "-" if rss is None else size(rss)


_OF_PROGRAMS: Final = (
    _Column("RSS", "rss", "m", _process(_rss), 6),
    _Column("FDS", "descriptors", "", _process(_whole("descriptors")), 2),
    _Column("PID", "pid", "", _process(_whole("pid")), 1),
)
"""Shown where there is a program."""
KEYS: Final = {
    **{each.letter: each.key for each in (*_COLUMNS, *_OF_PROGRAMS) if each.letter},
    "p": "path",
}
"""What a key sorts by."""


def render(
    answer: Node,
    *,
    width: int,
    charset: Charset,
    sort: str,
    height: int | None = None,
    keys: bool = False,
) -> list[Line]:
    """Draw a measurement as a table.

    Args:
        answer: The answer of ``/v1/top``.
        width: Cells per line; columns fall away, paths are cut.
        charset: The characters to draw with.
        sort: What it is sorted by; its title is marked.
        height: Lines at most. ``None`` means all.
        keys: Show which key sorts by which column.
    """
    rows = list_of(answer, "services")
    cpu = mapping_of(answer, "cpu")
    said = [
        f"{charset.safe(text_of(answer, 'app'))} (pid {count_of(answer, 'pid')})",
        counted(count_of(answer, "count"), "service"),
        f"CPU {_percent(number_of(cpu, 'services') or 0.0)}% services",
        f"{_percent(number_of(cpu, 'others') or 0.0)}% others",
        f"{_percent(number_of(cpu, 'idle') or 0.0)}% idle",
    ]
    lines: list[Line] = [[(joined(said, charset.between, width, charset.ellipsis), Tone.PLAIN)]]
    if height is not None:
        rows = rows[: max(height - len(lines) - keys - 2, 1)]
    paths = [
        f"{charset.symbol(text_of(row, 'state'))} {charset.safe(text_of(row, 'path'))}"
        for row in rows
    ]
    columns = _fitting(rows, paths, width, sort)
    sizes = {column.key: _size(column, rows) for column in columns}
    if keys:
        sorts = [f"{column.letter} {column.key}" for column in columns if column.letter]
        said = ["q ends", "keys that sort: p path", *sorts]
        lines.append([(joined(said, charset.between, width, charset.ellipsis), Tone.DIM)])
    room = width - sum(size + _GAP for size in sizes.values())
    widest = max([cell_len(path) for path in paths] + [len("  SERVICE")])
    tree = max(min(room, widest), 1)
    mark = "v" if charset.ascii_only else "↓"
    title = "  SERVICE" + (mark if sort == "path" else "")
    title = pad(cut(title, tree, charset.ellipsis), tree)
    header: Line = [(title, Tone.DIM)]
    for column in columns:
        marked = column.title + (mark if column.key == sort else "")
        tone = Tone.NAME if column.key == sort else Tone.DIM
        header.append((f"{marked:>{sizes[column.key] + _GAP}}", tone))
    lines.append(header)
    for row, path in zip(rows, paths, strict=True):
        state = text_of(row, "state")
        shown = pad(cut(path, tree, charset.ellipsis), tree)
        line: Line = [(shown[:1], TONES.get(state, Tone.PLAIN)), (shown[1:], Tone.PLAIN)]
        line += [(f"{c.text(row):>{sizes[c.key] + _GAP}}", Tone.PLAIN) for c in columns]
        lines.append(line)
    return lines


def _size(column: _Column, rows: list[Node]) -> int:
    return max([len(column.title) + 1, *(len(column.text(row)) for row in rows)])


def _fitting(rows: list[Node], paths: list[str], width: int, sort: str) -> list[_Column]:
    """Return the columns there is room for beside the paths, or beside half of the width."""
    widest = max([cell_len(path) for path in paths] + [_PATH_LEAST])
    least = min(widest, max(width // 2, _PATH_LEAST))
    columns = list(_COLUMNS)
    if any(mapping_of(row, "process") for row in rows):
        columns[1:1] = _OF_PROGRAMS

    def taken() -> int:
        return least + sum(_size(column, rows) + _GAP for column in columns)

    falling = [column for column in columns if column.falls]
    for column in sorted(falling, key=lambda column: (column.key == sort, column.falls)):
        if taken() <= width:
            break
        columns.remove(column)
    return columns
