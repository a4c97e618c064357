"""Tracebacks as Python prints them, but the rounds of a recursion are told once."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from sprag_supervisor import folded, said_of

if TYPE_CHECKING:
    from structlog.typing import ExcInfo


class _Folded(traceback.StackSummary):
    """Frames that are told once where they follow themselves, however many make a round."""

    def format(self, **options: Any) -> list[str]:
        lines: list[str] = []
        place = 0
        for piece, more in folded([(each.filename, each.lineno, each.name) for each in self]):
            shown = self[place : place + len(piece)]
            lines += traceback.StackSummary.from_list(shown).format(**options)
            if more:
                lines.append(f"  {said_of(len(piece), more)}\n")
            place += len(piece) * (more + 1)
        return lines


def formatted(exc_info: ExcInfo) -> str:
    """Return the traceback of an exception and of what led to it."""
    shown = traceback.TracebackException(*exc_info)
    pending = [shown]
    while pending:
        each = pending.pop()
        each.stack = _Folded(each.stack)
        chained = [each.__cause__, each.__context__, *(each.exceptions or ())]
        pending += [other for other in chained if other is not None]
    return "".join(shown.format()).removesuffix("\n")
