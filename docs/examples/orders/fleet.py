"""Those who do the work: a pool of packers, and a courier."""

from gevent import sleep

from sprag import Service


class Packer(Service):
    """Takes the next accepted order, packs it, and puts it on the shelf of packed ones."""

    def run(self):
        accepted, packed = self.service("accepted"), self.service("packed")
        while True:
            with accepted.take() as order:
                order.item.encode("ascii")  # all that the label printer can print
                sleep(0.2)
                packed.put(order)


class Courier(Service):
    """Delivers what is packed, and cashes in. Checks nothing: a bad order is a crash."""

    def run(self):
        packed = self.service("packed")
        while True:
            with packed.take() as order:
                cents = order.cents()
                sleep(0.05)
                self.log.info("delivered", order=order.id, item=order.item)
                self.emit("order:completed", {"id": order.id, "item": order.item, "cents": cents})
