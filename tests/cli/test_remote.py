"""`sprag -H ssh://…`: apps on another machine. What ssh would do, other programs do here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from sprag._exit_codes import ExitCode
from sprag_cli.app import elsewhere
from sprag_cli.app.find import all_apps, find_app
from sprag_cli.app.remote import BadRemote, Remote, RemoteFailed, parsed
from sprag_cli.app.stdio import serve as serve_stdio
from sprag_cli.commands.group import commands
from sprag_cli.term.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _here() -> Iterator[None]:
    yield
    elsewhere.choose(None)


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("ssh://box", ["--", "box", "sprag", "_stdio"]),
        ("ssh://ann@Box/", ["-l", "ann", "--", "Box", "sprag", "_stdio"]),
        ("ssh://box:2222", ["-p", "2222", "--", "box", "sprag", "_stdio"]),
        ("ssh://[::1]:22", ["-p", "22", "--", "::1", "sprag", "_stdio"]),
    ],
)
def test_the_command_of_ssh_names_the_host_behind_its_options(
    given: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPRAG_REMOTE", raising=False)
    # A connection that has died in silence ends: else whoever follows an app would wait for ever.
    assert parsed(given).command() == ["ssh", "-T", "-o", "ServerAliveInterval=15", *command]


def test_where_sprag_is_there_is_said_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    # The shell over there takes it apart: a folder with a space, and one's own, can be said.
    for there in ("sudo -u shop /srv/venv/bin/sprag", "'/srv/my venv/bin/sprag'", "~/bin/sprag"):
        monkeypatch.setenv("SPRAG_REMOTE", there)
        assert parsed("ssh://box").command()[6:] == [there, "_stdio"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("ssh://-oProxyCommand=x", "begins with '-'"),
        ("ssh://-x@box", "begins with '-'"),
        ("ssh://b$(x)", "letters that are in no name"),
        ("ssh://a b", "letters that are in no name"),
        ("ssh://ann:secret@box", "more than a user"),
        ("ssh://box/srv", "more than a user"),
        ("ssh://box?x=1", "more than a user"),
        ("ssh://", "names no host"),
        ("ssh://box:port", "Port could not be cast"),
        ("tcp://box", "no ssh:// address"),
        ("box", "no ssh:// address"),
        ("", "no ssh:// address"),
        ("ssh://b\x1b2J", "letters that are in no name"),
    ],
)
def test_what_is_no_address_or_could_be_an_option_is_refused(given: str, fault: str) -> None:
    with pytest.raises(BadRemote) as caught:
        parsed(given)
    assert fault in str(caught.value)
    assert "\x1b" not in caught.value.report()


def test_commands_that_ask_no_app_take_no_host() -> None:
    for command in ("check", "up", "run", "completion"):
        done = CliRunner().invoke(commands, ["-H", "ssh://box", command, "x"])
        assert done.exit_code == ExitCode.USAGE
        assert "asks" not in done.output
        assert "-H is for commands that ask a running app" in done.output
    done = CliRunner().invoke(commands, ["-H", "ssh://-x", "tree"])
    assert done.exit_code == ExitCode.USAGE


class Ends:
    """Both ends of `serve`, which runs in a thread."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(10)
        self.code: list[int] = []

        def run() -> None:
            with theirs:
                self.code.append(serve_stdio(theirs.fileno(), theirs.fileno()))

        self.thread = threading.Thread(target=run)
        self.thread.start()
        self.file = self.ours.makefile("rwb")

    def say(self, wanted: object) -> dict[str, Any]:
        self.file.write(
            wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode() + b"\n"
        )
        self.file.flush()
        told: dict[str, Any] = json.loads(self.file.readline())
        return told

    def ends(self) -> int:
        self.file.close()
        self.ours.close()
        self.thread.join(10)
        return self.code[0]


def test_the_other_end_lists_apps_and_passes_on_what_they_say(
    serve: Callable[..., Any], shop: dict[str, Any]
) -> None:
    serve(shop)
    ends = Ends()
    (app,) = ends.say({"want": "apps"})["apps"]
    assert (app["name"], app["pid"]) == ("shop", 4242)
    assert ends.ends() == 0

    ends = Ends()
    assert "connected" in ends.say({"want": "socket", "path": app["socket"]})
    ends.file.write(b"GET /v1/tree HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    ends.file.flush()
    assert b"200" in ends.file.readline()
    assert b"courier" in ends.file.read()
    assert ends.ends() == 0


@pytest.mark.parametrize(
    "wanted", [b"\n", b"[]\n", b"nonsense\n", b'{"want": "money"}\n', b'{"want": "socket"}\n']
)
def test_what_it_does_not_know_it_says(wanted: bytes) -> None:
    ends = Ends()
    assert "does not know" in ends.say(wanted)["error"]
    assert ends.ends() == 1


def test_an_app_that_has_gone_is_said(runtime: Any) -> None:
    ends = Ends()
    assert "gone" in ends.say({"want": "socket", "path": str(runtime / "no.1.sock")})["error"]
    assert ends.ends() == 1


def run_instead(monkeypatch: pytest.MonkeyPatch, *command: str) -> None:
    def instead(_self: Remote) -> list[str]:
        return list(command)

    monkeypatch.setattr(Remote, "command", instead)


def through(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have *code* run in the place of ssh."""
    run_instead(monkeypatch, sys.executable, "-Sc", code)
    elsewhere.choose("ssh://box")


def test_a_command_asks_an_app_over_there(
    serve: Callable[..., Any], shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(shop)
    through(
        monkeypatch,
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from sprag_cli.app.stdio import serve; sys.exit(serve(0, 1))",
    )
    done = CliRunner().invoke(commands, ["-H", "ssh://box", "tree", "--ascii"])
    assert done.exit_code == ExitCode.WELL
    assert "courier" in done.output
    assert find_app("shop").remote is not None
    assert str(find_app(None)) == "shop (pid 4242) at ssh://box"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.stderr.write('Permission denied\\n'); sys.exit(255)", "code 255"),
        ("import sys; sys.exit(127)", "set SPRAG_REMOTE"),
        ("print('\\x1b[2JWelcome!')", "no sprag"),
        ('print(\'{"error": "no \\x1b app"}\')', "no"),
        ("print('{\"apps\": 3}')", "of this version"),
        ("", "nothing came"),
    ],
)
def test_what_goes_wrong_over_there_is_said_and_cannot_act_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    through(monkeypatch, code)
    with pytest.raises(RemoteFailed) as caught:
        all_apps()
    assert reason in str(caught.value)
    assert caught.value.exit_code == ExitCode.NOT_FOUND
    assert "\x1b" not in caught.value.report()
    if "255" in reason:
        assert "Permission denied" in str(caught.value)


@pytest.mark.parametrize("command", ["events", "logs"])
def test_a_connection_that_breaks_is_not_the_apps_doing(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    through(
        monkeypatch,
        "import json, sys\n"
        "app = {'name': 'shop', 'pid': 7, 'socket': '/s', 'user': None}\n"
        "is_first = json.loads(sys.stdin.readline())['want'] == 'apps'\n"
        "print(json.dumps({'apps': [app]} if is_first else {}), flush=True)\n"
        "if is_first: sys.exit()\n"
        "sys.stdin.readline()\n"
        "line = {'event': 'live', 'kind': 'live', 'services': 0}\n"
        "print('HTTP/1.1 200 OK\\r\\n\\r\\n' + json.dumps(line), flush=True)\n"
        "sys.exit('Connection reset by peer\x1b')\n",
    )
    follow = ["-f"] if command == "logs" else []
    done = CliRunner().invoke(commands, ["-H", "ssh://box", command, *follow])
    assert done.exit_code == ExitCode.NOT_FOUND
    assert "ssh://box: ssh has ended with code 1" in done.output
    assert "Connection reset by peer" in done.output
    assert "\x1b" not in done.output


def test_apps_that_make_no_sense_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [3, {"name": 3}, {"name": "a", "pid": "x", "socket": "/s"}]
    good = {"name": "shop", "pid": 7, "socket": "/s", "user": None}
    through(monkeypatch, f"import json; print(json.dumps({{'apps': {[*told, good]!r}}}))")
    assert [app.name for app in all_apps().apps] == ["shop"]


def test_without_ssh_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(monkeypatch, "/nowhere/ssh")
    elsewhere.choose("ssh://box")
    with pytest.raises(CommandError, match="ssh cannot be run"):
        all_apps()


# -- with a real sshd -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long
def test_a_real_sshd_leads_to_the_apps_of_the_other_side(
    tmp_path: Any, sshd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from processes import app, ran, run

    app(tmp_path, 'app = App(name="shop", providers={"feed": Service()})')
    with run(tmp_path) as process:
        process.socket()
        environ = sshd.environ(process.runtime)

        def sprag(*arguments: str) -> subprocess.CompletedProcess[str]:
            return ran("-H", "ssh://box", *arguments, env=environ)

        shown = sprag("tree", "--ascii")
        assert shown.returncode == 0, shown.stderr
        assert "feed" in shown.stdout
        assert sprag("stop", "shop/feed").returncode == 0
        told = json.loads(sprag("status", "shop/feed", "--json").stdout)
        assert told["state"] == "stopped"
        missing = sprag("status", "--app", "none")
        assert missing.returncode == ExitCode.NOT_FOUND
        assert "no app 'none'" in missing.stderr
    assert "no app is running" in sprag("tree").stderr
    assert os.environ.get("SPRAG_REMOTE") is None


@pytest.mark.slow
@pytest.mark.long
def test_of_two_apps_on_the_other_side_one_is_chosen(tmp_path: Any, sshd: Any) -> None:
    from processes import app, ran, run

    source = """
    class Says(Service):
        def on_start(self):
            say("it is up")
    app = App(name="{}", providers={{"{}": Says()}})
    """
    app(tmp_path, source.format("shop", "feed"), name="shop")
    app(tmp_path, source.format("bank", "till"), name="bank")
    with run(tmp_path, target="shop:app") as shop, run(tmp_path, target="bank:app") as bank:
        shop.says("it is up")
        bank.says("it is up")
        environ = sshd.environ(bank.runtime)
        both = ran("-H", "ssh://box", "status", env=environ)
        assert both.returncode == ExitCode.USAGE, both.stderr
        assert "shop" in both.stderr
        assert "bank" in both.stderr
        assert "Traceback" not in both.stderr
        one = ran("-H", "ssh://box", "tree", "--app", "bank", "--ascii", env=environ)
        assert "till" in one.stdout
        assert "feed" not in one.stdout


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("known", ["", "other"])
def test_a_host_key_that_is_unknown_or_another_one_ends_in_one_line(
    tmp_path: Any, sshd: Any, known: str
) -> None:
    environ = sshd.environ(tmp_path)
    keys = tmp_path / "known"
    if known:
        key = (sshd.folder / "user.pub").read_text().split()[:2]
        keys.write_text(f"[127.0.0.1]:{sshd.port} {' '.join(key)}\n")
    with (sshd.folder / "ssh_config").open("a") as config:
        config.write(f"Host new{known}\n HostName 127.0.0.1\n Port {sshd.port}\n")
        config.write(f" UserKnownHostsFile {keys}\n StrictHostKeyChecking ask\n")
    done = subprocess.run(
        [sys.executable, "-m", "sprag_cli", "-H", f"ssh://new{known}", "tree"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,  # no terminal: nobody can answer
    )
    assert done.returncode == ExitCode.NOT_FOUND
    first, *more = done.stderr.splitlines()
    assert f"ssh://new{known}: its host key is unknown, or another one" in first
    assert "Host key verification failed." in more[-1]
    assert "Traceback" not in done.stderr
