"""Lines of proof for docs/comparison.md that one types, and what the shop answers."""

from __future__ import annotations

from typing import Final

SHOP: Final = """
class Metrics(Service):
    def on_start(self):
        self.set_status("counting")
        self.counted = 0
        self.interval(self.count, 0.1)
    def count(self):
        self.counted += 1
        self.emit("tick")

class Busy(Service):
    def on_start(self):
        gevent.sleep(0.05)
        self.listen("tick", lambda _: sum(range(400_000)))

class Courier(Service, backoff=Backoff(30.0)):
    def run(self):
        self.deliver()
    def deliver(self):
        gevent.sleep(0.1)
        raise ValueError("bad order 17")

class Intake(Service):
    def run(self):
        self.read()
    def read(self):
        gevent.sleep(600)
    def on_reload(self):
        gevent.sleep(0.1)

class Noisy(Service):
    def on_start(self):
        self.timeout(int, 0.3, "not a number")

noise = Supervisor([Noisy()], name="noise", max_restarts=1_000_000)
inner = Supervisor([Intake()], name="inner", max_restarts=20)
fleet = Supervisor([Courier(), inner], name="fleet", strategy="one_for_all", max_restarts=20)
providers = {"metrics": Metrics(), "busy": Busy(), "intake": Intake()}
app = App(name="shop", providers={**providers, "fleet": fleet, "noise": noise})
"""

ON_THE_COMMAND_LINE: Final[dict[str, tuple[str, str]]] = {
    "Wait until it is ready, from a script": ("sprag wait intake metrics", "ready"),
    "A picture of the tree": ("sprag tree", "● shop .*├─ ● fleet .*│  ├─ ↻ Courier .*bad order 17"),
    "Ask and act from another process": ("sprag restart metrics", "● shop/metrics restarted"),
    "Look into a living service": ("sprag inspect metrics", r"counted = \d+"),
    "Reload without a restart": ("sprag reload", r"shop/intake reloaded in \d+\.\d s"),
    "Where the time of a start went": (
        "sprag blame",
        r"\* +(0\.0[5-9]|0\.[1-9]\d|[1-9]\d*\.\d\d)\d +\d+\.\d+ +shop/busy",
    ),
    "Work done, for each": ("sprag top --once", r"shop/busy +\S+ +- +- +- +[1-9]"),
    "Why was it restarted?": (
        "sprag why fleet/Courier",
        "crashed .*bad order 17.*after .*backoff.*shop/fleet/inner.*restart 1 of at most 20",
    ),
    "A subscription that begins with the present": (
        "sprag events --limit 1",
        "9 services; now come the changes.*shop/noise/Noisy",
    ),
    "What each costs": ("sprag top --once", r"shop/busy +[1-9]\d*\.\d "),
}
