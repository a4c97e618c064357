"""Frames of a recursion, told once: by two functions that call each other as well as by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

_LONGEST: Final = 12
"""Frames of one round."""
_FEWEST: Final = 3
"""Rounds: nothing would be left out of two, which may begin with many of one frame."""
_KEPT: Final = 3
"""Of the rounds of one frame, as Python does; of longer ones, one."""


def folded(frames: Sequence[T]) -> Iterator[tuple[Sequence[T], int]]:
    """Split *frames* into pieces, each with how many more times it follows itself."""
    place = shown_to = 0
    while place < len(frames):
        size, rounds = _round_at(frames, place)
        kept = _KEPT if size == 1 else 1
        if rounds < kept + 2:
            place += 1
            continue
        end = place + kept * size
        yield frames[shown_to:place], 0
        if size == 1:
            yield frames[place : end - 1], 0
            yield frames[end - 1 : end], rounds - kept
        else:
            yield frames[place:end], rounds - kept
        place = shown_to = place + rounds * size
    yield frames[shown_to:], 0


def said_of(size: int, more: int) -> str:
    """Say in Python's words that the last *size* frames are there so many more times."""
    previous = "line" if size == 1 else f"{size} frames"
    return f"[Previous {previous} repeated {more} more time{'s' if more > 1 else ''}]"


def _round_at(frames: Sequence[T], place: int) -> tuple[int, int]:
    """Return the round that begins at *place*: how many frames it has, and how often it comes."""
    best = 1, 1
    for size in range(1, _LONGEST + 1):
        end = place + size
        while end < len(frames) and frames[end] == frames[end - size]:
            end += 1
        rounds = (end - place) // size
        if rounds >= _FEWEST and size * rounds > best[0] * best[1]:
            best = size, rounds
    return best
