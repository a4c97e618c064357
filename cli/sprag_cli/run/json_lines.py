"""One JSON object per line."""

from __future__ import annotations

from json import JSONEncoder
from typing import TYPE_CHECKING, Final

from sprag_cli.term.plain import shown

if TYPE_CHECKING:
    from structlog.typing import EventDict

AFTER_TIME: Final = ","
"""What comes after the time of a record, and never in it."""
_encoded: Final = JSONEncoder(default=shown).encode  # `json.dumps` makes an encoder for each record


def JSON(logger: object, method: str, event: EventDict) -> str:  # noqa: N802 - as a renderer
    """Return a record as JSON in ASCII; DEL, which JSON lets pass, is escaped too."""
    del logger, method
    return _encoded(event).replace("\x7f", "\\u007f")


def repeated(text: str, times: int) -> str:
    """Return what says of a record that it came so many more times."""
    return f'{text[:-1]}, "repeated": {times}}}'
