"""The log of `sprag run` when nobody reads it: real processes, and pipes that are full."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import statistics
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from controlled import ask
from processes import PATIENCE, app, ran, run
from sprag._exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from processes import Process

pytestmark = pytest.mark.slow

CHATTY: Final = """
class Chatty(Service):
    number = 0
    def on_start(self):
        self.interval(self.chat, 0.01)
    def chat(self):
        for _ in range(20):
            Chatty.number += 1
            self.log.info("said", number=Chatty.number, padding="x" * 5000)
        if Chatty.number % 2000 == 0:
            say("alive", Chatty.number)
app = App(name="shop", providers={"chatty": Chatty()})
"""
"""It logs much faster than a full pipe takes it, and says on stdout that it lives."""


_LOOKED_AT: Final = 1 << 18


class Pipe:
    """The reading end of a process's stderr, which is read when asked for."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 1 << 16)
        self.text = bytearray()

    def read_all(self) -> list[str]:
        """Read to the end; the process must have gone."""
        self.release()
        while data := os.read(self.reading, 1 << 16):
            self.text += data
        return self.text.decode().splitlines()

    def read_until(self, word: bytes) -> None:
        """Read on until *word* has come."""
        end = time.monotonic() + PATIENCE
        os.set_blocking(self.reading, False)
        while word not in self.text[-_LOOKED_AT:]:
            assert time.monotonic() < end, self.text[-2000:]
            try:
                self.text += os.read(self.reading, 1 << 16)
            except BlockingIOError:
                time.sleep(0.005)
        os.set_blocking(self.reading, True)

    def release(self) -> None:
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    def close(self) -> None:
        self.release()
        if self.reading >= 0:
            os.close(self.reading)


@contextmanager
def unread(directory: Path, *arguments: str, **options: Any) -> Generator[tuple[Process, Pipe]]:
    """Run an app whose stderr nobody reads."""
    with closing(Pipe()) as pipe, run(directory, *arguments, stderr=pipe.writing, **options) as one:
        pipe.release()
        yield one, pipe


def numbers(lines: list[str]) -> list[int]:
    return [each["number"] for each in map(json.loads, lines) if each["event"] == "said"]


def dropped(lines: list[str]) -> list[int]:
    told = map(json.loads, lines)
    return [each["count"] for each in told if "dropped" in each["event"]]


def backlog(process: Process) -> dict[str, int]:
    status, told = ask(process.socket(), "GET", "/v1/tree")
    assert status == 200
    found: dict[str, int] = told["log_queue"]
    return found


def test_an_app_whose_log_nobody_reads_goes_on_and_stops_in_time(tmp_path: Path) -> None:
    app(tmp_path, CHATTY)
    with unread(tmp_path) as (process, pipe):
        process.says("alive 6000")
        told = backlog(process)
        assert told["dropped"] > 3_000
        assert told["waiting"] < 2_000
        began = time.monotonic()
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert time.monotonic() - began < 5.0
        assert len(pipe.read_all()) > 10


def test_a_reader_that_comes_back_is_told_how_much_is_missing_and_where(tmp_path: Path) -> None:
    app(tmp_path, CHATTY)
    with unread(tmp_path) as (process, pipe):
        process.says("alive 4000")
        pipe.read_until(b"were dropped")
        process.send(signal.SIGTERM)
        lines = pipe.read_all()
        assert process.ends() == ExitCode.STOPPED
    said = numbers(lines)
    assert said == sorted(said)
    assert len(said) == len(set(said))
    assert dropped(lines)
    assert sum(dropped(lines)) == said[-1] - len(said)
    # The gap is where the record stands that tells of it, and of what was dropped by then.
    first = next(number for number, line in enumerate(lines) if "records were dropped" in line)
    before, after = numbers(lines[first - 1 : first]), numbers(lines[first + 1 : first + 2])
    assert 0 < after[0] - before[0] - 1 <= dropped(lines)[0]


def test_the_tree_and_status_say_how_much_was_dropped(tmp_path: Path) -> None:
    app(tmp_path, CHATTY)
    with unread(tmp_path) as (process, _pipe):
        process.says("alive 4000")
        environ = {**os.environ, "SPRAG_RUNTIME_DIR": str(process.runtime), "COLUMNS": "120"}
        for command in ("tree", "status"):
            done = ran(command, env=environ)
            assert re.search(r"[\d,]+ log records dropped", done.stdout), done


def test_while_somebody_reads_nothing_is_lost_however_fast_it_comes(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Fast(Service, restart="temporary"):
            def run(self):
                for number in range(12_000):
                    self.log.info("said", number=number)
                say("done")
        app = App(name="shop", providers={"fast": Fast()})
        """,
    )
    with run(tmp_path) as process:
        process.says("done")
        assert backlog(process)["dropped"] == 0
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert numbers(process.err.splitlines()) == list(range(12_000))


def test_errors_of_crashes_have_room_when_there_is_none(tmp_path: Path) -> None:
    app(
        tmp_path,
        CHATTY.replace(
            'app = App(name="shop", providers={',
            """
class Crashing(Service):
    lives = 0
    def run(self):
        while Chatty.number < 4_000:
            gevent.sleep(0.01)
        Crashing.lives += 1
        say("life", Crashing.lives)
        if Crashing.lives < 60:
            raise ValueError(f"crash {Crashing.lives}")
        gevent.sleep(60)
app = App(name="shop", max_restarts=1000, providers={"crashing": Crashing(), """,
        ),
    )
    with unread(tmp_path) as (process, pipe):
        process.says("life 60\n")
        process.send(signal.SIGTERM)
        lines = pipe.read_all()
        assert process.ends() == ExitCode.STOPPED
    crashes = [each for each in map(json.loads, lines) if each["event"] == "service crashed"]
    assert [each["exception"].rpartition(" ")[2] for each in crashes] == [
        str(number) for number in range(1, 60)
    ]


def test_amid_a_storm_that_nobody_reads_the_tree_is_told_and_a_stop_ends_in_time(
    tmp_path: Path,
) -> None:
    app(
        tmp_path,
        """
        class Mortal(Service):
            def on_start(self):
                self.listen("storm", self.die)
            def die(self, _):
                raise ValueError("x" * 4_000)
        class Storm(Service):
            def run(self):
                for _ in range(500):
                    mortals.start_child(Mortal())
                say("ready")
                while True:
                    self.emit("storm", None)
                    while mortals.count_children().active < 500:
                        gevent.sleep(0.001)
        mortals = DynamicSupervisor(max_restarts=10**9)
        app = App(name="shop", providers={"mortals": mortals, "storm": Storm()})
        """,
    )
    with unread(tmp_path) as (process, _pipe):
        process.says("ready")
        crashes, dropped = 0, 0
        passed: list[int] = []
        while crashes < 1_000 or not dropped:
            status, told = ask(process.socket(), "GET", "/v1/tree")
            assert status == 200
            mortals = next(each for each in told["children"] if each["name"] == "mortals")
            before = crashes
            crashes = sum(each["restarts"] for each in mortals["children"])
            passed.append(crashes - before)
            dropped = told["log_queue"]["dropped"]
        # Who asks waits for no more of the storm than passes meanwhile: a share, not its end.
        assert statistics.median(passed) < 500, passed
        began = time.monotonic()
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert time.monotonic() - began < 5.0


def test_a_reader_that_is_killed_ends_nothing(tmp_path: Path) -> None:
    app(tmp_path, CHATTY)
    with unread(tmp_path) as (process, pipe):
        process.says("alive 2000")
        os.close(pipe.reading)
        pipe.reading = -1
        process.says("alive 4000")
        assert backlog(process)["dropped"] > 500
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED


def test_a_named_pipe_gets_a_new_reader(tmp_path: Path) -> None:
    app(tmp_path, CHATTY)
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(fifo, os.O_WRONLY)
    with run(tmp_path, stderr=writing) as process:
        os.close(writing)
        process.says("alive 2000")
        os.close(first)
        process.says("alive 4000")
        reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        text = b""
        end = time.monotonic() + PATIENCE
        while b"were dropped" not in text and time.monotonic() < end:
            try:
                text += os.read(reading, 1 << 16)
            except BlockingIOError:
                time.sleep(0.005)
        os.close(reading)
        assert b"were dropped" in text
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED


STUBBORN: Final = CHATTY.replace(
    "    number = 0\n", "    number = 0\n    def on_stop(self):\n        gevent.sleep(60)\n"
).replace("(Service)", '(Service, shutdown="infinity")')


def test_a_second_ctrl_c_ends_at_once_although_nobody_reads(tmp_path: Path) -> None:
    app(tmp_path, STUBBORN)
    with unread(tmp_path) as (process, _pipe):
        process.says("alive 4000")
        process.send(signal.SIGINT)
        time.sleep(0.2)
        began = time.monotonic()
        process.send(signal.SIGINT)
        assert process.ends() == ExitCode.FORCED_INT
        assert time.monotonic() - began < 3.0


def test_what_was_logged_comes_before_the_last_words_of_a_forced_end(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Stubborn(Service, shutdown="infinity"):
            def on_stop(self):
                gevent.sleep(0.2)
                for number in range(500):
                    self.log.info("said", number=number)
                say("stopping for ever")
                gevent.sleep(60)
        app = App(name="shop", providers={"stubborn": Stubborn()})
        """,
    )
    with run(tmp_path) as process:
        process.says('"event": "up"')
        process.send(signal.SIGINT)
        process.says("stopping for ever")
        process.send(signal.SIGINT)
        assert process.ends() == ExitCode.FORCED_INT
        *lines, last = process.err.splitlines()
        assert last.startswith("sprag: SIGINT again: ending at once; still up: ")
        assert numbers(lines) == list(range(500))


def test_the_watchdogs_end_loses_nothing(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Busy(Service):
            def run(self):
                for number in range(500):
                    if number % 50 == 0:
                        gevent.sleep(0.01)  # a slow machine is not held up before all is said
                    self.log.info("said", number=number)
                while True:
                    pass
        app = App(name="shop", providers={"busy": Busy()})
        """,
    )
    with run(tmp_path, "--watchdog", "0.5", "--watchdog-exit") as process:
        assert process.ends() == ExitCode.NOT_CLEAN
        logged, _, told = process.err.partition("sprag: the loop is held")
        assert "shop/busy" in told
        assert numbers(logged.splitlines()) == list(range(500))


def test_an_end_with_something_left_behind_loses_nothing(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Stubborn(Service, shutdown=0.1):
            def run(self):
                while True:
                    try:
                        gevent.sleep(60)
                    except BaseException:
                        for number in range(500):
                            self.log.info("said", number=number)
        app = App(name="shop", providers={"stubborn": Stubborn()})
        """,
    )
    with run(tmp_path) as process:
        process.says('"event": "up"')
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.NOT_CLEAN
        assert numbers(process.err.splitlines())[:500] == list(range(500))
        assert '"stopped, but not clean"' in process.err


def test_what_an_app_logs_in_its_last_moments_is_written(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import atexit, logging
        atexit.register(logging.getLogger("mine").info, "at exit")
        app = App(name="shop")
        """,
    )
    with run(tmp_path) as process:
        process.says('"event": "up"')
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert [record["event"] for record in process.records()][-2:] == ["stopped", "at exit"]


def test_a_module_that_cannot_be_imported_loses_nothing_either(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import logging
        mine = logging.getLogger("mine")
        for number in range(2000):
            mine.info("said", extra={"sprag": {"event": "said", "number": number}})
        raise ValueError("no")
        """,
    )
    with run(tmp_path) as process:
        assert process.ends() == ExitCode.NEVER_CAME_UP
        lines = [line for line in process.err.splitlines() if line.startswith("{")]
        assert numbers(lines) == list(range(2000))
        assert process.err.index("Traceback") > process.err.rindex('"said"')


@pytest.mark.parametrize("way", ["os.fork", "multiprocessing"])
def test_a_forked_child_writes_its_own_records_and_none_of_its_parents(
    tmp_path: Path, way: str
) -> None:
    forking = {
        "os.fork": """
                pid = os.fork()
                if not pid:
                    work()
                    os._exit(0)
                end_of(pid)""",
        "multiprocessing": """
                child = multiprocessing.get_context("fork").Process(target=work)
                child.start()
                child.join()""",
    }[way]
    app(
        tmp_path,
        f"""
        import logging, multiprocessing, os
        def work():
            for _ in range(5):
                logging.getLogger("child").warning("of the child")
        class Forking(Service):
            def run(self):
                for number in range(50):
                    self.log.info("said", number=number)
{forking}
                self.log.info("forked")
                gevent.sleep(60)
        app = App(name="shop", providers={{"forking": Forking()}})
        """,
    )
    with run(tmp_path) as process:
        process.says('"forked"')
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert numbers(process.err.splitlines()) == list(range(50))
        assert len(process.events("of the child")) == 5


def test_a_forked_child_of_an_app_that_nobody_reads_ends(tmp_path: Path) -> None:
    app(
        tmp_path,
        CHATTY.replace(
            "app = App(",
            """
import logging, os
class Forking(Service):
    def run(self):
        while Chatty.number < 2_000:
            gevent.sleep(0.01)
        pid = os.fork()
        if not pid:
            for _ in range(1000):
                logging.getLogger("child").warning("of the child")
            os._exit(7)
        say("child", end_of(pid))
        gevent.sleep(60)
app = App(""",
        ).replace("providers={", 'providers={"forking": Forking(), '),
    )
    with unread(tmp_path) as (process, _pipe):
        process.says("child 7")
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED


def test_a_full_disk_under_the_log_is_counted_and_changes_no_exit_code(tmp_path: Path) -> None:
    app(tmp_path, CHATTY)
    with (
        open("/dev/full", "w", encoding="utf-8") as full,  # noqa: PTH123
        run(tmp_path, stderr=full) as process,
    ):
        process.says("alive 2000")
        assert backlog(process)["dropped"] > 1_500
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED


def test_an_app_that_closes_its_stderr_writes_into_no_other_file(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        class Closing(Service):
            def run(self):
                sys.stderr.close()
                mine = open("mine", "wb", 0)
                say("descriptor", mine.fileno())
                for _ in range(100):
                    self.log.info("lost")
                mine.write(b"mine")
                say("closed")
                gevent.sleep(60)
        app = App(name="shop", providers={"closing": Closing()})
        """,
    )
    with run(tmp_path) as process:
        process.says("closed")
        process.send(signal.SIGTERM)
        process.ends()
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_what_gevent_prints_of_an_exception_does_not_block_either(tmp_path: Path) -> None:
    app(
        tmp_path,
        CHATTY.replace(
            "if Chatty.number",
            "gevent.get_hub().loop.run_callback(int, 'x')\n        if Chatty.number",
        ),
    )
    with unread(tmp_path) as (process, _pipe):
        process.says("alive 4000")
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED


# -- equal records, and those of libraries -------------------------------------------------


FLOOD: Final = """
class Flood(Service):
    def run(self):
        for _ in range(500):
            self.log.warning("cannot reach the till", port=80)
        gevent.sleep({pause})
        self.log.info("over")
        gevent.sleep(60)
app = App(name="shop", providers={{"flood": Flood()}})
"""


def test_equal_records_of_a_service_are_told_once_and_counted(tmp_path: Path) -> None:
    app(tmp_path, FLOOD.format(pause=1.5))
    with run(tmp_path) as process:
        process.says('"over"')
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        told = process.events("cannot reach the till", "over")
        assert [each.get("repeated") for each in told] == [None, None, None, 497, None]
        assert told[3] == {**told[0], "timestamp": told[3]["timestamp"], "repeated": 497}


def test_equal_lines_of_a_program_are_all_told(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        line = "for i in $(seq 50); do echo again; done; echo over; exec sleep 60"
        app = App(name="shop", providers={"it": Program(line, shell=True)})
        """,
    )
    with run(tmp_path) as process:
        process.says('"over"')
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        said = [each["line"] for each in process.events("output")]
        assert said == ["again"] * 50 + ["over"]


def test_how_often_is_told_at_the_end_at_the_latest(tmp_path: Path) -> None:
    app(tmp_path, FLOOD.format(pause=0))
    with run(tmp_path, "--log-format", "console") as process:
        process.says("over")
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
    told = [line for line in process.err.splitlines() if "cannot reach" in line]
    assert len(told) == 4
    assert told[3].endswith(
        "cannot reach the till  service=shop/flood port=80  (repeated 497 times)"
    )


def test_a_librarys_record_made_in_a_service_carries_its_path(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import logging, structlog, warnings
        library = logging.getLogger("a.library")
        def work(what):
            library.warning("from %s", what)
        class Using(Service):
            def on_start(self):
                work("a hook")
                self.spawn(work, "a greenlet")
                gevent.spawn(work, "a plain greenlet")
                self.interval(lambda: work("a timer"), 0.05)
                self.listen("go", lambda _: work("a listener"))
                structlog.get_logger().warning("from structlog")
                structlog.get_logger().warning("from its own", service="mine")
            def on_ready(self):
                self.emit("go", None)
        app = App(name="shop", providers={"using": Using()})
        work("nobody")
        """,
    )
    for log_format in ("json", "console"):
        with run(tmp_path, "--log-format", log_format) as process:
            process.says("from a timer")
            process.says("from a listener")
            process.send(signal.SIGTERM)
            assert process.ends() == ExitCode.STOPPED
        if log_format == "json":
            told = {each["event"]: each for each in process.records()}
            places = {event: each.get("service") for event, each in told.items() if "from" in event}
            assert places.pop("from nobody") is None
            assert places.pop("from its own") == "mine"
            assert set(places.values()) == {"shop/using"}
            assert len(places) == 6
            assert told["from a hook"]["incarnation"] == 1
        else:
            assert "from a hook  service=shop/using\n" in process.err


def test_a_record_that_cannot_be_formatted_says_where_and_ends_nobody(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import logging
        class Bad(Service):
            def on_start(self):
                logging.getLogger("a.library").warning("%d", "no number")
        app = App(name="shop", providers={"bad": Bad()})
        """,
    )
    with run(tmp_path) as process:
        process.says('"event": "up"')
        process.says("--- Logging error ---")
        process.says("in on_start")
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED


def test_several_native_threads_may_log_at_once(tmp_path: Path) -> None:
    app(
        tmp_path,
        """
        import logging
        from gevent.threadpool import ThreadPool
        def work(thread):
            for number in range(2000):
                logging.getLogger("mine").info("%s %s", thread, number)
        class Threads(Service):
            def run(self):
                pool = ThreadPool(4)
                pool.map(work, range(4))
                say("done")
                gevent.sleep(60)
        app = App(name="shop", providers={"threads": Threads()})
        """,
    )
    with run(tmp_path) as process:
        process.says("done")
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        events = [each["event"] for each in process.records()]
    for thread in range(4):
        mine = [each for each in events if each.startswith(f"{thread} ")]
        assert mine == [f"{thread} {number}" for number in range(2000)]
    assert threading.active_count() < 50
