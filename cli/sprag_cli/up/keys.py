"""The keys of ``sprag.toml``: for each of its tables what may stand in it, and what that means.

The reader and the schema for editors are both made from these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sprag_cli.up.kinds import (
    FLAG,
    REFUSED,
    SECONDS,
    SECONDS_OR_0,
    Keyword,
    Kind,
    choice,
    is_table,
    text,
    whole,
)
from sprag_cli.up.probes import ALIVE, PORT, READY
from sprag_cli.up.values import (
    CODES,
    COMMAND,
    ENV,
    HEARTBEAT,
    LIMIT,
    LIMITS,
    NAME,
    PATH,
    POLICY,
    SIGNAL,
    UMASK,
    WHOM,
)

if TYPE_CHECKING:
    from typing import Any

    from sprag_cli.up.faults import Faults, Key


def _arguments(value: Any, key: Key, faults: Faults) -> Any:
    if not is_table(value):
        faults.refuse(key, value, "a table of keyword arguments, as in { every = 5 }")
        return REFUSED
    for name in value:
        if not name.isidentifier():
            faults.refuse((*key, name), name, "the name of an argument")
            return REFUSED
    return value


PROGRAM: Final = {
    "command": Keyword(
        COMMAND,
        "What to run: a list of the program and its arguments; or one line, split as a shell "
        "would, or run by sh -c with shell = true.",
    ),
    "shell": Keyword(FLAG, "Whether the command is a line for sh -c (false)."),
    "cwd": Keyword(PATH, "The directory that it runs in; the default is that of this file."),
    "env": Keyword(ENV, "Environment variables, laid over those it inherits and env_file's."),
    "env_file": Keyword(PATH, "A file of NAME=value lines, read at each start."),
    "user": Keyword(WHOM, "The user that it runs as; only root can choose."),
    "group": Keyword(WHOM, "The group that it runs as; the default is the user's own."),
    "umask": Keyword(UMASK, "Its umask, as in 0o027."),
    "limits": Keyword(LIMITS, "Its resource limits, as in { nofile = 65536 }."),
    "port": Keyword(
        PORT, "The port it is told as PORT, and looked at by ready and alive; a replica adds 1."
    ),
    "ready": Keyword(READY, "When it is ready; without it, as soon as it has started."),
    "alive": Keyword(ALIVE, "How it is asked whether it is well; too many failures are a crash."),
    "settle": Keyword(SECONDS_OR_0, "Seconds that it has to stay up to count as started (0)."),
    "success_codes": Keyword(CODES, "Exit codes that count as finished, not as a crash ([0])."),
    "fatal_codes": Keyword(CODES, "Exit codes after which it stays failed ([])."),
    "stop_signal": Keyword(SIGNAL, 'The signal that asks it to stop ("TERM").'),
    "kill": Keyword(
        choice("group", "process", "tree"),
        "Who is killed when its time is up: its process group (the default), only its process, "
        "or all that descend from it.",
    ),
    "output": Keyword(
        text('"log", "inherit", or the path of a file'),
        'Where its output goes: into the log ("log", the default), to that of sprag ("inherit"), '
        "or to a file.",
    ),
    "pty": Keyword(
        FLAG, "Whether it writes to a terminal of its own: line by line, and with colours (false)."
    ),
    "output_limit": Keyword(
        whole("a whole number of lines a second, 1 or more", 1),
        "Lines a second that are logged; the rest is counted (20000).",
    ),
    "max_lifetime": Keyword(
        SECONDS,
        "Seconds after which it is recycled, 10 % more or less: stopped, and started again, one "
        "of its siblings at a time.",
    ),
    "replicas": Keyword(
        whole("a whole number, 1 or more", 1, 10_000),
        "How many of it run, as name/1, name/2 …; {replica} in its command, variables and probes "
        "is the number.",
    ),
    **POLICY,
}
SERVICE: Final = {
    "use": Keyword(
        text(
            'a class, as in "shop.metrics:MetricsService"',
            r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*",
        ),
        "The class of the service, as module:Class; modules are looked for beside this file first.",
    ),
    "args": Keyword(Kind("a table", {"type": "object"}, _arguments), "Its keyword arguments."),
    "heartbeat": HEARTBEAT,
    **POLICY,
}
GROUP: Final = {
    **LIMIT,
    "auto_shutdown": Keyword(
        choice("never", "any_significant", "all_significant"),
        "Whether it ends when its significant members have ended (never).",
    ),
    **POLICY,
}
APP: Final = {
    "name": Keyword(NAME, "What sprag calls the app; the default is the name of the folder."),
    "shutdown_timeout": Keyword(
        SECONDS_OR_0, "Seconds that the whole app may take to stop; --shutdown-timeout wins (30)."
    ),
    **LIMIT,
}
KINDS: Final = {"program": PROGRAM, "service": SERVICE, "group": GROUP}
"""The tables that stand for a service of the tree, each by its name below one of these."""
