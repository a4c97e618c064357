"""Who runs at a frame of another thread, and where: for who is told when the loop is held.

Works in any thread, and runs no code of a user's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from sprag_supervisor import Node, attribute_of, is_a, module_of

if TYPE_CHECKING:
    from types import FrameType

_LIBRARIES: Final = ("sprag", "sprag_supervisor", "sprag_cli", "gevent", "greenlet")
_STANDARD: Final = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - a prefix of file names
_FRAMES: Final = 30


class Place(NamedTuple):
    """A line of code."""

    file: str
    line: int
    name: str


def place_of(frame: FrameType | None) -> Place | None:
    """Return the innermost line at *frame* that is not of a library; the innermost if all are."""
    place = frame
    while frame is not None:
        if not _is_of_a_library(frame):
            place = frame
            break
        frame = frame.f_back
    return None if place is None else _place(place)


def places_of(frame: FrameType | None) -> list[Place]:
    """Return the innermost 30 lines at *frame*, the outermost first."""
    places: list[Place] = []
    while frame is not None and len(places) < _FRAMES:
        places.append(_place(frame))
        frame = frame.f_back
    return places[::-1]


def _place(frame: FrameType) -> Place:
    code = frame.f_code
    line: int | None = frame.f_lineno  # None amid an instruction that is of no line
    return Place(code.co_filename, line or code.co_firstlineno, code.co_name)


def _is_of_a_library(frame: FrameType) -> bool:
    module = module_of(frame)
    file = frame.f_code.co_filename
    return (
        module.partition(".")[0] in _LIBRARIES
        or file.startswith(("<frozen", _STANDARD))
        or f"{os.sep}site-packages{os.sep}" in file
    )


def holder_of(frame: FrameType | None) -> Node | None:
    """Return the service on whose behalf the code at *frame* runs, if any.

    Whatever runs for a service is called by one of sprag's own frames, which has the
    node, or an object that knows it, among its locals.
    """
    while frame is not None:
        if module_of(frame).startswith(("sprag.", "sprag_supervisor.")):
            for name in ("node", "self"):
                found = frame.f_locals.get(name)
                if is_a(found, Node):
                    return found
                for attribute in ("_node", "node"):
                    candidate = attribute_of(found, attribute)
                    if is_a(candidate, Node):
                        return candidate
        frame = frame.f_back
    return None
