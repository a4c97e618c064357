"""Jobs from a list in Redis, in order, none of them lost: `sprag run redis_consumer:app`."""

import redis

from sprag import App, Backoff, Service


class Consumer(Service, backoff=Backoff(1.0, maximum=30.0), retry_start=True):
    """What is being done lies in a list of its own, and is done again if we crash meanwhile.

    A Redis that is away, now or at the start, is asked again later and later.
    """

    def __init__(self, handle, connect=redis.Redis, queue="jobs"):
        self.handle = handle
        self.connect = connect
        self.queue, self.taken = queue, f"{queue}:taken"

    def on_start(self):
        self.redis = self.connect()
        self.add_cleanup(self.redis.close)
        while self.redis.lmove(self.taken, self.queue, "RIGHT", "LEFT"):
            pass  # back to where it was, in its order

    def run(self):
        while True:
            job = self.redis.blmove(self.queue, self.taken, 5, "LEFT", "RIGHT")
            if job is not None:  # else there was none for five seconds
                self.handle(job)
                self.redis.lrem(self.taken, 1, job)


app = App(name="jobs", providers={"consumer": Consumer(print)})
