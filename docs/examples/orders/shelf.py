"""A bounded queue, owned by a service and lent to others."""

from contextlib import contextmanager

from gevent.queue import Queue

from sprag import Service


class Shelf(Service):
    """Where orders wait, with a limited number of places.

    An order keeps its place while somebody works on it. So a shelf never holds more than it has
    places for, and an order that comes back finds its place still free.
    """

    def __init__(self, places):
        self._free = Queue(items=range(places))
        self._orders = Queue()

    def on_start(self):
        # When the shelf itself goes down, those who wait at it get an exception instead of
        # waiting for ever. They crash, are restarted, and wait at the new one.
        self.add_cleanup(self._free.shutdown)
        self.add_cleanup(self._orders.shutdown)

    def on_stop(self):
        # A shelf that is restarted begins empty. When all stops, the ledger has counted already
        # what is left, and hears nothing of this.
        for order in self.waiting():
            self.emit("order:dropped", order)

    def put(self, order):
        """Put an order on the shelf. Waits while it is full, which slows down those who fill it."""
        self._free.get()
        self._orders.put(order)

    @contextmanager
    def take(self):
        """Lend the next order to a `with` block, whose end says what becomes of it."""
        order = self._orders.get()
        try:
            yield order
        except Exception:
            # The block has crashed over this order, and the next one would, too: drop it.
            self._free.put(None)
            self.emit("order:dropped", order)
            raise
        except BaseException:
            # The block was killed: its service is stopped, or restarted because of another.
            # That is not the order's fault, so it goes back.
            self._orders.put(order)
            raise
        else:
            self._free.put(None)

    def waiting(self):
        return list(self._orders.queue)
