"""What engines take, and how long they keep it."""

from __future__ import annotations

from typing import Final

from sprag.cluster.exceptions import EngineFull

LARGEST: Final = 65_536
"""Bytes of a value, or of a message."""
MOST_EVENTS: Final = 100_000
"""Of a topic, which are kept for who has not read them."""
DAY: Final = 86_400_000
"""Milliseconds after which they are dropped all the same."""
AT_ONCE: Final = 100
"""Messages in one page."""
LARGEST_PAGE: Final = 65_536
"""Bytes after which there are no more in it."""


def check_size(data: bytes | None) -> None:
    """Refuse what no engine takes.

    Raises:
        EngineFull: It is too large.
    """
    if data is not None and len(data) > LARGEST:
        raise EngineFull("bytes in one value", LARGEST)
