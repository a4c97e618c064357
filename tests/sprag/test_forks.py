"""A forked child runs no services, and everything that forks goes on working."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

HEAD = """
import sys
if "patched" in sys.argv:
    from gevent import monkey
    monkey.patch_all()
import gevent, gevent.event, gevent.queue, gevent.subprocess, multiprocessing, os, subprocess
from gevent.monkey import get_original
from sprag import *
from sprag.exceptions import AfterFork

parent = os.getpid()
event, queue = gevent.event.Event(), gevent.queue.Queue()

def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())

def forbidden(what):
    if os.getpid() != parent:
        say("IN THE CHILD:", what)

class Ticker(Service):
    def on_start(self):
        self.interval(forbidden, 0.01, "timer")
        self.spawn(self.loop)
        self.spawn(self.wait, event.wait)
        self.spawn(self.wait, queue.get)
        self.bare = gevent.spawn(self.loop)
    def loop(self):
        try:
            while True:
                gevent.sleep(0.01)
                forbidden("greenlet")
        finally:
            forbidden("finally")
    def wait(self, fn):
        fn()
        forbidden(fn)
    def on_stop(self):
        forbidden("on_stop")

def in_the_child():
    gevent.sleep(0.1)
    event.set()
    queue.put(1)
    gevent.spawn(gevent.sleep, 0.02).join()
    for call in (top.stop, top.start, top.snapshot, top.wait, lambda: top.emit("x"),
                 lambda: top.adopt(Service()), lambda: top.call_from_thread(int)):
        try:
            call()
            say("NO ERROR")
        except AfterFork as error:
            assert str(parent) in str(error)
    with Supervisor([Service()]) as own:
        gevent.sleep(0.01)
        say("own tree", own.snapshot().state.value)
    say(subprocess.check_output(["echo", "a program"]).decode().strip())

def ends_with(pid):
    # gevent's own waitpid does not always come back: a child of os.fork that makes its loop
    # anew can take the news of its parent's dead children.
    return os.waitstatus_to_exitcode(get_original("os", "waitpid")(pid, 0)[1])

class Forks(Service, restart="temporary"):
    def run(self):
        body(self)

top = Supervisor([Ticker()], name="top")
with own_greenlets(), top:
    gevent.sleep(0.03)
"""

BODIES = {
    "os.fork": """
    def body(self):
        pid = os.fork()
        if pid == 0:
            in_the_child()
            os._exit(7)
        say("exit", ends_with(pid))
    """,
    "returns": """
    def body(self):
        pid = os.fork()
        if pid == 0:
            in_the_child()
            return
        say("exit", ends_with(pid) + 7)
    """,
    "sys.exit": """
    def body(self):
        pid = os.fork()
        if pid == 0:
            in_the_child()
            sys.exit(7)
        say("exit", ends_with(pid))
    """,
    "multiprocessing": """
    def body(self):
        child = multiprocessing.get_context("fork").Process(target=in_the_child)
        child.start()
        while child.is_alive():
            gevent.sleep(0.01)
        say("exit", child.exitcode + 7)
    """,
}

IN_RUN = "    top.adopt(Forks()).wait()\n    gevent.sleep(0)\n"
IN_ON_START = (
    "    Forks.on_start, Forks.run = Forks.run, lambda self: None\n    top.adopt(Forks())\n"
)
IN_TIMER = """
    Forks.run = lambda self: gevent.sleep(60)
    forks = top.adopt(Forks())
    forks.timeout(lambda: (body(forks), forks.finish()), 0)
    forks.wait()
"""
IN_MAIN = "    body(None)\n"
IN_BARE = "    gevent.spawn(body, None).join()\n"

PLACES = {"run": IN_RUN, "on_start": IN_ON_START, "timer": IN_TIMER, "bare": IN_BARE}


def outcome(script: str, *arguments: str) -> tuple[int, list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


WELL = ["own tree running", "a program", "exit 7", "end"]


@pytest.mark.slow
@pytest.mark.parametrize("patched", [False, True], ids=["plain", "patched"])
@pytest.mark.parametrize("how", list(BODIES))
def test_no_service_runs_in_a_child_however_it_is_forked(how: str, patched: bool) -> None:
    script = HEAD + textwrap.indent(textwrap.dedent(BODIES[how]), "    ") + IN_RUN + 'say("end")\n'
    assert outcome(script, *["patched"] * patched) == (0, WELL, "")


@pytest.mark.slow
@pytest.mark.parametrize("where", [each for each in PLACES if each != "run"])
def test_nor_wherever_it_is_forked(where: str) -> None:
    body = BODIES["returns"]
    assert outcome(
        HEAD + textwrap.indent(textwrap.dedent(body), "    ") + PLACES[where] + 'say("end")\n'
    ) == (0, WELL, "")


@pytest.mark.slow
def test_a_child_of_the_main_greenlet_leaves_the_block_of_the_tree_quietly() -> None:
    body = BODIES["sys.exit"]
    assert outcome(
        HEAD + textwrap.indent(textwrap.dedent(body), "    ") + IN_MAIN + 'say("end")\n'
    ) == (0, WELL, "")


@pytest.mark.slow
def test_an_exception_in_the_child_is_shown_and_is_not_the_services_crash() -> None:
    body = """
    def body(self):
        pid = os.fork()
        if pid == 0:
            raise ValueError("in the child")
        say("exit", ends_with(pid))
        say(top.snapshot().children[0].failures)
    """
    script = HEAD + textwrap.indent(textwrap.dedent(body), "    ") + IN_RUN + 'say("end")\n'
    code, said, error = outcome(script)
    assert (code, said) == (0, ["exit 1", "()", "end"])
    assert error.count("ValueError: in the child") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("return orders", "NameError: name 'orders' is not defined"),
        ("raise Odd('in the child')", "Odd: in the child"),
    ],
)
def test_an_exception_in_the_child_that_cannot_be_looked_at_ends_it_like_any(
    fails: str, told: str
) -> None:
    body = f"""
    Odd = type("Odd", (Exception,), {{"__cause__": property(lambda self: {{}}["cause"])}})
    Forks.orders = property(lambda self: {{}}["orders"])  # where Python looks for what was meant
    def body(self):
        pid = os.fork()
        if pid == 0:
            {fails}
        say("exit", ends_with(pid))
    """
    script = HEAD + textwrap.indent(textwrap.dedent(body), "    ") + IN_RUN + 'say("end")\n'
    code, said, error = outcome(script)
    assert (code, said) == (0, ["exit 1", "end"])
    assert told in error
    assert "KeyError" not in error


@pytest.mark.slow
def test_a_child_of_another_thread_only_learns_that_the_tree_is_elsewhere() -> None:
    # Python 3.12 and later warn of a fork beside threads.
    body = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    def body(self):
        pid = os.fork()
        if pid == 0:
            try:
                top.stop()
            except AfterFork:
                os._exit(7)
            os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    say("exit", gevent.get_hub().threadpool.apply(body, (None,)))
    """
    assert outcome(HEAD + textwrap.indent(textwrap.dedent(body), "    ") + 'say("end")\n') == (
        0,
        ["exit 7", "end"],
        "",
    )


@pytest.mark.slow
@pytest.mark.parametrize("patched", [False, True], ids=["plain", "patched"])
def test_programs_can_be_run_from_a_service(patched: bool) -> None:
    body = """
    def body(self):
        for run in (subprocess.check_output, gevent.subprocess.check_output):
            say(run(["echo", "a program"]).decode().strip())
    """
    script = HEAD + textwrap.indent(textwrap.dedent(body), "    ") + IN_RUN + 'say("end")\n'
    assert outcome(script, *["patched"] * patched) == (0, ["a program", "a program", "end"], "")


@pytest.mark.slow
def test_a_tree_made_before_the_fork_and_not_started_runs_in_the_child() -> None:
    script = """
import gevent, os
from sprag import *
top = Supervisor([Service()])
with Supervisor([Service()]):
    pass
pid = os.fork()
with top:
    gevent.sleep(0.01)
    assert top.snapshot().state is State.RUNNING
if pid:
    print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert outcome(script) == (0, ["exit 0"], "")


@pytest.mark.slow
def test_listeners_that_raise_in_a_child_forked_by_another_do_so_as_ever() -> None:
    script = """
    def fork(_data):
        pids.append(os.fork())
        raise ValueError

    def fail(_data):
        raise ValueError

    pids = []
    for listener in (fork, fail, fail):
        top.adopt(Service()).listen("go", listener)
    try:
        top.emit("go")
    except BaseException as error:
        say(repr(error))
    if pids == [0]:
        os._exit(7)
    say("exit", ends_with(pids[0]))
"""
    code, lines, errors = outcome(HEAD + script)
    assert (code, lines) == (0, ["exit 7"]), errors
