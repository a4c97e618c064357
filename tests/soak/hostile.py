"""Clients that mean no good, in a process of their own: `hostile.py SOCKET SEED`.

They send rubbish, stop in the middle, never read, and hang up, until the process is killed.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from contextlib import suppress


def request(choices: random.Random) -> bytes:
    """Return something like a request."""
    path = choices.choice(
        ["/v1/tree", "/v1/stacks", "/v1/top", "/v1/events", "/v9", "/" + "x" * 9000]
    )
    method = choices.choice(["GET", "POST", "BREW", "GET GET", ""])
    text = f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    match choices.randrange(6):
        case 0:
            return choices.randbytes(choices.randrange(1, 5000))
        case 1:
            return text[: choices.randrange(len(text))]
        case 2:
            return text[:-2] + b"A: b\r\n" * choices.randrange(300)
        case _:
            return text


def pester(path: str, choices: random.Random) -> None:
    """Connect, behave badly, go; again and again."""
    while True:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(2.0)
            client.connect(path)
            client.sendall(request(choices))
            behaviour = choices.randrange(4)
            if behaviour == 0:
                client.shutdown(socket.SHUT_WR)
            elif behaviour == 1:
                time.sleep(choices.random())
                continue
            elif behaviour == 2:
                client.recv(choices.randrange(1, 5000))
                continue
            while client.recv(65536):
                pass
        time.sleep(0.05)


if __name__ == "__main__":
    for number in range(4):
        seeded = random.Random(f"{sys.argv[2]}-{number}")
        threading.Thread(target=pester, args=(sys.argv[1], seeded), daemon=True).start()
    time.sleep(86400)
