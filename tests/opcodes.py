"""What something costs, counted: the opcodes of Python, which are the same on every machine."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import greenlet

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType


@contextmanager
def counted() -> Generator[list[int]]:
    """Count the opcodes that are executed during the block, whatever greenlet it is in."""
    count = [0]

    def each(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "opcode":
            count[0] += 1
        elif event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return each

    def switched(_event: str, _greenlets: object) -> None:
        sys.settrace(each)

    outer = greenlet.settrace(switched)
    gc.collect()
    gc.disable()  # what it finds, and when, is not the step's
    sys.settrace(each)
    try:
        yield count
    finally:
        sys.settrace(None)
        greenlet.settrace(outer)
        gc.enable()
