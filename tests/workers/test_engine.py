"""The engine that the parent of workers serves: what it takes, and who may ask there."""

from __future__ import annotations

import json
import os
import socket as plain_socket
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from sprag.cluster import memory
from sprag.cluster.exceptions import EngineAway, EngineFull
from sprag.cluster.memory import LARGEST, MemoryEngine
from sprag.cluster.remote import RemoteEngine
from sprag.cluster.rows import Row, row_of
from sprag.cluster.serving import Serving
from sprag.cluster.wire import BadFrame, Frames, frame

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from sprag.cluster.engine import Engine


@contextmanager
def serving() -> Generator[Serving]:
    served = Serving()
    served.open()
    try:
        yield served
    finally:
        served.close()
        gevent.sleep(0)


@contextmanager
def asking(served: Serving, life: str) -> Generator[RemoteEngine]:
    engine = RemoteEngine(str(served.path), life)
    engine.open()
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(params=["memory", "remote"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "memory":
        yield MemoryEngine()
        return
    with serving() as served:
        served.admit("life", "worker-1")
        with asking(served, "life") as remote:
            yield remote


def test_what_it_keeps_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_KEYS", 2)
    monkeypatch.setattr(memory, "MOST_TOPICS", 1)
    with pytest.raises(EngineFull, match="in one value"):
        engine.cas("key", None, b"\xff" * (LARGEST + 1))
    with pytest.raises(EngineFull, match="in one value"):
        engine.publish("topic", b"x" * (LARGEST + 1))
    assert engine.cas("1", None, b"\xff" * LARGEST).value
    assert engine.cas("2", None, b"").value
    with pytest.raises(EngineFull, match="keys: 2"):
        engine.cas("3", None, b"")
    engine.publish("topic", b"")
    with pytest.raises(EngineFull, match="topics: 1"):
        engine.publish("another", b"")
    monkeypatch.setattr(memory, "MOST_BYTES", LARGEST + 2)
    with pytest.raises(EngineFull, match="bytes of values"):
        engine.cas("2", b"", b"12")


def test_only_who_was_started_may_ask_and_only_until_it_is_reaped() -> None:
    with serving() as served:
        with asking(served, "stranger") as stranger, pytest.raises(EngineAway):
            stranger.get("a")
        served.admit("one", "worker-1")
        served.admit("two", "worker-2")
        with asking(served, "one") as one, asking(served, "two") as two:
            mine = Row(owner="one", where="worker-1", epoch=7).as_bytes()
            one.cas("sprag/shop/nodes/one", None, b"{}")
            one.cas("sprag/shop/rows/billing", None, mine)
            assert not two.cas("sprag/shop/rows/billing", None, b"{}").value
            woken = Event()
            two.hint("sprag/shop/rows/", woken.set)
            served.reap("one", "was killed by SIGKILL")
            served.reap("one", "was killed by SIGKILL")
            assert woken.wait(5)
            row = row_of(two.get("sprag/shop/rows/billing").value)
            assert (row.owner, row.epoch) == (None, 7)
            assert row.why == "worker-1 was killed by SIGKILL"
            assert two.scan("sprag/shop/nodes/").value == {}
            with pytest.raises(EngineAway):  # what it has sent before its end comes too late
                one.cas("sprag/shop/rows/billing", row.as_bytes(), mine)


def test_its_folder_is_private_and_gone_with_it_and_a_name_too_long_is_no_trouble(
    tmp_path: Path,
) -> None:
    for folder in (tmp_path / "a.1.workers", tmp_path / ("b" * 120)):
        served = Serving()
        served.open(folder)
        assert served.path is not None
        where = served.path.parent
        assert where.stat().st_mode & 0o777 == 0o700
        served.close()
        served.close()
        assert not where.exists()
        assert not folder.exists()


def test_who_begins_removes_what_is_left_of_who_was_killed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def folder(name: str, *, listens: bool | None, is_old: bool = True) -> Path:
        made = tmp_path / f"sprag-engine-{name}"
        made.mkdir()
        if listens is not None:
            one = plain_socket.socket(plain_socket.AF_UNIX)
            one.bind(str(made / "engine"))
            one.listen()
            if listens:
                stack.callback(one.close)
            else:
                one.close()
        if is_old:
            os.utime(made, (1e9, 1e9))
        return made

    with ExitStack() as stack:
        gone = folder("killed", listens=False), folder("empty", listens=None)
        kept = [folder("alive", listens=True), folder("new", listens=False, is_old=False)]
        kept.append(folder("of-somebody", listens=None))
        (kept[-1] / "a-file").touch()
        os.utime(kept[-1], (1e9, 1e9))
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "sprag-engine-link").symlink_to(tmp_path / "elsewhere")
        with serving() as served:
            assert served.path is not None
            assert served.path.parent.parent == tmp_path
            assert not any(each.exists() for each in gone)
            assert all(each.exists() for each in kept)
            assert (tmp_path / "sprag-engine-link").exists()


def test_what_is_no_question_ends_that_connection_alone() -> None:
    with serving() as served:
        served.admit("life", "worker-1")
        with asking(served, "life") as remote:
            for nonsense in (
                b"GET / HTTP/1.0\r\n\r\n",
                frame([1, "get", "a"]),
                frame([1, "life", "life"]) + frame([2, "eval", "1"]),
                frame([1, "life", "life"]) + frame([2, "get"]),
                frame([1, "life", {}]),
                frame(["life"]),
            ):
                with socket.socket(socket.AF_UNIX) as found:
                    found.connect(str(served.path))
                    found.sendall(nonsense)
                    found.settimeout(5)
                    while found.recv(100):
                        pass
            assert remote.get("a").value is None


def test_a_broken_connection_is_made_anew_and_who_waits_for_news_looks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sprag.cluster.remote._PAUSE", 0.01)
    with serving() as served:
        served.admit("life", "worker-1")
        with asking(served, "life") as remote:
            woken = Event()
            remote.hint("a", woken.set)
            for each in tuple(served._connections):
                each.close()
            assert woken.wait(5)
            woken.clear()
            assert remote.cas("a", None, b"1").value
            assert woken.wait(5)


def test_a_row_keeps_what_somebody_newer_has_written_and_its_token_rises() -> None:
    row = row_of(b'{"owner": null, "epoch": 5, "colour": "red", "schema": 2}')
    taken = row.taken("me", "worker-1", now=1)
    assert (taken.owner, taken.epoch) == ("me", 6)
    assert taken.taken("you", "worker-2", now=10_000).epoch == 10_000
    assert json.loads(taken.freed("why").as_bytes())["colour"] == "red"
    for nonsense in (None, b"", b"[]", b"\xff", b'{"owner": 3, "epoch": "x", "tried": 1}'):
        assert (row_of(nonsense).owner, row_of(nonsense).epoch) == (None, 0)


def test_frames_come_in_any_pieces() -> None:
    sent = frame([1, "a"]) + frame([2, "b" * 1000])
    frames, found = Frames(), list[Any]()
    for at in range(0, len(sent), 7):
        found += frames.feed(sent[at : at + 7])
    assert found == [[1, "a"], [2, "b" * 1000]]
    for wrong in (b"\xff\xff\xff\xff", b"\0\0\0\1x", b"\0\0\0\2{}", b"\0\0\0\2[]"):
        with pytest.raises(BadFrame):
            Frames(1000).feed(wrong)
