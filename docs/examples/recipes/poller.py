"""A page, asked once a minute, patiently while its server is ill: `sprag run poller:app`."""

import json
from urllib.request import urlopen

from sprag import App, Backoff, Service


def fetch(url):
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - the address is ours
        return json.load(answer)


class Poller(
    Service,
    # URLError, a timeout and a reset are OSErrors: worse each time, never given up.
    on_failure={OSError: Backoff(5.0, maximum=300.0)},
    max_restarts=float("inf"),
):
    """Tells what it has found as an event, so that it need not know who wants it."""

    def __init__(self, url, fetch=fetch):
        self.url = url
        self.fetch = fetch

    def on_start(self):
        self.interval(self.poll, 60, immediate=True, jitter=0.1)

    def poll(self):
        self.emit("weather", self.fetch(self.url))


class Display(Service):
    def on_start(self):
        self.last = None
        self.listen("weather", self.show)

    def show(self, weather):
        self.last = weather
        self.set_status(f"{weather['degrees']} °C")


app = App(
    name="weather",
    providers={"display": Display(), "poller": Poller("http://127.0.0.1:8000/weather.json")},
)
