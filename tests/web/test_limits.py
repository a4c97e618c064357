"""The bounds for clients, and where a server may listen."""

from __future__ import annotations

import math
import socket
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sprag import App, Limits
from sprag._unix_sockets import identity
from sprag.exceptions import BadValue, CannotListen
from sprag.process.listening import listen, remove, shown

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("max_connections", 0),
        ("max_body", -1),
        ("max_head", 1.5),
        ("head_timeout", 0),
        ("body_timeout", math.inf),
        ("send_timeout", math.nan),
        ("keep_alive", -1),
        ("shutdown", "1"),
        ("shutdown", True),
    ],
)
def test_a_limit_must_be_one(name: str, given: Any) -> None:
    with pytest.raises(BadValue, match=f"{name}="):
        Limits(**{name: given})


def test_a_limit_of_time_may_be_a_timedelta_for_a_type_checker_too() -> None:
    limits = Limits(head_timeout=timedelta(minutes=1), keep_alive=timedelta())
    assert (limits.head_timeout, limits.keep_alive) == (60.0, 0.0)
    assert limits == Limits(head_timeout=60, keep_alive=0)
    assert replace(limits, shutdown=2).shutdown == 2.0


def test_no_keep_alive_is_a_choice() -> None:
    assert Limits(keep_alive=0).keep_alive == 0


@pytest.mark.parametrize("given", ["", ("127.0.0.1", -1), ("a", 65536), ("a", "1"), 80, ("a",)])
def test_an_app_serves_on_an_address_only(given: Any) -> None:
    app = App()
    with pytest.raises(BadValue, match="serve="):
        app.serve = given
    assert app.serve is None


def test_an_embedded_app_binds_no_port() -> None:
    with App() as app:
        assert [child.name for child in app.snapshot().children] == []


@pytest.mark.parametrize("given", [5, Limits, {"max_body": 5}])
def test_the_limits_of_an_app_are_limits(given: Any) -> None:
    with pytest.raises(BadValue, match="limits="):
        App(limits=given)


def test_a_port_that_is_taken_says_what_to_do() -> None:
    with listen(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            listen(("127.0.0.1", port))
    assert str(caught.value) == (
        f"cannot listen on http://127.0.0.1:{port}: Address already in use — stop the other "
        "program, or choose another port (0: any free)"
    )


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (("192.0.2.1", 0), "choose an address of this machine"),
        (("no such host", 0), "choose another address"),
        ("no/such/folder/web.sock", "make the folder first"),
        ("a" * 200, "too long"),
    ],
)
def test_other_addresses_that_cannot_be_had(address: Any, said: str) -> None:
    with pytest.raises(CannotListen, match=said):
        listen(address)


def test_ipv6_is_written_with_brackets() -> None:
    assert shown(("::1", 80)) == "http://[::1]:80"


def test_a_unix_socket_left_by_the_dead_is_replaced_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listen(str(path)):
        made = identity(str(path))
        with pytest.raises(CannotListen, match="another program listens there"):
            listen(str(path))
    remove(str(path), (0, 0))
    assert path.exists()
    remove(str(path), made)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(CannotListen, match="a file of another kind"):
        listen(str(path))
    assert path.read_text() == "mine"
