"""Measure sprag beside OTP, bare gevent and the Python peers, and print one table of ratios.

Each measurement is a fresh process. Within a round every case is run contender by contender, so
that a machine that gets slower or busier hits all of them alike; the figures are medians over the
rounds. Slowness is no failure: the exit code is 1 only when sprag could not be measured at all.

    python tests/bench/run.py --quick
    python tests/bench/run.py --sizes 1000,10000,100000 --rows start,memory,stop --json figures.json

README.md beside this file says what each row is, contender by contender.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
SOURCE_ROOTS: Final = ("supervisor", "sprag", "cli")
SPRAG: Final = "sprag"
CONTENDERS: Final = (SPRAG, "gevent", "mode", "specter", "otp")
SHOWN: Final = {"otp": "OTP"}
COMPARED: Final = "sprag,gevent,otp"
"""With whom sprag's design compares it, by commas."""
SMALLEST_FOR_MEMORY: Final = 10_000  # below, a page here or there is the whole difference
SIBLINGS: Final = 10_000
MANY: Final = 100_000
MILLION: Final = 1_000_000
SCALE: Final = tuple(10**power for power in range(2, 7))
# More than these a contender is not asked for: a greenlet or a task each would need 10 GB.
MOST: Final = {"gevent": MANY, "mode": MANY, "specter": MANY}


# ---- what is measured


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One run of one contender: a process that gives the figures of one or more rows."""

    name: str
    sizes: Literal["all", "siblings", "largest", "none"]
    count: int = 0
    quick_count: int = 0
    in_quick: bool = True
    in_scale: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What sprag's design asks for.

    Attributes:
        of: Compared with this contender; or not compared.
        bound: Times better than the contender; or at most this much.
        aim: The same, hoped for.
        at: The only size it is asked for; 0: any. What others cost depends on the size.
    """

    of: Literal["otp", "gevent", "absolute"]
    bound: float
    aim: float | None = None
    at: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    key: str
    case: str
    metric: str
    title: str
    unit: str
    wanted: Wanted | None = None
    better: tuple[str, str] = ("faster", "slower")


SMALLER: Final = ("smaller", "larger")
FLATTER: Final = ("flatter", "steeper")

CASES: Final = {
    case.name: case
    for case in (
        Case("idle", "all", in_scale=True),
        Case("named", "siblings", in_scale=True),
        Case("crash", "all", 300, 300, in_scale=True),
        Case("crash-spawned", "siblings", 300, 300),
        Case("crash-dynamic", "siblings", 1000, in_quick=False),
        Case("crash-logged", "siblings", 300, in_quick=False),
        Case("storm", "siblings", 2000, 2000),
        Case("constancy", "largest", 1000, 1000),
        Case("emit", "none", 100_000, 20_000),
        Case("intervals", "largest"),
        Case("snapshot", "largest"),
        Case("hold", "largest", in_scale=True),
        Case("import", "none"),
        Case("help", "none"),
    )
}

ROWS: Final = (
    Row("start", "idle", "start_us", "idle service: start", "µs", Wanted("otp", 3.5, 4.5, MANY)),
    Row("memory", "idle", "bytes", "idle service: memory", "bytes", Wanted("otp", 9, 10), SMALLER),
    Row("stop", "idle", "stop_us", "idle service: stop", "µs", Wanted("otp", 25, 35, MANY)),
    Row(
        "named-start",
        "named",
        "start_us",
        "named service with a listener: start",
        "µs",
        Wanted("otp", 0.95, 1.1, SIBLINGS),
    ),
    Row("named-memory", "named", "bytes", "named service: memory", "bytes", None, SMALLER),
    Row(
        "named-stop", "named", "stop_us", "named service: stop", "µs", Wanted("otp", 3, 4, SIBLINGS)
    ),
    Row(
        "crash",
        "crash",
        "crash_us",
        "crash of a listener to running, one by one",
        "µs",
        Wanted("otp", 5, 7, SIBLINGS),
    ),
    Row(
        "crash-spawned",
        "crash-spawned",
        "crash_us",
        "crash of a spawned greenlet to running",
        "µs",
        Wanted("gevent", 1 / 0.7, 1 / 0.5, SIBLINGS),
    ),
    Row(
        "crash-dynamic",
        "crash-dynamic",
        "crash_us",
        "crash of a listener, dynamic supervisor",
        "µs",
    ),
    Row("crash-logged", "crash-logged", "crash_us", "crash of a listener, with logs written", "µs"),
    Row(
        "storm",
        "storm",
        "crash_us",
        "crash of a listener to running, 2,000 at once",
        "µs",
        Wanted("otp", 10, 16, SIBLINGS),
    ),
    Row(
        "constancy",
        "constancy",
        "start_ratio",
        "start: beside all siblings / beside few",
        "",
        Wanted("absolute", 1.2),
        FLATTER,
    ),
    Row(
        "constancy-removal",
        "constancy",
        "remove_ratio",
        "removal: beside all siblings / beside few",
        "",
        Wanted("absolute", 1.2),
        FLATTER,
    ),
    Row("emit", "emit", "emit_us", "emit to one listener", "µs", Wanted("absolute", 0.3, 0.2)),
    Row(
        "interval-start",
        "intervals",
        "start_us",
        "interval: start",
        "µs",
        Wanted("gevent", 2, 5),
    ),
    Row(
        "interval-memory",
        "intervals",
        "bytes",
        "interval: memory",
        "bytes",
        Wanted("gevent", 2, 5),
        SMALLER,
    ),
    Row(
        "interval-greenlets",
        "intervals",
        "greenlets",
        "intervals: greenlets while idle",
        "",
        Wanted("absolute", 16),
        ("fewer", "more"),
    ),
    Row("snapshot", "snapshot", "total_ms", "snapshot of the tree", "ms"),
    Row(
        "hold-start",
        "hold",
        "start_ms",
        "the loop held by the start of all, at worst",
        "ms",
        Wanted("absolute", 50, 20),
    ),
    Row(
        "hold-snapshot",
        "hold",
        "snapshot_ms",
        "the loop held by a snapshot, at worst",
        "ms",
        Wanted("absolute", 50, 20),
    ),
    Row(
        "hold-stop",
        "hold",
        "stop_ms",
        "the loop held by the stop of all, at worst",
        "ms",
        Wanted("absolute", 50, 20),
    ),
    Row(
        "import",
        "import",
        "import_ms",
        "import, beyond gevent or asyncio",
        "ms",
        Wanted("absolute", 60),
    ),
    Row("help", "help", "help_ms", "the command line's --help", "ms", Wanted("absolute", 150)),
)


# ---- running


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    case: Case
    n: int
    count: int


class Answer(TypedDict, total=False):
    """The line of JSON that a contender writes, and `failed` where it wrote none."""

    metrics: dict[str, float]
    version: str
    skip: str
    failed: str


@dataclasses.dataclass(slots=True)
class Outcome:
    """What one contender made of one job, over all rounds."""

    samples: list[dict[str, float]] = dataclasses.field(default_factory=list[dict[str, float]])
    skipped: str | None = None
    failed: str | None = None
    version: str | None = None

    def figure(self, metric: str) -> float | None:
        found = [sample[metric] for sample in self.samples if metric in sample]
        return statistics.median(found) if found else None


Results = dict[tuple[str, int], dict[str, Outcome]]


def jobs_for(
    rows: Sequence[Row], sizes: Sequence[int], *, quick: bool, scale: bool, million: bool
) -> Iterator[Job]:
    """Yield each case that the rows need, at each size it is run with."""
    needed = {row.case for row in rows}
    for case in CASES.values():
        if (
            case.name not in needed
            or (quick and not case.in_quick)
            or (scale and not case.in_scale)
        ):
            continue
        match case.sizes:
            case "none":
                ns = [1]
            case "siblings" if not scale:
                ns = [min(SIBLINGS, max(sizes))]
            case "largest" if not scale:
                ns = [max(sizes)]
            case _:
                ns = list(sizes)
        if million and case.name == "hold" and MILLION not in ns:
            ns.append(MILLION)
        for n in ns:
            count = case.quick_count if quick else case.count
            yield Job(case, n, count if case.sizes == "none" else min(count, n // 2))


def command_of(contender: str, python: str) -> list[str] | str:
    """Return the command that runs a contender, or why it cannot be run here."""
    if contender == "otp":
        escript = shutil.which("escript")
        if escript is None:
            return "escript (Erlang/OTP) is not installed"
        return [escript, str(HERE / "contenders" / "otp_bench.escript")]
    return [python, "-m", f"contenders.{contender}_bench"]


def environment(source: str) -> dict[str, str]:
    """Return a contender's environment: the tree's packages come before installed ones.

    Modules are compiled once, as those of an installed package are.
    """
    variables = dict(os.environ)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    if source:
        roots = [str(Path(source).resolve() / name) for name in SOURCE_ROOTS]
        variables["PYTHONPATH"] = os.pathsep.join(
            [*roots, *filter(None, [variables.get("PYTHONPATH")])]
        )
    return variables


def measure(command: Sequence[str], job: Job, variables: dict[str, str], limit: float) -> Answer:
    """Run one contender once; return its line of JSON, or `{"failed": text}` without one."""
    process = subprocess.Popen(
        [*command, job.case.name, str(job.n), str(job.count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=HERE,
        env=variables,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {"failed": f"not done after {limit:g} s"}
    lines = out.strip().splitlines()
    if process.returncode == 0 and lines and lines[-1].startswith("{"):
        answer: Answer = json.loads(lines[-1])
        return answer
    last = (err.strip() or out.strip() or "no output").splitlines()[-1]
    return {"failed": f"ended with {process.returncode}: {last[:200]}"}


def take(outcome: Outcome, answer: Answer) -> None:
    """Put one answer beside the earlier ones."""
    if "metrics" in answer:
        outcome.samples.append(answer["metrics"])
        outcome.version = answer.get("version")
    elif "skip" in answer:
        outcome.skipped = answer["skip"]
    else:
        outcome.failed = answer.get("failed")


def run(options: Options) -> tuple[Results, list[str]]:
    """Run all rounds within the time allowed; return what was found, and remarks on it."""
    results: Results = defaultdict(lambda: {name: Outcome() for name in options.contenders})
    variables = environment(options.source)
    began = time.monotonic()
    took: dict[tuple[str, int], float] = {}
    cut = 0
    for round_ in range(options.rounds):
        turn = round_ % len(options.contenders)
        order = options.contenders[turn:] + options.contenders[:turn]
        for job in options.jobs:
            key = job.case.name, job.n
            case_began = time.monotonic()
            if round_ and case_began - began + took[key] > options.budget:
                cut += 1
                continue
            for contender in order:
                outcome = results[key][contender]
                command = command_of(contender, options.python)
                if isinstance(command, str):
                    outcome.skipped = command
                elif job.n > MOST.get(contender, job.n):
                    outcome.skipped = f"would need 10 GB for {job.n:,}"
                elif outcome.skipped is None and outcome.failed is None:
                    say(f"{round_ + 1}/{options.rounds}  {job.case.name} {job.n:,}  {contender}")
                    take(outcome, measure(command, job, variables, options.limit))
            took[key] = time.monotonic() - case_began
    say("")
    remarks = [f"{time.monotonic() - began:.0f} s in all."]
    if cut:
        remarks.append(
            f"{cut} later rounds of a case were left out to stay within {options.budget:.0f} s."
        )
    return dict(results), remarks


def say(text: str) -> None:
    """Show progress on a terminal, and nowhere else."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


# ---- showing


def compare(ours: float | None, theirs: float | None, words: tuple[str, str]) -> str:
    """Say how sprag stands to a contender: "4.1x faster" when theirs is 4.1 times ours."""
    if ours is None or theirs is None or ours <= 0 or theirs <= 0:
        return ""
    ratio = theirs / ours
    if 0.95 < ratio < 1.05:
        return "as ours"
    good, bad = words
    return f"{times(ratio)} {good}" if ratio >= 1 else f"{times(1 / ratio)} {bad}"


def times(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio < 100 else f"{ratio:,.0f}x"


def number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def wanted_text(wanted: Wanted | None, n: int, unit: str) -> str:
    """Say what the design asks for: the bound, then the aim."""
    if wanted is None or wanted.at not in (0, n):
        return ""
    limits = [f"{limit:.3g}" for limit in (wanted.bound, wanted.aim) if limit is not None]
    if wanted.of == "absolute":
        return f"<= {' / '.join(limits)} {unit}".rstrip()
    return f"{'x / '.join(limits)}x {SHOWN.get(wanted.of, wanted.of)}"


def verdict(row: Row, n: int, outcomes: dict[str, Outcome]) -> str:
    """Return how far sprag came: "short", "met", "aim met", or nothing where none is asked for."""
    wanted, ours = row.wanted, outcomes[SPRAG].figure(row.metric) if SPRAG in outcomes else None
    if wanted is None or wanted.at not in (0, n) or ours is None:
        return ""
    if wanted.of == "absolute":
        reached = [limit is not None and ours <= limit for limit in (wanted.bound, wanted.aim)]
    else:
        theirs = outcomes[wanted.of].figure(row.metric) if wanted.of in outcomes else None
        if theirs is None or ours <= 0:
            return ""
        reached = [
            limit is not None and theirs / ours >= limit for limit in (wanted.bound, wanted.aim)
        ]
    return "aim met" if reached[1] else "met" if reached[0] else "short"


class Notes:
    """Footnotes: each reason once, with those it is true of."""

    def __init__(self) -> None:
        self.reasons: dict[str, list[str]] = {}

    def mark(self, contender: str, reason: str) -> str:
        names = self.reasons.setdefault(reason, [])
        if contender not in names:
            names.append(contender)
        return f"[{list(self.reasons).index(reason) + 1}]"

    def texts(self) -> Iterator[str]:
        for at, (reason, names) in enumerate(self.reasons.items(), 1):
            yield f"[{at}] {', '.join(names)}: {reason}"


def cell(contender: str, row: Row, outcomes: dict[str, Outcome], notes: Notes) -> str:
    """Return a contender's figure and how sprag compares with it."""
    outcome = outcomes[contender]
    value = outcome.figure(row.metric)
    if value is not None:
        ours = (
            outcomes[SPRAG].figure(row.metric) if SPRAG in outcomes and contender != SPRAG else None
        )
        return f"{number(value)}  {compare(ours, value, row.better)}".rstrip()
    if outcome.failed is not None:
        return f"failed {notes.mark(contender, outcome.failed)}"
    reason = outcome.skipped or "has no such figure"
    return f"- {notes.mark(contender, reason)}"


def table(
    rows: Sequence[Row], results: Results, contenders: Sequence[str]
) -> tuple[list[list[str]], list[str]]:
    """Return the table as rows of cells, its head first, and the footnotes."""
    notes = Notes()
    lines = [
        [
            "",
            "n",
            *(SHOWN.get(name, name) for name in contenders),
            "wanted (bound / aim)",
            "reached",
        ]
    ]
    for row in rows:
        for (case, n), outcomes in results.items():
            if case != row.case or (row.metric == "bytes" and n < SMALLEST_FOR_MEMORY):
                continue
            cells = [cell(name, row, outcomes, notes) for name in contenders]
            title = f"{row.title}, {row.unit}" if row.unit else row.title
            size = "" if CASES[case].sizes == "none" else f"{n:,}"
            lines.append(
                [
                    title,
                    size,
                    *cells,
                    wanted_text(row.wanted, n, row.unit),
                    verdict(row, n, outcomes),
                ]
            )
    return lines, list(notes.texts())


def as_text(lines: list[list[str]], *, markdown: bool) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for at, line in enumerate(lines):
        padded = [
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip()
        if at == 0:
            rule = ["-" * width for width in widths]
            yield f"| {' | '.join(rule)} |" if markdown else "  ".join(rule)


def machine() -> dict[str, object]:
    """Describe where the figures come from: enough to compare, nothing that names the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def versions_of(results: Results) -> dict[str, str]:
    found: dict[str, str] = {}
    for outcomes in results.values():
        for name, outcome in outcomes.items():
            if outcome.version is not None:
                found[name] = outcome.version
    return found


def as_json(options: Options, results: Results, about: dict[str, object]) -> dict[str, object]:
    records = [
        {
            "row": row.key,
            "n": n,
            "unit": row.unit,
            "contender": name,
            "median": outcome.figure(row.metric),
            "samples": [sample[row.metric] for sample in outcome.samples if row.metric in sample],
            "skipped": outcome.skipped,
            "failed": outcome.failed,
        }
        for row in options.rows
        for (case, n), outcomes in results.items()
        if case == row.case
        for name, outcome in outcomes.items()
    ]
    raw = [
        {"case": case, "n": n, "contender": name, "samples": outcome.samples}
        for (case, n), outcomes in results.items()
        for name, outcome in outcomes.items()
    ]
    return {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": about,
        "versions": versions_of(results),
        "rows": records,
        "raw": raw,
    }


# ---- the command line


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    rows: tuple[Row, ...]
    jobs: tuple[Job, ...]
    contenders: tuple[str, ...]
    rounds: int
    budget: float
    limit: float
    python: str
    source: str
    json: Path | None
    markdown: bool


def chosen(text: str | None, names: Iterable[str], what: str) -> tuple[str, ...]:
    """Split a list of names, refusing unknown ones."""
    every = tuple(names)
    if text is None:
        return every
    asked = tuple(name.strip() for name in text.split(","))
    for name in asked:
        if name not in every:
            raise ValueError(f"no {what} {name!r}; there are: {', '.join(every)}")
    return tuple(name for name in every if name in asked)


def parse(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of small sizes, beside gevent and OTP, under 40 s",
    )
    parser.add_argument(
        "--scale",
        action="store_true",
        help="cost against size, from 100 to 1,000,000, for the plots; takes twenty minutes",
    )
    parser.add_argument(
        "--million",
        action="store_true",
        help="measure how long the loop is held with 1,000,000 services, too (needs 3 GB)",
    )
    parser.add_argument(
        "--sizes", help="how many services, by commas (1000,10000,100000; quick: 1000,10000)"
    )
    parser.add_argument(
        "--rows", help=f"only these, by commas: {', '.join(row.key for row in ROWS)}"
    )
    parser.add_argument("--contenders", help=f"only these, by commas: {', '.join(CONTENDERS)}")
    parser.add_argument(
        "--rounds", type=int, help="how often each measurement is repeated (3; quick: 1)"
    )
    parser.add_argument(
        "--budget",
        type=float,
        help="seconds after which no further round begins (270; quick: 35; scale: 1200)",
    )
    parser.add_argument(
        "--limit", type=float, help="seconds one measurement may take (60; scale: 180)"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="the interpreter that runs the Python contenders"
    )
    parser.add_argument(
        "--source", default=str(ROOT), help="the tree sprag is taken from; '' for an installed one"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table for a page of documentation"
    )
    given = parser.parse_args(arguments)
    quick: bool = given.quick
    scale: bool = given.scale
    usual = SCALE if scale else (1_000, SIBLINGS) if quick else (1_000, SIBLINGS, MANY)
    asked: str = given.sizes or ",".join(map(str, usual))
    try:
        sizes = sorted({int(size) for size in asked.split(",")})
    except ValueError:
        parser.error("--sizes wants whole numbers, by commas")
    if sizes[0] < 100:
        parser.error("--sizes below 100 measure nothing")
    try:
        keys = chosen(given.rows, (row.key for row in ROWS), "row")
        contenders = chosen(
            given.contenders or (COMPARED if scale or quick else None), CONTENDERS, "contender"
        )
    except ValueError as error:
        parser.error(str(error))
    rows = tuple(row for row in ROWS if row.key in keys)
    return Options(
        rows=rows,
        jobs=tuple(jobs_for(rows, sizes, quick=quick, scale=scale, million=given.million)),
        contenders=contenders,
        rounds=given.rounds or (1 if quick else 3),
        budget=given.budget or (1200.0 if scale else 35.0 if quick else 270.0),
        limit=given.limit or (180.0 if scale else 60.0),
        python=given.python,
        source=given.source,
        json=given.json,
        markdown=given.markdown,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    about = machine()
    results, remarks = run(options)
    lines, notes = table(options.rows, results, options.contenders)
    write = sys.stdout.write
    write(
        f"{about['processor']}, {about['cores']} cores, {about['python']}, load {about['load']}\n"
    )
    write(f"{'; '.join(versions_of(results).values())}\n")
    write(
        "Each cell: that contender's figure, then how sprag compares with it; "
        "'4.1x faster': sprag took 1/4.1 of its time.\n\n"
    )
    for line in as_text(lines, markdown=options.markdown):
        write(f"{line}\n")
    write("\n")
    for note in notes:
        write(f"{note}\n")
    write(f"{' '.join(remarks)}\n")
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(options, results, about), indent=1) + "\n")
    measured = SPRAG not in options.contenders or any(
        outcomes[SPRAG].samples for outcomes in results.values()
    )
    return 0 if measured else 1


if __name__ == "__main__":
    sys.exit(main())
