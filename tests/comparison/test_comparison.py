"""docs/comparison.md: each row that says yes, or in part, has a line of proof, and it holds.

The proofs stand in three tables, by the first cell of the row that they prove:

- `in_virtual_time`: a line of Python about a tree whose time takes no time;
- `on_the_command_line`: a line of the command line, and what an app that runs answers;
- `as_a_process`: a line about a whole process, from its start to its exit code.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner

from comparison.as_a_process import AS_A_PROCESS
from comparison.in_virtual_time import IN_VIRTUAL_TIME
from comparison.on_the_command_line import ON_THE_COMMAND_LINE, SHOP
from comparison.world import World
from processes import app, run
from sprag.testing import LeakCheck, virtual_time
from sprag_cli.commands.group import commands
from test_docs_facts import section, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE: Final = "comparison.md"
GROUPS: Final = re.findall(
    r"^## (.+)$",
    (Path(__file__).resolve().parents[2] / "docs" / PAGE).read_text(encoding="utf-8"),
    re.MULTILINE,
)[1:]  # the first one says what the words mean
WORDS: Final = [word for word, _ in table(section(PAGE, "The words"))]
PROVEN: Final = {"yes", "in part"}


def rows() -> Iterator[list[str]]:
    for group in GROUPS:
        yield from table(section(PAGE, group))


def names(text: str) -> list[tuple[str, str]]:
    """Return who is named by a link, and which source that link leads to."""
    return re.findall(r"\[([\w-]+)\]\[([\w-]+)\]", text)


def plain(cell: str) -> str:
    return cell.replace("`", "")


def test_the_rows_are_numbered_and_say_one_of_the_words() -> None:
    assert [int(number) for number, *_ in rows()] == list(range(1, len(list(rows())) + 1))
    assert {word for _, _, word, *_ in rows()} <= set(WORDS)


def test_the_page_counts_its_words() -> None:
    counted = Counter(word for _, _, word, *_ in rows())

    told = ", ".join(f"{counted[word]} {word}" for word in WORDS)
    assert f"Of {counted.total()} rows: {told}." in " ".join(section(PAGE, "The words").split())


def test_who_else_has_it_is_told_with_a_source() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / PAGE).read_text(encoding="utf-8")
    sources = dict(re.findall(r"^\[([\w-]+)\]: (https://\S+)$", page, re.MULTILINE))
    others = [cell for *_, cell in rows()]
    told = {pair for cell in others for pair in names(cell)}
    known = {name for name, _ in told}

    assert {source for _, source in told} == set(sources)
    for name, source in told:  # Elixir runs on OTP, and has some of it from there
        of = ("elixir", "otp") if name == "Elixir" else (name.lower(),)
        assert source.startswith(of), f"{name} is told by {source}"
    for cell in others:
        bare = set(re.findall(r"[\w-]+", re.sub(r"\[[^]]+\]\[[^]]+\]", "", cell)))
        assert not bare & {*known, "all"}, f"named without a source: {cell}"


def test_what_is_there_is_proven_and_what_is_proven_is_there() -> None:
    proofs = [*IN_VIRTUAL_TIME, *ON_THE_COMMAND_LINE, *AS_A_PROCESS]

    assert sorted(proofs) == sorted(
        plain(feature) for _, feature, word, *_ in rows() if word in PROVEN
    )


def words_that_are_built() -> set[str]:
    """Return the words of the vocabulary that are built, and have no part still to come."""
    built: set[str] = set()
    names: list[str] = []
    page = Path(__file__).resolve().parents[2] / "docs" / "vocabulary.md"
    for first, *_, state in table(page.read_text(encoding="utf-8")):
        names = re.findall(r"`(\w+)", first) or names  # a row without a name goes on with the last
        if state == "built":
            built.update(names)
        elif state == "not built":
            built.difference_update(names)
    return built


def words_that_are_missed() -> set[str]:
    """Return the words of which the page says that they are not built."""
    missed: set[str] = set()
    for _, _, word, how, _ in rows():
        clauses = [how.partition("meanwhile")[0]] if word == "not built" else []
        for clause in clauses or re.findall(r"[^.;:,]*\bnot built", how):
            missed.update(re.findall(r"`(?:sprag )?(\w+)", clause))
    return missed


def test_what_the_vocabulary_calls_built_is_not_missed_here() -> None:
    stale = words_that_are_missed() & words_that_are_built()

    assert not stale, f"they are built: give their rows in docs/{PAGE} a yes, and a proof: {stale}"


@pytest.mark.parametrize("feature", IN_VIRTUAL_TIME)
def test_there_is(feature: str) -> None:
    proof = IN_VIRTUAL_TIME[feature]
    with virtual_time() as clock, LeakCheck(), World(clock) as world:
        assert proof(world) is True, inspect.getsource(proof)


@pytest.mark.slow
@pytest.mark.parametrize("feature", AS_A_PROCESS)
def test_a_process_shows(feature: str, tmp_path: Path) -> None:
    proof = AS_A_PROCESS[feature]
    assert proof(tmp_path) is True, inspect.getsource(proof)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Ask a running shop by a line of the command line; it is busy, so nobody else comes after."""
    directory = tmp_path_factory.mktemp("shop")
    app(directory, SHOP, name="shop")
    with run(directory, target="shop:app") as process, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPRAG_RUNTIME_DIR", str(process.runtime))
        patch.setenv("COLUMNS", "120")
        patch.chdir(directory)
        process.says("bad order 17")

        def ask(line: str) -> str:
            return CliRunner().invoke(commands, line.split()[1:], prog_name="sprag").output

        yield ask


@pytest.mark.slow
@pytest.mark.parametrize("feature", ON_THE_COMMAND_LINE)
def test_the_command_line_shows(feature: str, ask: Callable[[str], str]) -> None:
    line, answer = ON_THE_COMMAND_LINE[feature]
    said = ask(line)
    assert re.search(answer, said, re.DOTALL), said
