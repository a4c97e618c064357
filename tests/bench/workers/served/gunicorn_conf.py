"""gunicorn as its users run it: a tree in each worker, as the guide of sprag says."""

from __future__ import annotations

from importlib import import_module
from typing import Any

worker_class = "gevent"
graceful_timeout = 30
backlog = 1024
loglevel = "warning"


def post_worker_init(_worker: Any) -> None:
    import_module("served.shop").app.start()  # not before: the worker has patched by now


def worker_exit(_server: Any, _worker: Any) -> None:
    import_module("served.shop").app.stop(timeout=20)
