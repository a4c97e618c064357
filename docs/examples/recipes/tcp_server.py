"""A server of lines, whose connections are its own, and end with it: `sprag run tcp_server:app`."""

from gevent.server import StreamServer

from sprag import App, Service


class Echo(Service):
    """Each connection is a greenlet of this service: `sprag tree` counts it, a stop ends it."""

    def __init__(self, port):
        self.wanted = port

    def on_start(self):
        self.server = StreamServer(("127.0.0.1", self.wanted), self.converse, spawn=self.spawn)
        self.server.start()
        self.add_cleanup(self.server.close)
        self.port = self.server.server_port

    def on_drain(self):
        self.server.close()  # nobody new; who is connected may finish, until the end of the stop

    def converse(self, connection, _address):
        try:
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    connection.sendall(line.upper())
        except OSError as error:  # somebody has hung up: their affair, no crash of ours
            self.log.info("connection lost", reason=str(error))


app = App(name="echo", providers={"echo": Echo(7007)})
