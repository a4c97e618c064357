"""Sockets that a process was started with: who serves them, and what becomes of their queues."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from textwrap import dedent
from typing import TYPE_CHECKING, Final

import pytest

from processes import PATIENCE, Process, run
from serving import Served, read_answer, read_to_end
from sprag.exceptions import BadSocket, CannotListen, NoSocket
from sprag.process import sockets
from sprag.process.listening import listen, taken_over

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

GET: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ROUTES: Final = """
import os
import gevent
from sprag import Controller

class Start(Controller):
    route = "/"
    def load(self):
        gevent.sleep(0.005)
        return {"pid": os.getpid()}

class Slow(Controller):
    route = "/slow"
    def load(self):
        gevent.sleep(1.0)
        return {}

class Shared(Controller):
    route = "/shared"
    def load(self):
        environ = self.request.environ
        return {"multi": environ["wsgi.multiprocess"], "port": environ["SERVER_PORT"],
                "told": [each for each in os.environ if "LISTEN_" in each or "SPRAG_W" in each]}
"""
APP: Final = """
from sprag import App, Service

class Up(Service):
    def on_ready(self):
        print("all is up", flush=True)

app = App(name="shop", routes="routes", providers={"up": Up()})
"""

# Puts sockets where a service manager does, and goes on as what it starts.
_PASS: Final = """
import fcntl, os, sys
count = int(sys.argv[1])
given = [fcntl.fcntl(int(each), fcntl.F_DUPFD_CLOEXEC, 50) for each in sys.argv[2:2 + count]]
os.closerange(3, 50)
for number, each in enumerate(given, 3):
    os.dup2(each, number, inheritable=True)
if os.environ.pop("SET_PID", ""):
    os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(count)
os.execv(sys.executable, [sys.executable, *sys.argv[2 + count:]])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "routes.py").write_text(ROUTES)
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as made:
        yield made


def passed(
    folder: Path, listeners: Sequence[socket.socket], *arguments: str, **environ: str
) -> Process:
    """Run the app with *listeners* from descriptor 3 on."""
    numbers = [each.fileno() for each in listeners]
    started = ["-m", "sprag_cli", "run", "app:app", *arguments]
    return Process(
        "-c",
        _PASS,
        str(len(numbers)),
        *map(str, numbers),
        *started,
        directory=folder,
        environ={"SET_PID": "1", **environ},
        pass_fds=numbers,
    )


@contextmanager
def worker(folder: Path, listener: socket.socket, slot: int) -> Generator[Process]:
    """Run the app as a parent runs its workers; it is up."""
    told = {"SPRAG_WORKER": str(slot), "SPRAG_GENERATION": "1", "SPRAG_LOG_LEVEL": "warning"}
    told["SPRAG_WORKER_PATH"] = f"shop/worker-{slot}"
    told |= {"SET_PID": "", "SPRAG_PORT": "1", "SPRAG_RUNTIME_DIR": str(folder / str(slot))}
    with passed(folder, [listener], **told) as process:
        process.says("all is up")
        yield process


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), timeout=PATIENCE)


def test_a_socket_that_was_passed_serves_and_keeps_its_queue_for_who_comes_after(
    folder: Path, listener: socket.socket
) -> None:
    (folder / "app.py").write_text(
        dedent(
            """
            from gevent.server import StreamServer
            from sprag import App, Service, host

            class Feed(Service):
                def on_start(self):
                    server = StreamServer(host.sockets["feed"], self.serve, spawn=self.spawn)
                    self.add_cleanup(server.stop)
                    server.start()
                def serve(self, client, address):
                    client.sendall(b"%d" % self.snapshot().incarnation)
                    client.close()
                    1 / 0
            app = App(name="shop", routes="routes", providers={"feed": Feed()})
            """
        )
    )
    with ExitStack() as stack:
        feed = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        both = {"LISTEN_FDNAMES": "shop.socket:feed"}
        with passed(folder, [listener, feed], "--log-level", "debug", **both) as process:
            one = Served(process)
            assert one.port == listener.getsockname()[1]
            port = str(one.port).encode()
            told = b'{"multi": false, "port": "%s", "told": []}' % port
            assert one.get("/shared")[2] == told
            for life in (b"1", b"2", b"3"):  # a restart finds its socket again
                with connect(feed) as client:
                    assert read_to_end(client) == life
            process.send(signal.SIGTERM)
            assert process.ends() == 0
        waiting = stack.enter_context(connect(listener))  # nobody listens, and it is not refused
        waiting.sendall(GET)
        with passed(folder, [listener, feed], **both) as process:
            assert read_answer(waiting)[0] == 200
            process.send(signal.SIGTERM)
            assert process.ends() == 0


@contextmanager
def clients(listener: socket.socket, count: int) -> Generator[tuple[list[str], list[int]]]:
    """Ask again and again, each time on a new connection.

    What went wrong is what is yielded, and a list that gets longer with each answer.
    """
    over = threading.Event()
    wrong: list[str] = []
    answered: list[int] = []

    def ask() -> None:
        while not over.is_set():
            try:
                with connect(listener) as client:
                    for _ in range(3):
                        client.sendall(GET)
                        status, headers, _body = read_answer(client)
                        answered.append(status)
                        if status != 200:
                            wrong.append(str(status))
                        if headers.get("connection") == "close":
                            break
            except Exception as error:  # noqa: BLE001 - each is a client that was let down
                wrong.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for each in threads:
        each.start()
    try:
        yield wrong, answered
    finally:
        over.set()
        for each in threads:
            each.join(PATIENCE)
    assert len(answered) > 500


@pytest.mark.slow
@pytest.mark.long
def test_a_worker_that_is_replaced_under_load_loses_nothing_and_leaves_the_queue_to_others(
    folder: Path, listener: socket.socket
) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(folder, listener, slot)) for slot in (1, 2)]
        with connect(listener) as client:
            client.sendall(GET.replace(b"/ ", b"/shared "))
            assert b'"multi": true' in read_answer(client)[2]
        # They begin before the load does: under it to load Python would take very long.
        workers += [stack.enter_context(worker(folder, listener, slot)) for slot in (3, 4)]
        with clients(listener, 24) as (wrong, answered):
            for enough in (300, 600):
                while len(answered) < enough and not wrong:
                    time.sleep(0.01)
                old = workers.pop(0)
                began = time.monotonic()
                old.send(signal.SIGTERM)
                assert old.ends() == 0
                assert time.monotonic() - began < 5.0  # it does not take what comes, without end
        assert wrong == []
        # One that is alone, and has a queue: that is left to who comes next.
        first, last = workers
        first.send(signal.SIGTERM)
        assert first.ends() == 0
        last.send(signal.SIGSTOP)
        stopped = [stack.enter_context(connect(listener)) for _ in range(50)]
        for each in stopped:
            each.sendall(GET)
        last.send(signal.SIGTERM)
        last.send(signal.SIGCONT)
        assert last.ends() == 0
        # At the end of all the queue is emptied, and then nobody listens any more.
        final = stack.enter_context(worker(folder, listener, 9))
        for each in stopped:
            assert read_answer(each)[0] == 200
            each.close()
        final.send(signal.SIGSTOP)
        stopped = [stack.enter_context(connect(listener)) for _ in range(50)]
        for each in stopped:
            each.sendall(GET)
        address = listener.getsockname()
        listener.close()
        final.send(signal.SIGINT)
        final.send(signal.SIGCONT)
        for each in stopped:
            assert read_answer(each)[0] == 200
        assert final.ends() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


@pytest.mark.slow
def test_a_worker_waits_for_clients_that_keep_their_connections_unless_all_is_over(
    folder: Path, listener: socket.socket
) -> None:
    with ExitStack() as stack:
        for slot in (1, 2):
            process = stack.enter_context(worker(folder, listener, slot))
            client = stack.enter_context(connect(listener))
            client.sendall(GET)
            assert read_answer(client)[1].get("connection") != "close"
            if slot == 1:
                process.send(signal.SIGTERM)
                time.sleep(1.0)
                client.sendall(GET)
                assert read_answer(client)[1]["connection"] == "close"
            else:
                process.send(signal.SIGWINCH)
                process.send(signal.SIGTERM)
                client.settimeout(1.5)
                assert read_to_end(client) == b""
            client.close()
            assert process.ends() == 0


@pytest.mark.slow
def test_while_a_server_drains_each_client_is_told_so_in_its_own_way(folder: Path) -> None:
    (folder / "app.py").write_text(
        dedent(
            """
            import gevent
            from sprag import App, Limits, Service

            class Slow(Service):
                def on_drain(self):
                    gevent.sleep(3.0)
            limits = Limits(shutdown=20)
            app = App(name="shop", routes="routes", providers={"slow": Slow()}, limits=limits)
            """
        )
    )
    with ExitStack() as stack:
        process = stack.enter_context(run(folder, "--port=0"))
        one = Served(process)
        idle, old, piped, cut = (stack.enter_context(one.connect()) for _ in range(4))
        idle.sendall(GET)
        assert read_answer(idle)[0] == 200
        old.sendall(b"GET /slow HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        piped.sendall(GET.replace(b"/ ", b"/slow ") + GET + GET)
        cut.sendall(GET.replace(b"/ ", b"/slow ") + GET[:10])
        time.sleep(0.3)
        began = time.monotonic()
        process.send(signal.SIGTERM)
        assert read_to_end(idle) == b""
        assert time.monotonic() - began < 2.0  # though another service still drains
        status, headers, _body = read_answer(old)
        assert (status, headers["connection"]) == (200, "close")
        answers = read_to_end(piped)
        assert answers.count(b"HTTP/1.1 200 OK") == 3
        assert answers.rpartition(b"HTTP/1.1")[2].count(b"Connection: close") == 1
        assert answers.count(b"Connection: close") == 1
        assert read_to_end(cut).count(b"Connection: close") == 1
        assert time.monotonic() - began < 2.9  # which it does for 3 seconds
        assert process.ends() == 0


@pytest.mark.slow
def test_an_app_listens_at_all_its_addresses_and_in_the_ways_it_is_told(folder: Path) -> None:
    binds = ["--bind=127.0.0.1:0", "--bind=unix:web.sock", "--bind=feed=unix:feed.sock"]
    (folder / "app.py").write_text(
        "from sprag import App, Service, host\n"
        "class Feed(Service):\n"
        "    def run(self):\n"
        "        client, _ = host.sockets['feed'].accept()\n"  # it waits, as one expects
        "        client.sendall(repr(host.sockets).encode())\n"
        "        host.sockets['fed']\n"
        "app = App(name='shop', routes='routes', providers={'feed': Feed()})\n"
    )
    web, feed = folder / "web.sock", folder / "feed.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(web))  # of a program that was killed
    with run(folder, *binds, "--socket-mode=620") as process:
        process.says('"up"')
        urls = [record["url"] for record in process.events("serving")]
        assert urls[1] == "unix:web.sock"
        assert [path.stat().st_mode & 0o777 for path in (web, feed)] == [0o620, 0o620]
        with socket.socket(socket.AF_UNIX) as client, socket.socket(socket.AF_UNIX) as fed:
            client.settimeout(PATIENCE)
            client.connect(str(web))
            client.sendall(GET)
            assert read_answer(client)[0] == 200
            fed.settimeout(PATIENCE)
            fed.connect(str(feed))
            assert read_to_end(fed) == b"<sockets feed>"
        process.says("no socket 'fed': use 'feed' (did you mean 'feed'?), or pass it with --bind")
        for taken, said in (
            (["--bind=unix:web.sock"], "cannot listen on unix:web.sock: another program listens"),
            (["--bind=feed=unix:feed.sock"], "unix:feed.sock: another program listens there"),
            (["--bind=" + urls[0].removeprefix("http://")], "Address already in use"),
            (["--fd=77"], "--fd 77: descriptor 77 is not open — pass it on, or leave it out"),
        ):
            with run(folder, *taken) as other:
                assert other.ends() == 3
            assert said in other.err
        process.send(signal.SIGTERM)
        assert process.ends() == 0
    assert not web.exists()
    assert not feed.exists()


def test_what_is_no_listening_socket_is_refused_by_name(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with (
        (tmp_path / "file").open("w") as file,
        socket.socket() as unconnected,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as odd,
    ):
        for number, said in (
            (file.fileno(), "is a file, no socket"),
            (reading, "is a pipe, no socket"),
            (unconnected.fileno(), "is a socket that does not listen"),
            (datagrams.fileno(), "is a socket of the kind SOCK_DGRAM"),
            (odd.fileno(), "is a socket of the family AF_NETLINK"),
        ):
            with pytest.raises(BadSocket, match=f"^--fd 9: descriptor {number} {said} — "):
                taken_over(number, "--fd 9")
            os.fstat(number)  # it is not ours to close
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"LISTEN_FDS": "1"}, "LISTEN_FDS=1 comes without LISTEN_PID"),
        ({"LISTEN_FDS": "x", "LISTEN_PID": "own"}, "LISTEN_FDS=x is no number"),
        (
            {"LISTEN_FDS": "2", "LISTEN_PID": "own", "LISTEN_FDNAMES": "a"},
            "LISTEN_FDS=2 does not fit LISTEN_FDNAMES=a",
        ),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, ""),
        ({"LISTEN_FDNAMES": "a"}, ""),
    ],
)
def test_variables_of_another_process_are_passed_over_and_wrong_ones_are_named(
    environ: dict[str, str], said: str
) -> None:
    given = {name: str(os.getpid()) if value == "own" else value for name, value in environ.items()}
    given["PATH"] = "/bin"
    if said:
        with pytest.raises(BadSocket, match=f"^{said}"):
            sockets.adopt(given, is_worker=False)
    else:
        sockets.adopt(given, is_worker=False)
    assert given == {"PATH": "/bin"}
    assert dict(sockets.sockets) == {}


def test_sockets_are_found_by_name_and_each_who_asks_has_its_own(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    try:
        for _ in range(2):
            with listen(("127.0.0.1", 0)) as made:
                sockets.keep(os.dup(made.fileno()), "feed", "--fd 9")
        sockets.open_named("", path, 0o600)
        assert list(sockets.sockets) == ["feed", "feed-2", "web"]
        assert sockets.for_web() == ["web"]
        first, second = sockets.sockets["feed"], sockets.sockets["feed"]
        first.close()
        assert second.getsockname()[0] == "127.0.0.1"
        second.close()
        assert sockets.sockets.get("fed") is None
        with pytest.raises(NoSocket, match="use 'feed', 'feed-2', 'web'"):
            sockets.sockets["x"]
        assert [sockets.is_left_to_others(each) for each in ("feed", "web")] == [True, False]
        with pytest.raises(CannotListen, match="another program listens there"):
            sockets.open_named("", path, None)
    finally:
        sockets.close()
    assert len(sockets.sockets) == 0
    assert list(tmp_path.iterdir()) == []
