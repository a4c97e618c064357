"""Pretends to write a mail for each order."""

from sprag import Service


class EmailService(Service):
    def __init__(self, api_key):
        self.api_key = api_key

    def on_start(self):
        self.sent = 0
        self.listen("order:completed", self._write)

    def _write(self, _order):
        self.sent += 1
