from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from sprag._exit_codes import ExitCode
from sprag_cli.app.client import AppGone, BadAnswer, Client, RunningApp, TimedOut
from sprag_cli.app.find import find_apps

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path


def client_of(path: Path, timeout: float = 10.0) -> Client:
    return Client(RunningApp("shop", 4242, str(path)), timeout=timeout)


def test_the_tree_is_fetched_over_the_socket(
    serve: Callable[..., Any], shop: dict[str, Any]
) -> None:
    app = serve(shop)
    assert client_of(app.path).tree() == shop
    assert app.requests == ["GET /v1/tree HTTP/1.1"]


def test_a_deep_tree_is_fetched(serve: Callable[..., Any]) -> None:
    body = b'{"name": "n", "state": "running", "children": [' * 1500 + b"]}" * 1500
    assert client_of(serve(body).path).tree()["name"] == "n"


def test_an_app_without_a_socket_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "shop.4242.sock"
    with pytest.raises(AppGone, match=r"shop \(pid 4242\) is gone: its socket does not exist"):
        client_of(path).tree()
    with pytest.raises(AppGone) as caught:
        client_of(path).tree()
    assert caught.value.exit_code == ExitCode.NOT_FOUND


def test_an_app_that_does_not_answer_in_time_is_named(serve: Callable[..., Any]) -> None:
    over = threading.Event()

    def hang(_handler: BaseHTTPRequestHandler) -> None:
        over.wait()

    app = serve(hang)
    try:
        with pytest.raises(TimedOut, match=r"did not answer in 0\.05 s .* --timeout") as caught:
            client_of(app.path, timeout=0.05).tree()
        assert caught.value.exit_code == ExitCode.TIMED_OUT
    finally:
        over.set()


def test_an_answer_that_comes_in_drops_is_late_as_a_whole(serve: Callable[..., Any]) -> None:
    over = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not over.wait(0.01):
            handler.wfile.write(b" ")

    app = serve(drip)
    try:
        with pytest.raises(TimedOut):
            client_of(app.path, timeout=0.1).tree()
    finally:
        over.set()


@pytest.mark.parametrize("length", ["1000", "4"])
def test_an_app_that_hangs_up_halfway_is_gone(serve: Callable[..., Any], length: str) -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        if length == "1000":
            handler.send_response(200)
            handler.send_header("Content-Length", length)
            handler.end_headers()
            handler.wfile.write(b'{"name": ')
        handler.close_connection = True

    with pytest.raises(AppGone, match="it hung up before it had answered"):
        client_of(serve(hang_up).path).tree()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"hello", "text that is not JSON"), ([1], "something else"), ({"name": 1}, "something else")],
)
def test_another_answer_than_a_tree_is_refused(
    serve: Callable[..., Any], answer: Any, reason: str
) -> None:
    with pytest.raises(BadAnswer, match=f"answered GET /v1/tree with {reason} — .* same version"):
        client_of(serve(answer).path).tree()


@pytest.mark.parametrize(
    ("answer", "reason"), [(b"hello", "text that is not JSON"), ([1], "something else")]
)
def test_a_bad_answer_names_what_was_asked(
    serve: Callable[..., Any], answer: Any, reason: str
) -> None:
    client = client_of(serve(answer).path)
    with pytest.raises(BadAnswer, match=f"answered POST /v1/stop/mail with {reason}"):
        client.ask("/v1/stop", "mail", method="POST")


def test_an_error_of_the_app_is_passed_on(serve: Callable[..., Any]) -> None:
    def broken(handler: BaseHTTPRequestHandler) -> None:
        handler.send_error(500)

    with pytest.raises(BadAnswer, match="with 500 Internal Server Error"):
        client_of(serve(broken).path).tree()


def test_an_app_too_busy_to_accept_is_there_but_late(runtime: Path) -> None:
    path = runtime / "shop.4242.sock"
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(os.fspath(path))
        listener.listen(0)
        while True:
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            try:
                waiting.connect(os.fspath(path))
            except BlockingIOError:
                break
        (app,) = find_apps(str(runtime)).apps
        with pytest.raises(TimedOut):
            Client(app, timeout=0.05).tree()


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(AppGone, match="too long"):
        client_of(tmp_path / ("x" * 120)).tree()


def raw(*pieces: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with these bytes, one write each, and hang up."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
        handler.close_connection = True

    return answer


def test_an_answer_without_a_length_ends_with_the_connection(serve: Callable[..., Any]) -> None:
    said = raw(b"HTTP/1.1 200 OK\r\nX: y\r", b'\n\r\n{"name": "a", ', b'"state": "running"}')
    assert client_of(serve(said).path).tree() == {"name": "a", "state": "running"}


def test_what_follows_an_answer_is_not_part_of_it(serve: Callable[..., Any]) -> None:
    said = raw(b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}{"b": 2}')
    assert client_of(serve(said).path).ask("/v1/why") == {"a": 1}


def test_who_speaks_something_else_than_http_is_told_of(serve: Callable[..., Any]) -> None:
    for said in (
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 fine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: much\r\n\r\n{}",
        b"x" * 100_000,
    ):
        with pytest.raises(BadAnswer, match="text that is not JSON"):
            client_of(serve(raw(said), name=f"app{len(said)}").path).tree()


def test_lines_of_a_stream_come_whole_however_they_are_cut(serve: Callable[..., Any]) -> None:
    said = raw(b'HTTP/1.1 200 OK\r\n\r\n{"a": 1}\n{"b', b'": 2}\n', b'7\n{"c"', b": ", b"3}")
    assert list(client_of(serve(said).path).stream("/v1/events")) == [{"a": 1}, {"b": 2}, {"c": 3}]
