"""The controllers of the app under load."""

from __future__ import annotations

import time

from sprag import Controller

from .. import work  # noqa: TID252 - whatever the folder around is called


class OrderController(Controller):
    route = "/orders/<int:number>"

    def load(self, number: int) -> dict[str, object]:
        return {"order": work.order(number), "seen": self.service("counter").count()}


class UsageController(Controller):
    route = "/usage"

    def load(self) -> dict[str, object]:
        restarts = self.service("counter").snapshot().restarts
        return {"cpu": time.process_time(), "crashes": restarts}
