"""The app under load: one of its services crashes every second."""

from __future__ import annotations

from sprag import App, Service


class Counter(Service):
    """Counts requests, and crashes a second after each start: it begins again at 0."""

    def __init__(self) -> None:
        self.seen = 0

    def on_start(self) -> None:
        self.timeout(self._crash, 1.0)

    def _crash(self) -> None:
        raise ValueError("as every second")

    def count(self) -> int:
        self.seen += 1
        return self.seen


app = App(
    name="shop",
    routes=f"{__name__}.routes",
    providers={"counter": Counter()},
    max_restarts=10,  # in 5 seconds: twice as often as it crashes
)
