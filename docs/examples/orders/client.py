"""A client of the shop, built in so that there is something to see."""

from gevent import sleep
from gevent.socket import create_connection

from sprag import Backoff, Service


class Client(Service, restart="transient", backoff=Backoff(initial=1.0)):
    """Orders everything in a file, line by line, and is done.

    Transient: back after a crash, but not when `run` has returned. If the intake is down, the
    backoff keeps it from using up the app's restarts while it waits for the intake to come back.
    """

    def __init__(self, path, pace):
        self._path = path
        self._pace = pace

    def run(self):
        address = ("127.0.0.1", self.service("intake").port)
        with create_connection(address) as connection, connection.makefile("rb") as answers:
            for line in self._not_yet_ordered():
                connection.sendall(f"{line}\n".encode())
                if not answers.readline():
                    raise ConnectionError("the intake has hung up")
                sleep(self._pace)
        self.log.info("all is ordered")

    def _not_yet_ordered(self):
        # A restarted service begins in its first state. How far it had come before, it asks
        # somebody who was not restarted.
        ledger = self.service("ledger")
        for line in self._path.read_text(encoding="utf-8").splitlines():
            if not ledger.knows(line.partition(",")[0]):
                yield line
