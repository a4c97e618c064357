"""A request's body: what is read of it, what is refused, and that it holds nobody up."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException

from sprag._http_head import Head
from sprag.web._body import Body
from sprag.web._limits import Limits

SMALL = Limits(max_body=1000, max_head=200)


class Client:
    """Bytes that have all come, and an account of the turns that others had."""

    def __init__(self, sent: bytes) -> None:
        self.rfile = io.BufferedReader(io.BytesIO(sent))
        self.read_by = 0.0
        self.is_given_up = False
        self.turns = 0
        self.asked = 0

    def pace(self) -> None:
        self.turns += 1

    def go_on(self) -> None:
        self.asked += 1


def head(length: int | None = None, *, waits: bool = False) -> Head:
    return Head("POST", "/", "HTTP/1.1", {}, length, length is None, closes=False, waits=waits)


def chunked(sent: bytes, limits: Limits = SMALL) -> tuple[Body, Client]:
    client = Client(sent)
    return Body(client, head(), limits), client


def read(sent: bytes, limits: Limits = SMALL) -> bytes:
    return io.BufferedReader(chunked(sent, limits)[0]).read()


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"00000005\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        (b'2;a\r\nhe\r\n3 ; b = "c;\\"\r" ;d=e\r\nllo\r\n0;f\r\n\r\n', None),
        (b'2;a\r\nhe\r\n3 ; b = "c;\\" " ;d=e\r\nllo\r\n0;f\r\n\r\n', b"hello"),
        (b"2\r\n\r\n\r\n0\r\nX: y\r\nZ:\r\n\r\n", b"\r\n"),
    ],
)
def test_chunks_are_put_together(sent: bytes, body: bytes | None) -> None:
    following = b"GET / HTTP/1.1\r\n"
    one, client = chunked(sent + following)
    if body is None:
        with pytest.raises(HTTPException):
            io.BufferedReader(one).read()
        return
    assert io.BufferedReader(one).read() == body
    assert one.unread() == 0
    assert client.rfile.read() == following


@pytest.mark.parametrize(
    "line",
    [
        b"5\n",
        b"5\r",
        b"5\r\r\n",
        b"\r\n",
        b" 5\r\n",
        b"5 \r\n",
        b"\t5\r\n",
        b"+5\r\n",
        b"-5\r\n",
        b"0x5\r\n",
        b"5_0\r\n",
        b"5h\r\n",
        b"g\r\n",
        b"5,5\r\n",
        b"\xd9\xa5\r\n",
        b"5;\r\n",
        b"5;a=\r\n",
        b"5;=a\r\n",
        b"5;a b\r\n",
        b"5;a\nb\r\n",
        b"5;a\x00\r\n",
        b"5\x00\r\n",
        b"5;a\x0b\r\n",
        b"5;a\x1b[31m\r\n",
        b"5;a\x7f\r\n",
        b'5;a="b\r\n',
        b'5;a="b\nc"\r\n',
        b'5;a="b\x00c"\r\n',
        b"5;a\xff\r\n",
        b"0" * 16 + b"5\r\n",
        b"f" * 17 + b"\r\n",
    ],
)
def test_a_line_that_could_mean_two_things_is_refused(line: bytes) -> None:
    for sent in (line + b"hello\r\n0\r\n\r\n", b"1\r\nx\r\n" + line + b"hello\r\n0\r\n\r\n"):
        one, _ = chunked(sent)
        stream = io.BufferedReader(one)
        for _again in range(2):
            with pytest.raises(HTTPException) as caught:
                stream.read()
            assert caught.value.code == 400
        assert one.unread() > 0  # so that the connection closes


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"5\r\nhelloX\r\n0\r\n\r\n", 400),
        (b"5\r\nhello\n0\r\n\r\n", 400),
        (b"5\r\nhell", 400),
        (b"5\r\nhello\r\n", 400),
        (b"5\r\nhello\r\n0\r\n", 400),
        (b"0\r\nno colon\r\n\r\n", 400),
        (b"0\r\nX: y\n\r\n", 400),
        (b"0\r\nX : y\r\n\r\n", 400),
        (b"0\r\nX: y\r\n folded\r\n\r\n", 400),
        (b"0\r\nX: \x00\r\n\r\n", 400),
        (b"0\r\n: \r\n\r\n", 400),
        (b"0\r\n\n", 400),
        (b"3e9\r\n", 413),  # 1001: before any of it has come
        (b"ffffffffffffffff\r\n", 413),
        (b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n", 413),
        (b"1\r\nx\r\n" * 202, 413),
        (b"5;" + b"a" * 300 + b"\r\n", 431),
        (b"5;" + b"a" * 300, 431),
        (b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 7, 431),
        (b"0\r\n" + b"X: y\r\n" * 40 + b"\r\n", 431),
        (b"0\r\n" + b"X: " + b"y" * 300 + b"\r\n\r\n", 431),
        (b"0;aaaaaaaaaa\r\n" + b"X: " + b"y" * 190 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_malformed_or_too_much_is_refused_with_its_status(sent: bytes, status: int) -> None:
    with pytest.raises(HTTPException) as caught:
        read(sent)
    assert caught.value.code == status


def test_empty_trailers_are_counted_too() -> None:
    limits = Limits(max_body=1000, max_head=10_000)
    with pytest.raises(HTTPException) as caught:
        read(b"0\r\n" + b"X:\r\n" * 129 + b"\r\n", limits)
    assert caught.value.code == 431


def test_what_stands_between_small_chunks_is_part_of_the_limit() -> None:
    limits = Limits(max_body=1000, max_head=200)
    assert read(b"1\r\nx\r\n" * 150 + b"0\r\n\r\n", limits) == b"x" * 150
    sent = b"64\r\n" + b"x" * 100 + b"\r\n"
    assert len(read(sent * 10 + b"0\r\n\r\n", limits)) == 1000


def test_a_known_length_is_read_and_no_more() -> None:
    client = Client(b"helloGET")
    one = Body(client, head(5, waits=True), SMALL)
    assert one.unread() > 5  # nobody knows whether it comes
    stream = io.BufferedReader(one)
    assert (stream.read(2), one.unread()) == (b"he", 0)
    assert (stream.read(), stream.read(), client.rfile.read()) == (b"llo", b"", b"GET")
    assert client.asked == 1
    for sent, length, status in [(b"hell", 5, 400), (b"x" * 2000, 1001, 413)]:
        with pytest.raises(HTTPException) as caught:
            io.BufferedReader(Body(Client(sent), head(length), SMALL)).read()
        assert caught.value.code == status


def test_whoever_reads_and_however_the_others_get_their_turns() -> None:
    limits = Limits(max_body=1 << 20)
    lines = b"\n" * (1 << 20)

    def by_the_line(stream: io.BufferedReader[Any]) -> int:
        return sum(1 for _ in stream)

    def by_the_byte(stream: io.BufferedReader[Any]) -> int:
        return sum(1 for _ in iter(lambda: stream.read(1), b""))

    def at_once(stream: io.BufferedReader[Any]) -> int:
        return len(stream.read())

    for reading in (by_the_line, by_the_byte, at_once):
        client = Client(lines)
        stream = io.BufferedReader(Body(client, head(1 << 20), limits))
        assert reading(stream) == 1 << 20
        assert client.turns >= (1 << 20) // 8192
    one, client = chunked(b"1\r\n\n\r\n" * 150_000 + b"0\r\n\r\n", limits)
    assert by_the_line(io.BufferedReader(one)) == 150_000
    assert client.turns >= 150_000


def test_a_line_of_extensions_is_refused_in_no_time() -> None:
    limits = Limits(max_head=1 << 15)
    for filler in (b" ", b";a", b";a ", b";a=", b';a="', b';a="b"', b"\t", b';a="\\"', b"a=", b";"):
        line = b"5;a" + filler * ((1 << 15) // len(filler)) + b"\x00\r\n"
        began = time.process_time()
        with pytest.raises(HTTPException):
            read(line, limits)
        assert time.process_time() - began < 0.1


def test_a_read_that_was_cut_off_leaves_no_half_body() -> None:
    one, client = chunked(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")

    def cut() -> None:
        raise KeyboardInterrupt

    client.pace = cut  # type: ignore[method-assign]
    stream = io.BufferedReader(one)
    with pytest.raises(KeyboardInterrupt):
        stream.read()
    with pytest.raises(OSError, match="cut off"):
        stream.read()
    assert one.unread() > 0


@given(st.binary(max_size=200), st.integers(0, 30))
def test_no_bytes_do_more_than_to_be_refused(sent: bytes, size: int) -> None:
    for text in (sent, b"%x\r\n" % size + sent, b"0\r\n" + sent, b"1;" + sent + b"\r\nx\r\n"):
        try:
            body = read(text, SMALL)
        except HTTPException as error:
            assert error.code in {400, 413, 431}  # noqa: PT017
        else:
            assert len(body) <= len(text)
