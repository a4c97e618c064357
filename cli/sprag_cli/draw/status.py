"""``sprag status``: one service in full."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final, cast

from sprag_cli.app.select import Asked
from sprag_cli.app.told import (
    Node,
    because_text,
    count_of,
    dropped_text,
    failure_text,
    held_text,
    items_text,
    last_output_of,
    limit_text,
    list_of,
    lost_text,
    mapping_of,
    number_of,
    state_text,
    text_of,
    untold_text,
)
from sprag_cli.draw.row import waits_for
from sprag_cli.draw.services import show_each, title
from sprag_cli.term.cells import cut
from sprag_cli.term.plain import escaped, printable, printable_lines
from sprag_cli.term.style import TONES, Charset, Line, Tone
from sprag_cli.term.words import (
    ago,
    clock,
    counted,
    duration,
    seconds,
    seconds_to,
    size,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag_cli.term.screen import Screen

_LABEL: Final = 10
_LOG_LINES: Final = 10
_LOG_LEAST: Final = 3
_FAILURES_LEAST: Final = 8
_HEAD: Final = 2
"""Lines above a list: an empty one and its title."""
_OWNED: Final = (
    ("greenlets", "greenlet"),
    ("tasks", "task"),
    ("timers", "timer"),
    ("listeners", "listener"),
    ("cleanups", "clean-up"),
)


class StatusOptions(Asked):
    """The options of ``sprag status``; `commands` explains them, and has their defaults."""

    lines: int | None
    tracebacks: int | None
    ascii: bool


def show(options: StatusOptions) -> int:
    """Carry out ``sprag status`` and return the exit code.

    Raises:
        CommandError: There is nothing to show; the error says why.
    """

    def drawn(answer: Node, screen: Screen) -> list[Line]:
        return render(
            answer,
            width=screen.width,
            now=time.time(),
            charset=screen.charset,
            lines=options.lines,
            tracebacks=options.tracebacks,
            height=screen.height if screen.terminal else None,
        )

    return show_each(options, "/v1/service", drawn, ascii_only=options.ascii)


def render(
    node: Node,
    *,
    width: int,
    now: float,
    charset: Charset,
    lines: int | None = None,
    tracebacks: int | None = None,
    height: int | None = None,
) -> list[Line]:
    """Draw what the app tells of one service.

    Args:
        node: The answer of ``/v1/service``.
        width: Cells per line; longer ones are broken or cut.
        now: The time, in seconds since 1970, that ages are counted from.
        charset: The characters to draw with.
        lines: How many log lines to show; ``None``: 10, or what there is room for.
        tracebacks: How many failures to show with their traceback; ``None``: one, or what there is
            room for of it.
        height: Lines of the window. ``None`` means that there is no window.
    """
    state = text_of(node, "state")
    out = [title(node, charset)]
    for label, text in _facts(node, now, charset):
        first, *rest = wrapped(printable(text), width - _LABEL - 2)
        tone = TONES.get(state, Tone.PLAIN) if label == "State" else Tone.PLAIN
        out.append([(f"{label:>{_LABEL}}: ", Tone.DIM), (first, tone)])
        out += [[(" " * (_LABEL + 2) + more, tone)] for more in rest]
    failures = list(_failures(node, width, now, charset, 1 if tracebacks is None else tracebacks))
    most = _LOG_LINES if lines is None else lines
    output = list(_output(node, width, charset, most))
    log = list(_log(node, width, now, charset, most))
    if height is not None:
        room = height - 1 - len(out)  # a prompt follows
        if lines is None:
            room_for_log = room - min(len(failures), _FAILURES_LEAST)
            output = _fitted_log(output, room_for_log - min(len(log), _HEAD + _LOG_LEAST))
            log = _fitted_log(log, room_for_log - len(output))
        if tracebacks is None:
            failures = _fitted_failures(failures, room - len(log) - len(output), charset)
    out += failures + output + log
    return charset.lines(out)


def _facts(node: Node, now: float, charset: Charset) -> Iterator[tuple[str, str]]:
    between = charset.between
    counters, policy = mapping_of(node, "counters"), mapping_of(node, "policy")
    yield "State", _state(node, now)
    if holds := held_text(node, now=now):
        path = text_of(mapping_of(node, "held"), "path")
        how = holds.removeprefix("held").strip()
        ends = f"its ends wait for 'sprag release {path}'"
        yield "Held", f"{how}: {ends}" if how else ends
    reason = node.get("unready")
    if isinstance(reason, str):
        yield "Ready", f"no: {reason}" if reason else "no"
    if said := text_of(node, "status"):
        yield "Status", said
    module, name = text_of(node, "module"), text_of(node, "class")
    if module.startswith(("sprag.services.", "sprag.programs.")):
        module = "sprag"  # where its users import it from
    yield "Class", f"{module}.{name}, a {text_of(node, 'kind')}" if module else name
    if given := mapping_of(node, "arguments"):
        yield "Made with", between.join(f"{name}={value}" for name, value in given.items())
    yield from _program(node, now, charset)
    starts = count_of(counters, "starts")
    restarts = counted(count_of(node, "restarts"), "restart")
    yield "Lives", f"{starts}, with {restarts} by its supervisor"
    yield from _at_work(node, now, charset)
    yield "Policy", between.join(_policy(policy))
    counts = mapping_of(node, "children_counts")
    if count_of(counts, "specs"):
        used = count_of(counters, "child_restarts_within_window")
        limit = limit_text(policy)
        yield (
            "Children",
            between.join(
                [
                    f"{count_of(counts, 'specs')}, {count_of(counts, 'active')} of them up",
                    text_of(policy, "strategy"),
                    f"gives up after {limit}; {used} of them used" if limit else "never gives up",
                ]
            ),
        )


def _program(node: Node, now: float, charset: Charset) -> Iterator[tuple[str, str]]:
    """Say what a program runs, as what, and how it has ended the last time."""
    program = mapping_of(node, "program")
    if not program:
        return
    yield "Command", text_of(program, "command")
    if text_of(node, "kind") == "supervisor":
        return  # of replicas, which have the processes
    parts: list[str] = []
    process = mapping_of(node, "process")
    if (pid := number_of(process, "pid")) is not None:
        parts.append(f"pid {pid:.0f}")
    if (others := count_of(process, "processes") - 1) > 0:
        parts[-1:] = [f"{parts[-1]} and {counted(others, 'other', 'others')}"] if parts else []
    if (port := number_of(program, "port")) is not None:
        parts.append(f"port {port:.0f}")
    if (rss := number_of(process, "rss")) is not None:
        parts.append(size(rss))
    if descriptors := count_of(process, "descriptors"):
        parts.append(counted(descriptors, "descriptor"))
    yield "Process", charset.between.join(parts) or "none"
    if wrote := _wrote(program):
        yield "Wrote", wrote
    if ended := mapping_of(program, "ended"):
        how = text_of(ended, "signal") or f"exit code {count_of(ended, 'code')}"
        if ended.get("asked") is True:
            how += ", as it was asked to end"
        life = count_of(ended, "incarnation")
        yield "Ended", f"{how} ({ago(text_of(ended, 'at'), now)}, life {life})"
    if recycling := mapping_of(program, "recycling"):
        yield "Recycled", _recycling(recycling, text_of(node, "path"), now)


def _wrote(program: Node) -> str:
    """Say how much it has written in this run, and where to, if that is not the log."""
    to, lines = text_of(program, "output_to"), count_of(program, "lines")
    if to == "inherit":
        return 'straight to where sprag writes (output="inherit"): it is not seen here'
    said = f"{lines:,} line{'s' if lines > 1 else ''}" if lines else ""
    if left_out := count_of(program, "left_out"):
        said += f", {left_out:,} of them left out of the log"
    return said if to in {"", "log"} else f"{said}, to {to}" if said else f"to {to}"


def _recycling(recycling: Node, path: str, now: float) -> str:
    times, due = count_of(recycling, "times"), text_of(recycling, "next")
    said = counted(times, "time") if times else "never yet"
    if (waits_for := text_of(recycling, "waits_for")) == path:
        return f"{said}, and due: it is held"
    if waits_for:
        return f"{said}, and due: it waits for {waits_for}"
    ahead = seconds_to(due, now)
    return said if ahead is None else f"{said}, next {clock(due, now)} (in {duration(ahead)})"


def _at_work(node: Node, now: float, charset: Charset) -> Iterator[tuple[str, str]]:
    """Say what it holds and does, and what is amiss with that."""
    owned = mapping_of(node, "owned")
    held = [counted(count_of(owned, key), noun) for key, noun in _OWNED if count_of(owned, key)]
    yield "Owns", charset.between.join(held) or "nothing"
    if items := items_text(node):
        yield "Items", charset.between.join(items)
    counters = mapping_of(node, "counters")
    if ticks := count_of(counters, "ticks"):
        missed = count_of(counters, "missed_ticks")
        yield "Timers", f"{counted(ticks, 'call')}, {missed} missed"
    for cron in list_of(node, "crons"):
        yield "Cron", _cron(cron, now)
    for probe in list_of(node, "probes"):
        yield "Probe", _probe(probe)
    for left in _stragglers(node):
        yield "Left", left
    if lost := dropped_text(node):
        yield "Log", f"{lost} in all, as stderr took no more"
    if untold := untold_text(node):
        failed = count_of(mapping_of(node, "crash_reports"), "failed")
        more = f"; {counted(failed, 'call')} failed" if failed else ""
        yield "Crashes", f"{untold} to on_crash, as too many were waiting{more}"
    if lost := lost_text(node):
        counts = mapping_of(node, "broadcasts")
        dropped, missed = count_of(counts, "dropped"), count_of(counts, "missed")
        yield "Broadcasts", f"{lost}: {dropped} could not be sent, {missed} were not heard here"


def _cron(cron: Node, now: float) -> str:
    due = text_of(cron, "next_run")
    if cron.get("running"):
        said = "runs now"
    else:
        wait = seconds_to(due, now)
        ahead = "" if wait is None else f" (in {duration(wait)})"
        said = f"next {clock(due, now)}{ahead}" if due else "never again"
    if missed := count_of(cron, "missed"):
        said += f", {missed} missed"
    when = f"{text_of(cron, 'expression')} {text_of(cron, 'tz')}"
    return f"{when}: {text_of(cron, 'function')}, {said}"


def _probe(probe: Node) -> str:
    every, failed = seconds(number_of(probe, "every")), count_of(probe, "failed")
    said = f"{text_of(probe, 'function')} every {every}"
    if not failed:
        return f"{said}, well" if count_of(probe, "ticks") else f"{said}, not asked yet"
    allowed = count_of(probe, "failures")
    return f"{said}, {failed} of {allowed} failures: {text_of(probe, 'last')}"


def _state(node: Node, now: float) -> str:
    state = text_of(node, "state")
    since, ended = text_of(node, "started_at"), text_of(node, "ended_at")
    if since:
        uptime = number_of(node, "uptime") or 0.0
        return f"{state} since {clock(since, now)} ({duration(uptime)})"
    reason = text_of(mapping_of(node, "last_exit"), "reason").replace("_", " ")
    said = f"{state} since {clock(ended, now)} ({ago(ended, now)})" if ended else state_text(node)
    if reason and reason != state:
        said += f": {reason}"
    if because := because_text(node):
        said += f", {because}"
    if waiting := waits_for(node):
        said += f", {waiting}"
    wait = number_of(node, "next_try")
    return said if wait is None else f"{said}, next try in {wait:.1f} s"


def _stragglers(node: Node) -> Iterator[str]:
    """Say what earlier lives have left behind; alike ones once, with their number."""
    path = text_of(node, "path")
    for (step, life, whose), number in Counter(
        (text_of(each, "step"), count_of(each, "incarnation"), text_of(each, "path"))
        for each in list_of(node, "stragglers")
    ).items():
        what = step if number == 1 else counted(number, step)
        of = "" if whose == path else f" of {whose}"
        does = "has swallowed its kill and still runs"
        if number > 1:
            does = "have swallowed their kill and still run"
        yield f"{what} of life {life}{of} {does}: see 'sprag stacks {path}'"


def _policy(policy: Node) -> Iterator[str]:
    yield f"restart {text_of(policy, 'restart')}"
    shutdown = policy.get("shutdown")
    yield (
        f"shutdown {shutdown}"
        if isinstance(shutdown, str)
        else (f"shutdown {seconds(number_of(policy, 'shutdown'))}")
    )
    if (limit := number_of(policy, "start_timeout")) is not None:
        yield f"start within {seconds(limit)}"
    if (beats := number_of(policy, "heartbeat")) is not None:
        yield f"heartbeat {seconds(beats)}"
    backoff = mapping_of(policy, "backoff")
    if backoff:
        first, most = number_of(backoff, "initial"), number_of(backoff, "maximum")
        tries = count_of(backoff, "tries")
        allowed = f", {counted(tries, 'try', 'tries')}" if tries else ""
        yield f"backoff {seconds(first)} to {seconds(most)}{allowed}"
    if policy.get("significant"):
        yield "significant"
    if (ends := text_of(policy, "auto_shutdown")) not in {"", "never"}:
        yield f"auto_shutdown {ends}"
    for kind, action in mapping_of(policy, "on_failure").items():
        yield f"on {kind}: {action}"
    needs = policy.get("needs")
    if isinstance(needs, list):
        states = mapping_of(policy, "needs_states")
        names = [str(each) for each in cast("list[object]", needs)]
        said = [f"{name} {text_of(states, name)}".strip() for name in names]
        yield f"needs {', '.join(said) or 'nobody'}"
    if policy.get("retry_start"):
        yield "retries its start"
    if policy.get("autostart") is False:
        yield "no autostart"


def _failures(
    node: Node, width: int, now: float, charset: Charset, tracebacks: int
) -> Iterator[Line]:
    """Draw the failures; of equal ones in a row the last, with their number."""
    kinds: list[tuple[Node, int]] = []
    for failure in list_of(node, "failures"):
        before, times = kinds[-1] if kinds else (failure, 0)
        if times and _is_alike(before, failure):
            kinds[-1] = failure, times + 1
        else:
            kinds.append((failure, 1))
    if not kinds:
        return
    yield []
    yield [("Failures", Tone.NAME), (", the latest last:", Tone.DIM)]
    whole_from = len(kinds) - tracebacks
    for index, (failure, times) in enumerate(kinds):
        when = f"{ago(text_of(failure, 'at'), now)}, life {count_of(failure, 'incarnation')}"
        age = f"  ({when})" if times == 1 else f"  ({times} times, the last {when})"
        if len(age) > width // 2:
            age = f"  ({times} times)" if times > 1 else ""
        text = cut(failure_text(failure), width - 2 - len(age), charset.ellipsis)
        yield [(f"  {text}", Tone.BAD), (age, Tone.DIM)]
        if index >= whole_from:
            for line in printable_lines(text_of(failure, "traceback").rstrip("\n")):
                yield [(f"    {cut(line, width - 4, charset.ellipsis)}", Tone.PLAIN)]


def _is_alike(one: Node, other: Node) -> bool:
    return all(text_of(one, key) == text_of(other, key) for key in ("type", "message"))


def _fitted_log(log: list[Line], room: int) -> list[Line]:
    """Leave out the oldest lines of the log that there is no room for."""
    too_many = min(len(log) - room, len(log) - _HEAD - _LOG_LEAST)
    return log[:_HEAD] + log[_HEAD + too_many :] if too_many > 0 else log


def _fitted_failures(failures: list[Line], room: int, charset: Charset) -> list[Line]:
    """Leave out the outermost calls, then the oldest failures, that there is no room for."""
    too_many = len(failures) - max(room, _FAILURES_LEAST) + 1
    if not failures or too_many <= 1:
        return failures
    begin = next(
        (place for place, line in enumerate(failures) if line and line[0][0].startswith("    ")),
        len(failures),
    )
    begin = min(begin, len(failures) - too_many)
    said = f"    {charset.ellipsis} {too_many} more lines: --tracebacks 1"
    return [*failures[:begin], [(said, Tone.DIM)], *failures[begin + too_many :]]


_LEVELS: Final = {"error": Tone.BAD, "critical": Tone.BAD, "warning": Tone.BUSY}


def _output(node: Node, width: int, charset: Charset, most: int) -> Iterator[Line]:
    """Draw what a program has written last, in this run; unless its failure has it all."""
    lines = [text_of(line, "line") for line in list_of(mapping_of(node, "program"), "output")]
    failure = (list_of(node, "failures") or [{}])[-1]
    if not lines or last_output_of(failure, text_of(failure, "traceback")) == lines:
        return
    lines = lines[len(lines) - most :] if most < len(lines) else lines
    if not lines:
        return
    yield []
    yield [("Output", Tone.NAME), (", the latest last:", Tone.DIM)]
    for line in lines:
        written = escaped(line.expandtabs())
        yield [("  | ", Tone.DIM), (cut(written, width - 4, charset.ellipsis), Tone.PLAIN)]


def _log(node: Node, width: int, now: float, charset: Charset, most: int) -> Iterator[Line]:
    records = list_of(node, "log")
    records = records[len(records) - most :] if most < len(records) else records
    if not records:
        return
    yield []
    yield [("Log", Tone.NAME), (", the latest last:", Tone.DIM)]
    for record in records:
        level = text_of(record, "level")
        fields = mapping_of(record, "fields")
        told = [text_of(record, "event"), *(f"{key}={value}" for key, value in fields.items())]
        said = "  ".join(map(printable, told))
        when = f"  {clock(text_of(record, 'at'), now)} "
        label = f"{level:<8} "
        room = max(width - len(when) - len(label), 10)
        yield [
            (when, Tone.DIM),
            (label, _LEVELS.get(level, Tone.DIM)),
            (cut(said, room, charset.ellipsis), Tone.PLAIN),
        ]
