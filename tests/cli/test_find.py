from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import RunningApp
from sprag_cli.app.find import (
    Found,
    NoApp,
    SeveralApps,
    UnsafeDirectory,
    choose,
    find_apps,
)

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
    return RunningApp(name, pid, f"/run/{name}.{pid}.sock")


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_apps_are_found_by_their_sockets_and_those_of_the_dead_are_removed(runtime: Path) -> None:
    left = runtime / f"old.{dead_pid()}.sock"
    coming = runtime / f"new.{os.getpid()}.sock"  # it lives, and does not listen yet
    stale_socket(left)
    stale_socket(coming)
    (runtime / "notes.1.sock").touch()
    (runtime / "shop.lock").touch()
    with listening(runtime / "shop.12.sock", runtime / "my.shop.7.sock"):
        found = find_apps(str(runtime))
        assert [str(each) for each in found.apps] == ["my.shop (pid 7)", "shop (pid 12)"]
        assert (left.exists(), coming.exists(), found.removed) == (False, True, 1)
        assert found.note() == (
            "an app has gone without a word, killed perhaps: its socket is removed"
        )
        assert find_apps(str(runtime)).note() == ""


def test_a_socket_that_cannot_be_asked_is_left_where_it_is(runtime: Path) -> None:
    another_kind = runtime / f"old.{dead_pid()}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as used:
        used.bind(os.fspath(another_kind))
        assert find_apps(str(runtime)) == Found(str(runtime))
        assert another_kind.exists()


def test_hundreds_of_sockets_of_the_dead_are_removed_in_no_time_and_one_line(
    runtime: Path,
) -> None:
    pid = dead_pid()
    for number in range(300):
        stale_socket(runtime / f"app-{number}.{pid}.sock")
    began = time.perf_counter()
    found = find_apps(str(runtime))
    assert time.perf_counter() - began < 1.0
    assert found.note() == "300 apps have gone without a word: their sockets are removed"
    assert list(runtime.iterdir()) == []


@pytest.fixture
def of_nobody(tmp_path: Path) -> Generator[tuple[int, Path]]:
    """An app of another user, somewhere: its pid and its socket."""
    if os.getuid() != 0:
        pytest.skip("only root has other users")
    place = Path(tempfile.mkdtemp())
    with subprocess.Popen(["sleep", "60"], user=65534, cwd=place) as process:
        path = place / f"theirs.{process.pid}.sock"
        with listening(path):
            os.chown(place, 65534, 65534)
            os.chown(path, 65534, 65534)
            yield process.pid, path
        process.kill()
    shutil.rmtree(place)


def test_root_sees_the_apps_of_others_wherever_they_are(
    runtime: Path, of_nobody: tuple[int, Path]
) -> None:
    pid, path = of_nobody
    found = find_apps(str(runtime), everywhere=True)
    (theirs,) = (each for each in found.others if each.name == "theirs")
    assert (theirs.pid, theirs.socket, theirs.user) == (pid, str(path), "nobody")
    assert choose(found, "theirs") == theirs
    assert choose(found, str(pid)) == theirs


def test_root_may_look_into_the_directory_of_another(of_nobody: tuple[int, Path]) -> None:
    pid, path = of_nobody
    assert [each.pid for each in find_apps(str(path.parent)).apps] == [pid]


def test_a_socket_that_anybody_could_have_made_is_not_believed(
    runtime: Path, of_nobody: tuple[int, Path]
) -> None:
    _, path = of_nobody
    path.parent.chmod(0o755)
    assert "theirs" not in [each.name for each in find_apps(str(runtime), everywhere=True).others]
    path.parent.chmod(0o700)
    os.chown(path, 1, 1)
    assert "theirs" not in [each.name for each in find_apps(str(runtime), everywhere=True).others]


def test_ones_own_apps_come_before_those_of_others() -> None:
    other = RunningApp("shop", 9, "/run/shop.9.sock", "alice")
    found = Found("/run", (app("shop", 1),), (other,))
    assert choose(found, None) == app("shop", 1)
    assert choose(found, "shop") == app("shop", 1)
    assert choose(found, "9") == other
    assert choose(Found("/run", (), (other,)), None) == other
    with pytest.raises(SeveralApps, match="shop  pid 9  of alice"):
        choose(Found("/run", (), (other, other)), None)


def test_a_directory_that_does_not_exist_holds_no_apps(tmp_path: Path) -> None:
    assert find_apps(str(tmp_path / "none")) == Found(str(tmp_path / "none"))


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_directory_open_to_others_is_refused(runtime: Path, mode: int) -> None:
    runtime.chmod(mode)
    with pytest.raises(UnsafeDirectory, match=f"open to others .*{mode:o}.* — chmod 700 "):
        find_apps(str(runtime))


def test_a_directory_of_somebody_else_is_refused(runtime: Path) -> None:
    with pytest.raises(UnsafeDirectory, match=f"belongs to user {os.getuid()} — it must be"):
        find_apps(str(runtime), uid=os.getuid() + 1)


def test_a_link_or_a_file_is_no_directory(runtime: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(runtime)
    with pytest.raises(UnsafeDirectory, match="is not a directory"):
        find_apps(str(link))


def test_the_only_app_need_not_be_named() -> None:
    assert choose(Found("/run", (app("shop", 1),)), None) == app("shop", 1)


@pytest.mark.parametrize(("asked", "pid"), [("mail", 2), ("1", 1), ("7", 3)])
def test_an_app_is_chosen_by_name_then_by_pid(asked: str, pid: int) -> None:
    found = Found("/run", (app("shop", 1), app("mail", 2), app("7", 3), app("x", 7)))
    assert choose(found, asked).pid == pid


def test_an_app_is_chosen_by_the_path_of_its_socket() -> None:
    nothing = Found("/run")
    assert choose(nothing, "/x/shop.12.sock/") == choose(nothing, "/x/shop.12.sock")
    assert choose(nothing, "/x/shop.12.sock") == RunningApp("shop", 12, "/x/shop.12.sock")
    assert str(choose(nothing, "./any")) == "any"


def test_no_app_says_where_it_looked_and_how_to_start_one() -> None:
    found = Found("/run", removed=2)
    with pytest.raises(NoApp) as caught:
        choose(found, None)
    assert caught.value.exit_code == ExitCode.NOT_FOUND
    assert str(caught.value) == (
        "no app is running (looked in /run) — start one with 'sprag run module:app'\n"
        "2 apps have gone without a word: their sockets are removed"
    )
    with pytest.raises(NoApp, match="no app 'shop' is running, nor any other"):
        choose(Found("/run"), "shop")


def test_an_unknown_app_lists_the_ones_that_run() -> None:
    found = Found("/run", (app("shop", 1), app("mail", 2)))
    with pytest.raises(NoApp, match=r"no app 'shpo' — running: shop \(pid 1\), mail .* --app shop"):
        choose(found, "shpo")
    with pytest.raises(NoApp, match="give one of these with --app"):
        choose(found, "zzz")


def test_several_apps_are_listed() -> None:
    apps = (app("shop", 1), app("shop", 22), app("mailer", 3))
    with pytest.raises(SeveralApps) as caught:
        choose(Found("/run", apps), None)
    assert caught.value.exit_code == ExitCode.USAGE
    assert str(caught.value) == (
        "3 apps are running — choose one with --app NAME or --app PID\n"
        "  shop    pid 1\n"
        "  shop    pid 22\n"
        "  mailer  pid 3"
    )
    with pytest.raises(SeveralApps, match=r"2 running apps are called 'shop' — .* --app PID"):
        choose(Found("/run", apps), "shop")
