"""``sprag events``: what happens to the services, as it happens."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from sprag._exit_codes import ExitCode
from sprag._unix_sockets import listens
from sprag_cli.app.client import AppGone, Client
from sprag_cli.app.decided import decision_text, is_last
from sprag_cli.app.find import find_app
from sprag_cli.app.select import Asked, is_glob, matcher, node_of
from sprag_cli.app.told import (
    Node,
    because_text,
    count_of,
    failure_text,
    find,
    mapping_of,
    number_of,
    text_of,
)
from sprag_cli.term import deep_json
from sprag_cli.term.cells import cell_len, cut
from sprag_cli.term.errors import CommandError
from sprag_cli.term.output import discard, painted, put
from sprag_cli.term.plain import printable
from sprag_cli.term.screen import screen_of
from sprag_cli.term.style import TONES, Charset, Line, Tone
from sprag_cli.term.words import clock, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sprag_cli.app.client import RunningApp

_STATES: Final = {
    "started": "running",
    "ready": "running",
    "unready": "restarting",
    "restarted": "running",
    "crashed": "failed",
    "gave_up": "failed",
    "stopped": "stopped",
    "finished": "finished",
    "starting": "starting",
    "stopping": "stopping",
    "left": "stopped",
    "moved": "running",
}
_FAILURES: Final = ("crashed", "gave_up")
_NO_CHANGES: Final = ("snapshot", "live", "end", "ruling", "starting", "stopping", "left")
_WELL: Final = ("running", "stopped", "finished")
_WORD: Final = 9
_LOOKS: Final = 10
_LOOK: Final = 0.05
_LONG: Final = 0.1
"""Seconds of a start that are worth a word."""


class EventOptions(Asked):
    """The options of ``sprag events``; `commands` explains them, and has their defaults."""

    limit: int | None
    ascii: bool


class CutOff(CommandError):
    """Raised when the app has ended the stream, and goes on itself."""

    exit_code = ExitCode.FAILED

    def __init__(self) -> None:
        """Say what is likely."""
        super().__init__(
            "the app has hung up: more happened than was read in time "
            "— narrow it down, or read it faster; 'sprag tree' shows what is now"
        )


class NotFollowed(CommandError):
    """Raised when the events of another node are asked for."""

    exit_code = ExitCode.USAGE

    def __init__(self, node: str, pattern: str) -> None:
        """Say where to ask."""
        super().__init__(
            f"what goes on is not followed from another node ({pattern!r}) — run 'sprag events' "
            f"on {node}, or look now and then: 'sprag why {pattern}'"
        )


def follow(options: EventOptions) -> int:
    """Carry out ``sprag events``: until Ctrl-C, the limit, or the end of the app.

    Raises:
        CommandError: There is no such app, or it hung up.
    """
    for pattern in options.paths:
        if node := node_of(pattern):
            raise NotFollowed(node, pattern)
    app = find_app(options.app)
    client = Client(app, timeout=options.timeout)
    events = _checked(client, client.stream("/v1/events", query={"all": 1}), options.paths)
    screen = screen_of(sys.stdout, ascii_only=options.ascii)
    wanted = _filter(options)
    lines = (
        _as_json(events, wanted) if options.json else _for_people(events, wanted, screen.charset)
    )
    left = options.limit
    is_over = False
    try:
        for is_change, text_or_line in lines:
            is_over = text_or_line is None
            if text_or_line is None:
                continue
            if isinstance(text_or_line, str):
                put(sys.stdout, text_or_line)
            else:
                fitted = _fitted(text_or_line, screen.width, screen.charset)
                put(sys.stdout, painted([fitted], screen))
            if is_change and left is not None:
                left -= 1
                if left <= 0:
                    return ExitCode.WELL
    except KeyboardInterrupt:
        return ExitCode.WELL
    except BrokenPipeError:
        discard(sys.stdout)
        return ExitCode.WELL
    if not is_over:
        raise broken_off(app)
    return ExitCode.WELL


def broken_off(app: RunningApp) -> CommandError:
    """Return what is to be raised of a stream that has ended without a word.

    One who was killed still listens for a moment; waits half a second to see that.
    """
    for _ in range(_LOOKS):
        if not listens(app.socket):
            return AppGone(app, "it ended without a word")
        time.sleep(_LOOK)
    return CutOff()


def _checked(client: Client, events: Iterator[Node], patterns: Sequence[str]) -> Iterator[Node]:
    """Pass *events* on; complain of a path that is not in the snapshot, or means two services.

    A glob may match what comes later.
    """
    matchers = {pattern: matcher(pattern) for pattern in patterns if not is_glob(pattern)}
    seen = dict.fromkeys(matchers, 0)
    for event in events:
        if matchers:
            path = text_of(event, "path")
            for pattern, each in matchers.items():
                seen[pattern] += each(path)
            if text_of(event, "event") == "live":
                for pattern, number in seen.items():
                    if number != 1:
                        find(client.tree(), pattern)
                matchers = {}
        yield event


def _filter(options: EventOptions) -> Callable[[Node], bool]:
    matchers = [matcher(pattern) for pattern in options.paths]

    def wanted(event: Node) -> bool:
        kind, path = text_of(event, "event"), text_of(event, "path")
        if kind in {"live", "end"}:
            return True
        if options.failed:
            is_failure = kind in _FAILURES or text_of(event, "state") == "failed"
            is_failure |= kind == "ruling" and is_last(event)
            if not is_failure:
                return False
        return not matchers or any(each.covers(path) for each in matchers)

    return wanted


def _as_json(
    events: Iterator[Node], wanted: Callable[[Node], bool]
) -> Iterator[tuple[bool, str | Line | None]]:
    for event in events:
        kind = text_of(event, "event")
        if wanted(event):
            yield kind not in _NO_CHANGES, deep_json.dumps(event) + "\n"
        if kind == "end":
            yield False, None


def _for_people(
    events: Iterator[Node], wanted: Callable[[Node], bool], charset: Charset
) -> Iterator[tuple[bool, str | Line | None]]:
    """Turn events into lines; of the snapshot, what does not run, and how many do."""
    services = 0
    for event in events:
        kind = text_of(event, "event")
        if kind == "end":
            yield False, [("the app has ended", Tone.DIM)]
            yield False, None
        elif not wanted(event):
            continue
        elif kind == "snapshot":
            services += 1
            if text_of(event, "state") not in _WELL:
                yield False, _state_line(event, charset)
        elif kind == "live":
            yield False, [(f"{counted(services, 'service')}; now come the changes", Tone.DIM)]
        elif kind == "ruling":
            yield False, _ruling_line(event, charset)
        else:
            yield kind not in _NO_CHANGES, _change_line(event, charset)


def _state_line(event: Node, charset: Charset) -> Line:
    state = text_of(event, "state")
    said = failure_text(mapping_of(event, "last_failure")) or because_text(event)
    return _line(
        "is now   ", state, word=state, path=text_of(event, "path"), said=said, charset=charset
    )


def _change_line(event: Node, charset: Charset) -> Line:
    kind = text_of(event, "event")
    when = clock(text_of(event, "at"), time.time())
    named = {"type": text_of(event, "exception"), "message": text_of(event, "message")}
    said = failure_text(named) if named["type"] else ""
    if text_of(event, "context") == "start_error":
        said = f"failed to start: {said}"
    elif text_of(event, "context") == "restart_cancelled":
        said = "its restart was called off"
    elif kind == "stopped" and text_of(event, "reason") == "recycled":
        said = "recycled"
    elif kind == "stopped":
        said = because_text({**event, "state": kind})
    elif kind == "restarted":
        said = f"restart {count_of(event, 'restarts')}{_took(event)}"
    elif kind == "started":
        said = _took(event).removeprefix(", ")
    elif kind == "moved":
        said = f"{text_of(event, 'origin')} to {text_of(event, 'node')}: {text_of(event, 'reason')}"
    state = _STATES.get(kind, "")
    word, path = kind.replace("_", " "), text_of(event, "path")
    return _line(f"{when} ", state, word=word, path=path, said=said, charset=charset)


def _ruling_line(event: Node, charset: Charset) -> Line:
    when = clock(text_of(event, "at"), time.time())
    state = "failed" if is_last(event) else "restarting"
    state = "finished" if text_of(event, "action") in {"keep", "shut_down"} else state
    path, said = text_of(event, "path"), decision_text(event)
    return _line(f"{when} ", state, word="decided", path=path, said=said, charset=charset)


def _took(event: Node) -> str:
    """Say how long a start took, if it took long enough to be told."""
    took = number_of(event, "seconds") or 0.0
    return f", took {took:.1f} s" if took >= _LONG else ""


def _line(when: str, state: str, *, word: str, path: str, said: str, charset: Charset) -> Line:
    tone = TONES.get(state, Tone.PLAIN)
    line: Line = [
        (when, Tone.DIM),
        (f"{charset.symbol(state)} {word:<{_WORD}} ", tone),
        (printable(path), Tone.NAME),
    ]
    return [*line, (f"  {said}", Tone.BAD if state == "failed" else Tone.DIM)] if said else line


def _fitted(line: Line, width: int, charset: Charset) -> Line:
    """Cut a line to *width*, from its end."""
    (line,) = charset.lines([line])
    if sum(cell_len(text) for text, _ in line) <= width:
        return line
    out: Line = []
    left = width - 1
    for text, tone in line:
        fitted = text if cell_len(text) <= left else cut(text, left, "")
        out.append((fitted, tone))
        left -= cell_len(fitted)
        if fitted != text:
            break
    return [*out, (charset.ellipsis, Tone.DIM)]
