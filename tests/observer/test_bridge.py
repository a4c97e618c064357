"""``sprag observe``: where it listens, whom it finds, how a browser gets there."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import webbrowser
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent.threadpool import ThreadPool

from canned import Canned, live, snapshot
from sprag._exit_codes import ExitCode
from sprag.observer import bridge
from sprag.observer.bridge import Bridge, PortTaken, Sockets, leading_file, opens, serve
from sprag_cli.app.client import RunningApp
from sprag_cli.app.find import Found, UnsafeDirectory
from sprag_cli.run import observe as command
from sprag_cli.run.observe import FarAway, NoPort, ObserveOptions, looker, observe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def aside(fn: Callable[[], Any]) -> Any:
    threads = ThreadPool(1)
    try:
        return threads.apply(fn)
    finally:
        threads.kill()


def test_it_listens_on_the_loopback_only_and_its_token_is_in_the_fragment() -> None:
    app = Canned()
    app.lines = [snapshot("shop", 1e9), live(app)]
    made = Bridge(app)
    made.start()
    try:
        address, _, token = made.url.partition("/#token=")
        assert address == f"http://127.0.0.1:{made.address.partition(':')[2]}"
        assert len(token) > 40

        def ask(path: str, **headers: str) -> tuple[int, bytes]:
            connection = HTTPConnection(made.address, timeout=5)
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            found = response.status, response.read()
            connection.close()
            return found

        assert aside(lambda: ask("/"))[0] == 200
        assert aside(lambda: ask("/", Host="evil.example"))[0] == 421
        assert aside(lambda: ask("/v1/apps"))[0] == 401
        status, body = aside(lambda: ask("/v1/apps", Authorization=f"Bearer {token}"))
        assert (status, json.loads(body)["apps"][0]["key"]) == (200, "shop")
        with pytest.raises(PortTaken, match="in use"):
            Bridge(app, port=int(made.address.partition(":")[2]))
    finally:
        made.stop()


def test_apps_are_known_by_name_and_by_pid_where_several_are_called_alike(tmp_path: Path) -> None:
    listening: list[tuple[str, int | None, Path]] = [("shop", 1, tmp_path / "1")]
    found = Sockets(lambda: listening)
    assert found.listed() == [{"key": "shop", "name": "shop", "pid": 1}]
    assert found.get("mail") is None
    followed = found.get("shop")
    assert followed is not None
    assert found.get("shop") is followed
    for n in (1, 2):
        (tmp_path / str(n)).touch()
        os.utime(tmp_path / str(n), (n, n))
    listening.append(("shop", 2, tmp_path / "2"))
    assert [each["key"] for each in found.listed()] == ["shop.1", "shop.2"]
    upstream = followed.find()
    assert upstream is not None
    assert upstream.pid == 2  # the younger one: the other is on its way down
    listening.clear()
    assert followed.find() is None
    assert found.get("shop") is followed  # it may come back


def test_the_file_that_leads_to_the_page_is_for_this_user_alone(tmp_path: Path) -> None:
    with leading_file(tmp_path, "http://127.0.0.1:1/#token=<x>&y") as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        text = path.read_text()
        assert 'href="http://127.0.0.1:1/#token=&lt;x&gt;&amp;y"' in text
        assert 'replace("http://127.0.0.1:1/#token=\\x3cx>&y")' in text
    assert not path.exists()


def test_no_browser_is_opened_where_there_is_no_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_one(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", open_one)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not opens(tmp_path / "x.html")
    monkeypatch.setenv("DISPLAY", ":0")
    assert opens(tmp_path / "x.html")
    assert opened == [(tmp_path / "x.html").as_uri()]


@pytest.mark.parametrize("has_browser", [True, False])
def test_it_serves_until_a_signal_and_prints_its_address_only_where_no_browser_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_browser: bool
) -> None:
    shown: list[Path] = []

    def open_one(file: Path) -> bool:
        shown.append(file)
        return has_browser

    monkeypatch.setattr(bridge, "opens", open_one)
    said: list[str] = []
    made = Bridge(Canned())
    gevent.spawn_later(0.02, os.kill, os.getpid(), signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    serve(made, tmp_path, said.append, browser=True)
    signal.signal(signal.SIGTERM, before)
    assert (made.url in said[0]) is not has_browser
    assert "Ctrl-C ends" in said[0]
    assert len(shown) == 1
    assert list(tmp_path.iterdir()) == []


def test_another_machine_is_looked_at_through_a_port_that_is_forwarded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "chosen", lambda: "me@far")
    with pytest.raises(FarAway, match="HOST sprag observe --no-browser") as raised:
        observe(ObserveOptions(app=None, port=0, write=False, browser=False))
    assert raised.value.exit_code == ExitCode.USAGE


def app_at(folder: Path, name: str, pid: int) -> RunningApp:
    return RunningApp(name, pid, str(folder / f"{name}.{pid}.sock"))


def test_one_app_that_was_asked_for_is_followed_into_its_next_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = [app_at(tmp_path, "shop", 1), app_at(tmp_path, "mail", 2)]
    monkeypatch.setattr(command, "all_apps", lambda: Found(str(tmp_path), tuple(running)))
    assert [each[1] for each in looker(None)()] == [1, 2]
    look = looker(running[0])
    assert [each[:2] for each in look()] == [("shop", 1)]
    running[0] = app_at(tmp_path, "shop", 3)
    assert [each[:2] for each in look()] == [("shop", 3)]

    def unsafe() -> Found:
        raise UnsafeDirectory(str(tmp_path), "is open to others", "chmod it")

    # Whoever may put sockets there now could pose as the app: it is gone, and the page says so.
    monkeypatch.setattr(command, "all_apps", unsafe)
    assert look() == []


def test_the_command_serves_and_ends_well_or_says_that_the_port_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPRAG_RUNTIME_DIR", str(tmp_path / "run"))
    asked: list[Any] = []

    def serving(*args: Any, **options: Any) -> None:
        asked.append((args, options))

    monkeypatch.setattr(bridge, "serve", serving)
    options = ObserveOptions(app=None, port=0, write=False, browser=False)
    assert observe(options) == ExitCode.WELL
    (made, directory, _say), how = asked[0]
    assert (directory, how) == (tmp_path / "run", {"browser": False})
    port = int(made.address.partition(":")[2])
    with pytest.raises(NoPort, match=f"port {port} .* --port") as raised:
        observe(ObserveOptions(app=None, port=port, write=False, browser=False))
    assert raised.value.exit_code == ExitCode.FAILED
    made.stop()
