"""One JSON object per line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from structlog.processors import JSONRenderer

from sprag_cli.term.plain import shown

if TYPE_CHECKING:
    from structlog.typing import EventDict

AFTER_TIME: Final = ","
"""What comes after the time of a record, and never in it."""
_render: Final = JSONRenderer(default=shown)


def JSON(logger: object, method: str, event: EventDict) -> str:  # noqa: N802 - as a renderer
    """Return a record as JSON in ASCII; DEL, which JSON lets pass, is escaped too."""
    return str(_render(logger, method, event)).replace("\x7f", "\\u007f")


def repeated(text: str, times: int) -> str:
    """Return what says of a record that it came so many more times."""
    return f'{text[:-1]}, "repeated": {times}}}'
