"""Orders come in all by themselves, and now and then one that nobody can read."""

import itertools
import random
import time

import gevent

from sprag import Backoff, Service

THINGS = [("lamp", 39), ("kettle", 25), ("chair", 120), ("clock", 18), ("desk", 240)]


class Orders(Service, backoff=Backoff(initial=1.0)):
    numbers = itertools.count(1)  # the class's: it goes on after a crash

    def __init__(self, pace):
        self.pace = pace  # seconds between two orders

    def run(self):
        while True:
            gevent.sleep(self.pace * random.uniform(0.5, 1.5))
            number = next(self.numbers)
            if number % 40 == 0:
                raise ValueError(f"cannot read order {number}")
            thing, price = random.choice(THINGS)
            at = time.strftime("%H:%M:%S")
            order = {"number": number, "thing": thing, "price": price, "at": at}
            self.emit("order:completed", order)
