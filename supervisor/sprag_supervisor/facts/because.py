"""Why a service is down, in a word, and whom that has to do with."""

from __future__ import annotations

from typing import Literal, NamedTuple

By = Literal[
    "operator",
    "code",
    "group",
    "parent",
    "ignored",
    "autostart",
    "needs",
    "held",
    "crashed",
    "start_failed",
    "gave_up",
    "finished",
    "shutdown",
    "recycled",
]


class Because(NamedTuple):
    """Why a service is down.

    Attributes:
        by: Stopped over the control socket (``operator``) or by a call of `stop` (``code``); with a
            sibling that is restarted, or was to be (``group``); with what is above it
            (``parent``); its `on_start` has raised Ignore (``ignored``); it is not started by
            itself (``autostart``); it waits for what it needs (``needs``), or for a release
            (``held``). Else what its last life has ended of, as in an `Exit`.
        of: The path of the sibling, of the parent, of whom it needs, or of what is held; None for
            all else.
    """

    by: By
    of: str | None = None
