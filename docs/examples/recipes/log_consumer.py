"""A log in partitions, as Kafka has: each is read in its order, and its place is kept."""

from collections import deque

import gevent

from sprag import App, Backoff, Service, Supervisor


class Partition(Service, backoff=Backoff(0.5, maximum=60.0)):
    """Reads one partition from where it was; a record that crashes it holds up no other one."""

    def __init__(self, log, number, handle):
        self.log_of_records = log
        self.number = number
        self.handle = handle

    def run(self):
        at = self.log_of_records.committed(self.number)
        while True:
            for record in self.log_of_records.read(self.number, at):
                self.handle(record)
                at += 1
                self.log_of_records.commit(self.number, at)
                self.set_status(f"{at} done")


def consumers(log, handle):
    """Return a consumer for each partition, with a limit of its own for each."""
    each = [Partition(log, number, handle) for number in range(log.partitions)]
    return Supervisor([(one, {"name": f"p{one.number}"}) for one in each], max_restarts=20)


class MemoryLog:
    """Stands for the client. One that waits in C does so in the pool of threads of gevent:

    ``gevent.get_hub().threadpool.apply(consumer.poll, (1.0,))``
    """

    def __init__(self, partitions):
        self.partitions = partitions
        self._records = [deque() for _ in range(partitions)]
        self._committed = [0] * partitions

    def append(self, number, record):
        self._records[number].append(record)

    def committed(self, number):
        return self._committed[number]

    def commit(self, number, at):
        self._committed[number] = at

    def read(self, number, at):
        gevent.sleep(0.1)
        return list(self._records[number])[at:]


app = App(name="log", providers={"consumers": consumers(MemoryLog(4), print)})
