"""Completion in real shells: whatever a service is called, Enter runs nothing but sprag."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from processes import PATIENCE, Process
from sprag_cli.complete.shells import Typed, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

SHELLS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
TURN_ON = {
    "bash": "bind 'set enable-bracketed-paste off'; eval \"$(sprag completion bash)\"",
    "zsh": 'autoload -U compinit; compinit -u -D; eval "$(sprag completion zsh)"',
    "fish": "sprag completion fish | source",
}
HOSTILE = [
    "$(touch x)",
    "`touch x`",
    "a;touch x;b",
    "a&touch x&",
    "a|touch x",
    "a>x",
    "two words",
    "it's",
    'a "quote"',
    "$HOME",
    "~root",
    "*",
    "[a-z]?",
    "{a,b}",
    "back\\slash",
    "bang!x",
    "#hash",
    "co:lon",
    "co:lon and $(touch x)",
    "equals=1",
    "comma,name",
    "(x)",
    "注文 naïve",
    "trailing ",
    "'",
    "%1",
    "!!",
    "a^b",
]
PATIENT = """
import gc, os, sys
from sprag_cli import main
from sprag_cli.app import client  # loaded here, it is in all forks
from sprag_cli.complete import prompt, shells
from sprag_cli.commands import group, restart, status, tree
prompt._PATIENCE = 20.0
gc.freeze()  # or the end of each fork would copy all that there is
gc.unfreeze = bool
while True:
    with open("asked", "rb") as asked:
        count, *words = map(os.fsdecode, asked.read().split(b"\\0")[:-1])
    with open("answer", "wb") as answer:
        pid = os.fork()
        if not pid:
            os.dup2(answer.fileno(), 1)
            break
        os.waitpid(pid, 0)
sys.argv = ["sprag", *words[: int(count)]]
os.environ.clear()
os.environ.update(each.split("=", 1) for each in words[int(count) :])
main()
"""
"""Answers as sprag does, in forks: to load it anew at each press of Tab would take much longer.

On a machine that is busy with tests, an app may take longer than a press of a key may.
"""
NAMES = {f"n{number}/{name}": name for number, name in enumerate(HOSTILE)}


@pytest.fixture
def shop(serve: Callable[..., Any]) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        (prefix,) = parse_qs(urlsplit(handler.path).query, keep_blank_values=True)["prefix"]
        found = [path for path in NAMES if path.startswith(prefix)]
        found += [path for path in ("--app", "bad\x1b[2Jname", "two\nlines") if prefix == ""]
        told = [{"path": path, "class": "C:D\t\x1b]", "state": "running"} for path in found]
        body = json.dumps({"paths": told}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    serve(answer, name="shop")


class Shell:
    """A shell on a terminal, in which ``sprag`` notes its arguments when it is run."""

    def __init__(self, process: Process, directory: Path) -> None:
        self._process = process
        self._directory = directory

    def runs(self, keys: str) -> list[str]:
        """Press *keys* and Enter; return the arguments that sprag was run with."""
        noted = self._directory / "argv"
        noted.unlink(missing_ok=True)
        self._process.type(f"{keys}\r")
        deadline = time.monotonic() + PATIENCE
        while not noted.exists():
            assert time.monotonic() < deadline, (keys, self._process.out[-2000:])
            time.sleep(0.01)
        return noted.read_text().split("\0")[:-1]


@contextmanager
def shell(tmp_path: Path, name: str) -> Generator[Shell]:
    if shutil.which(name) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    command = tmp_path / "bin" / "sprag"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\nif [ "$_SPRAG_COMPLETE" ] || [ "$1" = completion ]\nthen cd {tmp_path}\n'
        f"{{ printf '%s\\0' $# \"$@\"; env -0; }} >asked; exec cat answer\nfi\n"
        f"printf '%s\\0' \"$@\" >{tmp_path}/argv.part\nmv {tmp_path}/argv.part {tmp_path}/argv\n"
    )
    command.chmod(0o700)
    start = f"import os; os.execvp({name!r}, {[name, *SHELLS[name]]!r})"
    environ = {"PS1": "ready> ", "TERM": "xterm", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    environ["SPRAG_RUNTIME_DIR"] = os.environ["SPRAG_RUNTIME_DIR"]
    environ["PATH"] = f"{command.parent}:{os.environ['PATH']}"
    (tmp_path / "cwd").mkdir()
    os.mkfifo(tmp_path / "asked")
    os.mkfifo(tmp_path / "answer")
    with (
        Process("-c", PATIENT, directory=tmp_path),
        Process("-c", start, directory=tmp_path, terminal=True, environ=environ) as process,
    ):
        place = Shell(process, tmp_path)
        process.type(f"cd cwd; {TURN_ON[name]}\r")
        assert place.runs("sprag is there") == ["is", "there"]
        yield place


each_shell = pytest.mark.parametrize("name", sorted(SHELLS))


@pytest.mark.slow
@pytest.mark.usefixtures("shop")
@each_shell
def test_a_completed_name_is_one_word_and_runs_nothing(tmp_path: Path, name: str) -> None:
    with shell(tmp_path, name) as place:
        for path in NAMES:
            begun = path.partition("/")[0] + "/"
            assert place.runs(f"sprag status {begun}\t") == ["status", path]
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("shop")
@each_shell
@pytest.mark.parametrize("quote", ["'", '"'])
def test_within_quotes_too(tmp_path: Path, name: str, quote: str) -> None:
    with shell(tmp_path, name) as place:
        for path in filter(re.compile(r"[$`'\"!\\]").search, NAMES):
            begun = path.partition("/")[0] + "/"
            assert place.runs(f"sprag status {quote}{begun}\t") == ["status", path]
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("shop")
@each_shell
def test_what_is_half_typed_is_gone_on_with(tmp_path: Path, name: str) -> None:
    with shell(tmp_path, name) as place:
        for keys, path in {
            "n0/\\$\\(to": "n0/$(touch x)",
            "n6/two\\ w": "n6/two words",
            "n17/co:l": "n17/co:lon",
            "n18/co:lon\\ and\\ \\$": "n18/co:lon and $(touch x)",
            "n19/equals=": "n19/equals=1",
        }.items():
            assert place.runs(f"sprag status {keys}\t") == ["status", path]
        assert place.runs("sprag tree --app=sh\t") == ["tree", "--app=shop"]
        assert place.runs("sprag tree --app sh\t") == ["tree", "--app", "shop"]
        assert place.runs("sprag resta\tn6/\t") == ["restart", "n6/two words"]
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("shop")
@each_shell
def test_what_cannot_be_typed_is_not_offered(tmp_path: Path, name: str) -> None:
    with shell(tmp_path, name) as place:
        place._process.type("sprag status \t\t\t")
        place._process.says("n1/")
        place._process.type("\x15\r")
        assert place.runs("sprag is here") == ["is", "here"]
        for text in ("[2Jname", "lines", "--app"):
            assert text not in place._process.out


@pytest.mark.parametrize(
    ("line", "words", "last", "raw", "quote"),
    [
        ("sprag tree f", ("sprag", "tree"), "f", "f", ""),
        ("sprag tree ", ("sprag", "tree"), "", "", ""),
        ("sprag  'a b' \"c\\$\\d", ("sprag", "a b"), "c$\\d", '"c\\$\\d', '"'),
        ("sprag a\\ b'c\\", ("sprag",), "a bc\\", "a\\ b'c\\", "'"),
        ("sprag '' x\\", ("sprag", ""), "x\\", "x\\", ""),
        ("", (), "", "", ""),
    ],
)
def test_a_line_is_split_as_shells_do(
    line: str, words: tuple[str, ...], last: str, raw: str, quote: str
) -> None:
    assert typed(line) == Typed(words, last, raw, quote)
