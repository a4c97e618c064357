"""What a shell offers when the tab key is pressed behind a PATH."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from sprag_cli.commands.group import commands

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path


def found(path: str, *, has_children: bool = False) -> dict[str, Any]:
    return {"path": path, "class": "C", "state": "running", "has_children": has_children}


TABLE: dict[str, list[dict[str, Any]]] = {
    "f": [found("fleet", has_children=True), found("feed")],
    "fl": [found("fleet", has_children=True)],
    "fleet/": [found("fleet/courier"), found("fleet/printer")],
}


def complete(shell: str, *words: str) -> str:
    environ = {"_SPRAG_COMPLETE": f"{shell}_complete"}
    environ |= {"COMP_LINE": " ".join(["sprag", *words]), "COMP_WORD": words[-1]}
    done = CliRunner().invoke(commands, [], env=environ, prog_name="sprag")
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def shop(serve: Callable[..., Any]) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        (prefix,) = parse_qs(urlsplit(handler.path).query, keep_blank_values=True)["prefix"]
        body = json.dumps({"paths": TABLE.get(prefix, [])}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    serve(answer)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("command", ["tree", "status", "why", "stop", "stacks", "top", "wait"])
def test_live_paths_are_offered(command: str) -> None:
    assert complete("bash", command, "f") == "fleet\nfeed\n"


@pytest.mark.usefixtures("shop")
def test_a_service_with_children_is_offered_with_them() -> None:
    assert complete("bash", "restart", "feed", "fl") == ("fleet\nfleet/courier\nfleet/printer\n")


@pytest.mark.usefixtures("shop")
def test_zsh_and_fish_show_class_and_state() -> None:
    for shell in ("zsh", "fish"):
        assert complete(shell, "status", "f").splitlines()[0] == "fleet\tC running"


def test_files_are_offered_that_the_command_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sprag.toml", "shop/web.toml", "shop/notes.txt", "supervisord.conf", "Procfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)

    assert complete("bash", "up", "s") == "shop/\nsprag.toml\n"
    assert complete("bash", "up", "sh") == "shop/\nshop/web.toml\n"
    assert complete("bash", "up", "P") == "Procfile\n"
    assert complete("bash", "up", "nowhere/x").strip() == ""
    assert complete("bash", "convert", "su") == "supervisord.conf\n"


@pytest.mark.usefixtures("runtime")
def test_without_an_app_nothing_is_offered_at_once() -> None:
    began = time.monotonic()
    assert complete("bash", "status", "f").strip() == ""
    assert complete("bash", "status", "--app", "nope", "f").strip() == ""
    assert time.monotonic() - began < 10


def test_the_apps_that_run_are_offered_by_pid_where_the_name_is_not_enough(
    serve: Callable[..., Any],
) -> None:
    for name, pid in (("shop", 17), ("shop", 18), ("mail", 19)):
        serve({}, name=name, pid=pid)
    assert complete("bash", "tree", "--app", "").split() == ["mail", "17", "18"]
    assert complete("bash", "wait", "--app", "m") == "mail\n"
    assert complete("bash", "wait", "--app", "x").strip() == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_ask(shell: str) -> None:
    said = CliRunner().invoke(commands, ["completion", shell])
    assert said.exit_code == 0
    assert f"_SPRAG_COMPLETE={shell}_complete" in said.output
