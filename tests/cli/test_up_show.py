"""What `sprag up` says of a file without running it: its tree, and who else may write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from drawn import plain
from sprag._exit_codes import ExitCode
from sprag_cli.term.style import ASCII, UNICODE
from sprag_cli.up.permissions import Untrusted, exposed, refuse_untrusted
from sprag_cli.up.show import drawn
from sprag_cli.up.sprag_toml import declared_in
from sprag_cli.up.surroundings import exposed_files, missing

SHOP = """\
[app]
name = "shop"
[program.db]
command = ["postgres", "-D", "my data"]
ready = { line = "ready to accept" }
user = "postgres"
[group.backend]
strategy = "rest_for_one"
needs = ["db"]
[group.backend.program.api]
command = "gunicorn shop:wsgi"
port = 8000
replicas = 2
ready = "port"
alive = { http = "/" }
[group.backend.group.jobs.program.mail]
command = "sh -c 'sleep 5'"
restart = "transient"
autostart = false
[service.metrics]
use = "shop.metrics:Metrics"
needs = { db = "started", backend = "ready" }
"""


def test_the_tree_that_would_be_is_drawn() -> None:
    lines = drawn(declared_in(SHOP, Path("sprag.toml")), width=100, charset=UNICODE)

    assert [plain(line) for line in lines] == [
        "shop           one_for_one",
        "├─ db          postgres -D 'my data' · ready: /ready to accept/ · as postgres",
        "├─ backend     rest_for_one · needs db",
        "│  ├─ api      gunicorn shop:wsgi · 2 replicas · port 8000 · ready: port · alive: http /",
        "│  └─ jobs     one_for_one",
        "│     └─ mail  sh -c 'sleep 5' · transient · not started",
        "└─ metrics     shop.metrics:Metrics · needs db started, backend",
    ]


def test_long_lines_are_cut_and_ascii_is_ascii() -> None:
    lines = drawn(declared_in(SHOP, Path("sprag.toml")), width=40, charset=ASCII)

    said = [plain(line) for line in lines]
    assert all(len(line) <= 40 and line.isascii() for line in said)
    assert said[1].startswith("|- db")


@pytest.mark.parametrize(
    ("mode", "may"),
    [(0o600, ""), (0o640, ""), (0o644, "read"), (0o602, "write"), (0o606, "read and write")],
)
def test_who_else_may_read_or_write_a_file_of_secrets(tmp_path: Path, mode: int, may: str) -> None:
    file = tmp_path / ".env"
    file.write_text("A=1\n")
    file.chmod(mode)

    assert exposed(file) == may
    declared = declared_in(
        "[program.a]\ncommand='x'\nenv_file='.env'\n[program.b]\ncommand='x'\nenv_file='.env'",
        tmp_path / "sprag.toml",
    )
    name = declared.root.name
    assert [(path, found) for path, _, found in exposed_files(declared)] == (
        [(f"{name}/a", may)] if may else []
    )


def test_root_runs_no_file_that_anybody_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sprag.toml"
    file.write_text("")
    file.chmod(0o666)
    monkeypatch.setattr("os.geteuid", lambda: 0)

    with pytest.raises(Untrusted, match=r"anybody may write it, .*chmod o-w") as error:
        refuse_untrusted(file)
    assert error.value.exit_code == ExitCode.USAGE
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refuse_untrusted(file)


def test_root_runs_no_file_of_a_folder_where_anybody_may_put_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "sprag.toml").write_text("")
    (folder / "sprag.toml").chmod(0o644)
    monkeypatch.setattr("os.geteuid", lambda: 0)

    with pytest.raises(Untrusted, match="anybody may put another file there"):
        refuse_untrusted(folder / "sprag.toml")
    folder.chmod(0o1777)  # as /tmp
    refuse_untrusted(folder / "sprag.toml")
    refuse_untrusted(folder / "is not there")


def test_what_is_not_on_this_machine_is_told_with_its_place(tmp_path: Path) -> None:
    declared = declared_in(
        "[app]\nname = 's'\n[program.a]\ncommand = ['no-such-binary']\nuser = 'no-such-user'\n"
        "[program.b]\ncommand = './run'\ncwd = 'nowhere'\nenv_file = 'no.env'\n"
        "[program.c]\ncommand = 'no such binary'\nshell = true\n"
        "[program.d]\ncommand = ['sh']\n",
        tmp_path / "sprag.toml",
    )

    assert [line.replace(f"{tmp_path}/", "") for line in missing(declared)] == [
        "sprag.toml:4: s/a: there is no program 'no-such-binary' in PATH",
        "sprag.toml:5: s/a: there is no user 'no-such-user'",
        "sprag.toml:8: s/b: there is no directory nowhere",
        "sprag.toml:9: s/b: no.env: No such file or directory",
        "sprag.toml:7: s/b: there is no program './run'",
    ]
