"""Reading a request's head: what is taken, and what is refused."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sprag._http_head import BadHead, Head, NoRequest, read_head

LIMIT = 4096


def read(text: bytes, limit: int = LIMIT) -> Head:
    return read_head(io.BytesIO(text), limit)


def get(*fields: str, line: str = "GET / HTTP/1.1", host: bool = True) -> bytes:
    lines = [line, *(["Host: a"] if host else []), *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def test_a_plain_head_is_read() -> None:
    head = read(
        get("User-Agent: \t x y \t", "Cookie: a=1", "Cookie: b=2", "Accept: a", "accept: b")
    )
    assert (head.method, head.target, head.version) == ("GET", "/", "HTTP/1.1")
    assert head.fields == {
        "HTTP_HOST": "a",
        "HTTP_USER_AGENT": "x y",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_ACCEPT": "a,b",
    }
    assert (head.length, head.chunked, head.closes, head.waits) == (None, False, False, False)


def test_what_follows_the_head_is_left() -> None:
    stream = io.BytesIO(get("Content-Length: 2", line="POST /a?b HTTP/1.1") + b"xyGET")
    head = read_head(stream, LIMIT)
    assert (head.length, head.target) == (2, "/a?b")
    assert head.fields["CONTENT_LENGTH"] == "2"
    assert stream.read() == b"xyGET"


def test_one_empty_line_may_come_first() -> None:
    assert read(b"\r\n" + get()).method == "GET"


@pytest.mark.parametrize(
    ("line", "fields", "closes"),
    [
        ("GET / HTTP/1.1", [], False),
        ("GET / HTTP/1.1", ["Connection: Close"], True),
        ("GET / HTTP/1.1", ["Connection: upgrade, close"], True),
        ("GET / HTTP/1.0", [], True),
        ("GET / HTTP/1.0", ["Connection: Keep-Alive"], False),
    ],
)
def test_who_wants_the_connection_to_close(line: str, fields: list[str], closes: bool) -> None:
    assert read(get(*fields, line=line)).closes is closes


@pytest.mark.parametrize(
    ("target", "read_as"),
    [
        ("http://a/b?c", "/b?c"),
        ("HTTPS://a", "/"),
        ("http://a?x", "/?x"),
        ("//a/b", "//a/b"),
        ("/ü".encode().decode("latin-1"), "/ü".encode().decode("latin-1")),
    ],
)
def test_targets(target: str, read_as: str) -> None:
    assert read(get(line=f"GET {target} HTTP/1.1")).target == read_as


@pytest.mark.parametrize("host", ["a", "A.b-c_d:80", "[::1]:80", "%41", ""])
def test_hosts(host: str) -> None:
    assert read(get(f"Host: {host}", host=False)).fields["HTTP_HOST"] == host


def test_a_server_may_be_asked_as_a_whole() -> None:
    assert read(get(line="OPTIONS * HTTP/1.1")).target == "*"


def test_names_with_an_underscore_are_left_out() -> None:
    assert "HTTP_X_USER" not in read(get("X_User: root")).fields


def test_a_body_in_chunks_and_one_that_waits() -> None:
    head = read(get("Transfer-Encoding: Chunked", "Expect: 100-Continue", line="POST / HTTP/1.1"))
    assert (head.chunked, head.length, head.waits) == (True, None, True)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET / HTTP/1.1\n\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.9\r\n\r\n", 505),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET /\x1b[31m HTTP/1.1\r\n\r\n", 400),
        (b"GE(T / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HT", 400),
        (get(line="CONNECT a:443 HTTP/1.1"), 400),
        (get(line="GET * HTTP/1.1"), 400),
        (get(line="GET ftp://a/ HTTP/1.1"), 400),
        (get(host=False), 400),
        (get("Host: b"), 400),
        (get("Host: a b", host=False), 400),
        (get("Host: a/b", host=False), 400),
        (get("Host: a@b", host=False), 400),
        (get("Host: ä", host=False), 400),
        (get("no colon"), 400),
        (get("Space : x"), 400),
        (get(" folded: x"), 400),
        (get("A: b", " folded"), 400),
        (get(": x"), 400),
        (get("A: b\x00c"), 400),
        (get("A: b\rc"), 400),
        (get("A\x7f: b"), 400),
        (get("Ä: b"), 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b", 400),
        (get("Content-Length: +1"), 400),
        (get("Content-Length: -1"), 400),
        (get("Content-Length: 1_0"), 400),
        (get("Content-Length: 1, 1"), 400),
        (get("Content-Length:"), 400),
        (get("Content-Length: 99999999999999999999"), 400),
        (get("Content-Length: 1", "Content-Length: 1"), 400),
        (get("Content-Length: ²"), 400),
        (get("Transfer-Encoding: chunked", "Content-Length: 1"), 400),
        (get("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
        (get("Transfer-Encoding: chunked", line="GET / HTTP/1.0"), 400),
        (get("Transfer-Encoding: gzip, chunked"), 501),
        (get("Transfer-Encoding: xchunked"), 501),
        (get("Expect: the-best"), 417),
        (get(line="GET /" + "a" * LIMIT + " HTTP/1.1"), 414),
        (get("A: " + "a" * LIMIT), 431),
        (get(*[f"A{n}: b" for n in range(129)]), 431),
    ],
)
def test_what_could_mean_two_things_is_refused(text: bytes, status: int) -> None:
    with pytest.raises(BadHead) as caught:
        read(text)
    assert caught.value.status == status


@pytest.mark.parametrize("text", [b"", b"\r\n"])
def test_an_end_before_the_beginning_is_no_request(text: bytes) -> None:
    with pytest.raises(NoRequest):
        read(text)


def test_the_limit_is_for_all_of_it() -> None:
    text = get("A: b")
    assert read(text, len(text)).method == "GET"
    with pytest.raises(BadHead):
        read(text, len(text) - 3)


@given(st.binary(max_size=400))
def test_no_bytes_do_more_than_to_be_refused(text: bytes) -> None:
    for sent in (text, b"GET / HTTP/1.1\r\nHost: a\r\n" + text + b"\r\n\r\n"):
        stream = io.BytesIO(sent)
        try:
            head = read_head(stream, 300)
        except (BadHead, NoRequest):
            continue
        assert stream.tell() <= 300
        for name, value in head.fields.items():
            assert name.isascii()
            assert not set(value) & set("\r\n\0")
