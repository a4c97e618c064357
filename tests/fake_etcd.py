"""An etcd that is none: its JSON gateway, as far as its engine asks it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from fake_server import Client, FakeServer

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeEtcd(FakeServer):
    """An etcd.

    Attributes:
        keys: What it keeps.
        revision: How often something was changed.
        alarms: Those that are raised.
        password: Who asks has to give it; None: nobody has to.
        token: What it then gives, and takes.
    """

    scheme = "etcd"

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[bytes, bytes] = {}
        self.revision = 1
        self.cluster_id = 255
        self.alarms: list[str] = []
        self.password: str | None = None
        self.token = "first"
        self._watches: list[tuple[bytes, bytes, Client]] = []

    def serve(self, client: Client) -> None:
        while True:
            path = client.line().split()[1].decode().removeprefix("/v3/")
            headers: dict[str, str] = {}
            while line := client.line().decode():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = client.read(int(headers["content-length"]))
            refused = self.refusal(path)
            if refused is None and not self._may_ask(path, headers):
                refused = "etcdserver: invalid auth token"
            if refused is not None:
                client.send(_response({"message": refused}, "400 Bad Request"))
                continue
            if path == "watch":
                client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                self._watch(client, body)
                continue
            self.say(client, self._answer(path, json.loads(body)))

    def _may_ask(self, path: str, headers: Mapping[str, str]) -> bool:
        if self.password is None or path == "auth/authenticate":
            return True
        return headers.get("authorization") == self.token

    def _answer(self, path: str, given: Any) -> bytes:
        if path == "auth/authenticate":
            if given["password"] != self.password:
                return _response({"error": "authentication failed"}, "400 Bad Request")
            return _response({"token": self.token})
        if path == "maintenance/alarm":
            return _response({"alarms": [{"alarm": each} for each in self.alarms]})
        if path == "kv/range":
            return _response(self._range(given))
        return _response(self._txn(given))

    def _txn(self, given: Any) -> Any:
        is_so = all(self._holds(each) for each in given["compare"])
        done = [self._do(each) for each in given["success" if is_so else "failure"]]
        header = {"cluster_id": str(self.cluster_id), "revision": str(self.revision)}
        return {"header": header, "responses": done, **({"succeeded": True} if is_so else {})}

    def _holds(self, compare: Any) -> bool:
        kept = self.keys.get(b64decode(compare["key"]))
        if compare["target"] == "VERSION":
            return kept is None
        return kept == b64decode(compare["value"])

    def _do(self, request: Any) -> Any:
        ((kind, given),) = request.items()
        if kind == "request_range":
            return {"response_range": self._range(given)}
        key = b64decode(given["key"])
        if kind == "request_put":
            self._set(key, b64decode(given["value"]))
            return {"response_put": {}}
        for each in self._between(given):
            self._set(each, None)
        return {"response_delete_range": {}}

    def _between(self, given: Any) -> list[bytes]:
        begin = b64decode(given["key"])
        if "range_end" not in given:
            return [begin] if begin in self.keys else []
        return sorted(key for key in self.keys if begin <= key < b64decode(given["range_end"]))

    def _range(self, given: Any) -> Any:
        found = self._between(given)
        if given.get("count_only"):
            return {"count": str(len(found))}
        kept = [{"key": _text(key), "value": _text(self.keys[key])} for key in found]
        if given.get("keys_only"):
            kept = [{"key": each["key"]} for each in kept]
        limit = given.get("limit", len(kept))
        return {"kvs": kept[:limit]} if kept else {}  # what is empty is left out

    def _set(self, key: bytes, value: bytes | None) -> None:
        self.revision += 1
        if value is None:
            self.keys.pop(key, None)
        else:
            self.keys[key] = value
        for begin, end, client in self._watches:
            if begin <= key < end:
                _stream(client, {"result": {"events": [{"kv": {"key": _text(key)}}]}})

    def _watch(self, client: Client, body: bytes) -> None:
        for line in body.splitlines():
            wanted = json.loads(line)["create_request"]
            begin, end = b64decode(wanted["key"]), b64decode(wanted["range_end"])
            self._watches.append((begin, end, client))
            _stream(client, {"result": {"created": True}})

    def tell(self, said: Any) -> None:
        """Say something to all who watch."""
        for client in {each[2]: None for each in self._watches}:
            _stream(client, said)


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _response(said: Any, status: str = "200 OK") -> bytes:
    body = json.dumps(said).encode()
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


def _stream(client: Client, said: Any) -> None:
    line = json.dumps(said).encode() + b"\n"
    client.send(b"%x\r\n%b\r\n" % (len(line), line))
