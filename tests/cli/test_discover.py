from __future__ import annotations

import os
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sprag_cli._discover import (
    Found,
    NoApp,
    RunningApp,
    SeveralApps,
    UnsafeDirectory,
    choose,
    find_apps,
    runtime_directory,
)
from sprag_cli._exit import ClientExit

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def listening(*paths: Path) -> Generator[None]:
    with ExitStack() as stack:
        for path in paths:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(os.fspath(path))
            listener.listen()
        yield


def stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))


def app(name: str, pid: int) -> RunningApp:
    return RunningApp(name, pid, Path(f"/run/{name}.{pid}.sock"))


def test_the_directory_is_the_one_given_or_the_users_runtime_directory_or_in_tmp() -> None:
    environ = {"SPRAG_RUNTIME_DIR": "/a", "XDG_RUNTIME_DIR": "/b"}
    assert runtime_directory(environ, 7) == Path("/a")
    del environ["SPRAG_RUNTIME_DIR"]
    assert runtime_directory(environ, 7) == Path("/b/sprag")
    assert runtime_directory({}, 7) == Path("/tmp/sprag-7")


def test_apps_are_found_by_their_sockets_and_stale_ones_are_set_apart(runtime: Path) -> None:
    stale_socket(runtime / "old.9.sock")
    (runtime / "notes.1.sock").touch()
    (runtime / "shop.lock").touch()
    with listening(runtime / "shop.12.sock", runtime / "my.shop.7.sock"):
        found = find_apps(runtime)
    assert [str(each) for each in found.apps] == ["my.shop (pid 7)", "shop (pid 12)"]
    assert found.stale == (runtime / "old.9.sock",)
    assert "old.9.sock (nobody listens there; safe to delete)" in found.stale_note()


def test_a_directory_that_does_not_exist_holds_no_apps(tmp_path: Path) -> None:
    assert find_apps(tmp_path / "none") == Found(tmp_path / "none")


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_directory_open_to_others_is_refused(runtime: Path, mode: int) -> None:
    runtime.chmod(mode)
    with pytest.raises(UnsafeDirectory, match=f"open to others .*{mode:o}.* — chmod 700 "):
        find_apps(runtime)


def test_a_directory_of_somebody_else_is_refused(runtime: Path) -> None:
    with pytest.raises(UnsafeDirectory, match=f"belongs to user {os.getuid()} — it must be"):
        find_apps(runtime, uid=os.getuid() + 1)


def test_a_link_or_a_file_is_no_directory(runtime: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(runtime)
    with pytest.raises(UnsafeDirectory, match="is not a directory"):
        find_apps(link)


def test_the_only_app_need_not_be_named() -> None:
    assert choose(Found(Path("/run"), (app("shop", 1),)), None) == app("shop", 1)


@pytest.mark.parametrize(("asked", "pid"), [("mail", 2), ("1", 1), ("7", 3)])
def test_an_app_is_chosen_by_name_then_by_pid(asked: str, pid: int) -> None:
    found = Found(Path("/run"), (app("shop", 1), app("mail", 2), app("7", 3), app("x", 7)))
    assert choose(found, asked).pid == pid


def test_an_app_is_chosen_by_the_path_of_its_socket() -> None:
    nothing = Found(Path("/run"))
    assert choose(nothing, "/x/shop.12.sock") == RunningApp("shop", 12, Path("/x/shop.12.sock"))
    assert str(choose(nothing, "./any")) == "any"


def test_no_app_says_where_it_looked_and_how_to_start_one() -> None:
    found = Found(Path("/run"), (), (Path("/run/old.9.sock"),))
    with pytest.raises(NoApp) as caught:
        choose(found, None)
    assert caught.value.exit_code == ClientExit.NOT_FOUND
    assert str(caught.value) == (
        "no app is running (looked in /run) — start one with 'sprag run module:app'\n"
        "ignored in /run: old.9.sock (nobody listens there; safe to delete)"
    )
    with pytest.raises(NoApp, match="no app 'shop' is running, nor any other"):
        choose(Found(Path("/run")), "shop")


def test_an_unknown_app_lists_the_ones_that_run() -> None:
    found = Found(Path("/run"), (app("shop", 1), app("mail", 2)))
    with pytest.raises(NoApp, match=r"no app 'shpo' — running: shop \(pid 1\), mail .* --app shop"):
        choose(found, "shpo")
    with pytest.raises(NoApp, match="give one of these with --app"):
        choose(found, "zzz")


def test_several_apps_are_listed() -> None:
    apps = (app("shop", 1), app("shop", 22), app("mailer", 3))
    with pytest.raises(SeveralApps) as caught:
        choose(Found(Path("/run"), apps), None)
    assert caught.value.exit_code == ClientExit.USAGE
    assert str(caught.value) == (
        "3 apps are running — choose one with --app NAME or --app PID\n"
        "  shop    pid 1\n"
        "  shop    pid 22\n"
        "  mailer  pid 3"
    )
    with pytest.raises(SeveralApps, match=r"2 running apps are called 'shop' — .* --app PID"):
        choose(Found(Path("/run"), apps), "shop")
