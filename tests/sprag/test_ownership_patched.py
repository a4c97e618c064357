"""Threads and executors where gevent has patched, as under `sprag run`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from processes import completed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PREPARED = """
from gevent import monkey
monkey.patch_all()
import concurrent.futures, functools, logging, sys, threading, time
import gevent
from sprag import Service, Supervisor, current_service, own_greenlets
logging.basicConfig(format="%(message)s", stream=sys.stdout)


def boom():
    raise ValueError("boom")


class Host(Service, restart="temporary"):
    over = False

    def __init__(self, scene):
        self.scene = scene

    def run(self):
        try:
            self.scene(self)
        finally:
            self.over = True
        time.sleep(60)


def play(*scenes, seconds=0.1):
    hosts = [Host(scene) for scene in scenes]
    with own_greenlets(), Supervisor(hosts, name="top") as top:
        time.sleep(seconds)
        for _ in range(1000):
            if all(host.over for host in hosts):
                break
            time.sleep(0.01)
        print("up:", len(top.which_children()))


"""


def run(script: str, path: Path) -> str:
    """Run *script* in a patched process; return what it has printed, stderr after stdout."""
    file = path / "patches.py"
    file.write_text(PREPARED + textwrap.dedent(script))
    done = completed(str(file), cwd=path)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_crash_in_a_thread_of_a_service_is_the_services_crash(tmp_path: Path) -> None:
    said = run("play(lambda me: threading.Thread(target=boom).start())", tmp_path)
    assert said.startswith("top/Host: service crashed (step='thread')\nTraceback")
    assert said.count("ValueError: boom") == 1
    assert "Exception in thread" not in said
    assert said.endswith("up: 0\n")


@pytest.mark.parametrize(
    "start",
    [
        "threading.Timer(0.01, boom).start()",
        "Sub().start()",
        "Sub(daemon=True).start()",
        "threading.Thread(target=lambda: threading.Thread(target=boom).start()).start()",
        "gevent.spawn(lambda: threading.Thread(target=boom).start())",
        "threading.Thread(target=boom).run()",
    ],
)
def test_so_it_is_however_the_thread_was_made(tmp_path: Path, start: str) -> None:
    script = f"""
    class Sub(threading.Thread):
        def run(self):
            boom()

    play(lambda me: {start})
    """
    said = run(script, tmp_path)
    assert said.count("service crashed") == said.count("ValueError: boom") == 1
    assert said.endswith("up: 0\n")


def test_an_excepthook_of_somebodys_own_hears_of_it_too(tmp_path: Path) -> None:
    script = """
    threading.excepthook = lambda args: print("heard of", args.exc_value)
    play(lambda me: threading.Thread(target=boom).start())
    """
    said = run(script, tmp_path)
    assert said.count("heard of boom") == 1
    assert said.count("service crashed") == 1


def test_a_clean_stop_ends_threads_without_a_word(tmp_path: Path) -> None:
    script = """
    def scene(me):
        for _ in range(3):
            threading.Thread(target=time.sleep, args=(60,)).start()
        threading.Timer(60, boom).start()
        threading.Thread(target=threading.Event().wait).start()

    play(scene)
    print(threading.active_count())
    """
    assert run(script, tmp_path) == "up: 1\n1\n"


def test_sys_exit_ends_a_thread_only_as_python_has_it(tmp_path: Path) -> None:
    said = run("play(lambda me: threading.Thread(target=sys.exit, args=(3,)).start())", tmp_path)
    assert said == "up: 1\n"


def test_a_thread_of_nobody_ends_as_ever(tmp_path: Path) -> None:
    script = """
    with own_greenlets():
        threading.Thread(target=boom).start()
        time.sleep(0.05)
    """
    assert "Exception in thread" in run(script, tmp_path)


def test_who_starts_a_thread_of_a_service_that_ends_meanwhile_is_not_left_waiting(
    tmp_path: Path,
) -> None:
    script = """
    class Provider(Service):
        def fetch(self):
            thread = threading.Thread(target=time.sleep, args=(60,))
            gevent.get_hub().loop.run_callback(self.kill_all)  # before the thread begins
            thread.start()
            thread.join()
            print("joined")

        def kill_all(self):
            for greenlet in tuple(self._holdings_.greenlets.values()):
                greenlet.kill(block=False)

    provider = Provider()
    with own_greenlets(), Supervisor([provider, Host(lambda me: provider.fetch())]) as top:
        time.sleep(0.1)
    """
    assert run(script, tmp_path) == "joined\n"


SHARED = {
    "concurrent.futures": "pool = concurrent.futures.ThreadPoolExecutor(2); submit = pool.submit",
    "a subclass of it": """
class Mine(concurrent.futures.ThreadPoolExecutor):
    pass

pool = Mine(2)
submit = pool.submit
""",
    "gevent.threadpool": """
from gevent.threadpool import ThreadPool
pool = ThreadPool(2)
def submit(fn, *args):
    class Future:
        result = pool.spawn(fn, *args).get
    return Future
""",
    "gevent's executor": """
from gevent.threadpool import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
submit = pool.submit
""",
    "a pool of multiprocessing's, made by its first user": """
from multiprocessing.pool import ThreadPool
pools = []
def submit(fn, *args):
    if not pools:
        pools.append(ThreadPool(2))
    job = pools[0].apply_async(fn, args)
    job.result = job.get
    return job
""",
    "gevent.pool": """
from gevent.pool import Pool
pool = Pool(2)
def submit(fn, *args):
    greenlet = pool.spawn(fn, *args)
    greenlet.result = greenlet.get
    return greenlet
""",
}


@pytest.mark.parametrize("shared", SHARED.values(), ids=SHARED)
def test_an_executor_that_services_share_outlives_whoever_used_it_first(
    tmp_path: Path, shared: str
) -> None:
    script = """
def first(me):
    for _ in range(4):
        submit(pow, 2, 3).result()
    boom()


def second(me):
    time.sleep(0.05)
    for number in range(8):
        assert submit(pow, number, 2).result(timeout=5) == number ** 2
    print("all results")


play(first, second)
"""
    said = run(shared + script, tmp_path)
    assert said.count("service crashed") == 1
    assert "all results\nup: 1\n" in said


def test_what_runs_in_an_executor_is_nobodys_code_and_what_fails_there_its_futures(
    tmp_path: Path,
) -> None:
    script = """
    pool = concurrent.futures.ThreadPoolExecutor(2)

    def scene(me):
        print(pool.submit(current_service).result(), me.snapshot().owned.greenlets)
        pool.submit(boom)
        try:
            pool.submit(boom).result()
        except ValueError as error:
            print("caught", error)

    play(scene)
    """
    assert run(script, tmp_path) == "None 1\ncaught boom\nup: 1\n"


POOLS = {
    "an executor": "self.pool = Executor(2); self.pool.submit(pow, 2, 3).result()",
    "a pool of multiprocessing's": """self.pool = ThreadPool(2)
            self.add_cleanup(self.pool.terminate)
            self.pool.apply(pow, (2, 3))""",
}


@pytest.mark.parametrize("make", POOLS.values(), ids=POOLS)
def test_the_threads_of_an_executor_go_with_it(tmp_path: Path, make: str) -> None:
    script = f"""
    from concurrent.futures import ThreadPoolExecutor as Executor
    from multiprocessing.pool import ThreadPool

    class User(Service, max_restarts=100):
        def on_start(self):
            {make}

    user = User()
    with own_greenlets(), Supervisor([user], max_restarts=100):
        for number in range(1, 11):
            user.spawn(boom)
            while user.snapshot().incarnation <= number:
                time.sleep(0.01)
        while threading.active_count() > 8:
            time.sleep(0.05)
        print("few threads")
    """
    assert run(script, tmp_path).endswith("few threads\n")
