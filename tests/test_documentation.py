"""The documentation is true: its examples run, its commands exist, its links lead somewhere.

A fence says by its info string what becomes of it:

- ``python`` is run, and a ``text`` right after it is what it prints. The blocks of a page run from
  top to bottom, in one module, in a process and a directory of the page's own. The module's
  ``__name__`` is ``page``, so what stands under ``if __name__ == "__main__"`` does not run.
- ``python title="app.py"`` is a module: written to that directory under its name, for the blocks
  below it to import. It is imported after the last block if none of them did. What is called
  ``test_….py`` has to pass, too.
- Any other language with a file name for a title is written there too (a template, a setting).
- ``console`` is a transcript. What follows ``$ sprag`` must be known to the command line.
- Everything else is text. A fence must name its language, so that nothing is passed over unseen.
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    page
    for page in (
        *(
            ROOT / f"{name}.md"
            for name in ("README", "CONTRIBUTING", "SECURITY", "CODE_OF_CONDUCT")
        ),
        *sorted(ROOT.glob("docs/**/*.md")),
    )
    if page.exists()
]

LIMIT = 45.0
"""Seconds for one page; below pytest's faulthandler_timeout, whose dump would not name the page."""

FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
FILE_NAME = re.compile(r"(?:[\w-]+/)*[\w-][\w.-]*\.\w+")
COMMAND = re.compile(r"\$ (?:\w+=\S* )*sprag(?= |$)")
LINKS = (
    re.compile(r"\]\(\s*<?([^)\s>]+)"),
    re.compile(r"^\s{0,3}\[(?!\^)[^\]]+\]:\s*<?([^\s>]+)"),
    re.compile(r"\b(?:href|src|srcset)=\"([^\"]+)\""),
)


@dataclass(frozen=True)
class Block:
    """One fenced block; *line* is where its text begins, counted from 1."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def file(self) -> str:
        """The name of the file this block shows, or nothing."""
        named = self.language not in {"console", "text"} and FILE_NAME.fullmatch(self.title)
        return self.title if named else ""


def split_page(page: Path) -> tuple[list[Block], list[tuple[int, str]]]:
    """Return the fenced blocks of a page and, with their numbers, the lines between them."""
    blocks: list[Block] = []
    prose: list[tuple[int, str]] = []
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    for number, line in lines:
        opening = FENCE.match(line)
        if opening is None:
            prose.append((number, line))
            continue
        indent, fence, info = opening.group("indent", "fence", "info")
        inside: list[str] = []
        for _, inner in lines:
            if inner.strip().startswith(fence) and not inner.strip().strip(fence[0]):
                break
            inside.append(inner.removeprefix(indent))
        else:
            pytest.fail(f"{name_of(page)}:{number}: this fence is never closed", pytrace=False)
        language = re.match(r"[\w+-]*", info.strip())
        title = re.search(r"title=\"([^\"]*)\"", info)
        blocks.append(
            Block(
                page=page,
                line=number + 1,
                language=language[0] if language else "",
                title=title[1] if title else "",
                text="".join(f"{inner}\n" for inner in inside),
            )
        )
    return blocks, prose


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else str(page)


BLOCKS = {page: split_page(page)[0] for page in PAGES}


def pages_with(language: str) -> list[Path]:
    return [page for page, blocks in BLOCKS.items() if language in {b.language for b in blocks}]


def suites_in(files: Iterable[str]) -> set[str]:
    return {file for file in files if re.fullmatch(r"test_\w+\.py", file)}


def pages_with_suites() -> list[Path]:
    return [page for page, blocks in BLOCKS.items() if suites_in(b.file for b in blocks)]


def in_a_process(
    function: Callable[[], None], job: object, *, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run *function*, which has to be self-contained, in a fresh interpreter.

    The process imports nothing of this suite: gevent must find what it patches untouched.
    """
    program = f"{inspect.getsource(function)}\n{function.__name__}()"
    return subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(job),
        cwd=cwd,
        # A module written twice within a second must not be taken from the cache.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def run_blocks() -> None:
    """Run the blocks of one page, and note what each prints. The process's whole program."""
    import contextlib
    import importlib
    import io
    import json
    import sys
    import traceback
    import types
    from pathlib import Path

    job: dict[str, Any] = json.load(sys.stdin)
    here = Path.cwd()
    page = sys.modules["page"] = types.ModuleType("page")
    unseen: dict[str, int] = {}  # modules written and not imported yet, with their lines
    printed: dict[int, str] = {}
    said = io.StringIO()

    def reached(line: int) -> None:
        Path(job["progress"]).write_text(str(line), encoding="utf-8")

    def see(module: str) -> None:
        line = unseen.pop(module, None)
        if line is not None and module not in sys.modules:
            reached(line)
            importlib.import_module(module)

    try:
        for line, file, text in job["blocks"]:
            reached(line)
            # Blank lines in front: tracebacks then give the line numbers of the page.
            code = "\n" * (line - 1) + text
            if not file:
                said = io.StringIO()
                with contextlib.redirect_stdout(said):
                    exec(compile(code, job["page"], "exec", dont_inherit=True), page.__dict__)
                printed[line] = said.getvalue()
                continue
            is_module = file.endswith(".py")
            module = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            if is_module:
                see(module)
                sys.modules.pop(module, None)
                unseen[module] = line
            target = here / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(code if is_module else text, encoding="utf-8")
            importlib.invalidate_caches()
        for module in list(unseen):
            see(module)
        Path(job["printed"]).write_text(json.dumps(printed), encoding="utf-8")
    # SystemExit too: it would pass over the blocks that follow.
    except BaseException as error:  # noqa: BLE001
        for frame, line in traceback.walk_tb(error.__traceback__):
            file = frame.f_code.co_filename
            if file == job["page"] or Path(file).is_relative_to(here):
                reached(line)
        if isinstance(error, SyntaxError) and error.filename == job["page"] and error.lineno:
            reached(error.lineno)
        print(said.getvalue())
        traceback.print_exc()
        sys.exit(1)


def try_commands() -> None:
    """Ask for the help of each command line, and print what failed. The process's whole program."""
    import contextlib
    import io
    import json
    import sys

    from sprag_cli import main

    failed: list[tuple[int, str]] = []
    for line, arguments in json.load(sys.stdin):
        sys.argv = ["sprag", *arguments, "--help"]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                entry: Callable[[], object] = main  # it may return its exit code or raise it
                code = entry()
            except SystemExit as end:
                code = end.code
        if code:
            failed.append((line, said.getvalue()))
    print(json.dumps(failed))


def text_of(output: bytes | str | None) -> str:
    """Return what a process printed before its time was up: bytes, even in text mode."""
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def outputs_shown(blocks: Iterable[Block]) -> dict[int, str]:
    """Return the text blocks that come right after a python block, by the line of that block."""
    return {
        block.line: after.text.strip()
        for block, after in itertools.pairwise(blocks)
        if (block.language, block.title, after.language) == ("python", "", "text")
        and after.line == block.line + block.text.count("\n") + 3
    }


def check_examples(page: Path, blocks: Sequence[Block], tmp_path: Path) -> None:
    """Run a page's blocks, or fail with the place and all that was printed.

    What is shown right after a block has to be what that has printed.
    """
    progress = tmp_path / "progress"
    printed = tmp_path / "printed"
    directory = tmp_path / "page"
    directory.mkdir()
    shown = [b for b in blocks if b.language == "python" or b.file]
    job = {
        "page": str(page),
        "progress": str(progress),
        "printed": str(printed),
        "blocks": [(b.line, b.file, b.text) for b in shown],
    }
    try:
        done = in_a_process(run_blocks, job, cwd=directory)
    except subprocess.TimeoutExpired as late:
        why, told = f"did not end within {LIMIT:g} s", text_of(late.stdout) + text_of(late.stderr)
    else:
        if done.returncode == 0:
            texts: dict[str, str] = json.loads(printed.read_text(encoding="utf-8"))
            shown_as = outputs_shown(blocks)
            assert {line: texts[str(line)].strip() for line in shown_as} == shown_as
            return
        why, told = f"ended with {done.returncode}", done.stdout + done.stderr
    line = progress.read_text(encoding="utf-8") if progress.exists() else "1"
    pytest.fail(f"{name_of(page)}:{line}: the example {why}\n\n{told}", pytrace=False)


def commands_of(blocks: Iterable[Block]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the arguments of each ``$ sprag`` in the transcripts."""
    for block in blocks:
        if block.language != "console":
            continue
        line = block.line
        for text in block.text.replace("\\\n", "\0").splitlines():
            prompt = COMMAND.match(text)
            if prompt:
                lexer = shlex.shlex(text[prompt.end() :].replace("\0", " "), punctuation_chars=True)
                lexer.whitespace_split = True
                # A pipe, a redirection or `--` ends what the command line reads as its own.
                ours = itertools.takewhile(lambda t: t != "--" and t[0] not in "();<>|&", lexer)
                yield line, [shlex.split(token)[0] for token in ours]
            line += 1 + text.count("\0")


def broken_links(page: Path, prose: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Yield the relative links that lead to no file. (mkdocs checks the anchors.)"""
    for number, line in prose:
        plain = re.sub(r"(`+).*?\1", "", line)
        for target in itertools.chain.from_iterable(link.findall(plain) for link in LINKS):
            path = unquote(target.partition("#")[0].partition("?")[0])
            elsewhere = re.match(r"[a-z][a-z0-9+.-]*:|//", target, re.IGNORECASE)
            if path and not elsewhere and not (page.parent / path).exists():
                yield f"{name_of(page)}:{number}: no such file: {target}"


def test_the_documentation_has_examples() -> None:
    assert pages_with("python"), "no page has a python block: has its place or its form changed?"


@pytest.mark.parametrize("page", BLOCKS, ids=name_of)
def test_every_fence_names_its_language(page: Path) -> None:
    nameless = {"", "py", "py3", "python3", "pycon"}
    unclear = [
        f"{name_of(page)}:{block.line - 1}: {block.language or 'no language'}"
        for block in BLOCKS[page]
        if block.language in nameless
    ]

    assert not unclear, "say python, console, text or another language in full"


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    check_examples(page, BLOCKS[page], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with_suites(), ids=name_of)
def test_the_tests_of_a_page_pass(page: Path, tmp_path: Path) -> None:
    shown = {block.file: block.text for block in BLOCKS[page] if block.file}
    for file in {"conftest.py", *suites_in(shown)} & shown.keys():
        (tmp_path / file).write_text(shown[file], encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("console"), ids=name_of)
def test_the_commands_of_a_page_exist(page: Path, tmp_path: Path) -> None:
    done = in_a_process(try_commands, list(commands_of(BLOCKS[page])), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    failed: list[Any] = json.loads(done.stdout)

    assert not failed, "\n".join(f"{name_of(page)}:{line}: {said}" for line, said in failed)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = list(broken_links(page, split_page(page)[1]))

    assert not broken, "\n".join(broken)


# The checks themselves: each can fail, and says where.


@pytest.fixture
def write_page(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        page = tmp_path / "page.md"
        page.write_text(text, encoding="utf-8")
        return page

    return write


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("# A page\n\n```python\nx = 1\n1 / 0\n```\n", "page.md:5:"),
        ("- indented:\n\n    ```python\n    if True:\n        1 / 0\n    ```\n", "page.md:5:"),
        ("```python\nx = (\n```\n", "page.md:2:"),
        ("```python\nx = 1\n```\n```python\nraise SystemExit\n```\n", "page.md:5:"),
        ('```python title="app.py"\n\n1 / 0\n```\n', "page.md:3:"),
        ('```python title="a.py"\n1 / 0\n```\n```python title="a.py"\nx = 1\n```\n', "page.md:2:"),
    ],
)
def test_a_failing_example_is_named_by_its_line(
    write_page: Callable[[str], Path], tmp_path: Path, text: str, place: str
) -> None:
    page = write_page(text)

    with pytest.raises(pytest.fail.Exception) as failure:
        check_examples(page, split_page(page)[0], tmp_path)

    assert place in str(failure.value)


def test_what_a_block_does_not_print_is_not_shown_below_it(
    write_page: Callable[[str], Path], tmp_path: Path
) -> None:
    page = write_page("```python\nprint(1)\nprint(2)\n```\n\n```text\n1\n3\n```\n")

    with pytest.raises(AssertionError, match="2"):
        check_examples(page, split_page(page)[0], tmp_path)


def test_a_block_with_a_file_name_can_be_imported_and_replaced(
    write_page: Callable[[str], Path], tmp_path: Path
) -> None:
    page = write_page(
        '```python title="shop/app.py"\nanswer = 41\n```\n'
        "```python\nfrom shop.app import answer\nassert answer == 41\n```\n"
        '```python title="shop/app.py"\nanswer = 42\n```\n'
        '```html title="shop/shell.html"\n<p>\n```\n'
        "```python\n"
        "from shop.app import answer as second\n"
        "assert (answer, second) == (41, 42)\n"
        "assert open('shop/shell.html').read() == '<p>\\n'\n"
        "```\n"
        "```text\nnot run\n```\n"
    )

    check_examples(page, split_page(page)[0], tmp_path)


def test_commands_end_at_a_pipe_and_go_on_after_a_backslash(
    write_page: Callable[[str], Path],
) -> None:
    page = write_page(
        "```console\n"
        "$ sprag tree --json | jq .name\n"
        "● shop\n"
        "$ NO_COLOR=1 sprag stop \\\n"
        "    'a b'  # by hand\n"
        "$ spragge\n"
        "$ sprag\n"
        "```\n"
    )

    found = list(commands_of(split_page(page)[0]))

    assert found == [(2, ["tree", "--json"]), (4, ["stop", "a b"]), (7, [])]


def test_broken_links_are_found_outside_code_only(write_page: Callable[[str], Path]) -> None:
    page = write_page(
        "[here](page.md#top) [there](https://example.com/x) [top](#top) `[code](no.md)`\n"
        "```text\n[in](no.md)\n```\n"
        "[![image](no.png)](page.md)\n"
        "[ref]: no.md\n"
    )

    broken = [text.removeprefix(f"{page}:") for text in broken_links(page, split_page(page)[1])]

    assert broken == ["5: no such file: no.png", "6: no such file: no.md"]
