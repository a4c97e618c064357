"""Flask under gunicorn, and Celery, as programs of one tree, with what is between them."""

from sprag import App, Backoff, Program, Service
from sprag.programs import Http

web = Program(
    "gunicorn web:app --bind 127.0.0.1:8000",
    ready=Http("/healthz", 8000),
    backoff=Backoff(1.0),
    fatal_codes=(3, 4),  # gunicorn's words for: a worker cannot boot, the app cannot be loaded
)
jobs = Program(
    "celery -A tasks worker --loglevel info",
    shutdown=15,  # for so long Celery may finish what it has begun
    backoff=Backoff(1.0),
)


class Feeder(Service, needs=("jobs",)):
    """Starts when Celery runs, and restarts with it; `send` is ``task.delay`` of yours."""

    def __init__(self, send):
        self.send = send

    def on_start(self):
        self.interval(self.send, 60)


def shop(send):
    return App(
        name="shop",
        strategy="rest_for_one",
        providers={"web": web, "jobs": jobs, "feeder": Feeder(send)},
    )


app = shop(lambda: print("tasks.tidy.delay()"))
