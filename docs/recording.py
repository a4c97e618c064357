"""Record `crash.svg`: the app of the README, run in a real terminal, as a picture that moves.

``python docs/recording.py`` records it if the app has changed since, ``--again`` in any case. It
needs tmux, and `sprag` beside the interpreter that runs this. What was on the screen is drawn as it
was, at the time it was there; only the folders have shorter names.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOCS = Path(__file__).resolve().parent
PICTURE = DOCS / "crash.svg"

COLUMNS, ROWS = 104, (15, 6)
"""Of the two terminals, one above the other."""
SECONDS = 10.0
"""For how long is recorded, once the app is up."""
STILL = 2.5
"""For how long the last screen stays, before all begins anew."""
SOCKET = re.compile(r"/tmp/sprag-\d+/")  # noqa: S108 - nothing is written there
EVERY = 0.2
LETTER = 0.06
"""For how long a letter is typed in the picture: tmux takes longer, on a busy machine."""

WIDTH, HEIGHT = 7.83, 18.0
STYLE = """
rect { fill: #f6f8fa; stroke: #d0d7de; }
text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2328;
  white-space: pre; }
.bold { font-weight: 600; } .dim { fill: #59636e; } .green { fill: #1a7f37; }
.red { fill: #cf222e; } .yellow { fill: #9a6700; } .cyan { fill: #1b7c83; }
@media (prefers-color-scheme: dark) {
rect { fill: #151b23; stroke: #3d444d; }
text { fill: #f0f6fc; } .dim { fill: #9198a1; } .green { fill: #3fb950; }
.red { fill: #f85149; } .yellow { fill: #d29922; } .cyan { fill: #39c5cf; }
}
"""
CODES = {"1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow", "36": "cyan"}
COLOURS = {"red", "green", "yellow", "cyan"}


def app_of_the_readme() -> str:
    """Return the source of the app that the README begins with."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    found = re.search(r'```python title="app\.py"\n(.*?)```', readme, re.DOTALL)
    assert found is not None, "README.md shows no app.py"
    return found[1]


def mark_of(source: str) -> str:
    """Return what says of which source a picture is."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


# -- what is on the screen --------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """A piece of a line: where it begins, its text, and the names of its colours."""

    column: int
    text: str
    style: str


def spans(line: str) -> Iterator[Span]:
    """Yield the pieces of a line as tmux tells it, without the blank ones."""
    style: set[str] = set()
    column = 0
    for escaped, text in re.findall(r"\x1b\[([\d;]*)m|([^\x1b]+)", line):
        if text:
            bare = text.lstrip(" ")
            if bare.strip():
                yield Span(column + len(text) - len(bare), bare.rstrip(), " ".join(sorted(style)))
            column += len(text)
            continue
        for code in (escaped or "0").split(";"):
            if code in {"0", ""}:
                style.clear()
            elif code == "39":
                style -= COLOURS
            elif code == "22":
                style -= {"bold", "dim"}
            elif code in CODES:
                style.add(CODES[code])


def whole(lines: Sequence[str]) -> list[str]:
    """Return each line with the colours that it has from the lines above it."""
    found: list[str] = []
    held = ""
    for line in lines:
        found.append(held + line if line else "")
        held = "".join(re.findall(r"\x1b\[[\d;]*m", held + line))
        held = re.sub(r".*\x1b\[(?:0|(?=[;m]))", "\x1b[0", held)
    return found


@dataclass(frozen=True)
class Stay:
    """A line of the picture, and from when to when it is there, in seconds."""

    row: int
    line: str
    begin: float
    end: float


def stays(screens: Sequence[tuple[float, Sequence[str]]], end: float) -> list[Stay]:
    """Return when each line was where, of screens and the times at which they were seen."""
    times = [at for at, _ in screens] + [end]
    found: list[Stay] = []
    for row in range(max(len(lines) for _, lines in screens)):
        column = [
            (lines[row] if row < len(lines) else "", *moment)
            for (_, lines), moment in zip(screens, pairwise(times), strict=True)
        ]
        for line, same in groupby(column, key=lambda each: each[0]):
            moments = list(same)
            if line.strip():
                found.append(Stay(row, line, moments[0][1], moments[-1][2]))
    return found


def drawn(screens: Sequence[tuple[float, Sequence[str]]], end: float, mark: str) -> str:
    """Return the picture, which begins anew after *end* seconds."""
    above, below = ROWS
    width, gap = COLUMNS * WIDTH + 28, 8.0
    boxes = [(0.0, above * HEIGHT + 20), (above * HEIGHT + 20 + gap, below * HEIGHT + 20)]
    height = boxes[1][0] + boxes[1][1] + 1
    moments: dict[tuple[float, float], str] = {}
    texts: list[str] = []
    for stay in stays(screens, end):
        moment = moments.setdefault((stay.begin, stay.end), f"t{len(moments)}")
        top = boxes[0][0] if stay.row < above else boxes[1][0] - above * HEIGHT
        pieces = "".join(
            f'<tspan x="{14 + span.column * WIDTH:.1f}"'
            + (f' class="{span.style}"' if span.style else "")
            + f">{escape(span.text, quote=False)}</tspan>"
            for span in spans(stay.line)
        )
        last = " last" if stay.end == end else ""
        texts.append(
            f'<text class="{moment}{last}" y="{top + 24 + stay.row * HEIGHT:.0f}">{pieces}</text>'
        )
    rules = [f"text {{ visibility: hidden; animation: {end:.1f}s step-end infinite; }}"]
    for (begin, until), name in moments.items():
        steps = {0.0: "hidden", begin / end: "visible"}
        if until < end:
            steps[until / end] = "hidden"
        frames = " ".join(f"{at:.2%} {{ visibility: {how}; }}" for at, how in steps.items())
        rules.append(f"@keyframes {name} {{ {frames} }} .{name} {{ animation-name: {name}; }}")
    rules.append(
        "@media (prefers-reduced-motion: reduce) "
        "{ text { animation: none; } .last { visibility: visible; } }"
    )
    rects = "".join(
        f'<rect x="0.5" y="{top + 0.5:.1f}" width="{width - 1:.1f}" height="{tall:.1f}" rx="6"/>\n'
        for top, tall in boxes
    )
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        "<title>Above, sprag run: the courier crashes and is restarted. "
        "Below, sprag tree: it is counted, and the clock has not noticed</title>\n"
        f"<!-- recorded by docs/recording.py, of the app {mark} -->\n"
        f"<style>{STYLE}"
        + "\n".join(rules)
        + f"\n</style>\n{rects}"
        + "\n".join(texts)
        + "\n</svg>\n"
    )


# -- how it is recorded -----------------------------------------------------------------------


class Terminals:
    """Two terminals, one above the other, in a tmux of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = str(folder / "tmux")
        self._screens: list[tuple[float, list[str]]] = []
        self._began = time.monotonic()
        above, below = ROWS
        shell = f"cd {folder}/shop && exec env PS1='$ ' sh"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS),
                   "-y", str(above + below + 1), shell)  # fmt: skip
        self._tmux("set", "-g", "status", "off")
        self._tmux("split-window", "-v", "-l", str(below), shell)

    def _tmux(self, *words: str) -> str:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {**os.environ, "PATH": path, "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        done = subprocess.run(
            ["tmux", "-S", self._socket, *words],
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def record(self, seconds: float) -> list[str]:
        """Look for so long; returns what is seen in the end."""
        until = time.monotonic() + seconds
        lines: list[str] = []
        while True:
            lines = [
                SOCKET.sub("/run/sprag/", line.replace(str(self._folder), "/srv"))
                for pane, rows in enumerate(ROWS)
                for line in (self._pane(pane) + [""] * rows)[:rows]
            ]
            if not self._screens or self._screens[-1][1] != lines:
                self._screens.append((round(time.monotonic() - self._began, 2), lines))
            if (left := until - time.monotonic()) <= 0:
                return lines
            time.sleep(min(EVERY, left))

    def _pane(self, pane: int) -> list[str]:
        return whole(self._tmux("capture-pane", "-p", "-e", "-t", f":.{pane}").splitlines())

    def type(self, pane: int, text: str) -> None:
        """Type a line, letter by letter."""
        at = time.monotonic() - self._began
        for letter in text:
            self._tmux("send-keys", "-t", f":.{pane}", "-l", letter)
            at += LETTER
            self._began = time.monotonic() - at
            self.record(0)
        self._tmux("send-keys", "-t", f":.{pane}", "Enter")

    def until(self, word: str) -> None:
        """Wait until *word* is on a screen."""
        for _ in range(300):
            if any(word in line for line in self.record(EVERY)):
                return
        raise TimeoutError(f"the terminals never show {word!r}")

    def picture(self, mark: str) -> str:
        """Return what has been recorded."""
        return drawn(self._screens, self._screens[-1][0] + STILL, mark)

    def close(self) -> None:
        """End both terminals."""
        self._tmux("kill-server")


def recorded(source: str) -> str:
    """Run the app, look at it from a second terminal, and return the picture of both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shop").mkdir()
        (folder / "shop" / "app.py").write_text(source, encoding="utf-8")
        terminals = Terminals(folder)
        try:
            terminals.record(0.6)
            terminals.type(0, "sprag run app:app")
            terminals.until("seconds=")
            terminals.type(1, "sprag tree --watch")
            terminals.record(SECONDS)
            return terminals.picture(mark_of(source))
        finally:
            terminals.close()


def main() -> None:
    """Record the picture, if there is none of this app."""
    source = app_of_the_readme()
    is_of_it = PICTURE.exists() and mark_of(source) in PICTURE.read_text(encoding="utf-8")
    if not is_of_it or "--again" in sys.argv:
        PICTURE.write_text(recorded(source), encoding="utf-8")


if __name__ == "__main__":
    main()
