"""As much of a Redis client as this example needs."""

import socket


class Redis:
    """One connection. It blocks as its socket does: under gevent that holds nobody up."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=2)
        self._answers = self._socket.makefile("rb")

    def ask(self, *words: str) -> str:
        """Send a command; return its answer, which is one line: a word or a number."""
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        self._socket.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        answer = self._answers.readline().decode().strip()
        if not answer or answer.startswith("-"):
            raise ConnectionError(answer or "the database has hung up")
        return answer[1:]

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._socket.close()
