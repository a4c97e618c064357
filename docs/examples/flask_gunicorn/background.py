"""The work beside the web app: one tree per process, made here and started by whoever serves."""

import os

from sprag import App, Service


class Poller(Service):
    """Asks somebody for something every now and then."""

    def on_start(self):
        self.polls = 0
        self.interval(self.poll, 0.1, immediate=True)

    def on_stop(self):
        print(f"poller of process {os.getpid()}: goodbye after {self.polls} polls", flush=True)

    def poll(self):
        self.polls += 1


class Orders(Service):
    """Keeps what the requests hand over."""

    def on_start(self):
        self.seen = []
        self.listen("order", self.seen.append)


tree = App(name="background", providers={"poller": Poller(), "orders": Orders()})
