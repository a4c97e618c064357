"""Who may ask what of the observer page."""

from __future__ import annotations

from typing import Any

from sprag.observer.gate import Gate, MountedGate

HERE = "127.0.0.1:4711"
TOKEN = "t0ken"


def asked(method: str = "GET", **headers: str) -> dict[str, Any]:
    named = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return {"REQUEST_METHOD": method, "HTTP_HOST": HERE, **named}


def status(refusal: Any) -> int:
    return 200 if refusal is None else int(refusal.status)


def test_a_file_of_the_page_needs_no_token_and_data_does() -> None:
    gate = Gate(HERE, TOKEN)
    assert status(gate.of_page(asked())) == 200
    assert status(gate.of_data(asked(authorization=f"Bearer {TOKEN}"))) == 200
    for given in ("", TOKEN, f"Basic {TOKEN}", "Bearer ", "Bearer t0kem", f"bearer {TOKEN}"):
        assert status(gate.of_data(asked(authorization=given))) == 401, given
    assert status(gate.of_data(asked())) == 401


def test_another_host_is_told_nothing_whatever_it_resolves_to() -> None:
    gate = Gate(HERE, TOKEN)
    bearer = f"Bearer {TOKEN}"
    for host in ("evil.example:4711", "localhost:4711", "127.0.0.1", "127.0.0.1:4712", ""):
        assert status(gate.of_page(asked(host=host))) == 421, host
        assert status(gate.of_data(asked(host=host, authorization=bearer))) == 421, host


def test_changes_need_a_flag_and_the_own_origin() -> None:
    bearer, ours = f"Bearer {TOKEN}", f"http://{HERE}"
    reading, writing = Gate(HERE, TOKEN), Gate(HERE, TOKEN, may_write=True)
    assert status(reading.of_data(asked("POST", authorization=bearer, origin=ours))) == 403
    assert status(writing.of_data(asked("POST", authorization=bearer, origin=ours))) == 200
    for origin in ("http://evil.example", "null", f"https://{HERE}", f"{ours}.evil.example"):
        assert status(writing.of_data(asked("POST", authorization=bearer, origin=origin))) == 403
        assert status(writing.of_data(asked("GET", authorization=bearer, origin=origin))) == 403
    assert status(writing.of_data(asked("POST", authorization=bearer))) == 403
    assert status(writing.of_data(asked("POST", origin=ours))) == 401
    assert status(writing.of_page(asked("POST"))) == 405


def test_a_mounted_page_asks_the_app_and_changes_nothing() -> None:
    gate = MountedGate(lambda environ: environ.get("HTTP_X_USER") == "root")
    assert not gate.may_write
    assert status(gate.of_page(asked(x_user="root"))) == 200
    assert status(gate.of_data(asked(x_user="root"))) == 200
    assert status(gate.of_page(asked())) == status(gate.of_data(asked())) == 403
    assert status(gate.of_data(asked("POST", x_user="root"))) == 403
    assert status(gate.of_page(asked("POST", x_user="root"))) == 405
