"""`sprag reload` of what a file declares: what is read again, and what becomes of the tree."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from scripted import spawn
from sprag import Program, State
from sprag.testing import VirtualClock, fake_programs, virtual_time
from sprag_cli.up.source import Source
from sprag_cli.up.sprag_toml import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USED = """\
from sprag import Service

class Feed(Service):
    reloads = []

    def __init__(self, size=1):
        self.size = size
        if size > 99:
            raise SystemExit(3)
        if size > 9:
            raise ValueError("too large")

    def on_start(self):
        if self.size > 5:
            raise OSError("no room")

    def on_reload(self):
        Feed.reloads.append(self.size)
"""
WEB = '[program.web]\ncommand = "web"\n'
SLOW = '[program.slow]\ncommand = "slow"\nshutdown = 100\n'
FEED = "[service.feed]\nuse = 'used_again:Feed'\nargs = {{ size = {} }}\n"


class Up:
    """A file, and the app that runs as it says."""

    def __init__(self, folder: Path, *text: str) -> None:
        self.file = folder / "sprag.toml"
        self.save(*text)
        self.source = Source(self.file, read_toml, "restart")
        self.app = self.source.make()

    def save(self, *text: str) -> None:
        self.file.write_text("".join(text))

    def reload(self, timeout: float = 30.0, **more: Any) -> list[tuple[str, str, str]]:
        report = self.app.reload_tree(timeout, **more)
        return [(each.path, each.outcome, each.detail) for each in report.entries]

    def lives(self) -> dict[str, int]:
        return {each.name: each.incarnation for each in self.app.snapshot().children}


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualClock]:
    (tmp_path / "used_again.py").write_text(USED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with virtual_time() as clock, fake_programs():
        yield clock
    sys.modules.pop("used_again", None)


@pytest.mark.usefixtures("clock")
def test_what_has_changed_restarts_and_nothing_else(tmp_path: Path) -> None:
    up = Up(tmp_path, WEB, SLOW)
    root = tmp_path.name
    with up.app:
        assert up.reload() == [(root, "reloaded", "nothing has changed")]
        up.save(WEB, "env = { A = 'b' }\n", SLOW, '[program.new]\ncommand = "new"\n')
        assert up.reload() == [(root, "reloaded", "starts new; restarts web (env)")]
        assert up.lives() == {"web": 2, "slow": 1, "new": 1}
        assert up.reload() == [(root, "reloaded", "nothing has changed")]


@pytest.mark.usefixtures("clock")
def test_a_dry_run_tells_the_plan_and_changes_nothing(tmp_path: Path) -> None:
    up = Up(tmp_path, WEB, SLOW)
    root = tmp_path.name
    with up.app:
        up.save(WEB)
        for _ in range(2):
            assert up.reload(dry_run=True) == [(root, "planned", "stops slow")]
        up.save(WEB, "shall = true\n")
        ((_, outcome, detail),) = up.reload(dry_run=True)
        assert outcome == "failed"
        assert detail.startswith("sprag.toml:3: program.web.shall: no such key")
        assert up.lives() == {"web": 1, "slow": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WEB + "shall = true\n", "sprag.toml:3: program.web.shall: no such key"),
        (WEB + FEED.format(10), "raised ValueError"),
        (WEB + FEED.format(100), "raised SystemExit"),
        (WEB + "env_file = 'gone.env'\n[[[", "line 4"),
    ],
)
@pytest.mark.usefixtures("clock")
def test_a_file_that_is_wrong_changes_nothing_and_fails_the_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    up = Up(tmp_path, WEB, SLOW)
    with up.app:
        up.save(text)
        report = up.app.reload_tree()
        assert not report.is_clean
        assert said in report.entries[0].detail
        assert up.lives() == {"web": 1, "slow": 1}
        assert "the file is wrong, and nothing changes" in caplog.text
        assert "on_reload failed" not in caplog.text
        up.save(WEB, SLOW)
        assert up.app.reload_tree().is_clean


@pytest.mark.usefixtures("clock")
def test_one_that_could_not_be_started_fails_the_reload_and_the_next_tries_again(
    tmp_path: Path,
) -> None:
    up = Up(tmp_path, WEB)
    with up.app:
        up.save(WEB, FEED.format(6))
        assert up.reload()[0][1:] == ("failed", "could not be started: feed")
        assert up.lives() == {"web": 1}
        up.save(WEB, FEED.format(2))
        assert up.reload()[0][1:] == ("reloaded", "starts feed")
        assert up.lives() == {"web": 1, "feed": 1}


@pytest.mark.usefixtures("clock")
def test_who_runs_reloads_too_and_who_was_started_just_now_does_not(tmp_path: Path) -> None:
    up = Up(tmp_path, FEED.format(1))
    with up.app:
        feed: Any = up.app.service("feed")
        reloads: list[int] = feed.reloads
        up.reload()
        assert reloads == [1]
        up.save(FEED.format(2))
        assert up.reload()[1][1:] == ("skipped", "it has started just now")
        assert reloads == [1]


def test_what_has_begun_comes_to_its_end_when_the_time_of_the_reload_is_over(
    tmp_path: Path, clock: VirtualClock
) -> None:
    up = Up(tmp_path, SLOW, WEB)
    with up.app:
        slow = up.app.service("slow", Program)
        process: Any = slow._run_ and slow._run_.child
        process.deaf = True
        up.save(SLOW, "env = { A = 'b' }\n", WEB)
        assert up.reload(5)[0][1] == "late"
        assert slow.snapshot().state is State.STOPPING
        second: Any = spawn(up.reload, 60)
        clock.advance(1)
        assert not second.ready()  # one reading at a time
        process.exit(0)
        clock.advance(1)
        assert second.get(block=False)[0][1:] == ("reloaded", "nothing has changed")
        assert up.lives() == {"slow": 2, "web": 1}


def test_the_app_may_stop_in_the_midst_of_it(tmp_path: Path, clock: VirtualClock) -> None:
    up = Up(tmp_path, SLOW, WEB)
    with up.app:
        slow = up.app.service("slow", Program)
        process: Any = slow._run_ and slow._run_.child
        process.deaf = True
        up.save(SLOW, "env = { A = 'b' }\n", WEB)
        reloading: Any = spawn(up.reload)
        clock.advance(1)
        up.app.stop(5.0)
        clock.advance(1)
        assert reloading.ready()
        assert up.app.snapshot().state is State.STOPPED


def test_one_that_is_being_recycled_restarts_as_the_file_says_then(
    tmp_path: Path, clock: VirtualClock
) -> None:
    aging = '[program.web]\ncommand = "web"\nmax_lifetime = 100\nshutdown = 50\n'
    up = Up(tmp_path, aging)
    with up.app:
        web = up.app.service("web", Program)
        process: Any = web._run_ and web._run_.child
        process.deaf = True
        while web.snapshot().state is not State.STOPPING:
            clock.advance(1)
        up.save(aging.replace('"web"', '"other"'))
        reloading: Any = spawn(up.reload)
        clock.advance(1)
        process.exit(0)
        clock.advance(1)
        assert reloading.get(block=False)[0][1:] == ("reloaded", "restarts web (command)")
        assert web._run_ is not None
        assert web._run_.command == ("other",)
        assert up.lives() == {"web": 2}


def test_a_save_that_was_read_by_a_reload_is_not_news_to_who_watches(tmp_path: Path) -> None:
    up = Up(tmp_path, WEB)
    with virtual_time(), fake_programs(), up.app:
        up.save(WEB, "env = { A = 'b' }\n")
        now = up.source.look()
        up.reload()
        assert up.lives() == {"web": 2}
        up.source.saved(now)
        assert up.lives() == {"web": 2}


def test_an_env_file_that_is_a_pipe_is_not_read_for_its_contents(
    tmp_path: Path, clock: VirtualClock
) -> None:
    os.mkfifo(tmp_path / "secret.env")
    up = Up(tmp_path, '[program.web]\ncommand = "web"\nautostart = false\nenv_file="secret.env"\n')
    with up.app:
        assert up.reload()[0][1:] == ("reloaded", "nothing has changed")
