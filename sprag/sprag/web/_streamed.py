"""A body that is made while it is sent."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Streamed:
    """Makes each piece in the context of its request, so that what is logged says for whom.

    The server asks for the pieces when the controller has long returned, and the names
    that were bound for its request are unbound again. Made while they are bound.

    Attributes:
        on_close: Called when it is over, whatever becomes of it.
    """

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body: Any = body
        self._pieces = iter(body)
        self._context = copy_context()
        self.on_close: Callable[[], object] = int

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return self._context.run(next, self._pieces)

    def close(self) -> None:
        """Release what the body holds."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                self._context.run(close)
        finally:
            self.on_close()
