"""What the picture of a tree says about one service, in words; nothing here knows of widths."""

from __future__ import annotations

from enum import IntEnum, auto

from sprag_cli.app.told import (
    because_text,
    below,
    children_of,
    count_of,
    dropped_text,
    failure_text,
    held_text,
    items_text,
    list_of,
    lost_text,
    mapping_of,
    number_of,
    state_text,
    text_of,
    texts_of,
    untold_text,
)
from sprag_cli.record import Record
from sprag_cli.term.cells import cut
from sprag_cli.term.style import TONES, Tone
from sprag_cli.term.words import ago, counted, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from sprag_cli.app.told import Node
    from sprag_cli.term.style import Charset

_CLASS_MOST: Final = 24
_STATUS_MOST: Final = 32
_LIVES_NAMED: Final = 2
_MINUTE: Final = 60
_UNREADY: Final = "not ready"
_NAMED: Final = 3
"""Of those that a service waits for."""


class Column(IntEnum):
    """The columns of the picture, from left to right."""

    TREE = auto()
    CLASS = auto()
    STATE = auto()
    WHEN = auto()
    RESTARTS = auto()
    DETAIL = auto()


class Row(Record):
    """What there is to say about one service.

    Attributes:
        guide: The lines that lead to it.
        symbol: That of its state.
        tone: That of its state.
        name: Its name.
        hidden: How many services below it are not shown, or ``""``.
        hidden_tone: Whether any of those has failed.
        words: What stands in the columns that hold a word or two.
        state_alone: Its state where there is no room for the detail: that it is not ready, of one
            that runs and is not.
        owned: What it is at, in its own words, its process id, and its greenlets, tasks, timers,
            listeners.
        left: Why it is down, if its failure does not tell; what holds it, why it is not ready, what
            earlier lives have left behind and still runs, and how many log records were dropped.
        failure: Its last failure.
        failure_age: How long ago that was.
        failure_tone: Whether that is why it does not run now.
    """

    guide: str
    symbol: str
    tone: Tone
    name: str
    hidden: str
    hidden_tone: Tone
    words: Mapping[Column, str]
    state_alone: str
    owned: str
    left: str
    failure: str
    failure_age: str
    failure_tone: Tone


def row_of(node: Node, guide: str, *, now: float, charset: Charset, ends_here: bool) -> Row:
    """Put *node* into words.

    Args:
        node: What the app tells of it.
        guide: The lines that lead to it.
        now: The time, in seconds since 1970, that ages are counted from.
        charset: The characters there are.
        ends_here: Its children are not shown; say how many services are below.
    """
    state = text_of(node, "state")
    hidden, hidden_tone = _hidden(node) if ends_here else ("", Tone.DIM)
    failure = mapping_of(node, "last_failure")
    held = charset.safe(held_text(node, now=now))
    own_hold = held if text_of(mapping_of(node, "held"), "path") == text_of(node, "path") else ""
    because = charset.safe(because_text(node))
    said = charset.safe(failure_text(failure))
    age = ago(text_of(failure, "at"), now)
    state_word = charset.safe(state_text(node)) or "-"
    unready = _unready(node, charset)
    alone = _UNREADY if unready and state == "running" else state_word
    is_held = " (held)" if held else ""
    return Row(
        guide=guide,
        symbol=charset.symbol(state),
        tone=Tone.BUSY if held and state == "running" else TONES.get(state, Tone.PLAIN),
        name=charset.safe(text_of(node, "name")) or "-",
        hidden=hidden,
        hidden_tone=hidden_tone,
        words={
            Column.CLASS: cut(charset.safe(_class(node)), _CLASS_MOST, charset.ellipsis),
            Column.STATE: state_word + is_held,
            Column.WHEN: charset.safe(_when(node, state, now)),
            Column.RESTARTS: _restarts(node, state, charset, root=not guide),
        },
        state_alone=alone + is_held,
        owned=_owned(node, charset),
        left=charset.between.join(
            filter(
                None,
                (
                    because,
                    own_hold,
                    unready,
                    _left(node, charset),
                    dropped_text(node),
                    lost_text(node),
                    untold_text(node),
                ),
            )
        ),
        failure=said,
        failure_age=f" ({age})" if said and age else "",
        failure_tone=Tone.BAD if state in {"failed", "restarting"} else Tone.DIM,
    )


def _hidden(node: Node) -> tuple[str, Tone]:
    if not children_of(node):
        return "", Tone.DIM
    hidden = below(node)
    if hidden.failed:
        return f" +{hidden.services} ({hidden.failed} failed)", Tone.BAD
    return f" +{hidden.services}", Tone.DIM


def _class(node: Node) -> str:
    name = text_of(node, "class").rpartition(".")[2]
    if name == "Supervisor":
        return text_of(mapping_of(node, "policy"), "strategy") or name
    return name


def _when(node: Node, state: str, now: float) -> str:
    if state == "restarting":
        wait = number_of(node, "next_try")
        if wait is None:
            return waits_for(node)
        if wait < _MINUTE:
            return f"next try in {max(wait, 0.0):.1f} s"
        return f"next try in {duration(wait)}"
    if state in {"stopped", "finished", "failed"}:
        return ago(text_of(node, "ended_at"), now)
    uptime = number_of(node, "uptime")
    return "" if uptime is None else f"up {duration(uptime)}"


def waits_for(node: Node) -> str:
    """Say which siblings a service waits for: "waits for db"."""
    names = texts_of(node, "waits_for")
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"waits for {shown}{more}" if names else ""


def _restarts(node: Node, state: str, charset: Charset, *, root: bool) -> str:
    restarts = number_of(node, "restarts")
    if restarts is None:
        return ""
    if not restarts and (root or state in {"new", "stopped", "finished"}):
        return ""
    return f"{charset.restarts}{int(restarts)}"


def _owned(node: Node, charset: Charset) -> str:
    owned = mapping_of(node, "owned")
    parts = items_text(node)
    parts += [
        counted(number, noun)
        for noun in ("greenlet", "task", "timer", "listener")
        if (number := count_of(owned, noun + "s"))
    ]
    pid = number_of(mapping_of(node, "process"), "pid")
    if pid is not None:
        parts.insert(0, f"pid {int(pid)}")
    said = cut(charset.safe(text_of(node, "status")), _STATUS_MOST, charset.ellipsis)
    return charset.between.join([said, *parts] if said else parts)


def _unready(node: Node, charset: Charset) -> str:
    """Say that a service runs and is not ready, and why."""
    reason = node.get("unready")
    if not isinstance(reason, str):
        return ""
    return f"{_UNREADY}: {charset.safe(reason)}" if reason else _UNREADY


def _left(node: Node, charset: Charset) -> str:
    """Say whose stragglers still run: ``1 straggler of #2``, the second life of this service."""
    left = list_of(node, "stragglers")
    if not left:
        return ""
    lives = list(dict.fromkeys(_life(each, text_of(node, "path")) for each in left))
    named = ", ".join(lives[:_LIVES_NAMED])
    more = f", {charset.ellipsis}" if len(lives) > _LIVES_NAMED else ""
    return charset.safe(f"{counted(len(left), 'straggler')} of {named}{more}")


def _life(straggler: Node, path: str) -> str:
    """Name a life; that of a service which has left the tree by its name too."""
    whose = text_of(straggler, "path")
    number = f"#{count_of(straggler, 'incarnation')}"
    return number if whose in {"", path} else f"{whose.rpartition('/')[2]} {number}"
