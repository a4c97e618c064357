"""What a command goes by where nothing else is given."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


ANSWERING: Final = 5.0
"""Seconds in which an app that is asked something may be expected to answer."""
ACTING: Final = 30.0
"""Seconds for what lasts as long as the app's services take."""
EVERY: Final = 1.0
"""Seconds between two looks at a tree that is watched."""
