"""The recipes of docs/guides/queues.md, as they stand there, on real servers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Server

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "queues.md"
PATCHED = """
from gevent import monkey
monkey.patch_all()
"""
STORY = """
import sys, time
import gevent
from gevent.event import Event
from sprag import App

hangs, done, url = Event(), [], sys.argv[1]

def until(expected):
    with gevent.Timeout(20):
        while sorted(done) != expected:
            gevent.sleep(0.01)
"""
STREAMS = """
class First(Consumer):
    def do(self, task):
        hangs.set()
        gevent.sleep(100)

class Second(Consumer):
    seconds = 0.05
    def do(self, task):
        done.append(task[b"number"])

with redis.Redis.from_url(url) as db:
    for number in range(3):
        db.xadd("orders", {"number": number})
first = App(name="a", providers={"first": First(url, "first")})
first.start()
assert hangs.wait(20)
first.stop(0.1)
with App(name="b", providers={"second": Second(url, "second")}) as app:
    until([b"0", b"1", b"2"])
    began = time.monotonic()
assert time.monotonic() - began < 5  # it takes no more, and is not killed
"""
LOCKED = """
class First(Worker):
    def do(self, db, task):
        hangs.set()
        gevent.sleep(100)

class Second(Worker):
    def do(self, db, task):
        done.append(task)

with psycopg.connect(url, autocommit=True) as db:
    db.execute(TABLE)
    db.execute("insert into tasks (task) values ('a'), ('b')")
first = App(name="a", providers={"first": First(url)})
first.start()
assert hangs.wait(20)
with App(name="b", providers={"second": Second(url)}):
    until(["b"])  # the other one is taken
    first.stop(0.1)
    until(["a", "b"])
with psycopg.connect(url, autocommit=True) as db:
    db.execute("drop table tasks")
"""


def recipe(name: str) -> str:
    text = GUIDE.read_text(encoding="utf-8")
    (code,) = re.findall(rf'```python title="{name}\.py"\n(.*?)\n```', text, re.DOTALL)
    return str(code)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "server", "story"), [("streams", "redis", STREAMS), ("locked", "postgres", LOCKED)]
)
def test_a_task_whose_worker_was_killed_is_done_by_another(
    started: Callable[[str], Server], tmp_path: Path, name: str, server: str, story: str
) -> None:
    script = tmp_path / "story.py"
    script.write_text("\n".join([PATCHED, recipe(name), STORY, dedent(story)]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), started(server).url],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
