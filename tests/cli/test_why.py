from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asked import asked
from drawn import plain
from sprag._exit_codes import ExitCode
from sprag_cli.draw.why import WhyOptions, render, show
from sprag_cli.term.style import ASCII, UNICODE

if TYPE_CHECKING:
    from collections.abc import Callable


def given(paths: tuple[str, ...] = (), **options: Any) -> WhyOptions:
    return WhyOptions(**asked("why", paths=paths, **options))


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def ruling(decision: str, **more: Any) -> dict[str, Any]:
    covered = (
        ["shop/fleet/courier", "shop/fleet/map"] if decision in {"restart", "back_off"} else []
    )
    return {
        "at": "2026-01-01T11:59:58Z",
        "supervisor": "shop/fleet",
        "child": "shop/fleet/courier",
        "incarnation": 3,
        "reason": "crashed",
        "failure": {"type": "ValueError", "message": "bad order 17"},
        "decision": decision,
        "strategy": "one_for_all",
        "covered": covered,
        "covered_count": len(covered),
        "restarts": 2,
        "max_restarts": 3,
        "max_seconds": 5.0,
        "delay": 1.25,
        **more,
    }


def answer(
    *rulings: dict[str, Any], path: str = "shop/fleet/courier", state: Any = "running"
) -> dict[str, Any]:
    return {"path": path, "state": state, "count": len(rulings), "rulings": list(rulings)}


def drawn(told: dict[str, Any], now: float, **options: Any) -> str:
    given: dict[str, Any] = {"width": 80, "charset": UNICODE, "most": 10, **options}
    return "".join(f"{plain(line)}\n" for line in render(told, now=now, **given))


def test_a_supervisor_without_a_limit_has_none_to_tell(now: float) -> None:
    text = drawn(answer(ruling("restart", max_restarts=None)), now)

    assert "restart 2 within 5 s, which has no limit" in text


def test_the_story_of_a_service(now: float) -> None:
    told = answer(ruling("restart"), ruling("back_off"), ruling("give_up", restarts=4))
    assert drawn(told, now) == (
        "● shop/fleet/courier is running\n"
        "  11:59:58  it crashed (life 3): ValueError: bad order 17\n"
        "            shop/fleet decided to restart it at once, and with it shop/fleet/map\n"
        "            (one_for_all)\n"
        "            restart 2 of at most 3 within 5 s\n"
        "  11:59:58  it crashed (life 3): ValueError: bad order 17\n"
        "            shop/fleet decided to restart it after 1.2 s (backoff), and with it\n"
        "            shop/fleet/map (one_for_all)\n"
        "            restart 2 of at most 3 within 5 s\n"
        "  11:59:58  it crashed (life 3): ValueError: bad order 17\n"
        "            shop/fleet gave up: restart 4 of at most 3 within 5 s\n"
    )


def test_at_50_columns_nothing_is_wider(now: float) -> None:
    text = drawn(answer(ruling("restart")), now, width=50, charset=ASCII)
    assert max(map(len, text.splitlines())) <= 50
    assert text.isascii()


def test_who_went_along_is_told_whose_crash_it_was(now: float) -> None:
    told = answer(ruling("restart"), path="shop/fleet/map")
    text = drawn(told, now, width=120)
    assert "shop/fleet/courier crashed (life 3): ValueError: bad order 17" in text
    assert (
        "decided to restart shop/fleet/courier at once, and with it this one (one_for_all)" in text
    )


def test_a_supervisor_reads_of_its_own_decisions(now: float) -> None:
    text = drawn(answer(ruling("escalate"), ruling("shut_down"), path="shop/fleet"), now, width=120)
    assert "it gave up at once: on_failure says that this is to be escalated" in text
    assert "it shut down: its significant children have ended (auto_shutdown)" in text


def test_many_who_went_along_are_counted(now: float) -> None:
    covered = [f"shop/fleet/{number}" for number in range(50)]
    told = answer(ruling("restart", covered=["shop/fleet/courier", *covered], covered_count=5001))
    text = drawn(told, now, width=200)
    assert (
        "and with it shop/fleet/0, shop/fleet/1, shop/fleet/2, shop/fleet/3 and 4996 more" in text
    )


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("running", "has neither crashed nor been restarted."),
        ("stopped", "It was stopped on purpose"),
        ("failed", "its policy (restart, on_failure) keeps it down"),
        ("finished", "It ended by itself, cleanly."),
    ],
)
def test_where_nothing_was_decided_it_says_what_is_likely(
    now: float, state: str, said: str
) -> None:
    assert said in drawn(answer(state=state), now, width=200)


def test_the_latest_decisions_are_shown_and_the_others_counted(now: float) -> None:
    text = drawn(answer(*[ruling("restart")] * 12), now, most=2)
    assert text.count("it crashed") == 2
    assert "10 earlier decisions not shown: --lines, --json" in text


def test_the_app_is_asked_and_answers(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/why/courier": answer(ruling("give_up"), state="failed")})
    assert show(given(("courier",))) == ExitCode.FAILED
    assert "gave up: restart 2 of at most 3" in capsys.readouterr().out
    show(given(("courier",), json=True))
    assert json.loads(capsys.readouterr().out)["rulings"][0]["decision"] == "give_up"


def test_without_a_path_it_is_about_the_root_and_json_is_one_object(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    told = answer(ruling("restart"), path="shop")
    app = answering({"/v1/why": told})
    assert show(given()) == ExitCode.WELL
    assert capsys.readouterr().out.startswith("● shop is running\n")
    show(given(json=True))
    assert json.loads(capsys.readouterr().out) == told
    # An app of an older version knows nothing of the decisions of all.
    assert app.requests == ["GET /v1/why HTTP/1.1", "GET /v1/decisions?limit=100 HTTP/1.1"] * 2


def decision(action: str, path: str = "shop/fleet/courier", **more: Any) -> dict[str, Any]:
    return {
        "seq": 1,
        "at": "2026-01-01T11:59:58Z",
        "supervisor": path.rpartition("/")[0],
        "path": path,
        "incarnation": 3,
        "kind": "crashed",
        "error": {"type": "ValueError", "message": "bad order 17"},
        "rule": {"strategy": "one_for_all"},
        "action": action,
        "with": ["shop/fleet/map"],
        "with_count": 1,
        "limit": {"used": 2, "of": 3, "window": 5.0},
        "delay": 1.25,
        "next_try": None,
        **more,
    }


def test_without_a_path_what_was_decided_anywhere_is_told(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str], now: float
) -> None:
    decisions = [decision("back_off"), decision("keep", "shop/mail", **{"with": [], "limit": None})]
    root = answer(path="shop")
    answering({"/v1/why": root, "/v1/decisions": {"decisions": decisions, "count": 5}})
    assert show(given(json=True)) == ExitCode.WELL
    told = json.loads(capsys.readouterr().out)
    assert told == {**root, "decisions": decisions, "decided": 5}
    assert drawn(told, now) == (
        "● shop is running\n"
        "  3 earlier decisions not shown: --lines, --json\n"
        "  11:59:58  shop/fleet/courier crashed (life 3): ValueError: bad order 17\n"
        "            shop/fleet decided to restart shop/fleet/courier after 1.2 s\n"
        "            (backoff), and with it shop/fleet/map (one_for_all)\n"
        "            restart 2 of at most 3 within 5 s\n"
        "  11:59:58  shop/mail crashed (life 3): ValueError: bad order 17\n"
        "            it lets shop/mail stay down: its policy says so (restart,\n"
        "            on_failure)\n"
    )


def test_an_app_in_which_nothing_was_decided_says_so(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answering({"/v1/why": answer(path="shop"), "/v1/decisions": {"decisions": []}})
    show(given())
    assert "nothing has crashed or been restarted" in capsys.readouterr().out


def test_one_that_has_left_the_tree_is_explained_too(now: float) -> None:
    told = drawn(answer(ruling("keep"), state=None), now)
    assert told.startswith("? shop/fleet/courier is no longer in the tree\n")
    assert "lets it stay down: its policy says so" in told


def test_a_crash_is_told_at_its_own_time_and_the_decision_at_its(now: float) -> None:
    failure = {"type": "KeyError", "message": "'kid'", "at": "2026-01-01T11:59:54Z"}
    assert drawn(answer(ruling("keep", failure=failure)), now) == (
        "● shop/fleet/courier is running\n"
        "  11:59:54  it crashed (life 3): KeyError: 'kid'\n"
        "  11:59:58  shop/fleet lets it stay down: its policy says so (restart,\n"
        "            on_failure)\n"
    )


def test_an_exception_that_holds_a_document_is_cut_and_json_has_all(
    answering: Callable[..., Any], capsys: pytest.CaptureFixture[str], now: float
) -> None:
    failure = {"type": "ValueError", "message": "spam \x1b eggs " * 60_000}
    told = answer(*[ruling("restart", failure=failure) for _ in range(10)])
    text = drawn(told, now)
    assert len(text) < 20_000
    assert text.count("… (all of it: sprag why --json)") == 10
    answering({"/v1/why/x": told})
    show(given(("x",), json=True))
    assert len(capsys.readouterr().out) > 8_000_000


def test_a_crash_on_an_item_counts_toward_no_limit(now: float) -> None:
    told = drawn(answer(ruling("restart", restarts=0)), now)
    assert "which counts against the item that it handled, and toward no limit" in told


def test_a_recycled_program_counts_toward_no_limit_either(now: float) -> None:
    told = drawn(answer(ruling("restart", reason="recycled", failure=None, restarts=0)), now)
    assert "it was recycled (life 3)\n" in told
    assert "which counts toward no limit: it had lived long enough" in told


def test_of_a_program_it_tells_what_that_wrote_at_the_end(now: float) -> None:
    failure = {
        "type": "sprag.programs.exceptions.ProgramExited",
        "message": "it (pid 7) has exited with code 3",
    }
    lines = "".join(f"  line {number}\n" for number in range(9))
    traceback = f"ProgramExited: it\nIts last output:\n{lines}"
    told = answer(ruling("restart", failure=failure, traceback=traceback))
    text = drawn(told, now, width=100)
    assert "it crashed (life 3): ProgramExited: it (pid 7) has exited with code 3\n" in text
    assert "line 3" not in text
    assert [line.strip() for line in text.splitlines() if "| " in line] == [
        f"| line {number}" for number in range(4, 9)
    ]
    others = answer(ruling("restart", traceback=traceback))
    assert "line 8" not in drawn(others, now, width=100)


def test_of_a_singleton_it_tells_where_it_ran_and_why_no_longer(now: float) -> None:
    path = "shop/worker-1/billing"
    moves = [
        {"at": "2026-01-01T11:59:57Z", "path": path, "what": "begins", "because": "nobody had it"},
        {"at": "2026-01-01T11:59:58Z", "path": path, "what": "ends", "because": "it gave up"},
        {"at": "2026-01-01T11:59:59Z", "path": path, "what": "stays failed", "because": "no db"},
    ]
    moves.append({**moves[-1], "what": "begins", "because": "it stopped", "origin": "worker-2"})
    told = {**answer(path=path), "moves": moves}
    assert drawn(told, now) == (
        "● shop/worker-1/billing is running\n"
        "  11:59:57  it runs here from now on: nobody had it\n"
        "  11:59:58  it runs here no longer: it gave up\n"
        "  11:59:59  it stays failed: no db\n"
        "  11:59:59  it runs here from now on, and came from worker-2: it stopped\n"
    )


def test_of_workers_it_tells_who_was_replaced_and_what_does_not_come_up(now: float) -> None:
    failure = "shop/worker-1 (pid 7) has exited with 3 before it was ready: app.py:7: SyntaxError"
    notes = [
        {"path": "shop", "what": "failed", "generation": 2, "because": "reload"},
        {"path": "shop/worker-2", "what": "replaced", "generation": 2, "because": "too large"},
    ]
    at = [{"at": f"2026-01-01T11:59:5{7 + n}Z", "failure": None} for n in range(2)]
    told = [{**when, **note} for when, note in zip(at, notes, strict=True)]
    told[0]["failure"] = failure
    assert drawn({**answer(path="shop"), "replacements": told}, now, width=200) == (
        "● shop is running\n"
        "  11:59:57  it was to be replaced, generation 2: reload\n"
        f"            which does not come up, and who was there serves on: {failure}\n"
        "  11:59:58  shop/worker-2 was replaced, generation 2: too large\n"
    )


def test_of_one_that_stays_down_it_tells_whether_that_was_too_often(now: float) -> None:
    kept = drawn(answer(ruling("gave_up_tries", restarts=4)), now)
    assert "lets it stay down: restart 4 of at most 3 within 5 s" in kept
    kept = drawn(answer(ruling("gave_up_tries", restarts=0)), now)
    assert "its Backoff allows no more tries" in kept
