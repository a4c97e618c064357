"""``sprag logs``: what services have logged, and what programs have written, by time."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import Client
from sprag_cli.app.find import find_app
from sprag_cli.app.select import Asked, is_glob, is_one, matcher, select
from sprag_cli.app.told import Node, count_of, mapping_of, output_of, text_of
from sprag_cli.draw.events import broken_off
from sprag_cli.term import deep_json
from sprag_cli.term.output import discard, painted, put
from sprag_cli.term.plain import escaped, printable
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import Charset, Line, Tone
from sprag_cli.term.words import clock, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST: Final = 100
"""Records of each PATH that are shown first, if nothing else is said."""
_LEVELS: Final = {"error": Tone.BAD, "critical": Tone.BAD, "warning": Tone.BUSY}
_LEVEL: Final = 8


class LogsOptions(Asked):
    """The options of ``sprag logs``; `commands` explains them, and has their defaults.

    Attributes:
        since: Seconds ago from which on; None: as far as the app remembers.
    """

    follow: bool
    lines: int | None
    since: float | None
    ascii: bool


def show(options: LogsOptions) -> int:
    """Carry out ``sprag logs``: to the end of what there is; to follow, until somebody ends it.

    Raises:
        CommandError: There is no such app or service, or it hung up.
    """
    app = find_app(options.app)
    client = Client(app, timeout=options.timeout)
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    is_over = False
    try:
        for told in _asked(client, options):
            is_over = text_of(told, "kind") == "end"
            if options.json:
                put(sys.stdout, deep_json.dumps(told) + "\n")
            elif line := _line(told, screen.charset, now=time.time()):
                put(sys.stdout, painted(screen.charset.lines([line]), screen))
            if is_over:
                return ExitCode.WELL
    except KeyboardInterrupt:
        if not options.follow:
            raise
        return ExitCode.WELL
    except BrokenPipeError:
        discard(sys.stdout)
        return ExitCode.WELL
    raise broken_off(app)


def _asked(client: Client, options: LogsOptions) -> Iterator[Node]:
    """Yield what the app tells: of one path it chooses itself, of several it is done here."""
    lines = MOST if options.lines is None and options.since is None else options.lines
    query = {"follow": 1 if options.follow else None, "age": options.since}
    if is_one(options.paths):
        path = options.paths[0] if options.paths else ""
        yield from client.stream("/v1/logs", path, {**query, "lines": lines})
        return
    wanted = [_wanted(client, pattern) for pattern in options.paths]
    told = client.stream("/v1/logs", query=query)
    records: list[Node] = []
    for each in told:
        if text_of(each, "kind") != "record":
            if options.follow is False:
                _check_globs(client, options, records)
            yield from _last(records, wanted, lines)
            yield each
            break
        if any(want(text_of(each, "path")) for want in wanted):
            records.append(each)
    for each in told:
        if text_of(each, "kind") != "record" or any(want(text_of(each, "path")) for want in wanted):
            yield each


def _wanted(client: Client, pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a path is meant by *pattern*; a path is the app's to look up."""
    if is_glob(pattern):
        return matcher(pattern).covers
    (end,) = client.stream("/v1/logs", pattern, {"lines": 0})
    path = text_of(end, "path")
    return lambda each: each == path or each.startswith(f"{path}/")


def _check_globs(client: Client, options: LogsOptions, records: list[Node]) -> None:
    """Complain of a glob that stands for nobody, in the tree or in the log."""
    paths = {text_of(record, "path") for record in records}
    for pattern in filter(is_glob, options.paths):
        if not any(map(matcher(pattern).covers, paths)):
            select(client.tree(), [pattern])


def _last(
    records: list[Node], wanted: list[Callable[[str], bool]], most: int | None
) -> Iterator[Node]:
    """Yield the last *most* records of each pattern, in the order of their times."""
    if most is None:
        yield from records
        return
    left = [most] * len(wanted)
    found: deque[Node] = deque()
    for record in reversed(records):
        path = text_of(record, "path")
        meant = [place for place, want in enumerate(wanted) if left[place] and want(path)]
        if meant:
            found.appendleft(record)
        for place in meant:
            left[place] -= 1
        if not any(left):
            break
    yield from found


def _line(told: Node, charset: Charset, *, now: float) -> Line:
    """Draw one line of the answer; an empty one stands for nothing."""
    kind = text_of(told, "kind")
    if kind == "lost":
        left_out = counted(count_of(told, "count"), "record")
        said = f"{charset.ellipsis} {left_out} left out: more came than was read in time"
        return [(said, Tone.BUSY)]
    if kind == "end" and text_of(told, "reason") == "the app has ended":
        return [("the app has ended", Tone.DIM)]
    return record_line(told, text_of(told, "path"), now=now) if kind == "record" else []


def record_line(record: Node, path: str, *, now: float) -> Line:
    """Draw a record: its time and level, whose it is, and what it says.

    Args:
        record: As the app tells it.
        path: Whose it is; "" for nobody's.
        now: The time, in seconds since 1970; what was not today gets its date.
    """
    level = text_of(record, "level")
    whose = printable(path) or f"({printable(text_of(record, 'logger'))})"
    line: Line = [
        (f"{clock(text_of(record, 'at'), now)} ", Tone.DIM),
        (f"{printable(level):<{_LEVEL}} ", _LEVELS.get(level, Tone.DIM)),
        (whose, Tone.NAME),
        (" | ", Tone.DIM),
    ]
    if (written := output_of(record)) is not None:
        return [*line, (escaped(written.expandtabs()), Tone.PLAIN)]
    line.append((printable(text_of(record, "event")), Tone.PLAIN))
    for key in (fields := mapping_of(record, "fields")):
        line += [(f"  {printable(key)}=", Tone.DIM), (printable(text_of(fields, key)), Tone.PLAIN)]
    return line
