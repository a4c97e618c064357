"""The documentation states facts about the code; these tests compare the two.

`test_documentation.py` runs the examples. Here are the tables: defaults, exit codes, names,
signatures, states and OTP's rules.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import sprag
import sprag.exceptions
import sprag.host
import sprag.programs
import sprag.programs.exceptions
import sprag.testing
import sprag.testing.plugin
import sprag.testing.strategies
import sprag.web.exceptions
import sprag.workers.exceptions
import sprag_cli
import sprag_supervisor
from bench.plot import plots
from sprag._exit_codes import ExitCode
from sprag.cluster import mail as _mail
from sprag.cluster import member as _member
from sprag.cluster import memory as _engine
from sprag.control import log_ring as _log_ring
from sprag.control import start_times as _start_times
from sprag.owned import lifecycle as _lifecycle
from sprag.process import log_queue as _log_queue
from sprag.services.reloading import MOST
from sprag_cli.commands.group import commands
from sprag_supervisor import Reason, State
from sprag_supervisor.facts import crash as _crash
from sprag_supervisor.facts import failure as _failure
from sprag_supervisor.facts import memory as _memory
from sprag_supervisor.facts.report import MOST_ENTRIES
from sprag_supervisor.life.steps import KILL_GRACE
from sprag_supervisor.rules.policy import DEFAULT, KEYWORDS
from sprag_supervisor.rules.states import MOVES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"


def section(page: str, heading: str) -> str:
    """Return what stands under *heading*, down to the next heading of its rank or above."""
    text = (DOCS / page).read_text(encoding="utf-8")
    begin = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert begin is not None, f"docs/{page} has no heading {heading!r}"
    rest = text[begin.end() :]
    end = re.search(rf"^#{{1,{len(begin[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the tables in *text*, without their heads."""
    in_body = False
    for line in text.splitlines():
        if not line.startswith("|"):
            in_body = False
        elif re.fullmatch(r"\|(-+\|)+", line):
            in_body = True
        elif in_body:
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            yield [cell.strip().replace("\\|", "|") for cell in cells]


def code(cell: str) -> str:
    """Return the text of a cell that is all code."""
    found = re.fullmatch(r"`([^`]+)`", cell)
    assert found is not None, f"not all code: {cell}"
    return found[1]


def literal(cell: str) -> object:
    return ast.literal_eval(cell.strip("`"))


# -- operations.md -------------------------------------------------------------------------------


def default_of(fn: Any, parameter: str) -> object:
    default: object = inspect.signature(fn).parameters[parameter].default
    return default


def option_of(command: str, option: str) -> object:
    for each in commands.commands[command].params:
        if option in each.opts:
            default: object = each.default
            return default
    raise AssertionError(f"sprag {command} has no option {option}")


def true_defaults() -> dict[str, object]:
    """Return every default that operations.md has to name, from the code."""
    defaults: dict[str, object] = {name: getattr(DEFAULT, name) for name in KEYWORDS}
    for field in dataclasses.fields(sprag.Backoff):
        defaults[f"Backoff({field.name}=)"] = field.default
    defaults["Service.stop(timeout=)"] = default_of(sprag.Service.stop, "timeout")
    defaults["App.stop(timeout=)"] = default_of(sprag.App.stop, "timeout")
    defaults["App.run(shutdown_timeout=)"] = default_of(sprag.App.run, "shutdown_timeout")
    defaults["Service.map(limit=)"] = default_of(sprag.Service.map, "limit")
    for argument in ("size", "queue", "when_full", "retries"):
        defaults[f"WorkerPool({argument}=)"] = default_of(sprag.WorkerPool.__init__, argument)
    for argument in (
        "settle",
        "stop_signal",
        "kill",
        "output",
        "pty",
        "output_limit",
        "max_lifetime",
    ):
        defaults[f"Program({argument}=)"] = default_of(sprag.Program.__init__, argument)
    defaults["Program(shutdown=)"] = sprag.Program._class_policy_.shutdown
    defaults["Cluster(control=)"] = default_of(sprag.Cluster.__init__, "control")
    for parameter in ("tz", "missed"):
        defaults[f"Service.cron({parameter}=)"] = default_of(sprag.Service.cron, parameter)
    for parameter in ("every", "timeout", "failures"):
        defaults[f"Service.probe({parameter}=)"] = default_of(sprag.Service.probe, parameter)
    defaults["Service.reload_tree(timeout=)"] = default_of(sprag.Service.reload_tree, "timeout")
    for argument in ("ttl", "required", "ready", "control"):
        defaults[f"Cluster({argument}=)"] = default_of(sprag.Cluster.__init__, argument)
    for command, option in (
        ("run", "--shutdown-timeout"),
        ("reload", "--timeout"),
        ("tree", "--timeout"),
        ("tree", "--interval"),
    ):
        defaults[f"sprag {command} {option}"] = option_of(command, option)
    return defaults


def test_the_table_of_defaults_is_the_code_s() -> None:
    rows = table(section("operations.md", "Time limits and defaults"))
    told = {code(name): literal(default) for name, default, _ in rows}

    assert told == true_defaults()


def test_the_table_of_policy_is_the_code_s() -> None:
    rows = list(table(section("guides/services.md", "Policy")))
    told = {code(name): literal(default) for name, _, default, _ in rows}

    assert told == {name: getattr(DEFAULT, name) for name in KEYWORDS}


def test_the_exit_codes_are_the_code_s() -> None:
    run = list(table(section("operations.md", "Exit codes of `sprag run`")))
    client = list(table(section("operations.md", "Exit codes of the client commands")))

    assert {code(name): int(number) for number, name, _ in run + client} == {
        name: each.value for name, each in ExitCode.__members__.items()
    }
    assert {int(number) for number, *_ in run} == {each.value for each in ExitCode}
    assert {int(number) for number, *_ in client} == {0, 1, 2, 3, 4, 130}


def test_the_library_ends_with_the_exit_codes_of_the_command_line() -> None:
    assert sprag.host.ExitCode is ExitCode


def test_the_limits_that_cannot_be_changed_are_the_code_s() -> None:
    said = section("operations.md", "Time limits and defaults")

    assert f"gets {KILL_GRACE:g} seconds to die" in said
    assert f"last {_memory._KEPT_FAILURES} failures" in said
    assert f"{_failure.MAX_TEXT} characters of a text and {_crash._MAX_TEXTS:,} in all" in said
    assert f"about {_memory._BYTES_OF_FAILURES // 1_000_000} MB of failures" in said
    assert f"has {MOST_ENTRIES} entries, that of a reload likewise" in said
    assert MOST == MOST_ENTRIES
    assert f"the {_start_times.MOST:,} longest starts" in said
    assert f"{_lifecycle._MOST:,} lifecycle events wait" in said
    assert f"holds {_log_ring._KEPT:,}\nrecords, with {_log_ring._MOST:,} characters" in said
    assert f"{_log_queue.MOST:,} records of the log wait to be written" in said
    assert f"with {_log_queue.MOST_BYTES:,} bytes" in said
    assert f"{_member.MOST:,} broadcasts wait to be sent, with {_member.MOST_BYTES:,} bytes" in said
    assert f"and {_mail.MOST:,}\nfor each service, with {_mail.MOST_BYTES:,};" in said
    assert f"{_engine.MOST_KEYS:,} keys at most, and {_engine.MOST_BYTES:,} bytes" in said
    assert f"{_log_queue.RESERVE} more of crashes, with {_log_queue.RESERVE_BYTES:,}" in said


def test_the_environment_variables_are_those_of_the_options() -> None:
    told = {code(name) for name, _ in table(section("operations.md", "Environment variables"))}
    read = {
        parameter.envvar
        for command in commands.commands.values()
        for parameter in command.params
        if isinstance(parameter.envvar, str)
    }

    assert {"SPRAG_RUNTIME_DIR", "SPRAG_REMOTE", *read} == {
        name for name in told if name.startswith("SPRAG_")
    }


def test_the_events_of_the_log_are_said_by_the_code() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for package in (sprag_supervisor, sprag, sprag_cli)
        for path in Path(inspect.getfile(package)).parent.rglob("*.py")
    )
    rows = table(section("operations.md", "Logs"))
    told = [event for _, events, _ in rows for event in re.findall(r"`([^`]+)`", events)]

    assert told
    assert not [event for event in told if f'"{event}"' not in sources]


# -- cli.md --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", sorted(name for name, each in commands.commands.items() if not each.hidden)
)
def test_every_command_and_option_is_documented(command: str) -> None:
    if command in ("init", "run", "up", "convert", "cluster", "tree"):
        said = section("cli.md", f"sprag {command}")
    else:
        text = (DOCS / "commands.md").read_text(encoding="utf-8")
        headings = re.findall(r"^## (sprag .*)$", text, re.MULTILINE)
        (heading,) = [each for each in headings if re.search(rf"\b{command}\b", each)]
        said = section("commands.md", heading)
        said += section("commands.md", "What they have in common")
        said += section("commands.md", "Which services")

    options = [
        name
        for parameter in commands.commands[command].params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    ]
    assert not [name for name in options if f"`{name}" not in said]


def test_the_keys_of_the_json_are_documented() -> None:
    told = {
        key for name, *_ in table(section("cli.md", "JSON")) for key in re.findall(r"`(\w+)`", name)
    }
    node = sprag.to_json(sprag.Service().snapshot())

    assert told == {"app", "pid", "schema", *node}


# -- reference.md --------------------------------------------------------------------------------


def documented() -> dict[str, bool]:
    """Return the names in the first column of the reference, with whether they are calls."""
    names: dict[str, bool] = {}
    for cell, _ in table((DOCS / "reference.md").read_text(encoding="utf-8")):
        found = re.fullmatch(r"([\w.]+)(\(\))?", code(cell))
        assert found is not None, f"{cell}: docs/api says the arguments"
        assert found[1] not in names, f"{found[1]} is there twice"
        names[found[1]] = found[2] is not None
    return names


def resolve(name: str) -> Any:
    """Return what a name of the reference means."""
    first, _, rest = name.partition(".")
    if hasattr(sprag.testing, first) and first != "sprag":
        return functools.reduce(getattr, rest.split("."), getattr(sprag.testing, first))
    return pkgutil.resolve_name(name if first == "sprag" else f"sprag.{name}")


@pytest.mark.parametrize("name", documented())
def test_the_names_of_the_reference_exist(name: str) -> None:
    is_call = documented()[name]
    thing = resolve(name)

    assert callable(thing) if is_call else not inspect.isfunction(thing)


METHODS_OF: Final = {
    "Service": sprag.Service,
    "Supervisor": sprag.Supervisor,
    "DynamicSupervisor": sprag.DynamicSupervisor,
    "App": sprag.App,
    "Program": sprag.Program,
    "Sharded": sprag.Sharded,
    "Task": sprag.Task,
    "Worker": sprag.Worker,
    "WorkerPool": sprag.WorkerPool,
    "FakeProgram": sprag.testing.FakeProgram,
    "FakeProcess": sprag.testing.FakeProcess,
    "RunningTree": sprag.testing.RunningTree,
    "VirtualClock": sprag.testing.VirtualClock,
    "LeakCheck": sprag.testing.LeakCheck,
}


def public_names() -> Iterator[str]:
    for name in sprag.__all__:
        yield f"sprag.{name}"
    for name in sprag.exceptions.__all__:
        if name not in sprag.__all__:
            yield f"exceptions.{name}"
    for name in sprag.programs.__all__:
        yield f"programs.{name}"
    for name in sprag.programs.exceptions.__all__:
        yield f"programs.exceptions.{name}"
    for name in sprag.web.exceptions.__all__:
        if name not in sprag.__all__:
            yield f"web.exceptions.{name}"
    for name in sprag.workers.exceptions.__all__:
        yield f"workers.exceptions.{name}"
    for name in sprag.testing.__all__:
        yield f"testing.{name}"
    for name in sprag.testing.plugin.__all__:
        yield f"testing.plugin.{name}"
    for name in sprag.testing.strategies.__all__:
        yield f"strategies.{name}"
    for owner, cls in METHODS_OF.items():
        for name, value in vars(cls).items():
            is_api = inspect.isfunction(value) or isinstance(value, property)
            if is_api and not name.startswith("_"):
                yield f"{owner}.{name}"


def test_every_public_name_is_in_the_reference() -> None:
    missing = set(public_names()) - set(documented())

    assert not missing, f"write a line for each in docs/reference.md: {sorted(missing)}"


def test_the_fields_of_the_records_are_in_the_reference() -> None:
    rows = {code(name): said for name, said in table(section("reference.md", "Records"))}
    for record in (
        sprag.Snapshot,
        sprag.Exit,
        sprag.StopReport,
        sprag.ReloadReport,
        sprag.ReloadEntry,
        sprag.Lifecycle,
        sprag.ChildInfo,
        sprag.ChildCounts,
        sprag.ChildSpec,
    ):
        told = set(re.findall(r"`(\w+)`", rows[f"sprag.{record.__name__}"]))
        fields = set(inspect.signature(record).parameters)
        assert fields <= told, f"{record.__name__}: {sorted(fields - told)}"


def test_the_reasons_of_an_exit_are_in_the_reference() -> None:
    records = section("reference.md", "Records")
    said = records.partition("The words of `Exit.reason.value`:")[2]

    assert set(re.findall(r"`(\w+)`", said)) == {reason.value for reason in Reason}


# -- states and names ----------------------------------------------------------------------------


def test_the_moves_between_states_are_the_code_s() -> None:
    told = [
        (state, to)
        for states, others in table(section("internals.md", "States"))
        for state in states.split(", ")
        for to in others.split(", ")
    ]

    assert sorted(told) == sorted(
        (state.value, to.value) for state, others in MOVES.items() for to in others
    )


def test_the_states_of_the_services_page_are_the_code_s() -> None:
    from sprag_cli.term.style import UNICODE

    rows = table(section("guides/services.md", "States"))

    assert {name: symbol for name, symbol, _ in rows} == dict(UNICODE.symbols)
    assert set(UNICODE.symbols) == {state.value for state in State}


def test_the_names_that_are_taken_are_the_methods_of_a_service() -> None:
    said = set(re.findall(r"`(\w+)`", section("guides/services.md", "Names that are taken")))
    public = {name for name in vars(sprag.Service) if not name.startswith("_")}

    assert public <= said


def test_the_lifecycle_events_are_named() -> None:
    from sprag.owned.lifecycle import EVENTS

    said = section("guides/timers-and-events.md", "What happens to services")

    assert not [event for event in EVENTS if f"`{event}`" not in said]


@pytest.mark.parametrize("heading", ["Where is it?", "Reading order"])
def test_the_modules_that_are_named_exist(heading: str) -> None:
    engine = Path(inspect.getfile(sprag_supervisor)).parent
    named = re.findall(r"`(\w+/\w+)`", section("internals.md", heading).partition("Then")[0])

    assert named
    assert not [name for name in named if not (engine / f"{name}.py").exists()]


def walks_told() -> dict[str, list[str]]:
    """Return the rows of the table of walks, by the step."""
    return {step: rest for step, *rest in table(section("internals.md", "How far a step goes"))}


def test_the_walks_are_as_long_as_they_are_told() -> None:
    walks = ROOT / "tests" / "walks.py"
    done = subprocess.run([sys.executable, str(walks)], capture_output=True, text=True, check=True)

    assert walks_told() == {step: rest for step, *rest in table(done.stdout)}


@pytest.mark.parametrize("step", [step for step, (*_, bound) in walks_told().items() if bound])
def test_a_walk_is_no_longer_than_it_may_be(step: str) -> None:
    modules, moves, _, bound = walks_told()[step]

    for wanted in filter(None, bound.split(", ")):
        number, what = wanted.split()
        assert int({"modules": modules, "moves": moves}[what]) <= int(number)


def test_the_folders_of_the_command_line_are_all_named() -> None:
    home = Path(inspect.getfile(sprag_cli)).parent
    rows = list(table(section("internals.md", "The folders of the command line")))
    there = {each.stem for each in home.iterdir() if not each.name.startswith(("_", "py.typed"))}

    assert {code(name) for name, *_ in rows} == there
    told = [
        (code(folder), module)
        for folder, said, _ in rows
        for module in re.findall(r"`(\w+)`", said)
    ]
    assert not [pair for pair in told if not (home.joinpath(*pair)).with_suffix(".py").exists()]


def test_the_tables_of_the_benchmark_are_explained() -> None:
    told = {
        name
        for cell, _ in table(section("performance.md", "How to read the table"))
        for name in re.findall(r"`([\w-]+)`", cell)
    }
    listed = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "bench" / "run.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told
    assert "--rows" in listed
    source = (ROOT / "tests" / "bench" / "run.py").read_text(encoding="utf-8")
    assert not [name for name in told if f'"{name}"' not in source]


def test_the_plots_are_those_of_the_figures() -> None:
    home = DOCS / "plots"
    drawn = plots(json.loads((home / "figures.json").read_text(encoding="utf-8")))

    assert {file.name for file in home.glob("*.svg")} == set(drawn)
    for name, picture in drawn.items():
        assert (home / name).read_text(encoding="utf-8") == picture, "run tests/bench/plot.py"


# -- otp-rules.md --------------------------------------------------------------------------------

RULES: Final = 72


def rules_with_tests() -> set[int]:
    """Return the rules that some test is named after: ``test_rule_27_28_…`` has two."""
    text = "\n".join(
        each.read_text(encoding="utf-8")
        for each in sorted((ROOT / "tests").rglob("test_*.py"))
        if each.resolve() != Path(__file__).resolve()
    )
    names: Iterable[str] = re.findall(r"^def test_rule((?:_\d\d)+)", text, re.MULTILINE)
    return {int(number) for name in names for number in re.findall(r"\d\d", name)}


def test_the_rules_are_all_there_in_order() -> None:
    rows = list(table((DOCS / "otp-rules.md").read_text(encoding="utf-8")))

    assert [int(number) for number, *_ in rows] == list(range(1, RULES + 1))
    unclear = [row for row in rows if not re.match(r"holds|differs|does not apply", row[2])]
    assert not unclear
    assert not [row for row in rows if row[2] == "does not apply"], "say why"


def test_the_rules_name_the_tests_there_are() -> None:
    tested = rules_with_tests()
    wrong: list[str] = []
    for number, _, _, tests in table((DOCS / "otp-rules.md").read_text(encoding="utf-8")):
        named = {int(each) for each in re.findall(r"\d\d", tests)}
        if tests and not named <= tested:
            wrong.append(f"rule {number} names {tests}, which no test is called")
        if int(number) in tested and int(number) not in named:
            wrong.append(f"rule {number} has tests: write `rule_{int(number):02d}` in its row")

    assert not wrong, "\n".join(wrong)
