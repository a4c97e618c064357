"""Those who do the work: a packer, of whom there are many, and a courier."""

from gevent import sleep

from sprag import Service, Worker


class Packer(Worker):
    """Packs an order and has it delivered. Checks nothing: a bad order is a crash."""

    def handle(self, order):
        order.item.encode("ascii")  # all that the label printer can print
        sleep(0.2)
        self.service("courier").deliver(order)


class Courier(Service):
    """Delivers what is packed, and cashes in. Starts at once, and is ready once it has the van."""

    def on_start(self):
        self.set_ready(False, "fetches the van")
        self.timeout(self.set_ready, 1.0)

    def deliver(self, order):
        # Runs in the packer's greenlet: a packer waits, and what is raised here is the packer's.
        cents = order.cents()
        sleep(0.05)
        self.log.info("delivered", order=order.id, item=order.item)
        self.emit("order:completed", {"id": order.id, "item": order.item, "cents": cents})
