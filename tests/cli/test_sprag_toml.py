"""Reading `sprag.toml`: what it declares, and what is said of one that is wrong."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from sprag._exit_codes import ExitCode
from sprag_cli.up.declared import Group, Program, PythonService
from sprag_cli.up.faults import BadFile
from sprag_cli.up.keys import APP, KINDS
from sprag_cli.up.probes import Probe
from sprag_cli.up.schema import schema, text
from sprag_cli.up.sprag_toml import declared_in, read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sprag_cli.up.declared import Declared

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "sprag.schema.json"
SHOP = """\
[app]
name = "shop"

[program.db]
command = ["postgres", "-D", "data"]
ready = { line = "ready to accept connections" }

[group.backend]
strategy = "rest_for_one"

[group.backend.program.cache]
command = "redis-server --port 6380"

[service.metrics]
use = "shop.metrics:MetricsService"
args = { every = 5 }

[group.backend.program.api]
command = ["gunicorn", "shop:wsgi"]
port = 8000
ready = "port"
needs = ["cache"]
"""


def read(given: str) -> Declared:
    return declared_in(given, Path("sprag.toml"))


def refused(given: str) -> str:
    with pytest.raises(BadFile) as error:
        read(given)
    return str(error.value)


def test_what_is_declared_stands_in_the_order_of_the_file() -> None:
    root = read(SHOP).root

    assert root.name == "shop"
    assert [(type(each), each.name) for each in root.walk()] == [
        (Program, "db"),
        (Group, "backend"),
        (Program, "cache"),
        (Program, "api"),
        (PythonService, "metrics"),
    ]
    assert [each.line for each in root.walk()] == [4, 8, 11, 18, 14]


def test_values_are_plain_and_know_their_lines() -> None:
    db, _, cache, api, metrics = read(SHOP).root.walk()

    assert db.settings == {
        "command": ("postgres", "-D", "data"),
        "ready": Probe("line", "ready to accept connections"),
    }
    assert cache.settings == {"command": "redis-server --port 6380"}
    assert api.settings["ready"] == Probe("port")
    assert api.lines["needs"] == 22
    assert metrics.settings == {"use": "shop.metrics:MetricsService", "args": {"every": 5}}


def test_the_app_is_called_like_its_folder_unless_it_says_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "warehouse"
    folder.mkdir()
    file = folder / "sprag.toml"
    file.write_text('[program.a]\ncommand = ["true"]\n')

    declared = read_toml(file)

    assert (declared.root.name, declared.folder) == ("warehouse", folder)


GOOD: list[tuple[str, str, Any]] = [
    ("command", '["a", "b c"]', ("a", "b c")),
    ("command", '"a b"', "a b"),
    ("shell", "true", True),
    ("cwd", '"/srv"', "/srv"),
    ("env", '{ A = "x", N = 5 }', {"A": "x", "N": "5"}),
    ("env_file", '".env"', ".env"),
    ("user", '"shop"', "shop"),
    ("user", "1000", 1000),
    ("group", '"www"', "www"),
    ("umask", "0o027", 0o027),
    ("umask", '"027"', 0o027),
    ("limits", '{ nofile = 65536, core = "unlimited" }', {"nofile": 65536, "core": "unlimited"}),
    ("limits", "{ nofile = [1024, 4096] }", {"nofile": (1024, 4096)}),
    ("port", "8000", 8000),
    ("ready", '"notify"', Probe("notify")),
    ("ready", "{ notify = true, watchdog = 30 }", Probe("notify", None, {"watchdog": 30.0})),
    ("ready", "{ port = 80, every = 0.5 }", Probe("port", 80, {"every": 0.5})),
    ("ready", '{ command = ["ok"], timeout = 1 }', Probe("command", ("ok",), {"timeout": 1.0})),
    ("alive", '{ http = "http://h:1/x" }', Probe("http", "http://h:1/x")),
    (
        "alive",
        '{ http = "/x", port = 1, failures = 2 }',
        Probe("http", "/x", {"port": 1, "failures": 2}),
    ),
    ("settle", "1", 1.0),
    ("success_codes", "[0, 2]", (0, 2)),
    ("fatal_codes", "[78]", (78,)),
    ("stop_signal", '"SIGINT"', "INT"),
    ("stop_signal", '"term"', "TERM"),
    ("stop_signal", "3", "QUIT"),
    ("kill", '"tree"', "tree"),
    ("output", '"logs/web.log"', "logs/web.log"),
    ("pty", "true", True),
    ("output_limit", "100", 100),
    ("max_lifetime", "3600", 3600.0),
    ("replicas", "3", 3),
    ("restart", '"transient"', "transient"),
    ("shutdown", '"infinity"', "infinity"),
    ("shutdown", "30", 30.0),
    ("start_timeout", "5.5", 5.5),
    ("backoff", "{ initial = 1, tries = 5 }", {"initial": 1.0, "tries": 5}),
    ("backoff", "false", None),
    ("retry_start", "false", False),
    ("autostart", "false", False),
    ("on_failure", '{ ProgramKilled = "stop" }', {"ProgramKilled": "stop"}),
    ("on_failure", "{ OSError = { exit = 78 } }", {"OSError": {"exit": 78}}),
    ("on_failure", "{ 'a.b:C' = { tries = 2 } }", {"a.b:C": {"tries": 2}}),
    ("needs", '["other"]', ("other",)),
    ("needs", '{ other = "started" }', {"other": "started"}),
    ("significant", "true", True),
]
"""A key of a program, a value as TOML, and what is read."""


def a_program(key: str, value: str) -> str:
    lines = ["[program.a]", f"{key} = {value}"]
    if key != "command":
        lines.append('command = "x"' if key == "shell" else 'command = ["x"]')
    return "\n".join([*lines, "[program.other]", 'command = ["y"]', ""])


@pytest.mark.parametrize(("key", "value", "plain"), GOOD, ids=lambda each: str(each)[:40])
def test_each_key_of_a_program_is_read(key: str, value: str, plain: Any) -> None:
    given = a_program(key, value)

    assert read(given).root.members[0].settings[key] == plain
    assert_fits(given)


BAD: list[tuple[str, str, str]] = [
    ("command", "5", "a list of texts"),
    ("command", "[]", "a list of texts"),
    ("command", '["a", 5]', "command.1: 5 is not accepted — write a text"),
    ("command", '""', "a command line that is not empty"),
    ("shell", '"yes"', "true or false"),
    ("env", '["A=b"]', "a table of texts"),
    ("env", "{ A = true }", "env.A: its value is not accepted — write a text or a number"),
    ("env", "{ '1A' = 'x' }", "a name of letters, digits and _"),
    ("umask", "0o1000", "an octal number"),
    ("umask", '"99"', "an octal number"),
    ("limits", "{ nofiles = 1 }", "did you mean 'nofile'?"),
    ("limits", "{ nofile = -1 }", 'or "unlimited"'),
    ("port", "70000", "a port, 1 to 65535"),
    ("port", "true", "a port, 1 to 65535"),
    ("ready", '"tcp"', '"port", "notify", { port = 8000 }'),
    ("ready", "{ prot = 1 }", '"port", "notify", { port = 8000 }'),
    ("ready", '{ line = "(" }', "a regular expression: missing )"),
    ("ready", '{ line = "x", every = 1 }', "ready.every: no such key"),
    ("ready", '{ line = "x", command = ["y"] }', "only one can be meant"),
    ("alive", '{ line = "x" }', "a line is told once"),
    ("alive", '"notify"', '{ http = "/healthz" }'),
    ("alive", '{ http = "healthz" }', 'a path, as in "/healthz"'),
    ("alive", "{ port = 80, failures = 0 }", "a whole number, 1 or more"),
    ("settle", "-1", "a number of seconds, 0 or more"),
    ("max_lifetime", "0", "a number of seconds, 0.001 or more"),
    ("max_lifetime", '"1h"', "a number of seconds, 0.001 or more"),
    ("settle", "nan", "a number of seconds, 0 or more"),
    ("settle", "true", "a number of seconds, 0 or more"),
    ("success_codes", "[256]", "an exit code, 0 to 255"),
    ("stop_signal", '"TREM"', "the name of a signal"),
    ("kill", '"all"', '"group", "process" or "tree"'),
    ("output", "5", "the path of a file"),
    ("replicas", "0", "a whole number, 1 or more"),
    ("start_timeout", "-1", "a number of seconds, 0.001 or more"),
    ("restart", '"always"', '"permanent", "transient" or "temporary"'),
    ("shutdown", '"never"', '"infinity" or "brutal_kill"'),
    ("backoff", "true", "a table, as in { initial = 1.0, tries = 5 }, or false"),
    ("backoff", "{ tries = 0 }", "a whole number, 1 or more"),
    ("on_failure", '{ OSError = "ignore" }', '"restart", "finish", "stop" or "escalate"'),
    ("on_failure", "{ 'a b' = 'stop' }", "the class of an exception"),
    ("needs", '"other"', "a list of names"),
    ("needs", '{ other = "up" }', '"ready", "started" or "finished"'),
]


@pytest.mark.parametrize(("key", "value", "accepted"), BAD, ids=lambda each: str(each)[:40])
def test_what_is_not_accepted_is_told_with_its_line_and_what_is(
    key: str, value: str, accepted: str
) -> None:
    said = refused(a_program(key, value))

    assert said.startswith(f"sprag.toml:2: program.a.{key}")
    assert accepted in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "sprag.toml: there is nothing to run: write [program.NAME], with its command"),
        ("[program.a]\n", "sprag.toml:1: program.a: it has no command"),
        ("[service.a]\n", "sprag.toml:1: service.a: it has no use"),
        ("[group.a]\n", "sprag.toml:1: group.a: the group is empty: write [group.a.program.NAME]"),
        (
            'command = ["x"]\n',
            "sprag.toml:1: command: no such key — it belongs below a table, as in [program",
        ),
        ("[programs.a]\n", "sprag.toml:1: programs: no such key — did you mean 'program'?"),
        (
            '[program]\ncommand = ["x"]\n',
            "sprag.toml:2: program.command: ['x'] is not accepted — write a table: [program.N",
        ),
        (
            "program = 5\n",
            "sprag.toml:1: program: 5 is not accepted — write a table for each: [program.NAME]",
        ),
        (
            "app = 5\n[program.a]\ncommand='x'",
            "sprag.toml:1: app: 5 is not accepted — write a table: [app]",
        ),
        (
            '[program.a]\nport = 80\ncomand = ["x"]\n',
            "sprag.toml:3: program.a.comand: no such key — did you mean 'command'?",
        ),
        ("[program.'a/b']\ncommand='x'", "sprag.toml:1: program.\"a/b\": 'a/b' is not accepted"),
        (
            "[program.a]\ncommand='x'\n[service.a]\nuse='m:C'",
            "sprag.toml:3: service.a: there is a program of that name already",
        ),
        (
            "[program.a]\ncommand='x'\nneeds=['b']",
            "sprag.toml:3: program.a.needs: 'b' is no sibling of it — there are none",
        ),
        (
            "[program.a]\ncommand=['x']\nshell=true",
            "sprag.toml:3: program.a.shell: a shell takes one line",
        ),
        ('[program.a]\ncommand="x \'y"', "sprag.toml:2: program.a.command: "),
        ("[program.a]\ncommand='x'\nready='port'", "sprag.toml:3: program.a.ready: at which port?"),
        (
            "[program.a]\ncommand='x'\nalive={http='/'}",
            "sprag.toml:3: program.a.alive: at which port?",
        ),
        (
            "[program.a]\ncommand='x'\nready={line='y'}\noutput='inherit'",
            "sprag.toml:3: program.a.ready: no line is seen",
        ),
        (
            "[program.a]\ncommand='x'\npty=true\noutput='inherit'",
            "sprag.toml:3: program.a.pty: it writes where sprag does",
        ),
        (
            "[program.a]\ncommand='x'\nfatal_codes=[0]\nsuccess_codes=[0]",
            "sprag.toml:3: program.a.fatal_codes: 0 is among",
        ),
        (
            "[service.a]\nuse='shop.Feed'",
            "sprag.toml:2: service.a.use: 'shop.Feed' is not accepted — write a class, as in",
        ),
        ("[service.a]\nuse='m:C'\nargs={'a b'=1}", "the name of an argument"),
        (
            "[app]\nstrategy='all'\n[program.a]\ncommand='x'",
            "sprag.toml:2: app.strategy: 'all' is not accepted",
        ),
        (
            "[group.a]\nmax_restarts=-1\n[group.a.program.b]\ncommand='x'",
            "sprag.toml:2: group.a.max_restarts: -1",
        ),
        ("[program.a]\ncommand='x'\nheartbeat=5", "a program cannot call beat()"),
        ("[program.a]\ncommand = x", "sprag.toml: no TOML: Invalid value (at line 2, column 11)"),
    ],
)
def test_a_file_that_is_wrong_is_told_line_by_line(given: str, said: str) -> None:
    assert said in refused(given)


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_lines() -> None:
    said = refused("[program.a]\nport = 0\n[program.b]\ncommand = []\n[program.c]\nx = 1\n")

    lines = [int(each.split(":")[1]) for each in said.splitlines()]
    assert lines == sorted(lines) == [1, 2, 4, 5, 6]


def test_no_more_is_told_than_somebody_reads() -> None:
    said = refused("".join(f"[program.p{number}]\n" for number in range(100)))

    assert len(said.splitlines()) == 21
    assert said.endswith("and 80 more")


def test_a_value_that_is_refused_is_cut() -> None:
    assert len(refused(f"[program.a]\ncommand='x'\nport='{'y' * 10_000}'")) < 300


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="No such file or directory") as error:
        read_toml(tmp_path / "sprag.toml")
    assert error.value.exit_code == ExitCode.USAGE
    (tmp_path / "sprag.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadFile, match="byte 0 is not UTF-8"):
        read_toml(tmp_path / "sprag.toml")


def test_groups_that_lie_in_each_other_without_end_are_refused() -> None:
    deep = ".".join(f"group.g{number}" for number in range(30))

    assert "more than 20 deep" in refused(f"[{deep}.program.a]\ncommand = 'x'\n")


# -- the schema for editors ----------------------------------------------------------------------


VALIDATOR = jsonschema.Draft202012Validator(schema())


def assert_fits(given: str) -> None:
    VALIDATOR.validate(tomllib.loads(given))  # pyright: ignore[reportUnknownMemberType]


def test_the_schema_that_is_kept_is_that_of_the_reader() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == text()
    jsonschema.Draft202012Validator.check_schema(json.loads(text()))


def test_the_schema_describes_every_key() -> None:
    tables: dict[str, Mapping[str, Any]] = {**KINDS, "app": APP}
    described = {**schema()["$defs"], "app": schema()["properties"]["app"]}
    for name, keys in tables.items():
        properties = described[name]["properties"]
        assert set(keys) == set(properties) - ({*KINDS} if name == "group" else set())
        assert all(each["description"] for each in properties.values())


def test_the_schema_accepts_an_example() -> None:
    assert_fits(SHOP)


NOT_IN_A_SCHEMA = {'{ line = "(" }', '"TREM"', '{ line = "x", command = ["y"] }'}
"""What only the reader can tell, or tells more than one kind of."""


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, value, _ in BAD if value not in NOT_IN_A_SCHEMA and value != "nan"],
    ids=lambda each: str(each)[:40],
)
def test_the_schema_refuses_what_the_reader_refuses(key: str, value: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        assert_fits(a_program(key, value))


ANYTHING = [
    *("0", "1", "-1", "0.5", "1e12", "inf", "true", "false", "[]", "{}", "[1]", "[0, 300]"),
    *('""', '"x"', '"a b"', '"TERM"', '"log"', '"infinity"', '"port"', '"notify"', '"027"'),
    *('"permanent"', '"one_for_all"', '"never"', '"m:C"', '"/x"', '["x"]', '["x", ""]', '[["a"]]'),
    *(
        '{ a = "started" }',
        '{ line = "x" }',
        '{ http = "/x", port = 8, every = 1 }',
        "{ port = 80 }",
    ),
    *("{ port = true, every = 0 }", "{ notify = true, watchdog = 1 }", "{ notify = false }"),
    *('{ command = ["x"] }', '{ command = "x", failures = 1 }', "{ tries = 3 }", "{ jitter = 2 }"),
    *("{ exit = 3 }", '{ OSError = "stop" }', "{ OSError = { exit = 1 } }", "{ every = 5 }"),
    *("{ nofile = 5 }", "{ nofile = [1, 2] }", "{ nofile = [1] }", '{ A = "x" }', "{ A = 1 }"),
]


@pytest.mark.parametrize("kind", [*KINDS, "app"])
def test_the_schema_accepts_whatever_the_reader_does(kind: str) -> None:
    needed = {"program": 'command = ["x"]', "service": 'use = "m:C"'}.get(kind, "")
    accepted = 0
    for key in APP if kind == "app" else KINDS[kind]:
        for value in ANYTHING:
            title = "[app]" if kind == "app" else f"[{kind}.a]"
            own = [f"{key} = {value}", needed if not needed.startswith(f"{key} ") else ""]
            below = "[group.a.program.b]" if kind == "group" else "[program.b]"
            given = "\n".join([title, *own, below, 'command = ["y"]', ""])
            try:
                read(given)
            except BadFile:
                continue
            accepted += 1
            assert_fits(given)
    assert accepted > 10
