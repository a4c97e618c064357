"""What the host says to who has no logs, and in which words."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sprag import Service, Supervisor
from sprag.process import said
from sprag.process.watchdog import describe_holder, describe_stall

if TYPE_CHECKING:
    from types import FrameType

    from sprag.testing import VirtualClock


def _no(_level: int) -> bool:
    return False


@pytest.fixture
def no_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has configured logging, and nobody looks at stderr."""
    monkeypatch.setattr(said, "configured", _no)
    monkeypatch.setattr(said, "listening", _no)


@pytest.mark.usefixtures("no_logs")
def test_who_has_no_logs_reads_of_an_error_and_its_cause_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fields = {"seconds": 1.5, "killed": None, "hint": "", "name": "a\x1b[2J"}
    said.tell(logging.ERROR, "gave up", why="Traceback\n", **fields)
    assert capsys.readouterr().err == "Traceback\nsprag: gave up seconds=1.5 name=a\\x1b[2J\n"


@pytest.mark.usefixtures("no_logs")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_anything_less_is_said_only_to_who_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    said.tell(logging.INFO, "stopping", waiting_for="shop/mail")
    assert capsys.readouterr().err == "sprag: stopping waiting_for=shop/mail\n" * is_terminal


@pytest.mark.usefixtures("no_logs")
def test_a_stderr_that_is_closed_or_was_never_there_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    said.tell(logging.ERROR, "gave up")


def test_where_logs_are_configured_only_they_are_told(
    capsys: pytest.CaptureFixture[str], log: Any
) -> None:
    said.tell(logging.ERROR, "gave up", seconds=1.5, killed=None)
    (record,) = log.records
    assert record.sprag == {"event": "gave up", "seconds": 1.5}
    assert "sprag:" not in capsys.readouterr().err


def test_awaited_are_those_that_are_up_with_nothing_up_below(clock: VirtualClock) -> None:
    fleet = Supervisor([(Service(), {"name": f"s{number}"}) for number in range(10)], name="fleet")
    with Supervisor([fleet, (Service(), {"name": "mail"})], name="shop") as shop:
        shop.service("fleet/s0").stop()
        named = said.awaited(shop)
        assert named.startswith("shop/mail, shop/fleet/s9, ")
        assert named.endswith(" and 2 more")
        assert said.still_up(shop).startswith("still up: shop (running), ")
        assert said.still_up(shop).endswith(", …")
    assert said.still_up(shop) == "nothing is up any more"
    assert said.awaited(shop) == said.awaited(Service()) == ""


def test_threads_that_keep_the_process_are_named() -> None:
    assert said.still_running() == "the app has ended, but something kept the process alive"
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait, name="pump")
    thread.start()
    try:
        assert "threads that are no daemons (pump) kept" in said.still_running()
    finally:
        leave.set()
        thread.join()


@pytest.mark.parametrize(
    ("number", "is_terminal", "words"),
    [
        (signal.SIGINT, True, "Ctrl-C again to end at once"),
        (signal.SIGINT, False, "SIGINT again to end at once"),
        (signal.SIGTERM, True, "SIGTERM again to end at once"),
        (signal.SIGHUP, True, "SIGTERM to end at once"),
    ],
)
def test_what_ends_the_process_at_once(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str, *, is_terminal: bool
) -> None:
    monkeypatch.setattr(said, "on_terminal", lambda: is_terminal)
    assert said.how_to_force(number) == words


# -- who holds the loop ------------------------------------------------------------------


class Hog(Service):
    frame: FrameType | None = None

    def on_start(self) -> None:
        sorted([1], key=self.look)

    def look(self, _item: int) -> int:
        Hog.frame = sys._getframe()
        return 0


def test_who_holds_the_loop_is_told_by_its_stack(clock: VirtualClock) -> None:
    with Supervisor([Hog()], name="shop"):
        assert Hog.frame is not None
        who = describe_holder(Hog.frame)
        assert who == f"shop/Hog (line {Hog.frame.f_lineno} of {__file__}, in look)"
        told = describe_stall(Hog.frame, 2.04)
        assert told.startswith("sprag: the loop is held since 2.0 s by shop/Hog:\n")
        assert "in look\n" in told
    assert describe_holder(None) == "code outside of any service"
    assert describe_stall(None, 1.0) == (
        "sprag: the loop is held since 1.0 s by code outside of any service:\n"
    )
