"""Orders come in over TCP, one per line."""

import os

from gevent.server import StreamServer
from order import Order

from sprag import Service
from sprag.exceptions import NotRunning

LONGEST_LINE = 1000


class Intake(Service, needs=("packing",), retry_start=True):
    """Answers each line `id,item,quantity,price` with `ok ID` once the order waits to be packed.

    If its port is taken, the shop comes up without it, and it tries again.
    """

    def __init__(self, port):
        self._wanted_port = port

    def on_start(self):
        # spawn=self.spawn: each connection gets a greenlet that belongs to this service, is
        # counted in `sprag tree`, and is killed when the service ends, which hangs up.
        address = ("127.0.0.1", self._wanted_port)
        self._server = StreamServer(address, self._converse, spawn=self.spawn)
        try:
            self._server.start()
        except OSError as error:
            raise OSError(
                f"cannot listen on port {self._wanted_port} ({os.strerror(error.errno)}): "
                "give another one in ORDERS_PORT"
            ) from None
        self.add_cleanup(self._server.close)
        self.port = self._server.server_port
        self.log.info("intake is open", port=self.port)

    def on_drain(self):
        self._server.close()  # takes nobody new; who is connected is cut off at the very end

    def _converse(self, connection, _address):
        try:
            with connection.makefile("rb") as lines:
                while line := lines.readline(LONGEST_LINE):
                    answer = self._accept(line.decode(errors="replace"))
                    connection.sendall(f"{answer}\n".encode())
        except OSError as error:
            # Somebody hung up in the middle: their affair, and no crash of the intake.
            self.log.info("connection lost", reason=str(error))

    def _accept(self, line):
        try:
            order = Order.parse(line)
        except ValueError as error:
            return f"error {error}"
        try:
            task = self.service("packing").submit(order)  # waits while too many wait already
        except NotRunning:
            return "error the shop is closing"
        self.emit("order:accepted", {"id": order.id, "task": task})
        return f"ok {order.id}"
