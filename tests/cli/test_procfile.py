"""Reading a Procfile and its .env, and how many of each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sprag_cli.up.declared import Program
from sprag_cli.up.faults import BadFile
from sprag_cli.up.procfile import read_procfile
from sprag_cli.up.replicas import parse_formation, with_formation
from sprag_cli.up.sprag_toml import declared_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sprag_cli.up.declared import Declared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def read(folder: Path, text: str, env: str | None = None) -> Declared:
    (folder / "Procfile").write_text(text, encoding="utf-8")
    if env is not None:
        (folder / ".env").write_text(env, encoding="utf-8")
    return read_procfile(folder / "Procfile", {})


def refused(folder: Path, text: str, env: str | None = None) -> str:
    with pytest.raises(BadFile) as error:
        read(folder, text, env)
    return str(error.value).replace(f"{folder}/", "")


def test_each_line_is_a_program_that_a_shell_runs_with_a_port_of_its_own(folder: Path) -> None:
    declared = read(folder, "web: bin/web -p $PORT # it's\n\n# a comment\nclock_1:exec ticks\n")

    assert declared.root.name == "shop"
    assert [(each.name, each.line, dict(each.settings)) for each in declared.root.members] == [
        ("web", 1, {"command": "bin/web -p $PORT # it's", "shell": True, "port": 5000}),
        ("clock_1", 4, {"command": "exec ticks", "shell": True, "port": 5100}),
    ]


def test_the_variables_beside_it_are_read_at_each_start(folder: Path) -> None:
    declared = read(folder, "web: x\n", "A=1\n")

    assert declared.root.members[0].settings["env_file"] == ".env"


@pytest.mark.parametrize(
    ("environ", "env", "port"),
    [({}, None, 5000), ({"PORT": "7000"}, None, 7000), ({"PORT": "7000"}, "PORT=3000\n", 3000)],
)
def test_the_ports_begin_where_PORT_says(
    folder: Path, environ: Mapping[str, str], env: str | None, port: int
) -> None:
    read(folder, "web: x\nworker: y\n", env)
    members = read_procfile(folder / "Procfile", environ).root.members

    assert [each.settings["port"] for each in members] == [port, port + 100]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Procfile: there is nothing to run: write NAME: COMMAND"),
        ("# only\n", "Procfile: there is nothing to run"),
        ("web: x\nworker\n", "Procfile:2: 'worker' is no process — write NAME: COMMAND"),
        ("web:\n", "Procfile:1: 'web:' is no process"),
        ("my web: x\n", "Procfile:1: 'my web: x' is no process"),
        ("web: x\nweb: y\n", "Procfile:2: 'web' stands in line 1, too: rename one"),
    ],
)
def test_a_line_that_is_none_is_told_with_its_number(folder: Path, text: str, said: str) -> None:
    assert said in refused(folder, text)


def test_variables_that_are_none_are_told_with_their_line_and_not_their_value(
    folder: Path,
) -> None:
    said = refused(folder, "web: x\n", "A=1\nSECRET KEY=hunter2\n")

    assert ".env:2: " in said
    assert "hunter2" not in said


@pytest.mark.parametrize("port", ["65500", "http"])
def test_a_port_that_is_none_is_refused(folder: Path, port: str) -> None:
    assert "PORT" in refused(folder, "web: x\nworker: y\n", f"PORT={port}\n")


def test_a_formation_is_read() -> None:
    assert parse_formation("web=2, worker=0,all=3") == {"web": 2, "worker": 0, "all": 3}


@pytest.mark.parametrize("given", ["", "web", "web=", "web=-1", "web=two", "=2", "web=1,web=2"])
def test_a_formation_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"is there twice|as in web=2"):
        parse_formation(given)


def test_a_formation_says_how_many_and_none_is_stopped(folder: Path) -> None:
    declared = read(folder, "web: x\nworker: y\nclock: z\n")

    members = with_formation(declared, {"web": 2, "clock": 0}).root.members
    assert [each.settings.get("replicas") for each in members] == [2, None, None]
    assert [each.settings.get("autostart", True) for each in members] == [True, True, False]
    members = with_formation(declared, {"web": 2, "all": 1}).root.members
    assert [each.settings.get("replicas") for each in members] == [2, 1, 1]


def test_a_formation_of_what_is_not_there_is_refused(folder: Path) -> None:
    declared = read(folder, "web: x\n")

    with pytest.raises(BadFile, match=r"no program 'wbe' in .*Procfile: web"):
        with_formation(declared, {"wbe": 2})


def test_a_formation_reaches_programs_of_groups_by_their_paths(folder: Path) -> None:
    declared = declared_in(
        "[group.jobs.program.work]\ncommand = 'x'\n[program.web]\ncommand = 'y'\n",
        folder / "sprag.toml",
    )

    changed = with_formation(declared, {"jobs/work": 3})
    counts = [each.settings.get("replicas") for each in changed.root.walk()]
    assert counts == [None, 3, None]
    assert all(isinstance(each, Program) for each in changed.root.members[1:])
