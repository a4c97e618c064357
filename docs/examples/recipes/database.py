"""A pool of connections, and those who use it: they begin anew with it, and it not with them.

A connection that breaks is the pool's crash as well: all are made anew, once the database is there.
"""

import sqlite3
from contextlib import contextmanager

from gevent.queue import Queue

from sprag import App, Backoff, Service

BROKEN = sqlite3.OperationalError  # what your driver raises when a connection is gone


class Pool(Service, backoff=Backoff(1.0, maximum=30.0)):
    """So many connections, lent to one at a time."""

    def __init__(self, connect, size=4):
        self.connect = connect
        self.size = size

    def on_start(self):
        self.free = Queue()
        for _ in range(self.size):
            connection = self.connect()
            self.add_cleanup(connection.close)
            self.free.put(connection)
        self.probe(self.ask, every=10, timeout=2, failures=3)

    def ask(self):
        with self.lent() as connection:
            connection.execute("SELECT 1")

    @contextmanager
    def lent(self):
        connection = self.free.get()  # waits while all are lent
        try:
            with connection:  # commits, or rolls back
                yield connection
        except BROKEN as error:
            self.spawn(self.crash, error)  # here it would be a crash of who asks, and no other
            raise
        finally:
            self.free.put(connection)

    def crash(self, error):
        raise error


class Counting(Service, backoff=Backoff(1.0, maximum=30.0)):
    """One of its users. It holds what it has from the pool, so it must not outlive it."""

    def __init__(self, table):
        self.table = table

    def on_start(self):
        self.pool = self.service("pool", Pool)
        with self.pool.lent() as connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {self.table} (at INTEGER)")
        self.interval(self.count, 60)

    def count(self):
        with self.pool.lent() as connection:
            connection.execute(f"INSERT INTO {self.table} VALUES (1)")


def shop(connect):
    """Return the app; with `rest_for_one`, who comes after what has crashed restarts with it.

    An outage begins with a crash of each who asks, and of the pool; the limit leaves room for them.
    """
    return App(
        name="shop",
        strategy="rest_for_one",
        max_restarts=8,
        max_seconds=30,
        providers={"pool": Pool(connect), "orders": Counting("orders"), "mails": Counting("mails")},
    )


app = shop(lambda: sqlite3.connect("shop.db"))
