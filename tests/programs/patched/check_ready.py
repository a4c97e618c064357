"""How one learns that a program is ready, when what is asked is hostile."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import pytest

from programmed import python, until
from reliability.watching import descriptors
from sprag import Program, StartFailed, Supervisor
from sprag.exceptions import BadValue
from sprag.programs import Command, Http, Notify, Port
from sprag.programs.connecting import is_of_this_machine
from sprag.programs.exceptions import PortTaken
from sprag.programs.site import ProgramSite
from sprag_supervisor import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

SLEEPS = "import time; time.sleep(1000)"


@contextmanager
def served(answer: Callable[[socket.socket], object]) -> Generator[int]:
    """Have *answer* speak to each who connects; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                one = server.accept()[0]
                with one, suppress(OSError):  # it may have hung up
                    answer(one)

        spawn: Any = gevent.spawn
        serving: Any = spawn(serve)
        try:
            yield server.getsockname()[1]
        finally:
            serving.kill()


def site_of(top: Supervisor, port: int | None = None) -> ProgramSite:
    return ProgramSite(tree_of(top).pool, port, None)


def well(one: socket.socket) -> None:
    one.recv(4096)
    one.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def drips(beginning: bytes) -> Callable[[socket.socket], object]:
    def answer(one: socket.socket) -> None:
        one.sendall(beginning)
        while True:
            gevent.sleep(0.02)
            one.sendall(b"a")

    return answer


@pytest.mark.parametrize(
    "beginning",
    [b"", b"HTTP/1.1 200 OK\r\nX-One: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"],
)
def test_a_page_that_comes_a_byte_at_a_time_has_not_answered_in_time(
    top: Supervisor, beginning: bytes
) -> None:
    with served(drips(beginning)) as port:
        began = time.monotonic()
        said = Http(f"http://127.0.0.1:{port}/", timeout=0.2).complaint(site_of(top))
        assert said is not None
        assert "timed out" in said
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 204 None\r\n\r\n", None),
        (b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", "answers 400"),
        (b"SSH-2.0-OpenSSH\r\n", "does not answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "does not answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n", "does not answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000, None),
        (b"", "does not answer"),
    ],
)
def test_pages_are_judged_by_their_status_and_bounded(
    top: Supervisor, answer: bytes, said: str | None
) -> None:
    def reply(one: socket.socket) -> None:
        one.recv(4096)
        one.sendall(answer)

    with served(reply) as port:
        complaint = Http("/", port=port).complaint(site_of(top))
    assert (complaint is None) if said is None else said in str(complaint)


@pytest.mark.parametrize("ready", [Port(), Http("/healthz")])
def test_who_answers_at_its_port_already_is_not_taken_for_it(
    top: Supervisor, ready: Port | Http
) -> None:
    answering = served(well)
    with answering as port, pytest.raises(StartFailed) as caught:
        top.start_child(python(SLEEPS, port=port, ready=ready))
    assert isinstance(caught.value.__cause__, PortTaken)
    assert f"by pid {os.getpid()}, " in str(caught.value.__cause__)


def test_a_page_elsewhere_may_answer_before_it_runs(top: Supervisor) -> None:
    with served(well) as port:
        program = python(SLEEPS, ready=Http(f"http://127.0.0.1:{port}/through/it"))
        top.start_child(program)
        until(lambda: program.snapshot().is_ready)


@pytest.mark.parametrize("host", ["", 5, "a b", "ä.example", None, "a" * 70, "a..example"])
def test_a_host_that_is_none_is_refused(host: object) -> None:
    with pytest.raises(BadValue, match="host"):
        Port(80, host=host)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["/ä", "/a b", "/a\r\nX: 1", "http://host/ä", f"http://{'a' * 70}/"]
)
def test_a_page_that_cannot_be_asked_for_is_refused(url: str) -> None:
    with pytest.raises(BadValue, match="Http"):
        Http(url)


def test_only_the_owner_of_a_port_of_this_machine_is_named() -> None:
    assert all(map(is_of_this_machine, ("127.0.0.1", "127.0.0.2", "localhost")))
    assert not any(map(is_of_this_machine, ("192.0.2.1", "2001:db8::1", "db.example")))


def test_a_command_that_finds_no_descriptor_has_failed(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = top.start_child(python(SLEEPS))
    assert program._run_ is not None
    real = os.open

    def refused(path: str, *more: int) -> int:
        if path == os.devnull:
            raise OSError(24, "Too many open files")
        return real(path, *more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refused)
        ready = Command(["true"], timeout=0.5)
        other = top.start_child(python(SLEEPS, name="other", ready=ready))
        until(lambda: "ulimit -n" in str(other.snapshot().unready))
    until(lambda: other.snapshot().is_ready)


def test_a_command_ends_with_all_of_its_group_at_its_time(top: Supervisor) -> None:
    words = ["/bin/sh", "-c", "trap '' TERM; sleep 77.7 & sleep 77.7"]
    began = time.monotonic()
    program = top.start_child(python(SLEEPS, ready=Command(words, timeout=0.2)))
    until(lambda: "has not ended within 0.2 s" in str(program.snapshot().unready))
    program.stop()
    assert time.monotonic() - began < 10
    assert not any(b"77.7" in words for words in _commands())


def _commands() -> list[bytes]:
    found: list[bytes] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return found


def test_where_it_could_say_how_it_is_there_is_no_descriptor_for_that(
    top: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_given: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", refused)
        with pytest.raises(StartFailed) as caught:
            top.start_child(python(SLEEPS, ready=Notify()))
    assert "raise the limit ('ulimit -n')" in str(caught.value.__cause__)


def test_replicas_may_share_a_port_that_is_not_their_own(top: Supervisor) -> None:
    with served(well) as port:
        program = python(SLEEPS, ready=Http("/", port=port), replicas=2)
        top.start_child(program)
        until(lambda: program.snapshot().is_ready)


BARRIER = """
import array, os, socket, sys, time
one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
one.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
def send(text, descriptors):
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    one.sendmsg([text], [rights])
reading, writing = os.pipe()
send(b"BARRIER=1", [writing])
os.close(writing)
assert os.read(reading, 1) == b""
for _ in range(20):
    send(b"STATUS=many", [0] * 200)
send(b"READY=1", [1])
time.sleep(1000)
"""


def test_descriptors_that_a_program_passes_are_closed_at_once(top: Supervisor) -> None:
    program = Program([sys.executable, "-S", "-c", BARRIER], name="it", ready=Notify())
    top.start_child(python(SLEEPS, name="before"))
    gevent.sleep(0.05)
    before = descriptors(os.getpid())
    top.start_child(program)
    until(lambda: program.snapshot().is_ready)
    assert program.snapshot().status == "many"
    assert descriptors(os.getpid()) <= before + 3  # its output, and where it says how it is


CHILD_SAYS = """
import os, socket, sys, time
if os.fork() == 0:
    if "away" in sys.argv:
        os.setsid()
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])
    one.send(b"no pairs\\n=\\n\\xff\\nREADY=1")
    print("said", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("way", ["stays", "away"])
def test_a_child_speaks_for_it_as_long_as_it_is_of_its_session(top: Supervisor, way: str) -> None:
    words = [sys.executable, "-S", "-c", CHILD_SAYS, way]
    program = top.start_child(Program(words, name="it", ready=Notify(), kill="tree"))
    until(lambda: program._run_ is not None and program._run_.output.last)
    if way == "stays":
        until(lambda: program.snapshot().is_ready)
    else:
        gevent.sleep(0.2)
        assert not program.snapshot().is_ready
