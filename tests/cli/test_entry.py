"""What is loaded, and in which order: looked at from outside, in fresh processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest

from processes import ran
from sprag._exit_codes import ExitCode
from sprag_cli import entry
from sprag_cli.entry import _command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

SLOW = {
    *("gevent", "structlog", "sprag_supervisor", "asyncio", "difflib", "rich", "wcwidth"),
    *("http.client", "email", "ssl", "importlib.metadata", "click.shell_completion"),
    *("sprag_cli.run.binding", "sprag_cli.complete.shells"),
}
"""What a client has no need of, and would wait for: `http.client` alone took a third of it."""
TO_WATCH = {"sprag_cli.draw.watch", "sprag_cli.draw.nodes", "sprag_cli.term.fullscreen"}
"""What only other ways to look need."""

OF_ALL_COMMANDS = {"sprag_cli.run.binding", "sprag_cli.complete.shells"}
LIGHT = {
    "sprag",
    "sprag._defaults",
    "sprag._exit_codes",
    "sprag._unix_sockets",
    "sprag._version",
    "sprag.control",
    "sprag.control.place",
}
"""What it reads of the library; none of these loads anything else of it."""

LOADED = """
import sys
sys.argv = ["sprag", *sys.argv[1:]]
from sprag_cli import main
try:
    main()
finally:
    sys.stderr.write("loaded:" + " ".join(sorted(sys.modules)))
"""

PATCHED = """
import sys
def note(event, arguments):
    if event == "import" and arguments[0] in {"click", "gevent.monkey", "ssl", "threading"}:
        seen.append(arguments[0])
seen = []
sys.addaudithook(note)
sys.argv = ["sprag", "run", "--help"]
from sprag_cli import main
try:
    main()
finally:
    from gevent import monkey
    assert monkey.is_module_patched("threading") and monkey.is_module_patched("ssl")
    sys.stderr.write("order:" + " ".join(seen))
"""


def sprag(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sprag_cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        **options,
    )


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return set(done.stderr.rpartition("loaded:")[2].split())


def assert_light(loaded: set[str]) -> None:
    assert not loaded & SLOW
    librarys = {name for name in loaded if name.partition(".")[0] == "sprag"}
    assert librarys <= LIGHT


def test_help_loads_nothing_slow() -> None:
    loaded = loaded_by("--help")
    assert "click" in loaded
    # It names all commands, and so loads those that complete and that run an app.
    assert_light(loaded - {"click.shell_completion", *OF_ALL_COMMANDS})


def test_the_help_of_one_command_loads_no_other() -> None:
    loaded = loaded_by("tree", "--help")
    assert {each for each in loaded if each.startswith("sprag_cli.commands.")} == {
        *("sprag_cli.commands.group", "sprag_cli.commands.options", "sprag_cli.commands.tree")
    }
    assert_light(loaded)


def test_tree_loads_nothing_slow(serve: Callable[..., Any], shop: dict[str, Any]) -> None:
    serve(shop)
    loaded = loaded_by("tree")
    assert "sprag_cli.draw.tree" in loaded
    assert "sprag_cli.commands.status" not in loaded
    assert not loaded & TO_WATCH
    assert_light(loaded)


def test_tree_alone_loads_nothing_that_parses(
    serve: Callable[..., Any], shop: dict[str, Any]
) -> None:
    serve(shop)
    loaded = loaded_by("tree")
    assert "sprag_cli.draw.tree" in loaded
    assert not loaded & {"click", "dataclasses", "inspect", "pathlib", "typing", "unicodedata"}
    assert "click" in loaded_by("tree", "--ascii")


def test_tree_alone_says_the_same_as_tree_with_its_defaults(
    serve: Callable[..., Any], shop: dict[str, Any]
) -> None:
    serve(shop)
    bare, parsed = sprag("tree"), sprag("tree", "--timeout", "5")
    assert (bare.returncode, bare.stderr) == (parsed.returncode, parsed.stderr)
    assert bare.stdout == parsed.stdout


def test_tree_alone_finds_no_app_in_one_line(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not list(runtime.iterdir())
    bare = sprag("tree")
    assert bare.returncode == ExitCode.NOT_FOUND
    assert bare.stdout == ""
    assert bare.stderr.startswith("sprag: no app is running")
    assert bare.stderr.count("\n") == 1
    monkeypatch.setenv("SPRAG_APP", "shop")  # a variable is read
    assert sprag("tree").stderr.startswith("sprag: no app 'shop' is running")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("draw.status", ("status", "mail")),
        ("draw.why", ("why", "mail")),
        ("act.manage", ("stop", "mail")),
        ("draw.stacks", ("stacks",)),
        ("draw.events", ("events",)),
        ("draw.top", ("top", "--once")),
        ("act.wait", ("wait", "--timeout", "0.1")),
    ],
)
def test_a_client_loads_nothing_slow(
    serve: Callable[..., Any], module: str, arguments: tuple[str, ...]
) -> None:
    serve({"event": "end", "ready": True, "path": "shop", "done": True, "state": "running"})
    loaded = loaded_by(*arguments)
    assert f"sprag_cli.{module}" in loaded
    assert_light(loaded)


def test_run_patches_before_anything_that_should_be_patched_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PATCHED],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    order = done.stderr.rpartition("order:")[2].split()
    assert order[0] == "gevent.monkey"
    assert "click" in order


STEPS = ("will_patch_all", "will_patch_module", "did_patch_module", "did_patch_all")
TELLS = "import sys\ndef told(event): sys.stderr.write(f'told:{type(event).__name__}\\n')\n"


def patched_beside(folder: Path, *path: str) -> tuple[list[str], list[str]]:
    """Return what gevent's plugins are told of the patching of ``sprag run``, and what it loads."""
    look = PATCHED + "    sys.stderr.write('\\nloaded:' + ' '.join(sys.modules))\n"
    look += "    from gevent import events\n"
    look += "    assert events.notify_and_call_entry_points is not events.notify\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", look],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in [*path, *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    told, _, loaded = done.stderr.partition("loaded:")
    said = [line.partition(":")[2] for line in told.splitlines() if line.startswith("told:")]
    return said, loaded.split()


@pytest.mark.parametrize("kind", ["dist-info", "egg-info", "archive"])
def test_gevents_plugins_are_told_of_each_step(tmp_path: Path, kind: str) -> None:
    plugin = "".join(f"[gevent.plugins.monkey.{step}]\nplugin = plugin:told\n" for step in STEPS)
    folder = "plugin-1.egg-info" if kind == "egg-info" else "plugin-1.dist-info"
    name = "PKG-INFO" if kind == "egg-info" else "METADATA"
    files = {
        "plugin.py": TELLS,
        f"{folder}/entry_points.txt": plugin,
        f"{folder}/{name}": "Metadata-Version: 2.1\nName: plugin\nVersion: 1\n",
    }
    path: list[str] = []
    if kind == "archive":
        with ZipFile(tmp_path / "plugin.zip", "w") as archive:
            for file, text in files.items():
                archive.writestr(file, text)
        path.append(str(tmp_path / "plugin.zip"))
    else:
        (tmp_path / folder).mkdir()
        for file, text in files.items():
            (tmp_path / file).write_text(text)
    told, _ = patched_beside(tmp_path, *path)
    assert told[0] == "GeventWillPatchAllEvent"
    assert told[-1] == "GeventDidPatchAllEvent"
    assert told.count("GeventWillPatchModuleEvent") == told.count("GeventDidPatchModuleEvent") > 5


def test_where_gevent_has_no_plugins_nobody_reads_what_is_installed(tmp_path: Path) -> None:
    told, loaded = patched_beside(tmp_path, str(tmp_path / "missing"))
    assert told == []
    assert "gevent.monkey" in loaded
    assert "importlib.metadata" not in loaded


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["run", "a:b"], "run"),
        (["tree", "run"], "tree"),
        (["--help"], None),
        (["--unknown", "run"], "run"),
        ([], None),
    ],
)
def test_the_command_is_the_first_word(arguments: list[str], command: str | None) -> None:
    assert _command(arguments) == command


def test_the_module_runs_as_the_command_does() -> None:
    done = sprag("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: sprag [OPTIONS] COMMAND")


def test_options_are_completed_too() -> None:
    environ = {**os.environ, "_SPRAG_COMPLETE": "bash_complete"}
    environ |= {"COMP_LINE": "sprag tree --in", "COMP_WORD": "--in"}
    assert sprag(env=environ).stdout == "--interval\n"


def test_a_stream_without_unicode_gets_ascii(
    serve: Callable[..., Any], shop: dict[str, Any]
) -> None:
    serve(shop)
    done = sprag("tree", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == ExitCode.WELL
    assert done.stdout.isascii()
    assert done.stdout.startswith("* shop")


def test_what_is_wrong_with_the_users_module_is_shown_without_our_frames(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("1 / 0\n")
    done = ran("run", "shop:app", cwd=tmp_path)
    assert done.returncode == ExitCode.NEVER_CAME_UP
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.count("  File ") == 1
    assert done.stderr.endswith(
        "sprag: importing shop raised ZeroDivisionError; nothing was started\n"
    )


def test_a_target_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = ran("run", "shop:app", cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("blocking", ["time.sleep(60)", "while True: pass"])
def test_ctrl_c_during_the_import_ends_quietly(tmp_path: Path, blocking: str) -> None:
    code = f"import time\nprint('importing', flush=True)\n{blocking}\n"
    (tmp_path / "shop.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, "-m", "sprag_cli", "run", "shop:app"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=50)
    assert (process.returncode, said) == (ExitCode.FORCED_INT, "")


def test_an_interrupt_while_it_loads_ends_it_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["sprag", "run", "shop:app"])
    monkeypatch.setattr(entry, "_patch", interrupted)
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == ExitCode.FORCED_INT
    assert capsys.readouterr() == ("", "")
