"""Where `sprag run` is to listen, by its options and by their variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
import pytest

from sprag_cli.commands.group import commands
from sprag_cli.run import binding
from sprag_cli.run.binding import Bind

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOW_TO_LOAD = "sprag_cli.run.run.run_app"


def asked(
    monkeypatch: pytest.MonkeyPatch, *arguments: str, variables: Mapping[str, str] | None = None
) -> tuple[tuple[Bind, ...], dict[str, object]]:
    """Return what ``sprag run`` would be told, without running it."""
    told: list[Any] = []

    def run_app(given: Any) -> int:
        told.append(given)
        return 0

    monkeypatch.setattr(SLOW_TO_LOAD, run_app)
    for name, value in (variables or {}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        commands(["run", "app:app", *arguments], prog_name="sprag")
    if not told:
        raise AssertionError(ended.value.code)
    (given,) = told
    names = ("name", "tree", "watchdog_exit", "log_level", "shutdown_timeout", "socket_mode")
    return given.binds, {name: getattr(given, name) for name in names}


def test_every_option_has_a_variable_and_what_is_typed_wins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As on the command line: click makes the option for help once, as the first to ask wants it.
    parent = click.Context(commands, **commands.context_settings)
    context = click.Context(commands.commands["run"], parent=parent)
    (helped,) = [commands.commands["run"].get_help(context)]
    for each in commands.commands["run"].params:
        if isinstance(each, click.Option) and each.name != "help":
            variable = "SPRAG_" + str(each.name).upper()
            assert each.envvar == variable
            assert f"[env var: {variable}" in " ".join(helped.split())
    variables = {
        "SPRAG_NAME": "mail",
        "SPRAG_TREE": "0",
        "SPRAG_WATCHDOG_EXIT": "1",
        "SPRAG_LOG_LEVEL": "debug",
        "SPRAG_SHUTDOWN_TIMEOUT": "7",
        "SPRAG_SOCKET_MODE": "0660",
        "SPRAG_BIND": "127.0.0.1:1 feed=unix:feed.sock",
    }
    binds, rest = asked(monkeypatch, "--log-level", "error", variables=variables)
    assert binds == (Bind("", ("127.0.0.1", 1)), Bind("feed", "feed.sock"))
    assert rest == {
        "name": "mail",
        "tree": False,
        "watchdog_exit": True,
        "log_level": "error",
        "shutdown_timeout": 7.0,
        "socket_mode": 0o660,
    }
    # Another way to say where is the same option: what is typed leaves no room for a variable.
    assert asked(monkeypatch, "--port", "0")[0] == (Bind("", ("127.0.0.1", 0)),)
    assert asked(monkeypatch, "--unix-socket", "a", variables={"SPRAG_PORT": "1"})[0] == (
        Bind("", "a"),
    )
    for variables, said in (
        ({"SPRAG_PORT": "x"}, "'(SPRAG_PORT|--port)': 'x' is not a valid whole number"),
        ({"SPRAG_PORT": "1", "SPRAG_HOST": ""}, "SPRAG_BIND says where to listen: leave out SPRAG"),
        ({"SPRAG_TREE": "maybe"}, "'(SPRAG_TREE|--tree)': 'maybe' is not a valid boolean"),
    ):
        with monkeypatch.context() as one, pytest.raises(AssertionError, match="2"):
            asked(one, variables=variables)
        assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("option", "given", "expected"),
    [
        ("--bind", "localhost:80", Bind("", ("localhost", 80))),
        ("--bind", "[::1]:0", Bind("", ("::1", 0))),
        ("--bind", "web=unix:/run/a=b.sock", Bind("", "/run/a=b.sock")),
        ("--bind", "unix:/run/a=b.sock", Bind("", "/run/a=b.sock")),
        ("--bind", "feed.in-2=[::]:65535", Bind("feed.in-2", ("::", 65535))),
        ("--fd", "feed=7", Bind("feed", 7)),
        ("--bind", "a:65536", "a port is 65535 at most"),
        ("--bind", ":80", "names no host: write 127.0.0.1:80, or 0.0.0.0:80 for all"),
        ("--bind", "::1:80", "is no address: use HOST:PORT, [IPV6]:PORT or unix:PATH"),
        ("--bind", "/run/web.sock", "a path is written unix:/run/web.sock"),
        ("--bind", "unix:", "has no path"),
        ("--bind", "1=a:1", "'1' is no name of a socket"),
        ("--fd", "x", "is no file descriptor: use its number"),
        ("--fd", "2", "stdin, stdout, stderr"),
        ("--socket-mode", "888", "three octal digits"),
    ],
)
def test_a_place_to_listen_is_read_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    given: str,
    expected: Bind | str,
) -> None:
    if isinstance(expected, Bind):
        assert asked(monkeypatch, option, given)[0] == (expected,)
        return
    with pytest.raises(AssertionError, match="2"):
        asked(monkeypatch, option, given)
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bind", "a:1", "--bind", "a:1"], "a:1 is given twice: leave out one"),
        (["--bind", "f=a:1", "--fd", "f=5"], "two sockets are called 'f'"),
        (["--bind", "a:1", "--host", "b"], "--bind says where to listen: leave out --host"),
        (["--fd", "4", "--port", "1"], "--fd says where to listen: leave out --port"),
        (["--host", ""], "--host is empty"),
    ],
)
def test_ways_to_say_where_must_not_contradict_each_other(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    with pytest.raises(AssertionError, match="2"):
        asked(monkeypatch, *arguments)
    assert said in capsys.readouterr().err


def test_places_of_any_free_port_may_be_several_and_a_named_one_stands_beside_a_port() -> None:
    any_free = Bind("", ("a", 0))
    given = {"host": None, "port": 5, "unix_socket": None, "bind": (Bind("f", "p"),), "fd": ()}
    said = {name: name for name in binding.ADDRESSES}
    assert binding.places({**given, "port": None, "bind": (any_free, any_free)}, set(), said) == (
        any_free,
        any_free,
    )
    assert binding.places(given, set(), said) == (Bind("", ("127.0.0.1", 5)), Bind("f", "p"))
