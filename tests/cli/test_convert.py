"""`sprag convert`: from supervisord.conf to sprag.toml, and what has no counterpart there."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sprag._exit_codes import ExitCode
from sprag_cli.up.convert import convert, toml_of
from sprag_cli.up.declared import Group, Program
from sprag_cli.up.faults import BadFile
from sprag_cli.up.ini import Unreadable, variables
from sprag_cli.up.sprag_toml import declared_in

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {"HOME": "/root", "TOKEN": "s3cret"}


class Site:
    """A folder with a supervisord.conf."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "supervisord.conf"
        self.text = ""
        self.notes: list[str] = []

    def convert(self, given: str) -> Group:
        self.file.write_text(given, encoding="utf-8")
        self.text, self.notes = toml_of(self.file, ENVIRON)
        return declared_in(self.text, self.file).root

    def program(self, *lines: str) -> dict[str, Any]:
        """Return the settings of a program with these keys, besides its command."""
        head = [] if any(each.startswith("command") for each in lines) else ["command=web -v"]
        root = self.convert("\n".join(["[program:web]", *head, *lines, ""]))
        return dict(root.members[0].settings)

    def refused(self, given: str) -> str:
        with pytest.raises(BadFile) as error:
            self.convert(given)
        assert error.value.exit_code == ExitCode.USAGE
        return str(error.value).replace(str(self.folder), "HERE")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_program_has_supervisords_defaults_where_ours_differ(site: Site) -> None:
    assert site.program() == {
        "command": ("web", "-v"),
        "restart": "transient",
        "settle": 1.0,
        "backoff": {"initial": 1.0, "reset_after": 1.0, "tries": 3},
        "kill": "process",
    }
    assert site.notes == []


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ("command=sh -c 'a; b' \"c d\"", "command", ("sh", "-c", "a; b", "c d")),
        ("directory=/srv/shop", "cwd", "/srv/shop"),
        ("user=shop", "user", "shop"),
        ("user=1000", "user", 1000),
        ("umask=027", "umask", 0o027),
        ("autostart=false", "autostart", False),
        ("autorestart=true", "restart", None),
        ("autorestart=false", "on_failure", {"Exception": "stop"}),
        ("exitcodes=0,2", "success_codes", (0, 2)),
        ("exitcodes=0", "success_codes", None),
        ("startsecs=5", "settle", 5.0),
        ("startsecs=0", "settle", None),
        ("startretries=7", "backoff", {"initial": 1.0, "reset_after": 1.0, "tries": 7}),
        ("stopsignal=INT", "stop_signal", "INT"),
        ("stopsignal=2", "stop_signal", "INT"),
        ("stopwaitsecs=60", "shutdown", 60.0),
        ("stopasgroup=true", "kill", None),
        ("killasgroup=true", "kill", None),
        ("environment=A=\"x y\",B='1,2',C=3", "env", {"A": "x y", "B": "1,2", "C": "3"}),
        ('environment=HOME="%(ENV_HOME)s"', "env", None),
        ('environment=P="%(program_name)s/100%%"', "env", {"P": "web/100%"}),
        ("stdout_logfile=/var/log/web.log\nredirect_stderr=true", "output", "/var/log/web.log"),
        ("stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0", "output", "inherit"),
        ("stdout_logfile=NONE\nstderr_logfile=none", "output", "/dev/null"),
        ("stdout_logfile=AUTO", "output", None),
        ("numprocs=4\nprocess_name=%(program_name)s_%(process_num)02d", "replicas", 4),
    ],
)
def test_a_key_of_supervisords_becomes_ours(site: Site, given: str, key: str, value: Any) -> None:
    assert site.program(given).get(key) == value


def test_here_is_the_folder_of_the_file(site: Site) -> None:
    assert site.program("command=%(here)s/bin/web")["command"] == (f"{site.folder}/bin/web",)


def test_a_variable_in_a_command_is_left_to_a_shell_and_not_written_down(site: Site) -> None:
    settings = site.program("command=web --token=%(ENV_TOKEN)s 'a b'")

    assert settings["shell"] is True
    assert settings["command"] == "exec web --token=\"$TOKEN\" 'a b'"
    assert "s3cret" not in site.text + "".join(site.notes)


def test_a_variable_elsewhere_is_filled_in_and_that_is_told(site: Site) -> None:
    assert site.program("directory=%(ENV_HOME)s/shop")["cwd"] == "/root/shop"
    assert "%(ENV_HOME)s: it is filled in now" in site.notes[0]
    assert site.program("directory=%(ENV_NO)s/shop")["cwd"] == "$NO/shop"
    assert "it is not set here" in site.notes[0]


def test_numbers_of_processes_that_matter_make_a_program_each(site: Site) -> None:
    root = site.convert(
        "[program:web]\ncommand=web -p 80%(process_num)02d\nnumprocs=2\n"
        "process_name=%(program_name)s_%(process_num)02d\n"
    )

    (group,) = root.members
    assert isinstance(group, Group)
    assert [(each.name, each.settings["command"]) for each in group.members] == [
        ("web_00", ("web", "-p", "8000")),
        ("web_01", ("web", "-p", "8001")),
    ]


def test_numbers_that_begin_with_1_are_those_of_replicas(site: Site) -> None:
    settings = site.program(
        "command=web -n %(process_num)d",
        "numprocs=2",
        "numprocs_start=1",
        "process_name=%(process_num)s",
    )

    assert (settings["command"], settings["replicas"]) == (("web", "-n", "{replica}"), 2)


def test_a_group_is_a_group(site: Site) -> None:
    root = site.convert(
        "[group:jobs]\nprograms=beat, work\n[program:beat]\ncommand=beat\n"
        "[program:work]\ncommand=work\n[program:web]\ncommand=web\n"
    )

    assert [each.name for each in root.walk()] == ["jobs", "beat", "work", "web"]


def test_priorities_are_the_order_of_the_file(site: Site) -> None:
    root = site.convert(
        "[program:web]\ncommand=web\npriority=20\n[program:last]\ncommand=last\n"
        "[program:db]\ncommand=db\npriority=10\n"
    )

    assert [each.name for each in root.members] == ["db", "web", "last"]
    assert root.settings["in_order"] is True
    assert "priority: in_order = true" in site.notes[0]


def test_the_app_gets_the_time_that_its_programs_may_take_to_stop(site: Site) -> None:
    given = "[program:a]\ncommand=a\nstopwaitsecs=600\n[program:b]\ncommand=b\n"

    assert site.convert(given).settings == {"shutdown_timeout": 600.0}
    one_after_another = site.convert(f"{given}priority=1\n")
    assert one_after_another.settings == {"in_order": True, "shutdown_timeout": 610.0}


def test_what_supervisord_says_for_all_programs_is_said_for_each(site: Site) -> None:
    root = site.convert(
        "[supervisord]\numask=027\ndirectory=/srv\nminfds=4096\nenvironment=A=1,B=2\n"
        "[program:web]\ncommand=web\ndirectory=/srv/web\nenvironment=B=3\n"
    )

    settings = root.members[0].settings
    assert settings["umask"] == 0o027
    assert settings["cwd"] == "/srv/web"
    assert settings["limits"] == {"nofile": 4096}
    assert settings["env"] == {"A": "1", "B": "3"}


def test_what_is_said_for_all_is_filled_in_too(site: Site) -> None:
    root = site.convert(
        '[supervisord]\ndirectory=%(here)s/run\nenvironment=P="%(ENV_HOME)s/bin",R="50%%"\n'
        "[program:web]\ncommand=web\nstdout_logfile=%(ENV_P)s/log\nredirect_stderr=true\n"
    )

    settings = root.members[0].settings
    assert settings["cwd"] == f"{site.folder}/run"
    assert settings["env"] == {"P": "/root/bin", "R": "50%"}
    assert settings["output"] == "/root/bin/log"
    assert "[supervisord] %(ENV_HOME)s: it is filled in now" in "\n".join(site.notes)


def test_files_that_are_included_are_read(site: Site) -> None:
    (site.folder / "conf.d").mkdir()
    (site.folder / "conf.d" / "b.conf").write_text("[program:b]\ncommand=b\n")
    (site.folder / "conf.d" / "a.conf").write_text("[program:a]\ncommand=a\n")

    root = site.convert("[include]\nfiles = conf.d/*.conf %(here)s/none/*.ini\n")

    assert [each.name for each in root.members] == ["a", "b"]


def test_comments_in_a_file_are_none_of_its_values(site: Site) -> None:
    assert site.program("command=web ; the site", "directory=/srv # here")["cwd"] == "/srv"


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ("[eventlistener:x]\ncommand=x\nevents=TICK", "[eventlistener:x]: who wants to hear"),
        ("[fcgi-program:x]\ncommand=x", "[fcgi-program:x]: sprag hands on no FastCGI socket"),
        ("[inet_http_server]\nport=*:9001", "[inet_http_server]: sprag listens at no port"),
        ("[rpcinterface:supervisor]\nx=y", "[rpcinterface:supervisor]: there is no XML-RPC"),
        ("[supervisord]\npidfile=/run/x", "[supervisord] pidfile: let systemd start it"),
        ("[supervisord]\nx=y", "[supervisord] x: supervisord does not know it either"),
        ("[what]\nx=y", "[what]: supervisord does not know it either"),
    ],
)
def test_what_has_no_counterpart_is_told_with_what_to_do(site: Site, given: str, note: str) -> None:
    site.convert(f"[program:web]\ncommand=web\n{given}\n")

    assert note in "\n".join(site.notes)


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ("stdout_logfile=/var/log/web.log", "rotation: let logrotate do it"),
        ("stdout_logfile=/a\nstderr_logfile=/b", "stderr_logfile: one file takes both streams: /a"),
        ("stdout_events_enabled=true", "stdout_events_enabled: who wants to hear"),
        ("stdout_syslog=true", "stdout_syslog: sprag's log has all lines"),
        ("startretries=0", "startretries = 0: it is tried once more"),
        ("autorestrat=true", "autorestrat: supervisord does not know it either"),
    ],
)
def test_what_a_program_loses_is_told(site: Site, given: str, note: str) -> None:
    site.program(given)

    assert note in "\n".join(site.notes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "HERE/supervisord.conf: it has no [program:…]"),
        ("[program:web]\n", "HERE/supervisord.conf: [program:web] it has no command"),
        ("[program:web]\ncommand=\n", "[program:web] command: it is empty"),
        ("[program:web]\ncommand='x\n", "[program:web] command: No closing quotation"),
        ("[program:web]\ncommand=%(no)s\n", "[program:web] command: %(no)s is not known here"),
        ("[program:web]\ncommand=50%\n", "has a % that means nothing: write %%"),
        (
            "[program:web]\ncommand=x\nautostart=maybe\n",
            "autostart: 'maybe' is neither true nor false",
        ),
        ("[program:web]\ncommand=x\nautorestart=maybe\n", "'maybe' is neither true nor false"),
        ("[program:web]\ncommand=x\nstartsecs=1s\n", "startsecs: '1s' is not a whole number"),
        ("[program:web]\ncommand=x\numask=9\n", "umask: '9' is not octal"),
        ("[program:web]\ncommand=x\nenvironment=A\n", 'environment: write it as KEY="value"'),
        (
            "[program:web]\ncommand=x\nstopasgroup=true\nkillasgroup=false\n",
            "stopasgroup: it is true",
        ),
        (
            "[program:web]\ncommand=x%(process_num)s\nnumprocs=2\n",
            "process_name: it has no %(process_num)s",
        ),
        (
            "[group:x]\nprograms=y\n[program:web]\ncommand=x\n",
            "[group:x] programs: there is no program 'y'",
        ),
        ("command=x\n", "contains no section headers"),
        ("[include]\n[program:web]\ncommand=x\n", "[include] has no files"),
    ],
)
def test_what_supervisord_would_not_read_is_refused_with_its_place(
    site: Site, given: str, said: str
) -> None:
    assert said in site.refused(given)


def test_variables_are_read_with_their_quotes() -> None:
    assert variables("A=1,\n B=\"x,y\", C='z'") == {"A": "1", "B": "x,y", "C": "z"}
    with pytest.raises(Unreadable):
        variables("A=1 B=2")


def test_names_that_toml_wants_in_quotes_get_them(site: Site) -> None:
    root = site.convert('[program:web.1]\ncommand=a "b\'c" \\d\nenvironment=A="é\\\\"\n')

    assert isinstance(root.members[0], Program)
    assert root.members[0].name == "web.1"
    assert root.members[0].settings["command"] == ("a", "b'c", "d")


def test_what_is_written_goes_to_stdout_and_the_rest_to_stderr(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.file.write_text("[program:web]\ncommand=web\n[inet_http_server]\nport=*:1\n")

    assert convert(str(site.file), None) == ExitCode.WELL

    out, err = capsys.readouterr()
    assert "[program.web]" in out
    assert err.startswith("sprag: without a counterpart, or another:\n  [inet_http_server]: ")


@pytest.mark.slow
def test_it_starts_fast_without_gevent_and_the_engine(site: Site) -> None:
    site.file.write_text("[program:web]\ncommand=web\n")
    look = (
        "import sys; from sprag_cli.up.convert import convert; convert('supervisord.conf', None); "
        "print([each for each in ('gevent', 'sprag_supervisor') if each in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=site.folder, capture_output=True, text=True, check=True
    )

    assert done.stdout.endswith("[]\n")


def test_a_file_that_is_there_is_left_alone(site: Site) -> None:
    site.file.write_text("[program:web]\ncommand=web\n")
    target = site.folder / "sprag.toml"

    assert convert(str(site.file), str(target)) == ExitCode.WELL
    before = target.read_text()
    with pytest.raises(BadFile, match="is there already"):
        convert(str(site.file), str(target))
    assert target.read_text() == before
