"""A Flask app that uses the services of its own process."""

import os

from background import tree
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {
        "process": os.getpid(),
        "polls": tree.service("poller").polls,
        "orders": len(tree.service("orders").seen),
    }


@app.post("/orders/<name>")
def order(name):
    tree.emit("order", name)
    return {"process": os.getpid()}, 202


@app.get("/readyz")
def ready():
    missing = tree.not_ready()
    return {path: lack.state.value for path, lack in missing.items()}, 503 if missing else 200
