"""A client of the shop, built in so that there is something to see."""

from gevent import sleep
from gevent.socket import create_connection

from sprag import Service


class Client(Service, restart="transient", needs=("intake",)):
    """Orders everything in a file, line by line, and is done.

    Transient: back after a crash, but not when `run` has returned. A restart, too, waits until
    the intake is there.
    """

    def __init__(self, path, pace):
        self._path = path
        self._pace = pace

    def run(self):
        address = ("127.0.0.1", self.service("intake").port)
        orders = list(self._not_yet_ordered())
        with create_connection(address) as connection, connection.makefile("rb") as answers:
            for number, line in enumerate(orders, 1):
                self.set_status(f"{number} of {len(orders)}")
                connection.sendall(f"{line}\n".encode())
                answer = answers.readline().decode().strip()
                if not answer:
                    raise ConnectionError("the intake has hung up")
                if not answer.startswith("ok"):
                    self.log.info("orders no more", answer=answer)
                    return
                sleep(self._pace)
        self.log.info("all is ordered")

    def _not_yet_ordered(self):
        # A restarted service begins in its first state. How far it had come before, it asks
        # somebody who was not restarted.
        ledger = self.service("ledger")
        for line in self._path.read_text(encoding="utf-8").splitlines():
            if not ledger.knows(line.partition(",")[0]):
                yield line
