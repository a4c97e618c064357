"""A service beside the programs: it writes orders into the database."""

from redis import Redis

from sprag import Service


class Feeder(Service):
    """Puts an order into the database ten times a second."""

    def __init__(self, port: int) -> None:
        self.port = port

    def on_start(self) -> None:
        self.redis = Redis(self.port)
        self.add_cleanup(self.redis.close)
        self.interval(self.feed, 0.1)

    def feed(self) -> None:
        """Put one there. That the database is gone is a crash: it is restarted with it."""
        self.redis.ask("INCR", "orders")
