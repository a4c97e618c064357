"""Draw the plots of docs/performance.md from the figures of a run: cost against size.

    make bench ARGS="--scale --json docs/plots/figures.json"
    python tests/bench/plot.py docs/plots/figures.json

The pictures are written beside the figures. Both axes are logarithmic; a flat line is a cost that
does not depend on the size.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Point = tuple[float, float]

WIDTH: Final = 400  # of one panel, with all that belongs to it
HEIGHT: Final = 250
LEFT, RIGHT, TOP, BOTTOM = 50, 76, 46, 34  # of the panel, around its field
FOOT: Final = 30
SMALLEST_FOR_MEMORY: Final = 10_000  # below, a page here or there is the whole difference

STYLE: Final = """\
.back { fill: #f6f8fa; stroke: #d0d7de; }
text { font: 12px system-ui, "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #59636e; }
.title { font-weight: 600; font-size: 13px; fill: #1f2328; }
.grid { stroke: #d0d7de; } .axis { stroke: #818b98; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.l0 { stroke: #0969da; } .l1 { stroke: #bc4c00; stroke-dasharray: 7 3; }
.l2 { stroke: #1a7f37; stroke-dasharray: 2 3; }
.m0 { fill: #0969da; } .m1 { fill: #bc4c00; } .m2 { fill: #1a7f37; }
.name { font-weight: 600; paint-order: stroke; stroke: #f6f8fa; stroke-width: 4px; }
@media (prefers-color-scheme: dark) {
.back { fill: #151b23; stroke: #3d444d; }
text { fill: #9198a1; } .title { fill: #f0f6fc; }
.grid { stroke: #2f3742; } .axis { stroke: #656c76; }
.l0 { stroke: #4493f8; } .l1 { stroke: #f0883e; } .l2 { stroke: #3fb950; }
.m0 { fill: #4493f8; } .m1 { fill: #f0883e; } .m2 { fill: #3fb950; }
.name { stroke: #151b23; }
}"""


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """What one of those who are compared needs, at each size."""

    name: str
    points: tuple[Point, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Panel:
    """One field with its axes: lines that are to be compared."""

    title: str
    lines: tuple[Line, ...]


class Axis:
    """A logarithmic scale from a length in pixels to a range of values."""

    def __init__(self, values: Sequence[float], begin: float, end: float, *, wide: bool) -> None:
        low, high = min(values), max(values)
        if wide:  # to the round values around, so that there is always something to read
            low = max(value for value in _round_values(low / 10, low) if value <= low)
            high = min(value for value in _round_values(high, high * 10) if value >= high)
        self.low, self.high = low, high
        self.begin, self.end = begin, end

    def at(self, value: float) -> float:
        """Return where *value* is."""
        span = math.log(self.high / self.low) or 1.0
        return self.begin + (self.end - self.begin) * math.log(value / self.low) / span

    def ticks(self) -> list[float]:
        """Return the values to be named: powers of ten, and where those are few, 2 and 5 times."""
        values = [each for each in _round_values(self.low, self.high) if self._has(each)]
        powers = [each for each in values if math.log10(each).is_integer()]
        return powers if len(powers) > 2 else values

    def _has(self, value: float) -> bool:
        return self.low <= value * 1.0001 and value <= self.high * 1.0001


def _round_values(low: float, high: float) -> Iterator[float]:
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for digit in (1, 2, 5):
            yield digit * 10.0**power


def figure(title: str, panels: Sequence[Panel], foot: str, columns: int = 2) -> str:
    """Return an SVG of all panels, in rows."""
    columns = min(columns, len(panels))
    width = WIDTH * columns
    height = HEIGHT * math.ceil(len(panels) / columns) + FOOT
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="back" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6"/>',
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        parts.append(f'<g transform="translate({column * WIDTH} {row * HEIGHT})">')
        parts.extend(_panel(panel))
        parts.append("</g>")
    parts.append(_text(LEFT, height - 12, foot))
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    x = Axis([point[0] for point in points], LEFT, WIDTH - RIGHT, wide=False)
    y = Axis([point[1] for point in points], HEIGHT - BOTTOM, TOP, wide=True)
    yield _text(LEFT, 26, panel.title, "title")
    for value in y.ticks():
        yield _stroke("grid", x.begin, y.at(value), x.end, y.at(value))
        yield _text(LEFT - 7, y.at(value) + 4, _named(value), anchor="end")
    for value in x.ticks():
        yield _stroke("axis", x.at(value), y.begin, x.at(value), y.begin + 4)
        yield _text(x.at(value), y.begin + 18, _named(value), anchor="middle")
    yield _stroke("axis", x.begin, y.begin, x.end, y.begin)
    for number, line in enumerate(panel.lines):
        places = [(x.at(size), y.at(cost)) for size, cost in line.points]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
        yield f'<polyline class="line l{number}" points="{path}"/>'
        for px, py in places:
            yield f'<circle class="m{number}" cx="{px:.1f}" cy="{py:.1f}" r="3"/>'
    for number, place in enumerate(_apart([y.at(line.points[-1][1]) for line in panel.lines])):
        line = panel.lines[number]
        yield _text(x.at(line.points[-1][0]) + 8, place + 4, line.name, f"name m{number}")


def _apart(places: Sequence[float], distance: float = 14) -> list[float]:
    """Return the heights of the names at the ends of lines, moved so that none hides another."""
    moved = list(places)
    last = -math.inf
    for number in sorted(range(len(moved)), key=lambda number: places[number]):
        last = moved[number] = max(moved[number], last + distance)
    return moved


def _named(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _text(x: float, y: float, said: str, kind: str = "", anchor: str = "start") -> str:
    extra = f' class="{kind}"' if kind else ""
    extra += "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(said)}</text>'


def _stroke(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


# -- what is drawn of a run ----------------------------------------------------------------------

COSTS: Final = {
    "start": "start of an idle service, µs",
    "stop": "stop of an idle service, µs",
    "named-start": "start of a named service with a listener, µs",
    "named-stop": "stop of a named service with a listener, µs",
    "crash": "crash of a listener until running again, µs",
    "memory": "memory of an idle service, bytes",
}
HOLDS: Final = {"hold-start": "start", "hold-snapshot": "snapshot", "hold-stop": "stop"}
NAMES: Final = {"sprag": "sprag", "gevent": "gevent", "otp": "OTP"}


def plots(figures: dict[str, Any]) -> dict[str, str]:
    """Return the pictures of a run by the names of their files."""
    found: defaultdict[tuple[str, str], list[Point]] = defaultdict(list)
    for each in figures["rows"]:
        is_noise = each["row"] == "memory" and each["n"] < SMALLEST_FOR_MEMORY
        if each["median"] is not None and not is_noise:
            found[each["row"], each["contender"]].append((each["n"], each["median"]))
    costs = [
        Panel(
            title,
            tuple(
                Line(shown, tuple(sorted(found[row, name])))
                for name, shown in NAMES.items()
                if found[row, name]
            ),
        )
        for row, title in COSTS.items()
    ]
    holds = Panel(
        "longest hold of the loop, ms",
        tuple(
            Line(shown, tuple(sorted(found[row, "sprag"])))
            for row, shown in HOLDS.items()
            if found[row, "sprag"]
        ),
    )
    foot = _foot(figures)
    drawn = [panel for panel in costs if panel.lines]
    pictures = {"cost.svg": figure("Cost against the number of services", drawn, foot)}
    if holds.lines:
        held = "How long the loop is held, against the number of services"
        pictures["hold.svg"] = figure(held, [holds], "against the number of services", columns=1)
    return pictures


def _foot(figures: dict[str, Any]) -> str:
    machine = figures["machine"]
    versions = [text.partition(",")[0] for text in figures["versions"].values()]
    said = [f"{machine['processor']}, {machine['cores']} cores", machine["python"], *versions]
    return f"against the number of services; {', '.join(said)}; {figures['date']}"


def main() -> None:
    """Draw what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, help="what run.py --json has written")
    figures: Path = parser.parse_args().figures
    for name, picture in plots(json.loads(figures.read_text())).items():
        (figures.parent / name).write_text(picture)


if __name__ == "__main__":
    main()
