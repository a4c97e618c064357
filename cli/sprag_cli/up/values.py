"""The kinds of values that are peculiar to programs and their policy."""

from __future__ import annotations

import re
import resource
import signal
from typing import Any, Final

from sprag_cli.up.kinds import (
    FLAG,
    SECONDS,
    SECONDS_OR_0,
    Keyword,
    choice,
    either,
    is_list,
    is_number,
    is_table,
    is_text,
    listed,
    named,
    number,
    one_of,
    plain,
    table,
    text,
    whole,
)

NAME: Final = text(
    "a name that is not empty and holds no slash and no control character",
    r"[^/\x00-\x1f\x7f]+",
    most=200,
)
VARIABLE: Final = text(
    "a name of letters, digits and _ that begins with no digit", "[A-Za-z_][A-Za-z0-9_]*"
)
PATH: Final = text("a path; a relative one begins at the folder of this file")


def _argument(value: Any) -> str:
    if type(value) is not str or "\0" in value:
        raise ValueError
    return value


def _variable(value: Any) -> str:
    if is_number(value):
        return str(value)
    return _argument(value)


def _umask(value: Any) -> int:
    if type(value) is str and re.fullmatch("(?:0o)?[0-7]{1,4}", value):
        value = int(value, 8)
    if type(value) is not int or not 0 <= value <= 0o777:
        raise ValueError
    return value


def _signal(value: Any) -> str:
    if type(value) is int and value in set(signal.Signals):
        return signal.Signals(value).name.removeprefix("SIG")
    name = value.upper().removeprefix("SIG") if type(value) is str else ""
    if f"SIG{name}" not in signal.Signals.__members__:
        raise ValueError
    return name


def _whom(value: Any) -> str | int:
    """Return a user or a group, by name or number."""
    if type(value) is int and value >= 0:
        return value
    if type(value) is not str or not value or "\0" in value:
        raise ValueError
    return value


def _no(value: Any) -> None:
    if value is not False:
        raise ValueError


_ARGUMENT: Final = plain("a text", {"type": "string"}, _argument)
_LINE: Final = text("a command line that is not empty")
_COMMANDS: Final = 'a list of texts, as in ["gunicorn", "shop:wsgi"], or one line'
COMMAND: Final = either(
    (is_text, _LINE), (is_list, listed(_ARGUMENT, _COMMANDS, least=1)), accepts=_COMMANDS
)

_TEXT_OR_NUMBER: Final = plain("a text or a number", {"type": ["string", "number"]}, _variable)
ENV: Final = named(VARIABLE, _TEXT_OR_NUMBER, 'a table of texts, as in { LANG = "C.UTF-8" }')

UMASK: Final = plain(
    "an octal number, as in 0o027, or a text of one",
    {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 0o777},
            {"type": "string", "pattern": "^(?:0o)?[0-7]{1,4}$"},
        ]
    },
    _umask,
)
SIGNAL: Final = plain(
    'the name of a signal, as in "TERM" or "INT"',
    {"anyOf": [{"type": "string", "pattern": "^[A-Za-z0-9+]+$"}, {"type": "integer"}]},
    _signal,
)
WHOM: Final = plain(
    "a name or a number",
    {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}]},
    _whom,
)

LIMIT_NAMES: Final = tuple(
    sorted(each.removeprefix("RLIMIT_").lower() for each in dir(resource) if "RLIMIT_" in each)
)


def _limit(value: Any) -> int | str:
    if value == "unlimited" or (type(value) is int and value >= 0):
        return value  # type: ignore[no-any-return]
    raise ValueError


_ONE_LIMIT: Final = plain(
    'a whole number, 0 or more, or "unlimited"',
    {"anyOf": [{"type": "integer", "minimum": 0}, {"const": "unlimited"}]},
    _limit,
)
_LIMIT: Final = either(
    (is_list, listed(_ONE_LIMIT, "the soft and the hard limit", least=2, most=2)),
    (lambda _value: True, _ONE_LIMIT),
    accepts=_ONE_LIMIT.accepts,
)
LIMITS: Final = table(
    {name: Keyword(_LIMIT, f"RLIMIT_{name.upper()}, as in setrlimit(2).") for name in LIMIT_NAMES},
    "a table, as in { nofile = 65536 }",
)

CODE: Final = whole("an exit code, 0 to 255", 0, 255)
CODES: Final = listed(CODE, "a list of exit codes, as in [0, 2]")

# -- policy ------------------------------------------------------------------------------------

SHUTDOWN: Final = either(
    (is_text, choice("infinity", "brutal_kill")),
    (is_number, SECONDS_OR_0),
    accepts='a number of seconds, 0 or more, "infinity" or "brutal_kill"',
)
_NAMES: Final = 'a list of names, as in ["db"], or a table, as in { db = "started" }'
NEEDS: Final = either(
    (is_list, listed(NAME, _NAMES)),
    (is_table, named(NAME, choice("ready", "started", "finished"), _NAMES)),
    accepts=_NAMES,
)
_BACKOFF: Final = table(
    {
        "initial": Keyword(SECONDS, "Seconds before the first restart in a row (0.1)."),
        "maximum": Keyword(SECONDS, "The longest delay, in seconds (30)."),
        "factor": Keyword(
            number("a number, 1 or more", 1, most=1e6), "How much longer each delay is (2)."
        ),
        "jitter": Keyword(
            number("a number, 0 to 1", 0, most=1), "The fraction by which a delay varies (0.1)."
        ),
        "reset_after": Keyword(SECONDS_OR_0, "A life of so many seconds starts the row anew (60)."),
        "tries": Keyword(
            whole("a whole number, 1 or more", 1),
            "Restarts in a row, after which it stays failed; without it there is no end.",
        ),
    },
    "a table, as in { initial = 1.0, tries = 5 }",
)
BACKOFF: Final = either(
    (is_table, _BACKOFF),
    (lambda value: value is False, plain("false", {"const": False}, _no)),
    accepts="a table, as in { initial = 1.0, tries = 5 }, or false",
)
_ACTIONS: Final = ("restart", "finish", "stop", "escalate")
_ACTION: Final = (
    f"{one_of([repr(each) for each in _ACTIONS])}, {{ exit = 78 }}, or a backoff's table"
).replace("'", '"')


def _is_exit(value: Any) -> bool:
    return is_table(value) and "exit" in value


ON_FAILURE: Final = named(
    text("the class of an exception", r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?"),
    either(
        (is_text, choice(*_ACTIONS)),
        (_is_exit, table({"exit": Keyword(CODE, "The app's exit code.")}, "{ exit = 78 }")),
        (is_table, _BACKOFF),
        accepts=_ACTION,
    ),
    'a table, as in { ProgramKilled = "stop" }',
)

POLICY: Final = {
    "restart": Keyword(
        choice("permanent", "transient", "temporary"),
        "Whether it is restarted when it ends: always (permanent, the default), only after a "
        "failure (transient), never (temporary).",
    ),
    "shutdown": Keyword(SHUTDOWN, "Seconds that it may take to stop."),
    "start_timeout": Keyword(SECONDS, "Seconds within which it has to be ready; without: any."),
    "backoff": Keyword(
        BACKOFF, "The delay before its restarts: it grows from 0.1 s to 30 s; false: none."
    ),
    "retry_start": Keyword(
        FLAG, "Whether a first start that fails is tried again, while the app comes up (true)."
    ),
    "autostart": Keyword(
        FLAG, "false: it is placed as stopped, and started by hand or by whom needs it (true)."
    ),
    "on_failure": Keyword(ON_FAILURE, "What a failure means, by the class of its exception."),
    "needs": Keyword(
        NEEDS, "The siblings that it starts after, once they are ready, started or finished."
    ),
    "significant": Keyword(FLAG, "Whether its end may end its group; see auto_shutdown (false)."),
}
LIMIT: Final = {
    "strategy": Keyword(
        choice("one_for_one", "one_for_all", "rest_for_one"),
        "Whom to restart when one fails: it (one_for_one, the default), all (one_for_all), it and "
        "those after it (rest_for_one).",
    ),
    "max_restarts": Keyword(
        whole("a whole number, 0 or more", 0),
        "Restarts within max_seconds after which it gives up; without: it never does.",
    ),
    "max_seconds": Keyword(SECONDS, "See max_restarts (5)."),
    "in_order": Keyword(
        FLAG,
        "Whether those that say nothing of needs start one after another, as they stand here, and "
        "stop the other way round (false, and true under rest_for_one).",
    ),
}
HEARTBEAT: Final = Keyword(
    SECONDS, "Seconds within which a service has to call beat() while it is ready."
)
