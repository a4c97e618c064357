"""The same without sprag: gevent's pywsgi, Werkzeug's routing, request and response.

`python -m served.bare PORT [--no-log]`

pywsgi sends the head of an answer and its body apart, and the kernel holds back the second until
the client has confirmed the first: 40 ms for each request. One option of the socket spares bare
pywsgi that, so that work is compared with work.
"""

# ruff: noqa: E402 - patched before anything is imported, as `sprag run` does

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from gevent import socket
from gevent.pywsgi import WSGIServer
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from . import work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

seen = 0


def order(_request: Request, number: int) -> dict[str, object]:
    global seen
    seen += 1
    return {"order": work.order(number), "seen": seen}


def usage(_request: Request) -> dict[str, object]:
    return {"cpu": time.process_time(), "crashes": 0}


RULES = Map([Rule("/orders/<int:number>", endpoint=order), Rule("/usage", endpoint=usage)])


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    request = Request(environ)
    try:
        answer, variables = RULES.bind_to_environ(environ).match()
        text = json.dumps(answer(request, **variables))
        response: Any = Response(text, mimetype="application/json")
    except HTTPException as error:
        response = error.get_response(environ)
    chunks: Iterable[bytes] = response(environ, start_response)
    return chunks


if __name__ == "__main__":
    log = None if "--no-log" in sys.argv else "default"
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen(1024)
    WSGIServer(listener, application, log=log).serve_forever()
