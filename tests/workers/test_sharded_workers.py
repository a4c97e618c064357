"""What is sharded, and what is published, in real processes of which one is killed."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from processes import app, run
from sprag._exit_codes import ExitCode
from workers.working import Work

if TYPE_CHECKING:
    from pathlib import Path

APP = """
    import gevent
    from sprag import Sharded

    class Shard(Service):
        def __init__(self, partition):
            self.partition = partition

        def run(self):
            file = f"{self.partition}/work"
            told = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            while True:
                os.write(told, f"{time.monotonic()} {os.getpid()} {self.lease.token}\\n".encode())
                gevent.sleep(0.05)

    class Intake(Service):
        def on_start(self):
            self.subscribe("sold", self.sold, group="intake")
            self.interval(self.sell, 0.05)
            self.count = 0

        def sell(self):
            self.count += 1
            said = f"{os.getpid()}-{self.count}"
            self.publish("sold", said)
            self.write("published", said)

        def sold(self, said):
            self.write("heard", said)

        def write(self, file, said):
            told = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(told, f"{said}\\n".encode())
            os.close(told)

    app = App(name="shop", providers={"shards": Sharded(Shard, partitions=8), "intake": Intake()})
"""
PARTITIONS = 8


@pytest.mark.slow
def test_of_a_worker_that_is_killed_others_run_the_partitions_and_hear_the_events(
    tmp_path: Path,
) -> None:
    app(tmp_path, APP)
    works: list[Work] = []
    for each in range(PARTITIONS):
        (tmp_path / str(each)).mkdir()
        works.append(Work(tmp_path / str(each)))
    with run(tmp_path, "--workers", "3", "--name", "shop") as process:
        process.says('"event": "up"', times=4)
        for work in works:
            work.owner()
        works[0].ends(signal.SIGKILL, 0.1)
        for work in works:
            work.owner()
        time.sleep(1)
        process.send(signal.SIGTERM)
        assert process.ends() == ExitCode.STOPPED
        assert "Traceback" not in process.err
    for work in works:
        work.check()
    published, heard = ((tmp_path / name).read_text().split() for name in ("published", "heard"))
    kept = set(heard)
    assert len(kept) > 10
    # Of each who published, nothing is missing before the last that was heard.
    for pid in {said.partition("-")[0] for said in published}:
        numbers = [int(said.partition("-")[2]) for said in kept if said.startswith(f"{pid}-")]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
