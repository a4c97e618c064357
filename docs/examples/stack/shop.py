"""The web application, served by gunicorn: how many orders there are."""

import os
from collections.abc import Callable, Iterable

from redis import Redis


def wsgi(environ: dict[str, str], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer ``/`` with the number of orders, ``/healthz`` with whether the database is there."""
    redis = Redis(int(os.environ["DB_PORT"]))
    try:
        is_asked = environ["PATH_INFO"] == "/healthz"
        answer = redis.ask("PING") if is_asked else redis.ask("INCRBY", "orders", "0")
    finally:
        redis.close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{answer}\n".encode()]
