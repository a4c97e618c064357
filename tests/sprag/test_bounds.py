"""What is kept beside the engine's own memory is bounded, in number and in size."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import gevent
import gevent.event
import pytest

from sprag import Service, Supervisor
from sprag.control import log_ring as _log_ring
from sprag.control.log_ring import LogRing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sprag import Lifecycle
    from sprag.testing import VirtualClock


class Plain(Service):
    """Has nothing of its own."""


# -- the mailbox of who listens to what happens in the tree ---------------------------


class Watcher(Service):
    """Hears of every start, and does not return from the first call until it is let go."""

    def on_start(self) -> None:
        self.go = gevent.event.Event()
        self.heard: list[Lifecycle] = []
        self.listener = self.listen("sprag:stopped", self._hear)

    def _hear(self, record: Lifecycle) -> None:
        self.heard.append(record)
        self.go.wait()


MAILBOX = 10_000


def restarts(child: Service, times: int) -> None:
    for _ in range(times):
        child.stop()
        child.start()


def test_a_listener_that_never_returns_keeps_the_latest_of_what_happens(
    clock: VirtualClock, log: Any
) -> None:
    with Supervisor() as top:
        watcher = top.adopt(Watcher())
        child = top.adopt(Plain())
        restarts(child, 1)
        clock.settle()
        assert len(watcher.heard) == 1
        restarts(child, MAILBOX)
        assert watcher.listener.missed == 0
        restarts(child, 2 * MAILBOX)
        clock.settle()
        assert watcher.listener.missed == 2 * MAILBOX
        told = [r for r in log.at_least(logging.WARNING) if "lifecycle" in r.getMessage()]
        assert len(told) == 1
        assert "Supervisor/Watcher" in told[0].getMessage()
        watcher.go.set()
        clock.settle()
        heard = [record.incarnation for record in watcher.heard]
        assert heard == [1, *range(2 * MAILBOX + 2, 3 * MAILBOX + 2)]
        # It has caught up: when it falls behind again, that is told again.
        watcher.go.clear()
        restarts(child, MAILBOX + 2)  # of which it may have got the first before it waits
        clock.settle()
        assert watcher.listener.missed - 2 * MAILBOX in (1, 2)
        told = [r for r in log.at_least(logging.WARNING) if "lifecycle" in r.getMessage()]
        assert len(told) == 2


# -- the report of a stop ---------------------------------------------------------------


class Raises(Service):
    def on_stop(self) -> None:
        raise ValueError("x" * 10_000)


@pytest.mark.parametrize("deep", [False, True])
def test_a_report_names_so_many_things_and_counts_the_others(
    deep: bool, clock: VirtualClock
) -> None:
    with Supervisor() as top:
        boss = top.adopt(Supervisor(name="boss"))
        for number in range(600):
            (boss if deep else top).adopt(Raises(), name=f"r{number}")
        report = top.stop()
    assert report.errors == 600
    assert len(report.entries) == 500
    assert report.left_out == 100
    assert [entry.path.rsplit("/")[-1] for entry in report.entries[:2]] == ["r599", "r598"]
    assert not report.is_clean


def test_a_service_of_many_failing_clean_ups_too(clock: VirtualClock) -> None:
    def fails() -> None:
        raise ValueError

    with Plain() as plain:
        for _ in range(1000):
            plain.add_cleanup(fails)
        report = plain.stop()
    assert (report.errors, len(report.entries), report.left_out) == (1, 500, 500)


# -- the log of the control socket --------------------------------------------------------


@pytest.fixture
def ring() -> Iterator[LogRing]:
    root = Plain()
    root.start()
    yield LogRing(root)
    root.stop()


def logged(ring: LogRing, message: str, **fields: Any) -> None:
    record = logging.LogRecord("sprag", logging.INFO, "", 0, message, (), None)
    record.sprag = {"event": message, "service": "Plain", "incarnation": 1, **fields}
    ring.handle(record)


def kept(ring: LogRing) -> int:
    lines = ring.lines_of("Plain", 10_000)
    texts = [[line.event, *line.fields, *line.fields.values()] for line in lines]
    return sum(sys.getsizeof(text) for each in texts for text in each)


def test_the_log_of_a_tree_is_bounded_in_size_and_keeps_the_latest(ring: LogRing) -> None:
    wide = "\U0001f600" * 3000
    for number in range(3000):
        fields = {f"{name}{wide}" if name % 2 else f"f{name}": wide for name in range(30)}
        logged(ring, f"{number} {wide}", **fields)
    assert kept(ring) < 12_000_000
    lines = ring.lines_of("Plain", 10_000)
    assert len(lines) > 15
    assert lines[-1].event.startswith("2999 ")


def test_a_record_of_very_many_fields_says_that_there_are_more(ring: LogRing) -> None:
    logged(ring, "wide", **{f"field_{number}": number for number in range(10_000)})
    (line,) = ring.lines_of("Plain", 10)
    assert len(line.fields) == 41
    assert line.fields["…"] == "9960 more"


def test_plain_records_are_kept_by_number(ring: LogRing) -> None:
    for number in range(12_345):
        logged(ring, "tick", number=number)
        assert len(ring._lines) <= 5000
    lines = ring.lines_of("Plain", 10_000)
    assert len(lines) >= 3750
    first = 12_345 - len(lines)
    assert [line.fields["number"] for line in lines] == [str(n) for n in range(first, 12_345)]
    assert _log_ring._KEPT == 5000


def test_who_floods_the_log_takes_nothing_from_the_others(ring: LogRing) -> None:
    for number in range(300):
        logged(ring, "quiet", service="Plain/quiet", number=number)
    for number in range(30_000):
        logged(ring, "flood", number=number)
    quiet = ring.lines_of("Plain/quiet", 10_000)
    assert [line.fields["number"] for line in quiet] == [str(n) for n in range(300)]
    assert ring.lines_of("Plain", 1)[0].fields["number"] == "29999"


def test_of_very_many_services_the_latest_records_are_kept(ring: LogRing) -> None:
    for number in range(20_000):
        logged(ring, "once", service=f"Plain/{number}")
    lines = ring.last(10_000, lambda _line: True)
    assert 3750 <= len(lines) <= 5000
    assert lines[-1].service == "Plain/19999"
    assert lines[0].service == f"Plain/{20_000 - len(lines)}"
