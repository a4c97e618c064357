"""A database, a web server and a service that feeds both: what depends restarts together."""

import os
import sys

from feeder import Feeder

from sprag import App, Backoff, Program
from sprag.programs import Http, Line

DB_PORT = int(os.environ.get("DB_PORT", "6390"))
WEB_PORT = int(os.environ.get("WEB_PORT", "8010"))

db = Program(
    ["redis-server", "--port", str(DB_PORT), "--bind", "127.0.0.1", "--save", ""],
    ready=Line("Ready to accept connections"),
    backoff=Backoff(initial=1.0),
)
web = Program(
    [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{WEB_PORT}", "shop:wsgi"],
    env={"DB_PORT": str(DB_PORT)},
    port=WEB_PORT,
    ready=Http("/healthz"),
    alive=Http("/healthz", every=1.0),
    needs=("db",),
)

app = App(
    name="stack",
    strategy="rest_for_one",
    providers={"db": db, "web": web, "feeder": (Feeder(DB_PORT), {"needs": ("db",)})},
)
