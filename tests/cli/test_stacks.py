from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from asked import asked
from drawn import plain
from sprag._exit_codes import ExitCode
from sprag_cli.draw.stacks import StackOptions, render, show
from sprag_cli.term.style import ASCII, UNICODE

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler

    import pytest


def given(paths: tuple[str, ...] = (), **options: Any) -> StackOptions:
    return StackOptions(**asked("stacks", paths=paths, **options))


def stack(service: str | None, what: str, *functions: str, count: int = 1) -> dict[str, Any]:
    frames = [
        {"file": "/srv/shop/app.py", "line": 7, "function": name, "source": f"{name}_more()"}
        for name in functions
    ]
    return {"service": service, "what": what, "count": count, "frames": frames}


STACKS = [
    stack("shop/feed", "run", "run", "fetch"),
    stack("shop/feed", "greenlet", "poll", count=40),
    stack(None, "nobody's", "library"),
    stack(None, "hub", "loop"),
]


def drawn(*stacks: dict[str, Any], **options: Any) -> str:
    given: dict[str, Any] = {"width": 80, "charset": UNICODE, **options}
    return "".join(f"{plain(line)}\n" for line in render(list(stacks), **given))


def test_stacks_are_grouped_by_service_and_alike_ones_counted() -> None:
    assert drawn(*STACKS) == (
        "shop/feed\n"
        "  run\n"
        "    /srv/shop/app.py:7 run\n"
        "      run_more()\n"
        "    /srv/shop/app.py:7 fetch\n"
        "      fetch_more()\n"
        "  greenlet (40 greenlets)\n"
        "    /srv/shop/app.py:7 poll\n"
        "      poll_more()\n"
        "\n"
        "of no service\n"
        "  nobody's\n"
        "    /srv/shop/app.py:7 library\n"
        "      library_more()\n"
        "\n"
        "1 greenlet of sprag and gevent not shown: --all\n"
    )


def test_all_shows_sprags_own_too_and_lines_are_cut() -> None:
    text = drawn(*STACKS, width=20, charset=ASCII, everything=True)
    assert "  hub\n" in text
    assert max(map(len, text.splitlines())) <= 20
    assert text.isascii()


def test_what_is_in_another_script_is_drawn_in_ascii_too() -> None:
    lines = drawn(stack("shop/注文", "注文", "注文"), charset=ASCII)
    assert lines.isascii()


def test_a_tree_of_timers_has_no_stacks() -> None:
    assert drawn() == "no greenlet is there: nothing runs, hooks and timers wait\n"


def test_the_app_is_asked_for_each_chosen_service(
    answering: Callable[..., Any], shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    app = answering({"/v1/tree": shop, "/v1/stacks": {"app": "shop", "stacks": STACKS[:1]}})
    assert show(given(("fleet/*",))) == ExitCode.WELL
    assert [each.split()[1] for each in app.requests[1:]] == [
        "/v1/stacks?path=shop%2Ffleet%2Fcourier",
        "/v1/stacks?path=shop%2Ffleet%2Fprinter",
    ]
    capsys.readouterr()
    show(given(json=True))
    assert json.loads(capsys.readouterr().out)["stacks"] == STACKS[:1]


def test_several_are_told_as_several_in_json(
    serve: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("=")[2]
        body = json.dumps({"path": path, "greenlets": len(path), "stacks": STACKS}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    serve(answer)
    show(given(("a", "bc"), json=True))
    told = json.loads(capsys.readouterr().out)
    assert [(each["path"], each["greenlets"]) for each in told] == [("a", 1), ("bc", 2)]
    assert all(each["stacks"] == STACKS for each in told)
    show(given(("bc",), json=True))
    assert json.loads(capsys.readouterr().out)["path"] == "bc"
