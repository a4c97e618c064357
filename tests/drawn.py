"""What the command line draws, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sprag_cli.term.style import Line


def plain(line: Line) -> str:
    """Return a line without its tones."""
    return "".join(text for text, _ in line)
